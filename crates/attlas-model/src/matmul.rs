//! Matrix products on the f32 part of the `gemm` crates (the others would only cost build time); the one place of
//! this crate that hands out raw pointers.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// A matrix as it lies in memory: a slice with its strides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    /// The numbers.
    pub data: &'a [f32],
    /// From one row to the next.
    pub row_stride: usize,
    /// From one column to the next.
    pub column_stride: usize,
}

impl<'a> View<'a> {
    /// A matrix whose rows lie one after the other, `width` numbers each.
    pub fn rows(data: &'a [f32], width: usize) -> View<'a> {
        View { data, row_stride: width, column_stride: 1 }
    }

    /// The matrix with rows and columns exchanged.
    pub fn transposed(self) -> View<'a> {
        View { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    fn covers(&self, n_rows: usize, n_columns: usize) -> bool {
        n_rows == 0
            || n_columns == 0
            || (n_rows - 1) * self.row_stride + (n_columns - 1) * self.column_stride < self.data.len()
    }
}

/// Whether the product replaces the output or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onto {
    /// The output's old numbers are forgotten.
    Replace,
    /// The product is added to them.
    Add,
}

/// `output = left · right` (or `+=`), on all threads.
///
/// Shapes: `left [m, k]`, `right [k, n]`, `output [m, n]`, rows of the output one after the other.
///
/// # Panics
/// When a slice is shorter than its shape says.
#[allow(unsafe_code)]
pub(crate) fn multiply(shape: [usize; 3], left: View<'_>, right: View<'_>, output: &mut [f32], onto: Onto) {
    let [m, k, n] = shape;
    assert!(left.covers(m, k) && right.covers(k, n) && output.len() >= m * n, "a matrix is shorter than its shape");
    let threads = rayon::current_num_threads();
    let parallelism = if threads > 1 && m * k * n > 1 << 18 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let alpha = if onto == Onto::Add { 1.0_f32 } else { 0.0 };
    let gemm = get_gemm_fn();
    // the kernel likes columns that lie together, so it computes the transposed product: outputᵀ = rightᵀ · leftᵀ
    // SAFETY: the assertion above shows that every element that the strides and sizes reach lies inside its
    // slice; `output` is borrowed mutably, so it overlaps neither input.
    unsafe {
        gemm(
            n,
            m,
            k,
            output.as_mut_ptr(),
            n as isize,
            1,
            onto == Onto::Add,
            right.data.as_ptr(),
            right.row_stride as isize,
            right.column_stride as isize,
            left.data.as_ptr(),
            left.row_stride as isize,
            left.column_stride as isize,
            alpha,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
