//! Where a tensor's bytes lie: in a file, read on demand, or in memory.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use attlas::regular_file::read_exact_at;

use super::stored_rows::StoredRows;

/// A run of bytes, read on demand. Files are read with positioned reads, not mapped: a mapped file that
/// another programme shortens would end the process.
#[derive(Debug, Clone)]
pub enum Bytes {
    /// In an open file.
    File {
        /// The file.
        file: Arc<File>,
        /// Where the bytes start.
        offset: u64,
        /// How many they are.
        len: usize,
    },
    /// Built into the programme.
    Static(&'static [u8]),
    /// In memory.
    Memory {
        /// The memory.
        bytes: Arc<Vec<u8>>,
        /// Where the bytes start.
        offset: usize,
        /// How many they are.
        len: usize,
    },
    /// Made of others when they are read: a view put into rows, blocks unpacked.
    Made {
        /// Makes them.
        make: Make,
        /// How many they are.
        len: usize,
        /// The rows of which they are made, where they are that and nothing else.
        rows: Option<Box<StoredRows>>,
    },
}

/// What makes bytes when they are read.
#[derive(Clone)]
pub struct Make(Arc<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>);

impl fmt::Debug for Make {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Make")
    }
}

impl Bytes {
    /// Bytes that `make` makes, all of them, whenever they are read; it must make `len`.
    pub(crate) fn made(len: usize, make: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static) -> Bytes {
        Bytes::Made { make: Make(Arc::new(make)), len, rows: None }
    }

    /// The same, where they are made of these rows.
    pub(crate) fn of_rows(self, of: StoredRows) -> Bytes {
        match self {
            Bytes::Made { make, len, .. } => Bytes::Made { make, len, rows: Some(Box::new(of)) },
            other => other,
        }
    }

    /// The same bytes where parts of them can be read one by one without being made each time.
    ///
    /// # Errors
    /// When they are to be made and that fails.
    pub(crate) fn ready(&self) -> io::Result<Cow<'_, Bytes>> {
        let Bytes::Made { make, len, .. } = self else { return Ok(Cow::Borrowed(self)) };
        let bytes = (make.0)()?;
        if bytes.len() != *len {
            return Err(short());
        }
        Ok(Cow::Owned(Bytes::Memory { bytes: Arc::new(bytes), offset: 0, len: *len }))
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Bytes::File { len, .. } | Bytes::Memory { len, .. } | Bytes::Made { len, .. } => *len,
            Bytes::Static(bytes) => bytes.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `output` with the bytes from `start` on.
    ///
    /// # Errors
    /// When the file cannot be read, or ends early.
    pub fn read(&self, start: usize, output: &mut [u8]) -> io::Result<()> {
        let end = start.checked_add(output.len()).filter(|end| *end <= self.len()).ok_or_else(short)?;
        match self {
            Bytes::File { file, offset, .. } => read_exact_at(file, offset + start as u64, output),
            Bytes::Static(bytes) => {
                output.copy_from_slice(&bytes[start..end]);
                Ok(())
            }
            Bytes::Memory { bytes, offset, .. } => {
                output.copy_from_slice(bytes.get(offset + start..offset + end).ok_or_else(short)?);
                Ok(())
            }
            Bytes::Made { .. } => self.ready()?.read(start, output),
        }
    }
}

fn short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tensor's bytes end early")
}
