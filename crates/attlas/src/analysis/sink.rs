//! Attention sinks: keys that every later query looks at.

use super::{Rows, mean};

/// The mean weight that key `key` gets from the queries at or after it, `α_k = mean_{q ≥ k} w(q,k)`, in 0 ..= 1.
///
/// A head has a sink at `key` when this is over 0.3 (Gu et al. 2025, "When attention sink emerges", eq. 2, ε = 0.3,
/// on 64 tokens). For encoder and cross-attention, where order does not bind, pass `key` 0 or read the geometry.
/// `None` when no row read is at or after `key`.
pub fn sink_weight(rows: &Rows, key: usize) -> Option<f64> {
    let weight = |row: usize| (rows.position(row) >= key).then(|| f64::from(rows.row(row)[key]));
    (key < rows.n_keys).then(|| mean((0..rows.n_rows()).filter_map(weight))).flatten()
}

/// The share of heads whose sink weight is over `threshold`, from one weight per head. 0 for no heads.
pub fn sink_rate(sink_weights: &[f64], threshold: f64) -> f64 {
    mean(sink_weights.iter().map(|weight| f64::from(u8::from(*weight > threshold)))).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn only_queries_at_or_after_the_key_count() {
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.1, 0.2, 0.7], 3, 3);
        assert!((sink_weight(&rows, 0).expect("all rows count") - 0.5).abs() < 1e-6);
        assert!((sink_weight(&rows, 1).expect("two rows count") - 0.4).abs() < 1e-6);
        assert_eq!(sink_weight(&rows, 3), None);
        assert_eq!(sink_rate(&[0.5, 0.4, 0.1, 0.2], 0.3), 0.5);
    }
}
