//! Files that another program cuts short while they are read: a result or one sentence, never the end by a signal.

mod common;

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Command, recording};

/// Runs `words` again and again while the file at `path` is cut and made whole again.
fn stays_alive(folder: &tempfile::TempDir, path: &Path, words: &[&str]) {
    const RUNS: usize = 12;
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
    let (folder, name) = recording(&"the red cat and the green bird ".repeat(20));
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
    let (folder, name) = recording(&"the red cat and the green bird ".repeat(10));
    for maps in ["maps.npz", "maps.safetensors"] {
        Command::new(["export", &name, "-o", maps]).in_folder(&folder).run().succeeds();
        stays_alive(&folder, &folder.path().join(maps), &["import", maps, "-o", "back.safetensors"]);
    }
}

#[test]
fn a_disk_that_fills_while_an_archive_is_written_is_one_sentence_with_the_path_that_was_asked_for() {
    let (folder, name) = recording(&"the red cat and the green bird ".repeat(20));
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
