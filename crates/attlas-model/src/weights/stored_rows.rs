//! The rows of a matrix as a file stores them, for weights that stay so in memory.

use std::fmt;
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
    source: Source,
    /// Where the rows are stored in another order.
    order: Option<Order>,
}

/// Where the parts of a row lie.
#[derive(Debug, Clone)]
enum Source {
    /// Together, one row after the other.
    Rows(Bytes),
    /// The numbers one row after the other, apart from their factors.
    Scaled {
        numbers: Bytes,
        /// Shape `[⌈n_rows / high⌉, blocks of a row]`.
        scales: Arc<Vec<f32>>,
        /// Rows that share their factors.
        high: usize,
    },
    /// Blocks of MXFP4 one row after the other, apart from their powers of two.
    Powers { blocks: Bytes, powers: Bytes },
    /// Numbers of 16 bits, one column after the other.
    Columns { columns: Arc<Vec<u8>>, n_rows: usize },
    /// Sixteen by sixteen side by side, as [`Coded::read`](attlas_kernels::Coded::read) lays rows of [`Code::Int8`].
    Laid {
        strips: Bytes,
        /// All bytes of the file that they are in, where it is built into the programme.
        file: Option<&'static [u8]>,
    },
}

/// Where a row is stored.
#[derive(Clone)]
struct Order(Arc<dyn Fn(usize) -> usize + Send + Sync>);

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Order")
    }
}

impl StoredRows {
    /// The rows of a matrix that lie in the file as they are; `None` where they are made of something else, or of a type
    /// that is widened when it is loaded.
    pub(crate) fn of(tensor: &Tensor, scales: Option<Arc<Vec<f32>>>) -> Option<StoredRows> {
        if let Bytes::Made { rows, .. } = &tensor.bytes {
            return rows.as_deref().cloned();
        }
        match (tensor.dtype, scales) {
            (Dtype::F16, _) => Some(StoredRows::plain(Code::F16, tensor.bytes.clone())),
            (Dtype::BF16, _) => Some(StoredRows::plain(Code::Bf16, tensor.bytes.clone())),
            (Dtype::I8, Some(scales)) => Some(StoredRows::scaled(Code::Int8, tensor.bytes.clone(), scales, 1)),
            _ => None,
        }
    }

    /// How the numbers are stored.
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    /// Rows of [`Code::row_bytes`] one after the other.
    pub(crate) fn plain(code: Code, bytes: Bytes) -> StoredRows {
        StoredRows { code, source: Source::Rows(bytes), order: None }
    }

    /// Rows whose factors lie elsewhere, of [`Code::Int8`], [`Code::Fp8`] or [`Code::Fp8Blocks`]: one for each block of
    /// `high` rows. Shape of `scales`: `[⌈n_rows / high⌉, blocks of a row]`.
    pub(crate) fn scaled(code: Code, numbers: Bytes, scales: Arc<Vec<f32>>, high: usize) -> StoredRows {
        StoredRows { code, source: Source::Scaled { numbers, scales, high }, order: None }
    }

    /// Rows of MXFP4, as blocks of 16 bytes and powers of two.
    pub(crate) fn mxfp4(blocks: Bytes, powers: Bytes) -> StoredRows {
        StoredRows { code: Code::Mxfp4, source: Source::Powers { blocks, powers }, order: None }
    }

    /// Rows of [`Code::Int8`] that lie side by side, in bytes that stay in memory, or in others.
    pub(crate) fn laid(strips: Bytes, file: Option<&'static [u8]>) -> StoredRows {
        StoredRows { code: Code::Int8, source: Source::Laid { strips, file }, order: None }
    }

    /// Bytes that stay in memory, and the place in them where the rows lie side by side.
    pub(crate) fn lies(&self) -> Option<(&'static [u8], usize)> {
        match (&self.source, &self.order) {
            (Source::Laid { strips: Bytes::Static(strips), file: Some(file) }, None) => {
                Some((file, strips.as_ptr().addr() - file.as_ptr().addr()))
            }
            _ => None,
        }
    }

    /// The rows of the matrix of which these are the columns; `None` where its numbers are not 16 bits each. All of it is read.
    ///
    /// # Errors
    /// When the file cannot be read, or ends early.
    pub(crate) fn turned(&self, n_rows: usize) -> io::Result<Option<StoredRows>> {
        let (Code::F16 | Code::Bf16, Source::Rows(bytes), None) = (self.code, &self.source, &self.order) else {
            return Ok(None);
        };
        let mut columns = vec![0; bytes.len()]; // [d_in, n_rows, 2]
        bytes.read(0, &mut columns)?;
        let source = Source::Columns { columns: Arc::new(columns), n_rows };
        Ok(Some(StoredRows { code: self.code, source, order: None }))
    }

    /// The same rows in another order, or some of them: row `r` is what was row `place(r)`.
    pub(crate) fn ordered(self, place: impl Fn(usize) -> usize + Send + Sync + 'static) -> StoredRows {
        let order = match self.order {
            Some(earlier) => Order(Arc::new(move |row| (earlier.0)(place(row)))),
            None => Order(Arc::new(place)),
        };
        StoredRows { order: Some(order), ..self }
    }

    /// The same rows where parts of them can be read one by one without being made each time.
    ///
    /// # Errors
    /// When they are to be made and that fails.
    pub(crate) fn ready(&self) -> io::Result<StoredRows> {
        match &self.source {
            Source::Rows(bytes @ Bytes::Made { .. }) => {
                Ok(StoredRows { source: Source::Rows(bytes.ready()?.into_owned()), ..self.clone() })
            }
            _ => Ok(self.clone()),
        }
    }

    /// Reads some rows of `d_in` numbers, each of [`Code::row_bytes`].
    ///
    /// # Errors
    /// When the file cannot be read, or ends early.
    pub(crate) fn read(&self, d_in: usize, rows: Range<usize>, output: &mut [u8]) -> io::Result<()> {
        let n_row = self.code.row_bytes(d_in);
        if let (Source::Rows(bytes), None) = (&self.source, &self.order) {
            return bytes.read(rows.start * n_row, output);
        }
        for (row, output) in rows.zip(output.chunks_exact_mut(n_row.max(1))) {
            let place = self.order.as_ref().map_or(row, |order| (order.0)(row));
            self.read_row(d_in, place, output)?;
        }
        Ok(())
    }

    /// Reads the row that is stored at `place`.
    fn read_row(&self, d_in: usize, place: usize, output: &mut [u8]) -> io::Result<()> {
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the tensor's bytes end early");
        match &self.source {
            Source::Rows(bytes) => bytes.read(place * output.len(), output),
            Source::Scaled { numbers, scales, high } if self.code == Code::Fp8Blocks => {
                let n_blocks = d_in / self.code.block();
                let mut row = vec![0; d_in];
                numbers.read(place * d_in, &mut row)?;
                let scales = scales.get(place / high * n_blocks..).ok_or_else(short)?;
                let blocks = output.chunks_exact_mut(4 + self.code.block()).zip(row.chunks_exact(self.code.block()));
                for ((output, block), scale) in blocks.zip(scales) {
                    output[..4].copy_from_slice(&scale.to_le_bytes());
                    output[4..].copy_from_slice(block);
                }
                Ok(())
            }
            Source::Scaled { numbers, scales, high } => {
                let (row, factor) = output.split_at_mut(d_in);
                numbers.read(place * d_in, row)?;
                factor.copy_from_slice(&scales.get(place / high).ok_or_else(short)?.to_le_bytes());
                Ok(())
            }
            Source::Powers { blocks, powers } => {
                let n_blocks = d_in / self.code.block();
                let (mut row, mut exponents) = (vec![0; 16 * n_blocks], vec![0; n_blocks]);
                blocks.read(place * row.len(), &mut row)?;
                powers.read(place * n_blocks, &mut exponents)?;
                for ((output, block), power) in output.chunks_exact_mut(17).zip(row.chunks_exact(16)).zip(exponents) {
                    output[0] = power;
                    output[1..].copy_from_slice(block);
                }
                Ok(())
            }
            Source::Laid { strips, .. } => {
                let mut strip = vec![0; 16 * output.len()];
                strips.read(place / 16 * strip.len(), &mut strip)?;
                let (scales, codes) = strip.split_at(4 * 16);
                let (row, factor) = output.split_at_mut(d_in);
                factor.copy_from_slice(&scales[4 * (place % 16)..][..4]);
                row.iter_mut().zip(codes.iter().skip(place % 16).step_by(16)).for_each(|(slot, code)| *slot = *code);
                Ok(())
            }
            Source::Columns { columns, n_rows } => {
                let numbers = columns.get(2 * place..).ok_or_else(short)?.chunks(2 * n_rows);
                for (output, number) in output.as_chunks_mut::<2>().0.iter_mut().zip(numbers) {
                    output.copy_from_slice(number.get(..2).ok_or_else(short)?);
                }
                Ok(())
            }
        }
    }
}
