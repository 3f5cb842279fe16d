//! Back through projections by narrower states.

use attlas_kernels::Onto;

use super::Rules;
use crate::block::weights::{LatentProjections, Narrowed, QueryProjection};
use crate::config::Attention;

impl LatentProjections {
    /// The gradient of the hidden states, from that of queries, keys and values side by side. Adds those of parameters to `sums`.
    /// Shapes `[n, d_model]` and `[n, joint_width]`.
    pub(super) fn go_back(
        &self,
        rules: Rules,
        config: &Attention,
        input: &[f32],
        d_rows: &[f32],
        sums: Option<&mut LatentProjections>,
    ) -> Vec<f32> {
        let (of_query, of_key_value) = match sums {
            Some(sums) => (Some(&mut sums.query), Some(&mut sums.key_value)),
            None => (None, None),
        };
        // 1. columns of their own, and those that heads share
        let (q, k) = (config.query_width(), config.key_width());
        let n_shared = self.key_value.down.d_out - self.key_value.width();
        let n_own = config.d_head - n_shared;
        let n = d_rows.len() / config.joint_width();
        let mut d_queries = Vec::with_capacity(n * q); // [n, n_heads · d_head]
        let mut d_output = Vec::with_capacity(n * self.key_value.up.d_out); // [n, own columns of keys, then values]
        let mut d_shared = vec![0.0; n * n_shared]; // [n, n_shared]
        for (row, d_row) in d_rows.chunks_exact(config.joint_width()).enumerate() {
            d_queries.extend_from_slice(&d_row[..q]);
            for d_key in d_row[q..q + k].chunks_exact(config.d_head) {
                d_output.extend_from_slice(&d_key[..n_own]);
                super::add(&mut d_shared[row * n_shared..][..n_shared], &d_key[n_own..]);
            }
            d_output.extend_from_slice(&d_row[q + k..]);
        }
        // 2. the ways there
        let mut d_input = self.key_value.go_back(rules, input, [&d_output, &d_shared], of_key_value);
        match (&self.query, of_query) {
            (QueryProjection::Plain(linear), sums) => {
                if let Some(QueryProjection::Plain(sums)) = sums {
                    sums.add_gradients(input, &d_queries);
                }
                linear.go_back(&d_queries, &mut d_input, Onto::Add);
            }
            (QueryProjection::Narrowed(narrowed), sums) => {
                let sums = sums.and_then(|sums| match sums {
                    QueryProjection::Narrowed(sums) => Some(sums),
                    QueryProjection::Plain(_) => None,
                });
                super::add(&mut d_input, &narrowed.go_back(rules, input, [&d_queries, &[]], sums));
            }
        }
        d_input
    }

    pub(super) fn zeros(&self) -> LatentProjections {
        let query = match &self.query {
            QueryProjection::Plain(linear) => QueryProjection::Plain(linear.zeros()),
            QueryProjection::Narrowed(narrowed) => QueryProjection::Narrowed(narrowed.zeros()),
        };
        LatentProjections { query, key_value: self.key_value.zeros() }
    }
}

impl Narrowed {
    /// From the gradients of what comes out and of what passes by. Shapes `[n, d_out]` and `[n, n_passing]`.
    fn go_back(
        &self,
        rules: Rules,
        input: &[f32],
        [d_output, d_passing]: [&[f32]; 2],
        mut sums: Option<&mut Narrowed>,
    ) -> Vec<f32> {
        let width = self.width();
        let (narrow, _) = self.forward(input);
        let before = self.before_norm(&narrow);
        // 1. the second layer
        if let Some(sums) = &mut sums {
            let mut normed = before.clone();
            self.norm.apply(&mut normed, width);
            sums.up.add_gradients(&normed, d_output);
        }
        let mut d_normed = vec![0.0; before.len()]; // [n, width]
        self.up.go_back(d_output, &mut d_normed, Onto::Replace);
        // 2. the norm
        self.norm.go_back(rules, &before, &mut d_normed, width, sums.as_mut().map(|sums| &mut sums.norm));
        // 3. the first layer
        let n_passing = self.down.d_out - width;
        let mut d_narrow = Vec::with_capacity(narrow.len()); // [n, width + n_passing]
        for (row, d_normed) in d_normed.chunks_exact(width).enumerate() {
            d_narrow.extend_from_slice(d_normed);
            d_narrow.extend_from_slice(&d_passing[row * n_passing..][..n_passing]);
        }
        if let Some(sums) = sums {
            sums.down.add_gradients(input, &d_narrow);
        }
        let mut d_input = vec![0.0; input.len()]; // [n, d_model]
        self.down.go_back(&d_narrow, &mut d_input, Onto::Replace);
        d_input
    }

    fn zeros(&self) -> Narrowed {
        Narrowed { down: self.down.zeros(), norm: self.norm.zeros(), up: self.up.zeros() }
    }
}
