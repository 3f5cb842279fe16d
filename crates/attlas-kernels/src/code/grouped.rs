//! Codes whose numbers share factors in groups: `scale · (q − offset) − least`, where q has 2 to 5 bits or is an entry of a
//! table.
//!
//! A block of a strip holds, each of all sixteen rows side by side: the factors of the whole block, the bytes about its
//! groups, the lower bits of its numbers and, where they have five or three, their uppermost one.

use std::ops::Range;

use super::lay::{lay_bits, lay_bytes, lay_half, lay_scale};
use super::widen::{To, halves};
use super::{AHEAD, Code, STRIP};
use crate::vector::Vector;

/// The sixteen numbers that four bits of GGML's iq4_nl and iq4_xs stand for.
pub const IQ4: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];
/// The sixteen quantiles of NF4 (Dettmers et al. 2023, appendix E), as bitsandbytes has them.
#[allow(clippy::excessive_precision)]
const NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];
/// The numbers of FP4 as bitsandbytes has them: a sign, two bits of exponent, one of mantissa, over 12.
const FP4: [f32; 16] = [
    0.0,
    0.005_208_333_4,
    0.666_666_7,
    1.0,
    0.333_333_34,
    0.5,
    0.166_666_67,
    0.25,
    0.0,
    -0.005_208_333_4,
    -0.666_666_7,
    -1.0,
    -0.333_333_34,
    -0.5,
    -0.166_666_67,
    -0.25,
];

/// What a block consists of.
#[derive(Clone, Copy)]
struct Layout {
    /// Numbers of a block.
    block: usize,
    /// Numbers that share their factors.
    group: usize,
    /// Bytes of a factor of the whole block: 2 of binary16, 4 of binary32.
    factor: usize,
    /// Factors of the whole block.
    n_factors: usize,
    /// Bytes about groups.
    n_bytes: usize,
    /// Lower bits of a number: 2 or 4.
    low: usize,
    /// Further bits of a number: 0 or 1.
    high: usize,
}

impl Layout {
    const fn new(block: usize, group: usize, factors: [usize; 2], n_bytes: usize, bits: [usize; 2]) -> Layout {
        Layout { block, group, factor: factors[0], n_factors: factors[1], n_bytes, low: bits[0], high: bits[1] }
    }

    /// Bytes of one row's block.
    fn bytes(self) -> usize {
        self.factor * self.n_factors + self.n_bytes + self.block * (self.low + self.high) / 8
    }
}

/// What the numbers of a group are made with, for every row.
struct Factors {
    scale: [f32; STRIP],
    offset: [f32; STRIP],
    least: [f32; STRIP],
}

impl Code {
    fn layout(self) -> Layout {
        match self {
            Code::Q4_1 => Layout::new(32, 32, [2, 2], 0, [4, 0]),
            Code::Q5_0 => Layout::new(32, 32, [2, 1], 0, [4, 1]),
            Code::Q5_1 => Layout::new(32, 32, [2, 2], 0, [4, 1]),
            Code::Iq4Nl => Layout::new(32, 32, [2, 1], 0, [4, 0]),
            Code::Int4 => Layout::new(32, 32, [4, 1], 1, [4, 0]),
            Code::Nf4 | Code::Fp4 => Layout::new(64, 64, [4, 1], 0, [4, 0]),
            Code::Q2K => Layout::new(256, 16, [2, 2], 16, [2, 0]),
            Code::Q3K => Layout::new(256, 16, [2, 1], 12, [2, 1]),
            Code::Q5K => Layout::new(256, 32, [2, 2], 12, [4, 1]),
            _ => Layout::new(256, 32, [2, 1], 6, [4, 0]),
        }
    }

    /// The numbers that four bits stand for, where they are no whole number.
    pub fn table(self) -> Option<&'static [f32; 16]> {
        match self {
            Code::Iq4Nl | Code::Iq4Xs => Some(&IQ4),
            Code::Nf4 => Some(&NF4),
            Code::Fp4 => Some(&FP4),
            Code::Mxfp4 => Some(&super::E2M1),
            _ => None,
        }
    }

    /// Numbers of a block.
    pub(super) fn grouped_block(self) -> usize {
        self.layout().block
    }

    /// Bytes of one row's block.
    pub(super) fn grouped_bytes(self) -> usize {
        self.layout().bytes()
    }

    /// The factors of a stored block, and the bytes about its groups.
    fn stored_factors(self, stored: &[u8]) -> (&[u8], &[u8]) {
        match self {
            Code::Q2K => (&stored[80..84], &stored[..16]),
            Code::Q3K => (&stored[108..110], &stored[96..108]),
            _ => {
                let layout = self.layout();
                let (factors, rest) = stored.split_at(layout.factor * layout.n_factors);
                (factors, &rest[..layout.n_bytes])
            }
        }
    }

    /// The bits of a number of a stored block.
    fn stored_bits(self, stored: &[u8], column: usize) -> u8 {
        // of 32 numbers, low halves of 16 bytes come first
        let halves = |bytes: &[u8]| bytes[column % 16] >> (column % 32 / 16 * 4) & 15;
        let bit = |bytes: &[u8], place: usize| bytes[place / 8] >> (place % 8) & 1;
        match self {
            Code::Q4_1 => halves(&stored[4..]),
            Code::Iq4Nl => halves(&stored[2..]),
            Code::Q5_0 => halves(&stored[6..]) | bit(&stored[2..], column) << 4,
            Code::Q5_1 => halves(&stored[8..]) | bit(&stored[4..], column) << 4,
            Code::Iq4Xs => halves(&stored[8 + column / 32 * 16..]),
            // pairs, the first one below; with bitsandbytes above
            Code::Int4 => stored[5 + column / 2] >> (column % 2 * 4) & 15,
            Code::Nf4 | Code::Fp4 => stored[4 + column / 2] >> ((1 - column % 2) * 4) & 15,
            Code::Q5K => {
                let (group, place) = (column / 32, column % 32);
                let four = stored[48 + group / 2 * 32 + place] >> (group % 2 * 4) & 15;
                four | (stored[16 + place] >> group & 1) << 4
            }
            _ => {
                // each half of 128 numbers has 4 rows of 32, which share bytes; of q3_K all 8 rows share those of a third bit
                let (half, row, place) = (column / 128, column / 32 % 4, column % 32);
                let quants = if self == Code::Q2K { &stored[16..80] } else { &stored[32..96] };
                let two = quants[half * 32 + place] >> (row * 2) & 3;
                if self == Code::Q2K { two } else { two | (stored[place] >> (column / 32) & 1) << 2 }
            }
        }
    }

    /// Puts one row's block into its lane; gives whether its numbers are finite.
    pub(super) fn lay_grouped(self, stored: &[u8], lane: usize, block: &mut [u8]) -> bool {
        let layout = self.layout();
        let (factors, rest) = block.split_at_mut(STRIP * layout.factor * layout.n_factors);
        let (of_groups, rest) = rest.split_at_mut(STRIP * layout.n_bytes);
        let (low, high) = rest.split_at_mut(STRIP * layout.block * layout.low / 8);
        let (stored_factors, stored_groups) = self.stored_factors(stored);
        if !stored_groups.is_empty() {
            lay_bytes(stored_groups, lane, of_groups);
        }
        for column in 0..layout.block {
            let bits = self.stored_bits(stored, column);
            lay_bits(layout.low, bits & ((1 << layout.low) - 1), column, lane, low);
            if layout.high == 1 {
                lay_bits(1, bits >> layout.low, column, lane, high);
            }
        }
        // what a scale is multiplied by at most: a zero is a byte, the tables' numbers are 1 at most
        let largest = if self == Code::Int4 { 255.0 } else { 1.0 };
        let slots = factors.chunks_exact_mut(STRIP * layout.factor).zip(stored_factors.chunks_exact(layout.factor));
        slots.fold(true, |all, (slot, stored)| {
            all & match layout.factor {
                2 => lay_half(stored, lane, slot),
                _ => lay_scale(stored, largest, lane, slot),
            }
        })
    }

    /// Widens columns of a strip, from a whole group on to the end of one.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and `to` has room.
    #[inline(always)]
    pub(super) unsafe fn widen_grouped<V: Vector>(self, strip: &[u8], columns: Range<usize>, to: To) {
        let layout = self.layout();
        let n_block = STRIP * layout.bytes();
        for start in columns.clone().step_by(layout.group) {
            let block = &strip[start / layout.block * n_block..][..n_block];
            let (first, to) = (start % layout.block, to.at(start - columns.start));
            // SAFETY: the caller vouches for the instructions and the room.
            unsafe {
                match (layout.low, layout.high) {
                    (2, 0) => self.widen_group::<V, 2, 0>(block, first, to),
                    (2, _) => self.widen_group::<V, 2, 1>(block, first, to),
                    (_, 0) => self.widen_group::<V, 4, 0>(block, first, to),
                    _ => self.widen_group::<V, 4, 1>(block, first, to),
                }
            }
        }
    }

    /// Widens the group of a block that begins with column `first`: `LOW` lower bits a number, and `HIGH` above.
    ///
    /// # Safety
    /// The processor has the instructions of `V`, and `to` has room.
    #[inline(always)]
    unsafe fn widen_group<V: Vector, const LOW: usize, const HIGH: usize>(self, block: &[u8], first: usize, to: To) {
        let layout = self.layout();
        let (factors, rest) = block.split_at(STRIP * layout.factor * layout.n_factors);
        let (of_groups, rest) = rest.split_at(STRIP * layout.n_bytes);
        let (low, high) = rest.split_at(STRIP * layout.block * LOW / 8);
        // eight columns of a lane are as many bytes as a number has bits
        let low = &low[STRIP * LOW * (first / 8)..][..STRIP * LOW * (layout.group / 8)];
        let high = &high[STRIP * HIGH * (first / 8)..][..STRIP * HIGH * (layout.group / 8)];
        let table = self.table();
        // SAFETY: the caller vouches for the instructions and the room; what is read is cut out of `block`.
        unsafe {
            let of_group = self.factors::<V>(factors, of_groups, first / layout.group);
            for eight in 0..layout.group / 8 {
                let low = low.as_ptr().add(eight * LOW * STRIP);
                let high = high.as_ptr().add(eight * HIGH * STRIP);
                V::prefetch(low.wrapping_add(AHEAD).cast());
                for lane in (0..STRIP).step_by(V::LANES) {
                    let scale = V::load(of_group.scale.as_ptr().add(lane));
                    let offset = V::load(of_group.offset.as_ptr().add(lane));
                    let least = V::load(of_group.least.as_ptr().add(lane));
                    let upper = if HIGH == 1 { V::load_bytes(high.add(lane)) } else { V::splat(0.0) };
                    for column in 0..8 {
                        let shared = V::load_bytes(low.add(column * LOW / 8 * STRIP + lane));
                        let mut bits = shared.right((column * LOW % 8) as u32).and((1 << LOW) - 1);
                        if HIGH == 1 {
                            bits = bits.or(upper.right(column as u32).and(1).left(LOW as u32));
                        }
                        let number = match table {
                            Some(table) => bits.entry(table),
                            None => bits.number(),
                        };
                        let number = scale.mul(number.sub(offset)).sub(least);
                        number.store(to.start.add((8 * eight + column) * to.stride + lane));
                    }
                }
            }
        }
    }

    /// The factors of a group.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn factors<V: Vector>(self, of_block: &[u8], of_groups: &[u8], group: usize) -> Factors {
        let layout = self.layout();
        let (mut scale, mut offset, mut least) = ([0.0; STRIP], [0.0; STRIP], [0.0; STRIP]);
        if layout.factor == 4 {
            for (scale, bytes) in scale.iter_mut().zip(of_block.as_chunks().0) {
                *scale = f32::from_le_bytes(*bytes);
            }
        } else {
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                halves::<V>(of_block, &mut scale);
                if layout.n_factors == 2 {
                    halves::<V>(&of_block[2 * STRIP..], &mut least);
                }
            }
        }
        let row = |index: usize| &of_groups[index * STRIP..][..STRIP];
        match self {
            // a minimum is added here, and subtracted in the others
            Code::Q4_1 | Code::Q5_1 => least.iter_mut().for_each(|least| *least = -*least),
            Code::Q5_0 => offset = [16.0; STRIP],
            Code::Int4 => offset.iter_mut().zip(row(0)).for_each(|(offset, zero)| *offset = f32::from(*zero)),
            Code::Q2K => {
                for (lane, byte) in row(group).iter().enumerate() {
                    scale[lane] *= f32::from(byte & 15);
                    least[lane] *= f32::from(byte >> 4);
                }
            }
            Code::Q3K => {
                offset = [4.0; STRIP];
                let (low, high) = (row(group % 8), row(8 + group % 4));
                for lane in 0..STRIP {
                    let six = low[lane] >> (group / 8 * 4) & 15 | (high[lane] >> (group / 4 * 2) & 3) << 4;
                    scale[lane] *= f32::from(six) - 32.0;
                }
            }
            Code::Q5K => {
                // six bits each, the last four groups' upper two bits kept with the first four's
                let (first, second, third) = (row(group % 4), row(group % 4 + 4), row(group % 4 + 8));
                for lane in 0..STRIP {
                    let (s, m) = match group {
                        0..4 => (first[lane] & 63, second[lane] & 63),
                        _ => (third[lane] & 15 | first[lane] >> 6 << 4, third[lane] >> 4 | second[lane] >> 6 << 4),
                    };
                    scale[lane] *= f32::from(s);
                    least[lane] *= f32::from(m);
                }
            }
            Code::Iq4Xs => {
                let (high, low) = (row(group / 4), row(2 + group / 2));
                for lane in 0..STRIP {
                    let six = low[lane] >> (group % 2 * 4) & 15 | (high[lane] >> (group % 4 * 2) & 3) << 4;
                    scale[lane] *= f32::from(six) - 32.0;
                }
            }
            _ => {}
        }
        Factors { scale, offset, least }
    }
}
