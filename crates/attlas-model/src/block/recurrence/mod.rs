//! Layers without attention, computed: a projection, a short convolution, and a state that goes from token to token.
//!
//! Tokens are taken one after the other, so memory is linear in the text and one more token costs what each before it did. What
//! the next tokens need of those before is small and of one size: [`Carried`].

mod delta;
mod mamba;
mod mamba2;

use std::sync::Arc;

use rayon::prelude::*;

use super::linear::Linear;
use super::norm::NormWeights;
use super::state::AttentionCall;
use super::workspace::{Workspace, sized};
use crate::config::{Activation, Recurrence};
pub use delta::DeltaWeights;
pub use mamba::MambaWeights;
pub use mamba2::Mamba2Weights;

/// The weights of a layer without attention.
#[derive(Debug, Clone)]
pub struct RecurrenceWeights {
    /// What it is.
    pub config: Recurrence,
    /// Before or after it, as the configuration says.
    pub norm: Option<NormWeights>,
    /// The columns of the convolution, the gate's, and Mamba-2's steps. Shape `[projected, d_model]`.
    pub into: Linear,
    /// Over the last tokens, column by column.
    pub convolution: ShortConvolution,
    /// What the state changes by.
    pub rule: RuleWeights,
    /// Back to the residual stream. Shape `[d_model, width]`.
    pub output: Linear,
}

/// A convolution of each column over the last tokens, its own included.
#[derive(Debug, Clone)]
pub struct ShortConvolution {
    /// The oldest token first. Shape `[kernel, width]`.
    pub weight: Vec<f32>,
    /// Shape `[width]`.
    pub bias: Option<Arc<Vec<f32>>>,
}

/// What a state changes by, and how it is read.
#[derive(Debug, Clone)]
pub enum RuleWeights {
    /// A state for each column.
    Mamba(MambaWeights),
    /// A state for each head, which decays as one.
    Mamba2(Mamba2Weights),
    /// A state for each head, from keys to values.
    Delta(DeltaWeights),
}

/// What a layer without attention keeps of the tokens so far; empty before the first.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// What the convolution sees of them. Shape `[n_items, kernel − 1, convolved]`.
    pub window: Vec<f32>,
    /// Shape `[n_items, n_carried]`.
    pub state: Vec<f32>,
}

/// What a rule reads of the new tokens of all items.
#[derive(Clone, Copy)]
struct Read<'a> {
    /// New tokens of each item.
    n: usize,
    /// What enters the layer. Shape `[n_items · n, d_model]`.
    input: &'a [f32],
    /// The first projection of it, 0 of padding. Shape `[n_items · n, projected]`.
    projected: &'a [f32],
    /// Behind the convolution, 0 of padding. Shape `[n_items · n, convolved]`.
    convolved: &'a [f32],
}

impl RecurrenceWeights {
    /// `output = f(input)`, or added to it. Shapes `[n_items · n, d_model]`.
    pub(super) fn run(
        &self,
        call: AttentionCall<'_>,
        carried: &mut Carried,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let config = &self.config;
        if carried.state.is_empty() {
            carried.state = vec![0.0; call.n_items * config.n_carried()];
            carried.window = vec![0.0; call.n_items * (config.kernel - 1) * config.convolved()];
        }
        // 1. into the layer; padding says nothing
        let mut projected = std::mem::take(&mut workspace.projected);
        let rows = sized(&mut projected, call.n_items * call.n * config.projected());
        self.into.forward(input, rows, Activation::Identity);
        call.clear_padding(rows);
        // 2. the last tokens
        let mut convolved = self.convolve(call.n, rows, &mut carried.window);
        call.clear_padding(&mut convolved);
        // 3. the state
        let read = Read { n: call.n, input, projected: rows, convolved: &convolved };
        let result = match &self.rule {
            RuleWeights::Mamba(weights) => weights.run(read, &mut carried.state),
            RuleWeights::Mamba2(weights) => weights.run(config, read, &mut carried.state),
            RuleWeights::Delta(weights) => weights.run(config, read, &mut carried.state),
        };
        // 4. back to the residual stream
        self.output.forward_to(&result, output, call.onto);
        workspace.projected = projected;
    }

    /// The first columns of each row through the convolution; what it sees next time stays in `window`. Shapes
    /// `[n_items · n, projected]` and `[n_items · n, convolved]`.
    fn convolve(&self, n: usize, projected: &[f32], window: &mut [f32]) -> Vec<f32> {
        let (width, stride) = (self.config.convolved(), self.config.projected());
        let n_before = self.config.kernel - 1;
        let ShortConvolution { weight, bias } = &self.convolution;
        let mut output = vec![0.0; projected.len() / stride * width]; // [n_items · n, convolved]
        for (item, (output, rows)) in
            output.chunks_exact_mut(n * width).zip(projected.chunks_exact(n * stride)).enumerate()
        {
            let window = &mut window[item * n_before * width..][..n_before * width];
            let before = window.to_vec(); // [kernel − 1, convolved]
            let row = |place: usize| match place.checked_sub(n_before) {
                None => &before[place * width..][..width],
                Some(new) => &rows[new * stride..][..width],
            };
            output.par_chunks_exact_mut(width).enumerate().for_each(|(step, output)| {
                if let Some(bias) = bias {
                    output.copy_from_slice(bias);
                }
                for (tap, weight) in weight.chunks_exact(width).enumerate() {
                    let seen = row(step + tap).iter().zip(weight);
                    output.iter_mut().zip(seen).for_each(|(sum, (x, weight))| *sum += weight * x);
                }
                self.config.activation.apply(output);
            });
            let kept = (n..n + n_before).flat_map(row);
            window.iter_mut().zip(kept).for_each(|(slot, x)| *slot = *x);
        }
        output
    }

    /// All matrices.
    pub(super) fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        work(&mut self.into);
        work(&mut self.output);
        match &mut self.rule {
            RuleWeights::Mamba(weights) => {
                work(&mut weights.narrow);
                work(&mut weights.steps);
            }
            RuleWeights::Mamba2(_) => {}
            RuleWeights::Delta(weights) => work(&mut weights.rates),
        }
    }
}

impl AttentionCall<'_> {
    /// Sets the rows of padding to 0, where there is any. Shape `[n_items · n, width]`.
    fn clear_padding(&self, rows: &mut [f32]) {
        let Some(valid) = self.valid else { return };
        let items = valid.chunks_exact(self.past + self.n);
        let new: Vec<bool> = items.flat_map(|item| &item[self.past..]).copied().collect(); // [n_items · n]
        if new.contains(&false) {
            let width = rows.len() / new.len();
            let padding = rows.chunks_exact_mut(width).zip(new).filter(|(_, valid)| !*valid);
            padding.for_each(|(row, _)| row.fill(0.0));
        }
    }
}

/// Takes each head of each item through its tokens, heads beside each other. `head(item, head, state)` gives the head's rows,
/// shape `[n, width]`, and leaves its state behind. Shape `[n_items · n, n_heads · width]`.
fn by_head(
    [n, n_heads, width]: [usize; 3],
    state: &mut [f32],
    n_state: usize,
    head: impl Fn(usize, usize, &mut [f32]) -> Vec<f32> + Sync,
) -> Vec<f32> {
    let states = state.par_chunks_exact_mut(n_state).enumerate();
    let heads: Vec<Vec<f32>> = states.map(|(place, state)| head(place / n_heads, place % n_heads, state)).collect(); // [n_items · n_heads][n, width]
    let mut rows = vec![0.0; heads.len() * n * width]; // [n_items · n, n_heads · width]
    rows.par_chunks_exact_mut(n_heads * width).enumerate().for_each(|(row, output)| {
        let (item, step) = (row / n, row % n);
        for (head, output) in heads[item * n_heads..].iter().zip(output.chunks_exact_mut(width)) {
            output.copy_from_slice(&head[step * width..][..width]);
        }
    });
    rows
}

/// `ln(1 + e^x)`; from 20 on `x` itself, as PyTorch has it.
fn softplus(x: f32) -> f32 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// Multiplies rows by `gate · sigmoid(gate)`; a row's gate stands at `start` in its row of `projected`. Shape of `rows`: `[n, width]`.
fn gate(rows: &mut [f32], width: usize, projected: &[f32], stride: usize, start: usize) {
    rows.par_chunks_exact_mut(width).zip(projected.par_chunks_exact(stride)).for_each(|(row, projected)| {
        let mut gates = projected[start..start + width].to_vec(); // [width]
        Activation::Silu.apply(&mut gates);
        row.iter_mut().zip(gates).for_each(|(x, gate)| *x *= gate);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stand_beside_each_other_and_keep_their_states() {
        let mut state = vec![1.0, 2.0, 3.0, 4.0]; // two items of two heads
        let rows = by_head([3, 2, 1], &mut state, 1, |item, head, state| {
            let token = |_| {
                state[0] += 10.0;
                state[0] + (100 * item + 1000 * head) as f32
            };
            (0..3).map(token).collect()
        });
        let expected = [11.0, 1012.0, 21.0, 1022.0, 31.0, 1032.0, 113.0, 1114.0, 123.0, 1124.0, 133.0, 1134.0];
        assert_eq!(rows, expected);
        assert_eq!(state, [31.0, 32.0, 33.0, 34.0]);
    }
}
