//! What reading a hostile file may take: a counting allocator, and cases held to a budget of memory and time.
//!
//! For a test binary of its own: the allocator is the binary's, and cases run one at a time.

#![allow(unsafe_code)] // an allocator cannot be written without

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The system's allocator, counted.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes in use.
static HELD: AtomicUsize = AtomicUsize::new(0);
/// The most bytes in use since a case began.
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// Past this many bytes the allocator has no more, lest a fault take the whole machine.
const CEILING: usize = 4 << 30;
/// The longest that a case may take; those that are right take milliseconds, also on a busy machine.
const MOST_TIME: Duration = Duration::from_secs(10);

/// Counts `n` more bytes, if they may be had.
fn take(n: usize) -> bool {
    let held = HELD.fetch_add(n, Ordering::Relaxed) + n;
    if held > CEILING {
        HELD.fetch_sub(n, Ordering::Relaxed);
        return false;
    }
    PEAK.fetch_max(held, Ordering::Relaxed);
    true
}

// SAFETY: each call is passed to the system's allocator as it came, or answered by null, which means that there is no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: what the caller promises of `layout` is passed on.
        if take(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        if take(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `place` came from `alloc` above, so from the system's allocator, with this layout.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !take(size) {
            return std::ptr::null_mut(); // old and new may be there together while one is copied
        }
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as in `dealloc`; what the caller promises of `size` is passed on.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Lets no other test of the binary run meanwhile: what it allocates would count. Each test of the binary begins with it.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a case of a test that is [`alone`], which must stay within `most_bytes` beside what was held before, and within a few
/// seconds.
pub fn within<T>(most_bytes: usize, what: impl Fn() -> String, run: impl FnOnce() -> T) -> T {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let result = run();
    let (time, bytes) = (start.elapsed(), PEAK.load(Ordering::Relaxed) - before);
    assert!(bytes <= most_bytes, "{} took {bytes} bytes of {most_bytes}", what());
    assert!(time <= MOST_TIME, "{} took {time:?}", what());
    result
}
