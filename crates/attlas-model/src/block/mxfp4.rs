//! Matrices in MXFP4 (Open Compute Project 2023, "OCP Microscaling Formats 1.0"), the form of GPT-OSS's experts: blocks of
//! 32 numbers of four bits, each block with one power of two.

use rayon::prelude::*;

use crate::Error;
use crate::weights::Checkpoint;

/// Numbers in a block.
const BLOCK: usize = 32;
/// Bytes of a block: two numbers each, the lower half first.
const BLOCK_BYTES: usize = BLOCK / 2;

/// The numbers that four bits stand for (E2M1).
const FOUR_BITS: [f32; 16] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// The largest scale with which 6 is still a number: 6 · 2^(252 − 127) = 2.6e38.
const MAX_SCALE: u8 = 252;

/// Several matrices of the same shape `[d_out, d_in]`, packed.
#[derive(Debug, Clone)]
pub struct Mxfp4 {
    /// Shape `[n, d_out, d_in / 32, 16]`.
    blocks: Vec<u8>,
    /// Powers of two, 127 for 1. Shape `[n, d_out, d_in / 32]`.
    scales: Vec<u8>,
    d_out: usize,
    d_in: usize,
}

impl Mxfp4 {
    /// The tensors `NAME_blocks` and `NAME_scales`.
    ///
    /// # Errors
    /// When one is missing or of another shape or type, or a scale makes no finite numbers.
    pub(crate) fn read(checkpoint: &Checkpoint, name: &str, [n, d_out, d_in]: [usize; 3]) -> Result<Mxfp4, Error> {
        let (blocks_name, scales_name) = (format!("{name}_blocks"), format!("{name}_scales"));
        if d_in % BLOCK != 0 {
            return Err(Error::tensor(
                checkpoint.path(),
                &blocks_name,
                format!("is in MXFP4, whose rows are blocks of {BLOCK} numbers, but rows of {d_in} are asked for"),
            ));
        }
        let blocks = checkpoint.bytes(&blocks_name, &[n, d_out, d_in / BLOCK, BLOCK_BYTES])?;
        let scales = checkpoint.bytes(&scales_name, &[n, d_out, d_in / BLOCK])?;
        if let Some(place) = scales.iter().position(|scale| *scale > MAX_SCALE) {
            let scale = scales[place];
            return Err(Error::tensor(
                checkpoint.path(),
                &scales_name,
                format!("holds {scale} at place {place}; scales up to {MAX_SCALE} make finite numbers"),
            ));
        }
        Ok(Mxfp4 { blocks, scales, d_out, d_in })
    }

    /// One matrix, its rows in another order: row `r` is stored as row `stored(r)`. Shape `[d_out, d_in]`.
    pub(crate) fn unpack(&self, index: usize, stored: impl Fn(usize) -> usize + Sync) -> Vec<f32> {
        let n_blocks = self.d_in / BLOCK;
        let mut values = vec![0.0; self.d_out * self.d_in]; // [d_out, d_in]
        values.par_chunks_exact_mut(self.d_in).enumerate().for_each(|(row, values)| {
            let first = (index * self.d_out + stored(row)) * n_blocks;
            let scales = &self.scales[first..][..n_blocks];
            let blocks = self.blocks[first * BLOCK_BYTES..][..n_blocks * BLOCK_BYTES].chunks_exact(BLOCK_BYTES);
            for ((values, block), scale) in values.chunks_exact_mut(BLOCK).zip(blocks).zip(scales) {
                let scale = power_of_two(*scale);
                for (pair, byte) in values.chunks_exact_mut(2).zip(block) {
                    pair[0] = FOUR_BITS[usize::from(byte & 15)] * scale;
                    pair[1] = FOUR_BITS[usize::from(byte >> 4)] * scale;
                }
            }
        });
        values
    }
}

/// `2^(scale − 127)`; the smallest is a subnormal number.
fn power_of_two(scale: u8) -> f32 {
    match scale {
        0 => f32::from_bits(1 << 22),
        _ => f32::from_bits(u32::from(scale) << 23),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_blocks_of_32_numbers_with_a_power_of_two_each() {
        // two rows of two blocks: every number twice, scales 1, 2, 2^-127 and 2^125
        let block: Vec<u8> = (0..8).chain(0..8).map(|pair| ((2 * pair + 1) << 4) | (2 * pair)).collect();
        let matrix = Mxfp4 { blocks: block.repeat(4), scales: vec![127, 128, 0, MAX_SCALE], d_out: 2, d_in: 64 };
        let values = matrix.unpack(0, |row| 1 - row);
        let expected = |scale: f32| FOUR_BITS.repeat(2).into_iter().map(move |value| value * scale);
        let rows = [2.0_f32.powi(-127), 2.0_f32.powi(125), 1.0, 2.0];
        assert_eq!(values, rows.into_iter().flat_map(expected).collect::<Vec<f32>>());
        assert!(values.iter().all(|value| value.is_finite()));
        assert!(values[1] > 0.0, "2^-128 is half of the smallest normal number, and not 0");
    }
}
