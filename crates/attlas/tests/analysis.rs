//! The numbers of a head against those of independent implementations (`tools/analysis/trim_golden.py` says which).

use attlas::AttentionMap;
use attlas::analysis::{self, Grid, RowTokens, Rows};
use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Token, TokenRole, Tokens, Weights};
use safetensors::SafeTensors;
use serde_json::Value;

const TENSORS: &[u8] = include_bytes!("golden/headstats.safetensors");
const NUMBERS: &str = include_str!("golden/headstats.json");
const TOLERANCE: f64 = 1e-5;

#[test]
fn offset_and_class_masses_and_entropy_are_those_of_the_notebook_of_clark_et_al() {
    let docs = numbers()["clark_docs"].clone();
    let class = |doc: usize, is: fn(&str) -> bool| -> Vec<bool> {
        docs[doc].as_array().expect("tokens").iter().map(|token| is(token.as_str().expect("text"))).collect()
    };
    let over_docs = |map_number: &dyn Fn(usize, &Rows) -> f64| -> Vec<f64> {
        let mut mean = vec![0.0; 24]; // [layers, heads]
        for doc in 0..3 {
            let recording = dense(Kind::Encoder, &format!("clark_attn_{doc}"));
            for (slot, rows) in mean.iter_mut().zip(all_rows(&recording)) {
                *slot += map_number(doc, &rows) / 3.0;
            }
        }
        mean
    };
    agree("clark_avg_self", &over_docs(&|_, rows| analysis::offset_mass(rows, 0)));
    agree("clark_avg_left", &over_docs(&|_, rows| analysis::offset_mass(rows, -1)));
    agree("clark_avg_right", &over_docs(&|_, rows| analysis::offset_mass(rows, 1)));
    agree("clark_avg_sep", &over_docs(&|doc, rows| analysis::class_mass(rows, &class(doc, |t| t == "[SEP]")).0));
    agree("clark_avg_cls", &over_docs(&|doc, rows| analysis::class_mass(rows, &class(doc, |t| t == "[CLS]")).0));
    let punctuation = |t: &str| t == "." || t == ",";
    agree("clark_avg_punct", &over_docs(&|doc, rows| analysis::class_mass(rows, &class(doc, punctuation)).0));
    agree("clark_entropy", &over_docs(&|_, rows| mean(&analysis::smoothed_entropy(rows))));
}

#[test]
fn positional_shares_and_confidence_are_those_of_voita_et_al() {
    let recording = dense(Kind::Encoder, "voita_attn");
    let over_sentences = |number: &dyn Fn(&Rows) -> f64| -> Vec<f64> {
        let heads = all_rows(&recording); // [sentences, layers, heads]
        let end_left_out = |index: usize| heads[index].without_end(11);
        (0..8).map(|head| (0..6).map(|sentence| number(&end_left_out(sentence * 8 + head)) / 6.0).sum()).collect()
    };
    for offset in [-1, 0, 1] {
        let share = over_sentences(&|rows| analysis::positional_share(rows, offset).expect("there are rows"));
        agree(&format!("voita_pos_fraction_off{offset}"), &share);
    }
    agree("voita_confidence", &over_sentences(&|rows| analysis::confidence(rows).expect("there are rows")));
}

#[test]
fn entropies_largest_weights_and_sinks_of_causal_maps_are_those_of_numpy() {
    let recording = dense(Kind::Decoder, "causal_attn");
    let heads = all_rows(&recording); // [sentences × layers × heads]
    let per_row =
        |number: &dyn Fn(&Rows) -> Vec<f32>| -> Vec<f64> { heads.iter().flat_map(number).map(f64::from).collect() };
    agree("causal_entropy_row", &per_row(&analysis::entropy));
    agree("causal_row_max", &per_row(&analysis::largest_weights));
    agree(
        "causal_entropy_norm_row",
        &per_row(&|rows| analysis::normalized_entropy(rows).into_iter().flatten().collect()),
    );
    for key in 0..3 {
        let sinks: Vec<f64> = heads.iter().map(|rows| analysis::sink_weight(rows, key).expect("rows follow")).collect();
        agree(&format!("causal_sink_alpha_k{key}"), &sinks);
    }
}

#[test]
fn ideal_heads_have_the_numbers_of_their_closed_forms() {
    let numbers = numbers();
    for (name, expected) in numbers.as_object().expect("an object") {
        let Some(map) = name.strip_prefix("synthetic_") else { continue };
        let kind = if map.ends_with("bidir") { Kind::Encoder } else { Kind::Decoder };
        let recording = dense(kind, name);
        let rows = &all_rows(&recording)[0];
        let close = |number: f64, key: &str| {
            let expected = expected[key].as_f64().expect("a number");
            assert!((number - expected).abs() < TOLERANCE, "{map}, {key}: {number}, expected {expected}");
        };
        close(mean(&analysis::entropy(rows)), "entropy_mean");
        close(analysis::confidence(rows).expect("there are rows"), "confidence_mean_max");
        close(analysis::offset_mass(rows, -1), "mass_prev");
        close(analysis::offset_mass(rows, 0), "mass_self");
        close(analysis::offset_mass(rows, 1), "mass_next");
        close(analysis::sink_weight(rows, 0).expect("there are rows"), "sink_alpha0");
    }
}

#[test]
fn word_alignments_are_those_of_kobayashi_et_al() {
    let recording = alignment_recording();
    let numbers = numbers();
    for layer in 0..3 {
        for (rule, row_tokens) in [("AWO", 0), ("AWI", 1)] {
            // Heads are averaged; AWO links token t in row t, which predicts it, AWI in row t + 1, which reads it.
            let head = |head| recording.map(0, Kind::Cross, layer, head).expect("the head exists");
            let heads: Vec<AttentionMap<'_>> = (0..4).map(head).collect();
            let mean = Grid::of_heads(&heads, RowTokens::Read).expect("there are heads");
            let words = shift_rows(&mean, row_tokens).words();
            let n_words = 5; // the end token's row is left out
            let expected = tensor(&format!("alignment_word_{rule}_layer{layer}"));
            assert_close(&format!("{rule} of layer {layer}"), &words.weights[..expected.len()], &expected);

            let links = analysis::align(&words);
            let found: Vec<Value> = (links.iter().filter(|link| link.row < n_words && link.column != 7))
                .map(|link| serde_json::json!([link.row, link.column]))
                .collect();
            let name = format!("{rule}_layer{layer}");
            assert_eq!(Value::from(found), numbers["alignment_alignments_kobayashi"][&name], "{name}");
        }
    }
}

/// The cross-attention case, its pieces grouped into words.
fn alignment_recording() -> Recording {
    let mut recording = dense(Kind::Cross, "alignment_cross");
    let numbers = numbers();
    let item = &mut recording.items[0];
    for (tokens, words) in [(&mut item.source, "alignment_src_words"), (&mut item.target, "alignment_tgt_words")] {
        for (word, pieces) in numbers[words].as_array().expect("words").iter().enumerate() {
            for piece in pieces.as_array().expect("pieces") {
                tokens.tokens[piece.as_u64().expect("an index") as usize].word = Some(word);
            }
        }
    }
    recording
}

/// The grid whose row `t` holds the weights of row `t + by`; the first rows move to the end.
fn shift_rows(grid: &Grid, by: usize) -> Grid {
    let n_rows = grid.rows.len();
    let weights = (0..n_rows).flat_map(|row| grid.row((row + by) % n_rows).to_vec()).collect();
    Grid { weights, ..grid.clone() }
}

fn numbers() -> Value {
    serde_json::from_str(NUMBERS).expect("the fixture is JSON")
}

/// A tensor of the fixture.
fn tensor(name: &str) -> Vec<f32> {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let bytes = file.tensor(name).expect("the fixture has this tensor").data().to_vec();
    bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]])).collect()
}

/// A recording of the maps in a tensor `[…, queries, keys]`: every map is a head of its own, in layers of four.
fn dense(kind: Kind, name: &str) -> Recording {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let shape = file.tensor(name).expect("the fixture has this tensor").shape().to_vec();
    let (n_queries, n_keys) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let n_heads = if shape.len() > 2 { 4 } else { 1 };
    let labels = |n: usize| {
        let mut tokens = Tokens::from_labels((0..n).map(|index| index.to_string()));
        for token in &mut tokens.tokens {
            *token = Token { role: TokenRole::Text, ..token.clone() };
        }
        tokens
    };
    let (source, target) = match kind {
        Kind::Encoder => (labels(n_keys), Tokens::default()),
        Kind::Decoder => (Tokens::default(), labels(n_keys)),
        Kind::Cross => (labels(n_keys), labels(n_queries)),
    };
    let layers = tensor(name)
        .chunks_exact(n_heads * n_queries * n_keys)
        .enumerate()
        .map(|(index, weights)| {
            let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
            Layer::new(kind, index, shape, Weights::Dense(weights.to_vec().into()))
        })
        .collect();
    Recording { items: vec![Item { source, target, ..Item::default() }], layers, provenance: Provenance::default() }
}

/// The rows of every head, layer by layer.
fn all_rows(recording: &Recording) -> Vec<Rows> {
    let heads = |layer: &Layer| -> Vec<Rows> {
        (0..layer.shape.n_heads)
            .map(|head| Rows::of(&recording.map(0, layer.kind, layer.index, head).expect("the head exists")))
            .collect()
    };
    recording.layers.iter().flat_map(heads).collect()
}

fn mean(numbers: &[f32]) -> f64 {
    numbers.iter().map(|number| f64::from(*number)).sum::<f64>() / numbers.len() as f64
}

fn agree(name: &str, found: &[f64]) {
    let found: Vec<f32> = found.iter().map(|number| *number as f32).collect();
    assert_close(name, &found, &tensor(name));
}

fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}: how many numbers");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let difference = f64::from((found - expected).abs());
        assert!(difference < TOLERANCE, "{name}[{index}]: {found}, expected {expected}");
    }
}
