//! How far a download is, on one line of standard error that is written over; nothing where that is no terminal.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::words::duration;

/// Time between two states of the line.
const REWRITE_EVERY: Duration = Duration::from_millis(500);

/// The line of one file.
pub struct Progress<'a> {
    file: &'a str,
    n_bytes: u64,
    /// What was there before.
    n_first: u64,
    began: Instant,
    last: Instant,
    is_terminal: bool,
    is_shown: bool,
}

impl Progress<'_> {
    /// The line of a file of `n_bytes`, of which `n_first` are there.
    pub fn new(file: &str, n_bytes: u64, n_first: u64) -> Progress<'_> {
        let now = Instant::now();
        Progress { file, n_bytes, n_first, began: now, last: now, is_terminal: stderr().is_terminal(), is_shown: false }
    }

    /// Says that `n_there` bytes are there.
    pub fn report(&mut self, n_there: u64) {
        if !self.is_terminal || self.last.elapsed() < REWRITE_EVERY {
            return;
        }
        self.last = Instant::now();
        let n_came = n_there.saturating_sub(self.n_first);
        let line = line(self.file, self.n_bytes, n_there, n_came, self.began.elapsed());
        // nothing is left to do when standard error is closed
        let _ = write!(stderr(), "\r\x1b[K{line}");
        self.is_shown = true;
    }
}

/// The line is gone when the file is there, or the failure is said.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// `model.safetensors: 45 % of 548.1 MB, 12.0 MB/s, 25 s left`.
fn line(file: &str, n_bytes: u64, n_there: u64, n_came: u64, elapsed: Duration) -> String {
    let megabytes = |n: f64| format!("{:.1} MB", n / 1e6);
    let rate = n_came as f64 / elapsed.as_secs_f64().max(1e-3);
    let percent = 100.0 * n_there as f64 / n_bytes.max(1) as f64;
    let left = match rate > 0.0 {
        true => format!(", {} left", duration(n_bytes.saturating_sub(n_there) as f64 / rate)),
        false => String::new(),
    };
    format!("{file}: {percent:.0} % of {}, {}/s{left}", megabytes(n_bytes as f64), megabytes(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long() {
        let second = Duration::from_secs(1);
        assert_eq!(line("a", 100_000_000, 60_000_000, 10_000_000, second), "a: 60 % of 100.0 MB, 10.0 MB/s, 4 s left");
        assert_eq!(line("a", 100_000_000, 60_000_000, 0, second), "a: 60 % of 100.0 MB, 0.0 MB/s");
    }
}
