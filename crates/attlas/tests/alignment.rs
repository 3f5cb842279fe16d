//! Alignments, error rates and symmetrisation against independent implementations (`tools/analysis/trim_golden.py` says which),
//! and word maps of texts whose pieces, words and special tokens are known.

use attlas::analysis::alignment::{
    ALIGNING_ROWS, Aligner, Alignment, HeadScores, Pair, Reference, Symmetrise, Tally, Unit, WordMap,
};
use attlas::attention::Shape;
use attlas::{
    AttentionMap, HeadId, Item, Kind, Layer, Provenance, Recording, RowTokens, Token, TokenRole, Tokens, View,
};
use safetensors::SafeTensors;
use serde_json::Value;

const TENSORS: &[u8] = include_bytes!("golden/headstats.safetensors");
const NUMBERS: &str = include_str!("golden/headstats.json");

#[test]
fn word_maps_and_links_of_both_rows_are_those_of_kobayashi_et_al() {
    let recording = kobayashi();
    for layer in 0..3 {
        for (rule, rows) in [("AWO", RowTokens::Predicted), ("AWI", RowTokens::Read)] {
            let maps = maps(&recording, 0, layer);
            let words = WordMap::new(&maps, rows, Unit::Words).expect("it has words");
            let name = format!("{rule}_layer{layer}");
            let expected = tensor(&format!("alignment_word_{name}")); // [5, 8], the end token's column last
            let found = words.weights().expect("it is small"); // [5, 7]
            assert_eq!((words.target().len(), words.source().len()), (5, 7));
            for (row, (found, expected)) in found.chunks(7).zip(expected.chunks(8)).enumerate() {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-5, "{name}, row {row}: {found}, expected {expected}");
                }
            }
            let links: Vec<Value> =
                words.links().by_target.pairs().map(|pair| serde_json::json!([pair.target, pair.source])).collect();
            assert_eq!(Value::from(links), numbers()["alignment_alignments_kobayashi"][&name], "{name}");
        }
    }
}

#[test]
fn error_rate_precision_and_recall_are_those_of_the_reference_script() {
    let case = &numbers()["alignment_aer_case"];
    let mut tally = Tally::default();
    for text in 0..7 {
        let read = |name: &str| alignment(&case[name][text]);
        tally.merge(&Tally::of(&read("hyp"), &Reference::new(read("sure"), &read("possible"))));
    }
    for (name, found) in [("aer", tally.error_rate()), ("precision", tally.precision()), ("recall", tally.recall())] {
        let expected = case[name].as_f64().expect("a number");
        assert!((found.expect("there are links") - expected).abs() < 1e-12, "{name}: {found:?}, expected {expected}");
    }
}

#[test]
fn symmetrised_alignments_are_those_of_the_reference_script() {
    let case = &numbers()["alignment_symmetrise_case"];
    let (forward, backward) = (alignment(&case["e2f"]), alignment(&case["f2e"]));
    for (name, way) in [
        ("intersection", Symmetrise::Intersection),
        ("union", Symmetrise::Union),
        ("grow_diag", Symmetrise::GrowDiag),
        // what the script calls final takes a pair only if both of its words have none, which is elsewhere called final-and
        ("grow_diag_final", Symmetrise::GrowDiagFinalAnd),
    ] {
        assert_eq!(way.of(&forward, &backward), alignment(&case[name]), "{name}");
    }
}

#[test]
fn words_between_white_space_take_the_pieces_whose_first_byte_lies_in_them() {
    let source = cut("l' eau  est\u{a0}froide .", &["l", "'", " ea", "u", "  est", "\u{a0}froide", " ."]);
    let target = cut("the water", &["the", " water"]);
    #[rustfmt::skip]
    let weights = vec![
        0.1, 0.2, 0.3, 0.2, 0.0, 0.1, 0.0, 0.1,
        0.0, 0.1, 0.3, 0.1, 0.2, 0.1, 0.0, 0.2,
        0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5,
    ];
    let recording = cross(source, target, vec![weights]);
    let maps = maps(&recording, 0, 0);
    let words = WordMap::new(&maps, RowTokens::Predicted, Unit::WhiteSpace).expect("there are words");
    assert_eq!(words.source(), ["l'", "eau", "est", "froide", "."]);
    assert_eq!(words.target(), ["the", "water"]);
    let expected = [0.3, 0.5, 0.0, 0.1, 0.0, 0.1, 0.4, 0.2, 0.1, 0.0];
    assert!(
        words
            .weights()
            .expect("it is small")
            .iter()
            .zip(expected)
            .all(|(found, expected)| (found - expected).abs() < 1e-6)
    );
    // by columns: `est` has its largest weight in the second row, `.` has none anywhere
    let links = words.links();
    assert_eq!(
        (links.by_target.to_string(), links.by_source.to_string()),
        ("1-0 1-1".into(), "0-0 1-0 3-0 2-1".into())
    );
    assert_eq!(links.overlap(), Some(2.0 / 6.0));
    let tokens = WordMap::new(&maps, RowTokens::Predicted, Unit::Tokens).expect("there are tokens");
    assert_eq!((tokens.source().len(), tokens.links().by_target.to_string()), (7, "2-0 2-1".into()));
}

#[test]
fn a_word_that_no_token_belongs_to_has_no_link_but_counts() {
    let source = cut("a \u{301} b", &["a"]); // two words that the tokenizer lost
    let recording = cross(source, cut("x y z", &["x", " y", " z"]), vec![vec![0.6, 0.4, 0.7, 0.3, 0.5, 0.5, 0.2, 0.8]]);
    let maps = maps(&recording, 0, 0);
    let words = WordMap::new(&maps, RowTokens::Predicted, Unit::WhiteSpace).expect("there are words");
    assert_eq!((words.source().len(), words.links().by_target.to_string()), (3, "0-0 0-1 0-2".into()));
}

#[test]
fn a_row_that_is_no_number_has_no_link_and_is_counted() {
    let row = |weight: f32| [weight, 0.2, 0.1];
    let weights = [row(f32::NAN), row(0.7), row(0.7)].concat();
    let recording = cross(cut("a b", &["a", " b"]), cut("x y", &["x", " y"]), vec![weights]);
    let maps = maps(&recording, 0, 0);
    let links = WordMap::new(&maps, RowTokens::Predicted, Unit::Words).expect("there are words").links();
    assert_eq!((links.by_target.to_string(), links.n_not_finite), ("0-1".into(), 1));
}

#[test]
fn what_cannot_be_aligned_is_refused_in_a_sentence() {
    let refused = |recording: &Recording, kind, rows, unit| {
        let maps = [recording.map(0, kind, 0, 0).expect("the head exists")];
        WordMap::new(&maps, rows, unit).expect_err("it is refused").to_string()
    };
    let recording = cross(cut("a", &["a"]), cut("x", &["x"]), vec![vec![0.5; 4]]);
    let mut unknown = recording.clone();
    unknown.items[0].predicted = Tokens::default();
    let problem = refused(&unknown, Kind::Cross, RowTokens::Predicted, Unit::Words);
    assert!(problem.contains("does not say which token each row predicts"), "{problem}");
    let mut placeless = recording.clone();
    placeless.items[0].source.tokens[0].span = None;
    let problem = refused(&placeless, Kind::Cross, RowTokens::Predicted, Unit::WhiteSpace);
    assert!(problem.contains("token 0 of the source (\"a\") has no place in a text"), "{problem}");
    let mut wordless = recording.clone();
    wordless.items[0].predicted.tokens[0].role = TokenRole::Special;
    let problem = refused(&wordless, Kind::Cross, RowTokens::Predicted, Unit::Words);
    assert_eq!(problem, "the target has no word");
    let mut encoder = recording;
    encoder.layers[0].kind = Kind::Encoder;
    encoder.items[0].source = encoder.items[0].target.clone();
    let problem = refused(&encoder, Kind::Encoder, RowTokens::Read, Unit::Words);
    assert!(problem.contains("heads of cross-attention alone"), "{problem}");
    assert!(WordMap::new(&[], RowTokens::Read, Unit::Words).is_err());
}

#[test]
fn a_planted_head_is_found_in_the_row_that_aligns_and_one_that_is_a_word_late_is_not() {
    let n = 7;
    let order = [2, 0, 1, 4, 3, 6, 5]; // the source word of each target word
    let words = ["a", "b", "c", "d", "e", "f", "g"];
    let text = words.join(" ");
    let pieces: Vec<String> = (0..n).map(|at| format!("{}{}", if at > 0 { " " } else { "" }, words[at])).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
    let map = |source_of: &dyn Fn(usize) -> usize| -> Vec<f32> {
        let cell = |at: usize| if at % (n + 1) == source_of(at / (n + 1)) { 0.8 } else { 0.2 / n as f32 };
        (0..(n + 1) * (n + 1)).map(cell).collect() // [n + 1 rows, n + 1 columns], the end token in either
    };
    let predicting = map(&|row| *order.get(row).unwrap_or(&n));
    let read = map(&|row| if row == 0 { n } else { order[row - 1] });
    let recording = cross(cut(&text, &pieces), cut(&text, &pieces), vec![read, predicting]);
    let reference =
        Reference::new((0..n).map(|target| Pair::new(order[target], target)).collect(), &Alignment::default());
    let mut scores = HeadScores::default();
    scores.add(&recording, 0, Unit::WhiteSpace, Some(&reference)).expect("words");
    let of = |head| scores.of[&Aligner::Head(HeadId { layer: 0, head })];
    assert_eq!(ALIGNING_ROWS, [RowTokens::Predicted, RowTokens::Read]);
    assert_eq!(of(1)[0].tally.error_rate(), Some(0.0));
    assert_eq!(of(0)[1].tally.error_rate(), Some(0.0));
    assert!(of(1)[1].tally.error_rate() > Some(0.9) && of(0)[0].tally.error_rate() > Some(0.9));
    assert_eq!((of(1)[0].hits.n, of(1)[0].hits.mean(), of(1)[0].overlap()), (7, Some(1.0), Some(1.0)));
    assert_eq!(of(1)[0].hits.mean_baseline(), Some(0.0), "nothing of this order lies on the diagonal");
}

#[test]
fn a_view_of_words_says_which_heads_it_is_the_mean_of_and_what_is_left_out() {
    let weights = || vec![0.5, 0.25, 0.25, 0.25, 0.5, 0.25, 0.0, 0.0, 1.0];
    let recording = cross(cut("a b", &["a", " b"]), cut("x y", &["x", " y"]), vec![weights(), weights()]);
    let heads = maps(&recording, 0, 0);
    let words = WordMap::new(&heads, RowTokens::Predicted, Unit::WhiteSpace).expect("there are words");
    let view = View::of_words(&recording, 0, &words).expect("it can be drawn");
    assert_eq!((view.title(), view.rows_are()), ("L0, mean of 2 heads", "predicted target"));
    assert_eq!((view.panel().weights(), view.removed()), ([0.5, 0.25, 0.25, 0.5].as_slice(), [0.25, 0.25].as_slice()));
    let remarks = view.remarks().join("\n");
    assert!(
        remarks.contains("mean over 2 heads") && remarks.contains("with 25 % of the weight on average"),
        "{remarks}"
    );
    let one = WordMap::new(&heads[1..], RowTokens::Read, Unit::Tokens).expect("there are tokens");
    let view = View::of_words(&recording, 0, &one).expect("it can be drawn");
    assert_eq!((view.title(), view.panel().rows().name()), ("L0H1", "query (target token)"));
}

#[test]
fn a_word_that_no_token_belongs_to_leaves_no_weight_out() {
    let mut target = cut("a x b", &["a", "b"]);
    target.tokens[1].span = Some(4..5);
    let recording =
        cross(cut("k l", &["k", " l"]), target, vec![vec![0.5, 0.25, 0.25, 0.25, 0.5, 0.25, 0.0, 0.0, 1.0]]);
    let heads = maps(&recording, 0, 0);
    let words = WordMap::new(&heads, RowTokens::Predicted, Unit::WhiteSpace).expect("there are words");
    let view = View::of_words(&recording, 0, &words).expect("it can be drawn");
    assert_eq!(
        (words.target(), view.removed()),
        (["a", "x", "b"].map(String::from).as_slice(), [0.25, 0.0, 0.25].as_slice())
    );
    let remarks = view.remarks().join("\n");
    assert!(remarks.contains("with 25 % of the weight on average"), "{remarks}");
}

#[test]
fn a_map_between_words_that_is_too_large_to_be_held_is_refused() {
    let n = 2049;
    let tokens = || cut(&"a ".repeat(n), &vec!["a "; n]);
    let recording = cross(tokens(), tokens(), vec![vec![0.0; (n + 1) * (n + 1)]]);
    let heads = maps(&recording, 0, 0);
    let words = WordMap::new(&heads, RowTokens::Predicted, Unit::Tokens).expect("there are words");
    let message = View::of_words(&recording, 0, &words).unwrap_err().to_string();
    assert_eq!(message, "the map of 2049 × 2049 tokens has 4198401 cells, more than the limit of 4194304");
}

/// Text cut into pieces, each with its place.
fn cut(text: &str, pieces: &[&str]) -> Tokens {
    let mut tokens = Tokens { text: text.to_owned(), ..Tokens::from_labels(pieces.iter().copied()) };
    let mut at = 0;
    for token in &mut tokens.tokens {
        token.span = Some(at..at + token.text.len());
        at += token.text.len();
    }
    tokens
}

/// A recording of a layer of dense heads, with an end token after the source, a start token before the target and an end token
/// after it. Shape of a head `[target + 1, source + 1]`.
fn cross(mut source: Tokens, target: Tokens, heads: Vec<Vec<f32>>) -> Recording {
    let special = |text: &str| Token { role: TokenRole::Special, ..Token::labelled(text) };
    source.tokens.push(special("</s>"));
    let with = |tokens: Vec<Token>| Tokens { text: target.text.clone(), tokens };
    let read = with([vec![special("<s>")], target.tokens.clone()].concat());
    let predicted = with([target.tokens.clone(), vec![special("</s>")]].concat());
    let (n_heads, n_queries, n_keys) = (heads.len(), read.len(), source.len());
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
    let weights = attlas::Weights::Dense(heads.concat().into());
    Recording {
        items: vec![Item { source, target: read, predicted, ..Item::default() }],
        layers: vec![Layer::new(Kind::Cross, 0, shape, weights)],
        provenance: Provenance::default(),
    }
}

/// The case of Kobayashi et al.: three layers of four heads; the target's last token is the end, the source's likewise.
fn kobayashi() -> Recording {
    let label = |n: usize, words: &str| {
        let mut tokens = Tokens::from_labels((0..n).map(|index| index.to_string()));
        for (word, pieces) in numbers()[words].as_array().expect("words").iter().enumerate() {
            for piece in pieces.as_array().expect("pieces") {
                tokens.tokens[piece.as_u64().expect("an index") as usize].word = Some(word);
            }
        }
        tokens.tokens.pop();
        tokens
    };
    let (source, target) = (label(11, "alignment_src_words"), label(8, "alignment_tgt_words"));
    let weights = tensor("alignment_cross"); // [3 layers, 4 heads, 8, 11]
    let mut recording = cross(source, target, weights[..4 * 88].chunks(88).map(<[f32]>::to_vec).collect());
    for layer in 1..3 {
        let shape = recording.layers[0].shape;
        let weights = attlas::Weights::Dense(weights[layer * 4 * 88..][..4 * 88].to_vec().into());
        recording.layers.push(Layer::new(Kind::Cross, layer, shape, weights));
    }
    recording
}

fn maps(recording: &Recording, item: usize, layer: usize) -> Vec<AttentionMap<'_>> {
    let n_heads = recording.layers[layer].shape.n_heads;
    (0..n_heads).map(|head| recording.map(item, Kind::Cross, layer, head).expect("the head exists")).collect()
}

fn alignment(pairs: &Value) -> Alignment {
    let word = |pair: &Value, at: usize| pair[at].as_u64().expect("a word") as usize;
    pairs.as_array().expect("pairs").iter().map(|pair| Pair::new(word(pair, 0), word(pair, 1))).collect()
}

fn numbers() -> Value {
    serde_json::from_str(NUMBERS).expect("the fixture is JSON")
}

fn tensor(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let bytes = file.tensor(name).expect("the fixture has this tensor").data().to_vec();
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect()
}
