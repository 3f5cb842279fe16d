//! A dense layer: `y = x · Wᵀ + b`.

use std::sync::Arc;

use rayon::prelude::*;

use super::matmul::{Matrix, Onto, Threads, multiply};
use crate::config::Activation;

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
        self.product(input, output);
        if self.bias.is_none() && activation == Activation::Identity {
            return;
        }
        let rows = (BLOCK / self.d_out.max(1)).max(1);
        output.par_chunks_mut(rows * self.d_out).for_each(|block| {
            self.add_bias(block);
            activation.apply(block);
        });
    }

    /// `output = x · Wᵀ`, without the bias.
    pub(crate) fn product(&self, input: &[f32], output: &mut [f32]) {
        let left = Matrix::new(input, input.len() / self.d_in.max(1), self.d_in);
        let right = Matrix::new(&self.weight, self.d_out, self.d_in).transposed();
        multiply(left, right, Onto::Replace, Threads::All, output);
    }

    fn add_bias(&self, rows: &mut [f32]) {
        if let Some(bias) = &self.bias {
            for row in rows.chunks_mut(self.d_out) {
                row.iter_mut().zip(bias.iter()).for_each(|(y, b)| *y += b);
            }
        }
    }
}
