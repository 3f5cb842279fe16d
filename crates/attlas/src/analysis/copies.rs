//! Heads that look at earlier copies of a token: duplicate-token, induction and repetition heads.

use super::{Row, Sample};

/// The weight on some keys that a query is looked for on, in 0 ..= 1, and what looking at all visible keys alike would give;
/// `None` for a query that has none of them in sight.
fn on_targets(row: &Row<'_>, targets: impl Iterator<Item = usize>) -> Option<Sample> {
    let (mut n, mut score) = (0, 0.0);
    for key in targets.filter(|key| row.sees(*key)) {
        (n, score) = (n + 1, score + f64::from(row.weights[key]));
    }
    (n > 0).then(|| Sample { score, baseline: f64::from(n) / row.n_visible() as f64 })
}

/// The weight on the position before, for queries that have one: `D[q, q − 1]`.
pub fn on_previous(row: &Row<'_>) -> Option<Sample> {
    on_targets(row, row.key_at(-1).into_iter())
}

/// The weight on earlier copies of the query's own token, for queries that have any: `D[q,k] = [t_k = t_q, k < q]`.
pub fn on_duplicates(row: &Row<'_>) -> Option<Sample> {
    on_targets(row, row.columns.copies.before(row.position).iter().copied())
}

/// The weight on the tokens that followed earlier copies of the query's own token, for queries that have any:
/// `D[q,k] = [t_{k−1} = t_q, k − 1 < q]`.
///
/// The mean over eligible queries is the induction score; on random tokens repeated twice an ideal induction head has 1
/// (Olsson et al. 2022, "In-context learning and induction heads").
pub fn on_induction(row: &Row<'_>) -> Option<Sample> {
    on_targets(row, row.columns.copies.before(row.position).iter().map(|key| key + 1))
}

/// The weight on earlier copies of the token that is about to be written, for queries that have any.
pub fn on_copies_of_next(row: &Row<'_>) -> Option<Sample> {
    on_targets(row, row.columns.copies.of_next(row.query).iter().copied())
}

/// What TransformerLens' `detect_head` counts with its error measure `mul`: the weight on the targets, 0 for a query without
/// one, so that the mean over all queries of rows that sum to 1 is its `Σ A·D / Σ A`.
pub fn in_all_rows(sample: Option<Sample>) -> Option<Sample> {
    Some(sample.unwrap_or(Sample { score: 0.0, baseline: 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::Kind;
    use crate::analysis::Rows;

    type Score = fn(&Row<'_>) -> Option<Sample>;

    /// A score of each row of a causal map over the tokens of `text`, one letter each.
    fn scores(text: &str, weights: Vec<f32>, score: Score) -> Vec<Option<f32>> {
        let n = text.len();
        let mut recording = recording(Kind::Decoder, weights, n, n);
        for (token, letter) in recording.items[0].target.tokens.iter_mut().zip(text.chars()) {
            token.text = letter.to_string();
        }
        let map = recording.map(0, Kind::Decoder, 0, 0).expect("the head exists");
        Rows::of(&map).map(|row| score(row).map(|sample| sample.score as f32))
    }

    #[test]
    fn each_kind_of_head_is_scored_on_the_queries_that_have_a_target() {
        // a b a a; the last row spreads
        let weights = [[1.0, 0.0, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0], [0.5, 0.4, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]].concat();
        let of = |score: Score| scores("abaa", weights.clone(), score);
        assert_eq!(of(on_duplicates), [None, None, Some(0.5), Some(0.4)], "keys 0; keys 0 and 2");
        assert_eq!(of(on_induction), [None, None, Some(0.4), Some(0.6)], "key 1; keys 1 and 3");
        assert_eq!(of(on_copies_of_next), [None, Some(0.7), Some(0.6), None], "a; a and a; nothing follows");
        assert_eq!(of(on_previous), [None, Some(0.7), Some(0.4), Some(0.3)]);
        assert_eq!(of(|row| in_all_rows(on_duplicates(row))), [Some(0.0), Some(0.0), Some(0.5), Some(0.4)]);
    }
}
