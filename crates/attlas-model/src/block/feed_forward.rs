//! The feed-forward sublayer: position by position, gated or not, one or a mixture of experts.

use attlas_kernels::{Gate, Onto, Slope};
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
        FeedForwardWeights::Plain(expert) => {
            // a long text's hidden layer, four times as wide, is never there as a whole
            let [d_in, d_out] = [expert.up.d_in, expert.down.d_out];
            for (input, output) in input.chunks(STRETCH * d_in).zip(output.chunks_mut(STRETCH * d_out)) {
                expert_forward(config, expert, input, output, onto, workspace);
            }
        }
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
        if let Some(xielu) = expert.xielu {
            xielu.apply(hidden);
        }
        expert.down.forward_to(hidden, output, onto);
    }
    workspace.hidden = hidden;
}

/// A non-linearity whose slopes are learnt (Huang & Schlag 2024).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Xielu {
    /// The factor on `x²` above 0.
    pub above: f32,
    /// The factor on `e^x − 1 − x` below.
    pub below: f32,
    /// The factor on `x` on both sides.
    pub beta: f32,
    /// What the exponential sees at most; a little less than 0.
    pub epsilon: f32,
}

impl Xielu {
    /// Applies it in place.
    pub(super) fn apply(self, values: &mut [f32]) {
        values.par_chunks_mut(CHUNK).for_each(|values| values.iter_mut().for_each(|x| *x = self.of(*x)));
    }

    fn of(self, x: f32) -> f32 {
        let curved = if x > 0.0 { self.above * x * x } else { (x.min(self.epsilon).exp_m1() - x) * self.below };
        curved + self.beta * x
    }

    /// Multiplies a gradient by the slope at each of `inputs`.
    pub(super) fn go_back(self, slope: Slope, inputs: &[f32], gradient: &mut [f32]) {
        let of = |x: f32| match slope {
            Slope::Share if x != 0.0 => self.of(x) / x,
            _ if x > 0.0 => 2.0 * self.above * x + self.beta,
            _ => ((if x < self.epsilon { x.exp() } else { 0.0 }) - 1.0) * self.below + self.beta,
        };
        inputs.iter().zip(gradient).for_each(|(x, d)| *d *= of(*x));
    }
}

/// Rows that go through an expert at a time.
const STRETCH: usize = 1 << 13;

/// Numbers that one thread takes at a time.
const CHUNK: usize = 1 << 14;

impl FeedForward {
    /// What the gate's half of a hidden layer does to the other half; `None` where there is no gate.
    pub(super) fn gate(&self) -> Option<Gate> {
        match self.gating {
            Gating::None | Gating::Xielu => None,
            Gating::Gated => Some(Gate::Of(self.activation)),
            Gating::Clamped { limit, alpha } => Some(Gate::Clamped { limit, alpha }),
        }
    }
}
