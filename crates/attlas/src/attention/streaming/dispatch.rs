//! Chooses at run time which instructions the kernel is run with.

#[cfg(test)]
use super::vector::Wide;
#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use super::vector::{Portable, Vector};

/// The instructions that the streaming kernel can be run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512F: 16 numbers at once.
    Avx512,
    /// AVX2 with fused multiply–add: 8 numbers at once.
    Avx2,
    /// Plain Rust, four numbers at once where the compiler finds them (SSE2, NEON, WebAssembly).
    Portable,
    /// The shape of AVX-512 in plain Rust.
    #[cfg(test)]
    Wide,
}

impl Instructions {
    /// All of them, the fastest first.
    pub const ALL: [Instructions; 3] = [Instructions::Avx512, Instructions::Avx2, Instructions::Portable];

    /// The fastest that this processor has.
    pub fn best() -> Instructions {
        Instructions::ALL.into_iter().find(|choice| choice.available()).unwrap_or(Instructions::Portable)
    }

    /// Whether this processor has them.
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Instructions::Avx512 | Instructions::Avx2 => false,
            Instructions::Portable => true,
            #[cfg(test)]
            Instructions::Wide => true,
        }
    }

    /// These, or plain Rust where the processor lacks them.
    pub(super) fn or_portable(self) -> Instructions {
        if self.available() { self } else { Instructions::Portable }
    }

    /// Queries in a block.
    pub(super) fn block_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => block_rows::<Avx512>(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => block_rows::<Avx2>(),
            #[cfg(test)]
            Instructions::Wide => block_rows::<Wide>(),
            _ => block_rows::<Portable>(),
        }
    }
}

/// Queries in a block: as many lanes as the micro-kernel's tile is wide.
pub(super) const fn block_rows<V: Vector>() -> usize {
    V::TILE_COLUMNS * V::LANES
}

/// A piece of work written once for every kind of register.
pub(super) trait Task {
    /// What it gives.
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`, so that they are compiled for the instructions of `V`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs `task` with `instructions`, or with plain Rust where the processor lacks them.
pub(super) fn run<T: Task>(instructions: Instructions, task: T) -> T::Output {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has asked the processor.
        Instructions::Avx512 if instructions.available() => unsafe { run_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the guard has asked the processor.
        Instructions::Avx2 if instructions.available() => unsafe { run_avx2(task) },
        #[cfg(test)]
        // SAFETY: plain Rust needs no particular instructions.
        Instructions::Wide => unsafe { task.run::<Wide>() },
        // SAFETY: plain Rust needs no particular instructions.
        _ => unsafe { task.run::<Portable>() },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
#[inline(never)]
pub(super) fn run_avx512<T: Task>(task: T) -> T::Output {
    // SAFETY: this function is only called where AVX-512F is there.
    unsafe { task.run::<Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
#[inline(never)]
pub(super) fn run_avx2<T: Task>(task: T) -> T::Output {
    // SAFETY: this function is only called where AVX2 and FMA are there.
    unsafe { task.run::<Avx2>() }
}
