//! The micro-kernel, the one matrix product of everything: rows of broadcast numbers times registers of columns.
//!
//! Both products of attention have this form when scores are kept transposed, keys down and queries across:
//! `Sᵀ = K·Qᵀ` and `Oᵀ = Vᵀ·Pᵀ`. So has a dense layer whose weights lie in panels: `y = x · panel`. The left factor is only
//! ever broadcast, straight from where the caller has it, so it is not packed; what is packed is the right one.
//!
//! A number of the result is one sum in the order of the inner index, whatever the tile, so it does not depend on the rows
//! that are computed with it.

use crate::dispatch::Task;
use crate::vector::Vector;

/// The left factor, read number by number: entry `(row, inner)` is at `row · row_stride + inner · inner_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// Everything that the strides reach.
    pub numbers: &'a [f32],
    /// From a row to the next.
    pub row_stride: usize,
    /// From a factor to the next of the same sum.
    pub inner_stride: usize,
}

/// What becomes of the numbers that `out` holds before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// They are forgotten.
    Replace,
    /// The sums are added to them.
    Add,
    /// The sums begin with them: the product of another stretch of the inner index goes on.
    Continue,
}

/// `out[row][lane] (+)= Σ_inner left(row, inner) · right[inner][lane]`, for `C` registers of lanes.
///
/// It is called and not inlined ([`Vector::call`]): both products of a step of attention share it, at the cost of one call
/// per block of keys, and the compiler has a third of the code to think about.
#[derive(Debug)]
pub struct Product<'a, const C: usize> {
    /// Shape `[n_rows, n_inner]` by its strides.
    pub left: Left<'a>,
    /// Rows of the result.
    pub n_rows: usize,
    /// Numbers of each sum.
    pub n_inner: usize,
    /// Shape `[n_inner, C · LANES]`.
    pub right: &'a [f32],
    /// Shape `[n_rows, C · LANES]`.
    pub out: &'a mut [f32],
    /// Whether it is added to `out`.
    pub store: Store,
}

impl<const C: usize> Task for Product<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Product { left, n_rows, n_inner, right, out, store } = self;
        let width = C * V::LANES;
        if n_rows == 0 {
            return;
        }
        // by division: a product of sizes that overflows would pass
        assert!(right.len() / width >= n_inner && out.len() / width >= n_rows, "a product beyond its slices");
        assert!(left.reaches(n_rows, n_inner), "a product beyond its left factor");
        let operands = Operands {
            left: left.numbers.as_ptr(),
            row_stride: left.row_stride,
            inner_stride: left.inner_stride,
            right: right.as_ptr(),
            right_stride: width,
            n_inner,
            out: out.as_mut_ptr(),
            out_stride: width,
            store,
            ahead: std::ptr::null(),
        };
        // SAFETY: the caller vouches for the instructions; the assertions above bound every address.
        unsafe { product::<V, C, { ahead::NOTHING }>(operands, n_rows) }
    }
}

impl Left<'_> {
    /// Whether all of `n_rows` rows of `n_inner` numbers lie in the slice.
    fn reaches(self, n_rows: usize, n_inner: usize) -> bool {
        if n_rows == 0 || n_inner == 0 {
            return true;
        }
        let (row, inner) = ((n_rows - 1).checked_mul(self.row_stride), (n_inner - 1).checked_mul(self.inner_stride));
        let last = row.zip(inner).and_then(|(row, inner)| row.checked_add(inner));
        last.is_some_and(|last| last < self.numbers.len())
    }
}

/// Where the factors of a product lie and where it goes.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub left: *const f32,
    pub row_stride: usize,
    pub inner_stride: usize,
    pub right: *const f32,
    /// From a row of lanes to the next.
    pub right_stride: usize,
    pub n_inner: usize,
    pub out: *mut f32,
    /// From a row of the result to the next.
    pub out_stride: usize,
    pub store: Store,
    /// What is to be brought nearer on the way; any address.
    pub ahead: *const f32,
}

/// What the tiles of a product ask for while they compute.
pub(crate) mod ahead {
    /// Nothing.
    pub const NOTHING: u8 = 0;
    /// A line every four steps: several tiles bring what comes after them.
    pub const SLOWLY: u8 = 1;
    /// As much as each step reads: one tile brings what it is about to read.
    pub const AT_ONCE: u8 = 2;
}

impl Operands {
    /// The same from another row on.
    #[inline(always)]
    pub fn at_row(self, row: usize) -> Operands {
        let left = self.left.wrapping_add(row * self.row_stride);
        let out = self.out.wrapping_add(row * self.out_stride);
        Operands { left, out, ..self }
    }
}

/// `n_rows` rows of `C` registers. Each tile asks for the lines from `operands.ahead` on, as [`ahead`] says.
///
/// # Safety
/// The processor has the instructions of `V`; for each row and inner index, what the strides of `operands` reach may be
/// read on the left, `C · LANES` numbers on the right, and as many be written to `out`.
#[inline(always)]
pub(crate) unsafe fn product<V: Vector, const C: usize, const AHEAD: u8>(operands: Operands, n_rows: usize) {
    for row in (0..n_rows).step_by(V::TILE_ROWS) {
        let of_tile = operands.at_row(row);
        // SAFETY: the caller vouches for the instructions and for all rows from `row` on.
        unsafe {
            match n_rows - row {
                // `const`: the tile that a type does not have is not compiled for it
                8.. if const { V::TILE_ROWS >= 8 } => tile::<V, 8, C, AHEAD>(of_tile),
                7 if const { V::TILE_ROWS >= 8 } => tile::<V, 7, C, AHEAD>(of_tile),
                6.. => tile::<V, 6, C, AHEAD>(of_tile),
                5 => tile::<V, 5, C, AHEAD>(of_tile),
                4 => tile::<V, 4, C, AHEAD>(of_tile),
                3 => tile::<V, 3, C, AHEAD>(of_tile),
                2 => tile::<V, 2, C, AHEAD>(of_tile),
                _ => tile::<V, 1, C, AHEAD>(of_tile),
            }
        }
    }
}

/// Numbers in a line of the cache.
const LINE: usize = 16;
/// Steps of the inner index for which one line is asked.
const STEPS_A_LINE: usize = 4;

/// The micro-kernel: `R` rows, all sums in registers.
///
/// # Safety
/// As [`product`], for `R` rows.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize, const AHEAD: u8>(operands: Operands) {
    let Operands { mut left, row_stride, inner_stride, mut right, right_stride, n_inner, out, out_stride, .. } =
        operands;
    let mut next = operands.ahead;
    // SAFETY: see above; `r < R`, `c < C`, and the addresses behind the last step are formed but not read.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        if operands.store == Store::Continue {
            for (r, sums) in sums.iter_mut().enumerate() {
                for (c, sum) in sums.iter_mut().enumerate() {
                    *sum = V::load(out.add(r * out_stride + c * V::LANES));
                }
            }
        }
        for inner in 0..n_inner {
            if AHEAD == ahead::SLOWLY && inner % STEPS_A_LINE == 0 {
                V::prefetch(next);
                next = next.wrapping_add(LINE);
            }
            if AHEAD == ahead::AT_ONCE {
                for line in (0..C * V::LANES).step_by(LINE) {
                    V::prefetch(next.wrapping_add(line));
                }
                next = next.wrapping_add(right_stride);
            }
            let mut lanes = [V::splat(0.0); C];
            for (c, lanes) in lanes.iter_mut().enumerate() {
                *lanes = V::load(right.add(c * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*left.add(r * row_stride));
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum = factor.mul_add(lanes, *sum);
                }
            }
            left = left.wrapping_add(inner_stride);
            right = right.wrapping_add(right_stride);
        }
        for (r, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                let to = out.add(r * out_stride + c * V::LANES);
                let total = if operands.store == Store::Add { V::load(to).add(*sum) } else { *sum };
                total.store(to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Instructions, run};

    #[test]
    #[should_panic(expected = "a product beyond its slices")]
    fn sizes_whose_product_overflows_are_refused() {
        // times four lanes, 2⁶⁴
        let (n_rows, n_inner) = (1, usize::MAX / 4 + 1);
        let left = Left { numbers: &[1.0], row_stride: 0, inner_stride: 0 };
        let product = Product::<1> { left, n_rows, n_inner, right: &[], out: &mut [0.0; 4], store: Store::Replace };
        run(Instructions::Portable, product);
    }

    #[test]
    fn strides_that_overflow_reach_no_number() {
        let left = Left { numbers: &[1.0, 2.0], row_stride: usize::MAX / 2 + 1, inner_stride: 1 };
        assert!(left.reaches(1, 2) && !left.reaches(1, 3) && !left.reaches(2, 1) && !left.reaches(3, 1));
        assert!(left.reaches(3, 0) && left.reaches(0, 3));
    }
}
