//! How a file stores weights, and the same bits laid side by side so that registers can be widened from them.
//!
//! Sixteen rows are a strip. In it the numbers of one column lie side by side, and so do the scales of one block, so that
//! whatever is computed to widen a number is computed for a whole register at once. No bit is added or lost, and each number
//! becomes what the format says, exactly.

mod grouped;
mod lay;
mod widen;

use std::ops::Range;

pub use grouped::IQ4;
use lay::{is_e4m3, lay_bits, lay_bytes, lay_half, lay_scale, lay_side_by_side};
use widen::{Columns, To, Weighed, Written, halves, widen_q4_k, widen_q6_k};

use crate::vector::Vector;

/// Rows side by side in a strip.
pub(crate) const STRIP: usize = 16;
/// Columns that are widened at a time; stretches begin at multiples of it. Of three strips they are 24 kB, which stay in the
/// first-level cache.
pub(crate) const STRETCH: usize = 128;
/// How many bytes before they are needed a strip's are asked for.
const AHEAD: usize = 4096;

/// How the numbers of a row are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// Signed bytes, then an f32 that all are multiplied by.
    Int8,
    /// Bytes of E4M3 (four bits of exponent, three of mantissa, no infinity), then an f32 that all are multiplied by.
    Fp8,
    /// Blocks of an f32 and 128 bytes of E4M3 that are multiplied by it.
    Fp8Blocks,
    /// GGML's q8_0: blocks of a scale (f16) and 32 signed bytes; `scale · q`.
    Q8_0,
    /// GGML's q4_0: blocks of a scale (f16) and 32 numbers of 4 bits, the low halves of 16 bytes first; `scale · (q − 8)`.
    Q4_0,
    /// GGML's q4_K: blocks of 256 numbers of 4 bits in 8 groups; `scale · s · q − minimum · m`.
    Q4K,
    /// GGML's q6_K: blocks of 256 numbers of 6 bits in 16 groups; `scale · s · (q − 32)`.
    Q6K,
    /// GGML's q4_1: blocks of a scale and a minimum (f16) and 32 numbers of 4 bits as in q4_0; `scale · q + minimum`.
    Q4_1,
    /// GGML's q5_0: blocks of a scale (f16), 32 fifth bits, and 32 numbers of 4 bits as in q4_0; `scale · (q − 16)`.
    Q5_0,
    /// GGML's q5_1: blocks of a scale and a minimum (f16), then as q5_0; `scale · q + minimum`.
    Q5_1,
    /// GGML's q2_K: blocks of 256 numbers of 2 bits in 16 groups; `scale · s · q − minimum · m`.
    Q2K,
    /// GGML's q3_K: blocks of 256 numbers of 3 bits in 16 groups; `scale · s · (q − 4)`.
    Q3K,
    /// GGML's q5_K: blocks of 256 numbers of 5 bits in 8 groups; `scale · s · q − minimum · m`.
    Q5K,
    /// GGML's iq4_nl: blocks of a scale (f16) and 32 entries of a table, 4 bits as in q4_0; `scale · table[q]`.
    Iq4Nl,
    /// GGML's iq4_xs: blocks of 256 entries of the same table in 8 groups; `scale · s · table[q]`.
    Iq4Xs,
    /// Blocks of a scale (f32), a zero (a byte) and 32 numbers of 4 bits, the low half of each byte first; `scale · (q − zero)`.
    Int4,
    /// bitsandbytes's NF4: blocks of a scale (f32) and 64 entries of a table, 4 bits, the high half of each byte first;
    /// `scale · table[q]`.
    Nf4,
    /// bitsandbytes's FP4: the same with another table.
    Fp4,
    /// MXFP4 (Open Compute Project 2023): blocks of a power of two (a byte, 127 for 1) and 32 numbers of 4 bits (E2M1), the low
    /// half of each byte first.
    Mxfp4,
}

/// The numbers that the four bits of E2M1 stand for.
const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
/// The largest power of two, as MXFP4 stores it, with which 6 is still a number: 6 · 2^(252 − 127) = 2.6e38.
pub const MAX_POWER: u8 = 252;

impl Code {
    /// What its numbers are called where they come from: `q4_K`, `nf4`.
    pub fn name(self) -> &'static str {
        match self {
            Code::F16 => "f16",
            Code::Bf16 => "bf16",
            Code::Int8 => "i8",
            Code::Fp8 | Code::Fp8Blocks => "fp8",
            Code::Q8_0 => "q8_0",
            Code::Q4_0 => "q4_0",
            Code::Q4K => "q4_K",
            Code::Q6K => "q6_K",
            Code::Q4_1 => "q4_1",
            Code::Q5_0 => "q5_0",
            Code::Q5_1 => "q5_1",
            Code::Q2K => "q2_K",
            Code::Q3K => "q3_K",
            Code::Q5K => "q5_K",
            Code::Iq4Nl => "iq4_nl",
            Code::Iq4Xs => "iq4_xs",
            Code::Int4 => "int4",
            Code::Nf4 => "nf4",
            Code::Fp4 => "fp4",
            Code::Mxfp4 => "mxfp4",
        }
    }

    /// All of them.
    pub const ALL: [Code; 21] = [
        Code::F16,
        Code::Bf16,
        Code::Int8,
        Code::Fp8,
        Code::Fp8Blocks,
        Code::Q8_0,
        Code::Q4_0,
        Code::Q4K,
        Code::Q6K,
        Code::Mxfp4,
        Code::Q4_1,
        Code::Q5_0,
        Code::Q5_1,
        Code::Q2K,
        Code::Q3K,
        Code::Q5K,
        Code::Iq4Nl,
        Code::Iq4Xs,
        Code::Int4,
        Code::Nf4,
        Code::Fp4,
    ];

    /// Numbers of a block; rows are whole blocks.
    pub fn block(self) -> usize {
        match self {
            Code::F16 | Code::Bf16 | Code::Int8 | Code::Fp8 => 1,
            Code::Q8_0 | Code::Q4_0 | Code::Mxfp4 => 32,
            Code::Fp8Blocks => 128,
            Code::Q4K | Code::Q6K => 256,
            _ => self.grouped_block(),
        }
    }

    /// Bytes of a row of `n` numbers, a multiple of [`block`](Code::block).
    pub fn row_bytes(self, n: usize) -> usize {
        match self {
            Code::F16 | Code::Bf16 => 2 * n,
            Code::Int8 | Code::Fp8 => n + 4,
            Code::Fp8Blocks => n / 128 * 132,
            Code::Q8_0 => n / 32 * 34,
            Code::Q4_0 => n / 32 * 18,
            Code::Q4K => n / 256 * 144,
            Code::Q6K => n / 256 * 210,
            Code::Mxfp4 => n / 32 * 17,
            _ => n / self.grouped_block() * self.grouped_bytes(),
        }
    }

    /// Lays 16 rows side by side; both slices hold `16 · row_bytes(n)` bytes.
    ///
    /// Gives whether all numbers are finite.
    pub(crate) fn lay(self, rows: &[u8], strip: &mut [u8]) -> bool {
        let n_bytes = rows.len() / STRIP;
        let row = |lane: usize| &rows[lane * n_bytes..][..n_bytes];
        match self {
            Code::F16 | Code::Bf16 => {
                let exponent = if self == Code::F16 { 0x7c00 } else { 0x7f80 };
                let is_finite = |code: &[u8; 2]| u16::from_le_bytes(*code) & exponent != exponent;
                lay_side_by_side::<2>(row, strip);
                rows.as_chunks().0.iter().fold(true, |all, code| all & is_finite(code))
            }
            Code::Int8 | Code::Fp8 => {
                let (scales, codes) = strip.split_at_mut(4 * STRIP);
                lay_side_by_side::<1>(|lane| &row(lane)[..n_bytes - 4], codes);
                let is_finite = |lane: usize| {
                    let (numbers, scale) = row(lane).split_at(n_bytes - 4);
                    match self {
                        Code::Int8 => lay_scale(scale, 128.0, lane, scales),
                        _ => lay_scale(scale, 448.0, lane, scales) & numbers.iter().all(is_e4m3),
                    }
                };
                (0..STRIP).map(is_finite).fold(true, |all, finite| all & finite)
            }
            _ => {
                let (n_block, stored) = (self.row_bytes(self.block()), STRIP * self.row_bytes(self.block()));
                let mut finite = true;
                for (index, block) in strip.chunks_exact_mut(stored).enumerate() {
                    for lane in 0..STRIP {
                        finite &= self.lay_block(&row(lane)[index * n_block..][..n_block], lane, block);
                    }
                }
                finite
            }
        }
    }

    /// Puts one row's block into its lane; gives whether its numbers are finite.
    fn lay_block(self, stored: &[u8], lane: usize, block: &mut [u8]) -> bool {
        match self {
            Code::Fp8Blocks => {
                let (scales, codes) = block.split_at_mut(4 * STRIP);
                lay_bytes(&stored[4..], lane, codes);
                lay_scale(&stored[..4], 448.0, lane, scales) & stored[4..].iter().all(is_e4m3)
            }
            Code::Mxfp4 => {
                let (powers, codes) = block.split_at_mut(STRIP);
                powers[lane] = stored[0];
                lay_bytes(&stored[1..], lane, codes);
                stored[0] <= MAX_POWER
            }
            Code::Q8_0 => {
                let (scales, codes) = block.split_at_mut(2 * STRIP);
                lay_bytes(&stored[2..], lane, codes);
                lay_half(&stored[..2], lane, scales)
            }
            Code::Q4_0 => {
                let (scales, codes) = block.split_at_mut(2 * STRIP);
                for (column, byte) in stored[2..].iter().enumerate() {
                    lay_bits(4, byte & 15, column, lane, codes);
                    lay_bits(4, byte >> 4, column + 16, lane, codes);
                }
                lay_half(&stored[..2], lane, scales)
            }
            Code::Q4K => {
                let (scales, rest) = block.split_at_mut(2 * STRIP);
                let (minima, rest) = rest.split_at_mut(2 * STRIP);
                let (six, codes) = rest.split_at_mut(12 * STRIP);
                lay_bytes(&stored[4..16], lane, six);
                for (place, byte) in stored[16..].iter().enumerate() {
                    // low halves are one group of 32, high halves the next
                    let column = place / 32 * 64 + place % 32;
                    lay_bits(4, byte & 15, column, lane, codes);
                    lay_bits(4, byte >> 4, column + 32, lane, codes);
                }
                lay_half(&stored[..2], lane, scales) & lay_half(&stored[2..4], lane, minima)
            }
            Code::Q6K => {
                let (scales, rest) = block.split_at_mut(2 * STRIP);
                let (of_groups, rest) = rest.split_at_mut(16 * STRIP);
                let (low, high) = rest.split_at_mut(128 * STRIP);
                lay_bytes(&stored[192..208], lane, of_groups);
                for column in 0..256 {
                    // each half of 128 numbers has 4 rows of 32: rows 0 and 1 in low halves of bytes, 2 and 3 in high
                    let (half, row, place) = (column / 128, column / 32 % 4, column % 32);
                    let four = stored[half * 64 + row % 2 * 32 + place] >> (row / 2 * 4) & 15;
                    let two = stored[128 + half * 32 + place] >> (row * 2) & 3;
                    lay_bits(4, four, column, lane, low);
                    lay_bits(2, two, column, lane, high);
                }
                lay_half(&stored[208..210], lane, scales)
            }
            _ => self.lay_grouped(stored, lane, block),
        }
    }

    /// Widens columns of a strip of rows: `output[column][lane]`, `stride` numbers from column to column.
    ///
    /// `columns` begins at a multiple of [`STRETCH`], and ends at one or with the row.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    ///
    /// # Panics
    /// When the strip does not have these columns, they begin or end elsewhere, or `output` has no room for them.
    #[inline(always)]
    pub(crate) unsafe fn widen<V: Vector>(
        self,
        strip: &[u8],
        columns: Range<usize>,
        output: &mut [f32],
        stride: usize,
    ) {
        if columns.is_empty() {
            return;
        }
        // groups are written whole, so none may reach beyond the columns
        let is_whole = columns.end.is_multiple_of(self.block().min(STRETCH));
        assert!(columns.start.is_multiple_of(STRETCH) && is_whole, "columns {columns:?} in part");
        assert!(stride >= STRIP && output.len() >= (columns.len() - 1) * stride + STRIP);
        let to = To { start: output.as_mut_ptr(), stride };
        // SAFETY: the caller vouches for the instructions; `output` was measured, and what is read is cut out of `strip`.
        unsafe {
            match self {
                Code::F16 | Code::Bf16 | Code::Int8 | Code::Fp8 => {
                    let (scales, codes, size) = self.plain_strip(strip);
                    let codes = &codes[size * STRIP * columns.start..size * STRIP * columns.end];
                    self.plain::<V>(Written { to, n: columns.len(), scales, codes: codes.as_ptr() });
                }
                Code::Q4K | Code::Q6K => {
                    let n_block = STRIP * self.row_bytes(256);
                    let block = &strip[columns.start / 256 * n_block..][..n_block];
                    let half = columns.start % 256 / STRETCH;
                    if self == Code::Q4K { widen_q4_k::<V>(block, half, to) } else { widen_q6_k::<V>(block, half, to) }
                }
                Code::Fp8Blocks | Code::Mxfp4 | Code::Q8_0 | Code::Q4_0 => {
                    let n_block = STRIP * self.row_bytes(self.block());
                    let blocks = columns.start / self.block()..columns.end / self.block();
                    let blocks = strip[blocks.start * n_block..blocks.end * n_block].chunks_exact(n_block);
                    for (index, block) in blocks.enumerate() {
                        self.widen_block::<V>(block, to.at(index * self.block()));
                    }
                }
                _ => self.widen_grouped::<V>(strip, columns, to),
            }
        }
    }

    /// Whether a number is made of its own bytes and a factor of its row, so that [`weigh`](Code::weigh) can read it.
    pub(crate) fn is_plain(self) -> bool {
        self.block() == 1
    }

    /// The factors of a strip's rows, the bytes of its numbers, and how many bytes a number has.
    #[inline(always)]
    fn plain_strip(self, strip: &[u8]) -> ([f32; STRIP], &[u8], usize) {
        if matches!(self, Code::F16 | Code::Bf16) {
            return ([1.0; STRIP], strip, 2);
        }
        let (scales, codes) = strip.split_at(4 * STRIP);
        let scales = scales.as_chunks::<4>().0;
        (std::array::from_fn(|lane| f32::from_le_bytes(scales[lane])), codes, 1)
    }

    /// Has `columns` visited with what makes a register of numbers of one of factors and of bytes.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and `columns` has the bytes and the room.
    #[inline(always)]
    unsafe fn plain<V: Vector>(self, columns: impl Columns) {
        // SAFETY: as the caller vouches.
        unsafe {
            match self {
                Code::F16 => columns.visit::<V>(
                    2,
                    #[inline(always)]
                    |_, codes| V::load_f16(codes),
                ),
                Code::Bf16 => columns.visit::<V>(
                    2,
                    #[inline(always)]
                    |_, codes| V::load_halves(codes).left(16),
                ),
                Code::Int8 => columns.visit::<V>(
                    1,
                    #[inline(always)]
                    |scale, codes| V::load_signed_bytes(codes).number().mul(scale),
                ),
                _ => columns.visit::<V>(
                    1,
                    #[inline(always)]
                    |scale, codes| V::load_e4m3(codes).mul(scale),
                ),
            }
        }
    }

    /// One row of the input against `S` strips of this code, which [is plain](Code::is_plain): numbers are widened in
    /// registers and pass through no memory. The sums are those of the micro-kernel, in its order.
    ///
    /// Shapes: `input [d_in]`, `sums [S, STRIP]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    ///
    /// # Panics
    /// When a strip is shorter than the input, or `sums` than `S` strips.
    #[inline(always)]
    pub(crate) unsafe fn weigh<V: Vector, const S: usize>(self, strips: [&[u8]; S], input: &[f32], sums: &mut [f32]) {
        let parts = strips.map(|strip| self.plain_strip(strip));
        let scales = parts.map(|(scales, ..)| scales);
        let codes = parts.map(|(_, codes, size)| codes[..size * STRIP * input.len()].as_ptr());
        let sums = sums[..S * STRIP].as_mut_ptr();
        // SAFETY: the caller vouches for the instructions; the strips' bytes were cut out and the sums measured.
        unsafe { self.plain::<V>(Weighed { scales, codes, input, sums }) }
    }

    /// Widens one block of every lane of those that have no groups in it.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and `to` has room for a block.
    #[inline(always)]
    unsafe fn widen_block<V: Vector>(self, block: &[u8], to: To) {
        let mut scales = [0.0; STRIP];
        // SAFETY: the caller vouches for the instructions and for the room; what is read is cut out of `block`.
        unsafe {
            match self {
                Code::Fp8Blocks => {
                    let (scales, codes, _) = Code::Fp8.plain_strip(block);
                    Code::Fp8.plain::<V>(Written { to, n: 128, scales, codes: codes[..128 * STRIP].as_ptr() });
                }
                Code::Mxfp4 => {
                    let (powers, codes) = block.split_at(STRIP);
                    for (scale, power) in scales.iter_mut().zip(powers) {
                        // the smallest is a subnormal number
                        *scale = f32::from_bits(if *power == 0 { 1 << 22 } else { u32::from(*power) << 23 });
                    }
                    to.pairs(
                        32,
                        codes[..16 * STRIP].as_ptr(),
                        #[inline(always)]
                        |lane: usize, four: V| four.entry(&E2M1).mul(V::load(scales.as_ptr().add(lane))),
                    );
                }
                _ => {
                    let (of_block, codes) = block.split_at(2 * STRIP);
                    halves::<V>(of_block, &mut scales);
                    if self == Code::Q8_0 {
                        to.columns(
                            32,
                            codes[..32 * STRIP].as_ptr(),
                            1,
                            #[inline(always)]
                            |lane: usize, codes: *const u8| {
                                V::load(scales.as_ptr().add(lane)).mul(V::load_signed_bytes(codes).number())
                            },
                        );
                    } else {
                        to.pairs(
                            32,
                            codes[..16 * STRIP].as_ptr(),
                            #[inline(always)]
                            |lane: usize, four: V| {
                                let scale = V::load(scales.as_ptr().add(lane));
                                scale.mul(four.four().sub(V::splat(8.0)))
                            },
                        );
                    }
                }
            }
        }
    }
}
