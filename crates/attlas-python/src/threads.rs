//! Work that takes time: done by threads of its own while the interpreter goes on, and left alone at Ctrl-C.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::errors::{Class, exception};

/// How often a signal is looked for.
const PATIENCE: Duration = Duration::from_millis(50);

/// The threads that compute, and the process they belong to: a fork has none of its parent's threads.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The threads of this process. The lock is never held without the interpreter's, so a fork finds it free.
fn pool(_: Python<'_>) -> PyResult<Arc<ThreadPool>> {
    let mut held = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let process = std::process::id();
    if let Some((owner, pool)) = &*held
        && *owner == process
    {
        return Ok(Arc::clone(pool));
    }
    let pool = Arc::new(started(0)?);
    if let Some((_, strangers)) = held.replace((process, Arc::clone(&pool))) {
        std::mem::forget(strangers); // its threads are not in this process: waiting for them would never end
    }
    Ok(pool)
}

/// So many threads; as many as the machine has for 0.
fn started(n_threads: usize) -> PyResult<ThreadPool> {
    let pool = ThreadPoolBuilder::new().num_threads(n_threads).build();
    pool.map_err(|error| exception(Class::Limit, format!("no threads could be started: {error}")))
}

/// Does `work` while other Python threads run. At Ctrl-C the interrupt is raised at once; what `work` still does comes to nothing.
///
/// # Errors
/// What a signal's handler raised; when no threads can be had.
pub fn compute<T: Send + 'static>(py: Python<'_>, work: impl FnOnce() -> T + Send + 'static) -> PyResult<T> {
    compute_watched(py, |_| work())
}

/// As [`compute`]; `work` is given a flag that says when to stop.
///
/// # Errors
/// As [`compute`].
pub fn compute_watched<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce(&AtomicBool) -> T + Send + 'static,
) -> PyResult<T> {
    let pool = pool(py)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, result) = channel();
    let flag = Arc::clone(&stop);
    pool.spawn(move || {
        // nobody listens any more after an interrupt
        let _ = sender.send(catch_unwind(AssertUnwindSafe(|| work(&flag))));
    });
    py.detach(move || {
        loop {
            match result.recv_timeout(PATIENCE) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(exception(Class::Error, "the thread that computed has ended"));
                }
                Err(RecvTimeoutError::Timeout) => Python::attach(|py| py.check_signals()).inspect_err(|_| {
                    stop.store(true, Ordering::SeqCst);
                })?,
            }
        }
    })
}

/// Does `work`, which must not go on unseen, while other Python threads run: Ctrl-C waits for its end.
///
/// # Errors
/// When no threads can be had.
pub fn finish<T: Send>(py: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    let pool = pool(py)?;
    Ok(py.detach(|| pool.install(work)))
}

/// Does `work` while other Python threads run, by so many threads where a number is said. At Ctrl-C the flag that `work` is given is
/// set, and the interrupt raised when it has stopped.
///
/// # Errors
/// What a signal's handler raised; when no threads can be had.
pub fn finish_watched<T: Send>(
    py: Python<'_>,
    n_threads: Option<usize>,
    work: impl FnOnce(&AtomicBool) -> T + Send,
) -> PyResult<T> {
    let pool = match n_threads {
        Some(n_threads) => Arc::new(started(n_threads)?),
        None => pool(py)?,
    };
    let stop = &AtomicBool::new(false);
    py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, done) = channel();
            let worker = scope.spawn(move || {
                let result = pool.install(|| work(stop));
                let _ = sender.send(()); // the receiver waits below
                result
            });
            let mut interrupt = None;
            while done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                if interrupt.is_none()
                    && let Err(error) = Python::attach(|py| py.check_signals())
                {
                    stop.store(true, Ordering::SeqCst);
                    interrupt = Some(error);
                }
            }
            let result = worker.join().unwrap_or_else(|panic| resume_unwind(panic));
            interrupt.map_or(Ok(result), Err)
        })
    })
}
