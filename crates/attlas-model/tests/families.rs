//! Every family against what transformers computes: attention of every head, logits, generated ids.
//!
//! The cases lie in `tests/data/families`; `tools/reference/families.py` makes them.

#![allow(clippy::needless_range_loop)] // indices name the axes of several arrays at once

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas::{Kind, TokenRole, Tokens};
use attlas_model::family::{FAMILIES, table};
use attlas_model::{Array, Decoding, Input, Model, RunOptions, Side};
use safetensors::SafeTensors;
use serde_json::Value;

const ATTENTION_TOLERANCE: f32 = 1e-5;

/// Cases that attlas does not read: they must be refused by name.
const NOT_READ: &[&str] = &[
    "clip-vision",
    "deberta-v2",
    "deberta-v2-unshared",
    "deit",
    "dinov2",
    "dinov2-giant",
    "dinov2-registers",
    "opt-350m",
    "vit",
    "vit-model",
    "whisper",
];

/// A tensor of expected.safetensors.
struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

/// One folder of reference values.
struct Case {
    folder: PathBuf,
    name: String,
    expected: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Case {
    fn open(folder: &Path) -> Case {
        let bytes = std::fs::read(folder.join("expected.safetensors")).expect("expected.safetensors");
        let json = std::fs::read(folder.join("expected.json")).expect("expected.json");
        let file = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let number = |bytes: &[u8], is_float: bool| {
            let bytes = bytes.try_into().expect("four bytes");
            if is_float { f32::from_le_bytes(bytes) } else { i32::from_le_bytes(bytes) as f32 }
        };
        let tensors = file.iter().map(|(name, view)| {
            let is_float = view.dtype() == safetensors::Dtype::F32;
            let values = view.data().chunks_exact(4).map(|bytes| number(bytes, is_float)).collect();
            (name.to_owned(), Tensor { shape: view.shape().to_vec(), values })
        });
        Case {
            folder: folder.to_owned(),
            name: folder.file_name().expect("a name").to_string_lossy().into_owned(),
            expected: serde_json::from_slice(&json).expect("JSON"),
            tensors: tensors.collect(),
        }
    }

    fn tensor(&self, run: &str, name: &str) -> Option<&Tensor> {
        self.tensors.get(&format!("{run}.{name}"))
    }

    /// The rows of a tensor of ids, without their padding. Shape `[batch][length]`.
    fn ids(&self, run: &str, ids: &str, mask: &str) -> Vec<Vec<u32>> {
        let Some(tensor) = self.tensor(run, ids) else { return Vec::new() };
        let n = tensor.shape[1];
        let row = |item: usize| {
            let valid = |i: &usize| self.tensor(run, mask).is_none_or(|mask| mask.values[item * n + i] == 1.0);
            (0..n).filter(valid).map(|i| tensor.values[item * n + i] as u32).collect()
        };
        (0..tensor.shape[0]).map(row).collect()
    }

    /// The inputs of a run, one per item of its batch.
    fn inputs(&self, model: &Model, run: &str) -> Vec<Input> {
        let ids = self.ids(run, "input_ids", "attention_mask");
        let decoder_ids = self.ids(run, "decoder_input_ids", "decoder_attention_mask");
        let types = self.ids(run, "token_type_ids", "attention_mask");
        let tokens = |side, ids: &[u32]| model.tokens_from_ids(side, ids).expect("ids of the vocabulary");
        let item = |index: usize| match (model.has(Side::Source), model.has(Side::Target)) {
            (true, true) => Input {
                source: tokens(Side::Source, &ids[index]),
                target: tokens(Side::Target, &decoder_ids[index]),
                ..Input::default()
            },
            (true, false) => Input {
                source: tokens(Side::Source, &ids[index]),
                segments: types.get(index).cloned().unwrap_or_default(),
                ..Input::default()
            },
            _ => Input { target: tokens(Side::Target, &ids[index]), ..Input::default() },
        };
        (0..ids.len()).map(item).collect()
    }

    /// Compares one run; returns what is wrong.
    fn check_run(&self, model: &Model, run: &str) -> Vec<String> {
        let inputs = self.inputs(model, run);
        let options = RunOptions { logits: true, ..RunOptions::default() };
        let result = match model.run(&inputs, &options) {
            Ok(result) => result,
            Err(error) => return vec![format!("{run}: {error}")],
        };
        let mut wrong = Vec::new();
        for (name, expected) in &self.tensors {
            let Some((kind, layer)) = name.strip_prefix(&format!("{run}.attentions.")).and_then(|name| {
                let (kind, layer) = name.split_once('.')?;
                Some((self.kind(model, kind), layer.parse::<usize>().ok()?))
            }) else {
                continue;
            };
            let worst = worst_weight(&result.recording, kind, layer, expected);
            match worst {
                Ok(worst) if worst <= ATTENTION_TOLERANCE => {}
                Ok(worst) => wrong.push(format!("{name}: off by {worst:e}")),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        if let Some(expected) = self.tensor(run, "logits") {
            let rows: Vec<usize> = inputs
                .iter()
                .map(|input| if input.target.is_empty() { input.source.len() } else { input.target.len() })
                .collect();
            if let Some(problem) = compare_logits(expected, result.logits.as_ref(), &rows) {
                wrong.push(format!("{run}.logits: {problem}"));
            }
        }
        wrong
    }

    fn kind(&self, model: &Model, name: &str) -> Kind {
        match name {
            "encoder" => Kind::Encoder,
            "decoder" => Kind::Decoder,
            "cross" => Kind::Cross,
            _ if model.has(Side::Target) => Kind::Decoder,
            _ => Kind::Encoder,
        }
    }

    /// Compares what is generated; returns what is wrong.
    fn check_generations(&self, model: &Model) -> Vec<String> {
        let numbers = |value: &Value| -> Vec<u32> {
            value.as_array().into_iter().flatten().filter_map(|id| id.as_u64()).map(|id| id as u32).collect()
        };
        let mut wrong = Vec::new();
        for generation in self.expected["generations"].as_array().into_iter().flatten() {
            let prompt = numbers(&generation["prompt"]);
            let ids = numbers(&generation["ids"]);
            let max_tokens = generation["max_new_tokens"].as_u64().expect("a number") as usize;
            let decoding = match generation["method"].as_str() {
                Some("beam") => {
                    Decoding::Beam { width: generation["width"].as_u64().expect("a number") as usize, max_tokens }
                }
                _ => Decoding::Greedy { max_tokens },
            };
            let both = model.has(Side::Source);
            let input = if both {
                Input {
                    source: model.tokens_from_ids(Side::Source, &prompt).expect("ids"),
                    target: model.tokens_from_ids(Side::Target, &ids[..1]).expect("ids"),
                    ..Input::default()
                }
            } else {
                Input { target: model.tokens_from_ids(Side::Target, &prompt).expect("ids"), ..Input::default() }
            };
            let new = &ids[if both { 1 } else { prompt.len() }..];
            match model.run(&[input], &RunOptions { decoding, ..RunOptions::default() }) {
                Ok(run) => {
                    let found = ids_of(&run.generated[0].tokens);
                    if found != new {
                        wrong.push(format!("{decoding:?} gave {found:?}, expected {new:?}"));
                    }
                }
                Err(error) => wrong.push(format!("{decoding:?}: {error}")),
            }
        }
        wrong
    }
}

fn ids_of(tokens: &Tokens) -> Vec<u32> {
    tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding).filter_map(|token| token.id).collect()
}

/// The largest difference over a layer's maps, padding left out.
fn worst_weight(
    recording: &attlas::Recording,
    kind: Kind,
    layer: usize,
    expected: &Tensor,
) -> Result<f32, attlas::Error> {
    let [batch, n_heads, n_queries, n_keys] = expected.shape[..] else { panic!("four axes") };
    let mut worst = 0.0_f32;
    for item in 0..batch {
        let real = |tokens: &Tokens| tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding).count();
        let rows = real(recording.items[item].queries(kind));
        let columns = real(recording.items[item].keys(kind));
        for head in 0..n_heads {
            let map = recording.map(item, kind, layer, head)?;
            for query in 0..rows {
                let row = map.row(query);
                let start = ((item * n_heads + head) * n_queries + query) * n_keys;
                for key in 0..columns {
                    // eager in f64 gives NaN where padding has a window without keys, and to all that reads it
                    if expected.values[start + key].is_nan() {
                        continue;
                    }
                    let difference = (row[key] - expected.values[start + key]).abs();
                    worst = if difference.is_nan() { f32::INFINITY } else { worst.max(difference) };
                }
            }
        }
    }
    Ok(worst)
}

/// What is wrong with the logits of the real rows: relative 1e-5 plus absolute 2e-5 is right.
fn compare_logits(expected: &Tensor, found: Option<&Array>, rows: &[usize]) -> Option<String> {
    let Some(found) = found else { return Some("there are none".to_owned()) };
    let (batch, per_item) = (expected.shape[0], expected.values.len() / expected.shape[0]);
    if found.values.len() != expected.values.len() {
        return Some(format!("shape is {:?}, expected {:?}", found.shape, expected.shape));
    }
    let by_position = found.shape.len() == 3;
    let mut worst = (0.0_f32, String::new());
    for item in 0..batch {
        let n = if by_position { per_item / found.shape[1] * rows[item] } else { per_item };
        for i in item * per_item..item * per_item + n {
            let (x, y) = (found.values[i], expected.values[i]);
            if y.is_nan() {
                continue;
            }
            let excess = (x - y).abs() / (2e-5 + 1e-5 * y.abs());
            if excess.is_nan() || excess > worst.0 {
                worst = (if excess.is_nan() { f32::INFINITY } else { excess }, format!("{x} for {y} at {i}"));
            }
        }
    }
    (worst.0 > 1.0).then_some(worst.1)
}

#[test]
fn every_family_equals_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    let only = std::env::var("ATTLAS_FAMILY").unwrap_or_default();
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    folders.sort();
    let mut wrong = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let case = Case::open(folder);
        if !case.name.contains(&only) {
            continue;
        }
        let model = match Model::load(&case.folder) {
            Ok(_) if NOT_READ.contains(&case.name.as_str()) => {
                wrong.push(format!("{}: is read now; take it off NOT_READ", case.name));
                continue;
            }
            Err(error) if NOT_READ.contains(&case.name.as_str()) => {
                let model_type = case.expected["family"].as_str().expect("a family");
                if !error.to_string().contains(model_type) {
                    wrong.push(format!("{}: the refusal does not name {model_type}: {error}", case.name));
                }
                continue;
            }
            Ok(model) => model,
            Err(error) => {
                wrong.push(format!("{}: {error}", case.name));
                continue;
            }
        };
        let runs = case.expected["runs"].as_array().expect("runs").clone();
        let mut problems: Vec<String> =
            runs.iter().filter_map(Value::as_str).flat_map(|run| case.check_run(&model, run)).collect();
        problems.extend(case.check_generations(&model));
        wrong.extend(problems.iter().map(|problem| format!("{}: {problem}", case.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_registry_names_every_case_that_is_tested() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/families");
    let named: Vec<&str> = FAMILIES.iter().flat_map(|family| family.tested()).map(|(case, _)| *case).collect();
    for entry in std::fs::read_dir(&folder).expect("the cases") {
        let path = entry.expect("an entry").path();
        let case = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() && !NOT_READ.contains(&case.as_str()) {
            assert!(named.contains(&case.as_str()), "{case} is not in family/tested.rs");
        }
    }
    for case in named {
        assert!(folder.join(case).is_dir(), "family/tested.rs names {case}, which is not there");
    }
}

#[test]
fn the_table_in_the_readme_is_the_registrys() {
    const START: &str = "<!-- models -->\n";
    const END: &str = "<!-- /models -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md");
    let start = readme.find(START).expect("the start marker") + START.len();
    let end = readme.find(END).expect("the end marker");
    let table = table();
    if std::env::var_os("ATTLAS_ACCEPT").is_some() {
        std::fs::write(&path, format!("{}{table}{}", &readme[..start], &readme[end..])).expect("README.md is writable");
        return;
    }
    assert!(readme[start..end] == table, "run this test once with ATTLAS_ACCEPT=1; the table should be\n{table}");
}
