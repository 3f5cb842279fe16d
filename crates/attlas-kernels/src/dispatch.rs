//! Chooses at run time which instructions a piece of work is run with.

use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(debug_assertions)]
use crate::vector::Wide;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector};

/// The instructions that a kernel can be run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512 (F, BW, DQ and VL, which come together but in Xeon Phi): 16 numbers at once.
    Avx512,
    /// AVX2 with fused multiply–add: 8 numbers at once.
    Avx2,
    /// Plain Rust, four numbers at once where the compiler finds them (SSE2, NEON, WebAssembly).
    Portable,
    /// The shape of AVX-512 in plain Rust, to be tested on any processor; not there without debug assertions.
    #[cfg(debug_assertions)]
    Wide,
}

/// Where in [`Instructions::ALL`] the fastest are that may be used.
static CHOSEN: AtomicUsize = AtomicUsize::new(0);

impl Instructions {
    /// All of them, the fastest first.
    pub const ALL: [Instructions; 3] = [Instructions::Avx512, Instructions::Avx2, Instructions::Portable];

    /// The fastest that this processor has, up to what was [chosen](Instructions::choose).
    pub fn best() -> Instructions {
        let chosen = CHOSEN.load(Ordering::Relaxed);
        let mut allowed = Instructions::ALL.into_iter().skip(chosen);
        allowed.find(|choice| choice.available()).unwrap_or(Instructions::Portable)
    }

    /// From now on [`best`](Instructions::best) gives no faster ones in this process: for measuring what a plainer
    /// processor takes. Weights that were packed before keep theirs.
    pub fn choose(self) {
        CHOSEN.store(Instructions::ALL.iter().position(|choice| *choice == self).unwrap_or(0), Ordering::Relaxed);
    }

    /// Whether this processor has them.
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx512 | Instructions::Avx2 => false,
            Instructions::Portable => true,
            #[cfg(debug_assertions)]
            Instructions::Wide => true,
        }
    }

    /// These, or plain Rust where the processor lacks them.
    pub fn or_portable(self) -> Instructions {
        if self.available() { self } else { Instructions::Portable }
    }

    /// Queries in a block of the attention kernel.
    pub fn block_rows(self) -> usize {
        self.shape().0
    }

    /// Columns of a panel of packed weights.
    pub fn panel_width(self) -> usize {
        self.shape().1
    }

    /// Lanes across a tile and across a panel.
    fn shape(self) -> (usize, usize) {
        fn of<V: Vector>() -> (usize, usize) {
            (block_rows::<V>(), panel_width::<V>())
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => of::<Avx512>(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => of::<Avx2>(),
            #[cfg(debug_assertions)]
            Instructions::Wide => of::<Wide>(),
            _ => of::<Portable>(),
        }
    }
}

/// Queries in a block: as many lanes as the micro-kernel's tile is wide.
pub const fn block_rows<V: Vector>() -> usize {
    V::TILE_COLUMNS * V::LANES
}

/// Columns of a panel of packed weights: tiles side by side.
pub const fn panel_width<V: Vector>() -> usize {
    V::PANEL_TILES * block_rows::<V>()
}

/// A piece of work written once for every kind of register.
pub trait Task {
    /// What it gives.
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`, so that they are compiled for the instructions of `V`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs a closure that was compiled for the widest registers this processor has: the compiler finds the lanes by itself.
///
/// Write `vectorised(#[inline(always)] || …)`: a closure that is only called, and not inlined, is compiled for the plainest
/// processor. The same holds for what it calls. Nothing is reordered or fused, so the numbers are the same on all processors.
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    struct Closure<F>(F);

    impl<R, F: FnOnce() -> R> Task for Closure<F> {
        type Output = R;

        #[inline(always)]
        unsafe fn run<V: Vector>(self) -> R {
            (self.0)()
        }
    }

    run(Instructions::best(), Closure(work))
}

/// Runs `task` with `instructions`, or with plain Rust where the processor lacks them.
pub fn run<T: Task>(instructions: Instructions, task: T) -> T::Output {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has asked the processor.
        Instructions::Avx512 if instructions.available() => unsafe { run_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has asked the processor.
        Instructions::Avx2 if instructions.available() => unsafe { run_avx2(task) },
        #[cfg(debug_assertions)]
        // SAFETY: plain Rust needs no particular instructions.
        Instructions::Wide => unsafe { task.run::<Wide>() },
        // SAFETY: plain Rust needs no particular instructions.
        _ => unsafe { task.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
#[inline(never)]
pub(crate) fn run_avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: this function is only called where AVX-512 is there.
    unsafe { task.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(crate) fn run_avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: this function is only called where AVX2 and FMA are there.
    unsafe { task.run::<Avx2>() }
}
