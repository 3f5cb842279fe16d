//! Who computes when: tiles in the order they were asked for, what takes long in slices between them.
//!
//! The threads are the desk's own; a live run has others, which give way ([`crate::runs`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::Error;
use crate::refusal::Refusal;

/// Computations that wait at most; those beyond are refused.
const MAX_WAITING: usize = 1024;
/// Long computations that are sliced in between at a time; the others wait.
const LONG_AT_ONCE: usize = 1;
/// Long computations that wait at most.
const MAX_LONG: usize = 64;

/// The threads that compute, and the turns on them.
pub struct Desk {
    threads: ThreadPool,
    turns: Arc<Semaphore>,
    n_waiting: AtomicUsize,
    long: Arc<Semaphore>,
    n_long: AtomicUsize,
}

/// Tells a computation that nobody waits for it any more, when it is dropped.
#[derive(Debug, Default)]
pub struct Wanted(Arc<AtomicBool>);

/// What a computation looks at to know whether it is still wanted.
#[derive(Debug, Clone)]
pub struct GivenUp(Arc<AtomicBool>);

impl Wanted {
    /// What the computation is given.
    pub fn watch(&self) -> GivenUp {
        GivenUp(Arc::clone(&self.0))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl GivenUp {
    /// Whether nobody waits any more.
    pub fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts who waits.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn within(count: &'a AtomicUsize, most: usize) -> Result<Counted<'a>, Refusal> {
        let counted = Counted(count);
        if count.fetch_add(1, Ordering::Relaxed) < most { Ok(counted) } else { Err(Refusal::busy()) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Desk {
    /// A desk of `n_threads` threads.
    ///
    /// # Errors
    /// When they cannot be started.
    pub fn new(n_threads: usize) -> Result<Desk, Error> {
        let n_threads = n_threads.max(1);
        let threads = ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|index| format!("tiles-{index}"))
            .panic_handler(|_| {}) // whoever waits is told
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Desk {
            threads,
            turns: Arc::new(Semaphore::new(n_threads)),
            n_waiting: AtomicUsize::new(0),
            long: Arc::new(Semaphore::new(LONG_AT_ONCE)),
            n_long: AtomicUsize::new(0),
        })
    }

    /// Computes when it is this one's turn.
    ///
    /// # Errors
    /// [`Refusal::busy`] when too many wait, [`Refusal::broken`] when the computation panics.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let turn = {
            let _waiting = Counted::within(&self.n_waiting, MAX_WAITING)?;
            Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Refusal::broken())?
        };
        let (tell, told) = oneshot::channel();
        self.threads.spawn(move || {
            let result = work();
            drop(turn);
            let _ = tell.send(result); // who asked may be gone
        });
        told.await.map_err(|_| Refusal::broken())
    }

    /// A place among the long computations, each slice of which is then a [`compute`](Self::compute); held until dropped.
    ///
    /// # Errors
    /// [`Refusal::busy`] when too many wait.
    pub async fn long(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let _waiting = Counted::within(&self.n_long, MAX_LONG)?;
        Arc::clone(&self.long).acquire_owned().await.map_err(|_| Refusal::broken())
    }
}
