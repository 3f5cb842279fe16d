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
