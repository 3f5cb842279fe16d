//! Ctrl-C and SIGTERM, where there is something to be kept before the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::{Failure, Signal};

/// Waits for signals that ask for the end. Until [`Watch::keep`] a signal ends the process, as it does without a watch;
/// from then on the first one is noted, and a second one ends the process.
#[derive(Debug)]
pub struct Watch {
    /// The signal that came; 0 for none.
    noted: Arc<AtomicUsize>,
    /// Whether the next signal ends the process.
    is_last: Arc<AtomicBool>,
}

impl Watch {
    /// Begins to watch.
    pub fn start() -> Result<Watch, Failure> {
        let watch = Watch { noted: Arc::default(), is_last: Arc::new(AtomicBool::new(true)) };
        for signal in [SIGINT, SIGTERM] {
            watch
                .register(signal)
                .map_err(|error| Failure::Output(format!("signals: signal {signal} cannot be watched: {error}")))?;
        }
        Ok(watch)
    }

    /// In this order: what is done at a signal is done in the order of registration.
    fn register(&self, signal: i32) -> std::io::Result<()> {
        flag::register_conditional_default(signal, Arc::clone(&self.is_last))?;
        flag::register(signal, Arc::clone(&self.is_last))?;
        flag::register_usize(signal, Arc::clone(&self.noted), signal.unsigned_abs() as usize)?;
        Ok(())
    }

    /// From now on there is something to be kept.
    pub fn keep(&self) {
        if self.noted().is_none() {
            self.is_last.store(false, Ordering::SeqCst);
        }
    }

    /// The signal that came.
    pub fn noted(&self) -> Option<Signal> {
        u8::try_from(self.noted.load(Ordering::SeqCst)).ok().filter(|signal| *signal > 0).map(Signal)
    }
}
