//! Heads that look at earlier copies of a token: duplicate-token, induction and repetition heads.

use super::{Query, Target};

/// The position before, for queries that have one: `D[q, q − 1]`.
pub fn previous(query: &Query<'_>) -> Option<Target> {
    Target::seen(query, query.key_at(-1))
}

/// Earlier copies of the query's own token, for queries that have any: `D[q,k] = [t_k = t_q, k < q]`.
pub fn duplicates(query: &Query<'_>) -> Option<Target> {
    Target::seen(query, query.columns.copies.before(query.position).iter().copied())
}

/// The tokens that followed earlier copies of the query's own token, for queries that have any:
/// `D[q,k] = [t_{k−1} = t_q, k − 1 < q]`.
///
/// The mean weight on them over eligible queries is the induction score; on random tokens repeated twice an ideal induction head
/// has 1 (Olsson et al. 2022, "In-context learning and induction heads").
pub fn followers(query: &Query<'_>) -> Option<Target> {
    Target::seen(query, query.columns.copies.before(query.position).iter().map(|key| key + 1))
}

/// Earlier copies of the token that is about to be written, for queries that have any.
pub fn copies_of_next(query: &Query<'_>) -> Option<Target> {
    Target::seen(query, query.columns.copies.of_next(query.query).iter().copied())
}

/// What TransformerLens' `detect_head` counts with its error measure `mul`: the weight on the targets, 0 for a query without
/// one, so that the mean over all queries of rows that sum to 1 is its `Σ A·D / Σ A`.
pub fn in_all_rows(target: Option<Target>) -> Option<Target> {
    Some(target.unwrap_or(Target { keys: Vec::new(), baseline: 0.0 }))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::Kind;
    use crate::analysis::{Row, Rows};

    type Of = fn(&Query<'_>) -> Option<Target>;

    /// A score of each row of a causal map over the tokens of `text`, one letter each.
    fn scores(text: &str, weights: Vec<f32>, of: Of) -> Vec<Option<f32>> {
        let n = text.len();
        let mut recording = recording(Kind::Decoder, weights, n, n);
        for (token, letter) in recording.items[0].target.tokens.iter_mut().zip(text.chars()) {
            token.text = letter.to_string();
        }
        let map = recording.map(0, Kind::Decoder, 0, 0).expect("the head exists");
        let score = |row: &Row<'_>| of(row).map(|target| target.weight_of(row).score as f32);
        Rows::of(&map).map(score)
    }

    #[test]
    fn each_kind_of_head_is_scored_on_the_queries_that_have_a_target() {
        // a b a a; the last row spreads
        let weights = [[1.0, 0.0, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0], [0.5, 0.4, 0.1, 0.0], [0.1, 0.2, 0.3, 0.4]].concat();
        let of = |target: Of| scores("abaa", weights.clone(), target);
        assert_eq!(of(duplicates), [None, None, Some(0.5), Some(0.4)], "keys 0; keys 0 and 2");
        assert_eq!(of(followers), [None, None, Some(0.4), Some(0.6)], "key 1; keys 1 and 3");
        assert_eq!(of(copies_of_next), [None, Some(0.7), Some(0.6), None], "a; a and a; nothing follows");
        assert_eq!(of(previous), [None, Some(0.7), Some(0.4), Some(0.3)]);
        assert_eq!(of(|query| in_all_rows(duplicates(query))), [Some(0.0), Some(0.0), Some(0.5), Some(0.4)]);
    }
}
