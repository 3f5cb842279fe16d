//! Slices out of candle's tensors, and tensors out of vectors.

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

/// The values of a contiguous f32 tensor on the processor.
pub(super) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("training works on contiguous f32 tensors"),
    }
}

/// Calls `read` with the values of `tensor`.
///
/// # Errors
/// When the tensor is not a contiguous f32 tensor on the processor.
pub fn with_slice<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(slice(storage, layout)?)),
        _ => bail!("training works on the processor"),
    }
}

/// A tensor that owns `values`.
pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Takes what the forward pass left for the backward pass.
pub(super) fn take<T>(saved: &std::sync::Mutex<Option<T>>) -> Result<T> {
    match saved.lock().ok().and_then(|mut saved| saved.take()) {
        Some(saved) => Ok(saved),
        None => bail!("the backward pass ran twice, or before the forward pass"),
    }
}

/// Leaves `value` for the backward pass.
pub(super) fn put<T>(saved: &std::sync::Mutex<Option<T>>, value: T) -> Result<()> {
    match saved.lock() {
        Ok(mut saved) => {
            *saved = Some(value);
            Ok(())
        }
        Err(_) => bail!("a thread of the same pass failed"),
    }
}

/// Cuts a flat group of parameters into its tensors.
pub(super) fn split<const N: usize>(mut all: &[f32], sizes: [usize; N]) -> [&[f32]; N] {
    sizes.map(|size| {
        let (part, rest) = all.split_at(size);
        all = rest;
        part
    })
}

/// As [`split`], to be written to.
pub(super) fn split_mut<const N: usize>(all: &mut [f32], sizes: [usize; N]) -> [&mut [f32]; N] {
    let mut rest = all;
    sizes.map(|size| {
        let (part, after) = std::mem::take(&mut rest).split_at_mut(size);
        rest = after;
        part
    })
}
