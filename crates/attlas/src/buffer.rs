//! Numbers in memory, in a mapped file or in memory that someone else owns, read alike.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Bytes that live as long as anyone reads them: a mapped file, a `Vec`, an array of another language.
pub type Memory = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A number that a recording's arrays are made of.
pub trait Element: Pod + PartialEq + Send + Sync {
    /// Its name in a safetensors file, in lower case.
    const DTYPE: &'static str;
}

impl Element for f64 {
    const DTYPE: &'static str = "f64";
}
impl Element for f32 {
    const DTYPE: &'static str = "f32";
}
impl Element for f16 {
    const DTYPE: &'static str = "f16";
}
impl Element for bf16 {
    const DTYPE: &'static str = "bf16";
}
impl Element for u32 {
    const DTYPE: &'static str = "u32";
}
impl Element for u8 {
    const DTYPE: &'static str = "u8";
}

/// A read-only array, owned or over memory that lies elsewhere; cheap to clone.
#[derive(Clone)]
pub struct Buffer<T: Element = f32>(Backing<T>);

#[derive(Clone)]
enum Backing<T> {
    Owned(Arc<Vec<T>>),
    Elsewhere { memory: Memory, bytes: Range<usize> },
}

impl<T: Element> Buffer<T> {
    /// The numbers that lie at `bytes` of `memory`, little-endian; copied only where they are not aligned.
    ///
    /// `memory` must give the same bytes each time it is asked. Returns `None` when the range is outside of it or no
    /// multiple of a number's size.
    pub fn over(memory: &Memory, bytes: Range<usize>) -> Option<Buffer<T>> {
        let slice = (**memory).as_ref().get(bytes.clone())?;
        if !slice.len().is_multiple_of(size_of::<T>()) {
            return None;
        }
        if cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(slice).is_ok() {
            return Some(Buffer(Backing::Elsewhere { memory: Arc::clone(memory), bytes }));
        }
        let number = |bytes: &[u8]| little_endian(bytemuck::pod_read_unaligned::<T>(bytes));
        Some(Buffer::from(slice.chunks_exact(size_of::<T>()).map(number).collect::<Vec<T>>()))
    }

    /// Whether both are the very same memory, not only the same numbers.
    pub fn is_same(&self, other: &Buffer<T>) -> bool {
        std::ptr::eq(&raw const **self, &raw const **other)
    }
}

/// The bytes of numbers as they stand in a file, little-endian.
pub(crate) fn file_bytes<T: Element>(numbers: &[T]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        return Cow::Borrowed(bytemuck::cast_slice(numbers));
    }
    Cow::Owned(numbers.iter().flat_map(|number| bytemuck::bytes_of(&little_endian(*number)).to_vec()).collect())
}

/// The number with its bytes in a file's order, or back.
fn little_endian<T: Element>(mut number: T) -> T {
    if cfg!(target_endian = "big") {
        bytemuck::bytes_of_mut(&mut number).reverse();
    }
    number
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Backing::Owned(values) => values,
            Backing::Elsewhere { memory, bytes } => bytemuck::cast_slice(&(**memory).as_ref()[bytes.clone()]),
        }
    }
}

impl<T: Element> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Buffer<T> {
        Buffer(Backing::Owned(Arc::new(values)))
    }
}

impl<T: Element> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer[{}]", self.len())
    }
}

impl<T: Element> PartialEq for Buffer<T> {
    fn eq(&self, other: &Buffer<T>) -> bool {
        **self == **other
    }
}

/// Real numbers as a model had them, in 32 or 16 bits; 16 bits are widened where they are read, a piece at a time.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// IEEE single precision, 24 bits of precision.
    F32(Buffer<f32>),
    /// IEEE half precision: 11 bits of precision, up to 65,504.
    F16(Buffer<f16>),
    /// bfloat16: 8 bits of precision, the range of 32 bits.
    Bf16(Buffer<bf16>),
}

impl Numbers {
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

    /// The numbers at `range`, as f32; those stored in 32 bits are borrowed, those in 16 bits are copied.
    ///
    /// # Panics
    /// When the range reaches outside.
    pub fn read(&self, range: Range<usize>) -> Cow<'_, [f32]> {
        match self {
            Numbers::F32(numbers) => Cow::Borrowed(&numbers[range]),
            Numbers::F16(numbers) => Cow::Owned(numbers[range].to_f32_vec()),
            Numbers::Bf16(numbers) => Cow::Owned(numbers[range].to_f32_vec()),
        }
    }

    /// Every number, as f32; copied where they are stored in 16 bits.
    pub fn read_all(&self) -> Cow<'_, [f32]> {
        self.read(0..self.len())
    }

    /// Their bytes as they stand in a file.
    pub(crate) fn file_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Numbers::F32(numbers) => file_bytes(numbers),
            Numbers::F16(numbers) => file_bytes(numbers),
            Numbers::Bf16(numbers) => file_bytes(numbers),
        }
    }
}

impl From<Vec<f32>> for Numbers {
    fn from(values: Vec<f32>) -> Numbers {
        Numbers::F32(values.into())
    }
}

impl From<Buffer<f32>> for Numbers {
    fn from(values: Buffer<f32>) -> Numbers {
        Numbers::F32(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_owned_elsewhere_is_read_in_place_where_it_is_aligned_and_copied_where_it_is_not() {
        let numbers: Vec<f32> = vec![1.5, -2.0, 3.25];
        let bytes: Vec<u8> = [&[0; 3], bytemuck::cast_slice::<f32, u8>(&numbers), &[0; 4]].concat();
        let place = bytes.as_ptr().align_offset(4); // a `Vec<u8>` may begin anywhere
        let memory: Memory = Arc::new(bytes);
        let copied = Buffer::<f32>::over(&memory, 3..15).unwrap();
        assert_eq!(*copied, *numbers);
        let in_place = Buffer::<f32>::over(&memory, place..place + 8).unwrap();
        assert_eq!(in_place.as_ptr().cast::<u8>(), (*memory).as_ref()[place..].as_ptr());
        assert!(in_place.is_same(&in_place.clone()) && !in_place.is_same(&copied));
        assert_eq!(Buffer::<f32>::over(&memory, 0..5), None, "no multiple of 4 bytes");
        assert_eq!(Buffer::<f32>::over(&memory, 16..20), None, "outside");
    }

    #[test]
    fn sixteen_bits_are_widened_exactly() {
        let values = [1.0_f32, -0.5, 3.140625, 65504.0];
        let half = Numbers::F16(values.map(f16::from_f32).to_vec().into());
        assert_eq!(*half.read(1..3), [-0.5, 3.140625]);
        let brain = Numbers::Bf16(values.map(bf16::from_f32).to_vec().into());
        assert_eq!(*brain.read_all(), [1.0, -0.5, 3.140625, 65536.0]);
    }
}
