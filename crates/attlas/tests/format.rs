//! docs/format.md against the files: read by its steps alone, a recording gives the weights of attlas.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use attlas::{Kind, Quantity, Recording, Writer};
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/format.md");

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

/// A tensor: its shape and its numbers.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let data = view.data();
    let numbers: Vec<f64> = match view.dtype() {
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|bytes| f64::from(f16::from_le_bytes(*bytes))).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|bytes| f64::from(bf16::from_le_bytes(*bytes))).collect(),
        Dtype::U32 => data.as_chunks().0.iter().map(|bytes| f64::from(u32::from_le_bytes(*bytes))).collect(),
        Dtype::U8 => data.iter().map(|byte| f64::from(*byte)).collect(),
        other => panic!("{name} is {other:?}"),
    };
    (view.shape().to_vec(), numbers)
}

/// Whether a mask shows the key, by the document.
fn is_shown((shape, numbers): &(Vec<usize>, Vec<f64>), item: usize, head: usize, query: usize, key: usize) -> bool {
    let of = |size: usize, index: usize| if size == 1 { 0 } else { index };
    match shape[3] {
        2 if shape[1] != 1 && shape[1] != 4 => {
            let row = (of(shape[0], item) * shape[1] + query) * shape[2];
            let stretches = numbers[2 * row..][..2 * shape[2]].chunks(2);
            stretches.into_iter().any(|edges| edges[0] <= key as f64 && (key as f64) < edges[1])
        }
        n_bytes => {
            let row = (of(shape[0], item) * shape[1] + of(shape[1], head)) * shape[2] + query;
            numbers[row * n_bytes + key / 8] as u8 >> (key % 8) & 1 == 1
        }
    }
}

/// The steps of the document's Python. Shape `[batch, heads, queries, keys]`.
fn weights_by_the_document(file: &[u8], kind: &str, index: u64, stack: Option<&str>) -> Vec<f64> {
    let about = metadata(file);
    let tensors = SafeTensors::deserialize(file).unwrap();
    let layers = about["layers"].as_array().unwrap();
    let layer = layers.iter().find(|layer| {
        layer["kind"] == kind
            && layer["index"] == index
            && layer.get("stack").and_then(Value::as_str) == stack
            && layer.get("quantity").is_none()
    });
    let layer = layer.unwrap();
    let prefix = stack.map_or(String::new(), |stack| format!("{stack}/"));
    let name = |what: &str| format!("{prefix}{kind}.{index}.{what}");
    let named = |what: &str| tensor(&tensors, &name(what));
    let Some(rule) = layer.get("scoring") else { return named("weights").1 };
    let ((shape, q), (key_shape, k)) = (named("queries"), named("keys"));
    let lse = tensors.tensor(&name("lse")).ok().map(|_| named("lse").1);
    let [batch, heads, queries, d_head] = shape[..] else { panic!("{shape:?}") };
    let (kv_heads, keys) = (key_shape[1], key_shape[2]);
    let bias = rule.get("bias").filter(|bias| bias["type"] != "none");
    let table = bias.filter(|bias| bias["type"] == "relative").map(|_| named("bias").1);
    let number = |value: &Value| value.as_f64().unwrap();
    let bound = |name: &str| rule["visibility"].get(name).map(|bound| bound.as_i64().unwrap());
    let key_bias = layer.get("key_bias").map(|_| named("key_bias"));
    let mask = layer.get("mask").map(|name| tensor(&tensors, name.as_str().unwrap()));
    let key_tokens = |item: usize| match (layer.get("key_axis"), kind) {
        (Some(axis), _) => &about["items"][item]["axes"][axis.as_str().unwrap()]["tokens"],
        (None, "decoder") => &about["items"][item]["target"]["tokens"],
        (None, _) => &about["items"][item]["source"]["tokens"],
    };

    let mut weights = Vec::new();
    for item in 0..batch {
        for head in 0..heads {
            for query in 0..queries {
                let row = (item * heads + head) * queries + query;
                let mut scores = Vec::new();
                for key in 0..keys {
                    // 1. the dot product; heads that share keys read the same ones
                    let k_row = (item * kv_heads + head / (heads / kv_heads)) * keys + key;
                    let pair = q[row * d_head..][..d_head].iter().zip(&k[k_row * d_head..][..d_head]);
                    let mut score = number(&rule["scale"]) * pair.map(|(q, k)| q * k).sum::<f64>();
                    // 2. the cap
                    if let Some(cap) = rule.get("softcap").map(number) {
                        score = cap * (score / cap).tanh();
                    }
                    // 3. the biases: of the key's distance to the query, and of the key
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
                    if let Some((shape, bias)) = &key_bias {
                        let item = if shape[0] == 1 { 0 } else { item };
                        score += bias[(item * heads + head) * keys + key];
                    }
                    // 4. what is seen: in reach, shown by the mask, no padding
                    let in_reach = bound("before").is_none_or(|before| offset >= -before)
                        && bound("after").is_none_or(|after| offset <= after);
                    let is_padding = key_tokens(item)[key]["role"] == "padding";
                    let is_shown = mask.as_ref().is_none_or(|mask| is_shown(mask, item, head, query, key));
                    scores.push(if in_reach && is_shown && !is_padding { score } else { f64::NEG_INFINITY });
                }
                // 5. the row's log-sum-exp, where the writer left it out; a sink competes with the keys
                let sink = rule.get("sinks").map(|sinks| number(&sinks[head]).exp());
                let sum = || scores.iter().map(|score| score.exp()).sum::<f64>() + sink.unwrap_or(0.0);
                let lse = lse.as_ref().map_or_else(|| sum().ln(), |lse| lse[row]);
                // 6. weights
                let weight = |score: &f64| {
                    if *score > f64::NEG_INFINITY && lse > f64::NEG_INFINITY { (score - lse).exp() } else { 0.0 }
                };
                weights.extend(scores.iter().map(weight));
            }
        }
    }
    weights
}

/// Holds every layer of weights of a recording to what the document's steps make of its file.
fn check_by_the_document(recording: &Recording, file: &[u8]) {
    for layer in recording.layers.iter().filter(|layer| layer.quantity == Quantity::Weight) {
        let given = weights_by_the_document(file, layer.kind.name(), layer.index as u64, layer.stack.as_deref());
        let mut wanted = Vec::new();
        for item in 0..recording.items.len() {
            for head in 0..layer.shape.n_heads {
                let map = recording.map_of(layer, item, head).unwrap();
                wanted.extend((0..map.n_queries()).flat_map(|query| map.row(query)));
                assert_eq!(map.dense().len(), map.n_queries() * map.n_keys());
            }
        }
        assert_eq!(given.len(), wanted.len());
        for (cell, (given, wanted)) in given.iter().zip(&wanted).enumerate() {
            let difference = (given - f64::from(*wanted)).abs();
            assert!(difference < 1e-6, "{layer}, cell {cell}: {given} {wanted}");
        }
        let total: f64 = given.iter().sum();
        assert!(total > 1.0, "{layer}: all weights together are {total}");
    }
}

#[test]
fn the_steps_of_the_document_give_the_weights_of_attlas() {
    let recording = common::everything();
    check_by_the_document(&recording, &saved(&recording));
}

#[test]
fn a_file_of_version_1_is_read_as_before_and_written_as_version_2() {
    let file = include_bytes!("data/version_1.safetensors");
    assert_eq!(metadata(file)["version"], 1);
    let recording = Recording::from_bytes(Arc::new(file)).unwrap();
    assert_eq!(recording.provenance.writer, Writer { name: "attlas".into(), version: "0.1.0".into() });
    assert_eq!((recording.kinds(), recording.layers.len()), (Kind::ALL.to_vec(), 6));
    assert!(recording.check().unwrap().iter().all(|check| check.passed()));
    check_by_the_document(&recording, file);
    let written = recording.to_bytes().unwrap();
    assert_eq!(metadata(&written)["version"], 2);
    assert_eq!(Recording::from_bytes(Arc::new(written)).unwrap(), recording);
}

#[test]
fn log_sum_exps_that_a_writer_left_out_are_computed() {
    let recording = common::everything();
    let file = saved(&recording);
    let without = with_tensors(&file, |name| !name.ends_with(".lse"));
    assert!(without.len() < file.len());
    assert_eq!(Recording::from_bytes(Arc::new(without.clone())).unwrap(), recording);
    check_by_the_document(&recording, &without);
}

/// The file without the tensors that are not kept.
fn with_tensors(file: &[u8], keep: impl Fn(&str) -> bool) -> Vec<u8> {
    let tensors = SafeTensors::deserialize(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(file).unwrap();
    let kept = tensors.tensors().into_iter().filter(|(name, _)| keep(name));
    safetensors::serialize(kept, header.metadata().clone()).unwrap()
}

#[test]
fn layers_that_share_a_mask_share_its_tensor() {
    let file = saved(&common::everything());
    let masks: Vec<Value> =
        metadata(&file)["layers"].as_array().unwrap().iter().filter_map(|layer| layer.get("mask").cloned()).collect();
    assert_eq!(masks, ["decoder.2.visible", "decoder.2.visible", "decoder.4.visible"]);
    let names = SafeTensors::deserialize(&file).unwrap().names().iter().filter(|name| name.contains("visible")).count();
    assert_eq!(names, 2);
}

#[test]
fn the_document_names_every_tensor_and_every_field_that_a_file_has() {
    let file = saved(&common::everything());
    let (_, header) = SafeTensors::read_metadata(&file).unwrap();
    for name in header.tensors().keys() {
        let what =
            name.rsplit('.').next().unwrap().replace("norm", "QUANTITY").replace("value_QUANTITYs", "value_norms");
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
                if !path.ends_with("axes.") {
                    fields.entry(name.clone()).or_insert_with(|| path.to_owned()); // an axis is named by its writer
                }
                collect_fields(value, &format!("{path}{name}."), fields);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect_fields(value, path, fields)),
        _ => {}
    }
}

#[test]
fn the_document_is_about_the_version_that_is_written() {
    let version = metadata(&saved(&common::everything()))["version"].as_u64().unwrap();
    assert_eq!(version, u64::from(attlas::recording::FORMAT_VERSION));
    assert!(DOCUMENT.starts_with(&format!("# The recording format, version {version}\n")));
}

#[test]
fn the_python_of_the_document_takes_the_steps_that_the_test_takes() {
    let python = DOCUMENT.split_once("```python\n").unwrap().1.split_once("```").unwrap().0;
    let here = include_str!("format.rs");
    let steps: Vec<&str> = python.lines().filter_map(|line| line.trim().strip_prefix("# ")).collect();
    assert_eq!(steps.len(), 6);
    for (number, step) in steps.iter().enumerate() {
        let number = format!("{}. ", number + 1);
        assert!(step.starts_with(&number), "{step}");
        assert!(here.contains(&format!("// {number}")), "{step} is not taken here");
    }
    // every field that the Python reads is one that files have
    let mut fields = BTreeMap::new();
    collect_fields(&metadata(&saved(&common::everything())), "", &mut fields);
    let read =
        ["layers", "scoring", "bias", "softcap", "scale", "query_offset", "visibility", "items", "tokens", "mask"];
    for field in read.into_iter().chain(["key_bias", "key_axis", "axes", "sinks", "stack", "quantity"]) {
        assert!(python.contains(&format!("\"{field}\"")) && fields.contains_key(field), "{field}");
    }
}
