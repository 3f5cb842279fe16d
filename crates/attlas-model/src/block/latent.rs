//! Queries, keys and values through narrower states (multi-head latent attention, DeepSeek-AI 2024, §2.1).
//!
//! Heads are made as wide as they score: each head's keys are its own columns, then those that all heads share. So scores,
//! recordings and maps need not know where keys come from.

use rayon::prelude::*;

use super::weights::{LatentProjections, Narrowed, QueryProjection};
use crate::config::{Activation, Attention};

impl LatentProjections {
    /// Queries, keys and values of all heads side by side. Shapes `[n, d_model]` and `[n, joint_width]`.
    pub(super) fn forward(&self, config: &Attention, input: &[f32], rows: &mut [f32]) {
        let n = rows.len() / config.joint_width();
        let queries = match &self.query {
            QueryProjection::Plain(linear) => {
                let mut queries = vec![0.0; n * linear.d_out]; // [n, n_heads · d_head]
                linear.forward(input, &mut queries, Activation::Identity);
                queries
            }
            QueryProjection::Narrowed(narrowed) => narrowed.forward(input).1,
        };
        let (narrow, keys_and_values) = self.key_value.forward(input);
        let width = self.key_value.width();
        rows.par_chunks_exact_mut(config.joint_width())
            .zip(queries.par_chunks_exact(config.query_width()))
            .zip(narrow.par_chunks_exact(self.key_value.down.d_out))
            .zip(keys_and_values.par_chunks_exact(self.key_value.up.d_out))
            .for_each(|(((row, queries), narrow), keys_and_values)| {
                let (query_row, rest) = row.split_at_mut(config.query_width());
                let (key_row, value_row) = rest.split_at_mut(config.key_width());
                let (own, values) = keys_and_values.split_at(keys_and_values.len() - value_row.len());
                let shared = &narrow[width..];
                query_row.copy_from_slice(queries);
                value_row.copy_from_slice(values);
                let n_own = config.d_head - shared.len();
                for (head, key) in key_row.chunks_exact_mut(config.d_head).enumerate() {
                    key[..n_own].copy_from_slice(&own[head * n_own..][..n_own]);
                    key[n_own..].copy_from_slice(shared);
                }
            });
    }
}

impl Narrowed {
    /// Width of the narrower state.
    pub(super) fn width(&self) -> usize {
        self.up.d_in
    }

    /// The narrower state before its norm with what passes by, and what comes out. Shapes `[n, d_model]`,
    /// `[n, width + n_passing]` and `[n, d_out]`.
    pub(super) fn forward(&self, input: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let n = input.len() / self.down.d_in;
        let mut narrow = vec![0.0; n * self.down.d_out]; // [n, width + n_passing]
        self.down.forward(input, &mut narrow, Activation::Identity);
        let mut normed = self.before_norm(&narrow);
        self.norm.apply(&mut normed, self.width());
        let mut output = vec![0.0; n * self.up.d_out]; // [n, d_out]
        self.up.forward(&normed, &mut output, Activation::Identity);
        (narrow, output)
    }

    /// The columns of the narrower state that the norm reads. Shapes `[n, width + n_passing]` and `[n, width]`.
    pub(super) fn before_norm(&self, narrow: &[f32]) -> Vec<f32> {
        narrow.chunks_exact(self.down.d_out).flat_map(|row| &row[..self.width()]).copied().collect()
    }
}
