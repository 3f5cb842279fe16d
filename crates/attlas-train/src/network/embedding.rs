//! Token embeddings times √d_model plus sinusoidal positions (Vaswani et al. 2017, §3.4 and §3.5).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::storage::{Slot, slice, with_slice, with_sum};
use crate::kernels::dropout::Dropout;

/// `dropout(√d_model · weight[id] + position)` for packed sentences. Shape `[n, d_model]`.
///
/// # Errors
/// The tensor library's.
pub fn embed(
    (weight, slot): (&Tensor, Option<Slot>),
    ids: &[u32],
    offsets: &[usize],
    d_model: usize,
    dropout: Dropout,
) -> Result<Tensor> {
    weight.apply_op1(Embed { ids: ids.to_vec(), offsets: offsets.to_vec(), d_model, dropout, slot })
}

struct Embed {
    ids: Vec<u32>,
    offsets: Vec<usize>,
    d_model: usize,
    dropout: Dropout,
    slot: Option<Slot>,
}

/// `sin` and `cos` of `position / 10000^(2i / d_model)`, alternating. Shape `[d_model]`.
pub fn position_row(position: usize, d_model: usize) -> Vec<f32> {
    (0..d_model)
        .map(|column| {
            let exponent = (column / 2 * 2) as f64 / d_model as f64;
            let angle = position as f64 / 10_000f64.powf(exponent);
            if column % 2 == 0 { angle.sin() as f32 } else { angle.cos() as f32 }
        })
        .collect()
}

impl CustomOp1 for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let weight = slice(storage, layout)?;
        let d_model = self.d_model;
        let scale = (d_model as f32).sqrt();
        let longest = self.offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        let positions: Vec<Vec<f32>> = (0..longest).map(|position| position_row(position, d_model)).collect();
        let mut output = Vec::with_capacity(self.ids.len() * d_model); // [n, d_model]
        for sentence in self.offsets.windows(2) {
            for (id, position) in self.ids[sentence[0]..sentence[1]].iter().zip(&positions) {
                let row = &weight[*id as usize * d_model..][..d_model];
                output.extend(row.iter().zip(position).map(|(w, p)| scale * w + p));
            }
        }
        self.dropout.apply(&mut output);
        Ok((CpuStorage::F32(output), Shape::from((self.ids.len(), d_model))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let d_model = self.d_model;
        let scale = (d_model as f32).sqrt();
        let mut output_gradient = with_slice(gradient, <[f32]>::to_vec)?; // [n, d_model]
        self.dropout.apply(&mut output_gradient);
        with_sum(self.slot.as_ref(), |weight_gradient| {
            for (id, row) in self.ids.iter().zip(output_gradient.chunks_exact(d_model)) {
                let slot = &mut weight_gradient[*id as usize * d_model..][..d_model];
                for (slot, value) in slot.iter_mut().zip(row) {
                    *slot += scale * value;
                }
            }
        })?;
        Ok(None)
    }
}
