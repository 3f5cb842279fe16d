//! Stored numbers to `f32`, in parallel, checked to be finite on the way.

use std::io;

use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::{Bytes, Tensor};

/// How a tensor's numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary16.
    F16,
    /// The upper half of binary32.
    BF16,
    /// IEEE 754 binary64.
    F64,
    /// Signed bytes times an `f32` per row, which lies in the tensor `NAME.scale`.
    I8,
    /// Anything else, with its size in bits; known so that a file that holds it can be described.
    Other {
        /// The name in the file.
        name: &'static str,
        /// Bits of one number.
        bits: usize,
    },
}

impl Dtype {
    /// The short name: `f32`, `bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F16 => "f16",
            Dtype::BF16 => "bf16",
            Dtype::F64 => "f64",
            Dtype::I8 => "i8",
            Dtype::Other { name, .. } => name,
        }
    }

    /// The size of one number in bits.
    pub fn bits(self) -> usize {
        match self {
            Dtype::F32 => 32,
            Dtype::F16 | Dtype::BF16 => 16,
            Dtype::F64 => 64,
            Dtype::I8 => 8,
            Dtype::Other { bits, .. } => bits,
        }
    }
}

/// Why numbers could not be had.
pub(super) enum Problem {
    Io(io::Error),
    NotFinite { index: usize, value: f32 },
    Unsupported,
}

/// Numbers that one task converts at a time; a buffer of them stays in the cache.
const CHUNK: usize = 1 << 16;

/// Fills `output` with the tensor's numbers; `scales` has one factor per row for [`Dtype::I8`].
pub(super) fn to_f32(tensor: &Tensor, scales: Option<&[f32]>, output: &mut [f32]) -> Result<(), Problem> {
    let bytes = tensor.bytes.ready().map_err(Problem::Io)?;
    let row_len = output.len() / tensor.shape.first().copied().unwrap_or(1).max(1);
    output.par_chunks_mut(CHUNK).enumerate().try_for_each(|(chunk_index, chunk)| {
        let start = chunk_index * CHUNK;
        fill(tensor.dtype, &bytes, start, chunk)?;
        if let Some(scales) = scales {
            scale_rows(scales, row_len, start, chunk);
        }
        // one pass over numbers that are still in the cache; the search for the culprit only if there is one
        if chunk.iter().fold(0.0_f32, |sum, value| sum + value * 0.0) == 0.0 {
            return Ok(());
        }
        match chunk.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(Problem::NotFinite { index: start + at, value: chunk[at] }),
            None => Ok(()),
        }
    })
}

/// All numbers of a tensor of which another one is made.
pub(super) fn floats(tensor: &Tensor) -> io::Result<Vec<f32>> {
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
    let mut values = vec![0.0; tensor.len()]; // [shape]
    to_f32(tensor, None, &mut values).map_err(|problem| match problem {
        Problem::Io(error) => error,
        Problem::NotFinite { index, value } => invalid(format!("a part of it holds {value} at place {index}")),
        Problem::Unsupported => invalid(format!("a part of it is stored as {}", tensor.dtype.name())),
    })?;
    Ok(values)
}

/// Numbers as the bytes of an `f32` tensor.
pub(super) fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The tensor's floating-point numbers as they are, also those that are not finite.
pub(super) fn read_all(tensor: &Tensor) -> Result<Vec<f32>, Problem> {
    if matches!(tensor.dtype, Dtype::I8 | Dtype::Other { .. }) {
        return Err(Problem::Unsupported);
    }
    let bytes = tensor.bytes.ready().map_err(Problem::Io)?;
    let mut numbers = Vec::new();
    numbers.try_reserve_exact(tensor.len()).map_err(|error| Problem::Io(io::Error::other(error)))?;
    numbers.resize(tensor.len(), 0.0);
    numbers
        .par_chunks_mut(CHUNK)
        .enumerate()
        .try_for_each(|(chunk_index, chunk)| fill(tensor.dtype, &bytes, chunk_index * CHUNK, chunk))?;
    Ok(numbers)
}

/// The numbers from `start` on, as stored.
fn fill(dtype: Dtype, bytes: &Bytes, start: usize, chunk: &mut [f32]) -> Result<(), Problem> {
    let size = dtype.bits() / 8;
    match dtype {
        Dtype::F32 => {
            bytes.read(start * size, bytemuck::cast_slice_mut(chunk)).map_err(Problem::Io)?;
            if cfg!(target_endian = "big") {
                chunk.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
            }
            return Ok(());
        }
        Dtype::Other { .. } => return Err(Problem::Unsupported),
        _ => {}
    }
    let mut raw = vec![0_u8; chunk.len() * size]; // [chunk, size]
    bytes.read(start * size, &mut raw).map_err(Problem::Io)?;
    match dtype {
        Dtype::F16 => {
            let bits: Vec<half::f16> = raw.as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b)).collect();
            bits.convert_to_f32_slice(chunk);
        }
        Dtype::BF16 => {
            for (value, b) in chunk.iter_mut().zip(raw.as_chunks::<2>().0) {
                *value = f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            }
        }
        Dtype::F64 => {
            for (value, b) in chunk.iter_mut().zip(raw.as_chunks::<8>().0) {
                *value = f64::from_le_bytes(*b) as f32;
            }
        }
        _ => {
            for (value, b) in chunk.iter_mut().zip(&raw) {
                *value = f32::from(*b as i8);
            }
        }
    }
    Ok(())
}

/// Multiplies each number by its row's scale; `start` is the place of the chunk's first number.
fn scale_rows(scales: &[f32], row_len: usize, start: usize, chunk: &mut [f32]) {
    let row_len = row_len.max(1);
    let mut place = start;
    let mut rest = chunk;
    while !rest.is_empty() {
        let row = place / row_len;
        let n = (row_len - place % row_len).min(rest.len());
        let (now, later) = rest.split_at_mut(n);
        now.iter_mut().for_each(|value| *value *= scales[row]);
        place += n;
        rest = later;
    }
}
