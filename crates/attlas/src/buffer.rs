//! Numbers in memory, or in memory that someone else owns, read alike.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::Pod;
use half::{bf16, f16};

/// Bytes that live as long as anyone reads them: a `Vec`, an array of another language.
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
    Owned { all: Arc<Vec<T>>, part: Range<usize> },
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

    /// The numbers at `range`, in the same memory.
    ///
    /// # Panics
    /// When the range reaches outside.
    pub fn part(&self, range: Range<usize>) -> Buffer<T> {
        assert!(range.start <= range.end && range.end <= self.len(), "the part lies in the array");
        Buffer(match &self.0 {
            Backing::Owned { all, part } => {
                Backing::Owned { all: Arc::clone(all), part: part.start + range.start..part.start + range.end }
            }
            Backing::Elsewhere { memory, bytes } => {
                let place = |number: usize| bytes.start + number * size_of::<T>();
                Backing::Elsewhere { memory: Arc::clone(memory), bytes: place(range.start)..place(range.end) }
            }
        })
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
pub(crate) fn little_endian<T: Element>(mut number: T) -> T {
    if cfg!(target_endian = "big") {
        bytemuck::bytes_of_mut(&mut number).reverse();
    }
    number
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Backing::Owned { all, part } => &all[part.clone()],
            Backing::Elsewhere { memory, bytes } => bytemuck::cast_slice(&(**memory).as_ref()[bytes.clone()]),
        }
    }
}

impl<T: Element> From<Vec<T>> for Buffer<T> {
    fn from(values: Vec<T>) -> Buffer<T> {
        Buffer(Backing::Owned { part: 0..values.len(), all: Arc::new(values) })
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
        assert_eq!(*copied.part(1..3), [-2.0, 3.25]);
        assert_eq!(in_place.part(1..2).as_ptr(), in_place[1..].as_ptr());
        assert_eq!(Buffer::<f32>::over(&memory, 0..5), None, "no multiple of 4 bytes");
        assert_eq!(Buffer::<f32>::over(&memory, 16..20), None, "outside");
    }
}
