//! The feed-forward sublayer: position by position, gated or not, one or a mixture of experts.

use attlas_kernels::{Gate, Onto};
use rayon::prelude::*;

use super::linear::Linear;
use super::weights::{Expert, FeedForwardWeights};
use super::workspace::{Workspace, sized};
use crate::config::{Activation, FeedForward, Gating};

/// The feed-forward sublayer: `output = f(input)`, or added to it. Shapes `[n, d_model]`.
pub(crate) fn feed_forward(
    config: &FeedForward,
    weights: &FeedForwardWeights,
    input: &[f32],
    output: &mut [f32],
    onto: Onto,
    workspace: &mut Workspace,
) {
    match weights {
        FeedForwardWeights::Plain(expert) => expert_forward(config, expert, input, output, onto, workspace),
        FeedForwardWeights::Mixture { router, experts } => {
            if onto == Onto::Replace {
                output.fill(0.0);
            }
            mixture(config, experts, router, input, output, workspace);
        }
    }
}

fn expert_forward(
    config: &FeedForward,
    expert: &Expert,
    input: &[f32],
    output: &mut [f32],
    onto: Onto,
    workspace: &mut Workspace,
) {
    let n_rows = input.len() / expert.up.d_in;
    let mut hidden = std::mem::take(&mut workspace.hidden);
    if let Some(gate) = config.gate() {
        let both = sized(&mut workspace.gated, n_rows * 2 * config.d_hidden);
        expert.up.forward(input, both, Activation::Identity);
        let hidden = sized(&mut hidden, n_rows * config.d_hidden);
        const ROWS: usize = 8;
        both.par_chunks(2 * config.d_hidden * ROWS)
            .zip(hidden.par_chunks_mut(config.d_hidden * ROWS))
            .for_each(|(both, hidden)| gate.apply(both, hidden, config.d_hidden));
        expert.down.forward_to(hidden, output, onto);
    } else {
        let hidden = sized(&mut hidden, n_rows * config.d_hidden);
        expert.up.forward(input, hidden, config.activation);
        expert.down.forward_to(hidden, output, onto);
    }
    workspace.hidden = hidden;
}

impl FeedForward {
    /// What the gate's half of a hidden layer does to the other half; `None` where there is no gate.
    pub(super) fn gate(&self) -> Option<Gate> {
        match self.gating {
            Gating::None => None,
            Gating::Gated => Some(Gate::Of(self.activation)),
            Gating::Clamped { limit, alpha } => Some(Gate::Clamped { limit, alpha }),
        }
    }
}

/// Adds to `output`: each token goes through the `n_used` experts with the highest scores, weighted by the softmax of those
/// scores.
fn mixture(
    config: &FeedForward,
    experts: &[Expert],
    router: &Linear,
    input: &[f32],
    output: &mut [f32],
    workspace: &mut Workspace,
) {
    let d_model = router.d_in;
    let n_rows = input.len() / d_model;
    let n_experts = experts.len();
    let n_used = config.experts.map_or(n_experts, |experts| experts.n_used);
    let mut scores = vec![0.0; n_rows * n_experts]; // [n_rows, n_experts]
    router.forward(input, &mut scores, Activation::Identity);
    let chosen: Vec<Vec<(usize, f32)>> = scores.chunks(n_experts).map(|row| strongest(row, n_used)).collect();
    for (index, expert) in experts.iter().enumerate() {
        let rows: Vec<(usize, f32)> = (0..n_rows)
            .filter_map(|row| chosen[row].iter().find(|(e, _)| *e == index).map(|(_, weight)| (row, *weight)))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let mut part = Vec::with_capacity(rows.len() * d_model); // [rows, d_model]
        rows.iter().for_each(|(row, _)| part.extend_from_slice(&input[row * d_model..][..d_model]));
        let mut result = vec![0.0; part.len()]; // [rows, d_model]
        expert_forward(config, expert, &part, &mut result, Onto::Replace, workspace);
        for ((row, weight), result) in rows.iter().zip(result.chunks(d_model)) {
            let slot = &mut output[row * d_model..][..d_model];
            slot.iter_mut().zip(result).for_each(|(y, r)| *y += weight * r);
        }
    }
}

/// The `n` highest scores with their softmax, the first of equals first.
pub(super) fn strongest(scores: &[f32], n: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(n);
    let max = order.first().map_or(0.0, |first| scores[*first]);
    let total: f32 = order.iter().map(|expert| (scores[*expert] - max).exp()).sum();
    order.into_iter().map(|expert| (expert, (scores[expert] - max).exp() / total)).collect()
}
