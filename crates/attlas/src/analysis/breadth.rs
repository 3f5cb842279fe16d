//! How broadly a head looks: entropy and confidence.

use super::{Rows, mean};

/// Shannon entropy of each row, in nats. Shape `[n_rows]`.
///
/// `H(q) = −Σ_k w(q,k) ln w(q,k)`: 0 when a query looks at one key, `ln(n_visible)` when it looks at all alike
/// (Clark et al. 2019, §3.3, without their smoothing). Mass that a sink takes is not part of it.
pub fn entropy(rows: &Rows) -> Vec<f32> {
    rows.iter().map(|row| row_entropy(row.iter().map(|weight| f64::from(*weight))) as f32).collect()
}

/// Entropy of each row over the largest it could have, `H(q) / ln(n_visible(q))`, in 0 ..= 1. Shape `[n_rows]`.
///
/// `None` where a query may look at fewer than two keys. A causal map's early rows see few keys: without this
/// division they look focused whatever the head does.
pub fn normalized_entropy(rows: &Rows) -> Vec<Option<f32>> {
    let normalise = |(row, entropy): (usize, f32)| match rows.n_visible(row) {
        0 | 1 => None,
        n_visible => Some(entropy / (n_visible as f32).ln()),
    };
    entropy(rows).into_iter().enumerate().map(normalise).collect()
}

/// The mean of [`normalized_entropy`] over the rows that have one.
pub fn mean_normalized_entropy(rows: &Rows) -> Option<f64> {
    mean(normalized_entropy(rows).into_iter().flatten().map(f64::from))
}

/// Entropy of each row as Clark et al. compute it, in nats: of `0.9999 w + 0.0001 / n_keys`. Shape `[n_rows]`.
///
/// For comparison with their figures only (`General_Analysis.ipynb`); padded keys are not counted in `n_keys`.
pub fn smoothed_entropy(rows: &Rows) -> Vec<f32> {
    let n_valid = rows.key_valid.iter().filter(|valid| **valid).count() as f64;
    let smooth =
        |(weight, valid): (&f32, &bool)| if *valid { 0.9999 * f64::from(*weight) + 0.0001 / n_valid } else { 0.0 };
    rows.iter().map(|row| row_entropy(row.iter().zip(&rows.key_valid).map(smooth)) as f32).collect()
}

/// The largest weight of each row, in 0 ..= 1. Shape `[n_rows]`.
pub fn largest_weights(rows: &Rows) -> Vec<f32> {
    rows.iter().map(|row| row.iter().copied().fold(0.0, f32::max)).collect()
}

/// Confidence: the mean over queries of the largest weight; about 0.8 is typical of positional heads.
///
/// Voita et al. (2019, §4) leave the end token out: call it on [`Rows::without_end`]. `None` when there is no row.
pub fn confidence(rows: &Rows) -> Option<f64> {
    mean(largest_weights(rows).into_iter().map(f64::from))
}

/// `−Σ w ln w` with `0 ln 0 = 0`.
fn row_entropy(weights: impl Iterator<Item = f64>) -> f64 {
    -weights.filter(|weight| *weight > 0.0).map(|weight| weight * weight.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn a_uniform_row_has_the_log_of_its_keys_and_a_single_key_has_none() {
        let rows = rows(Kind::Encoder, vec![0.25, 0.25, 0.25, 0.25, 0.0, 1.0, 0.0, 0.0], 2, 4);
        let entropy = entropy(&rows);
        assert!((entropy[0] - 4.0_f32.ln()).abs() < 1e-6, "{entropy:?}");
        assert_eq!(entropy[1], 0.0);
        assert_eq!(normalized_entropy(&rows), [Some(1.0), Some(0.0)]);
    }

    #[test]
    fn a_uniform_causal_map_is_as_broad_as_can_be() {
        let third = 1.0 / 3.0;
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, third, third, third], 3, 3);
        assert_eq!(normalized_entropy(&rows)[0], None);
        assert!((mean_normalized_entropy(&rows).expect("two rows count") - 1.0).abs() < 1e-6);
    }

    #[test]
    fn confidence_without_the_end_token_leaves_out_its_row_and_its_column() {
        let rows = rows(Kind::Encoder, vec![0.9, 0.1, 0.0, 0.2, 0.1, 0.7, 0.0, 0.0, 1.0], 3, 3);
        assert!((confidence(&rows).expect("three rows count") - 2.6 / 3.0).abs() < 1e-6);
        assert!((confidence(&rows.without_end(2)).expect("two rows count") - 0.55).abs() < 1e-6);
    }
}
