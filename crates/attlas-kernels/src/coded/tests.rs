//! Weights that stay in their file's type against the same as `f32`.

use super::*;
use crate::packed::Packed;
use crate::tried::sets;

/// Bytes of rows that look random; every binary16 and scale in them is finite.
fn stored(code: Code, d_out: usize, d_in: usize) -> Vec<u8> {
    let mut state = 7u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let scale = 0.02f32.to_le_bytes();
    let mut bytes: Vec<u8> = (0..d_out * code.row_bytes(d_in)).map(|_| byte()).collect();
    let n_block = code.row_bytes(code.block());
    for row in bytes.chunks_exact_mut(code.row_bytes(d_in).max(1)) {
        match code {
            // exponents of moderate numbers
            Code::F16 => row.chunks_exact_mut(2).for_each(|number| number[1] = number[1] & 0x87 | 0x30),
            Code::Bf16 => row.chunks_exact_mut(2).for_each(|number| number[1] = number[1] & 0x80 | 0x3e),
            Code::Int8 | Code::Fp8 => {
                row.iter_mut().for_each(|byte| *byte &= 0xf7);
                let n = row.len();
                row[n - 4..].copy_from_slice(&scale);
            }
            Code::Fp8Blocks => row.chunks_exact_mut(n_block).for_each(|block| {
                block.iter_mut().for_each(|byte| *byte &= 0xf7);
                block[..4].copy_from_slice(&scale);
            }),
            Code::Mxfp4 => row.chunks_exact_mut(n_block).for_each(|block| block[0] = block[0] & 15 | 112),
            Code::Q8_0 | Code::Q4_0 => row.chunks_exact_mut(n_block).for_each(|block| block[1] = 0x20),
            Code::Q4K => row.chunks_exact_mut(n_block).for_each(|block| (block[1], block[3]) = (0x14, 0x18)),
            Code::Q6K => row.chunks_exact_mut(n_block).for_each(|block| block[209] = 0x10),
            Code::Q4_1 | Code::Q5_1 => {
                row.chunks_exact_mut(n_block).for_each(|block| (block[1], block[3]) = (0x20, 0xa4))
            }
            Code::Q5_0 | Code::Iq4Nl => row.chunks_exact_mut(n_block).for_each(|block| block[1] = 0x20),
            Code::Q5K => row.chunks_exact_mut(n_block).for_each(|block| (block[1], block[3]) = (0x14, 0x18)),
            Code::Q2K => row.chunks_exact_mut(n_block).for_each(|block| (block[81], block[83]) = (0x14, 0x18)),
            Code::Q3K => row.chunks_exact_mut(n_block).for_each(|block| block[109] = 0x10),
            Code::Iq4Xs => row.chunks_exact_mut(n_block).for_each(|block| block[1] = 0x04),
            Code::Int4 | Code::Nf4 | Code::Fp4 => row.chunks_exact_mut(n_block).for_each(|block| {
                block[..4].copy_from_slice(&scale);
                if code == Code::Int4 {
                    block[4] &= 15;
                }
            }),
        }
    }
    bytes
}

fn coded(code: Code, d_out: usize, d_in: usize) -> Coded {
    let (bytes, n) = (stored(code, d_out, d_in), code.row_bytes(d_in));
    let read = |_: usize, rows: Range<usize>, slots: &mut [u8]| -> Result<(), ()> {
        slots.copy_from_slice(&bytes[rows.start * n..rows.end * n]);
        Ok(())
    };
    Coded::read(&[Part { code, n_rows: d_out }], d_in, read).unwrap().unwrap()
}

#[test]
fn products_are_those_of_an_f32_copy_bit_by_bit() {
    let sets = sets();
    for code in Code::ALL {
        let more_rows = if code == Code::Bf16 { ROWS + 5 } else { 2 };
        for (n, d_out, blocks) in [(1, 1, 1), (1, 80, 2), (3, 50, 2), (9, 17, 1), (more_rows, 3, 2)] {
            let d_in = if code.block() == 1 { [37, 300][blocks - 1] } else { code.block() * (2 * blocks + 1) };
            let coded = coded(code, d_out, d_in);
            let mut rows = vec![0.0; d_out * d_in]; // [d_out, d_in]
            coded.rows(&mut rows);
            let input: Vec<f32> = (0..n * d_in).map(|i| ((i * 7919) % 2003) as f32 / 1001.0 - 1.0).collect();
            let bias: Vec<f32> = (0..d_out).map(|i| i as f32 / 7.0).collect();
            for instructions in &sets {
                let packed = Packed::with(*instructions, &rows, d_out, d_in);
                for (bias, activation, onto) in [
                    (None, Activation::Identity, Onto::Replace),
                    (Some(bias.as_slice()), Activation::Gelu, Onto::Replace),
                    (Some(bias.as_slice()), Activation::Identity, Onto::Add),
                ] {
                    let finish = Finish { bias, activation, onto };
                    let (mut found, mut wanted) = (vec![0.5; n * d_out], vec![0.5; n * d_out]);
                    coded.multiply_with(*instructions, &input, finish, Threads::All, &mut found);
                    packed.multiply(&input, finish, Threads::One, &mut wanted);
                    assert!(
                        found == wanted,
                        "{code:?} {instructions:?} {n} × {d_in} × {d_out} {activation:?} {onto:?}"
                    );
                    for precision in Precision::ALL.into_iter().filter(|_| *instructions == Instructions::best()) {
                        let (mut found, mut wanted) = (vec![0.5; n * d_out], vec![0.5; n * d_out]);
                        coded.multiply_at(precision, &input, finish, Threads::All, &mut found);
                        packed.multiply_at(precision, &input, finish, Threads::One, &mut wanted);
                        assert!(found == wanted, "{code:?} {precision:?} {n} × {d_in} × {d_out}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_small_float_is_widened_exactly_on_every_instruction_set() {
    struct All<'a>(&'a [u8], bool, &'a mut Vec<f32>);

    impl Task for All<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<V: Vector>(self) {
            let mut lanes = [0.0; STRIP];
            for codes in self.0.chunks_exact(V::LANES * if self.1 { 2 } else { 1 }) {
                // SAFETY: the caller vouches for the instructions; the pieces have a register's bytes.
                unsafe {
                    let numbers = if self.1 { V::load_f16(codes.as_ptr()) } else { V::load_e4m3(codes.as_ptr()) };
                    numbers.store(lanes.as_mut_ptr());
                }
                self.2.extend_from_slice(&lanes[..V::LANES]);
            }
        }
    }

    /// By the definition: a sign, exponent bits, mantissa bits.
    fn by_definition(code: u32, exponent_bits: i32, mantissa_bits: i32) -> f32 {
        let (exponent, mantissa) =
            ((code >> mantissa_bits) & ((1 << exponent_bits) - 1), code & ((1 << mantissa_bits) - 1));
        let (bias, fraction) = ((1 << (exponent_bits - 1)) - 1, mantissa as f32 / (1 << mantissa_bits) as f32);
        let size = match exponent {
            0 => fraction * 2f32.powi(1 - bias),
            _ => (1.0 + fraction) * 2f32.powi(exponent as i32 - bias),
        };
        if code >> (exponent_bits + mantissa_bits) == 1 { -size } else { size }
    }

    let halves: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = (0..=255).collect();
    for set in Instructions::ALL.into_iter().filter(|set| set.available()) {
        let mut found = Vec::new();
        let codes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
        dispatch::run(set, All(&codes, true, &mut found));
        for (half, found) in halves.iter().zip(&found).filter(|(half, _)| **half & 0x7c00 != 0x7c00) {
            assert_eq!(found.to_bits(), by_definition(u32::from(*half), 5, 10).to_bits(), "{set:?} {half:#x}");
        }
        let mut found = Vec::new();
        dispatch::run(set, All(&bytes, false, &mut found));
        for (byte, found) in bytes.iter().zip(&found).filter(|(byte, _)| **byte & 0x7f != 0x7f) {
            assert_eq!(found.to_bits(), by_definition(u32::from(*byte), 4, 3).to_bits(), "{set:?} {byte:#x}");
        }
    }
}

#[test]
fn rows_that_lie_side_by_side_already_are_taken_where_they_are() {
    let read = coded(Code::Int8, 48, 40);
    let strip = 16 * Code::Int8.row_bytes(40);
    let (first, rest) = read.bytes.split_at(strip);
    let bytes = [&[7; 5], rest, first].concat().leak();
    let parts = [(16, 5 + 2 * strip), (32, 5)].map(|(n_rows, start)| (Part { code: Code::Int8, n_rows }, start));
    let laid = Coded::laid(&parts, 40, bytes);
    assert_eq!((laid.d_out(), laid.bytes()), (48, read.bytes()));
    let rows = |of: &Coded| {
        let mut rows = vec![0.0; 48 * 40];
        of.rows(&mut rows);
        rows
    };
    assert_eq!(rows(&laid), rows(&read));
}

#[test]
fn a_row_is_the_same_alone_and_among_all() {
    for code in Code::ALL {
        let (d_out, d_in) = (19, 512);
        let coded = coded(code, d_out, d_in);
        let mut rows = vec![0.0; d_out * d_in]; // [d_out, d_in]
        coded.rows(&mut rows);
        for (index, wanted) in rows.chunks_exact(d_in).enumerate() {
            let mut row = vec![0.0; d_in];
            coded.row(index, &mut row);
            assert_eq!(row, wanted, "{code:?}");
        }
    }
}

#[test]
fn parts_that_are_stored_in_different_ways_lie_one_above_the_other() {
    let parts = [Part { code: Code::Q4K, n_rows: 32 }, Part { code: Code::Q6K, n_rows: 19 }];
    let stored = parts.map(|part| stored(part.code, part.n_rows, 256));
    let read = |part: usize, rows: Range<usize>, slots: &mut [u8]| -> Result<(), ()> {
        let n = parts[part].code.row_bytes(256);
        slots.copy_from_slice(&stored[part][rows.start * n..rows.end * n]);
        Ok(())
    };
    let both = Coded::read(&parts, 256, read).unwrap().unwrap();
    let (mut rows, mut wanted) = (vec![0.0; 51 * 256], vec![0.0; 51 * 256]); // [51, 256]
    both.rows(&mut rows);
    coded(Code::Q4K, 32, 256).rows(&mut wanted[..32 * 256]);
    coded(Code::Q6K, 19, 256).rows(&mut wanted[32 * 256..]);
    assert_eq!(rows, wanted);
    assert!(!Coded::fits(&[parts[1], parts[0]], 256) && !Coded::fits(&parts, 300));
}

#[test]
#[should_panic(expected = "columns 0..16 in part")]
fn columns_that_end_within_a_group_are_refused() {
    let (strip, of_columns) = (vec![0; STRIP * Code::Q4K.row_bytes(256)], &mut [0.0; 16 * STRIP]);
    let widen = Widen { code: Code::Q4K, strip: &strip, columns: 0..16, of_columns };
    dispatch::run(Instructions::Portable, widen);
}

#[test]
fn numbers_by_hand() {
    // binary16: 1.5, −2, the smallest subnormal number
    let widened = |code: Code, bytes: &[u8], d_in: usize| {
        let read = |_: usize, _: Range<usize>, slots: &mut [u8]| -> Result<(), ()> {
            slots.copy_from_slice(bytes);
            Ok(())
        };
        Coded::read(&[Part { code, n_rows: 1 }], d_in, read).unwrap().map(|coded| {
            let mut row = vec![0.0; d_in];
            coded.row(0, &mut row);
            row
        })
    };
    assert_eq!(widened(Code::F16, &[0x00, 0x3e, 0x00, 0xc0, 1, 0], 3), Some(vec![1.5, -2.0, 2f32.powi(-24)]));
    assert_eq!(widened(Code::F16, &[0x00, 0x7c], 1), None);
    assert_eq!(widened(Code::Bf16, &[0xc0, 0x3f, 0x80, 0xbf], 2), Some(vec![1.5, -1.0]));
    assert_eq!(widened(Code::Bf16, &[0xc0, 0x7f], 1), None);
    assert_eq!(widened(Code::Int8, &[3, 254, 0, 0, 0, 0x3f], 2), Some(vec![1.5, -1.0]));
    assert_eq!(widened(Code::Int8, &[3, 254, 0, 0, 0x80, 0x7f], 2), None);
    // E4M3: the smallest number, the largest of no exponent, −1.125, the largest; no number
    let found = widened(Code::Fp8, &[0x01, 0x07, 0xb9, 0x7e, 0, 0, 0, 0x40], 4).unwrap();
    assert_eq!(found, [2.0 / 512.0, 14.0 / 512.0, -2.25, 896.0]);
    assert_eq!(widened(Code::Fp8, &[0xff, 0, 0, 0, 0x40], 1), None);
    // MXFP4: 2 to the power of −127 is a subnormal number; the lower half of a byte comes first
    let mut block = [0x91; 17];
    block[0] = 0;
    let row = widened(Code::Mxfp4, &block, 32).unwrap();
    assert_eq!(row[..2], [0.5 * 2f32.powi(-127), -0.5 * 2f32.powi(-127)]);
    block[0] = 253;
    assert_eq!(widened(Code::Mxfp4, &block, 32), None);
    // q4_0: scale ½; low halves are the first 16 numbers
    let mut block = vec![0x88; 18];
    block[..3].copy_from_slice(&[0x00, 0x38, 0xf0]);
    let row = widened(Code::Q4_0, &block, 32).unwrap();
    assert_eq!((row[0], row[1], row[16]), (-4.0, 0.0, 3.5));
    // a zero of 255 makes an infinite number where one of 15 makes none; NF4's largest number is 1
    let of_scale = |scale: f32, rest: &[u8]| [&scale.to_le_bytes()[..], rest].concat();
    let mut rest = [0; 17];
    rest[0] = 255;
    assert_eq!(widened(Code::Int4, &of_scale(f32::MAX / 100.0, &rest), 32), None);
    let row = widened(Code::Nf4, &of_scale(f32::MAX, &[0xff; 32]), 64).unwrap();
    assert_eq!(row[0], f32::MAX);
}
