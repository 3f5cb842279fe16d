//! Matrix products on the f32 part of the `gemm` crates (the others would only cost build time); with the attention
//! kernel and the file mapping, one of the few places that hand out raw pointers.

use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;

/// A row-major matrix, or its transpose, as an operand of [`multiply`].
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    n_rows: usize,
    n_columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `values` read as `[n_rows, n_columns]`, rows one after the other.
    ///
    /// # Panics
    /// When there are not exactly as many values.
    pub fn new(values: &'a [f32], n_rows: usize, n_columns: usize) -> Matrix<'a> {
        assert_eq!(values.len(), n_rows * n_columns, "a {n_rows} × {n_columns} matrix needs as many values");
        Matrix { values, n_rows, n_columns, row_stride: n_columns, column_stride: 1 }
    }

    /// The same values, rows and columns exchanged.
    pub fn transposed(self) -> Matrix<'a> {
        Matrix {
            n_rows: self.n_columns,
            n_columns: self.n_rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Whether the product replaces the output or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// The output's old numbers are forgotten.
    Replace,
    /// The product is added to them.
    Add,
}

/// Who computes a product; the numbers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone, where others have products of their own.
    One,
    /// All threads, when the product is worth it.
    All,
}

/// `output = left · right`, or `output += left · right`.
///
/// Shapes: `left [m, k]`, `right [k, n]`, `output [m, n]`, rows of the output one after the other.
///
/// # Panics
/// When the shapes do not fit.
#[allow(unsafe_code)]
pub fn multiply(left: Matrix<'_>, right: Matrix<'_>, onto: Onto, threads: Threads, output: &mut [f32]) {
    let (m, k, n) = (left.n_rows, left.n_columns, right.n_columns);
    assert_eq!(k, right.n_rows, "inner sizes of a matrix product");
    assert_eq!(output.len(), m * n, "output size of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    let n_threads = rayon::current_num_threads();
    let parallelism = match threads {
        Threads::All if n_threads > 1 && m * k * n > 1 << 18 => Parallelism::Rayon(n_threads),
        _ => Parallelism::None,
    };
    let alpha = if onto == Onto::Add { 1.0_f32 } else { 0.0 };
    let gemm = get_gemm_fn();
    // the kernel likes columns that lie together, so it computes the transposed product: outputᵀ = rightᵀ · leftᵀ
    // SAFETY: the constructor and the assertions above hold that each slice is exactly rows × columns long, and the
    // strides are those of that shape, so every address lies in its slice; `output` is borrowed mutably, so it
    // overlaps neither operand.
    unsafe {
        gemm(
            n,
            m,
            k,
            output.as_mut_ptr(),
            n as isize,
            1,
            onto == Onto::Add,
            right.values.as_ptr(),
            right.row_stride as isize,
            right.column_stride as isize,
            left.values.as_ptr(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_by_hand_plain_transposed_and_added() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // [2, 3]
        let b = [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]; // [3, 2]
        let mut c = [0.0; 4];
        multiply(Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), Onto::Replace, Threads::All, &mut c);
        assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
        multiply(Matrix::new(&a, 3, 2).transposed(), Matrix::new(&b, 3, 2), Onto::Add, Threads::One, &mut c);
        assert_eq!(c, [4.0 + 6.0, 5.0 + 8.0, 10.0 + 8.0, 11.0 + 10.0]);
    }
}
