//! Patterns that were planted are found with the planted numbers, and shuffled maps are named for next to nothing.

use std::sync::Arc;

use attlas::analysis::{Annotations, HeadSums, measure, measure_with, standouts};
use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Token, TokenRole, Tokens};

/// A recording of dense maps, one head each, of one text.
fn recording(kind: Kind, maps: Vec<Vec<f32>>, source: Tokens, target: Tokens) -> Recording {
    let n_heads = maps.len();
    let (n_queries, n_keys) = match kind {
        Kind::Encoder => (source.len(), source.len()),
        Kind::Decoder => (target.len(), target.len()),
        Kind::Cross => (target.len(), source.len()),
    };
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
    Recording {
        items: vec![Item { source, target, ..Item::default() }],
        layers: vec![Layer::new(kind, 0, shape, attlas::Buffer::from(maps.concat()))],
        provenance: Provenance::default(),
    }
}

/// Words, one token each, with ids by their spelling.
fn words(text: &str) -> Tokens {
    let mut tokens = Tokens::from_labels(text.split(' '));
    let mut seen: Vec<String> = Vec::new();
    for token in &mut tokens.tokens {
        if !seen.contains(&token.text) {
            seen.push(token.text.clone());
        }
        token.id = seen.iter().position(|known| *known == token.text).map(|id| id as u32);
        if token.text.starts_with('<') {
            token.role = TokenRole::Special;
        }
    }
    tokens
}

fn names(heads: &[HeadSums], head: usize) -> Vec<&'static str> {
    standouts(heads).iter().filter(|one| one.head.head == head).map(|one| one.measure.name).collect()
}

#[test]
fn planted_heads_are_named_with_the_planted_numbers() {
    let text = "the cat saw a dog . now the cat saw a dog . now the";
    let (tokens, n) = (words(text), 15);
    let map = |weight: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..n).flat_map(|query| (0..n).map(move |key| (query, key))).map(|(query, key)| weight(query, key)).collect()
    };
    let uniform = |query: usize, key: usize| if key <= query { 1.0 / (query + 1) as f32 } else { 0.0 };
    // 80 % behind the last copy, 20 % spread
    let induction = map(&|query, key| {
        if query < 7 {
            uniform(query, key)
        } else {
            0.2 * uniform(query, key) + if key + 6 == query { 0.8 } else { 0.0 }
        }
    });
    let previous = map(&|query, key| if key == query.saturating_sub(1) { 1.0 } else { 0.0 });
    // 30 % on the first token, the rest on the others alike
    let sink = map(&|query, key| match (query, key) {
        (0, 0) => 1.0,
        (_, 0) => 0.300_001,
        _ if key <= query => 0.699_999 / query as f32,
        _ => 0.0,
    });
    let recording = recording(Kind::Decoder, vec![induction, previous, sink], Tokens::default(), tokens);
    let heads = measure(&recording, 0).expect("the text exists");
    let score = |head: usize, name: &str| heads[head].score(name).expect("it is measured");

    assert!(names(&heads, 0).contains(&"induction"), "{:?}", names(&heads, 0));
    // of queries 7 to 14, key q − 6 follows the copy q − 7: 0.8 and a share of 0.2, and of the third "the" and "now", two copies
    let planted: f64 =
        (7..15).map(|q| 0.8 + 0.2 * if q == 14 { 2.0 } else { 1.0 } / f64::from(q + 1)).sum::<f64>() / 8.0;
    let found = score(0, "induction");
    assert!((found.value - planted).abs() < 1e-6 && found.n == 8, "{found:?}, planted {planted}");

    assert!(names(&heads, 1).starts_with(&["previous"]), "{:?}", names(&heads, 1));
    assert!((score(1, "previous").value - 14.0 / 15.0).abs() < 1e-9);
    assert_eq!(score(1, "positional").variant, Some("offset -1"));

    assert_eq!(names(&heads, 2), ["sink", "broad"], "the rest is spread");
    let found = score(2, "sink");
    // of the queries after the first whose token is not "the"
    assert!((found.value - 0.300_001).abs() < 1e-6 && found.n == 12, "{found:?}");
    assert_eq!(found.variant, Some("token 0"));
}

#[test]
fn a_planted_crossing_is_found_and_words_are_held_against_their_reference() {
    // a red apple yesterday maybe </s> / une pomme rouge hier peut-être </s>
    let links = [0, 2, 1, 3, 4];
    let (source, target) = (words("a red apple yesterday maybe </s>"), words("<s> une pomme rouge hier peut-être"));
    let mut map = vec![0.02; 36]; // [6, 6]
    links.iter().enumerate().for_each(|(word, column)| map[word * 6 + column] = 0.9);
    let mut recording = recording(Kind::Cross, vec![map], source, target);
    // the row of <s> predicts "une"
    recording.items[0].predicted = words("une pomme rouge hier peut-être </s>");
    let annotations = Annotations { links: links.into_iter().enumerate().collect(), ..Annotations::default() };
    let heads = measure_with(&recording, 0, &annotations).expect("the text exists");
    let score = |name: &str| heads[0].score(name).expect("it is measured");
    // "rouge" lies before one of the two words before it: 1/2; the other three words cross nothing
    assert!((score("reordering").value - 0.5 / 4.0).abs() < 1e-6, "{:?}", score("reordering"));
    assert!((score("monotone").value - 3.5 / 4.0).abs() < 1e-6);
    let alignment = score("alignment");
    assert_eq!((alignment.value, alignment.variant), (1.0, Some("the row that predicts the word")));
    assert!((alignment.baseline.expect("the diagonal") - 3.0 / 5.0).abs() < 1e-6, "two of five words cross");
    assert!(names(&heads, 0).contains(&"alignment"));
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (((z ^ (z >> 31)) >> 33) as usize) % n
    }

    /// A row over `n_visible` keys that is as sharp as heads of trained models are: its weights are in proportion to 1, 1/2^s,
    /// 1/3^s …, in a random order.
    fn row(&mut self, n_visible: usize, n_keys: usize, sharpness: f32) -> Vec<f32> {
        let mut weights: Vec<f32> = (1..=n_visible).map(|rank| (rank as f32).powf(-sharpness)).collect();
        for last in (1..n_visible).rev() {
            weights.swap(last, self.below(last + 1));
        }
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        weights.resize(n_keys, 0.0);
        weights
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "the rate is read by people, who run the test for it")]
fn of_heads_whose_keys_are_shuffled_in_each_row_at_most_one_in_twenty_is_named() {
    let english = "<s> the old cat , which saw a dog in the garden , ran to the house and the dog followed it . </s>";
    let french =
        "<s> le vieux chat , qui vit un chien dans le jardin , courut vers la maison et le chien le suivit . </s>";
    let (source, target) = (words(english), words(french));
    let annotations = Annotations {
        counts: Some(Arc::new((0..30).collect())),
        links: (0..20).map(|word| (word, word)).collect(),
        ..Annotations::default()
    };
    let mut random = Random(5);
    let (mut n_named, mut n_looked_for) = (0, 0);
    for kind in Kind::ALL {
        let (n_queries, n_keys) = match kind {
            Kind::Encoder => (source.len(), source.len()),
            Kind::Decoder => (target.len(), target.len()),
            Kind::Cross => (target.len(), source.len()),
        };
        let mut map = |head: usize| -> Vec<f32> {
            let sharpness = [0.5, 1.0, 1.5, 2.0, 4.0][head % 5];
            let n_visible = |query: usize| if kind == Kind::Decoder { query + 1 } else { n_keys };
            (0..n_queries).flat_map(|query| random.row(n_visible(query), n_keys, sharpness)).collect()
        };
        let maps: Vec<Vec<f32>> = (0..200).map(&mut map).collect();
        let mut recording = recording(kind, maps, source.clone(), target.clone());
        recording.items[0].predicted = target.clone();
        recording.items[0].predicted.tokens.rotate_left(1);
        let heads = measure_with(&recording, 0, &annotations).expect("the text exists");
        // "broad" is no finding about keys: it is true of these heads, whatever their order
        let named = standouts(&heads).iter().filter(|one| one.measure.name != "broad").count();
        let looked_for: usize = heads
            .iter()
            .map(|head| head.scores().filter(|(one, _)| one.threshold.is_some() && one.name != "broad").count())
            .sum();
        println!("{kind}: {named} of {looked_for} named, {:.2} %", 100.0 * named as f64 / looked_for as f64);
        let by_name = standouts(&heads);
        for name in by_name.iter().map(|one| one.measure.name).collect::<std::collections::BTreeSet<_>>() {
            let n = by_name.iter().filter(|one| one.measure.name == name).count();
            println!("  {name}: {n} of 200 heads");
        }
        n_named += named;
        n_looked_for += looked_for;
    }
    let rate = n_named as f64 / n_looked_for as f64;
    println!("all: {n_named} of {n_looked_for} named, {:.2} %", 100.0 * rate);
    assert!(n_looked_for > 5000 && rate <= 0.05, "{rate}");
}

#[test]
fn what_cannot_be_measured_is_absent_with_its_reason() {
    let reason = |tokens: Tokens, maps: Vec<Vec<f32>>, name: &str| -> Option<String> {
        let recording = recording(Kind::Decoder, maps, Tokens::default(), tokens);
        let heads = measure(&recording, 0).expect("the text exists");
        let (_, score) = heads[0].scores_or_reasons().find(|(measure, _)| measure.name == name).expect("a measure");
        score.err()
    };
    let one = || Tokens { text: String::new(), tokens: vec![Token::labelled("a")] };
    assert_eq!(
        reason(one(), vec![vec![1.0]], "broad").as_deref(),
        Some("it needs a query that sees two tokens or more")
    );
    assert_eq!(
        reason(one(), vec![vec![1.0]], "separator").as_deref(),
        Some("it needs a separator or end token among the keys")
    );
    assert_eq!(reason(one(), vec![vec![1.0]], "induction").as_deref(), Some("it needs a token that occurs twice"));
    for name in ["self", "entropy", "confidence", "positional", "distance"] {
        let why = reason(one(), vec![vec![f32::NAN]], name);
        assert_eq!(why.as_deref(), Some("some weights are no finite numbers"), "{name}");
    }
}
