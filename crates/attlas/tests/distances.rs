//! Distances of heads against those of independent implementations (`tools/analysis/trim_distances.py` says which), and what
//! must hold of them for any recording.

use attlas::analysis::HeadDistances;
use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Tokens, Weights};
use safetensors::SafeTensors;
use serde_json::Value;

mod common;

const TENSORS: &[u8] = include_bytes!("golden/headstats.safetensors");
const NUMBERS: &str = include_str!("golden/head_distances.json");
const TOLERANCE: f64 = 1e-5;

/// An encoder whose layers have `n_heads` heads. Shape `[layers, n_heads, n, n]`.
fn encoder(weights: &[f32], n_heads: usize, n: usize) -> Recording {
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let layers = weights.chunks(n_heads * n * n).enumerate();
    let layers = layers
        .map(|(index, weights)| Layer::new(Kind::Encoder, index, shape, Weights::Dense(weights.to_vec().into())))
        .collect();
    let source = Tokens::from_labels((0..n).map(|index| index.to_string()));
    Recording { items: vec![Item { source, ..Item::default() }], layers, provenance: Provenance::default() }
}

fn numbers(name: &str) -> Vec<f64> {
    let all: Value = serde_json::from_str(NUMBERS).expect("the fixture is JSON");
    all[name].as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
}

fn assert_close(distances: &HeadDistances, times: f64, expected: &[f64]) {
    let n = distances.heads.len();
    assert_eq!(expected.len(), n * n);
    for (cell, expected) in expected.iter().enumerate() {
        let (a, b) = (cell / n, cell % n);
        let found = times * distances.between(a, b).expect("every row has weights");
        assert!((found - expected).abs() < TOLERANCE, "heads {a} and {b}: {found}, expected {expected}");
    }
}

#[test]
fn distances_are_those_of_the_notebook_of_clark_et_al() {
    let file = SafeTensors::deserialize(TENSORS).expect("the fixture is a safetensors file");
    let doc = |doc: usize| {
        let tensor = file.tensor(&format!("clark_attn_{doc}")).expect("the fixture has this tensor");
        let n = tensor.shape()[3];
        // the notebook smooths rows, attlas does not
        let weights = tensor.data().chunks_exact(4).map(|bytes| {
            let weight = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            (0.999 * f64::from(weight) + 0.001 / n as f64) as f32
        });
        HeadDistances::of(&encoder(&weights.collect::<Vec<_>>(), 12, n), Kind::Encoder, 0).expect("there is a text")
    };
    let mut distances = doc(0);
    distances.merge(&doc(1)).expect("the same heads");
    distances.merge(&doc(2)).expect("the same heads");
    assert_eq!((distances.heads.len(), distances.n_rows), (24, 39));
    // the notebook adds up over the 39 tokens of the three texts
    assert_close(&distances, 39.0, &numbers("clark_js_sum"));
}

#[test]
fn distances_are_those_of_the_functions_of_jain_and_wallace() {
    let weights: Vec<f32> = numbers("bert_attn").iter().map(|weight| *weight as f32).collect();
    let distances = HeadDistances::of(&encoder(&weights, 4, 11), Kind::Encoder, 0).expect("there is a text");
    assert_close(&distances, 1.0, &numbers("bert_jsd_mean"));
    let median = distances.median().expect("there are pairs");
    assert!((0.1..0.5).contains(&median), "{median}");
}

#[test]
fn any_number_of_threads_and_any_order_of_texts_give_the_same_bytes() {
    let recording = common::everything();
    for kind in Kind::ALL {
        let of = |n_threads: usize, items: [usize; 2]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().expect("a pool");
            pool.install(|| {
                let mut all = HeadDistances::of(&recording, kind, items[0]).expect("there are two texts");
                all.merge(&HeadDistances::of(&recording, kind, items[1]).expect("two texts")).expect("the same heads");
                all
            })
        };
        let one = of(1, [0, 1]);
        assert_eq!(one, of(4, [1, 0]), "{kind}");
        assert_eq!(one, HeadDistances::of_all(&recording, kind).expect("there are texts"), "{kind}");
        assert_eq!(one.plane(), of(3, [1, 0]).plane(), "{kind}");
    }
}

#[test]
fn a_head_with_a_number_that_is_no_weight_is_left_out_of_the_plane_and_has_no_distance() {
    let mut weights = vec![0.25_f32; 3 * 16];
    weights[16..32].iter_mut().enumerate().for_each(|(cell, weight)| *weight = f32::from(u8::from(cell % 5 == 0)));
    weights[40] = f32::NAN;
    let distances = HeadDistances::of(&encoder(&weights, 3, 4), Kind::Encoder, 0).expect("there is a text");
    assert_eq!((distances.between(0, 2), distances.between(2, 1)), (None, None));
    // a row of one against one of four quarters: m = (5/8, 1/8, 1/8, 1/8)
    let of_mean = -(0.625 * 0.625_f64.ln() + 0.375 * 0.125_f64.ln());
    let expected = of_mean - 0.5 * 4.0_f64.ln();
    assert!((distances.between(1, 0).expect("both are sound") - expected).abs() < 1e-9);
    let (shown, plane) = distances.plane();
    assert_eq!(shown, [0, 1]);
    let apart = plane.points[0][0] - plane.points[1][0];
    assert!((apart.abs() - expected.sqrt()).abs() < 1e-9 && (plane.share - 1.0).abs() < 1e-12, "{plane:?}");
}

#[test]
fn a_long_text_is_sampled_by_rows_that_are_spread_over_it() {
    let n = 1200;
    let mut weights = vec![0.0_f32; 2 * n * n];
    for row in 0..n {
        weights[row * n] = 1.0; // the first head looks at the first token, the second, too, in the first half
        weights[n * n + row * n + usize::from(row >= n / 2)] = 1.0;
    }
    let distances = HeadDistances::of(&encoder(&weights, 2, n), Kind::Encoder, 0).expect("there is a text");
    assert!((500..1200).contains(&distances.n_rows) && distances.n_queries == 1200, "{}", distances.n_rows);
    let half = distances.between(0, 1).expect("both are sound") / std::f64::consts::LN_2;
    assert!((half - 0.5).abs() < 0.01, "{half}");
}

#[test]
fn what_is_not_there_is_named() {
    let recording = encoder(&[1.0], 1, 1);
    let error = |kind, item| HeadDistances::of(&recording, kind, item).unwrap_err().to_string();
    assert_eq!(error(Kind::Cross, 0), "the recording has no cross attention; it has encoder");
    assert!(error(Kind::Encoder, 1).starts_with("there is no text 1"));
    let mut uneven = encoder(&[1.0, 1.0], 1, 1);
    uneven.layers[1].key_axis = Some("others".to_owned());
    let told = HeadDistances::of(&uneven, Kind::Encoder, 0).unwrap_err().to_string();
    assert!(told.contains("heads are compared on the same tokens"), "{told}");
    let mut one = HeadDistances::of(&recording, Kind::Encoder, 0).expect("there is a text");
    assert_eq!((one.median(), one.plane().0), (None, vec![0]));
    let two = HeadDistances::of(&encoder(&[1.0, 1.0], 2, 1), Kind::Encoder, 0).expect("there is a text");
    assert!(one.merge(&two).unwrap_err().to_string().contains("do not add up"));
}
