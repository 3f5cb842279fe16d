//! The feed-forward sublayer: `LayerNorm(x + dropout(W₂ dropout(relu(W₁ x + b₁)) + b₂))`.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::storage::{Slot, put, slice, take, tensor, with_slice, with_sum};
use crate::kernels::dropout::Dropout;
use crate::kernels::{linear, norm};

/// Its output, for packed tokens `x`. Shape `[n, d_model]`.
///
/// # Errors
/// The tensor library's.
pub fn feed_forward(
    x: &Tensor,
    (parameters, slot): (&Tensor, Option<Slot>),
    d_ff: usize,
    dropout: Dropout,
) -> Result<Tensor> {
    let d_model = x.dim(1)?;
    x.apply_op2(parameters, FeedForward { d_model, d_ff, dropout, slot, saved: Mutex::new(None) })
}

struct FeedForward {
    d_model: usize,
    d_ff: usize,
    dropout: Dropout,
    slot: Option<Slot>,
    saved: Mutex<Option<Saved>>,
}

struct Saved {
    /// After ReLU and dropout. Shape `[n, d_ff]`.
    hidden: Vec<f32>,
    norm: norm::Saved,
}

/// The six parameters inside their flat vector.
struct Parameters<T> {
    weight_1: T,
    bias_1: T,
    weight_2: T,
    bias_2: T,
    norm_weight: T,
    norm_bias: T,
}

impl FeedForward {
    /// How long each parameter is.
    fn sizes(&self) -> [usize; 6] {
        let (d, f) = (self.d_model, self.d_ff);
        [f * d, f, d * f, d, d, d]
    }

    fn split<'a>(&self, all: &'a [f32]) -> Parameters<&'a [f32]> {
        let [a, b, c, d, e, f] = super::storage::split(all, self.sizes());
        Parameters { weight_1: a, bias_1: b, weight_2: c, bias_2: d, norm_weight: e, norm_bias: f }
    }

    fn split_mut<'a>(&self, all: &'a mut [f32]) -> Parameters<&'a mut [f32]> {
        let [a, b, c, d, e, f] = super::storage::split_mut(all, self.sizes());
        Parameters { weight_1: a, bias_1: b, weight_2: c, bias_2: d, norm_weight: e, norm_bias: f }
    }

    /// The gradient of the input; adds those of the parameters to `all`.
    fn gradients(&self, x: &[f32], parameters: &[f32], dy: &[f32], saved: &Saved, all: &mut [f32]) -> Vec<f32> {
        let weights = self.split(parameters);
        let gradients = self.split_mut(all);
        let mut dx = norm::backward(dy, &saved.norm, weights.norm_weight, gradients.norm_weight, gradients.norm_bias);
        let mut d_output = dx.clone(); // [n, d_model]
        self.dropout.at(1).apply(&mut d_output);
        linear::add_parameter_gradients(&d_output, &saved.hidden, gradients.weight_2, gradients.bias_2);
        let mut d_hidden = linear::input_gradient(&d_output, weights.weight_2, self.d_model); // [n, d_ff]
        self.dropout.at(0).apply(&mut d_hidden);
        for (gradient, hidden) in d_hidden.iter_mut().zip(&saved.hidden) {
            *gradient = if *hidden > 0.0 { *gradient } else { 0.0 };
        }
        linear::add_parameter_gradients(&d_hidden, x, gradients.weight_1, gradients.bias_1);
        let through = linear::input_gradient(&d_hidden, weights.weight_1, self.d_ff);
        for (sum, value) in dx.iter_mut().zip(through) {
            *sum += value;
        }
        dx
    }
}

impl CustomOp2 for FeedForward {
    fn name(&self) -> &'static str {
        "feed-forward"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(s1, l1)?;
        let weights = self.split(slice(s2, l2)?);
        let mut hidden = linear::forward(x, weights.weight_1, weights.bias_1); // [n, d_ff]
        for value in hidden.iter_mut() {
            *value = value.max(0.0);
        }
        self.dropout.at(0).apply(&mut hidden);
        let mut output = linear::forward(&hidden, weights.weight_2, weights.bias_2); // [n, d_model]
        self.dropout.at(1).apply(&mut output);
        let (output, norm) = norm::forward(x, output, weights.norm_weight, weights.norm_bias);
        put(&self.saved, Saved { hidden, norm })?;
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let saved = take(&self.saved)?;
        let dx = with_sum(self.slot.as_ref(), |all| {
            with_slice(x, |x| {
                with_slice(parameters, |parameters| {
                    with_slice(gradient, |dy| self.gradients(x, parameters, dy, &saved, all))
                })
            })
        })????;
        Ok((Some(tensor(dx, x.shape())?), None))
    }
}
