//! How much a query looks a fixed number of positions away.

use super::{Row, Sample};

/// The weight on the key `offset` positions after the query: previous −1, self 0, next +1. In 0 ..= 1; 0 where there is no
/// such key. The baseline: what it would be if the query looked at all the keys it may see alike.
///
/// The mean over queries is `(1/n) Σ_q w(q, q + offset)`; queries without such a key stay in the denominator (Clark et al.
/// 2019, §3.1).
pub fn offset_weight(row: &Row<'_>, offset: i64) -> Sample {
    let Some(key) = row.key_at(offset) else { return Sample { score: 0.0, baseline: 0.0 } };
    let baseline = if row.sees(key) { 1.0 / row.n_visible() as f64 } else { 0.0 };
    Sample { score: f64::from(row.weights[key]), baseline }
}

/// Whether the query's largest weight lies `offset` positions after it. `None` for the end token's query.
///
/// A head for which it does in 90 % of the queries is positional (Voita et al. 2019, §5.1, who leave the end token out).
pub fn looks_most_at(row: &Row<'_>, offset: i64) -> Option<bool> {
    (!row.is_end()).then(|| row.key_at(offset).is_some_and(|key| row.argmax_but_end() == Some(key)))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::of_rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn an_ideal_previous_token_head_misses_only_its_first_row() {
        let weights = vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let scores = of_rows(Kind::Decoder, weights.clone(), 3, |row| offset_weight(row, -1).score);
        assert_eq!(scores, [0.0, 1.0, 1.0]);
        let hits = of_rows(Kind::Decoder, weights.clone(), 3, |row| looks_most_at(row, -1));
        assert_eq!(hits, [Some(false), Some(true), Some(true)]);
        assert_eq!(of_rows(Kind::Decoder, weights, 3, |row| offset_weight(row, 1).score), [0.0; 3]);
    }

    #[test]
    fn the_uniform_baseline_of_a_causal_map_counts_visible_keys_only() {
        let baselines = of_rows(Kind::Decoder, vec![1.0, 0.0, 1.0, 0.0], 2, |row| offset_weight(row, -1).baseline);
        assert_eq!(baselines, [0.0, 0.5], "row 0 has no previous key, row 1 sees two");
    }
}
