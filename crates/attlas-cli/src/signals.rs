//! Ctrl-C and SIGTERM: no half-written file stays, and what can be kept is kept before the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::failure::Signal;

/// Waits for signals that ask for the end. They end the process at once, after the files in hand were removed; from
/// [`Watch::keep`] on the first one is noted instead, and the second one ends the process.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    /// The signal that came; 0 for none.
    noted: Arc<AtomicUsize>,
    /// Whether the next signal is noted.
    is_noting: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch. Where no thread can be had for it, signals end the process as they always do.
    #[cfg(unix)]
    pub fn start() -> Watch {
        use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
        // a file over its limit is an error of that write, not the end of the process
        let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
        let watch = Watch::default();
        let watching = watch.clone();
        // taken here, not in the thread: a signal may come before it runs
        if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) {
            let wait = move || signals.forever().for_each(|signal| watching.take(signal));
            let _ = std::thread::Builder::new().spawn(wait);
        }
        watch
    }

    /// Elsewhere signals end the process as they always do.
    #[cfg(not(unix))]
    pub fn start() -> Watch {
        Watch::default()
    }

    #[cfg(unix)]
    fn take(&self, signal: i32) {
        if self.is_noting.swap(false, Ordering::SeqCst) {
            self.noted.store(signal.unsigned_abs() as usize, Ordering::SeqCst);
            return;
        }
        attlas::output::abandon();
        // ends the process
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }

    /// From now on there is something to be kept.
    pub fn keep(&self) {
        if self.noted().is_none() {
            self.is_noting.store(true, Ordering::SeqCst);
        }
    }

    /// The signal that came.
    pub fn noted(&self) -> Option<Signal> {
        u8::try_from(self.noted.load(Ordering::SeqCst)).ok().filter(|signal| *signal > 0).map(Signal)
    }
}
