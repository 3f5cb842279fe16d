//! The output projection and the loss, fused (see [`crate::kernels::softmax_cross_entropy`]).

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::Objective;
use super::storage::{Slot, put, slice, take, tensor, with_sum};
use crate::Error;
use crate::kernels::softmax_cross_entropy::{self, Gradients, Sums};

/// A batch's loss.
#[derive(Debug)]
pub struct Loss {
    /// `scale · Σ objective`: where the walk back begins. Shape `[]`.
    pub tensor: Tensor,
    /// The sums over target tokens.
    pub sums: Sums,
}

/// The loss of `hidden` (`[n, d_model]`) against `targets` (`[n]`).
///
/// The gradients of weight and bias are added to their slots on the way forward, where the logits are at hand: the walk
/// back begins at the loss itself, with a gradient of 1.
///
/// # Errors
/// The tensor library's.
pub fn loss(
    hidden: &Tensor,
    (weight, weight_slot): (&Tensor, Option<Slot>),
    (bias, bias_slot): (&Tensor, Option<Slot>),
    targets: &[u32],
    objective: Objective,
) -> std::result::Result<Loss, Error> {
    let sums = Arc::new(Mutex::new(None));
    let op = CrossEntropy {
        targets: targets.to_vec(),
        objective,
        weight_slot,
        bias_slot,
        sums: Arc::clone(&sums),
        saved: Mutex::new(None),
    };
    let tensor = hidden.apply_op3(weight, bias, op)?;
    Ok(Loss { tensor, sums: take(&sums)? })
}

struct CrossEntropy {
    targets: Vec<u32>,
    objective: Objective,
    weight_slot: Option<Slot>,
    bias_slot: Option<Slot>,
    sums: Arc<Mutex<Option<Sums>>>,
    /// The gradient of `hidden`. Shape `[n, d_model]`.
    saved: Mutex<Option<Vec<f32>>>,
}

impl CustomOp3 for CrossEntropy {
    fn name(&self) -> &'static str {
        "softmax–cross-entropy"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (hidden, weight, bias) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let (inputs, smoothing) = ((hidden, weight, bias), self.objective.smoothing);
        let sums = match self.objective.scale {
            None => softmax_cross_entropy::forward(inputs, &self.targets, smoothing, None),
            Some(scale) => {
                let mut d_hidden = vec![0.0; hidden.len()]; // [n, d_model]
                let sums = with_sum(self.weight_slot.as_ref(), |weight| {
                    with_sum(self.bias_slot.as_ref(), |bias| {
                        let gradients = Gradients { scale, hidden: &mut d_hidden, weight, bias };
                        softmax_cross_entropy::forward(inputs, &self.targets, smoothing, Some(gradients))
                    })
                })??;
                put(&self.saved, d_hidden)?;
                sums
            }
        };
        put(&self.sums, sums)?;
        let scale = f64::from(self.objective.scale.unwrap_or(1.0));
        Ok((CpuStorage::F32(vec![(scale * sums.objective) as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        Ok((Some(tensor(take(&self.saved)?, hidden.shape())?), None, None))
    }
}
