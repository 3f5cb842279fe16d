//! Quantised blocks of GGML, unpacked to `f32`: q4_0, q8_0, q4_K, q6_K.

use attlas_kernels::Code;
use half::f16;

/// The numbers of the largest block.
pub(super) const LARGEST: usize = 256;

/// How a block of numbers is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// 32 numbers: `scale · (q − 8)`, q of 4 bits.
    Q4_0,
    /// 32 numbers: `scale · q`, q of 8 bits.
    Q8_0,
    /// 256 numbers in 8 groups: `scale · s · q − minimum · m`, q of 4 bits, s and m of 6.
    Q4K,
    /// 256 numbers in 16 groups: `scale · s · (q − 32)`, q of 6 bits, s of 8.
    Q6K,
}

impl Block {
    /// Numbers in a block, and its bytes.
    pub fn sizes(self) -> (usize, usize) {
        match self {
            Block::Q4_0 => (32, 18),
            Block::Q8_0 => (32, 34),
            Block::Q4K => (256, 144),
            Block::Q6K => (256, 210),
        }
    }

    /// The same, as it lies in memory.
    pub fn code(self) -> Code {
        match self {
            Block::Q4_0 => Code::Q4_0,
            Block::Q8_0 => Code::Q8_0,
            Block::Q4K => Code::Q4K,
            Block::Q6K => Code::Q6K,
        }
    }

    /// Unpacks one block; both slices have the sizes that [`Block::sizes`] says.
    pub fn unpack(self, stored: &[u8], values: &mut [f32]) {
        match self {
            Block::Q4_0 => unpack_q4_0(stored, values),
            Block::Q8_0 => unpack_q8_0(stored, values),
            Block::Q4K => unpack_q4_k(stored, values),
            Block::Q6K => unpack_q6_k(stored, values),
        }
    }
}

/// Scale (f16), then 16 bytes: low halves are the first 16 numbers, high halves the others.
fn unpack_q4_0(stored: &[u8], values: &mut [f32]) {
    let scale = half_at(stored, 0);
    let (low, high) = values.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(&stored[2..]) {
        *low = scale * (f32::from(byte & 15) - 8.0);
        *high = scale * (f32::from(byte >> 4) - 8.0);
    }
}

/// Scale (f16), then 32 signed bytes.
fn unpack_q8_0(stored: &[u8], values: &mut [f32]) {
    let scale = half_at(stored, 0);
    for (value, byte) in values.iter_mut().zip(&stored[2..]) {
        *value = scale * f32::from(*byte as i8);
    }
}

/// Scale and minimum (f16), 8 six-bit pairs in 12 bytes, then 128 bytes: low halves are one group, high halves the next.
fn unpack_q4_k(stored: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(stored, 0), half_at(stored, 2));
    let (packed, quants) = stored[4..].split_at(12);
    for (group, group_values) in values.chunks_mut(32).enumerate() {
        let (s, m) = six_bits(packed, group);
        let shift = 4 * (group % 2);
        for (value, byte) in group_values.iter_mut().zip(&quants[group / 2 * 32..]) {
            *value = scale * f32::from(s) * f32::from(byte >> shift & 15) - minimum * f32::from(m);
        }
    }
}

/// The scale and minimum of a group: six bits each, the last four groups' upper two bits kept with the first four's.
fn six_bits(packed: &[u8], group: usize) -> (u8, u8) {
    if group < 4 {
        return (packed[group] & 63, packed[group + 4] & 63);
    }
    let low = packed[group + 4];
    (low & 15 | packed[group - 4] >> 6 << 4, low >> 4 | packed[group] >> 6 << 4)
}

/// 128 bytes of low four bits, 64 of high two, 16 signed scales, scale (f16).
fn unpack_q6_k(stored: &[u8], values: &mut [f32]) {
    let (low, high, scales, scale) = (&stored[..128], &stored[128..192], &stored[192..208], half_at(stored, 208));
    for (index, value) in values.iter_mut().enumerate() {
        // Each half of 128 numbers has 4 rows of 32: rows 0 and 1 in low halves of bytes, 2 and 3 in high.
        let (half, row, column) = (index / 128, index / 32 % 4, index % 32);
        let four = low[half * 64 + row % 2 * 32 + column] >> (row / 2 * 4) & 15;
        let two = high[half * 32 + column] >> (row * 2) & 3;
        let quant = i16::from(four | two << 4) - 32;
        *value = scale * f32::from(scales[index / 16] as i8) * f32::from(quant);
    }
}

fn half_at(stored: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([stored[at], stored[at + 1]]).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_stay_packed_in_memory_are_the_same_numbers_bit_by_bit() {
        for block in [Block::Q4_0, Block::Q8_0, Block::Q4K, Block::Q6K] {
            let (n, n_bytes) = block.sizes();
            let (n_rows, d_in) = (37, 2 * n.max(256));
            let mut stored: Vec<u8> =
                (0..n_rows * d_in / n * n_bytes).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
            for block_bytes in stored.chunks_exact_mut(n_bytes) {
                // scales that are finite
                block_bytes[1] &= 0xbf;
                block_bytes[3] &= 0xbf;
                block_bytes[n_bytes - 1] &= 0xbf;
            }
            let mut wanted = vec![0.0; n_rows * d_in]; // [n_rows, d_in]
            for (values, stored) in wanted.chunks_exact_mut(n).zip(stored.chunks_exact(n_bytes)) {
                block.unpack(stored, values);
            }
            let row_bytes = d_in / n * n_bytes;
            let read = |_: usize, rows: std::ops::Range<usize>, slots: &mut [u8]| -> Result<(), ()> {
                slots.copy_from_slice(&stored[rows.start * row_bytes..rows.end * row_bytes]);
                Ok(())
            };
            let parts = [attlas_kernels::Part { code: block.code(), n_rows }];
            let coded = attlas_kernels::Coded::read(&parts, d_in, read).unwrap().unwrap();
            let mut rows = vec![0.0; n_rows * d_in]; // [n_rows, d_in]
            coded.rows(&mut rows);
            for (index, (found, wanted)) in rows.iter().zip(&wanted).enumerate() {
                assert_eq!(found.to_bits(), wanted.to_bits(), "{block:?} at {index}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_q4_0_block_is_a_scale_and_halves_of_bytes() {
        let mut stored = vec![0x88; 18];
        stored[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        stored[2] = 0xf0;
        let mut values = [9.0; 32];
        Block::Q4_0.unpack(&stored, &mut values);
        assert_eq!((values[0], values[1], values[16], values[31]), (-4.0, 0.0, 3.5, 0.0));
    }

    #[test]
    fn a_q8_0_block_is_a_scale_and_signed_bytes() {
        let mut stored = vec![0; 34];
        stored[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        (stored[2], stored[33]) = (3, 254);
        let mut values = [9.0; 32];
        Block::Q8_0.unpack(&stored, &mut values);
        assert_eq!((values[0], values[1], values[31]), (1.5, 0.0, -1.0));
    }

    #[test]
    fn the_six_bits_of_the_last_groups_are_put_together() {
        let mut packed = [0; 12];
        packed[0] = 0b11_000001; // group 0's scale is 1; its top bits belong to group 4
        packed[4] = 0b10_000010; // group 0's minimum is 2; its top bits belong to group 4
        packed[8] = 0b0011_0101; // low bits of group 4: minimum 3, scale 5
        assert_eq!(six_bits(&packed, 0), (1, 2));
        assert_eq!(six_bits(&packed, 4), (0b11_0101, 0b10_0011));
    }
}
