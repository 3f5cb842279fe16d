//! A stretch of columns as wide as a tile: what the micro-kernel's sums become on their way into the output.

use std::ops::Range;

use crate::activation::Activation;
use crate::dispatch::Task;
use crate::matrix::{Matrix, Onto};
use crate::product::{Operands, Store, ahead, product};
use crate::vector::{MAX_ROWS, MAX_WIDTH, SQUARE, Vector};

/// How many numbers before it reads them the first tile asks for them.
const DISTANCE: usize = 4096;

/// What is done to sums before they are written.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// How many; at most a tile's.
    pub n: usize,
    /// Added first. Shape `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Applied then.
    pub activation: Activation,
    /// What becomes of the output's old numbers.
    pub onto: Onto,
}

/// Some rows of these columns: tile by tile the sums, then what `columns` says, while they are in the first-level cache.
///
/// Where `AHEAD`, the first tile asks for the right side's lines before it needs them, and the others for those from
/// `operands.ahead` on, `n_ahead` numbers over and over.
///
/// # Safety
/// As [`product`], where `out` need only have room for `columns.n` numbers in each row, the right side for whole registers.
#[inline(always)]
pub(crate) unsafe fn fill<V: Vector, const AHEAD: bool>(
    operands: Operands,
    n_rows: usize,
    n_ahead: usize,
    columns: Columns<'_>,
) {
    let n_registers = columns.n.div_ceil(V::LANES);
    let width = n_registers * V::LANES;
    let mut bias = [0.0; MAX_WIDTH]; // [width]
    if let Some(given) = columns.bias {
        bias[..columns.n].copy_from_slice(&given[..columns.n]);
    }
    let is_plain = columns.bias.is_none() && columns.activation == Activation::Identity;
    let is_direct = width == columns.n && (is_plain || columns.onto == Onto::Replace);
    let mut spare = [0.0; MAX_ROWS * MAX_WIDTH]; // [TILE_ROWS, width]
    let mut asked = 0;
    for row in (0..n_rows).step_by(V::TILE_ROWS) {
        let rows = V::TILE_ROWS.min(n_rows - row);
        let of_rows = operands.at_row(row);
        let store = if is_direct && columns.onto == Onto::Add { Store::Add } else { Store::Replace };
        let (out, out_stride) = if is_direct { (of_rows.out, of_rows.out_stride) } else { (spare.as_mut_ptr(), width) };
        let is_first = AHEAD && row == 0;
        let ahead = if is_first { operands.right.wrapping_add(DISTANCE) } else { operands.ahead.wrapping_add(asked) };
        if !is_first {
            asked = if asked + 4 * operands.n_inner < n_ahead { asked + 4 * operands.n_inner } else { 0 };
        }
        let to_place = Operands { out, out_stride, store, ahead, ..of_rows };
        // SAFETY: the caller vouches for the instructions, the factors and, where sums go straight there, the output; the
        // spare rows and the bias hold whole registers.
        unsafe {
            match (AHEAD, is_first) {
                (false, _) => registers::<V, { ahead::NOTHING }>(to_place, rows, n_registers),
                (true, false) => registers::<V, { ahead::SLOWLY }>(to_place, rows, n_registers),
                (true, true) => registers::<V, { ahead::AT_ONCE }>(to_place, rows, n_registers),
            }
            if columns.bias.is_some() {
                add_bias::<V>(out, rows, out_stride, &bias[..width]);
            }
            columns.activation.apply_to_rows::<V>(out, rows, out_stride, width);
            if !is_direct {
                for (r, sums) in spare.chunks_exact(width).take(rows).enumerate() {
                    let to = std::slice::from_raw_parts_mut(of_rows.out.add(r * of_rows.out_stride), columns.n);
                    match columns.onto {
                        Onto::Replace => to.copy_from_slice(&sums[..columns.n]),
                        Onto::Add => to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum),
                    }
                }
            }
        }
    }
}

/// [`product`] for a number of registers that is known when it runs, at most a tile's.
///
/// # Safety
/// As [`product`].
#[inline(always)]
pub(crate) unsafe fn registers<V: Vector, const AHEAD: u8>(operands: Operands, n_rows: usize, n_registers: usize) {
    // SAFETY: as the caller vouches.
    unsafe {
        match n_registers {
            1 => product::<V, 1, AHEAD>(operands, n_rows),
            3 if const { V::TILE_COLUMNS == 3 } => product::<V, 3, AHEAD>(operands, n_rows),
            _ => product::<V, 2, AHEAD>(operands, n_rows),
        }
    }
}

/// Adds `bias` to each of `n` rows. Its length is a whole number of registers.
///
/// # Safety
/// The processor has the instructions of `V`; each row has room for as many numbers as `bias`.
#[inline(always)]
pub(crate) unsafe fn add_bias<V: Vector>(rows: *mut f32, n: usize, stride: usize, bias: &[f32]) {
    for row in 0..n {
        for lane in (0..bias.len()).step_by(V::LANES) {
            // SAFETY: the caller vouches for the instructions and the numbers.
            unsafe {
                let slot = rows.add(row * stride + lane);
                V::load(slot).add(V::load(bias.as_ptr().add(lane))).store(slot);
            }
        }
    }
}

/// Columns `start .. start + width` of some rows of a matrix, put side by side; columns beyond its last one are 0.
pub(crate) struct Pack<'a> {
    pub from: Matrix<'a>,
    pub rows: Range<usize>,
    pub start: usize,
    pub width: usize,
    /// Shape `[rows.len(), width]`.
    pub panel: &'a mut [f32],
}

impl Task for Pack<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Pack { from, rows, start, width, panel } = self;
        if panel.is_empty() {
            return;
        }
        let n = width.min(from.n_columns - start);
        if n < width {
            panel.fill(0.0);
        }
        if from.column_stride == 1 {
            for (row, slots) in rows.zip(panel.chunks_exact_mut(width)) {
                let first = row * from.row_stride + start;
                slots[..n].copy_from_slice(&from.values[first..first + n]);
            }
            return;
        }
        let first = rows.start * from.row_stride + start * from.column_stride;
        if from.row_stride == 1 && !rows.is_empty() {
            let numbers = &from.values[first..first + (n - 1) * from.column_stride + rows.len()];
            // SAFETY: the caller vouches for the instructions; what is read was cut out, and the panel is as wide as it says.
            return unsafe {
                assert!(panel.len() >= (rows.len() - 1) * width + n);
                turn::<V>(numbers.as_ptr(), from.column_stride, [n, rows.len()], panel.as_mut_ptr(), width);
            };
        }
        for (row, slots) in panel.chunks_exact_mut(width).take(rows.len()).enumerate() {
            for (column, slot) in slots[..n].iter_mut().enumerate() {
                *slot = from.values[first + column * from.column_stride + row * from.row_stride];
            }
        }
    }
}

/// Exchanges rows and columns: `to[j][i] = from[i][j]`. Shape of `from`: `[n_rows, n_columns]`, at the strides.
///
/// # Safety
/// The processor has the instructions of `V`; these numbers may be read and written.
#[inline(always)]
pub unsafe fn turn<V: Vector>(
    from: *const f32,
    from_stride: usize,
    [n_rows, n_columns]: [usize; 2],
    to: *mut f32,
    to_stride: usize,
) {
    let whole = |n: usize| n / SQUARE * SQUARE;
    // SAFETY: the caller vouches for the instructions and the numbers; squares and single numbers lie inside.
    unsafe {
        // 1. squares, the rows of eight columns after the other while their lines are in the cache
        for column in (0..whole(n_columns)).step_by(SQUARE) {
            for row in (0..whole(n_rows)).step_by(SQUARE) {
                let square = from.add(row * from_stride + column);
                V::transpose(square, from_stride, to.add(column * to_stride + row), to_stride);
            }
        }
        // 2. what is left: columns beside the squares, rows below them
        for row in 0..n_rows {
            for column in if row < whole(n_rows) { whole(n_columns) } else { 0 }..n_columns {
                *to.add(column * to_stride + row) = *from.add(row * from_stride + column);
            }
        }
    }
}
