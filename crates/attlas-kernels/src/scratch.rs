//! Working memory, kept from call to call: a fresh page costs more than its use.

use std::cell::Cell;

thread_local! {
    /// Each thread's working memory; whoever takes it puts it back.
    pub static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Hands out pieces of working memory, each on its own cache lines.
pub struct Carver<'s>(&'s mut [f32]);

impl<'s> Carver<'s> {
    /// Numbers in a cache line.
    pub const ALIGNMENT: usize = 16;

    /// Hands out pieces of `scratch`, which grows to `n_numbers` where it is shorter.
    pub fn new(scratch: &'s mut Vec<f32>, n_numbers: usize) -> Carver<'s> {
        let n_numbers = n_numbers + Carver::ALIGNMENT;
        if scratch.len() < n_numbers {
            scratch.resize(n_numbers, 0.0);
        }
        let skip = scratch.as_ptr().align_offset(Carver::ALIGNMENT * size_of::<f32>()).min(Carver::ALIGNMENT);
        Carver(&mut scratch[skip..])
    }

    /// The next `n_numbers`; what they hold is left over from earlier use.
    pub fn take(&mut self, n_numbers: usize) -> &'s mut [f32] {
        let whole = std::mem::take(&mut self.0);
        let (piece, rest) = whole.split_at_mut(n_numbers.next_multiple_of(Carver::ALIGNMENT));
        self.0 = rest;
        &mut piece[..n_numbers]
    }
}
