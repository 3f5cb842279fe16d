//! The clock of the benchmarks.

use std::sync::OnceLock;
use std::time::Instant;

/// Seconds of processor time of this thread; of the clock where the system does not say.
pub fn thread_time() -> f64 {
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    {
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
        }
        const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
        let mut time = [0_i64; 2];
        // SAFETY: the C library's function, which writes two numbers of 64 bits where `time` has room for them.
        if unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) } == 0 {
            return time[0] as f64 + time[1] as f64 * 1e-9;
        }
    }
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}
