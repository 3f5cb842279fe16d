//! How far a long computation is, on standard error: nothing for what is done within a second.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use attlas_model::Next;

use crate::terminal::remark;
use crate::words::{counted, duration};

/// What is done sooner is not worth a word.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// Time between two states of a line that is written over, and between two lines where nothing can be.
const REWRITE_EVERY: Duration = Duration::from_millis(500);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A computation of so many parts.
pub struct Progress {
    part: &'static str,
    n: usize,
    n_done: usize,
    /// What each part takes beside the others; nothing where all take the same.
    costs: Vec<f64>,
    began: Instant,
    said: Option<Instant>,
    is_terminal: bool,
}

impl Progress {
    /// The computation of `n` parts, each of them a `part`.
    pub fn new(part: &'static str, n: usize) -> Progress {
        let is_terminal = stderr().is_terminal();
        Progress { part, n, n_done: 0, costs: Vec::new(), began: Instant::now(), said: None, is_terminal }
    }

    /// The computation of parts that take longer than others: `costs` says how much.
    pub fn weighed(part: &'static str, costs: Vec<f64>) -> Progress {
        Progress { n: costs.len(), costs, ..Progress::new(part, 0) }
    }

    /// Says that another part is done.
    pub fn step(&mut self) {
        self.steps(1);
    }

    /// What a computation of some of the parts calls with how many of its own are done so far.
    pub fn watch(&mut self) -> impl FnMut(usize) -> Next {
        let before = self.n_done;
        move |n| {
            self.steps((before + n).saturating_sub(self.n_done));
            Next::Continue
        }
    }

    /// Says that so many more parts are done.
    pub fn steps(&mut self, n: usize) {
        self.n_done += n;
        let every = if self.is_terminal { REWRITE_EVERY } else { LINE_EVERY };
        let is_due = self.said.map_or(self.began.elapsed() >= FIRST_AFTER, |said| said.elapsed() >= every);
        if !is_due || self.n_done >= self.n {
            return;
        }
        self.said = Some(Instant::now());
        let line = line(self.part, self.n, self.n_done, &self.costs, self.began.elapsed());
        if self.is_terminal {
            // nothing is left to do when standard error is closed
            let _ = write!(stderr(), "\r\x1b[K{line}");
        } else {
            remark(&line);
        }
    }
}

/// The line is gone when the computation is done, or its failure is said.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal && self.said.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// A computation of which only a share is known.
pub struct ShareProgress {
    began: Instant,
    /// The share that was done when it began to be computed.
    first: Option<f64>,
    said: Option<Instant>,
    is_terminal: bool,
}

impl ShareProgress {
    /// A computation that begins, or goes on.
    pub fn new() -> ShareProgress {
        ShareProgress { began: Instant::now(), first: None, said: None, is_terminal: stderr().is_terminal() }
    }

    /// Says how much is done, as a share and in words, if it is time to.
    pub fn at(&mut self, share: f64, done: impl FnOnce() -> String) {
        // what was done before tells nothing of the speed
        let Some(first) = self.first else {
            (self.first, self.began) = (Some(share), Instant::now());
            return;
        };
        let every = if self.is_terminal { REWRITE_EVERY } else { LINE_EVERY };
        let is_due = self.said.map_or(self.began.elapsed() >= FIRST_AFTER, |said| said.elapsed() >= every);
        if !is_due || share <= first {
            return;
        }
        self.said = Some(Instant::now());
        let left = self.began.elapsed().as_secs_f64() * (1.0 - share) / (share - first);
        let line = format!("{}, {:.0} %, {} left", done(), 100.0 * share, duration(left));
        if self.is_terminal {
            // nothing is left to do when standard error is closed
            let _ = write!(stderr(), "\r\x1b[K{line}");
        } else {
            remark(&line);
        }
    }
}

impl Drop for ShareProgress {
    fn drop(&mut self) {
        if self.is_terminal && self.said.is_some() {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

/// Of parts that do not take the same, the share that must be done before a time is known.
const KNOWN_FROM: f64 = 0.1;

/// `12 of 24 maps, 3 s left`; without the time while nothing is known of it.
fn line(part: &str, n: usize, n_done: usize, costs: &[f64], elapsed: Duration) -> String {
    let (done, all) = match costs {
        [] => (n_done as f64, n as f64),
        costs => (costs.iter().take(n_done).sum(), costs.iter().sum::<f64>()),
    };
    let known_from = if costs.is_empty() { 0.0 } else { KNOWN_FROM * all };
    let parts = format!("{n_done} of {}", counted(n, part));
    match done > known_from {
        true => format!("{parts}, {} left", duration(elapsed.as_secs_f64() / done * (all - done))),
        false => parts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_and_how_long() {
        assert_eq!(line("map", 24, 8, &[], Duration::from_secs(4)), "8 of 24 maps, 8 s left");
        assert_eq!(line("map", 24, 0, &[], Duration::from_secs(4)), "0 of 24 maps");
    }

    #[test]
    fn time_is_left_by_what_parts_take_and_none_is_told_before_it_is_known() {
        let line = |n_done| line("method", 3, n_done, &[1.0, 19.0, 20.0], Duration::from_secs(5));
        assert_eq!([line(1), line(2)], ["1 of 3 methods", "2 of 3 methods, 5 s left"]);
    }

    #[test]
    fn what_is_done_of_each_computation_adds_up() {
        let mut progress = Progress::new("run", 10);
        for done in [[0, 2, 5], [1, 1, 5]] {
            let mut watch = progress.watch();
            assert!(done.iter().all(|n| watch(*n) == Next::Continue));
        }
        assert_eq!(progress.n_done, 10);
    }
}
