//! Registers of numbers made of the bytes of a strip.

use super::{AHEAD, STRETCH, STRIP};
use crate::vector::Vector;

/// Where widened numbers go.
#[derive(Clone, Copy)]
pub(super) struct To {
    pub start: *mut f32,
    /// Numbers from column to column.
    pub stride: usize,
}

impl To {
    /// The same from another column on.
    #[inline(always)]
    pub fn at(self, column: usize) -> To {
        To { start: self.start.wrapping_add(column * self.stride), ..self }
    }

    /// Writes `n` columns, each made of `size` bytes a lane: `number(lane, bytes)` makes a register of lanes from `lane` on.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, there is room for the columns, and their bytes lie at `codes`.
    #[inline(always)]
    pub unsafe fn columns<V: Vector>(
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
    pub unsafe fn pairs<V: Vector>(self, n: usize, codes: *const u8, number: impl Fn(usize, V) -> V) {
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
pub(super) unsafe fn widen_q4_k<V: Vector>(block: &[u8], half: usize, to: To) {
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
pub(super) trait Columns {
    /// Goes through them: `number(factors, bytes)` makes a register of `size` bytes a lane.
    ///
    /// # Safety
    /// The processor has the instructions of `V`; the bytes and the room are there.
    unsafe fn visit<V: Vector>(self, size: usize, number: impl Fn(V, *const u8) -> V);
}

/// Columns that are written as `f32`.
pub(super) struct Written {
    pub to: To,
    pub n: usize,
    pub scales: [f32; STRIP],
    pub codes: *const u8,
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
pub(super) struct Weighed<'a, const S: usize> {
    pub scales: [[f32; STRIP]; S],
    pub codes: [*const u8; S],
    /// A number for each column.
    pub input: &'a [f32],
    /// Shape `[S, STRIP]`.
    pub sums: *mut f32,
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
pub(super) unsafe fn widen_q6_k<V: Vector>(block: &[u8], half: usize, to: To) {
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
pub(super) unsafe fn halves<V: Vector>(bytes: &[u8], numbers: &mut [f32; STRIP]) {
    let bytes = &bytes[..2 * STRIP];
    for lane in (0..STRIP).step_by(V::LANES) {
        // SAFETY: the caller vouches for the instructions; both have all lanes.
        unsafe { V::load_f16(bytes.as_ptr().add(2 * lane)).store(numbers.as_mut_ptr().add(lane)) }
    }
}
