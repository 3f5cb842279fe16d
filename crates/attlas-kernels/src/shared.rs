//! A slice that pieces of work on several threads write to.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice that parallel pieces of work write to, each its own part.
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: numbers may be written from any thread; that no two write the same is the contract of `part` and `at`.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    /// The whole slice.
    pub fn new(slice: &'a mut [f32]) -> Shared<'a> {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No two parts that are alive at a time overlap.
    ///
    /// # Panics
    /// When the range ends outside of the slice.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [f32] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: inside the slice, which is borrowed mutably for `'a`; parts do not overlap.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Where the numbers from `index` on lie, of which `n` may be written by one piece of work.
    ///
    /// # Panics
    /// When they do not lie in the slice.
    pub fn at(&self, index: usize, n: usize) -> *mut f32 {
        assert!(index <= self.len && n <= self.len - index);
        self.start.wrapping_add(index)
    }
}
