//! The output projection and the loss, fused (see [`crate::kernels::softmax_cross_entropy`]).

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::Objective;
use super::storage::{put, slice, take, tensor, with_slice};
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
/// # Errors
/// The tensor library's.
pub fn loss(
    hidden: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    targets: &[u32],
    objective: Objective,
) -> std::result::Result<Loss, Error> {
    let sums = Arc::new(Mutex::new(None));
    let op = CrossEntropy { targets: targets.to_vec(), objective, sums: Arc::clone(&sums), saved: Mutex::new(None) };
    let tensor = hidden.apply_op3(weight, bias, op)?;
    Ok(Loss { tensor, sums: take(&sums)? })
}

struct CrossEntropy {
    targets: Vec<u32>,
    objective: Objective,
    sums: Arc<Mutex<Option<Sums>>>,
    saved: Mutex<Option<Gradients>>,
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
        let mut gradients = self.objective.scale.map(|_| Gradients {
            hidden: vec![0.0; hidden.len()], // [n, d_model]
            weight: vec![0.0; weight.len()], // [n_vocab, d_model]
            bias: vec![0.0; bias.len()],     // [n_vocab]
        });
        let sums = softmax_cross_entropy::forward(
            (hidden, weight, bias),
            &self.targets,
            self.objective.smoothing,
            gradients.as_mut(),
        );
        put(&self.sums, sums)?;
        if let Some(gradients) = gradients {
            put(&self.saved, gradients)?;
        }
        let scale = f64::from(self.objective.scale.unwrap_or(1.0));
        Ok((CpuStorage::F32(vec![(scale * sums.objective) as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        hidden: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let saved = take(&self.saved)?;
        let factor = with_slice(gradient, |values| values[0])? * self.objective.scale.unwrap_or(1.0);
        let scaled = |mut values: Vec<f32>| {
            values.iter_mut().for_each(|value| *value *= factor);
            values
        };
        Ok((
            Some(tensor(scaled(saved.hidden), hidden.shape())?),
            Some(tensor(scaled(saved.weight), weight.shape())?),
            Some(tensor(scaled(saved.bias), bias.shape())?),
        ))
    }
}
