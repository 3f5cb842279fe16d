//! How broadly a query looks: entropy and confidence.

use super::{Row, Sample};

/// Shannon entropy of a row, in nats.
///
/// `H(q) = −Σ_k w(q,k) ln w(q,k)`: 0 when a query looks at one key, `ln(n_visible)` when it looks at all alike
/// (Clark et al. 2019, §3.3, without their smoothing). Mass that a sink takes is not part of it.
pub fn entropy(row: &Row<'_>) -> f64 {
    row.entropy()
}

/// Entropy of a row over the largest it could have, `H(q) / ln(n_visible(q))`, in 0 ..= 1.
///
/// `None` where a query may look at fewer than two keys. A causal map's early rows see few keys: without this
/// division they look focused whatever the head does.
pub fn normalized_entropy(row: &Row<'_>) -> Option<f64> {
    match row.n_visible() {
        0 | 1 => None,
        n_visible => Some(entropy(row) / (n_visible as f64).ln()),
    }
}

/// Entropy of a row as Clark et al. compute it, in nats: of `0.9999 w + 0.0001 / n_keys`.
///
/// For comparison with their figures only (`General_Analysis.ipynb`); padded keys are not counted in `n_keys`.
pub fn smoothed_entropy(row: &Row<'_>) -> f64 {
    let valid = row.columns.all.within(&(0..row.weights.len()));
    let smooth = |key: &usize| 0.9999 * f64::from(row.weights[*key]) + 0.0001 / valid.len() as f64;
    of_weights(valid.iter().map(smooth))
}

/// The largest weight of a row, in 0 ..= 1.
pub fn largest_weight(row: &Row<'_>) -> f64 {
    f64::from(row.weights.iter().copied().fold(0.0, f32::max))
}

/// Confidence: the largest weight of a row but for the end token's; `None` for the row of the end token. In 0 ..= 1; a mean
/// of about 0.8 is typical of positional heads (Voita et al. 2019, §4).
pub fn confidence(row: &Row<'_>) -> Option<f64> {
    (!row.is_end()).then(|| row.argmax_but_end().map_or(0.0, |key| f64::from(row.weights[key])))
}

/// Confidence beside what looking at all visible keys alike would give.
pub(super) fn confidence_sample(row: &Row<'_>) -> Option<Sample> {
    confidence(row).map(|score| Sample { score, baseline: 1.0 / row.n_visible().max(1) as f64 })
}

/// `−Σ w ln w` with `0 ln 0 = 0`.
pub(super) fn of_weights(weights: impl Iterator<Item = f64>) -> f64 {
    -weights.filter(|weight| *weight > 0.0).map(|weight| weight * weight.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{of_rows, recording};
    use super::*;
    use crate::analysis::Rows;
    use crate::{Kind, Token, TokenRole};

    #[test]
    fn a_uniform_row_has_the_log_of_its_keys_and_a_single_key_has_none() {
        let weights = vec![0.25, 0.25, 0.25, 0.25, 0.0, 1.0, 0.0, 0.0];
        let entropies = of_rows(Kind::Encoder, weights.clone(), 4, entropy);
        assert!((entropies[0] - 4.0_f64.ln()).abs() < 1e-9 && entropies[1] == 0.0, "{entropies:?}");
        assert_eq!(of_rows(Kind::Encoder, weights, 4, normalized_entropy), [Some(1.0), Some(0.0)]);
    }

    #[test]
    fn a_uniform_causal_map_is_as_broad_as_can_be() {
        let third = 1.0 / 3.0;
        let weights = vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, third, third, third];
        let found = of_rows(Kind::Decoder, weights, 3, normalized_entropy);
        assert_eq!(found[0], None);
        assert!(found[1..].iter().all(|entropy| (entropy.expect("two keys") - 1.0).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn confidence_leaves_out_the_end_tokens_row_and_its_column() {
        let mut recording = recording(Kind::Encoder, vec![0.9, 0.1, 0.0, 0.2, 0.1, 0.7, 0.0, 0.0, 1.0], 3, 3);
        let confidences = |recording: &crate::Recording| {
            let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
            Rows::of(&map).map(|row| confidence(row).map(|weight| weight as f32))
        };
        assert_eq!(confidences(&recording), [Some(0.9), Some(0.7), Some(1.0)]);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        assert_eq!(confidences(&recording), [Some(0.9), Some(0.2), None]);
    }
}
