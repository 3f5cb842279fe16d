//! Dense layers on weights that were put in order once.

use std::fmt;
use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::dispatch::{self, Instructions, Task, block_rows, panel_width};
use crate::matrix::{Matrix, Onto, Right, Threads, multiply_by};
use crate::panel::{Columns, Pack, fill};
use crate::precision::Precision;
use crate::product::{Operands, Store};
use crate::scratch::Carver;
use crate::shared::Shared;
#[cfg(target_arch = "x86_64")]
use crate::tiled::{self, Layer};
use crate::vector::Vector;

/// The weights of a dense layer, shape `[d_out, d_in]`, in panels for the micro-kernel: `y = x · Wᵀ`.
///
/// A panel is some columns of `Wᵀ` side by side, `[d_in, width]`: 48 columns for AVX-512, 32 for AVX2, so that the kernel
/// reads it from its first number to its last. With `gemm`'s way, where weights are put in order in every product, that
/// cost seven times the multiplication at 6 rows.
///
/// Weights that are not stored as `f32` are better kept as they are: [`Coded`](crate::Coded).
pub struct Packed {
    /// For whose registers the panels are laid out.
    instructions: Instructions,
    d_out: usize,
    d_in: usize,
    /// Shape `[n_panels, d_in, width]`, from `skip` on.
    numbers: Vec<f32>,
    /// Numbers before the first line of the cache.
    skip: usize,
}

/// What becomes of a product: `output = activation(product + bias)`, or that added to it.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// Added to each row. Shape `[d_out]`.
    pub bias: Option<&'a [f32]>,
    /// Applied then.
    pub activation: Activation,
    /// Whether the output's old numbers stay, as in a residual stream.
    pub onto: Onto,
}

impl Finish<'_> {
    /// `output = product`.
    pub const PLAIN: Finish<'static> = Finish { bias: None, activation: Activation::Identity, onto: Onto::Replace };

    /// Rows of a layer's input and output.
    ///
    /// # Panics
    /// When these are not `[n, d_in]` and `[n, d_out]`, or the bias is not `[d_out]`.
    pub(crate) fn n_rows(&self, [d_in, d_out]: [usize; 2], input: &[f32], output: &[f32]) -> usize {
        let n = output.len() / d_out.max(1);
        let is_whole = output.len() == n * d_out && Some(input.len()) == n.checked_mul(d_in);
        assert!(is_whole, "{n} rows of {d_in} and of {d_out} numbers");
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), d_out, "a bias for each output");
        }
        n
    }
}

/// Rows of the input that share each panel while both are in the second-level cache: 96 rows of 3072 numbers are 1.2 MB, and
/// with twice as many the product was 15 % slower.
const ROWS: usize = 96;

impl Packed {
    /// Puts rows of weights in order. Shape of `rows`: `[d_out, d_in]`.
    ///
    /// # Panics
    /// When there are not exactly as many numbers.
    pub fn new(rows: &[f32], d_out: usize, d_in: usize) -> Packed {
        Packed::with(Instructions::best(), rows, d_out, d_in)
    }

    /// [`new`](Packed::new) for chosen instructions; for plain Rust where the processor lacks them.
    ///
    /// # Panics
    /// When there are not exactly as many numbers.
    pub fn with(instructions: Instructions, rows: &[f32], d_out: usize, d_in: usize) -> Packed {
        let instructions = instructions.or_portable();
        let columns = Matrix::new(rows, d_out, d_in).transposed();
        let width = instructions.panel_width();
        let n_numbers = d_out.div_ceil(width) * d_in * width;
        let mut numbers = vec![0.0; n_numbers + Carver::ALIGNMENT]; // [n_panels, d_in, width]
        let skip = numbers.as_ptr().align_offset(Carver::ALIGNMENT * size_of::<f32>()).min(Carver::ALIGNMENT);
        let panels = numbers[skip..][..n_numbers].par_chunks_exact_mut((d_in * width).max(1));
        panels.enumerate().for_each(|(index, panel)| {
            dispatch::run(instructions, Pack { from: columns, rows: 0..d_in, start: index * width, width, panel });
        });
        Packed { instructions, d_out, d_in, numbers, skip }
    }

    /// Width of the output.
    pub fn d_out(&self) -> usize {
        self.d_out
    }

    /// Width of the input.
    pub fn d_in(&self) -> usize {
        self.d_in
    }

    /// Copies one row of the weights. Shape of `row`: `[d_in]`.
    ///
    /// # Panics
    /// When there is no such row, or `row` has another length.
    pub fn row(&self, index: usize, row: &mut [f32]) {
        assert!(index < self.d_out && row.len() == self.d_in, "row {index} of {} × {}", self.d_out, self.d_in);
        let width = self.instructions.panel_width();
        let column = self.panel(index / width)[index % width..].iter().step_by(width);
        row.iter_mut().zip(column).for_each(|(slot, number)| *slot = *number);
    }

    /// Copies all rows of the weights. Shape of `rows`: `[d_out, d_in]`.
    ///
    /// # Panics
    /// When `rows` has another length.
    pub fn rows(&self, rows: &mut [f32]) {
        /// Columns at a time: so many of a panel stay in the first-level cache.
        const COLUMNS: usize = 64;
        assert_eq!(rows.len(), self.d_out * self.d_in, "{} × {}", self.d_out, self.d_in);
        let (width, d_in) = (self.instructions.panel_width(), self.d_in.max(1));
        rows.par_chunks_mut(width * d_in).enumerate().for_each(|(index, rows)| {
            for (stretch, columns) in self.panel(index).chunks(COLUMNS * width).enumerate() {
                for (lane, row) in rows.chunks_exact_mut(d_in).enumerate() {
                    let numbers = columns.iter().skip(lane).step_by(width);
                    row[stretch * COLUMNS..].iter_mut().zip(numbers).for_each(|(slot, number)| *slot = *number);
                }
            }
        });
    }

    /// `output = input · W`, or added to it: the way back through the layer. Shapes `[n, d_out]` and `[n, d_in]`.
    ///
    /// A row of the output does not depend on the other rows of the input, nor any number on the threads.
    ///
    /// # Panics
    /// When a slice has another length than these shapes say.
    pub fn multiply_back(&self, input: &[f32], onto: Onto, threads: Threads, output: &mut [f32]) {
        let n = Finish::PLAIN.n_rows([self.d_out, self.d_in], input, output);
        let left = Matrix::new(input, n, self.d_out);
        multiply_by(Instructions::best(), left, Right::Weights(self), onto, threads, output);
    }

    /// How many rows of the weights are columns of a panel.
    pub(crate) fn panel_rows(&self) -> usize {
        self.instructions.panel_width()
    }

    /// The rows of the weights that a panel holds; of the last one fewer. Shape `[panel_rows, d_in]`.
    pub(crate) fn rows_of_panel(&self, index: usize) -> Matrix<'_> {
        let width = self.panel_rows();
        let n_rows = width.min(self.d_out - index * width);
        Matrix { values: self.panel(index), n_rows, n_columns: self.d_in, row_stride: 1, column_stride: width }
    }

    fn panel(&self, index: usize) -> &[f32] {
        let n = self.d_in * self.instructions.panel_width();
        &self.numbers[self.skip + index * n..][..n]
    }

    /// `output = finish(input · Wᵀ)`. Shapes `[n, d_in]` and `[n, d_out]`.
    ///
    /// A row of the output does not depend on the other rows of the input, nor any number on the threads.
    ///
    /// # Panics
    /// When a slice has another length than these shapes say.
    pub fn multiply(&self, input: &[f32], finish: Finish<'_>, threads: Threads, output: &mut [f32]) {
        let Packed { d_out, d_in, .. } = *self;
        let n = finish.n_rows([d_in, d_out], input, output);
        if n == 0 || d_out == 0 {
            return;
        }
        // blocks of about the same size, of whole tiles (of 6 or of 8 rows)
        let block_rows = n.div_ceil(n.div_ceil(ROWS)).next_multiple_of(24).min(ROWS);
        let n_panels = d_out.div_ceil(self.instructions.panel_width());
        let n_pieces = n.div_ceil(block_rows) * n_panels;
        let output = Shared::new(output);
        let run = |piece: usize| {
            let (block, panel) = (piece / n_panels, piece % n_panels);
            let rows = block * block_rows..((block + 1) * block_rows).min(n);
            let next = self.panel((panel + 1) % n_panels);
            dispatch::run(self.instructions, Piece { packed: self, panel, next, rows, input, finish, output: &output });
        };
        threads.each(n.saturating_mul(d_in).saturating_mul(d_out), n_pieces, run);
    }

    /// [`multiply`](Packed::multiply) with chosen precision; exactly where that cannot be had, or numbers do not allow it
    /// ([`Precision`] says which).
    ///
    /// # Panics
    /// As [`multiply`](Packed::multiply).
    pub fn multiply_at(
        &self,
        precision: Precision,
        input: &[f32],
        finish: Finish<'_>,
        threads: Threads,
        output: &mut [f32],
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            let n_parts = precision.or_exact().n_parts();
            if n_parts > 0 && self.instructions == Instructions::Avx512 {
                return tiled::multiply(self, n_parts, Layer { input, finish }, threads, output);
            }
        }
        let _ = precision;
        self.multiply(input, finish, threads, output);
    }
}

#[cfg(target_arch = "x86_64")]
impl tiled::Panels for Packed {
    fn d_out(&self) -> usize {
        self.d_out
    }

    fn d_in(&self) -> usize {
        self.d_in
    }

    fn exactly(&self, panel: usize, rows: Range<usize>, layer: Layer<'_>, output: &Shared<'_>) {
        let (next, Layer { input, finish }) = (self.panel(panel), layer);
        dispatch::run(self.instructions, Piece { packed: self, panel, next, rows, input, finish, output });
    }

    #[inline(always)]
    unsafe fn stretch<'a>(&'a self, panel: usize, inner: Range<usize>, _space: &'a mut [f32]) -> &'a [f32] {
        &self.panel(panel)[inner.start * tiled::WIDTH..inner.end * tiled::WIDTH]
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packed[{}, {}] for {:?}", self.d_out, self.d_in, self.instructions)
    }
}

/// One panel against some rows.
struct Piece<'a> {
    packed: &'a Packed,
    panel: usize,
    /// The panel that is probably wanted next: it is brought to the second-level cache on the way.
    next: &'a [f32],
    rows: Range<usize>,
    /// Shape `[n, d_in]`.
    input: &'a [f32],
    finish: Finish<'a>,
    /// Shape `[n, d_out]`.
    output: &'a Shared<'a>,
}

impl Task for Piece<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Piece { packed, next, rows, input, finish, output, .. } = self;
        let Packed { d_out, d_in, .. } = *packed;
        let (panel, width) = (packed.panel(self.panel), panel_width::<V>());
        assert_eq!(panel.len(), d_in * width);
        for first in (0..width).step_by(block_rows::<V>()) {
            let start = self.panel * width + first;
            if start >= d_out {
                break;
            }
            let n = block_rows::<V>().min(d_out - start);
            let operands = Operands {
                left: input[rows.start * d_in..rows.end * d_in].as_ptr(),
                row_stride: d_in,
                inner_stride: 1,
                right: panel.as_ptr().wrapping_add(first),
                right_stride: width,
                n_inner: d_in,
                out: output.at(rows.start * d_out + start, (rows.len() - 1) * d_out + n),
                out_stride: d_out,
                store: Store::Replace,
                ahead: next.as_ptr(),
            };
            let bias = finish.bias.map(|bias| &bias[start..start + n]);
            let columns = Columns { n, bias, activation: finish.activation, onto: finish.onto };
            // SAFETY: the caller vouches for the instructions; the rows of the input were cut out, the panel is as wide as
            // asserted, `output` has said that it holds the rows, and these columns of them are this piece's alone.
            unsafe { fill::<V, true>(operands, rows.len(), next.len(), columns) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::reference;
    use crate::tried::{numbers, sets};

    #[test]
    fn every_instruction_set_agrees_with_the_definition_and_finishes_what_it_computes() {
        let shapes =
            [(1, 1, 1), (2, 0, 3), (1, 70, 50), (6, 33, 16), (7, 17, 47), (13, 29, 97), (97, 70, 53), (200, 41, 130)];
        for (n, d_in, d_out) in shapes {
            let (input, weight, bias) = (numbers(n * d_in, 1), numbers(d_out * d_in, 2), numbers(d_out, 3));
            let mut product = vec![0.0; n * d_out]; // [n, d_out]
            let left = Matrix::new(&input, n, d_in);
            reference(left, Matrix::new(&weight, d_out, d_in).transposed(), Onto::Replace, &mut product);
            for instructions in sets() {
                let packed = Packed::with(instructions, &weight, d_out, d_in);
                for bias in [None, Some(bias.as_slice())] {
                    for activation in [Activation::Identity, Activation::Gelu] {
                        for onto in [Onto::Replace, Onto::Add] {
                            let before =
                                if onto == Onto::Add { numbers(n * d_out, 4) } else { vec![f32::NAN; n * d_out] };
                            let mut wanted: Vec<f32> = product.clone();
                            for row in wanted.chunks_exact_mut(d_out) {
                                row.iter_mut().zip(bias.unwrap_or_default()).for_each(|(y, b)| *y += b);
                            }
                            activation.apply(&mut wanted);
                            if onto == Onto::Add {
                                wanted.iter_mut().zip(&before).for_each(|(y, x)| *y += x);
                            }
                            let mut found = before.clone();
                            packed.multiply(&input, Finish { bias, activation, onto }, Threads::All, &mut found);
                            for (found, wanted) in found.iter().zip(&wanted) {
                                let what = format!("{instructions:?} {n} × {d_in} × {d_out} {activation:?} {onto:?}");
                                assert!((found - wanted).abs() <= 1e-5, "{what}: {found}, not {wanted}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it_nor_on_the_threads() {
        let (n, d_in, d_out) = (203, 310, 131);
        let (input, weight, bias) = (numbers(n * d_in, 1), numbers(d_out * d_in, 2), numbers(d_out, 3));
        let finish = Finish { bias: Some(&bias), activation: Activation::GeluTanh, onto: Onto::Replace };
        for instructions in sets() {
            let packed = Packed::with(instructions, &weight, d_out, d_in);
            let mut together = vec![0.0; n * d_out]; // [n, d_out]
            packed.multiply(&input, finish, Threads::All, &mut together);
            let mut alone = vec![0.0; n * d_out]; // [n, d_out]
            packed.multiply(&input, finish, Threads::One, &mut alone);
            assert!(together == alone, "{instructions:?}: threads");
            for (size, start) in [(1, 7), (2, 190), (5, 100), (9, 0), (97, 60)] {
                let mut some = vec![0.0; size * d_out]; // [size, d_out]
                packed.multiply(&input[start * d_in..][..size * d_in], finish, Threads::All, &mut some);
                assert!(
                    some == together[start * d_out..][..size * d_out],
                    "{instructions:?}: {size} rows from {start}"
                );
            }
        }
    }

    #[test]
    fn the_way_back_is_the_product_with_the_rows_as_they_were() {
        for (n, d_in, d_out) in [(1, 1, 1), (2, 3, 0), (3, 50, 70), (13, 29, 97), (97, 53, 1100), (200, 130, 41)] {
            let (input, weight) = (numbers(n * d_out, 1), numbers(d_out * d_in, 2));
            let (left, right) = (Matrix::new(&input, n, d_out), Matrix::new(&weight, d_out, d_in));
            for instructions in sets() {
                let packed = Packed::with(instructions, &weight, d_out, d_in);
                for onto in [Onto::Replace, Onto::Add] {
                    let before = if onto == Onto::Add { numbers(n * d_in, 4) } else { vec![f32::NAN; n * d_in] };
                    let (mut found, mut wanted) = (before.clone(), before);
                    reference(left, right, onto, &mut wanted);
                    packed.multiply_back(&input, onto, Threads::All, &mut found);
                    for (found, wanted) in found.iter().zip(&wanted) {
                        let what = format!("{instructions:?} {n} × {d_out} × {d_in} {onto:?}");
                        assert!((found - wanted).abs() <= 2e-5, "{what}: {found}, not {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn packed_rows_can_be_read_again() {
        let (d_out, d_in) = (53, 150);
        let weight = numbers(d_out * d_in, 5);
        for instructions in sets() {
            let packed = Packed::with(instructions, &weight, d_out, d_in);
            for (index, wanted) in weight.chunks_exact(d_in).enumerate() {
                let mut row = vec![0.0; d_in];
                packed.row(index, &mut row);
                assert_eq!(row, wanted, "{instructions:?}");
            }
            let mut rows = vec![0.0; d_out * d_in];
            packed.rows(&mut rows);
            assert_eq!(rows, weight, "{instructions:?}");
        }
    }
}
