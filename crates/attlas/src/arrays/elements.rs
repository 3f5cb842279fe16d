//! The elements of an array, read from a stream piece by piece into the one place where they stay.

use std::io::{self, Read};

use super::{Array, ArrayData, Precision};
use crate::recording::elements;
use crate::recording::limits::MAX_TOKENS;

/// Bytes of a stream that are held at a time.
const PIECE: usize = 1 << 16;

/// What the elements of an array are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    F16,
    Bf16,
    F32,
    F64,
    I32,
    I64,
    /// A truth value: a byte, 0 or not.
    Bool,
    I8,
    U8,
    I16,
    /// So many letters in 32 bits each, at least one.
    Text(usize),
}

impl Type {
    /// Bytes of one element in a file.
    fn n_bytes(self) -> usize {
        match self {
            Type::Bool | Type::I8 | Type::U8 => 1,
            Type::F16 | Type::Bf16 | Type::I16 => 2,
            Type::F32 | Type::I32 => 4,
            Type::F64 | Type::I64 => 8,
            Type::Text(n_letters) => n_letters.saturating_mul(4),
        }
    }

    /// Bytes of one element in memory, at most.
    fn n_held(self) -> usize {
        match self {
            Type::F16 | Type::Bf16 | Type::F32 | Type::F64 => size_of::<f32>(),
            Type::Bool | Type::I8 | Type::U8 | Type::I16 | Type::I32 | Type::I64 => size_of::<i64>(),
            Type::Text(_) => self.n_bytes().saturating_add(size_of::<String>()),
        }
    }
}

/// How an array lies in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Layout {
    pub element: Type,
    /// Whether the bytes of an element come the largest first.
    pub is_big_endian: bool,
    /// Whether the first axis is the fastest.
    pub is_fortran: bool,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
}

/// Bytes that arrays may still take.
#[derive(Debug)]
pub struct Room {
    pub limit: u64,
    left: u64,
}

impl Room {
    pub fn new(limit: u64) -> Room {
        Room { limit, left: limit }
    }

    /// Takes room for `n` bytes; says what would have been needed when there is not as much.
    fn take(&mut self, n: u64) -> Result<(), Problem> {
        let needed = (self.limit - self.left).saturating_add(n);
        self.left = self.left.checked_sub(n).ok_or(Problem::NoRoom { needed })?;
        Ok(())
    }
}

/// Why an array is not read.
#[derive(Debug)]
pub enum Problem {
    /// It is malformed: a sentence.
    Bad(String),
    /// It takes more bytes, with those before it, than are allowed.
    NoRoom { needed: u64 },
    /// It has more texts than any recording has tokens.
    TooManyTexts(usize),
    /// The stream cannot be read.
    Io(io::Error),
}

impl From<String> for Problem {
    fn from(message: String) -> Problem {
        Problem::Bad(message)
    }
}

impl Layout {
    /// Reads the array from a stream that cannot give more than `n_bytes`.
    ///
    /// # Errors
    /// [`Problem`]; before anything is allocated where the shape alone tells.
    pub fn read(self, source: &mut impl Read, n_bytes: u64, room: &mut Room) -> Result<Array, Problem> {
        let Layout { element, shape, .. } = &self;
        let n = elements(shape).ok_or_else(|| format!("shape {shape:?} has more elements than any array can"))?;
        if matches!(element, Type::Text(_)) && n > MAX_TOKENS {
            return Err(Problem::TooManyTexts(n));
        }
        let size = element.n_bytes();
        if (n as u64).saturating_mul(size as u64) > n_bytes {
            return Err(format!(
                "shape {shape:?} needs {n} elements of {size} bytes, more than the {n_bytes} bytes that can be there"
            )
            .into());
        }
        room.take((n as u64).saturating_mul(size.max(element.n_held()) as u64))?;
        let mut elements =
            Elements { source, size, is_big_endian: self.is_big_endian, shape, is_fortran: self.is_fortran };
        let data = match element {
            Type::F16 => ArrayData::Numbers(elements.all(n, |bytes| half::f16::from_le_bytes(bytes).to_f32())?),
            Type::Bf16 => ArrayData::Numbers(elements.all(n, |bytes| half::bf16::from_le_bytes(bytes).to_f32())?),
            Type::F32 => ArrayData::Numbers(elements.all(n, f32::from_le_bytes)?),
            Type::F64 => ArrayData::Numbers(elements.all(n, |bytes| f64::from_le_bytes(bytes) as f32)?),
            Type::I32 => ArrayData::Integers(elements.all(n, |bytes| i64::from(i32::from_le_bytes(bytes)))?),
            Type::I64 => ArrayData::Integers(elements.all(n, i64::from_le_bytes)?),
            Type::Bool => ArrayData::Integers(elements.all(n, |[byte]: [u8; 1]| i64::from(byte != 0))?),
            Type::I8 => ArrayData::Integers(elements.all(n, |bytes| i64::from(i8::from_le_bytes(bytes)))?),
            Type::U8 => ArrayData::Integers(elements.all(n, |bytes| i64::from(u8::from_le_bytes(bytes)))?),
            Type::I16 => ArrayData::Integers(elements.all(n, |bytes| i64::from(i16::from_le_bytes(bytes)))?),
            Type::Text(_) => ArrayData::Text(elements.texts(n)?),
        };
        let precision = match element {
            Type::F16 => Precision::Half,
            Type::Bf16 => Precision::Brain,
            _ => Precision::Single,
        };
        Ok(Array { shape: self.shape, data, precision })
    }
}

/// A stream of elements, all of `size` bytes.
struct Elements<'a, R> {
    source: &'a mut R,
    size: usize,
    is_big_endian: bool,
    shape: &'a [usize],
    is_fortran: bool,
}

impl<R: Read> Elements<'_, R> {
    /// `n` elements of `N` bytes, the last axis fastest.
    fn all<const N: usize, T: Clone + Default>(
        &mut self,
        n: usize,
        element: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Problem> {
        let is_big_endian = self.is_big_endian;
        let element = |bytes: &[u8; N]| element(ordered(*bytes, is_big_endian));
        self.arranged(n, |bytes, all| all.extend(bytes.as_chunks::<N>().0.iter().map(element)))
    }

    /// `n` texts, the last axis fastest.
    fn texts(&mut self, n: usize) -> Result<Vec<String>, Problem> {
        let (size, is_big_endian) = (self.size, self.is_big_endian);
        let letter =
            |code: &[u8; 4]| char::from_u32(u32::from_le_bytes(ordered(*code, is_big_endian))).unwrap_or('\u{FFFD}');
        self.arranged(n, |bytes, all| {
            all.extend(bytes.chunks_exact(size).map(|text| {
                let end = text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last / 4 + 1);
                text.as_chunks::<4>().0[..end].iter().map(letter).collect::<String>()
            }));
        })
    }

    /// `n` elements that `decode` appends, a piece of the stream at a time, put where they belong.
    fn arranged<T: Clone + Default>(
        &mut self,
        n: usize,
        decode: impl Fn(&[u8], &mut Vec<T>),
    ) -> Result<Vec<T>, Problem> {
        if n == 0 {
            return Ok(Vec::new()); // however large its elements would be
        }
        let mut all = Vec::new();
        let no_memory = || format!("its {n} elements need more memory than there is");
        all.try_reserve_exact(n).map_err(|_| no_memory())?;
        let mut places = (self.is_fortran && self.shape.len() > 1).then(|| {
            all.resize(n, T::default());
            Places::new(self.shape)
        });
        let per_piece = (PIECE / self.size).clamp(1, n);
        let mut piece = vec![0; per_piece * self.size];
        let mut decoded = Vec::new();
        for start in (0..n).step_by(per_piece) {
            let piece = &mut piece[..per_piece.min(n - start) * self.size];
            let n_read = self.source.read_up_to(piece).map_err(Problem::Io)?;
            if n_read < piece.len() {
                let (shape, size, n_there) = (self.shape, self.size, start + n_read / self.size);
                return Err(format!(
                    "shape {shape:?} needs {n} elements of {size} bytes, but only {n_there} are there"
                )
                .into());
            }
            let Some(places) = &mut places else {
                decode(piece, &mut all);
                continue;
            };
            decode(piece, &mut decoded);
            for (element, place) in decoded.drain(..).zip(places) {
                all[place] = element;
            }
        }
        Ok(all)
    }
}

/// Reading as much as there is.
trait ReadUpTo: Read {
    /// Fills `output`, or as much of it as the stream still has; says how much.
    fn read_up_to(&mut self, output: &mut [u8]) -> io::Result<usize> {
        let mut n_read = 0;
        while n_read < output.len() {
            match self.read(&mut output[n_read..]) {
                Ok(0) => break,
                Ok(n) => n_read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(n_read)
    }
}

impl<R: Read> ReadUpTo for R {}

/// Where the elements belong that come with the first axis fastest, when the last one is to be: one after the other.
struct Places<'a> {
    shape: &'a [usize],
    /// How far an element is from the next along each axis.
    strides: Vec<usize>,
    /// The position of the next element.
    position: Vec<usize>,
    place: usize,
}

impl Places<'_> {
    fn new(shape: &[usize]) -> Places<'_> {
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        Places { shape, strides, position: vec![0; shape.len()], place: 0 }
    }
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.place;
        for ((position, size), stride) in self.position.iter_mut().zip(self.shape).zip(&self.strides) {
            *position += 1;
            self.place += stride;
            if *position < *size {
                break;
            }
            self.place -= *position * stride;
            *position = 0;
        }
        Some(place)
    }
}

/// The bytes in little-endian order.
fn ordered<const N: usize>(mut bytes: [u8; N], is_big_endian: bool) -> [u8; N] {
    if is_big_endian {
        bytes.reverse();
    }
    bytes
}
