//! The threads of everything that computes: as many as are asked for and to be had.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rayon::{ThreadBuilder, ThreadPoolBuilder};

use crate::failure::Failure;

/// More threads than that are never started, whoever asks for them.
pub const MAX_THREADS: usize = 1024;

/// Starts the threads beside this one, which computes, too: were it none of the pool's, each piece of work would have to wake
/// them and wait. A system that gives fewer than were asked for gives fewer; one that gives none leaves this one alone.
///
/// # Errors
/// [`Failure::Limit`] when not even that is possible.
pub fn start(asked: Option<usize>) -> Result<(), Failure> {
    let variable = std::env::var("RAYON_NUM_THREADS").ok().and_then(|text| number(&text));
    let per_core = || thread::available_parallelism().map_or(1, usize::from);
    let n_threads = asked.or(variable).unwrap_or_else(per_core).clamp(1, MAX_THREADS);
    let (work, waiting) = channel();
    let n_threads = 1 + spawn(n_threads - 1, waiting);
    let hand_over =
        move |thread| work.send(thread).map_err(|_| std::io::Error::other("a thread that was started has ended"));
    let pool =
        ThreadPoolBuilder::new().num_threads(n_threads).use_current_thread().spawn_handler(hand_over).build_global();
    pool.map_err(|error| Failure::Limit(format!("no threads could be started ({error}); --threads 1 needs fewest")))
}

/// The threads that `RAYON_NUM_THREADS` asks for; 0 and what is no number ask for nothing.
fn number(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|n| *n > 0)
}

/// Starts up to `n_threads` threads that wait for what they are to do. How many there are.
///
/// They are started before the pool is made, because a pool that has not got all of its threads cannot be made again.
fn spawn(n_threads: usize, waiting: Receiver<ThreadBuilder>) -> usize {
    let waiting = Arc::new(Mutex::new(waiting));
    let is_started = |_: &usize| {
        let waiting = Arc::clone(&waiting);
        let next = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // without a pool the channel closes, and the thread ends
        thread::Builder::new().spawn(move || next().map(ThreadBuilder::run)).is_ok()
    };
    (0..n_threads).take_while(is_started).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_threads_is_positive() {
        assert_eq!(["8", " 8 ", "100000"].map(number), [Some(8), Some(8), Some(100_000)]);
        assert_eq!(["", "0", "-1", "many", "99999999999999999999999"].map(number), [None; 5]);
    }
}
