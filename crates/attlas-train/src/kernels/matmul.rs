//! Matrix products on the `gemm` crate: the one place of this crate that calls unsafe code.
#![allow(unsafe_code)]

use gemm::{Parallelism, gemm};

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

/// What happens to the values that the output holds before the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// They are overwritten.
    Overwrite,
    /// The product is added to them.
    Add,
}

/// `output = left · right`, or `output += left · right`. Output shape `[left.n_rows, right.n_columns]`.
pub fn multiply(left: Matrix<'_>, right: Matrix<'_>, before: Before, output: &mut [f32]) {
    let (m, n, k) = (left.n_rows, right.n_columns, left.n_columns);
    assert_eq!(k, right.n_rows, "inner sizes of a matrix product");
    assert_eq!(output.len(), m * n, "output size of a matrix product");
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: the constructor and the assertions above hold that each slice is exactly rows × columns long, and the
    // strides are those of that shape, so every address lies in its slice; `output` is borrowed mutably, so it
    // overlaps neither operand.
    unsafe {
        gemm(
            m,
            n,
            k,
            output.as_mut_ptr(),
            1,
            n as isize,
            before == Before::Add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
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
        multiply(Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2), Before::Overwrite, &mut c);
        assert_eq!(c, [4.0, 5.0, 10.0, 11.0]);
        multiply(Matrix::new(&a, 3, 2).transposed(), Matrix::new(&b, 3, 2), Before::Add, &mut c);
        assert_eq!(c, [4.0 + 6.0, 5.0 + 8.0, 10.0 + 8.0, 11.0 + 10.0]);
    }
}
