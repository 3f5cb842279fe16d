//! Files that another program cuts short while they are read: a result or one sentence, never the end by a signal.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use attlas::attention::Shape;
use attlas::recording::QueriesAndKeys;
use attlas::{Item, Kind, Provenance, Recording, Scoring, Tokens, Visibility};
use common::Command;
use tempfile::TempDir;

/// A recording of `n` tokens in a folder of its own, from queries and keys that are made up.
fn recording(n: usize) -> (TempDir, String) {
    let shape = Shape { n_heads: 4, n_kv_heads: 4, n_queries: n, n_keys: n, d_head: 16, d_value: 16 };
    let source = Tokens::from_labels((0..n).map(|position| position.to_string()));
    let items = vec![Item { source, ..Item::default() }];
    let numbers = |seed: usize| {
        let number = |at: usize| ((at * 7919 + seed) % 1009) as f32 / 504.5 - 1.0;
        (0..4 * n * 16).map(number).collect::<Vec<_>>().into()
    };
    let layer = |index| {
        let scoring = Scoring::scaled_dot_product(16, Visibility::FULL);
        let (queries, keys) = (numbers(index), numbers(index + 13));
        QueriesAndKeys { kind: Kind::Encoder, index, shape, scoring, queries, keys, mask: None, key_bias: None }
    };
    let layers = (0..3).map(|index| layer(index).layer(&items).expect("a layer")).collect();
    let folder = common::folder();
    let recording = Recording { items, layers, provenance: Provenance::default() };
    recording.save(&folder.path().join("run.safetensors")).expect("the folder is writable");
    (folder, "run.safetensors".to_owned())
}

/// Runs `words` again and again while the file at `path` is cut and made whole again.
fn stays_alive(folder: &TempDir, path: &Path, words: &[&str]) {
    const RUNS: usize = 8;
    let whole = fs::read(path).expect("the file is there");
    let is_over = AtomicBool::new(false);
    let codes = std::thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(path).expect("the file is writable");
            for step in (0_u64..).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                file.set_len(whole.len() as u64 * (step % 7) / 8).expect("a shorter file");
                std::thread::sleep(std::time::Duration::from_millis(step % 5));
                fs::write(path, &whole).expect("the whole file");
                std::thread::sleep(std::time::Duration::from_millis(step % 11));
            }
        });
        let codes: Vec<_> = (0..RUNS).map(|_| Command::new(words).in_folder(folder).run()).collect();
        is_over.store(true, Ordering::Relaxed);
        codes
    });
    for run in codes {
        assert!(matches!(run.code, Some(0 | 1 | 3)), "{words:?}: {:?} {}", run.code, run.stderr);
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
}

#[test]
fn a_recording_cut_short_while_it_is_read_ends_in_a_result_or_an_error() {
    let (folder, name) = recording(100);
    let path = folder.path().join(&name);
    for words in [
        &["info", &name][..],
        &["draw", "map", &name, "--layer", "1", "--head", "0", "-o", "map.svg"],
        &[&name, "-o", "page.html"],
        &["export", &name, "-o", "maps.npz"],
    ] {
        stays_alive(&folder, &path, words);
    }
}

#[test]
fn arrays_cut_short_while_they_are_read_end_in_a_recording_or_an_error() {
    let (folder, name) = recording(100);
    for maps in ["maps.npz", "maps.safetensors"] {
        Command::new(["export", &name, "-o", maps]).in_folder(&folder).run().succeeds();
        stays_alive(&folder, &folder.path().join(maps), &["import", maps, "-o", "back.safetensors"]);
    }
}

#[test]
fn a_disk_that_fills_while_an_archive_is_written_is_one_sentence_with_the_path_that_was_asked_for() {
    let (folder, name) = recording(100);
    let before = fs::read_dir(folder.path()).expect("readable").count();
    for maps in ["maps.npz", "maps.safetensors", "maps.csv"] {
        let script = "trap '' XFSZ; ulimit -f 64; exec \"$0\" export \"$1\" -o \"$2\"";
        let run = std::process::Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_attlas"), &name, maps])
            .current_dir(folder.path())
            .output()
            .expect("a shell");
        let said = String::from_utf8(run.stderr).expect("UTF-8");
        assert_eq!(run.status.code(), Some(4), "{said}");
        assert_eq!(said, format!("attlas: {maps}: could not be written: File too large (os error 27)\n"));
        assert_eq!(fs::read_dir(folder.path()).expect("readable").count(), before, "nothing is left");
    }
}
