//! The feed-forward sublayer: position by position, gated or not, one or a mixture of experts.

use attlas_kernels::{Gate, Onto};
use rayon::prelude::*;

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
        FeedForwardWeights::Mixture(mixture) => {
            if onto == Onto::Replace {
                output.fill(0.0);
            }
            mixture.add(config, input, output, workspace);
        }
    }
}

/// One expert: `output = down(activation(up(input)))`, gated or not. Shapes `[n, d_model]`.
pub(super) fn expert_forward(
    config: &FeedForward,
    expert: &Expert,
    input: &[f32],
    output: &mut [f32],
    onto: Onto,
    workspace: &mut Workspace,
) {
    let (n_rows, d_hidden) = (input.len() / expert.up.d_in, expert.down.d_in);
    let mut hidden = std::mem::take(&mut workspace.hidden);
    if let Some(gate) = config.gate() {
        let both = sized(&mut workspace.gated, n_rows * 2 * d_hidden);
        expert.up.forward(input, both, Activation::Identity);
        let hidden = sized(&mut hidden, n_rows * d_hidden);
        const ROWS: usize = 8;
        both.par_chunks(2 * d_hidden * ROWS)
            .zip(hidden.par_chunks_mut(d_hidden * ROWS))
            .for_each(|(both, hidden)| gate.apply(both, hidden, d_hidden));
        expert.down.forward_to(hidden, output, onto);
    } else {
        let hidden = sized(&mut hidden, n_rows * d_hidden);
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
