//! The rows of a matrix as a file stores them, for weights that stay so in memory.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use attlas_kernels::Code;

use super::{Bytes, Dtype, Tensor};

/// Rows of a matrix, not yet read.
#[derive(Debug, Clone)]
pub struct StoredRows {
    /// How their numbers are stored.
    pub(crate) code: Code,
    /// One row after the other; of [`Code::Int8`] without the factor.
    pub(crate) bytes: Bytes,
    /// The factor of each row of [`Code::Int8`].
    pub(crate) scales: Option<Arc<Vec<f32>>>,
    /// Where the rows of each head are stored in another order.
    pub(crate) order: Option<HeadRows>,
}

/// The rows of each head, stored as pairs of neighbours and wanted as two halves.
#[derive(Debug, Clone, Copy)]
pub struct HeadRows {
    /// Rows of a head; even.
    pub(crate) d_head: usize,
}

impl HeadRows {
    /// Where a row is stored: row `half · d_head / 2 + pair` of a head is its row `2 · pair + half`.
    pub(crate) fn place(self, row: usize) -> usize {
        let (head, within) = (row / self.d_head, row % self.d_head);
        let (half, pair) = (within / (self.d_head / 2), within % (self.d_head / 2));
        head * self.d_head + 2 * pair + half
    }
}

impl StoredRows {
    /// The rows of a matrix that lie in the file as they are; `None` where they are made of something else, or of a type
    /// that is widened when it is loaded.
    pub(crate) fn of(tensor: &Tensor, scales: Option<Arc<Vec<f32>>>) -> Option<StoredRows> {
        if let Bytes::Made { rows, .. } = &tensor.bytes {
            return rows.as_deref().cloned();
        }
        let code = match tensor.dtype {
            Dtype::F16 => Code::F16,
            Dtype::BF16 => Code::Bf16,
            Dtype::I8 if scales.is_some() => Code::Int8,
            _ => return None,
        };
        Some(StoredRows { code, bytes: tensor.bytes.clone(), scales, order: None })
    }

    /// Reads some rows of `d_in` numbers, each of [`Code::row_bytes`].
    ///
    /// # Errors
    /// When the file cannot be read, or ends early.
    pub(crate) fn read(&self, d_in: usize, rows: Range<usize>, output: &mut [u8]) -> io::Result<()> {
        let n_row = self.code.row_bytes(d_in);
        let n_stored = n_row - if self.scales.is_some() { size_of::<f32>() } else { 0 };
        if self.order.is_none() && n_stored == n_row {
            return self.bytes.read(rows.start * n_row, output);
        }
        for (row, output) in rows.zip(output.chunks_exact_mut(n_row)) {
            let (numbers, factor) = output.split_at_mut(n_stored);
            let place = self.order.map_or(row, |order| order.place(row));
            self.bytes.read(place * n_stored, numbers)?;
            if let Some(scales) = &self.scales {
                factor.copy_from_slice(&scales[place].to_le_bytes());
            }
        }
        Ok(())
    }
}
