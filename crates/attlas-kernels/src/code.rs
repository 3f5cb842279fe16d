//! How a file stores weights, and the same bits laid side by side so that registers can be widened from them.
//!
//! Sixteen rows are a strip. In it the numbers of one column lie side by side, and so do the scales of one block, so that
//! whatever is computed to widen a number is computed for sixteen at once. No bit is added or lost, and each number becomes
//! what the format says, exactly.

use std::ops::Range;

/// Rows side by side in a strip.
pub(crate) const STRIP: usize = 16;
/// Columns of the longest block: stretches of columns begin at multiples of it.
pub(crate) const STRETCH: usize = 256;

/// How the numbers of a row are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    Bf16,
    /// Signed bytes, then an f32 that all are multiplied by.
    Int8,
    /// GGML's q8_0: blocks of a scale (f16) and 32 signed bytes; `scale · q`.
    Q8_0,
    /// GGML's q4_0: blocks of a scale (f16) and 32 numbers of 4 bits, the low halves of 16 bytes first; `scale · (q − 8)`.
    Q4_0,
    /// GGML's q4_K: blocks of 256 numbers of 4 bits in 8 groups; `scale · s · q − minimum · m`.
    Q4K,
    /// GGML's q6_K: blocks of 256 numbers of 6 bits in 16 groups; `scale · s · (q − 32)`.
    Q6K,
}

impl Code {
    /// Numbers of a block; rows are whole blocks.
    pub fn block(self) -> usize {
        match self {
            Code::F16 | Code::Bf16 | Code::Int8 => 1,
            Code::Q8_0 | Code::Q4_0 => 32,
            Code::Q4K | Code::Q6K => 256,
        }
    }

    /// Bytes of a row of `n` numbers, a multiple of [`block`](Code::block).
    pub fn row_bytes(self, n: usize) -> usize {
        match self {
            Code::F16 | Code::Bf16 => 2 * n,
            Code::Int8 => n + 4,
            Code::Q8_0 => n / 32 * 34,
            Code::Q4_0 => n / 32 * 18,
            Code::Q4K => n / 256 * 144,
            Code::Q6K => n / 256 * 210,
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
                let mut finite = true;
                for lane in 0..STRIP {
                    let slots = strip[2 * lane..].chunks_mut(2 * STRIP);
                    for (slot, code) in slots.zip(row(lane).as_chunks::<2>().0) {
                        slot[..2].copy_from_slice(code);
                        finite &= u16::from_le_bytes(*code) & exponent != exponent;
                    }
                }
                finite
            }
            Code::Int8 => {
                let (scales, codes) = strip.split_at_mut(4 * STRIP);
                let mut finite = true;
                for lane in 0..STRIP {
                    let (numbers, scale) = row(lane).split_at(n_bytes - 4);
                    scales[4 * lane..][..4].copy_from_slice(scale);
                    lay_bytes(numbers, lane, codes);
                    let scale = scale.first_chunk().map_or(0.0, |scale| f32::from_le_bytes(*scale));
                    finite &= (scale * 128.0).is_finite();
                }
                finite
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

    /// Puts one row's block into its lane.
    fn lay_block(self, stored: &[u8], lane: usize, block: &mut [u8]) -> bool {
        match self {
            Code::Q8_0 => {
                let (scales, codes) = block.split_at_mut(2 * STRIP);
                lay_bytes(&stored[2..], lane, codes);
                lay_half(&stored[..2], lane, scales)
            }
            Code::Q4_0 => {
                let (scales, codes) = block.split_at_mut(2 * STRIP);
                for (column, byte) in stored[2..].iter().enumerate() {
                    lay_four(byte & 15, column, lane, codes);
                    lay_four(byte >> 4, column + 16, lane, codes);
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
                    lay_four(byte & 15, column, lane, codes);
                    lay_four(byte >> 4, column + 32, lane, codes);
                }
                lay_half(&stored[..2], lane, scales) & lay_half(&stored[2..4], lane, minima)
            }
            _ => {
                let (scales, rest) = block.split_at_mut(2 * STRIP);
                let (of_groups, rest) = rest.split_at_mut(16 * STRIP);
                let (low, high) = rest.split_at_mut(STRETCH * STRIP / 2);
                lay_bytes(&stored[192..208], lane, of_groups);
                for column in 0..STRETCH {
                    // each half of 128 numbers has 4 rows of 32: rows 0 and 1 in low halves of bytes, 2 and 3 in high
                    let (half, row, place) = (column / 128, column / 32 % 4, column % 32);
                    let four = stored[half * 64 + row % 2 * 32 + place] >> (row / 2 * 4) & 15;
                    let two = stored[128 + half * 32 + place] >> (row * 2) & 3;
                    lay_four(four, column, lane, low);
                    let slot = &mut high[column * STRIP / 4 + lane % 4];
                    *slot = *slot & !(3 << (lane / 4 * 2)) | two << (lane / 4 * 2);
                }
                lay_half(&stored[208..210], lane, scales)
            }
        }
    }

    /// Widens columns of a strip of rows of `n` numbers: `output[column][lane]`, `stride` numbers from column to column.
    ///
    /// `columns` begins at a multiple of [`STRETCH`], and ends at one or at `n`.
    #[inline(always)]
    pub(crate) fn widen(self, strip: &[u8], columns: Range<usize>, output: &mut [f32], stride: usize) {
        let slots = output.chunks_mut(stride).filter_map(|slots| slots.first_chunk_mut::<STRIP>()).take(columns.len());
        match self {
            Code::F16 => {
                let codes = &strip[2 * STRIP * columns.start..];
                for (slots, codes) in slots.zip(codes.as_chunks::<{ 2 * STRIP }>().0) {
                    *slots = std::array::from_fn(|lane| half([codes[2 * lane], codes[2 * lane + 1]]));
                }
            }
            Code::Bf16 => {
                let codes = &strip[2 * STRIP * columns.start..];
                for (slots, codes) in slots.zip(codes.as_chunks::<{ 2 * STRIP }>().0) {
                    *slots = std::array::from_fn(|lane| {
                        f32::from_bits(u32::from(u16::from_le_bytes([codes[2 * lane], codes[2 * lane + 1]])) << 16)
                    });
                }
            }
            Code::Int8 => {
                let (scales, codes) = strip.split_at(4 * STRIP);
                let scales = scales.as_chunks::<4>().0;
                let scales: [f32; STRIP] = std::array::from_fn(|lane| f32::from_le_bytes(scales[lane]));
                let codes = &codes[STRIP * columns.start..];
                for (slots, codes) in slots.zip(codes.as_chunks::<STRIP>().0) {
                    *slots = std::array::from_fn(|lane| f32::from(codes[lane] as i8) * scales[lane]);
                }
            }
            _ => {
                let n_block = STRIP * self.row_bytes(self.block());
                let blocks = strip[columns.start / self.block() * n_block..].chunks_exact(n_block);
                let outputs = output.chunks_mut(stride * self.block());
                for (block, output) in blocks.zip(outputs).take(columns.len() / self.block()) {
                    self.widen_block(block, output, stride);
                }
            }
        }
    }

    /// Widens one block of every lane.
    #[inline(always)]
    fn widen_block(self, block: &[u8], output: &mut [f32], stride: usize) {
        let (scales, rest) = block.split_at(2 * STRIP);
        let scales = halves(scales);
        match self {
            Code::Q8_0 => {
                for (slots, codes) in output.chunks_mut(stride).zip(rest.as_chunks::<STRIP>().0) {
                    let Some(slots) = slots.first_chunk_mut::<STRIP>() else { break };
                    *slots = std::array::from_fn(|lane| scales[lane] * f32::from(codes[lane] as i8));
                }
            }
            Code::Q4_0 => {
                for (slots, codes) in output.chunks_mut(stride).zip(rest.as_chunks::<{ STRIP / 2 }>().0) {
                    let Some(slots) = slots.first_chunk_mut::<STRIP>() else { break };
                    let codes = fours(codes);
                    *slots = std::array::from_fn(|lane| scales[lane] * (f32::from(codes[lane]) - 8.0));
                }
            }
            Code::Q4K => {
                let (minima, rest) = rest.split_at(2 * STRIP);
                let minima = halves(minima);
                let (six, codes) = rest.split_at(12 * STRIP);
                let six = six.as_chunks::<STRIP>().0;
                for (group, output) in output.chunks_mut(32 * stride).enumerate() {
                    let (s, m) = six_bits(six, group);
                    let scales: [f32; STRIP] = std::array::from_fn(|lane| scales[lane] * f32::from(s[lane]));
                    let minima: [f32; STRIP] = std::array::from_fn(|lane| minima[lane] * f32::from(m[lane]));
                    let codes = codes[group * 32 * STRIP / 2..].as_chunks::<{ STRIP / 2 }>().0;
                    for (slots, codes) in output.chunks_mut(stride).zip(codes) {
                        let Some(slots) = slots.first_chunk_mut::<STRIP>() else { break };
                        let codes = fours(codes);
                        *slots = std::array::from_fn(|lane| scales[lane] * f32::from(codes[lane]) - minima[lane]);
                    }
                }
            }
            _ => {
                let (of_groups, rest) = rest.split_at(16 * STRIP);
                let (low, high) = rest.split_at(STRETCH * STRIP / 2);
                let groups = output.chunks_mut(16 * stride).zip(of_groups.as_chunks::<STRIP>().0);
                for (group, (output, of_group)) in groups.enumerate() {
                    let scales: [f32; STRIP] =
                        std::array::from_fn(|lane| scales[lane] * f32::from(of_group[lane] as i8));
                    let low = low[group * 16 * STRIP / 2..].as_chunks::<{ STRIP / 2 }>().0;
                    let high = high[group * 16 * STRIP / 4..].as_chunks::<{ STRIP / 4 }>().0;
                    for ((slots, low), high) in output.chunks_mut(stride).zip(low).zip(high) {
                        let Some(slots) = slots.first_chunk_mut::<STRIP>() else { break };
                        let low = fours(low);
                        let code = |lane: usize| low[lane] | (high[lane % 4] >> (lane / 4 * 2) & 3) << 4;
                        *slots = std::array::from_fn(|lane| scales[lane] * (f32::from(code(lane)) - 32.0));
                    }
                }
            }
        }
    }
}

/// Puts a row's bytes into its lane.
fn lay_bytes(bytes: &[u8], lane: usize, strip: &mut [u8]) {
    strip[lane..].iter_mut().step_by(STRIP).zip(bytes).for_each(|(slot, byte)| *slot = *byte);
}

/// Puts a binary16 into its lane; gives whether it is finite.
fn lay_half(bytes: &[u8], lane: usize, scales: &mut [u8]) -> bool {
    scales[2 * lane..][..2].copy_from_slice(bytes);
    bytes[1] & 0x7c != 0x7c
}

/// Puts four bits into a lane: lanes 0 to 7 have the lower halves of eight bytes, 8 to 15 the upper ones.
fn lay_four(four: u8, column: usize, lane: usize, codes: &mut [u8]) {
    let slot = &mut codes[column * STRIP / 2 + lane % 8];
    *slot = if lane < 8 { *slot & 0xf0 | four } else { *slot & 0x0f | four << 4 };
}

/// The four bits of each lane.
#[inline(always)]
fn fours(codes: &[u8; STRIP / 2]) -> [u8; STRIP] {
    std::array::from_fn(|lane| if lane < 8 { codes[lane] & 15 } else { codes[lane - 8] >> 4 })
}

/// The scale and minimum of a group of q4_K in every lane: six bits each, the last four groups' upper two bits kept with
/// the first four's.
#[inline(always)]
fn six_bits(packed: &[[u8; STRIP]], group: usize) -> ([u8; STRIP], [u8; STRIP]) {
    if group < 4 {
        return (packed[group].map(|byte| byte & 63), packed[group + 4].map(|byte| byte & 63));
    }
    let (low, s, m) = (&packed[group + 4], &packed[group - 4], &packed[group]);
    (
        std::array::from_fn(|lane| low[lane] & 15 | s[lane] >> 6 << 4),
        std::array::from_fn(|lane| low[lane] >> 4 | m[lane] >> 6 << 4),
    )
}

/// A finite binary16: its bits at the place of a binary32's, times what the exponents' zeros are apart. Exact.
#[inline(always)]
fn half(bytes: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(bytes));
    let size = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(size.to_bits() | (bits & 0x8000) << 16)
}

/// The binary16 of every lane.
#[inline(always)]
fn halves(bytes: &[u8]) -> [f32; STRIP] {
    let bytes = bytes.as_chunks::<2>().0;
    std::array::from_fn(|lane| half(bytes[lane]))
}
