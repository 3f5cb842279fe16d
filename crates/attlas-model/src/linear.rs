//! A dense layer: `y = x · Wᵀ + b`.

use std::sync::Arc;

use rayon::prelude::*;

use crate::config::Activation;
use crate::matmul::{Onto, View, multiply};

/// A dense layer's weights.
#[derive(Debug, Clone)]
pub struct Linear {
    /// Shape `[d_out, d_in]`.
    pub weight: Arc<Vec<f32>>,
    /// Shape `[d_out]`.
    pub bias: Option<Arc<Vec<f32>>>,
    /// Width of the input.
    pub d_in: usize,
    /// Width of the output.
    pub d_out: usize,
}

/// Numbers that one task treats at a time after a product.
const BLOCK: usize = 1 << 14;

impl Linear {
    /// `output = x · Wᵀ + b`, then the non-linearity. Shapes `[n, d_in]` and `[n, d_out]`.
    pub fn forward(&self, input: &[f32], output: &mut [f32], activation: Activation) {
        self.product(input, output, Onto::Replace);
        if self.bias.is_none() && activation == Activation::Identity {
            return;
        }
        let rows = (BLOCK / self.d_out.max(1)).max(1);
        output.par_chunks_mut(rows * self.d_out).for_each(|block| {
            self.add_bias(block);
            activation.apply(block);
        });
    }

    /// `output += x · Wᵀ + b`. Shapes `[n, d_in]` and `[n, d_out]`.
    pub fn forward_add(&self, input: &[f32], output: &mut [f32]) {
        self.product(input, output, Onto::Add);
        self.add_bias(output);
    }

    /// `output = x · Wᵀ` without the bias, or added to it.
    pub(crate) fn product(&self, input: &[f32], output: &mut [f32], onto: Onto) {
        let n = input.len() / self.d_in.max(1);
        let left = View::rows(input, self.d_in);
        let right = View::rows(&self.weight, self.d_in).transposed();
        multiply([n, self.d_in, self.d_out], left, right, output, onto);
    }

    fn add_bias(&self, rows: &mut [f32]) {
        if let Some(bias) = &self.bias {
            for row in rows.chunks_mut(self.d_out) {
                row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
            }
        }
    }
}
