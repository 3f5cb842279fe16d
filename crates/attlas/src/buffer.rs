//! Numbers in memory or in a mapped file, read alike.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use memmap2::Mmap;

/// A read-only array of `f32`, owned or backed by a memory-mapped file; cheap to clone.
#[derive(Clone)]
pub struct Buffer(Backing);

#[derive(Clone)]
enum Backing {
    Owned(Arc<Vec<f32>>),
    Mapped { map: Arc<Mmap>, bytes: Range<usize> },
}

impl Buffer {
    /// The `f32`s that lie at `bytes` of a mapped file, little-endian; copied where they are not aligned.
    ///
    /// Returns `None` when the range is outside the file or no multiple of 4 bytes.
    pub(crate) fn mapped(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<Buffer> {
        let slice = map.get(bytes.clone())?;
        let (chunks, []) = slice.as_chunks::<4>() else { return None };
        if cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, f32>(slice).is_ok() {
            return Some(Buffer(Backing::Mapped { map: Arc::clone(map), bytes }));
        }
        Some(Buffer::from(chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect::<Vec<f32>>()))
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &self.0 {
            Backing::Owned(values) => values,
            Backing::Mapped { map, bytes } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Buffer {
        Buffer(Backing::Owned(Arc::new(values)))
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer[{}]", self.len())
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Buffer) -> bool {
        **self == **other
    }
}
