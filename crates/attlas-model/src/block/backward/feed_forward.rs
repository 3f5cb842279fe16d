//! Back through the feed-forward sublayer: plain, gated, a mixture of experts.

use attlas_kernels::Onto;

use super::{Rules, add};
use crate::block::dropout::Dropout;
use crate::block::feed_forward::{feed_forward, strongest};
use crate::block::linear::Linear;
use crate::block::weights::{Expert, FeedForwardWeights};
use crate::block::workspace::Workspace;
use crate::config::{Activation, FeedForward};

/// A feed-forward sublayer and what it computed.
pub(super) enum FeedForwardTape<'a> {
    /// Every token goes the same way.
    Plain { config: &'a FeedForward, expert: &'a Expert, tape: ExpertTape },
    /// Each token goes through a few experts; they are computed once more.
    Mixture { config: &'a FeedForward, weights: &'a FeedForwardWeights, router: &'a Linear, experts: &'a [Expert] },
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
            FeedForwardWeights::Mixture { router, experts } => {
                FeedForwardTape::Mixture { config, weights, router, experts }
            }
        }
    }

    /// What the sublayer gives. Shapes `[n, d_model]`.
    pub fn result(&self, input: &[f32], workspace: &mut Workspace) -> Vec<f32> {
        let mut result = vec![0.0; input.len()]; // [n, d_model]
        match self {
            FeedForwardTape::Plain { expert, tape, .. } => {
                expert.down.forward_to(&tape.hidden, &mut result, Onto::Replace)
            }
            FeedForwardTape::Mixture { config, weights, .. } => {
                feed_forward(config, weights, input, &mut result, Onto::Replace, workspace);
            }
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
                    FeedForwardWeights::Mixture { .. } => None,
                });
                tape.go_back(config, expert, rules, input, d_output, sums)
            }
            FeedForwardTape::Mixture { config, router, experts, .. } => {
                let sums = sums.and_then(|sums| match sums {
                    FeedForwardWeights::Mixture { router, experts } => Some((router, experts.as_mut_slice())),
                    FeedForwardWeights::Plain(_) => None,
                });
                Mixture { config, experts, router, rules }.go_back(input, d_output, sums)
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
    hidden: Vec<f32>,
}

impl ExpertTape {
    fn new(config: &FeedForward, expert: &Expert, dropout: Dropout, input: &[f32]) -> ExpertTape {
        let n_rows = input.len() / expert.up.d_in;
        let mut before = vec![0.0; n_rows * expert.up.d_out]; // [n, d_hidden], or twice as wide when gated
        expert.up.forward(input, &mut before, Activation::Identity);
        let mut hidden = match config.gate() {
            Some(gate) => {
                let mut hidden = vec![0.0; n_rows * config.d_hidden]; // [n, d_hidden]
                gate.apply(&before, &mut hidden, config.d_hidden);
                hidden
            }
            None => {
                let mut hidden = before.clone();
                config.activation.apply(&mut hidden);
                hidden
            }
        };
        dropout.apply(&mut hidden);
        ExpertTape { dropout, before, hidden }
    }

    fn go_back(
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
                gate.go_back(rules.slope(), &self.before, &d_hidden, &mut d_both, config.d_hidden);
                if rules == Rules::CpLrp {
                    hold_gates(&mut d_both, config.d_hidden);
                }
                d_both
            }
            None => {
                config.activation.go_back(rules.slope(), &self.before, &mut d_hidden);
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

/// A mixture whose output is `Σ_e share_e · expert_e(x)`, the shares a softmax over the scores of those that are used.
struct Mixture<'a> {
    config: &'a FeedForward,
    experts: &'a [Expert],
    router: &'a Linear,
    rules: Rules,
}

impl Mixture<'_> {
    fn go_back(&self, input: &[f32], d_output: &[f32], mut sums: Option<(&mut Linear, &mut [Expert])>) -> Vec<f32> {
        let Mixture { config, experts, router, rules } = *self;
        let (d_model, n_experts) = (router.d_in, experts.len());
        let n_rows = input.len() / d_model;
        let n_used = config.experts.map_or(n_experts, |experts| experts.n_used);
        let mut scores = vec![0.0; n_rows * n_experts]; // [n, n_experts]
        router.forward(input, &mut scores, Activation::Identity);
        let chosen: Vec<Vec<(usize, f32)>> = scores.chunks(n_experts).map(|row| strongest(row, n_used)).collect();
        let mut d_input = vec![0.0; input.len()]; // [n, d_model]
        let mut d_shares = vec![0.0; n_rows * n_experts]; // [n, n_experts]
        for (index, expert) in experts.iter().enumerate() {
            let rows: Vec<(usize, f32)> = (0..n_rows)
                .filter_map(|row| chosen[row].iter().find(|(e, _)| *e == index).map(|(_, share)| (row, *share)))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let of_rows = |all: &[f32]| -> Vec<f32> {
                rows.iter().flat_map(|(row, _)| &all[row * d_model..][..d_model]).copied().collect()
            };
            let (part, mut d_part) = (of_rows(input), of_rows(d_output));
            let tape = ExpertTape::new(config, expert, Dropout::OFF, &part);
            let mut result = vec![0.0; part.len()]; // [rows, d_model]
            expert.down.forward_to(&tape.hidden, &mut result, Onto::Replace);
            let places = rows.iter().zip(result.chunks(d_model)).zip(d_part.chunks_mut(d_model));
            for (((row, share), result), d) in places {
                let dot: f64 = result.iter().zip(&*d).map(|(y, d)| f64::from(*y) * f64::from(*d)).sum();
                d_shares[row * n_experts + index] = dot as f32 * rules.of_product()[0];
                d.iter_mut().for_each(|d| *d *= share * rules.of_product()[1]);
            }
            let sums = sums.as_mut().and_then(|(_, experts)| experts.get_mut(index));
            let back = tape.go_back(config, expert, rules, &part, &d_part, sums);
            for ((row, _), back) in rows.iter().zip(back.chunks(d_model)) {
                add(&mut d_input[row * d_model..][..d_model], back);
            }
        }
        let mut d_scores = vec![0.0; n_rows * n_experts]; // [n, n_experts]
        for ((chosen, d_shares), d_scores) in
            chosen.iter().zip(d_shares.chunks(n_experts)).zip(d_scores.chunks_mut(n_experts))
        {
            let mean: f32 = chosen.iter().map(|(expert, share)| share * d_shares[*expert]).sum();
            chosen.iter().for_each(|(expert, share)| d_scores[*expert] = share * (d_shares[*expert] - mean));
        }
        if let Some((router, _)) = sums {
            router.add_gradients(input, &d_scores);
        }
        router.go_back(&d_scores, &mut d_input, Onto::Add);
        d_input
    }
}
