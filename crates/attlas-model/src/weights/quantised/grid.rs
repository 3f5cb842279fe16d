//! Matrices of whole numbers less a zero, times a scale: one of each for a group of a row's inputs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use attlas_kernels::Code;
use rayon::prelude::*;

use crate::Error;
use crate::weights::convert::bytes_of;
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Bytes, Dtype, Tensor};

/// A matrix whose numbers are `(q − zero) · scale`.
pub(super) struct Grid {
    /// q. Shape `[d_out, d_in]`.
    pub numbers: Vec<u8>,
    /// The group of each input. Shape `[d_in]`.
    pub groups: Vec<usize>,
    /// Shape `[n_groups, d_out]`.
    pub zeros: Vec<u8>,
    /// Shape `[n_groups, d_out]`.
    pub scales: Vec<f32>,
}

/// A tensor of shape `[d_out, d_in]`, of numbers that `read` gives when they are asked for.
///
/// `four_bits` says that they are numbers of four bits whose groups are whole blocks of 32 inputs: such stay so in memory.
pub(super) fn tensor(
    [d_out, d_in]: [usize; 2],
    path: &Arc<Path>,
    four_bits: bool,
    read: impl Fn() -> io::Result<Grid> + Send + Sync + 'static,
) -> Tensor {
    let read = Arc::new(read);
    let again = Arc::clone(&read);
    let bytes = Bytes::made(d_out * d_in * size_of::<f32>(), move || Ok(read()?.floats(d_out)));
    let bytes = if four_bits {
        let n_bytes = d_out * Code::Int4.row_bytes(d_in);
        bytes.of_rows(StoredRows::plain(Code::Int4, Bytes::made(n_bytes, move || Ok(again()?.four_bits(d_out)))))
    } else {
        bytes
    };
    Tensor { dtype: Dtype::F32, shape: vec![d_out, d_in], path: Arc::clone(path), bytes }
}

/// That a packed matrix has rows and columns: one without takes no byte, whatever its other axis, and room would be made for that.
///
/// # Errors
/// When an axis is 0.
pub(super) fn holds_numbers(path: &Path, name: &str, shape: [usize; 2]) -> Result<(), Error> {
    match shape.contains(&0) {
        true => Err(Error::tensor(path, name, format!("has shape {shape:?}, which holds no numbers"))),
        false => Ok(()),
    }
}

/// Whether the inputs of every block of [`Code::Int4`] are of one group.
pub(super) fn groups_are_blocks(groups: &[usize]) -> bool {
    let (blocks, rest) = groups.as_chunks::<32>();
    rest.is_empty() && blocks.iter().all(|block| block.iter().all(|group| *group == block[0]))
}

/// The same of groups that are so many inputs one after the other.
pub(super) fn runs_are_blocks(d_in: usize, group_size: usize) -> bool {
    d_in.is_multiple_of(32) && (group_size >= d_in || group_size.is_multiple_of(32))
}

impl Grid {
    /// The matrix as the bytes of `f32`. Shape `[d_out, d_in, 4]`.
    fn floats(&self, d_out: usize) -> Vec<u8> {
        let d_in = self.groups.len();
        let mut weight = vec![0.0; self.numbers.len()]; // [d_out, d_in]
        let rows = weight.par_chunks_mut(d_in.max(1)).zip(self.numbers.par_chunks(d_in.max(1)));
        rows.enumerate().for_each(|(output, (row, numbers))| {
            for ((value, number), group) in row.iter_mut().zip(numbers).zip(&self.groups) {
                let at = group * d_out + output;
                *value = f32::from(i16::from(*number) - i16::from(self.zeros[at])) * self.scales[at];
            }
        });
        bytes_of(&weight)
    }

    /// The matrix as rows of [`Code::Int4`].
    fn four_bits(&self, d_out: usize) -> Vec<u8> {
        let (d_in, n_block) = (self.groups.len(), Code::Int4.row_bytes(32));
        let mut rows = vec![0; d_out * Code::Int4.row_bytes(d_in)];
        let of_rows = rows.par_chunks_mut(Code::Int4.row_bytes(d_in).max(1)).zip(self.numbers.par_chunks(d_in.max(1)));
        of_rows.enumerate().for_each(|(output, (row, numbers))| {
            let blocks = row.chunks_exact_mut(n_block).zip(numbers.chunks_exact(32));
            for ((block, numbers), group) in blocks.zip(self.groups.iter().step_by(32)) {
                let at = group * d_out + output;
                block[..4].copy_from_slice(&self.scales[at].to_le_bytes());
                block[4] = self.zeros[at];
                for (byte, pair) in block[5..].iter_mut().zip(numbers.as_chunks::<2>().0) {
                    *byte = pair[0] | pair[1] << 4;
                }
            }
        });
        rows
    }
}
