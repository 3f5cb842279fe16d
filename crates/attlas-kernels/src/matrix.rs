//! Products of any two matrices: the right factor is put into panels on the way, piece by piece, by whoever needs it.

use std::cell::Cell;
use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::dispatch::{self, Instructions, Task, block_rows, panel_width};
use crate::packed::Packed;
use crate::panel::{Columns, Pack, fill};
use crate::product::{Operands, Store};
use crate::scratch::{Carver, SCRATCH};
use crate::shared::Shared;
use crate::vector::Vector;

/// A row-major matrix, or its transpose, as an operand of [`multiply`].
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) n_rows: usize,
    pub(crate) n_columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `values` read as `[n_rows, n_columns]`, rows one after the other.
    ///
    /// # Panics
    /// When there are not exactly as many values.
    pub fn new(values: &'a [f32], n_rows: usize, n_columns: usize) -> Matrix<'a> {
        let n_values = n_rows.checked_mul(n_columns);
        assert_eq!(Some(values.len()), n_values, "a {n_rows} × {n_columns} matrix needs as many values");
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

impl Threads {
    /// Whether a product of `n` multiply–adds is cut into pieces for all threads: below, waking them costs more.
    pub(crate) fn share(self, n: usize) -> bool {
        self == Threads::All && n > 1 << 18 && rayon::current_num_threads() > 1
    }

    /// Does pieces `0 .. n_pieces` of a product of `n` multiply–adds, each on whichever thread is free when they are
    /// [shared](Threads::share).
    pub(crate) fn each(self, n: usize, n_pieces: usize, run: impl Fn(usize) + Sync + Send) {
        if self.share(n) {
            (0..n_pieces).into_par_iter().with_max_len(1).for_each(run);
        } else {
            (0..n_pieces).for_each(run);
        }
    }
}

/// The product as it is defined, one number after the other: for reading, and what the fast ones are held to.
///
/// # Panics
/// When the shapes do not fit.
pub fn reference(left: Matrix<'_>, right: Matrix<'_>, onto: Onto, output: &mut [f32]) {
    check(left, right, output);
    for row in 0..left.n_rows {
        for column in 0..right.n_columns {
            let mut sum = 0.0_f64;
            for inner in 0..left.n_columns {
                let a = left.values[row * left.row_stride + inner * left.column_stride];
                let b = right.values[inner * right.row_stride + column * right.column_stride];
                sum += f64::from(a) * f64::from(b);
            }
            let slot = &mut output[row * right.n_columns + column];
            *slot = if onto == Onto::Add { *slot + sum as f32 } else { sum as f32 };
        }
    }
}

/// Refuses shapes that do not fit.
fn check(left: Matrix<'_>, right: Matrix<'_>, output: &[f32]) {
    assert_eq!(left.n_columns, right.n_rows, "inner sizes of a matrix product");
    assert_eq!(Some(output.len()), left.n_rows.checked_mul(right.n_columns), "output size of a matrix product");
}

/// `output = left · right`, or `output += left · right`.
///
/// Shapes: `left [m, k]`, `right [k, n]`, `output [m, n]`, rows of the output one after the other. A row of the output does
/// not depend on the other rows of `left`, nor any number on the threads. Weights that do not change are better
/// [`Packed`](crate::Packed) once.
///
/// # Panics
/// When the shapes do not fit.
pub fn multiply(left: Matrix<'_>, right: Matrix<'_>, onto: Onto, threads: Threads, output: &mut [f32]) {
    multiply_with(Instructions::best(), left, right, onto, threads, output);
}

/// [`multiply`] with chosen instructions; with plain Rust where the processor lacks them.
///
/// # Panics
/// When the shapes do not fit.
pub fn multiply_with(
    instructions: Instructions,
    left: Matrix<'_>,
    right: Matrix<'_>,
    onto: Onto,
    threads: Threads,
    output: &mut [f32],
) {
    check(left, right, output);
    multiply_by(instructions, left, Right::Matrix(right), onto, threads, output);
}

/// The right factor of a product, of which pieces are put into panels.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    Matrix(Matrix<'a>),
    /// The rows of weights: `output = left · W`, shape `[d_out, d_in]`.
    Weights(&'a Packed),
}

impl Right<'_> {
    fn n_rows(self) -> usize {
        match self {
            Right::Matrix(matrix) => matrix.n_rows,
            Right::Weights(packed) => packed.d_out(),
        }
    }

    fn n_columns(self) -> usize {
        match self {
            Right::Matrix(matrix) => matrix.n_columns,
            Right::Weights(packed) => packed.d_in(),
        }
    }

    /// Puts columns `start .. start + width` of some rows side by side. Shape of `panel`: `[rows.len(), width]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn pack<V: Vector>(self, rows: Range<usize>, start: usize, width: usize, panel: &mut [f32]) {
        match self {
            // SAFETY: the caller vouches for the instructions.
            Right::Matrix(from) => unsafe { Pack { from, rows, start, width, panel }.run::<V>() },
            Right::Weights(packed) => {
                let height = packed.panel_rows();
                let mut row = rows.start;
                while row < rows.end {
                    let end = ((row / height + 1) * height).min(rows.end);
                    let from = packed.rows_of_panel(row / height);
                    let panel = &mut panel[(row - rows.start) * width..(end - rows.start) * width];
                    let rows = row % height..row % height + (end - row);
                    // SAFETY: the caller vouches for the instructions.
                    unsafe { Pack { from, rows, start, width, panel }.run::<V>() }
                    row = end;
                }
            }
        }
    }
}

/// [`multiply_with`] for any right factor; the shapes have been checked.
pub(crate) fn multiply_by(
    instructions: Instructions,
    left: Matrix<'_>,
    right: Right<'_>,
    onto: Onto,
    threads: Threads,
    output: &mut [f32],
) {
    let (m, k, n) = (left.n_rows, left.n_columns, right.n_columns());
    if m == 0 || n == 0 {
        return;
    }
    let instructions = instructions.or_portable();
    // 1. rows of the left factor one after the other
    let mut transposed = Vec::new(); // [m, k]
    let rows = if left.column_stride == 1 {
        left.values
    } else {
        transposed = LEFT.take();
        transposed.resize(transposed.len().max(m * k), 0.0);
        let panel = &mut transposed[..m * k];
        dispatch::run(instructions, Pack { from: left, rows: 0..m, start: 0, width: k, panel });
        &transposed[..m * k]
    };
    // 2. pieces: a panel of columns, some rows
    let n_multiply_adds = m.saturating_mul(k).saturating_mul(n);
    let piece_rows = if threads.share(n_multiply_adds) { PIECE_ROWS } else { m };
    let n_panels = n.div_ceil(instructions.panel_width());
    let n_pieces = m.div_ceil(piece_rows) * n_panels;
    let output = Shared::new(output);
    let run = |piece: usize| {
        let (block, panel) = (piece / n_panels, piece % n_panels);
        let rows_here = block * piece_rows..((block + 1) * piece_rows).min(m);
        dispatch::run(instructions, Piece { left: rows, right, panel, rows: rows_here, onto, output: &output });
    };
    threads.each(n_multiply_adds, n_pieces, run);
    if left.column_stride != 1 {
        LEFT.set(transposed);
    }
}

thread_local! {
    /// Each thread's memory for a left factor whose rows were put in order.
    static LEFT: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Rows of a piece of shared work; so many that putting its panel in order costs little beside the product.
const PIECE_ROWS: usize = 384;
/// Inner indices at a time: a panel of them stays in the second-level cache.
const INNER: usize = 1024;

/// One panel of the right factor against some rows of the left one.
struct Piece<'a> {
    /// Shape `[m, k]`.
    left: &'a [f32],
    /// Shape `[k, n]`.
    right: Right<'a>,
    panel: usize,
    rows: Range<usize>,
    onto: Onto,
    /// Shape `[m, n]`.
    output: &'a Shared<'a>,
}

impl Task for Piece<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Piece { left, right, panel, rows, onto, output } = self;
        let (k, n, width) = (right.n_rows(), right.n_columns(), panel_width::<V>());
        let mut scratch = SCRATCH.take();
        let packed = Carver::new(&mut scratch, INNER.min(k) * width).take(INNER.min(k) * width); // [INNER, width]
        // a product of no numbers is 0: one pass over nothing writes it
        for inner in (0..k.max(1)).step_by(INNER) {
            let n_inner = INNER.min(k - inner);
            let rows_here = inner..inner + n_inner;
            let place = &mut packed[..n_inner * width];
            // SAFETY: the caller vouches for the instructions.
            unsafe { right.pack::<V>(rows_here, panel * width, width, place) }
            for first in (0..width).step_by(block_rows::<V>()) {
                let start = panel * width + first;
                if start >= n {
                    break;
                }
                let n_columns = block_rows::<V>().min(n - start);
                let operands = Operands {
                    left: left.as_ptr().wrapping_add(rows.start * k + inner),
                    row_stride: k,
                    inner_stride: 1,
                    right: packed.as_ptr().wrapping_add(first),
                    right_stride: width,
                    n_inner,
                    out: output.at(rows.start * n + start, (rows.len() - 1) * n + n_columns),
                    out_stride: n,
                    store: Store::Replace,
                    ahead: std::ptr::null(),
                };
                let onto = if inner > 0 { Onto::Add } else { onto };
                let columns = Columns { n: n_columns, bias: None, activation: Activation::Identity, onto };
                // SAFETY: the caller vouches for the instructions; `left` holds `m` rows of `k` numbers, `packed` whole
                // registers, `output` has said that it holds the rows, and these columns of them are this piece's alone.
                unsafe { fill::<V, false>(operands, rows.len(), 0, columns) }
            }
        }
        SCRATCH.set(scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tried::{numbers, sets};

    #[test]
    #[should_panic(expected = "matrix needs as many values")]
    fn rows_and_columns_whose_product_overflows_to_the_length_are_refused() {
        let _ = Matrix::new(&[], usize::MAX / 2 + 1, 2);
    }

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

    #[test]
    fn every_instruction_set_agrees_with_the_definition_on_shapes_that_are_no_multiple_of_any_block() {
        let shapes = [
            (1, 1, 1),
            (2, 0, 3),
            (1, 7, 50),
            (3, 5, 49),
            (5, 33, 16),
            (7, 17, 47),
            (8, 48, 48),
            (13, 29, 97),
            (97, 70, 53),
            (385, 19, 65),
            (9, 1025, 33),
            (390, 40, 100),
        ];
        for (m, k, n) in shapes {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            for (left_turned, right_turned) in [(false, false), (true, false), (false, true), (true, true)] {
                let left = if left_turned { Matrix::new(&a, k, m).transposed() } else { Matrix::new(&a, m, k) };
                let right = if right_turned { Matrix::new(&b, n, k).transposed() } else { Matrix::new(&b, k, n) };
                for onto in [Onto::Replace, Onto::Add] {
                    let before = if onto == Onto::Add { numbers(m * n, 3) } else { vec![f32::NAN; m * n] };
                    let mut wanted = before.clone();
                    reference(left, right, onto, &mut wanted);
                    for instructions in sets() {
                        for threads in [Threads::One, Threads::All] {
                            let mut found = before.clone();
                            multiply_with(instructions, left, right, onto, threads, &mut found);
                            for (place, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                                let tolerance = 2e-6 * ((k as f32).sqrt().max(1.0) + wanted.abs());
                                assert!(
                                    (found - wanted).abs() <= tolerance,
                                    "{instructions:?} {threads:?} {m} × {k} × {n}, {left_turned} {right_turned} {onto:?}, \
                                     at {place}: {found}, not {wanted}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_the_threads() {
        let (m, k, n) = (391, 1100, 50);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let right = Matrix::new(&b, n, k).transposed();
        for instructions in sets() {
            let product = |rows: Range<usize>, threads: Threads| {
                let mut output = vec![0.0; rows.len() * n]; // [rows, n]
                let left = Matrix::new(&a[rows.start * k..rows.end * k], rows.len(), k);
                multiply_with(instructions, left, right, Onto::Replace, threads, &mut output);
                output
            };
            let together = product(0..m, Threads::All);
            assert!(together == product(0..m, Threads::One), "{instructions:?}: threads");
            for rows in [0..1, 7..12, 383..391] {
                let some = product(rows.clone(), Threads::All);
                assert!(some == together[rows.start * n..rows.end * n], "{instructions:?}: rows {rows:?}");
            }
        }
    }
}
