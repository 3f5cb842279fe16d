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
    let recording = recording(Kind::Decoder, vec![induction, previous], Tokens::default(), tokens);
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
}

#[test]
fn a_planted_sink_is_named_with_the_planted_number() {
    // 30 % on the first token, the rest on the others alike
    let n = 30;
    let weight = |query: usize, key: usize| match (query, key) {
        (0, 0) => 1.0,
        (_, 0) => 0.300_001,
        _ if key <= query => 0.699_999 / query as f32,
        _ => 0.0,
    };
    let map = (0..n * n).map(|cell| weight(cell / n, cell % n)).collect();
    let mut tokens = text_of(n);
    tokens.tokens[0] = Token::labelled("the");
    let heads = measure(&recording(Kind::Decoder, vec![map], Tokens::default(), tokens), 0).expect("the text exists");
    assert_eq!(names(&heads, 0), ["sink", "broad"], "the rest is spread");
    let found = heads[0].score("sink").expect("it is measured");
    // of the queries after the first whose token is not "the" again
    assert!((found.value - 0.300_001).abs() < 1e-6 && found.n < 29, "{found:?}");
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
    assert!(!names(&heads, 0).contains(&"alignment"), "five words of which the diagonal has three are too few to tell");
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

/// `n` words between the tokens that a tokenizer puts around a text: some twice, some of grammar, some of punctuation.
fn text_of(n: usize) -> Tokens {
    const TEXT: &str = "the old cat , which saw a dog in the garden , ran to house and the dog followed it .";
    let inner: Vec<&str> = TEXT.split(' ').cycle().take(n.saturating_sub(2)).collect();
    words(&format!("<s> {} </s>", inner.join(" ")))
}

/// A recording of heads whose keys are shuffled in each row, `n_heads` of the kind, as sharp as `sharpness` says of each.
fn shuffled(random: &mut Random, kind: Kind, [n_queries, n_keys]: [usize; 2], sharpness: &[f32]) -> Recording {
    let mut map = |sharpness: &f32| -> Vec<f32> {
        let n_visible = |query: usize| if kind == Kind::Decoder { query + 1 } else { n_keys };
        (0..n_queries).flat_map(|query| random.row(n_visible(query), n_keys, *sharpness)).collect()
    };
    let maps = sharpness.iter().map(&mut map).collect();
    let mut recording = recording(kind, maps, text_of(n_keys), text_of(n_queries));
    recording.items[0].predicted = recording.items[0].target.clone();
    recording.items[0].predicted.tokens.rotate_left(1);
    recording
}

#[test]
#[expect(clippy::print_stdout, reason = "the rates are read by people, who run the test for them")]
fn of_heads_whose_keys_are_shuffled_in_each_row_at_most_one_in_twenty_is_named() {
    // the last are as sharp as heads get: one key has nearly all of a row
    let sharpness: Vec<f32> = [0.5, 1.0, 1.5, 2.0, 4.0, 8.0].repeat(40);
    let small = [5, 6, 8, 10, 15, 22, 40].map(|n| [n, n]);
    let crossing = [[5, 5], [8, 8], [8, 16], [8, 24], [24, 8], [20, 40], [40, 40]];
    let mut random = Random(5);
    for (kind, shape) in [Kind::Encoder, Kind::Decoder]
        .into_iter()
        .flat_map(|kind| small.map(|shape| (kind, shape)))
        .chain(crossing.map(|shape| (Kind::Cross, shape)))
    {
        let annotations = Annotations {
            counts: Some(Arc::new((0..60).collect())),
            links: (0..shape[0].min(shape[1]) - 2).map(|word| (word, word)).collect(),
            ..Annotations::default()
        };
        let recording = shuffled(&mut random, kind, shape, &sharpness);
        let heads = measure_with(&recording, 0, &annotations).expect("the text exists");
        // a head of the two softest kinds is broad, whatever the order of its keys
        let is_wrong = |name: &str, head: usize| name != "broad" || sharpness[head] >= 1.5;
        let named: Vec<Vec<&str>> = (0..heads.len())
            .map(|head| names(&heads, head).into_iter().filter(|name| is_wrong(name, head)).collect())
            .collect();
        let n_named = named.iter().filter(|names| !names.is_empty()).count();
        let rate = n_named as f64 / heads.len() as f64;
        let mut by_name = std::collections::BTreeMap::new();
        named.iter().flatten().for_each(|name| *by_name.entry(*name).or_insert(0) += 1);
        println!("{kind} {shape:?}: {n_named} of {} heads named, {:.1} % {by_name:?}", heads.len(), 100.0 * rate);
        assert!(rate <= 0.05, "{kind} {shape:?}: {rate} {by_name:?}");
    }
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
        Some("it needs a query that sees five tokens or more")
    );
    assert_eq!(
        reason(one(), vec![vec![1.0]], "separator").as_deref(),
        Some("it needs a separator or end token among the keys")
    );
    assert_eq!(reason(one(), vec![vec![1.0]], "induction").as_deref(), Some("it needs a token that occurs twice"));
    for name in ["self", "entropy", "confidence", "positional", "distance", "vertical", "diagonal"] {
        let why = reason(one(), vec![vec![f32::NAN]], name);
        assert_eq!(why.as_deref(), Some("some weights are no finite numbers"), "{name}");
    }
}
