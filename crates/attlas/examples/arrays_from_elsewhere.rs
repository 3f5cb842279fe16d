//! Attention that somebody else computed becomes a recording: queries, keys and a mask in, pictures and numbers out.
//!
//!     cargo run -p attlas --example arrays_from_elsewhere
//!
//! Two sentences are packed into one row of tokens, and each sees itself alone. Such a mask is linear in the text: for each
//! query the stretches of keys that it sees.
#![allow(clippy::print_stdout)]

use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{Head, Item, Kind, Mask, Provenance, Recording, Scoring, Tokens, View, Visibility, Writer};

const LABELS: [&str; 7] = ["The", "cat", "sat", ".", "It", "slept", "."];
const D_HEAD: usize = 4;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 1. what a model of your own hands out: one text, two heads of width 4; here numbers that only look like it
    let (n, n_heads) = (LABELS.len(), 2);
    let number = |i: usize| ((i * 7919 + 13) % 101) as f32 / 25.0 - 2.0;
    let queries: Vec<f32> = (0..n_heads * n * D_HEAD).map(number).collect(); // [batch, n_heads, n_queries, d_head]
    let keys: Vec<f32> = (0..n_heads * n * D_HEAD).map(|i| number(i + 1000)).collect(); // [batch, n_heads, n_keys, d_head]

    // 2. the layer; its log-sum-exps are computed
    let first_sentence = 0..4;
    let sees = |query: usize| vec![if first_sentence.contains(&query) { 0..4 } else { 4..7 }];
    let layer = QueriesAndKeys {
        kind: Kind::Encoder,
        index: 0,
        shape: Shape { n_heads, n_kv_heads: n_heads, n_queries: n, n_keys: n, d_head: D_HEAD, d_value: D_HEAD },
        scoring: Scoring::scaled_dot_product(D_HEAD, Visibility::FULL),
        queries: queries.into(),
        keys: keys.into(),
        mask: Some(Mask::stretches(&(0..n).map(sees).collect::<Vec<_>>())),
        key_bias: None,
    };

    // 3. the recording: any analysis and any picture of attlas reads it now, and so does NumPy
    let items = vec![Item { source: Tokens::from_labels(LABELS), ..Item::default() }];
    let writer = Writer { name: "arrays_from_elsewhere".into(), version: String::new() };
    let layers = vec![layer.layer(&items)?];
    let provenance = Provenance { model: "two packed sentences".into(), writer, ..Provenance::default() };
    let recording = Recording { items, layers, provenance };
    let folder = std::env::temp_dir();
    recording.save(&folder.join("packed.safetensors"))?;
    std::fs::write(folder.join("packed.svg"), View::of(&recording, Kind::Encoder, 0, Head::One(1))?.map().to_svg())?;
    println!("{0}/packed.safetensors and {0}/packed.svg", folder.display());

    // 4. a row, as numbers: what "sat" looks at
    let map = recording.map(0, Kind::Encoder, 0, 1)?;
    for (label, weight) in LABELS.iter().zip(map.row(2)) {
        println!("{label:>6} {:5.1} %", 100.0 * weight);
    }
    Ok(())
}
