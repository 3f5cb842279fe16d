//! The one matrix product of the kernel: rows of broadcast numbers times registers of queries.
//!
//! Both products of attention have this form when scores are kept transposed, keys down and queries across:
//! `Sᵀ = K·Qᵀ` and `Oᵀ = Vᵀ·Pᵀ`. Keys and values are then only ever broadcast, straight from where the caller has
//! them, so neither is packed; what is packed is one small block of queries.

use super::dispatch::Task;
use super::vector::Vector;

/// The left factor, read number by number: entry `(row, inner)` is at `row · row_stride + inner · inner_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub numbers: &'a [f32],
    pub row_stride: usize,
    pub inner_stride: usize,
}

/// What becomes of the numbers that `out` holds before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Store {
    Replace,
    Add,
}

/// `out[row][lane] (+)= Σ_inner left(row, inner) · right[inner][lane]`, for `C` registers of lanes.
///
/// It is called and not inlined: both products of a step share it, at the cost of one call per block of keys, and the
/// compiler has a third of the code to think about.
pub(super) struct Product<'a, const C: usize> {
    /// Shape `[n_rows, n_inner]` by its strides.
    pub left: Left<'a>,
    pub n_rows: usize,
    pub n_inner: usize,
    /// Shape `[n_inner, C · LANES]`.
    pub right: &'a [f32],
    /// Shape `[n_rows, C · LANES]`.
    pub out: &'a mut [f32],
    pub store: Store,
}

impl<const C: usize> Task for Product<'_, C> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Product { left, n_rows, n_inner, right, out, store } = self;
        // SAFETY: the caller vouches for the instructions.
        unsafe { product::<V, C>(left, n_rows, n_inner, right, out, store) }
    }
}

/// What [`Product`] does.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn product<V: Vector, const C: usize>(
    left: Left<'_>,
    n_rows: usize,
    n_inner: usize,
    right: &[f32],
    out: &mut [f32],
    store: Store,
) {
    let width = C * V::LANES;
    if n_rows == 0 {
        return;
    }
    assert!(right.len() >= n_inner * width && out.len() >= n_rows * width);
    assert!(n_inner == 0 || left.numbers.len() > (n_rows - 1) * left.row_stride + (n_inner - 1) * left.inner_stride);
    let mut row = 0;
    // SAFETY: the caller vouches for the instructions; the two assertions above bound every address that `tile`
    // forms for `R` rows from `row` on.
    unsafe {
        // `const`: the tile that a type does not have is not compiled for it
        if const { V::TILE_ROWS == 8 } {
            while row + 8 <= n_rows {
                tile::<V, 8, C>(left, row, n_inner, right, out, store);
                row += 8;
            }
        }
        if const { V::TILE_ROWS == 6 } {
            while row + 6 <= n_rows {
                tile::<V, 6, C>(left, row, n_inner, right, out, store);
                row += 6;
            }
        }
        while row + 4 <= n_rows {
            tile::<V, 4, C>(left, row, n_inner, right, out, store);
            row += 4;
        }
        while row < n_rows {
            tile::<V, 1, C>(left, row, n_inner, right, out, store);
            row += 1;
        }
    }
}

/// The micro-kernel: `R` rows from `row` on, all sums in registers.
///
/// # Safety
/// As [`product`], and rows `row .. row + R` lie inside `left` and `out`.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize>(
    left: Left<'_>,
    row: usize,
    n_inner: usize,
    right: &[f32],
    out: &mut [f32],
    store: Store,
) {
    let width = C * V::LANES;
    // SAFETY: see above; `inner < n_inner`, `r < R`, `c < C`.
    unsafe {
        let mut sums = [[V::splat(0.0); C]; R];
        let mut left_at = left.numbers.as_ptr().add(row * left.row_stride);
        let mut right_at = right.as_ptr();
        for _ in 0..n_inner {
            let mut lanes = [V::splat(0.0); C];
            for (c, lanes) in lanes.iter_mut().enumerate() {
                *lanes = V::load(right_at.add(c * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let factor = V::splat(*left_at.add(r * left.row_stride));
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum = factor.mul_add(lanes, *sum);
                }
            }
            left_at = left_at.wrapping_add(left.inner_stride);
            right_at = right_at.add(width);
        }
        let out_at = out.as_mut_ptr().add(row * width);
        for (r, sums) in sums.iter().enumerate() {
            for (c, sum) in sums.iter().enumerate() {
                let to = out_at.add(r * width + c * V::LANES);
                let total = if store == Store::Add { V::load(to).add(*sum) } else { *sum };
                total.store(to);
            }
        }
    }
}
