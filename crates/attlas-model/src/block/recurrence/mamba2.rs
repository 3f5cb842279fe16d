//! Mamba-2 (Dao & Gu 2024): heads whose states decay as one, the gate before a norm.

use std::sync::Arc;

use rayon::prelude::*;

use super::{Read, by_head, gate, softplus};
use crate::block::norm::NormWeights;
use crate::config::{Mamba2, Recurrence};

/// The weights of [`Mamba2`].
#[derive(Debug, Clone)]
pub struct Mamba2Weights {
    /// Its sizes.
    pub config: Mamba2,
    /// Added to steps before the softplus. Shape `[n_heads]`.
    pub step_bias: Arc<Vec<f32>>,
    /// `A`, below 0. Shape `[n_heads]`.
    pub decay: Vec<f32>,
    /// `D`. Shape `[n_heads]`.
    pub skip: Arc<Vec<f32>>,
    /// On the gated output, each group by itself. Shape `[width]`.
    pub norm: NormWeights,
}

impl Mamba2Weights {
    /// What the states give, gated and normalised. Shapes `[n_items · n, width]` and of `state`
    /// `[n_items, n_heads, d_head, n_states]`.
    pub(super) fn run(&self, sizes: &Recurrence, read: Read<'_>, state: &mut [f32]) -> Vec<f32> {
        let Mamba2 { n_heads, d_head, n_groups, n_states, steps: [least, most], .. } = self.config;
        let (width, convolved, projected) = (sizes.width(), sizes.convolved(), sizes.projected());
        // 1. each head's state, token by token
        let head = |item: usize, head: usize, state: &mut [f32]| -> Vec<f32> {
            let group = head / (n_heads / n_groups);
            let mut output = Vec::with_capacity(read.n * d_head); // [n, d_head]
            for row in item * read.n..(item + 1) * read.n {
                let step = read.projected[row * projected + convolved + width + head] + self.step_bias[head];
                let step = softplus(step).clamp(least, most);
                let decay = (step * self.decay[head]).exp();
                let columns = &read.convolved[row * convolved..][..convolved];
                let b = &columns[width + group * n_states..][..n_states];
                let c = &columns[width + (n_groups + group) * n_states..][..n_states];
                for (x, state) in columns[head * d_head..][..d_head].iter().zip(state.chunks_exact_mut(n_states)) {
                    let mut sum = 0.0;
                    for ((h, b), c) in state.iter_mut().zip(b).zip(c) {
                        *h = decay * *h + step * x * b;
                        sum += *h * c;
                    }
                    output.push(sum + self.skip[head] * x);
                }
            }
            output
        };
        let mut rows = by_head([read.n, n_heads, d_head], state, d_head * n_states, head);
        // 2. the gate, then the norm
        gate(&mut rows, width, read.projected, projected, convolved);
        let of_group = width / n_groups;
        rows.par_chunks_exact_mut(width).for_each(|row| {
            for (group, weight) in row.chunks_exact_mut(of_group).zip(self.norm.weight.chunks_exact(of_group)) {
                self.norm.normalise_with(group, weight, &[]);
            }
        });
        rows
    }
}
