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

/// Whether the query's largest weight lies `offset` positions after it, 1 or 0; `None` for the end token's query. The baseline:
/// a key drawn at random.
///
/// A head for which it does in 90 % of the queries is positional (Voita et al. 2019, §5.1, who leave the end token out).
pub fn looks_most_at(row: &Row<'_>, offset: i64) -> Option<Sample> {
    (!row.is_end()).then(|| {
        let key = row.key_at(offset);
        row.argmax_sample(|found| key == Some(found), key.as_slice())
    })
}

/// The weight within two positions of the query, its own included, in 0 ..= 1.
pub fn local_weight(row: &Row<'_>) -> Sample {
    let near = row.position.saturating_sub(2)..(row.position + 3).min(row.weights.len());
    let (mut n, mut score) = (0, 0.0);
    for key in near.filter(|key| row.sees(*key)) {
        (n, score) = (n + 1, score + f64::from(row.weights[key]));
    }
    Sample { score, baseline: f64::from(n) / row.n_visible().max(1) as f64 }
}

/// How far the query looks, `Σ_k w(q,k) |q − k|` in positions (Vig & Belinkov 2019, §4.3), and what looking at all visible
/// keys alike would give.
pub fn distance(row: &Row<'_>) -> Sample {
    let far = |key: usize| row.position.abs_diff(key) as f64;
    let score = row.weights.iter().enumerate().map(|(key, weight)| f64::from(*weight) * far(key)).sum();
    let baseline = row.visible_keys().map(far).sum::<f64>() / row.n_visible().max(1) as f64;
    Sample { score, baseline }
}

/// How recent the keys are that a query looks at: 0 for the oldest key it sees, 1 for the newest, ½ for all alike, weighted by
/// where it looks; of a row with mass on two keys or more. A head that only looks at its own token has 1.
pub fn recency(row: &Row<'_>) -> Option<Sample> {
    let last = row.n_visible().checked_sub(1).filter(|last| *last > 0)? as f64;
    let (mut mass, mut sum) = (0.0, 0.0);
    for (rank, key) in row.visible_keys().enumerate() {
        let weight = f64::from(row.weights[key]);
        (mass, sum) = (mass + weight, sum + weight * rank as f64 / last);
    }
    (mass > 0.0).then(|| Sample { score: sum / mass, baseline: 0.5 })
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
        let hits = [0, 1, 2]
            .map(|row| of_rows(Kind::Decoder, weights.clone(), 3, |row| looks_most_at(row, -1))[row].expect("no end"));
        assert_eq!(hits.map(|hit| hit.score), [0.0, 1.0, 1.0]);
        assert_eq!(of_rows(Kind::Decoder, weights, 3, |row| offset_weight(row, 1).score), [0.0; 3]);
    }

    #[test]
    fn the_uniform_baseline_of_a_causal_map_counts_visible_keys_only() {
        let baselines = of_rows(Kind::Decoder, vec![1.0, 0.0, 1.0, 0.0], 2, |row| offset_weight(row, -1).baseline);
        assert_eq!(baselines, [0.0, 0.5], "row 0 has no previous key, row 1 sees two");
    }
    #[test]
    fn how_far_and_how_recently_a_row_looks_is_worked_out_by_hand() {
        let weights = vec![1.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.5, 0.25, 0.25];
        let of = |score: fn(&Row<'_>) -> Option<Sample>| of_rows(Kind::Decoder, weights.clone(), 3, score);
        let distances = of(|row| Some(distance(row)));
        assert_eq!(distances.map_or_zero(), [(0.0, 0.0), (0.25, 0.5), (1.25, 1.0)]);
        assert_eq!(of(recency).map_or_zero(), [(0.0, 0.0), (0.75, 0.5), (0.375, 0.5)], "the first row has no choice");
        assert_eq!(of(|row| Some(local_weight(row))).map_or_zero(), [(1.0, 1.0); 3], "all keys are near");
    }

    trait OrZero {
        fn map_or_zero(self) -> Vec<(f64, f64)>;
    }

    impl OrZero for Vec<Option<Sample>> {
        /// Score and baseline; zeros for no sample.
        fn map_or_zero(self) -> Vec<(f64, f64)> {
            self.into_iter().map(|sample| sample.map_or((0.0, 0.0), |one| (one.score, one.baseline))).collect()
        }
    }
}
