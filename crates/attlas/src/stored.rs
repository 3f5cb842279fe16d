//! The arrays of a recording: in memory, or in the file that holds them, from which a piece is read when it is asked for.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::buffer::{Element, file_bytes, little_endian};
use crate::regular_file::RegularFile;
use crate::{Buffer, Error};

/// Numbers that are held at a time on their way from file to file.
const PIECE: usize = 1 << 20;

/// Numbers of 16 bits that are widened at a time.
const WIDENED: usize = 1 << 16;

/// A read-only array, in memory or still in its file; cheap to clone.
#[derive(Clone)]
pub struct Stored<T: Element = f32>(Place<T>);

#[derive(Clone)]
enum Place<T: Element> {
    Memory(Buffer<T>),
    File { file: Arc<RegularFile>, start: u64, len: usize },
}

impl<T: Element> Stored<T> {
    /// `len` numbers that stand in `file` from byte `start` on, little-endian; none is read.
    pub(crate) fn in_file(file: &Arc<RegularFile>, start: u64, len: usize) -> Stored<T> {
        Stored(Place::File { file: Arc::clone(file), start, len })
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Place::Memory(buffer) => buffer.len(),
            Place::File { len, .. } => *len,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers at `range`; those in memory are borrowed.
    ///
    /// # Errors
    /// When they lie in a file that cannot be read, or was cut short.
    ///
    /// # Panics
    /// When the range reaches outside.
    pub fn read(&self, range: Range<usize>) -> Result<Cow<'_, [T]>, Error> {
        match &self.0 {
            Place::Memory(buffer) => Ok(Cow::Borrowed(&buffer[range])),
            Place::File { file, start, len } => {
                assert!(range.start <= range.end && range.end <= *len, "the range lies in the array");
                let mut numbers = vec![T::zeroed(); range.len()]; // [range.len()]
                let start = start + (range.start * size_of::<T>()) as u64;
                file.read_at(start, bytemuck::cast_slice_mut(&mut numbers))?;
                if cfg!(target_endian = "big") {
                    numbers.iter_mut().for_each(|number| *number = little_endian(*number));
                }
                Ok(Cow::Owned(numbers))
            }
        }
    }

    /// Every number.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all(&self) -> Result<Cow<'_, [T]>, Error> {
        self.read(0..self.len())
    }

    /// The array in memory.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn load(&self) -> Result<Buffer<T>, Error> {
        match &self.0 {
            Place::Memory(buffer) => Ok(buffer.clone()),
            Place::File { .. } => Ok(self.read_all()?.into_owned().into()),
        }
    }

    /// The numbers at `range` in memory: where they lie when they are there, else read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    ///
    /// # Panics
    /// When the range reaches outside.
    pub fn part(&self, range: Range<usize>) -> Result<Buffer<T>, Error> {
        match &self.0 {
            Place::Memory(buffer) => Ok(buffer.part(range)),
            Place::File { .. } => Ok(self.read(range)?.into_owned().into()),
        }
    }

    /// Writes the bytes as they stand in a file.
    pub(crate) fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        for start in (0..self.len()).step_by(PIECE) {
            let piece = self.read(start..(start + PIECE).min(self.len())).map_err(io::Error::other)?;
            file.write_all(&file_bytes(&piece))?;
        }
        Ok(())
    }
}

impl<T: Element> From<Buffer<T>> for Stored<T> {
    fn from(buffer: Buffer<T>) -> Stored<T> {
        Stored(Place::Memory(buffer))
    }
}

impl<T: Element> From<Vec<T>> for Stored<T> {
    fn from(values: Vec<T>) -> Stored<T> {
        Stored(Place::Memory(values.into()))
    }
}

impl<T: Element> fmt::Debug for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stored[{}]", self.len())
    }
}

/// The same numbers, wherever they lie; what cannot be read equals nothing.
impl<T: Element> PartialEq for Stored<T> {
    fn eq(&self, other: &Stored<T>) -> bool {
        matches!((self.read_all(), other.read_all()), (Ok(a), Ok(b)) if a == b)
    }
}

/// Real numbers as a model had them, in 32 or 16 bits; 16 bits are widened where they are read, a piece at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// IEEE single precision, 24 bits of precision.
    F32(Stored<f32>),
    /// IEEE half precision: 11 bits of precision, up to 65,504.
    F16(Stored<f16>),
    /// bfloat16: 8 bits of precision, the range of 32 bits.
    Bf16(Stored<bf16>),
}

impl Numbers {
    /// Arrays that leave memory for a file without a name, which goes with the last who reads it. It lies in the folder that `TMPDIR` names,
    /// else in `/var/tmp` where there is one.
    ///
    /// # Errors
    /// When the folder is full, or nothing can be written there.
    pub fn aside<const N: usize>(arrays: [&[f32]; N]) -> io::Result<[Numbers; N]> {
        let mut file = tempfile::tempfile_in(folder_aside())?;
        for piece in arrays.iter().flat_map(|numbers| numbers.chunks(PIECE)) {
            file.write_all(&file_bytes(piece))?;
        }
        let (file, mut start) = (Arc::new(RegularFile::unnamed(file)?), 0);
        Ok(arrays.map(|numbers| {
            let stored = Stored::in_file(&file, start, numbers.len());
            start += size_of_val(numbers) as u64;
            Numbers::F32(stored)
        }))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Numbers::F32(numbers) => numbers.len(),
            Numbers::F16(numbers) => numbers.len(),
            Numbers::Bf16(numbers) => numbers.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What they are stored as: `f32`, `f16` or `bf16`.
    pub fn dtype(&self) -> &'static str {
        match self {
            Numbers::F32(_) => f32::DTYPE,
            Numbers::F16(_) => f16::DTYPE,
            Numbers::Bf16(_) => bf16::DTYPE,
        }
    }

    /// The numbers at `range`, as f32; those in memory in 32 bits are borrowed.
    ///
    /// # Errors
    /// When they lie in a file that cannot be read, or was cut short.
    ///
    /// # Panics
    /// When the range reaches outside.
    pub fn read(&self, range: Range<usize>) -> Result<Cow<'_, [f32]>, Error> {
        Ok(match self {
            Numbers::F32(numbers) => numbers.read(range)?,
            Numbers::F16(numbers) => {
                Cow::Owned(widened(numbers, range, |piece, wide| piece.convert_to_f32_slice(wide))?)
            }
            Numbers::Bf16(numbers) => {
                Cow::Owned(widened(numbers, range, |piece, wide| piece.convert_to_f32_slice(wide))?)
            }
        })
    }

    /// Every number, as f32.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_all(&self) -> Result<Cow<'_, [f32]>, Error> {
        self.read(0..self.len())
    }

    /// Writes their bytes as they stand in a file.
    pub(crate) fn write_to(&self, file: &mut impl Write) -> io::Result<()> {
        match self {
            Numbers::F32(numbers) => numbers.write_to(file),
            Numbers::F16(numbers) => numbers.write_to(file),
            Numbers::Bf16(numbers) => numbers.write_to(file),
        }
    }
}

/// Where large arrays are put: many systems keep the usual folder for temporary files in memory, but rarely this one.
fn folder_aside() -> PathBuf {
    let on_disk = Path::new("/var/tmp");
    match std::env::var_os("TMPDIR") {
        None if on_disk.is_dir() => on_disk.to_path_buf(),
        _ => std::env::temp_dir(),
    }
}

/// Numbers of 16 bits as f32, a piece at a time, so that what is read stays in a cache until it is widened.
fn widened<T: Element>(
    numbers: &Stored<T>,
    range: Range<usize>,
    widen: impl Fn(&[T], &mut [f32]),
) -> Result<Vec<f32>, Error> {
    let mut wide = vec![0.0; range.len()]; // [range.len()]
    for (start, piece) in range.step_by(WIDENED).zip(wide.chunks_mut(WIDENED)) {
        widen(&numbers.read(start..start + piece.len())?, piece);
    }
    Ok(wide)
}

impl From<Vec<f32>> for Numbers {
    fn from(values: Vec<f32>) -> Numbers {
        Numbers::F32(values.into())
    }
}

impl From<Buffer<f32>> for Numbers {
    fn from(values: Buffer<f32>) -> Numbers {
        Numbers::F32(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_from_the_file_when_it_is_asked_for_and_a_file_cut_short_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let numbers: Vec<f32> = vec![1.5, -2.0, 3.25, 4.0];
        std::fs::write(file.path(), [&[9; 3], bytemuck::cast_slice::<f32, u8>(&numbers)].concat()).unwrap();
        let open = Arc::new(RegularFile::open(file.path()).unwrap());
        let stored = Stored::<f32>::in_file(&open, 3, 4);
        assert_eq!(*stored.read(1..3).unwrap(), [-2.0, 3.25]);
        assert_eq!(stored, Stored::from(numbers));
        let mut written = Vec::new();
        stored.write_to(&mut written).unwrap();
        assert_eq!(written, std::fs::read(file.path()).unwrap()[3..]);
        file.as_file().set_len(12).unwrap();
        let error = stored.read(0..2).unwrap_err().to_string();
        assert!(error.ends_with(": was written to after it was opened: open it again"), "{error}");
        let error = stored.read(1..3).unwrap_err().to_string();
        assert!(error.ends_with(": was cut short while it was read"), "{error}");
        assert_ne!(stored, stored.clone());
    }

    #[test]
    fn numbers_that_leave_memory_are_read_as_if_they_had_not() {
        let numbers: Vec<f32> = (0..PIECE + 5).map(|place| place as f32).collect();
        let [none, aside, last] = Numbers::aside([&[], &numbers, &[1.5, 2.5]]).unwrap();
        let range = PIECE - 1..PIECE + 3;
        assert_eq!((aside.len(), &*aside.read(range.clone()).unwrap()), (PIECE + 5, &numbers[range]));
        assert_eq!(aside, Numbers::from(numbers));
        assert_eq!((none.len(), &*last.read_all().unwrap()), (0, &[1.5, 2.5][..]));
    }

    #[test]
    fn sixteen_bits_are_widened_exactly() {
        let values = [1.0_f32, -0.5, 3.140625, 65504.0];
        let half = Numbers::F16(values.map(f16::from_f32).to_vec().into());
        assert_eq!(*half.read(1..3).unwrap(), [-0.5, 3.140625]);
        let brain = Numbers::Bf16(values.map(bf16::from_f32).to_vec().into());
        assert_eq!(*brain.read_all().unwrap(), [1.0, -0.5, 3.140625, 65536.0]);
        let many: Vec<f32> = (0..2 * WIDENED + 7).map(|place| (place % 2048) as f32).collect();
        let half = Numbers::F16(many.iter().map(|number| f16::from_f32(*number)).collect::<Vec<_>>().into());
        assert_eq!(*half.read(5..2 * WIDENED + 6).unwrap(), many[5..2 * WIDENED + 6]);
    }
}
