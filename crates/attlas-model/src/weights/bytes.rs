//! Where a tensor's bytes lie: in a file, read on demand, or in memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use attlas::regular_file::read_exact_at;

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
}

impl Bytes {
    /// How many bytes.
    pub fn len(&self) -> usize {
        match self {
            Bytes::File { len, .. } | Bytes::Memory { len, .. } => *len,
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
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the tensor's bytes end early");
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
        }
    }
}
