//! Attention for reading: one row at a time, in f64, as the formula says. [`online`](super::online) is the next step.

use super::{Inputs, Outputs};
use crate::Pooled;

/// Attention of one sequence, all heads: fills `outputs` from `inputs`.
///
/// A query that sees no key gets context 0, and lse −∞ or that of the sink.
pub fn attend(inputs: &Inputs<'_>, outputs: &mut Outputs<'_>) {
    let shape = inputs.shape;
    if let Some((pooling, pooled)) = &mut outputs.pooled {
        pooled.clear();
        pooled.extend((0..shape.n_heads).map(|_| Pooled::empty(*pooling, shape.n_queries, shape.n_keys)));
    }
    let mut weights = vec![0.0; shape.n_keys]; // [n_keys]
    for head in 0..shape.n_heads {
        let values =
            &inputs.values[shape.kv_head(head) * shape.n_keys * shape.d_value..][..shape.n_keys * shape.d_value];
        for query in 0..shape.n_queries {
            // 1. scores and their log-sum-exp
            let lse = row_scores(inputs, head, query, &mut weights);
            outputs.lse[head * shape.n_queries + query] = lse as f32;
            // 2. weights
            weigh(&mut weights, lse);
            // 3. the weighted sum of the values
            let context = &mut outputs.context[(query * shape.n_heads + head) * shape.d_value..][..shape.d_value];
            for (column, slot) in context.iter_mut().enumerate() {
                let sum: f64 = weights
                    .iter()
                    .enumerate()
                    .map(|(key, w)| w * f64::from(values[key * shape.d_value + column]))
                    .sum();
                *slot = sum as f32;
            }
            // 4. the overview
            if let Some((_, pooled)) = &mut outputs.pooled {
                for (key, weight) in weights.iter().enumerate() {
                    pooled[head].add(query, key, *weight as f32);
                }
            }
        }
    }
}

/// Fills `scores` with the scores of one row, −∞ where masked, and returns their log-sum-exp, the sink included.
pub fn row_scores(inputs: &Inputs<'_>, head: usize, query: usize, scores: &mut [f64]) -> f64 {
    let shape = inputs.shape;
    let q = &inputs.queries[(head * shape.n_queries + query) * shape.d_head..][..shape.d_head];
    let keys = &inputs.keys[shape.kv_head(head) * shape.n_keys * shape.d_head..][..shape.n_keys * shape.d_head];
    let visible = inputs.scoring.visible_keys(query, shape.n_keys);
    let mask = inputs.mask.map(|mask| mask.row(head, query));
    for (key, score) in scores.iter_mut().enumerate() {
        let valid = inputs.key_valid.is_none_or(|valid| valid[key]) && mask.is_none_or(|mask| mask.sees(key));
        *score = if valid && visible.contains(&key) {
            let k = &keys[key * shape.d_head..][..shape.d_head];
            let dot: f64 = q.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let key_bias = inputs.key_bias.map_or(0.0, |bias| f64::from(bias[head * shape.n_keys + key]));
            inputs.scoring.score(head, query, key, dot) + key_bias
        } else {
            f64::NEG_INFINITY
        };
    }
    let sink = inputs.scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[head]));
    log_sum_exp(scores, sink)
}

/// `ln(Σ exp(score) + exp(sink))`; −∞ where there is nothing to sum.
pub fn log_sum_exp(scores: &[f64], sink: f64) -> f64 {
    let max = scores.iter().copied().fold(sink, f64::max);
    if max == f64::NEG_INFINITY && !scores.iter().any(|score| score.is_nan()) {
        return max;
    }
    max + (scores.iter().map(|score| (score - max).exp()).sum::<f64>() + (sink - max).exp()).ln()
}

/// Turns scores into weights, `exp(score − lse)`; those of masked keys are 0.
pub fn weigh(scores: &mut [f64], lse: f64) {
    for score in scores.iter_mut() {
        *score = if *score == f64::NEG_INFINITY { 0.0 } else { (*score - lse).exp() };
    }
}
