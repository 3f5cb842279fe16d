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
        (r#"{"weight_map": {"f32": "../x.bin"}}"#, "weight_map.f32 is \"../x.bin\"; a shard is a *.bin"),
        (r#"{"weight_map": {"f32": []}}"#, "weight_map.f32 is []; a shard is a *.bin"),
        (r#"{"weight_map": {"f32": "pytorch_model-2.bin"}}"#, "which is missing"),
        (r#"{"weight_map": {"other": "pytorch_model-1.bin"}}"#, "should be in pytorch_model-1.bin, but is not there"),
        (r#"{"weight_map": 3}"#, "weight_map is not an object"),
        ("{}", "weight_map is missing"),
        ("[", "is no index of shards"),
    ] {
        index(text);
        let message = Checkpoint::open(dir.path()).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}

/// A zip archive of stored entries, as torch.save writes one; checksums are not looked at.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let name = format!("archive/{name}");
        let sizes = [0, bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let rest = [sizes.as_slice(), &(name.len() as u16).to_le_bytes(), &[0, 0]].concat();
        directory.extend([b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0".as_slice(), &rest, &[0; 10]].concat());
        directory.extend([&(file.len() as u32).to_le_bytes(), name.as_bytes()].concat());
        file.extend([b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0".as_slice(), &rest, name.as_bytes(), bytes].concat());
    }
    let (start, n) = (file.len() as u32, (entries.len() as u16).to_le_bytes());
    let end = [&(directory.len() as u32).to_le_bytes()[..], &start.to_le_bytes(), &[0, 0]].concat();
    [file.as_slice(), &directory, b"PK\x05\x06\0\0\0\0", &n, &n, &end].concat()
}

/// One storage of `side · side` numbers, and `n` names for its transposed view.
fn views(side: u16, n: usize) -> Vec<u8> {
    let number = |n: u32| [b"J".as_slice(), &n.to_le_bytes()].concat();
    let (side, all) = (number(side.into()), number(u32::from(side).pow(2)));
    let one = number(1);
    let mut pickle = [
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nq\x010(X\x07\0\0\0storagectorch\nFloatStorage\n".as_slice(),
        b"X\x01\0\0\x000X\x03\0\0\0cpu",
        &all,
        b"tQq\x020(h\x02K\x00",
        &side,
        &side,
        b"\x86",
        &one,
        &side,
        b"\x86\x89Ntq\x030}(",
    ]
    .concat();
    for index in 0..n {
        let name = format!("{index:05}");
        pickle.extend([b"U\x05".as_slice(), name.as_bytes(), b"h\x01h\x03R"].concat());
    }
    pickle.extend(b"u.");
    pickle
}

#[test]
fn views_of_one_storage_cost_nothing_until_they_are_read_and_may_not_be_without_number() {
    let stored: Vec<u8> = (0..350 * 350).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let file = |n| zip(&[("data.pkl", &views(350, n)), ("data/0", &stored)]);
    let dir = folder(&file(60));
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let numbers = checkpoint.tensor("00059", &[350, 350]).unwrap();
    assert_eq!(numbers[..3], [0.0, 350.0, 700.0]);
    assert_eq!(numbers[350..352], [1.0, 351.0]);
    let message = refusal(&file(10_000));
    assert!(message.contains("has 10000 tensors that would take 4900000000 bytes"), "{message}");
}

#[test]
fn a_pickle_that_copies_a_list_again_and_again_is_refused() {
    let pairs = [b"\x80\x02(".as_slice(), &b"NN\x86".repeat(40_000), b"lq\x000ccollections\nOrderedDict\nq\x010("];
    let pickle = [pairs.concat(), b"h\x01h\x00\x85R".repeat(8_000), b"l.".to_vec()].concat();
    assert!(refusal(&zip(&[("data.pkl", &pickle)])).contains("makes more values than a pickle of its size"));
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
