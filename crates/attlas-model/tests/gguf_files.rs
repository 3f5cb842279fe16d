//! GGUF files as whole models (`tools/reference/weight_fixtures.py`).

use std::path::{Path, PathBuf};

use attlas_model::Model;

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
