//! Back through the feed-forward sublayer, plain or gated.

use attlas_kernels::Onto;

use super::Rules;
use crate::block::dropout::Dropout;
use crate::block::weights::{Expert, FeedForwardWeights, MixtureWeights};
use crate::block::workspace::Workspace;
use crate::config::{Activation, FeedForward};

/// A feed-forward sublayer and what it computed.
pub(super) enum FeedForwardTape<'a> {
    /// Every token goes the same way.
    Plain { config: &'a FeedForward, expert: &'a Expert, tape: ExpertTape },
    /// Each token goes through a few experts; they are computed once more.
    Mixture { config: &'a FeedForward, mixture: &'a MixtureWeights },
}

impl<'a> FeedForwardTape<'a> {
    /// Computes the hidden layer; `dropout` says which of its numbers are set to 0, a mixture's never. Shape of `input`:
    /// `[n, d_model]`.
    pub fn new(
        config: &'a FeedForward,
        weights: &'a FeedForwardWeights,
        dropout: Dropout,
        input: &[f32],
    ) -> FeedForwardTape<'a> {
        match weights {
            FeedForwardWeights::Plain(expert) => {
                FeedForwardTape::Plain { config, expert, tape: ExpertTape::new(config, expert, dropout, input) }
            }
            FeedForwardWeights::Mixture(mixture) => FeedForwardTape::Mixture { config, mixture },
        }
    }

    /// What the sublayer gives. Shapes `[n, d_model]`.
    pub fn result(&self, input: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let mut result = vec![0.0; input.len()]; // [n, d_model]
        match self {
            FeedForwardTape::Plain { expert, tape, .. } => {
                expert.down.forward_to(&tape.hidden, &mut result, Onto::Replace)
            }
            FeedForwardTape::Mixture { config, mixture } => mixture.add(config, input, &mut result, workspace),
        }
        result
    }

    /// The gradient of the sublayer's input; adds those of its parameters to `sums`. Shapes `[n, d_model]`.
    pub fn go_back(
        &self,
        rules: Rules,
        input: &[f32],
        d_output: &[f32],
        sums: Option<&mut FeedForwardWeights>,
    ) -> Vec<f32> {
        match self {
            FeedForwardTape::Plain { config, expert, tape } => {
                let sums = sums.and_then(|sums| match sums {
                    FeedForwardWeights::Plain(sums) => Some(sums),
                    FeedForwardWeights::Mixture(_) => None,
                });
                tape.go_back(config, expert, rules, input, d_output, sums)
            }
            FeedForwardTape::Mixture { config, mixture } => {
                let sums = sums.and_then(|sums| match sums {
                    FeedForwardWeights::Mixture(sums) => Some(sums),
                    FeedForwardWeights::Plain(_) => None,
                });
                mixture.go_back(config, rules, input, d_output, sums)
            }
        }
    }
}

/// What one expert computed.
pub(super) struct ExpertTape {
    dropout: Dropout,
    /// Before the non-linearity. Shape `[n, d_hidden]`, or twice as wide when gated.
    before: Vec<f32>,
    /// After it and dropout. Shape `[n, d_hidden]`.
    pub hidden: Vec<f32>,
}

impl ExpertTape {
    pub fn new(config: &FeedForward, expert: &Expert, dropout: Dropout, input: &[f32]) -> ExpertTape {
        let (n_rows, d_hidden) = (input.len() / expert.up.d_in, expert.down.d_in);
        let mut before = vec![0.0; n_rows * expert.up.d_out]; // [n, d_hidden], or twice as wide when gated
        expert.up.forward(input, &mut before, Activation::Identity);
        let mut hidden = match config.gate() {
            Some(gate) => {
                let mut hidden = vec![0.0; n_rows * d_hidden]; // [n, d_hidden]
                gate.apply(&before, &mut hidden, d_hidden);
                hidden
            }
            None => {
                let mut hidden = before.clone();
                config.activation.apply(&mut hidden);
                if let Some(xielu) = expert.xielu {
                    xielu.apply(&mut hidden);
                }
                hidden
            }
        };
        dropout.apply(&mut hidden);
        ExpertTape { dropout, before, hidden }
    }

    pub fn go_back(
        &self,
        config: &FeedForward,
        expert: &Expert,
        rules: Rules,
        input: &[f32],
        d_output: &[f32],
        mut sums: Option<&mut Expert>,
    ) -> Vec<f32> {
        // 1. the second matrix
        if let Some(sums) = &mut sums {
            sums.down.add_gradients(&self.hidden, d_output);
        }
        let mut d_hidden = vec![0.0; self.hidden.len()]; // [n, d_hidden]
        expert.down.go_back(d_output, &mut d_hidden, Onto::Replace);
        self.dropout.apply(&mut d_hidden);
        // 2. the non-linearity
        let d_before = match config.gate() {
            Some(gate) => {
                let mut d_both = vec![0.0; self.before.len()]; // [n, 2 · d_hidden]
                gate.go_back(rules.slope(), &self.before, &d_hidden, &mut d_both, expert.down.d_in);
                if rules == Rules::CpLrp {
                    hold_gates(&mut d_both, expert.down.d_in);
                }
                d_both
            }
            None => {
                config.activation.go_back(rules.slope(), &self.before, &mut d_hidden);
                if let Some(xielu) = expert.xielu {
                    xielu.go_back(rules.slope(), &self.before, &mut d_hidden);
                }
                d_hidden
            }
        };
        // 3. the first matrix
        if let Some(sums) = &mut sums {
            sums.up.add_gradients(input, &d_before);
        }
        let mut d_input = vec![0.0; input.len()]; // [n, d_model]
        expert.up.go_back(&d_before, &mut d_input, Onto::Replace);
        d_input
    }
}

/// Gives what was halved between gate and the other half to the latter alone. Shape `[n, 2 · d_hidden]`, gates first.
fn hold_gates(d_both: &mut [f32], d_hidden: usize) {
    for row in d_both.chunks_exact_mut(2 * d_hidden) {
        let (d_gates, d_ups) = row.split_at_mut(d_hidden);
        d_gates.fill(0.0);
        d_ups.iter_mut().for_each(|d| *d *= 2.0);
    }
}
