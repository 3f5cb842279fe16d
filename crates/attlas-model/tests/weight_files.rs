//! PyTorch's files against the numbers they were written with (`tools/reference/weight_fixtures.py`).

use std::path::{Path, PathBuf};

use attlas_model::weights::{Checkpoint, Saved, open_saved};
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

#[test]
fn what_is_no_state_dict_is_taken_out_of_a_file_as_it_lies_there() {
    let one = views(2, 1); // a dictionary whose value is a tensor: the pickle's memo 1, 2, 3 rebuild it again
    let pickle = [&one[..one.len() - 2], b"0(h\x01h\x03Rh\x01h\x03R\x86X\x01\0\0\0aNt."].concat();
    let stored: Vec<u8> =
        [1.0_f32, f32::NEG_INFINITY, 3.0, 4.0].iter().flat_map(|number| number.to_le_bytes()).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("attentions.pt");
    std::fs::write(&path, zip(&[("data.pkl", &pickle), ("data/0", &stored)])).unwrap();
    let Saved::List(items) = open_saved(&path).unwrap() else { panic!("a tuple was saved") };
    let [Saved::List(tensors), Saved::Text(text), Saved::Other] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((tensors.len(), text.as_str()), (2, "a"));
    let Saved::Tensor(tensor) = &tensors[1] else { panic!("{tensors:?}") };
    assert_eq!(tensor.shape, [2, 2]);
    assert_eq!(tensor.read().unwrap(), [1.0, 3.0, f32::NEG_INFINITY, 4.0], "transposed, also what is not finite");
    for file in ["zip.bin", "legacy.bin"] {
        let Saved::Named(entries) = open_saved(&data(file)).unwrap() else { panic!("{file}: a dictionary was saved") };
        assert!(entries.iter().any(|(name, saved)| name == "bf16" && matches!(saved, Saved::Tensor(_))), "{file}");
    }
    let message = open_saved(&data("hostile-path.bin")).unwrap_err().to_string();
    assert!(message.contains("asks for \"pathlib"), "{message}");
}

#[test]
fn lists_that_hold_one_another_again_and_again_are_not_walked_without_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.pt");
    let refusal = |pickle: &[u8]| {
        std::fs::write(&path, zip(&[("data.pkl", pickle)])).unwrap();
        open_saved(&path).unwrap_err().to_string()
    };
    let deep = [&b"\x80\x02)"[..], &b"2\x86".repeat(100_000), b"."].concat();
    assert!(refusal(&deep).ends_with("has lists more than 8 deep in one another"));
    // 200 names for a list of 200 names for a list of 200 names of a list
    let mut wide = b"\x80\x02)q\x00".to_vec();
    for level in 1..=3 {
        wide.extend([&b"("[..], &[b'h', level - 1].repeat(200), &[b't', b'q', level]].concat());
    }
    wide.push(b'.');
    assert!(refusal(&wide).ends_with("holds more than 1048576 things"));
    // a megabyte of text, a thousand times
    let text = [&b"\x80\x02X\x00\x00\x10\x00"[..], &[b'a'; 1 << 20], b"q\x00(", &b"h\x00".repeat(1000), b"t."].concat();
    assert!(refusal(&text).ends_with("holds texts of more than 64 MB together"));
    let itself = b"\x80\x02]q\x00h\x00a.";
    assert!(refusal(itself).ends_with("has lists more than 8 deep in one another"));
}
