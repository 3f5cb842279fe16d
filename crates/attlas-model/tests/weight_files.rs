//! PyTorch's files against the numbers they were written with (`tools/reference/weight_fixtures.py`).

use std::path::{Path, PathBuf};

use attlas_model::weights::Checkpoint;
use serde_json::Value;
use tempfile::TempDir;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights").join(name)
}

/// A folder with these bytes as its weights.
fn folder(bytes: &[u8]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pytorch_model.bin"), bytes).unwrap();
    dir
}

fn refusal(bytes: &[u8]) -> String {
    let dir = folder(bytes);
    let message = Checkpoint::open(dir.path()).expect_err("hostile weights were accepted").to_string();
    assert!(message.contains("pytorch_model.bin: ") && !message.contains('\n'), "{message}");
    message
}

fn shape_and_numbers(value: &Value) -> (Vec<usize>, Vec<f32>) {
    let shape = value["shape"].as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
    let numbers = value["numbers"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect();
    (shape, numbers)
}

#[test]
fn both_formats_of_pytorch_hold_the_numbers_that_pytorch_saved() {
    let expected: Value = serde_json::from_slice(&std::fs::read(data("pickles.json")).unwrap()).unwrap();
    for file in ["zip.bin", "legacy.bin", "nested.pt"] {
        let dir = folder(&std::fs::read(data(file)).unwrap());
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        assert_eq!(checkpoint.names().count(), expected.as_object().unwrap().len(), "{file}");
        for (name, value) in expected.as_object().unwrap() {
            let (shape, numbers) = shape_and_numbers(value);
            if name == "i64" {
                let message = checkpoint.tensor(name, &shape).unwrap_err().to_string();
                assert!(message.contains("tensor i64 is stored as i64"), "{message}");
                continue;
            }
            assert_eq!(*checkpoint.tensor(name, &shape).unwrap(), numbers, "{name} of {file}");
        }
    }
}

#[test]
fn a_pickle_that_asks_for_more_than_tensors_is_refused_by_name() {
    let message = refusal(&std::fs::read(data("hostile-path.bin")).unwrap());
    assert!(message.contains("asks for \"pathlib") && message.contains("tensors only"), "{message}");
}

/// A pickle that calls `function` of `module` with a text, in the oldest protocol, where each instruction is a line.
fn call(module: &str, function: &str, argument: &str) -> Vec<u8> {
    format!("c{module}\n{function}\n(S'{argument}'\ntR.").into_bytes()
}

#[test]
fn what_a_pickle_calls_is_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let shell = format!("touch {}", trace.display());
    let python = format!("open(\"{}\", \"w\")", trace.display());
    for (module, function, argument) in [
        ("os", "system", &shell),
        ("posix", "system", &shell),
        ("builtins", "eval", &python),
        ("builtins", "exec", &python),
    ] {
        let bytes = call(module, function, argument);
        for pickle in [[b"\x80\x02", bytes.as_slice()].concat(), bytes] {
            refusal(&pickle);
            assert!(!trace.exists(), "{module}.{function} was run");
        }
    }
}

#[test]
fn weights_cut_off_anywhere_are_refused() {
    for file in ["zip.bin", "legacy.bin"] {
        let bytes = std::fs::read(data(file)).unwrap();
        for end in (0..bytes.len()).step_by(7) {
            refusal(&bytes[..end]);
        }
    }
}

#[test]
fn a_sharded_index_reads_its_files_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let index = |text: &str| std::fs::write(dir.path().join("pytorch_model.bin.index.json"), text).unwrap();
    std::fs::copy(data("zip.bin"), dir.path().join("pytorch_model-1.bin")).unwrap();
    index(r#"{"weight_map": {"f32": "pytorch_model-1.bin", "bf16": "pytorch_model-1.bin"}}"#);
    assert!(Checkpoint::open(dir.path()).unwrap().contains("bf16"));
    for (text, words) in [
        (r#"{"weight_map": {"f32": "../x.bin"}}"#, "which is no file name"),
        (r#"{"weight_map": {"f32": "pytorch_model-2.bin"}}"#, "which is missing"),
        (r#"{"weight_map": {"other": "pytorch_model-1.bin"}}"#, "in none of its files"),
        (r#"{"weight_map": 3}"#, "weight_map is not an object"),
        ("[", "is not JSON"),
    ] {
        index(text);
        let message = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_folders_and_loops_in_place_of_weights_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let refused = || Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(refused().contains("is not a regular file"));
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(refused().contains("is not a regular file"));
    std::fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    assert!(!refused().is_empty());
}
