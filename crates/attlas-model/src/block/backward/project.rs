//! Back through the projections of an attention layer: from head-major queries, keys and values to hidden states.

use std::ops::Range;

use attlas_kernels::{Onto, vectorised};
use rayon::prelude::*;

use super::Rules;
use crate::block::linear::Linear;
use crate::block::norm::NormWeights;
use crate::block::project::finish_rows;
use crate::block::rope::Turns;
use crate::block::state::AttentionCall;
use crate::block::weights::{AttentionWeights, Projections};
use crate::config::{Activation, Attention, QkScope};

/// The projections of a layer, walked in reverse.
#[derive(Clone, Copy)]
pub(super) struct ProjectingBack<'a> {
    pub config: &'a Attention,
    pub weights: &'a AttentionWeights,
    pub turns: Option<&'a Turns>,
    pub rules: Rules,
    pub call: AttentionCall<'a>,
}

/// Gradients of queries, keys and values, head-major: shapes `[n_items, n_heads or n_kv_heads, n, d_head or d_value]`.
pub(super) struct HeadGradients {
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// Heads that come from columns of a projection.
struct Part<'a> {
    /// Shape `[n_items, n_heads, n, width]`.
    gradient: &'a [f32],
    start: usize,
    n_heads: usize,
    /// Of a head.
    width: usize,
    norm: Option<&'a NormWeights>,
    turns: Option<&'a Turns>,
    /// Which of the two norms it is.
    side: Side,
}

/// What a norm on heads is of.
#[derive(Clone, Copy)]
enum Side {
    Queries,
    Keys,
    Values,
}

/// Sums of the gradients of norms on queries and keys.
type NormSums<'a> = [Option<&'a mut NormWeights>; 2];

impl ProjectingBack<'_> {
    /// The gradient of the hidden states that are read, and of the other stack's where keys and values come from it.
    /// Adds those of parameters to `sums`. Shapes of `input` and `source`: `[n_items · n, d_model]`.
    pub fn go_back(
        self,
        gradients: &HeadGradients,
        input: &[f32],
        source: Option<&[f32]>,
        sums: Option<&mut AttentionWeights>,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let ProjectingBack { config, weights, turns, .. } = self;
        let (q, k, n_heads, n_kv_heads) = (config.query_width(), config.key_width(), config.n_heads, config.n_kv_heads);
        let width = config.d_head;
        let queries = |turns| {
            let norm = weights.query_norm.as_ref();
            Part { gradient: &gradients.queries, start: 0, n_heads, width, norm, turns, side: Side::Queries }
        };
        let keys = |start, turns| {
            let norm = weights.key_norm.as_ref();
            Part { gradient: &gradients.keys, start, n_heads: n_kv_heads, width, norm, turns, side: Side::Keys }
        };
        let values = |start| Part {
            gradient: &gradients.values,
            start,
            n_heads: n_kv_heads,
            width: config.d_value,
            norm: None,
            turns: None,
            side: Side::Values,
        };
        let (mut of_joint, mut of_query, mut of_key_value, mut of_latent, mut of_norms) =
            (None, None, None, None, [None, None]);
        if let Some(AttentionWeights { projections, query_norm, key_norm, .. }) = sums {
            of_norms = [query_norm.as_mut(), key_norm.as_mut()];
            match projections {
                Projections::Joint(linear) => of_joint = Some(linear),
                Projections::Apart { query, key_value } => {
                    (of_query, of_key_value) = (Some(query), Some(key_value));
                }
                Projections::Latent(latent) => of_latent = Some(&mut **latent),
            }
        }
        match &weights.projections {
            Projections::Joint(linear) => {
                let parts = [queries(turns), keys(q, turns), values(q + k)];
                (self.linear_back(linear, &parts, input, config.finishes_rows(), of_joint, &mut of_norms), None)
            }
            Projections::Latent(latent) => {
                let parts = [queries(turns), keys(q, turns), values(q + k)];
                let sizes = [input.len() / latent.key_value.down.d_in, config.joint_width()];
                let d_rows = self.side_by_side(sizes, &parts, None, &mut of_norms);
                (latent.go_back(self.rules, config, input, &d_rows, of_latent), None)
            }
            Projections::Apart { query, key_value } => {
                let of_source = [keys(0, None), values(k)];
                let d_source = source
                    .map(|source| self.linear_back(key_value, &of_source, source, false, of_key_value, &mut of_norms));
                (self.linear_back(query, &[queries(None)], input, false, of_query, &mut of_norms), d_source)
            }
        }
    }

    fn linear_back(
        self,
        linear: &Linear,
        parts: &[Part<'_>],
        input: &[f32],
        finishes_rows: bool,
        sums: Option<&mut Linear>,
        norms: &mut NormSums<'_>,
    ) -> Vec<f32> {
        let ProjectingBack { config, .. } = self;
        let sizes @ [n_rows, width] = [input.len() / linear.d_in, linear.d_out];
        // 1. what norms and cuts have read
        let has_norm = config.qk_norm.is_some() && parts.iter().any(|part| part.norm.is_some());
        let mut projected = vec![0.0; if has_norm || finishes_rows { n_rows * width } else { 0 }]; // [n_rows, width]
        if !projected.is_empty() {
            linear.forward(input, &mut projected, Activation::Identity);
        }
        // 2. heads side by side
        let d_projected = self.side_by_side(sizes, parts, Some((&projected, finishes_rows)), norms);
        // 3. the matrix
        if let Some(sums) = sums {
            sums.add_gradients(input, &d_projected);
        }
        let mut d_input = vec![0.0; input.len()]; // [n_rows, d_in]
        linear.go_back(&d_projected, &mut d_input, Onto::Replace);
        d_input
    }

    /// The gradient of rows in which heads stand side by side; `projected` are those rows as norms and cuts read them, empty where
    /// there are none, and whether something is done to a whole row. Shapes `[n_rows, width]`.
    fn side_by_side(
        self,
        [n_rows, width]: [usize; 2],
        parts: &[Part<'_>],
        projected: Option<(&[f32], bool)>,
        norms: &mut NormSums<'_>,
    ) -> Vec<f32> {
        let ProjectingBack { config, weights, call, .. } = self;
        let (projected, finishes_rows) = projected.unwrap_or_default();
        let mut finished = Vec::new(); // [n_rows, width]
        if finishes_rows {
            finished = projected.to_vec();
            finish_rows(config, weights, &mut finished, width);
        }
        let read = if finishes_rows { &finished } else { projected };
        let n = n_rows / call.n_items;
        let mut d_projected = vec![0.0; n_rows * width]; // [n_rows, width]
        let row_back = |row: usize, d_row: &mut [f32], norms: &mut NormSums<'_>| {
            let read = read.get(row * width..(row + 1) * width).unwrap_or_default();
            vectorised(
                #[inline(always)]
                || {
                    for part in parts {
                        self.heads_back(part, [row / n, row % n], n, read, d_row, norms);
                    }
                },
            );
            if finishes_rows {
                self.row_back(&projected[row * width..][..width], read, d_row, norms);
            }
        };
        if norms.iter().any(Option::is_some) {
            d_projected.chunks_exact_mut(width).enumerate().for_each(|(row, d_row)| row_back(row, d_row, norms));
        } else {
            let rows = d_projected.par_chunks_exact_mut(width).enumerate();
            rows.for_each(|(row, d_row)| row_back(row, d_row, &mut [None, None]));
        }
        d_projected
    }

    /// The columns of one part, at one token. Shapes of `read` and `d_row`: `[width]`.
    #[inline(always)]
    fn heads_back(
        self,
        part: &Part<'_>,
        [item, step]: [usize; 2],
        n: usize,
        read: &[f32],
        d_row: &mut [f32],
        norms: &mut NormSums<'_>,
    ) {
        let d_head = part.width;
        for head in 0..part.n_heads {
            let columns = part.start + head * d_head..part.start + (head + 1) * d_head;
            let d = &mut d_row[columns.clone()];
            d.copy_from_slice(&part.gradient[((item * part.n_heads + head) * n + step) * d_head..][..d_head]);
            let turns = part.turns.map(|turns| (turns, self.call.position(step)));
            // 1. the norm, where it comes last
            if let Some(norm) = part.norm.filter(|_| self.config.is_normed_turned()) {
                let mut turned = read[columns.clone()].to_vec(); // [d_head]
                if let Some((turns, place)) = turns {
                    turns.apply(item, place, &mut turned);
                }
                self.norm_back(norm, part.side, 0..d_head, &turned, d, norms);
            }
            // 2. the turn
            if let Some((turns, place)) = turns {
                turns.go_back(item, place, d);
            }
            // 3. the norm, where it comes first
            let (Some(norm), Some(qk)) = (part.norm, self.config.qk_norm) else { continue };
            let own = match qk.scope {
                QkScope::All | QkScope::Turned => continue,
                QkScope::OwnHead => head * d_head..(head + 1) * d_head,
                QkScope::Head => 0..d_head,
            };
            self.norm_back(norm, part.side, own, &read[columns], d, norms);
        }
    }

    /// A norm of one head, whose weights are some of those stored. Shapes of `read` and `d`: `[d_head]`.
    #[inline(always)]
    fn norm_back(
        self,
        norm: &NormWeights,
        side: Side,
        own: Range<usize>,
        read: &[f32],
        d: &mut [f32],
        norms: &mut NormSums<'_>,
    ) {
        if let (Some(sums), true) = (&mut norms[side as usize], norm.norm.kind.has_weight()) {
            sums.add_gradients(own.clone(), read, d);
        }
        let weight = if norm.weight.is_empty() { &[] } else { &norm.weight[own] };
        norm.row_back(self.rules, weight, read, d);
    }

    /// What is done to a whole row, backwards: a cut lets through what it left as it was. Shapes `[width]`.
    fn row_back(self, projected: &[f32], finished: &[f32], d_row: &mut [f32], norms: &mut NormSums<'_>) {
        let ProjectingBack { config, weights, rules, .. } = self;
        if let Some(clip) = config.clip {
            let cut = d_row.iter_mut().zip(finished).filter(|(_, x)| x.abs() >= clip);
            cut.for_each(|(d, _)| *d = 0.0);
        }
        let is_all = config.qk_norm.is_some_and(|qk| qk.scope == QkScope::All);
        if let (Some(query), Some(key), true) = (&weights.query_norm, &weights.key_norm, is_all) {
            let (q, k) = (config.query_width(), config.key_width());
            if let [Some(of_query), Some(of_key)] = norms {
                of_query.add_gradients(0..q, &projected[..q], &d_row[..q]);
                of_key.add_gradients(0..k, &projected[q..q + k], &d_row[q..q + k]);
            }
            query.row_back(rules, &query.weight, &projected[..q], &mut d_row[..q]);
            key.row_back(rules, &key.weight, &projected[q..q + k], &mut d_row[q..q + k]);
        }
    }
}
