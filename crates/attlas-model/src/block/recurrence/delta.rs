//! The gated delta rule (Yang et al. 2025): each head keeps a map from keys to values and corrects it.

use std::sync::Arc;

use super::{Read, by_head, gate, softplus};
use crate::block::linear::Linear;
use crate::block::mixture::sigmoid;
use crate::block::norm::NormWeights;
use crate::config::{Activation, Delta, Recurrence};

/// The weights of [`Delta`].
#[derive(Debug, Clone)]
pub struct DeltaWeights {
    /// Its sizes.
    pub config: Delta,
    /// How much each head corrects, before the sigmoid, then how fast it forgets, before the softplus. Shape `[2 · n_heads, d_model]`.
    pub rates: Linear,
    /// Added to the latter. Shape `[n_heads]`.
    pub step_bias: Arc<Vec<f32>>,
    /// Factor on their softplus, below 0. Shape `[n_heads]`.
    pub decay: Vec<f32>,
    /// On what each head gives. Shape `[d_value]`.
    pub norm: NormWeights,
}

/// Added to the squared length of queries and keys.
const EPSILON: f32 = 1e-6;

impl DeltaWeights {
    /// What the states give, normalised and gated. Shapes `[n_items · n, width]` and of `state` `[n_items, n_heads, d_key, d_value]`.
    pub(super) fn run(&self, sizes: &Recurrence, read: Read<'_>, state: &mut [f32]) -> Vec<f32> {
        let Delta { n_key_heads, n_heads, d_key, d_value, .. } = self.config;
        let (width, convolved) = (sizes.width(), sizes.convolved());
        let n_rows = read.convolved.len() / convolved;
        let mut rates = vec![0.0; n_rows * 2 * n_heads]; // [n_items · n, 2 · n_heads]
        self.rates.forward(read.input, &mut rates, Activation::Identity);
        // 1. each head's state, token by token
        let head = |item: usize, head: usize, state: &mut [f32]| -> Vec<f32> {
            let key_head = head / (n_heads / n_key_heads);
            let mut output = vec![0.0; read.n * d_value]; // [n, d_value]
            for (step, output) in output.chunks_exact_mut(d_value).enumerate() {
                let row = item * read.n + step;
                let columns = &read.convolved[row * convolved..][..convolved];
                let query = unit(&columns[key_head * d_key..][..d_key], 1.0 / (d_key as f32).sqrt());
                let key = unit(&columns[(n_key_heads + key_head) * d_key..][..d_key], 1.0);
                let value = &columns[2 * n_key_heads * d_key + head * d_value..][..d_value];
                let rates = &rates[row * 2 * n_heads..][..2 * n_heads];
                let share = sigmoid(rates[head]);
                let kept = (self.decay[head] * softplus(rates[n_heads + head] + self.step_bias[head])).exp();
                correct(state, kept, share, &key, value);
                for (state, query) in state.chunks_exact(d_value).zip(&query) {
                    output.iter_mut().zip(state).for_each(|(sum, s)| *sum += query * s);
                }
            }
            output
        };
        let mut rows = by_head([read.n, n_heads, d_value], state, d_key * d_value, head);
        // 2. the norm, then the gate
        self.norm.apply(&mut rows, d_value);
        gate(&mut rows, width, read.projected, sizes.projected(), convolved);
        rows
    }
}

/// `S ← kept · S`, then `S ← S + share · k ⊗ (v − S · k)`. Shape of `state`: `[d_key, d_value]`.
fn correct(state: &mut [f32], kept: f32, share: f32, key: &[f32], value: &[f32]) {
    let mut wrong = value.to_vec(); // [d_value]
    for (state, key) in state.chunks_exact_mut(value.len()).zip(key) {
        for (s, wrong) in state.iter_mut().zip(&mut wrong) {
            *s *= kept;
            *wrong -= *s * key;
        }
    }
    for (state, key) in state.chunks_exact_mut(value.len()).zip(key) {
        state.iter_mut().zip(&wrong).for_each(|(s, wrong)| *s += key * share * wrong);
    }
}

/// A vector of length `factor` in the same direction.
fn unit(vector: &[f32], factor: f32) -> Vec<f32> {
    let squares: f32 = vector.iter().map(|x| x * x).sum();
    let scale = factor / (squares + EPSILON).sqrt();
    vector.iter().map(|x| x * scale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_corrected_wholly_says_the_value_at_the_key() {
        let mut state = vec![5.0, -3.0, 2.0, 7.0]; // [d_key, d_value]
        correct(&mut state, 0.5, 1.0, &[0.6, 0.8], &[4.0, 9.0]);
        let says: Vec<f32> = (0..2).map(|column| 0.6 * state[column] + 0.8 * state[2 + column]).collect();
        assert!((says[0] - 4.0).abs() < 1e-6 && (says[1] - 9.0).abs() < 1e-6, "{says:?}");
    }
}
