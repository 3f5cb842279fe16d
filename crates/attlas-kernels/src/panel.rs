//! A stretch of columns as wide as a tile: what the micro-kernel's sums become on their way into the output.

use crate::activation::Activation;
use crate::matrix::{Matrix, Onto};
use crate::product::{Operands, Store, product};
use crate::vector::Vector;

/// Columns of the widest tile: three registers of 16.
const MAX_WIDTH: usize = 48;
/// Rows of the highest tile.
const MAX_ROWS: usize = 8;

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
/// Where `AHEAD`, the lines from `operands.ahead` on are brought nearer on the way, `n_ahead` numbers over and over.
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
        let of_rows = operands.from_row(row);
        let store = if is_direct && columns.onto == Onto::Add { Store::Add } else { Store::Replace };
        let (out, out_stride) = if is_direct { (of_rows.out, of_rows.out_stride) } else { (spare.as_mut_ptr(), width) };
        let ahead = operands.ahead.wrapping_add(asked);
        asked = if asked + 4 * operands.n_inner < n_ahead { asked + 4 * operands.n_inner } else { 0 };
        let to_place = Operands { out, out_stride, store, ahead, ..of_rows };
        // SAFETY: the caller vouches for the instructions, the factors and, where sums go straight there, the output; the
        // spare rows and the bias hold whole registers.
        unsafe {
            match n_registers {
                1 => product::<V, 1, AHEAD>(to_place, rows),
                3 if const { V::TILE_COLUMNS == 3 } => product::<V, 3, AHEAD>(to_place, rows),
                _ => product::<V, 2, AHEAD>(to_place, rows),
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

/// Puts columns `start .. start + width` of some rows of `right` side by side; columns beyond its last one are 0.
///
/// Shape of `panel`: `[rows.len(), width]`.
#[inline(always)]
pub(crate) fn pack(right: Matrix<'_>, rows: std::ops::Range<usize>, start: usize, width: usize, panel: &mut [f32]) {
    /// Rows that are read of one column after the other while their lines are in the cache.
    const SQUARE: usize = 16;
    if panel.is_empty() {
        return;
    }
    let n = width.min(right.n_columns - start);
    if n < width {
        panel.fill(0.0);
    }
    if right.column_stride == 1 {
        for (row, slots) in rows.zip(panel.chunks_exact_mut(width)) {
            let from = row * right.row_stride + start;
            slots[..n].copy_from_slice(&right.values[from..from + n]);
        }
        return;
    }
    for (block, slots) in panel.chunks_mut(width * SQUARE).enumerate() {
        let first = rows.start + block * SQUARE;
        for column in 0..n {
            let numbers = right.values[(start + column) * right.column_stride + first * right.row_stride..].iter();
            let column = slots[column..].iter_mut().step_by(width);
            column.zip(numbers.step_by(right.row_stride)).for_each(|(slot, number)| *slot = *number);
        }
    }
}
