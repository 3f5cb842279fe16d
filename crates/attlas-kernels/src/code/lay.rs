//! The bytes of rows put side by side.

use super::STRIP;

/// Puts 16 rows of numbers of `SIZE` bytes, 1 or 2, side by side.
pub(super) fn lay_side_by_side<'a, const SIZE: usize>(row: impl Fn(usize) -> &'a [u8], strip: &mut [u8]) {
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
pub(super) fn lay_bytes(bytes: &[u8], lane: usize, strip: &mut [u8]) {
    strip[lane..].iter_mut().step_by(STRIP).zip(bytes).for_each(|(slot, byte)| *slot = *byte);
}

/// Puts a binary16 into its lane; gives whether it is finite.
pub(super) fn lay_half(bytes: &[u8], lane: usize, scales: &mut [u8]) -> bool {
    scales[2 * lane..][..2].copy_from_slice(bytes);
    bytes[1] & 0x7c != 0x7c
}

/// Puts a factor into its lane; gives whether its product with the largest number is finite.
pub(super) fn lay_scale(bytes: &[u8], largest: f32, lane: usize, scales: &mut [u8]) -> bool {
    scales[4 * lane..][..4].copy_from_slice(bytes);
    let scale = bytes.first_chunk().map_or(0.0, |scale| f32::from_le_bytes(*scale));
    (scale * largest).is_finite()
}

/// Whether a byte of E4M3 is a number.
pub(super) fn is_e4m3(byte: &u8) -> bool {
    byte & 0x7f != 0x7f
}

/// Puts `n_bits` into a lane: the numbers of neighbouring columns share a byte, the first one lowest.
pub(super) fn lay_bits(n_bits: usize, bits: u8, column: usize, lane: usize, codes: &mut [u8]) {
    let per_byte = 8 / n_bits;
    let (slot, shift) = (&mut codes[column / per_byte * STRIP + lane], column % per_byte * n_bits);
    *slot = *slot & !(((1 << n_bits) - 1) << shift) | bits << shift;
}
