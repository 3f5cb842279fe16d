//! Slices out of candle's tensors, tensors out of vectors, and where the gradients of parameters are summed.

use std::sync::{Arc, Mutex};

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

/// Where gradients of parameters are summed, over the uses of a parameter and over batches: one slot per variable.
///
/// An operation adds to its slot itself and gives candle no gradient of its parameters: candle would hold a full one per use
/// and per batch, which for the embedding is most of the memory traffic of a step.
#[derive(Debug)]
pub struct Accumulator {
    slots: Vec<Slot>,
}

/// The sum of one variable's gradients.
pub(super) type Slot = Arc<Mutex<Vec<f32>>>;

impl Accumulator {
    /// Zeros for variables of these lengths.
    pub fn new(lengths: impl IntoIterator<Item = usize>) -> Accumulator {
        Accumulator { slots: lengths.into_iter().map(|length| Arc::new(Mutex::new(vec![0.0; length]))).collect() }
    }

    /// The slot of a variable.
    pub(super) fn slot(&self, variable: usize) -> Slot {
        Arc::clone(&self.slots[variable])
    }

    /// The sums, one vector per variable; nothing stays behind.
    ///
    /// # Errors
    /// When a thread of the same pass failed.
    pub fn take(&self) -> Result<Vec<Vec<f32>>> {
        self.slots.iter().map(|slot| with_sum(Some(slot), std::mem::take)).collect()
    }
}

/// Calls `add` with a slot's sum.
///
/// # Errors
/// When the pass was started without slots, or a thread of it failed.
pub(super) fn with_sum<T>(slot: Option<&Slot>, add: impl FnOnce(&mut Vec<f32>) -> T) -> Result<T> {
    let Some(slot) = slot else { bail!("the pass was started without a place for gradients") };
    match slot.lock() {
        Ok(mut sum) => Ok(add(&mut sum)),
        Err(_) => bail!("a thread of the same pass failed"),
    }
}

/// Takes what the forward pass left for the backward pass.
pub(super) fn take<T>(saved: &Mutex<Option<T>>) -> Result<T> {
    match saved.lock().ok().and_then(|mut saved| saved.take()) {
        Some(saved) => Ok(saved),
        None => bail!("the backward pass ran twice, or before the forward pass"),
    }
}

/// Leaves `value` for the backward pass.
pub(super) fn put<T>(saved: &Mutex<Option<T>>, value: T) -> Result<()> {
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
