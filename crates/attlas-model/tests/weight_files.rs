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
fn weights_with_a_byte_changed_are_read_or_refused_and_never_panic() {
    for file in ["zip.bin", "legacy.bin"] {
        let bytes = std::fs::read(data(file)).unwrap();
        let dir = folder(&bytes);
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= [0xff, 0x01, 0x80][at % 3];
            std::fs::write(dir.path().join("pytorch_model.bin"), changed).unwrap();
            if let Ok(checkpoint) = Checkpoint::open(dir.path()) {
                let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
                for name in names {
                    let shape = checkpoint.get(&name).unwrap().shape.clone();
                    assert!(shape.iter().product::<usize>() < 1000, "{name} grew to {shape:?}");
                    let _ = checkpoint.tensor(&name, &shape);
                }
            }
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
