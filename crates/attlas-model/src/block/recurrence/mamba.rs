//! Mamba (Gu & Dao 2023), with Jamba's norms on what its steps, `B` and `C` are made of (Lieber et al. 2024).

use std::sync::Arc;

use super::{Read, by_head, gate, softplus};
use crate::block::linear::Linear;
use crate::block::norm::NormWeights;
use crate::config::{Activation, Mamba};

/// The weights of [`Mamba`].
#[derive(Debug, Clone)]
pub struct MambaWeights {
    /// Its sizes.
    pub config: Mamba,
    /// From the columns to what steps are made of, `B` and `C`. Shape `[d_step + 2 · n_states, width]`.
    pub narrow: Linear,
    /// On what steps are made of, on `B` and on `C`.
    pub norms: [NormWeights; 3],
    /// Steps before the softplus. Shape `[width, d_step]`.
    pub steps: Linear,
    /// `A`, below 0. Shape `[width, n_states]`.
    pub decay: Vec<f32>,
    /// `D`. Shape `[width]`.
    pub skip: Arc<Vec<f32>>,
}

impl MambaWeights {
    /// What the states give, gated. Shapes `[n_items · n, width]` and of `state` `[n_items, width, n_states]`.
    pub(super) fn run(&self, read: Read<'_>, state: &mut [f32]) -> Vec<f32> {
        let Mamba { width, n_states, d_step, .. } = self.config;
        let n_rows = read.convolved.len() / width;
        // 1. steps, B and C of each token
        let mut narrow = vec![0.0; n_rows * self.narrow.d_out]; // [n_items · n, d_step + 2 · n_states]
        self.narrow.forward(read.convolved, &mut narrow, Activation::Identity);
        let mut before = Vec::with_capacity(n_rows * d_step); // [n_items · n, d_step]
        for row in narrow.chunks_exact_mut(d_step + 2 * n_states) {
            let (step, rest) = row.split_at_mut(d_step);
            let (b, c) = rest.split_at_mut(n_states);
            self.norms.iter().zip([&mut *step, b, c]).for_each(|(norm, part)| norm.normalise(part));
            before.extend_from_slice(step);
        }
        let mut steps = vec![0.0; n_rows * width]; // [n_items · n, width]
        self.steps.forward(&before, &mut steps, Activation::Identity);
        // 2. each column's state, token by token
        let column = |item: usize, column: usize, state: &mut [f32]| -> Vec<f32> {
            let decay = &self.decay[column * n_states..][..n_states];
            let token = |row: usize| {
                let (x, step) = (read.convolved[row * width + column], softplus(steps[row * width + column]));
                let (b, c) = narrow[row * self.narrow.d_out + d_step..][..2 * n_states].split_at(n_states);
                let mut sum = 0.0;
                for (((h, decay), b), c) in state.iter_mut().zip(decay).zip(b).zip(c) {
                    *h = (step * decay).exp() * *h + step * b * x;
                    sum += *h * c;
                }
                sum + self.skip[column] * x
            };
            (item * read.n..(item + 1) * read.n).map(token).collect()
        };
        let mut rows = by_head([read.n, width, 1], state, n_states, column);
        // 3. the gate
        gate(&mut rows, width, read.projected, 2 * width, width);
        rows
    }
}
