//! docs/format.md against the files: read by its steps alone, a recording gives the weights of attlas.

mod common;

use std::collections::BTreeMap;

use attlas::attention::Shape;
use attlas::{Bias, Item, Kind, Layer, Provenance, Recording, Scoring, Trace, Visibility, Weights, Writer};
use safetensors::SafeTensors;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

/// A batch of two texts with everything that the document describes.
fn everything() -> Recording {
    let items = [0, 2].map(|n_padding| Item {
        source: common::tokens("s", 9, n_padding),
        target: common::tokens("t", 6, n_padding / 2),
        predicted: common::tokens("p", 6, 0),
        ..Item::default()
    });
    let shape = |n_queries, n_keys, d_head, n_kv_heads| Shape {
        n_heads: 4,
        n_kv_heads,
        n_queries,
        n_keys,
        d_head,
        d_value: d_head,
    };
    let plain = |d_head, visibility| Scoring::scaled_dot_product(d_head, visibility);
    let window = Scoring { softcap: Some(2.5), ..plain(5, Visibility { before: Some(2), after: Some(1) }) };
    let table = (0..4 * 7).map(|number| (number % 5) as f32 / 3.0 - 0.7).collect();
    let relative =
        Scoring { scale: 1.0, bias: Bias::Relative { first: -3, table, n_offsets: 7 }, ..plain(3, Visibility::FULL) };
    let alibi = Scoring {
        bias: Bias::Alibi { slopes: vec![0.5, 0.25, 0.125, 0.0] },
        sinks: Some(vec![0.5, -1.0, 0.0, 2.0]),
        ..plain(8, Visibility::CAUSAL)
    };
    let moved = Scoring { query_offset: 3, ..plain(4, Visibility { before: Some(4), after: Some(0) }) };
    let causal = plain(4, Visibility::CAUSAL);
    let mut layers = vec![
        common::layer(Kind::Encoder, 0, shape(9, 9, 5, 4), window, &items, 1),
        common::layer(Kind::Encoder, 7, shape(9, 9, 3, 2), relative, &items, 2),
        common::layer(Kind::Decoder, 0, shape(6, 6, 8, 1), alibi, &items, 3),
        common::layer(Kind::Cross, 0, shape(6, 9, 4, 2), moved, &items, 4),
        common::layer(Kind::Cross, 1, shape(6, 9, 4, 4), causal, &items, 5),
    ];
    let dense: Vec<f32> = (0..2 * 4 * 6 * 9).map(|number| (number % 10) as f32 / 90.0).collect();
    let shape = Shape { d_value: 2, ..shape(6, 9, 0, 4) };
    let mut with_values = Layer::new(Kind::Cross, 2, shape, Weights::Dense(dense.into()));
    with_values.traces.insert(Trace::Values, (0..2 * 4 * 9 * 2).map(|number| number as f32).collect::<Vec<_>>());
    layers.push(with_values);
    let provenance = Provenance {
        model: "seeded".into(),
        writer: Writer { name: "attlas".into(), version: "0.1.0".into() },
        ..Provenance::default()
    };
    Recording { items: items.to_vec(), layers, provenance }
}

/// The recording's file, and what it holds.
fn saved(recording: &Recording) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    recording.save(&path).unwrap();
    std::fs::read(path).unwrap()
}

fn metadata(file: &[u8]) -> Value {
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    serde_json::from_str(&header.metadata().as_ref().unwrap()["attlas"]).unwrap()
}

/// A tensor of f32: its shape and its numbers.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
    let numbers = view.data().as_chunks::<4>().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes)));
    (view.shape().to_vec(), numbers.collect())
}

/// The steps of the document's Python. Shape `[batch, heads, queries, keys]`.
fn weights_by_the_document(file: &[u8], kind: &str, index: u64) -> Vec<f64> {
    let about = metadata(file);
    let tensors = SafeTensors::deserialize(file).unwrap();
    let layers = about["layers"].as_array().unwrap();
    let layer = layers.iter().find(|layer| layer["kind"] == kind && layer["index"] == index).unwrap();
    let named = |what: &str| tensor(&tensors, &format!("{kind}.{index}.{what}"));
    let Some(rule) = layer.get("scoring") else { return named("weights").1 };
    let ((shape, q), (key_shape, k), (_, lse)) = (named("queries"), named("keys"), named("lse"));
    let [batch, heads, queries, d_head] = shape[..] else { panic!("{shape:?}") };
    let (kv_heads, keys) = (key_shape[1], key_shape[2]);
    let bias = rule.get("bias").filter(|bias| bias["type"] != "none");
    let table = bias.filter(|bias| bias["type"] == "relative").map(|_| named("bias").1);
    let number = |value: &Value| value.as_f64().unwrap();
    let bound = |name: &str| rule["visibility"].get(name).map(|bound| bound.as_i64().unwrap());
    let side = if kind == "decoder" { "target" } else { "source" };

    let mut weights = Vec::new();
    for item in 0..batch {
        for head in 0..heads {
            for query in 0..queries {
                let row = (item * heads + head) * queries + query;
                for key in 0..keys {
                    // 1. the dot product; heads that share keys read the same ones
                    let k_row = (item * kv_heads + head / (heads / kv_heads)) * keys + key;
                    let pair = q[row * d_head..][..d_head].iter().zip(&k[k_row * d_head..][..d_head]);
                    let mut score = number(&rule["scale"]) * pair.map(|(q, k)| q * k).sum::<f64>();
                    // 2. the cap
                    if let Some(cap) = rule.get("softcap").map(number) {
                        score = cap * (score / cap).tanh();
                    }
                    // 3. the bias of the key's distance to the query
                    let offset = key as i64 - (query as i64 + rule["query_offset"].as_i64().unwrap());
                    if let Some(bias) = bias {
                        score += match &table {
                            None => number(&bias["slopes"][head]) * offset as f64,
                            Some(table) => {
                                let n_offsets = bias["n_offsets"].as_i64().unwrap();
                                let column = (offset - bias["first"].as_i64().unwrap()).clamp(0, n_offsets - 1);
                                table[head * n_offsets as usize + column as usize]
                            }
                        };
                    }
                    // 4. what is seen: in reach, no padding, and not in a row that sees nothing
                    let in_reach = bound("before").is_none_or(|before| offset >= -before)
                        && bound("after").is_none_or(|after| offset <= after);
                    let is_padding = about["items"][item][side]["tokens"][key]["role"] == "padding";
                    let is_seen = in_reach && !is_padding && lse[row] > f64::NEG_INFINITY;
                    // 5. the weight
                    weights.push(if is_seen { (score - lse[row]).exp() } else { 0.0 });
                }
            }
        }
    }
    weights
}

#[test]
fn the_steps_of_the_document_give_the_weights_of_attlas() {
    let recording = everything();
    let file = saved(&recording);
    for layer in &recording.layers {
        let given = weights_by_the_document(&file, layer.kind.name(), layer.index as u64);
        let mut wanted = Vec::new();
        for item in 0..recording.items.len() {
            for head in 0..layer.shape.n_heads {
                let map = recording.map(item, layer.kind, layer.index, head).unwrap();
                wanted.extend((0..map.n_queries()).flat_map(|query| map.row(query)));
            }
        }
        assert_eq!(given.len(), wanted.len());
        for (cell, (given, wanted)) in given.iter().zip(&wanted).enumerate() {
            let difference = (given - f64::from(*wanted)).abs();
            assert!(difference < 1e-6, "{} {}, cell {cell}: {given} {wanted}", layer.kind, layer.index);
        }
        let row_sum: f64 = given[..layer.shape.n_keys].iter().sum();
        assert!(row_sum > 0.1, "{} {}: the first row sums to {row_sum}", layer.kind, layer.index);
    }
}

#[test]
fn the_document_names_every_tensor_and_every_field_that_a_file_has() {
    let file = saved(&everything());
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    for name in header.tensors().keys() {
        let what = name.rsplit('.').next().unwrap();
        assert!(DOCUMENT.contains(&format!("| `KIND.L.{what}` |")), "{name} stands in the file alone");
    }
    let mut fields = BTreeMap::new();
    collect_fields(&metadata(&file), "", &mut fields);
    for (field, path) in fields {
        let quoted = [format!("\"{field}\""), format!("`{field}`")];
        assert!(quoted.iter().any(|quoted| DOCUMENT.contains(quoted)), "{path}{field} stands in the file alone");
    }
}

/// The names of all fields of a JSON value, and where each was met.
fn collect_fields(value: &Value, path: &str, fields: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                fields.entry(name.clone()).or_insert_with(|| path.to_owned());
                collect_fields(value, &format!("{path}{name}."), fields);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_fields(value, path, fields)),
        _ => {}
    }
}

#[test]
fn the_document_is_about_the_version_that_is_written() {
    let version = metadata(&saved(&everything()))["version"].as_u64().unwrap();
    assert_eq!(version, u64::from(attlas::recording::FORMAT_VERSION));
    assert!(DOCUMENT.starts_with(&format!("# The recording format, version {version}\n")));
}

#[test]
fn the_python_of_the_document_takes_the_steps_that_the_test_takes() {
    let python = DOCUMENT.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let here = include_str!("format.rs");
    let steps: Vec<&str> = python.lines().filter_map(|line| line.trim().strip_prefix("# ")).collect();
    assert_eq!(steps.len(), 5);
    for (number, step) in steps.iter().enumerate() {
        let number = format!("{}. ", number + 1);
        assert!(step.starts_with(&number), "{step}");
        assert!(here.contains(&format!("// {number}")), "{step} is not taken here");
    }
    // every field that the Python reads is one that files have
    let mut fields = BTreeMap::new();
    collect_fields(&metadata(&saved(&everything())), "", &mut fields);
    for field in ["layers", "scoring", "bias", "softcap", "scale", "query_offset", "visibility", "items", "tokens"] {
        assert!(python.contains(&format!("\"{field}\"")) && fields.contains_key(field), "{field}");
    }
}
