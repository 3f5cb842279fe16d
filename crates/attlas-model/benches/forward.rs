//! Milliseconds of one forward pass that records every head, and of one that does not, for several lengths.
//! `bench/vs_pytorch.py` calls it:
//!
//!     cargo bench -p attlas-model --bench forward -- MODEL_DIR 128 512 2048
//!     cargo bench -p attlas-model --bench forward -- MODEL_DIR 32 batch=32 avx2     # 32 texts a pass, without AVX-512
//!     cargo bench -p attlas-model --bench forward -- MODEL_DIR 128 fast             # products on AMX
//!     cargo bench -p attlas-model --bench forward -- MODEL_DIR 32 tokens            # one generated token with a cache
//!
//! One line of JSON per length: `{"n": 128, "ms": 12.3, "plain_ms": 12.1, "load_ms": 45.6, "peak_mb": 500}`.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::Path;
use std::time::Instant;

use attlas_kernels::Instructions;
use attlas_model::{Decoding, Input, Model, Next, Pass, Precision, Progress, RunOptions, Side};

/// Tokens that are generated to time one.
const N_TOKENS: usize = 17;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let Some((folder, lengths)) = arguments.split_first() else {
        // `cargo test --benches` calls without arguments
        eprintln!("needs a model folder and lengths; see bench/vs_pytorch.py");
        return;
    };
    let is_asked = |word: &str| lengths.iter().any(|asked| asked == word);
    if is_asked("avx2") {
        Instructions::Avx2.choose();
    }
    let n_texts = lengths.iter().find_map(|word| word.strip_prefix("batch=")?.parse().ok()).unwrap_or(1);
    let start = Instant::now();
    let mut model = match Model::load(Path::new(folder)) {
        Ok(model) => model,
        Err(error) => return eprintln!("{error}"),
    };
    let load_ms = milliseconds(start);
    if let Some(precision) = Precision::ALL.into_iter().find(|precision| is_asked(precision.name())) {
        model.set_precision(precision);
    }
    for n in lengths.iter().filter_map(|length| length.parse::<usize>().ok()) {
        let times = if is_asked("tokens") { token(&model, n) } else { best(&model, n, n_texts) };
        match times {
            Ok((ms, plain_ms)) => {
                let peak = peak_megabytes();
                println!(
                    "{{\"n\": {n}, \"ms\": {ms:.2}, \"plain_ms\": {plain_ms:.2}, \"load_ms\": {load_ms:.1}, \"peak_mb\": {peak}}}"
                );
            }
            Err(error) => eprintln!("n = {n}: {error}"),
        }
    }
}

/// The fastest of a few passes with recording and without, in milliseconds; they take turns, so that both meet the same noise.
fn best(model: &Model, n: usize, n_texts: usize) -> Result<(f64, f64), attlas_model::Error> {
    let inputs = vec![text(model, n)?; n_texts];
    let repeats = if n <= 512 { 9 } else { 3 };
    let mut best = [f64::INFINITY; 2];
    for _ in 0..repeats {
        for (best, record) in best.iter_mut().zip([true, false]) {
            let start = Instant::now();
            let pass = if record { Pass::default() } else { Pass::keeping([]) };
            let options = RunOptions { pass, ..RunOptions::default() };
            let run = model.run(&inputs, &options)?;
            *best = best.min(milliseconds(start));
            drop(run);
        }
    }
    Ok((best[0], best[1]))
}

/// The fastest of the tokens that follow a prompt, in milliseconds, with recording and without.
fn token(model: &Model, n: usize) -> Result<(f64, f64), attlas_model::Error> {
    let input = text(model, n)?;
    let mut best = [f64::INFINITY; 2];
    for (best, pass) in best.iter_mut().zip([Pass::default(), Pass::keeping([])]) {
        let options = RunOptions { pass, decoding: Decoding::Greedy { max_tokens: N_TOKENS } };
        let mut last: Option<Instant> = None;
        model.run_watched(std::slice::from_ref(&input), &options, &mut |progress| {
            if let Progress::Token { .. } = progress {
                if let Some(start) = last {
                    *best = best.min(milliseconds(start));
                }
                last = Some(Instant::now());
            }
            Next::Continue
        })?;
    }
    Ok((best[0], best[1]))
}

/// A text of `n` tokens.
fn text(model: &Model, n: usize) -> Result<Input, attlas_model::Error> {
    let side = if model.has(Side::Source) { Side::Source } else { Side::Target };
    let ids: Vec<u32> = (0..n).map(|i| (i * 7919 % 1000) as u32 + 10).collect();
    let tokens = model.tokens_from_ids(side, &ids)?;
    Ok(match side {
        Side::Source => Input { source: tokens, ..Input::default() },
        Side::Target => Input { target: tokens, ..Input::default() },
    })
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// The most memory the process has held, from the kernel; 0 where it does not say.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes / 1024)
}
