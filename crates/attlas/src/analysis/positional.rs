//! How much a query looks a fixed number of positions away.

use super::{Query, Row, Sample, Target};

/// The key `offset` positions after the query: previous −1, self 0, next +1; none where there is no such key. The baseline: what
/// it would get if the query looked at all the keys it may see alike.
///
/// The mean over queries is `(1/n) Σ_q w(q, q + offset)`; queries without such a key stay in the denominator (Clark et al.
/// 2019, §3.1).
pub fn at_offset(query: &Query<'_>, offset: i64) -> Target {
    Target::at(query, query.key_at(offset))
}

/// The key `offset` positions after the query, for its largest weight to lie on; `None` for the end token's query. The baseline:
/// a key drawn at random.
///
/// A head for which it does in 90 % of the queries is positional (Voita et al. 2019, §5.1, who leave the end token out).
pub fn most_at_offset(query: &Query<'_>, offset: i64) -> Option<Target> {
    (!query.is_end()).then(|| Target::drawn(query, query.key_at(offset)))
}

/// The keys within two positions of the query, its own included.
pub fn nearby(query: &Query<'_>) -> Target {
    let near = query.position.saturating_sub(2)..query.position + 3;
    Target::seen(query, near).unwrap_or(Target { keys: Vec::new(), baseline: 0.0 })
}

/// The keys counted by how far they are: their weight is how far the query looks, `Σ_k w(q,k) |q − k|` in positions (Vig &
/// Belinkov 2019, §4.3). The baseline is what looking at all visible keys alike would give.
pub fn distances(query: &Query<'_>) -> Target {
    let far = |key: usize| query.position.abs_diff(key);
    let n_visible = query.n_visible().max(1) as f64;
    let baseline = query.visible_keys().map(|key| far(key) as f64).sum::<f64>() / n_visible;
    Target { keys: query.visible.clone().map(|key| (key, far(key) as f32)).collect(), baseline }
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
        let score = |row: &Row<'_>, offset| at_offset(row, offset).weight_of(row);
        let scores = of_rows(Kind::Decoder, weights.clone(), 3, |row| score(row, -1).score);
        assert_eq!(scores, [0.0, 1.0, 1.0]);
        let hit = |row: &Row<'_>| most_at_offset(row, -1).expect("no end").most_of(row).score;
        assert_eq!(of_rows(Kind::Decoder, weights.clone(), 3, hit), [0.0, 1.0, 1.0]);
        assert_eq!(of_rows(Kind::Decoder, weights, 3, |row| score(row, 1).score), [0.0; 3]);
    }

    #[test]
    fn the_uniform_baseline_of_a_causal_map_counts_visible_keys_only() {
        let baselines = of_rows(Kind::Decoder, vec![1.0, 0.0, 1.0, 0.0], 2, |row| at_offset(row, -1).baseline);
        assert_eq!(baselines, [0.0, 0.5], "row 0 has no previous key, row 1 sees two");
    }

    #[test]
    fn how_far_and_how_recently_a_row_looks_is_worked_out_by_hand() {
        let weights = vec![1.0, 0.0, 0.0, 0.25, 0.75, 0.0, 0.5, 0.25, 0.25];
        let of = |score: fn(&Row<'_>) -> Option<Sample>| of_rows(Kind::Decoder, weights.clone(), 3, score);
        let distances = of(|row| Some(distances(row).weight_of(row)));
        assert_eq!(distances.map_or_zero(), [(0.0, 0.0), (0.25, 0.5), (1.25, 1.0)]);
        assert_eq!(of(recency).map_or_zero(), [(0.0, 0.0), (0.75, 0.5), (0.375, 0.5)], "the first row has no choice");
        assert_eq!(of(|row| Some(nearby(row).weight_of(row))).map_or_zero(), [(1.0, 1.0); 3], "all keys are near");
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
