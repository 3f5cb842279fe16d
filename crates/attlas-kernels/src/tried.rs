//! What tests try products with.

use crate::Instructions;

/// Numbers in −1 ..= 1 that look random.
pub(crate) fn numbers(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001.0 - 1.0).collect()
}

/// The instructions that this processor has, and in debug builds the shape of AVX-512 in plain Rust.
pub(crate) fn sets() -> Vec<Instructions> {
    let mut sets: Vec<Instructions> = Instructions::ALL.into_iter().filter(|choice| choice.available()).collect();
    #[cfg(debug_assertions)]
    sets.push(Instructions::Wide);
    sets
}
