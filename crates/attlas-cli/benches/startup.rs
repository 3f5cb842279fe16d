//! From process start to result: `cargo bench -p attlas-cli --bench startup`.
//!
//! Each line is one command, run as a user runs it: the median and the fastest of several runs, in milliseconds.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SENTENCE: &str = "The cat sat on the mat.";
/// Tokens of the long map.
const N_TOKENS: usize = 512;

/// One measurement: what is run, how often, and how long it may take.
struct Case {
    name: &'static str,
    limit: Duration,
    n_runs: usize,
    commands: Vec<Vec<String>>,
}

fn main() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    let attlas = env!("CARGO_BIN_EXE_attlas");
    let ids: Vec<String> = (0..N_TOKENS).map(|place| (10 + place * 37 % 4000).to_string()).collect();
    let ids = ids.join(",");
    let long = ["--source-ids", &ids, "--target-ids", &ids];
    let record = |material: &[&str]| words(&[&["record", "-o", "run.safetensors"], material].concat());
    let after = |first: Vec<String>, rest: Vec<Vec<String>>| [vec![first], rest].concat();
    run(attlas, folder.path(), &words(&[&["record", "-o", "long.safetensors"], &long[..]].concat()))?;
    run(attlas, folder.path(), &words(&["record", SENTENCE, "-o", "short.safetensors"]))?;

    let three_plots = |material: &str| -> Vec<Vec<String>> {
        vec![
            words(&["draw", "map", material, "--kind", "cross", "--head", "0", "-o", "map.png"]),
            words(&["draw", "heads", material, "--kind", "encoder", "--layer", "0", "-o", "heads.png"]),
            words(&["draw", "layers", material, "--kind", "cross", "--head", "0", "-o", "layers.png"]),
        ]
    };
    let cases = [
        case("start alone (attlas --version)", 10, 20, vec![words(&["--version"])]),
        case("sentence → translation, map, table, page", 500, 10, vec![words(&[SENTENCE])]),
        case(
            "sentence → one picture of all heads (PNG)",
            500,
            10,
            vec![words(&["draw", "overview", SENTENCE, "-o", "all.png"])],
        ),
        case(
            "sentence → model run, three PNG plots (4 processes)",
            150,
            10,
            after(record(&[SENTENCE]), three_plots("run.safetensors")),
        ),
        case(
            "512 tokens → model run, three PNG plots (4 processes)",
            1000,
            5,
            after(record(&long), three_plots("run.safetensors")),
        ),
        case("recording → three PNG plots", 150, 10, three_plots("short.safetensors")),
        case("recording of 512 tokens → three PNG plots", 1000, 5, three_plots("long.safetensors")),
    ];
    for case in cases {
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..case.n_runs {
            let start = Instant::now();
            for command in &case.commands {
                run(attlas, folder.path(), command)?;
            }
            times.push(start.elapsed());
        }
        times.sort();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        writeln!(
            stdout(),
            "{:<52} median {:7.1} ms  fastest {:7.1} ms  (limit {} ms)",
            case.name,
            milliseconds(times[times.len() / 2]),
            milliseconds(times[0]),
            case.limit.as_millis()
        )?;
    }
    Ok(())
}

fn case(name: &'static str, limit_ms: u64, n_runs: usize, commands: Vec<Vec<String>>) -> Case {
    Case { name, limit: Duration::from_millis(limit_ms), n_runs, commands }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Runs the command in `folder` and waits for it.
fn run(attlas: &str, folder: &Path, words: &[String]) -> std::io::Result<()> {
    let status =
        Command::new(attlas).args(words).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("{words:?} failed: {status}"))) }
}
