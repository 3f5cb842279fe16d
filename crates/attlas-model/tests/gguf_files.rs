//! GGUF files as whole models (`tools/reference/weight_fixtures.py`), and the families' cases as GGUF files
//! (`tools/reference/gguf_models.py`) against what transformers computes of those.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use attlas::Kind;
use attlas_model::{Model, Pass, RunOptions, Side, Site};
use common::{Expected, arrays, check_maps, largest_excess};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights").join(name)
}

#[test]
fn gguf_files_are_llamas_with_their_tokenizer() {
    for file in ["f16.gguf", "q8_0.gguf", "q4_k.gguf"] {
        let model = Model::load(&data(file)).unwrap();
        assert_eq!(model.family(), "llama", "{file}");
        let encoded = model.tokenizer().unwrap().encode("the cat", None).unwrap();
        assert_eq!(encoded.tokens.labels().collect::<Vec<_>>(), ["<s>", "the", "cat"], "{file}");
    }
}

/// The families' cases that are GGUF files, too.
const CASES: [&str; 13] = [
    "llama",
    "llama3",
    "llama-yarn",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3-older-config",
    "phi",
    "phi3",
    "phi3-longrope",
    "bert",
];

#[test]
fn gguf_files_of_every_architecture_equal_transformers() {
    for case in CASES {
        let model = Model::load(&common::data("gguf").join(format!("{case}.gguf"))).unwrap();
        let expected = arrays(&common::data("families").join(case).join("expected.safetensors"));
        for run in ["padded", "long"] {
            if expected.contains_key(&format!("{run}.input_ids")) {
                check_run(&model, &expected, run).unwrap_or_else(|problem| panic!("{case}, {run}: {problem}"));
            }
        }
    }
}

/// Holds the maps of a run, and the first text's last hidden states and logits, to what was computed.
fn check_run(model: &Model, expected: &BTreeMap<String, Expected>, run: &str) -> Result<(), String> {
    let inputs = common::reference::inputs(model, expected, run)?;
    let pass = Pass::keeping([Site::Attention, Site::Stream, Site::Logits]);
    let options = RunOptions { pass, ..RunOptions::default() };
    let found = model.run(&inputs, &options).map_err(|error| error.to_string())?;
    let kind = if model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
    let n_layers = found.recording.layers.len();
    assert!(n_layers >= 2);
    for layer in 0..n_layers {
        check_maps(&found.recording, kind, layer, &expected[&format!("{run}.attentions.self.{layer}")])?;
    }
    let stream = found.kept.iter().rfind(|kept| kept.site == Site::Stream).expect("hidden states");
    let hidden = Some((&stream.array.values, &expected[&format!("{run}.hidden.self")]));
    // files of encoders have no readout
    let logits = found.logits.as_ref().filter(|_| kind == Kind::Decoder);
    let logits = logits.map(|logits| (&logits.values, &expected[&format!("{run}.logits")]));
    assert_eq!(logits.is_some(), kind == Kind::Decoder);
    for (found, expected) in hidden.into_iter().chain(logits) {
        // the first text is the longest: nothing of it is padding
        let n = expected.values.len() / expected.shape[0];
        let (excess, place) = largest_excess(&found[..n], &expected.values[..n], 1e-5);
        if excess > 2e-5 {
            return Err(format!("{} instead of {} at {place}", found[place], expected.values[place]));
        }
    }
    Ok(())
}

#[test]
fn gguf_files_carry_wordpiece_and_digits_that_stand_alone() {
    let ids = |case: &str, text: &str| -> Vec<u32> {
        let model = Model::load(&common::data("gguf").join(format!("{case}.gguf"))).unwrap();
        let encoded = model.tokenizer().unwrap().encode(text, None).unwrap();
        encoded.tokens.tokens.iter().filter_map(|token| token.id).collect()
    };
    // [CLS] the cat ##s sat . [SEP]
    assert_eq!(ids("bert", "The cats sat."), [2, 5, 6, 7, 8, 10, 3]);
    // ab, a space, 1, 2, ab: without the rule 12 is a piece
    assert_eq!(ids("llama", "ab 12ab"), [8, 3, 6, 7, 8]);
}

/// A GGUF file with another whole number before the rest of its metadata.
fn with_number(file: &str, key: &str, number: u32) -> Vec<u8> {
    let mut bytes = std::fs::read(data(file)).unwrap();
    let mut entry = |key: &str, number: u32| {
        let n_entries = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) + 1;
        bytes[16..24].copy_from_slice(&n_entries.to_le_bytes());
        let length = (key.len() as u64).to_le_bytes();
        let parts = [&length[..], key.as_bytes(), &4u32.to_le_bytes(), &number.to_le_bytes()];
        bytes.splice(24..24, parts.concat());
        16 + key.len()
    };
    // tensors are aligned to 32 bytes
    let n = entry(key, number);
    entry(&"x".repeat((2 * 32 - 16 - n % 32) % 32), 0);
    bytes
}

#[test]
fn a_gguf_file_whose_heads_turn_in_part_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let d_head = 16;
    std::fs::write(&path, with_number("f16.gguf", "llama.rope.dimension_count", d_head)).unwrap();
    Model::load(&path).unwrap();
    std::fs::write(&path, with_number("f16.gguf", "llama.rope.dimension_count", d_head - 1)).unwrap();
    let message = Model::load(&path).unwrap_err().to_string();
    assert!(message.contains("llama.rope.dimension_count is 15, but heads have 16 columns"), "{message}");
}

#[test]
fn a_part_of_a_file_and_a_mixture_of_experts_are_refused_by_their_fields() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    for (key, message) in [
        ("split.count", "split.count is 3; files of one part are read: join them first"),
        ("llama.expert_count", "llama.expert_count is 3; of GGUF files, none with a mixture of experts is read"),
    ] {
        std::fs::write(&path, with_number("f16.gguf", key, 3)).unwrap();
        let found = Model::load(&path).unwrap_err().to_string();
        assert!(found.ends_with(message), "{found}");
    }
}

#[test]
fn gguf_files_cut_off_anywhere_are_refused() {
    let bytes = std::fs::read(data("q8_0.gguf")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        Model::load(&path)
    };
    for end in (0..bytes.len()).step_by(211) {
        let message = load(&bytes[..end]).unwrap_err().to_string();
        assert!(message.contains("model.gguf: ") && !message.contains('\n'), "{message}");
    }
}
