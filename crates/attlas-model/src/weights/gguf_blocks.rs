//! Quantised blocks of GGML, unpacked to `f32`, as the `gguf` package does it.

use attlas_kernels::{Code, IQ4};
use half::f16;

/// The numbers of the largest block.
pub(super) const LARGEST: usize = 256;

/// Unpacks one block of a code; both slices have its sizes.
pub(super) fn unpack(code: Code, stored: &[u8], values: &mut [f32]) {
    match code {
        Code::Q4_0 => unpack_q4_0(stored, values),
        Code::Q4_1 => unpack_with_minimum(half_at(stored, 0), half_at(stored, 2), &[], &stored[4..], values),
        Code::Q5_0 => unpack_q5_0(stored, values),
        Code::Q5_1 => unpack_with_minimum(half_at(stored, 0), half_at(stored, 2), &stored[4..8], &stored[8..], values),
        Code::Q8_0 => unpack_q8_0(stored, values),
        Code::Q2K => unpack_q2_k(stored, values),
        Code::Q3K => unpack_q3_k(stored, values),
        Code::Q4K => unpack_q4_k(stored, values),
        Code::Q5K => unpack_q5_k(stored, values),
        Code::Q6K => unpack_q6_k(stored, values),
        Code::Iq4Nl => unpack_iq4(half_at(stored, 0), &stored[2..], values),
        Code::Iq4Xs => unpack_iq4_xs(stored, values),
        // no type of GGUF
        _ => {}
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

/// Scale (f16), 4 bytes of fifth bits, then 16 bytes as in q4_0.
fn unpack_q5_0(stored: &[u8], values: &mut [f32]) {
    let scale = half_at(stored, 0);
    for (index, value) in values.iter_mut().enumerate() {
        let four = stored[6 + index % 16] >> (index / 16 * 4) & 15;
        let fifth = stored[2 + index / 8] >> (index % 8) & 1;
        *value = scale * (f32::from(four | fifth << 4) - 16.0);
    }
}

/// `scale · q + minimum` of 32 numbers: fifth bits, where there are any, and 16 bytes as in q4_0.
fn unpack_with_minimum(scale: f32, minimum: f32, fifths: &[u8], fours: &[u8], values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        let four = fours[index % 16] >> (index / 16 * 4) & 15;
        let fifth = fifths.get(index / 8).map_or(0, |byte| byte >> (index % 8) & 1);
        *value = scale * f32::from(four | fifth << 4) + minimum;
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

/// As q4_K, with 32 bytes of fifth bits before the others: bit g of a byte belongs to group g.
fn unpack_q5_k(stored: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(stored, 0), half_at(stored, 2));
    let (packed, fifths, quants) = (&stored[4..16], &stored[16..48], &stored[48..]);
    for (group, group_values) in values.chunks_mut(32).enumerate() {
        let (s, m) = six_bits(packed, group);
        for (column, value) in group_values.iter_mut().enumerate() {
            let four = quants[group / 2 * 32 + column] >> (4 * (group % 2)) & 15;
            let quant = four | (fifths[column] >> group & 1) << 4;
            *value = scale * f32::from(s) * f32::from(quant) - minimum * f32::from(m);
        }
    }
}

/// Four bits each of scale and minimum for 16 groups, 64 bytes of two bits, scale and minimum (f16).
fn unpack_q2_k(stored: &[u8], values: &mut [f32]) {
    let (scale, minimum) = (half_at(stored, 80), half_at(stored, 82));
    for (index, value) in values.iter_mut().enumerate() {
        let both = stored[index / 16];
        let quant = two_bits(&stored[16..80], index);
        *value = scale * f32::from(both & 15) * f32::from(quant) - minimum * f32::from(both >> 4);
    }
}

/// 32 bytes of third bits, 64 bytes of two bits, 12 bytes of scales of six bits, scale (f16).
fn unpack_q3_k(stored: &[u8], values: &mut [f32]) {
    let (thirds, quants, packed, scale) = (&stored[..32], &stored[32..96], &stored[96..108], half_at(stored, 108));
    for (index, value) in values.iter_mut().enumerate() {
        let group = index / 16;
        // the lower four bits of groups 8 to 15 are the upper halves of bytes 0 to 7; the upper two come after
        let low = packed[group % 8] >> (group / 8 * 4) & 15;
        let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        let third = thirds[index % 32] >> (index / 32) & 1;
        let quant = f32::from(two_bits(quants, index) | third << 2) - 4.0;
        *value = scale * (f32::from(low | high << 4) - 32.0) * quant;
    }
}

/// The two bits of a number: each half of 128 has 4 rows of 32, which share 32 bytes.
fn two_bits(quants: &[u8], index: usize) -> u8 {
    let (half, row, column) = (index / 128, index / 32 % 4, index % 32);
    quants[half * 32 + column] >> (2 * row) & 3
}

/// 16 bytes: low halves are the first 16 numbers, high halves the others.
fn unpack_iq4(scale: f32, fours: &[u8], values: &mut [f32]) {
    for (index, value) in values.iter_mut().enumerate() {
        let four = fours[index % 16] >> (index / 16 * 4) & 15;
        *value = scale * IQ4[usize::from(four)];
    }
}

/// Scale (f16), the upper two bits of 8 scales, their lower four, then a block as of iq4_nl for each.
fn unpack_iq4_xs(stored: &[u8], values: &mut [f32]) {
    let scale = half_at(stored, 0);
    for (group, group_values) in values.chunks_mut(32).enumerate() {
        let low = stored[4 + group / 2] >> (group % 2 * 4) & 15;
        let high = stored[2 + group / 4] >> (group % 4 * 2) & 3;
        unpack_iq4(scale * (f32::from(low | high << 4) - 32.0), &stored[8 + group * 16..], group_values);
    }
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

    /// The types of GGUF, by the names that the `gguf` package gives them.
    const TYPES: [(&str, Code); 12] = [
        ("q4_0", Code::Q4_0),
        ("q4_1", Code::Q4_1),
        ("q5_0", Code::Q5_0),
        ("q5_1", Code::Q5_1),
        ("q8_0", Code::Q8_0),
        ("q2_k", Code::Q2K),
        ("q3_k", Code::Q3K),
        ("q4_k", Code::Q4K),
        ("q5_k", Code::Q5K),
        ("q6_k", Code::Q6K),
        ("iq4_nl", Code::Iq4Nl),
        ("iq4_xs", Code::Iq4Xs),
    ];

    #[test]
    fn blocks_are_the_numbers_that_the_gguf_package_makes_of_them_bit_by_bit() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/weights/blocks.safetensors");
        let file = std::fs::read(path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&file).unwrap();
        for (name, code) in TYPES {
            let stored = file.tensor(&format!("{name}.bytes")).unwrap();
            let wanted = file.tensor(&format!("{name}.numbers")).unwrap();
            let wanted = wanted.data().as_chunks::<4>().0;
            let n = code.block();
            assert!(wanted.len() >= 2 * n, "{name}");
            for (index, stored) in stored.data().chunks_exact(code.row_bytes(n)).enumerate() {
                let mut values = vec![0.0; n];
                unpack(code, stored, &mut values);
                for (place, (found, wanted)) in values.iter().zip(&wanted[index * n..]).enumerate() {
                    let wanted = f32::from_le_bytes(*wanted);
                    assert_eq!(found.to_bits(), wanted.to_bits(), "{name} at {place}: {found}, not {wanted}");
                }
            }
        }
    }

    #[test]
    fn rows_that_stay_packed_in_memory_are_the_same_numbers_bit_by_bit() {
        for (name, code) in TYPES {
            let n = code.block();
            let n_bytes = code.row_bytes(n);
            let (n_rows, d_in) = (37, 2 * n.max(256));
            let mut stored: Vec<u8> =
                (0..n_rows * d_in / n * n_bytes).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect();
            for block_bytes in stored.chunks_exact_mut(n_bytes) {
                // scales that are finite
                block_bytes[1] &= 0xbf;
                block_bytes[3] &= 0xbf;
                block_bytes[n_bytes - 3] &= 0xbf;
                block_bytes[n_bytes - 1] &= 0xbf;
            }
            let mut wanted = vec![0.0; n_rows * d_in]; // [n_rows, d_in]
            for (values, stored) in wanted.chunks_exact_mut(n).zip(stored.chunks_exact(n_bytes)) {
                unpack(code, stored, values);
            }
            let row_bytes = code.row_bytes(d_in);
            let read = |_: usize, rows: std::ops::Range<usize>, slots: &mut [u8]| -> Result<(), ()> {
                slots.copy_from_slice(&stored[rows.start * row_bytes..rows.end * row_bytes]);
                Ok(())
            };
            let parts = [attlas_kernels::Part { code, n_rows }];
            let coded = attlas_kernels::Coded::read(&parts, d_in, read).unwrap().unwrap();
            let mut rows = vec![0.0; n_rows * d_in]; // [n_rows, d_in]
            coded.rows(&mut rows);
            for (index, (found, wanted)) in rows.iter().zip(&wanted).enumerate() {
                assert_eq!(found.to_bits(), wanted.to_bits(), "{name} at {index}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn a_q4_0_block_is_a_scale_and_halves_of_bytes() {
        let mut stored = vec![0x88; 18];
        stored[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        stored[2] = 0xf0;
        let mut values = [9.0; 32];
        unpack(Code::Q4_0, &stored, &mut values);
        assert_eq!((values[0], values[1], values[16], values[31]), (-4.0, 0.0, 3.5, 0.0));
    }

    #[test]
    fn a_q8_0_block_is_a_scale_and_signed_bytes() {
        let mut stored = vec![0; 34];
        stored[..2].copy_from_slice(&f16::from_f32(0.5).to_le_bytes());
        (stored[2], stored[33]) = (3, 254);
        let mut values = [9.0; 32];
        unpack(Code::Q8_0, &stored, &mut values);
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
