//! How a file stores weights, and the same bits laid side by side so that registers can be widened from them.
//!
//! Sixteen rows are a strip. In it the numbers of one column lie side by side, and so do the scales of one block, so that
//! whatever is computed to widen a number is computed for a whole register at once. No bit is added or lost, and each number
//! becomes what the format says, exactly.

use std::ops::Range;

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
    /// MXFP4 (Open Compute Project 2023): blocks of a power of two (a byte, 127 for 1) and 32 numbers of 4 bits (E2M1), the low
    /// half of each byte first.
    Mxfp4,
}

/// The numbers that the four bits of E2M1 stand for.
const E2M1: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];
/// The largest power of two with which 6 is still a number: 6 · 2^(252 − 127) = 2.6e38.
const MAX_POWER: u8 = 252;

impl Code {
    /// All of them.
    pub const ALL: [Code; 10] = [
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
    ];

    /// Numbers of a block; rows are whole blocks.
    pub fn block(self) -> usize {
        match self {
            Code::F16 | Code::Bf16 | Code::Int8 | Code::Fp8 => 1,
            Code::Q8_0 | Code::Q4_0 | Code::Mxfp4 => 32,
            Code::Fp8Blocks => 128,
            Code::Q4K | Code::Q6K => 256,
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
                let (low, high) = rest.split_at_mut(128 * STRIP);
                lay_bytes(&stored[192..208], lane, of_groups);
                for column in 0..256 {
                    // each half of 128 numbers has 4 rows of 32: rows 0 and 1 in low halves of bytes, 2 and 3 in high
                    let (half, row, place) = (column / 128, column / 32 % 4, column % 32);
                    let four = stored[half * 64 + row % 2 * 32 + place] >> (row / 2 * 4) & 15;
                    let two = stored[128 + half * 32 + place] >> (row * 2) & 3;
                    lay_four(four, column, lane, low);
                    // four columns share a byte
                    let (slot, shift) = (&mut high[column / 4 * STRIP + lane], column % 4 * 2);
                    *slot = *slot & !(3 << shift) | two << shift;
                }
                lay_half(&stored[208..210], lane, scales)
            }
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
    /// When the strip does not have these columns, or `output` has no room for them.
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
                _ => {
                    let n_block = STRIP * self.row_bytes(self.block());
                    let blocks = columns.start / self.block()..columns.end / self.block();
                    let blocks = strip[blocks.start * n_block..blocks.end * n_block].chunks_exact(n_block);
                    for (index, block) in blocks.enumerate() {
                        self.widen_block::<V>(block, to.at(index * self.block()));
                    }
                }
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

/// Where widened numbers go.
#[derive(Clone, Copy)]
struct To {
    start: *mut f32,
    /// Numbers from column to column.
    stride: usize,
}

impl To {
    /// The same from another column on.
    #[inline(always)]
    fn at(self, column: usize) -> To {
        To { start: self.start.wrapping_add(column * self.stride), ..self }
    }

    /// Writes `n` columns, each made of `size` bytes a lane: `number(lane, bytes)` makes a register of lanes from `lane` on.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, there is room for the columns, and their bytes lie at `codes`.
    #[inline(always)]
    unsafe fn columns<V: Vector>(
        self,
        n: usize,
        codes: *const u8,
        size: usize,
        number: impl Fn(usize, *const u8) -> V,
    ) {
        for column in 0..n {
            let codes = codes.wrapping_add(column * size * STRIP);
            V::prefetch(codes.wrapping_add(AHEAD).cast());
            for lane in (0..STRIP).step_by(V::LANES) {
                // SAFETY: the caller vouches for the instructions, the bytes and the room.
                unsafe {
                    let to = self.start.add(column * self.stride + lane);
                    number(lane, codes.wrapping_add(lane * size)).store(to);
                }
            }
        }
    }

    /// Writes `n` columns, an even number, whose lanes have half a byte each, a pair of columns to a byte, the first one below:
    /// `number(lane, bits)` makes a register of the lowest four of `bits`.
    ///
    /// # Safety
    /// As [`columns`](To::columns).
    #[inline(always)]
    unsafe fn pairs<V: Vector>(self, n: usize, codes: *const u8, number: impl Fn(usize, V) -> V) {
        for pair in 0..n / 2 {
            let codes = codes.wrapping_add(pair * STRIP);
            V::prefetch(codes.wrapping_add(AHEAD).cast());
            for lane in (0..STRIP).step_by(V::LANES) {
                // SAFETY: the caller vouches for the instructions, the bytes and the room.
                unsafe {
                    let both = V::load_bytes(codes.wrapping_add(lane));
                    let to = self.start.add(2 * pair * self.stride + lane);
                    number(lane, both).store(to);
                    number(lane, both.right(4)).store(to.add(self.stride));
                }
            }
        }
    }
}

/// Widens half a block of q4_K: four groups of 32 columns.
///
/// # Safety
/// The processor has the instructions of `V`, and `to` has room.
#[inline(always)]
unsafe fn widen_q4_k<V: Vector>(block: &[u8], half: usize, to: To) {
    let (of_block, rest) = block.split_at(4 * STRIP);
    let (six, codes) = rest.split_at(12 * STRIP);
    let codes = &codes[half * 64 * STRIP..][..64 * STRIP];
    let (mut scales, mut minima) = ([0.0; STRIP], [0.0; STRIP]);
    // SAFETY: the caller vouches for the instructions and the room; what is read is cut out of `block`.
    unsafe {
        halves::<V>(&of_block[..2 * STRIP], &mut scales);
        halves::<V>(&of_block[2 * STRIP..], &mut minima);
        for group in 0..4 {
            let (mut of_group, mut least) = ([0.0; STRIP], [0.0; STRIP]);
            for lane in (0..STRIP).step_by(V::LANES) {
                let six = six[lane..].as_ptr();
                // six bits each, the last four groups' upper two bits kept with the first four's
                let (s, m) = if half == 0 {
                    (bytes_at::<V>(six, group).and(63), bytes_at::<V>(six, group + 4).and(63))
                } else {
                    let low = bytes_at::<V>(six, group + 8);
                    (
                        low.and(15).or(bytes_at::<V>(six, group).right(6).left(4)),
                        low.right(4).or(bytes_at::<V>(six, group + 4).right(6).left(4)),
                    )
                };
                V::load(scales.as_ptr().add(lane)).mul(s.number()).store(of_group.as_mut_ptr().add(lane));
                V::load(minima.as_ptr().add(lane)).mul(m.number()).store(least.as_mut_ptr().add(lane));
            }
            to.at(32 * group).pairs(
                32,
                codes[group * 16 * STRIP..].as_ptr(),
                #[inline(always)]
                |lane: usize, four: V| {
                    let product = V::load(of_group.as_ptr().add(lane)).mul(four.four());
                    product.sub(V::load(least.as_ptr().add(lane)))
                },
            );
        }
    }
}

/// Columns of strips of a plain code.
trait Columns {
    /// Goes through them: `number(factors, bytes)` makes a register of `size` bytes a lane.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; the bytes and the room are there.
    unsafe fn visit<V: Vector>(self, size: usize, number: impl Fn(V, *const u8) -> V);
}

/// Columns that are written as `f32`.
struct Written {
    to: To,
    n: usize,
    scales: [f32; STRIP],
    codes: *const u8,
}

impl Columns for Written {
    #[inline(always)]
    unsafe fn visit<V: Vector>(self, size: usize, number: impl Fn(V, *const u8) -> V) {
        // SAFETY: as the caller vouches; the factors are a strip's.
        unsafe {
            self.to.columns(
                self.n,
                self.codes,
                size,
                #[inline(always)]
                |lane: usize, codes: *const u8| number(V::load(self.scales.as_ptr().add(lane)), codes),
            );
        }
    }
}

/// Columns of `S` strips side by side that a row of numbers is multiplied with.
struct Weighed<'a, const S: usize> {
    scales: [[f32; STRIP]; S],
    codes: [*const u8; S],
    /// A number for each column.
    input: &'a [f32],
    /// Shape `[S, STRIP]`.
    sums: *mut f32,
}

impl<const S: usize> Columns for Weighed<'_, S> {
    #[inline(always)]
    unsafe fn visit<V: Vector>(self, size: usize, number: impl Fn(V, *const u8) -> V) {
        // SAFETY: as the caller vouches; `sums` and each strip's factors are whole strips.
        unsafe {
            let mut sums = [[V::splat(0.0); STRIP / MIN_LANES]; S];
            for (column, factor) in self.input.iter().enumerate() {
                let factor = V::splat(*factor);
                for (strip, sums) in sums.iter_mut().enumerate() {
                    let codes = self.codes[strip].wrapping_add(column * size * STRIP);
                    V::prefetch(codes.wrapping_add(AHEAD).cast());
                    for (sum, lane) in sums.iter_mut().zip((0..STRIP).step_by(V::LANES)) {
                        let scales = V::load(self.scales[strip].as_ptr().add(lane));
                        *sum = factor.mul_add(number(scales, codes.wrapping_add(lane * size)), *sum);
                    }
                }
            }
            for (strip, sums) in sums.iter().enumerate() {
                for (sum, lane) in sums.iter().zip((0..STRIP).step_by(V::LANES)) {
                    sum.store(self.sums.add(strip * STRIP + lane));
                }
            }
        }
    }
}

/// Lanes of the narrowest register.
const MIN_LANES: usize = 4;

/// The bytes of a register of lanes, `row` strips of bytes further on.
///
/// # Safety
/// The processor has the instructions of `V`, and the bytes are there.
#[inline(always)]
unsafe fn bytes_at<V: Vector>(bytes: *const u8, row: usize) -> V {
    // SAFETY: as the caller vouches.
    unsafe { V::load_bytes(bytes.add(row * STRIP)) }
}

/// Widens half a block of q6_K: eight groups of 16 columns.
///
/// # Safety
/// The processor has the instructions of `V`, and `to` has room.
#[inline(always)]
unsafe fn widen_q6_k<V: Vector>(block: &[u8], half: usize, to: To) {
    let (of_block, rest) = block.split_at(2 * STRIP);
    let (of_groups, rest) = rest.split_at(16 * STRIP);
    let (low, high) = rest.split_at(128 * STRIP);
    let low = &low[half * 64 * STRIP..][..64 * STRIP];
    let high = &high[half * 32 * STRIP..][..32 * STRIP];
    let mut scales = [0.0; STRIP];
    // SAFETY: the caller vouches for the instructions and the room; what is read is cut out of `block`.
    unsafe {
        halves::<V>(of_block, &mut scales);
        for four in 0..STRETCH / 4 {
            let (low, high) = (low.as_ptr().add(four * 2 * STRIP), high.as_ptr().add(four * STRIP));
            V::prefetch(low.wrapping_add(AHEAD).cast());
            V::prefetch(high.wrapping_add(AHEAD).cast());
            for lane in (0..STRIP).step_by(V::LANES) {
                let of_group = of_groups[(half * 8 + four / 4) * STRIP + lane..][..V::LANES].as_ptr();
                let scale = V::load(scales.as_ptr().add(lane)).mul(V::load_signed_bytes(of_group).number());
                let (first, second) = (V::load_bytes(low.add(lane)), V::load_bytes(low.add(STRIP + lane)));
                let two = V::load_bytes(high.add(lane));
                let codes = [
                    first.and(15).or(two.left(4).and(0x30)),
                    first.right(4).or(two.left(2).and(0x30)),
                    second.and(15).or(two.and(0x30)),
                    second.right(4).or(two.right(2).and(0x30)),
                ];
                for (column, code) in codes.into_iter().enumerate() {
                    let number = scale.mul(code.number().sub(V::splat(32.0)));
                    number.store(to.start.add((4 * four + column) * to.stride + lane));
                }
            }
        }
    }
}

/// The binary16 of every lane.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn halves<V: Vector>(bytes: &[u8], numbers: &mut [f32; STRIP]) {
    let bytes = &bytes[..2 * STRIP];
    for lane in (0..STRIP).step_by(V::LANES) {
        // SAFETY: the caller vouches for the instructions; both have all lanes.
        unsafe { V::load_f16(bytes.as_ptr().add(2 * lane)).store(numbers.as_mut_ptr().add(lane)) }
    }
}

/// Puts 16 rows of numbers of `SIZE` bytes, 1 or 2, side by side.
fn lay_side_by_side<'a, const SIZE: usize>(row: impl Fn(usize) -> &'a [u8], strip: &mut [u8]) {
    let rows: [&[u8]; STRIP] = std::array::from_fn(row);
    // 1. squares of 16 bytes, turned in registers
    let squares = rows.map(|row| row.as_chunks::<STRIP>().0);
    for (index, turned) in strip.as_chunks_mut().0.as_chunks_mut().0.iter_mut().enumerate().take(squares[0].len()) {
        turn_square::<SIZE>(squares, index, turned);
    }
    // 2. the columns that are left
    let columns = strip.as_chunks_mut::<SIZE>().0.as_chunks_mut::<STRIP>().0;
    for (column, lanes) in columns.iter_mut().enumerate().skip(squares[0].len() * STRIP / SIZE) {
        *lanes = rows.map(|row| row.as_chunks().0[column]);
    }
}

/// Writes the numbers of a square, bytes of 16 rows, column by column.
///
/// Four times each row is shuffled with the one eight below it, number by number, as the halves of a deck of cards: every
/// time the bits of a number's place, its row's before its column's, move one up, and the uppermost becomes the lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn turn_square<const SIZE: usize>(rows: [&[[u8; STRIP]]; STRIP], index: usize, turned: &mut [[u8; STRIP]; STRIP]) {
    use std::arch::x86_64::*;

    // SAFETY: every processor of this architecture has SSE2; arrays of 16 bytes are read and written.
    unsafe {
        let mut deck: [__m128i; STRIP] = rows.map(|row| _mm_loadu_si128(row[index].as_ptr().cast()));
        for _ in 0..STRIP.ilog2() {
            deck = std::array::from_fn(|row| {
                let (upper, lower) = (deck[row / 2], deck[row / 2 + STRIP / 2]);
                match (SIZE, row % 2) {
                    (1, 0) => _mm_unpacklo_epi8(upper, lower),
                    (1, _) => _mm_unpackhi_epi8(upper, lower),
                    (_, 0) => _mm_unpacklo_epi16(upper, lower),
                    _ => _mm_unpackhi_epi16(upper, lower),
                }
            });
        }
        for (row, turned) in deck.into_iter().zip(turned) {
            _mm_storeu_si128(turned.as_mut_ptr().cast(), row);
        }
    }
}

/// Writes the numbers of a square, bytes of 16 rows, column by column.
#[cfg(not(target_arch = "x86_64"))]
fn turn_square<const SIZE: usize>(rows: [&[[u8; STRIP]]; STRIP], index: usize, turned: &mut [[u8; STRIP]; STRIP]) {
    for (column, lanes) in turned.as_flattened_mut().chunks_exact_mut(SIZE * STRIP).enumerate() {
        for (row, slot) in rows.iter().zip(lanes.chunks_exact_mut(SIZE)) {
            slot.copy_from_slice(&row[index][column * SIZE..(column + 1) * SIZE]);
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

/// Puts a factor into its lane; gives whether its product with the largest number is finite.
fn lay_scale(bytes: &[u8], largest: f32, lane: usize, scales: &mut [u8]) -> bool {
    scales[4 * lane..][..4].copy_from_slice(bytes);
    let scale = bytes.first_chunk().map_or(0.0, |scale| f32::from_le_bytes(*scale));
    (scale * largest).is_finite()
}

/// Whether a byte of E4M3 is a number.
fn is_e4m3(byte: &u8) -> bool {
    byte & 0x7f != 0x7f
}

/// Puts four bits into a lane: two columns share a byte, the even one below.
fn lay_four(four: u8, column: usize, lane: usize, codes: &mut [u8]) {
    let (slot, shift) = (&mut codes[column / 2 * STRIP + lane], column % 2 * 4);
    *slot = *slot & !(15 << shift) | four << shift;
}
