//! Attention sinks: keys that every later query looks at.

use super::{Query, Row, Target};

/// The weight on key `key` of a query at or after it; `None` for earlier queries, and where there is no such key.
///
/// Its mean over queries is `α_k = mean_{q ≥ k} w(q,k)` (Gu et al. 2025, "When attention sink emerges in language models",
/// eq. 2). A head has a sink at `key` when this is over 0.3, on texts of 64 tokens.
pub fn sink_weight(row: &Row<'_>, key: usize) -> Option<f64> {
    (row.position >= key).then(|| row.weights.get(key).map(|weight| f64::from(*weight))).flatten()
}

/// Key `key`, for the queries at or after it that have a choice: their weight on it is [`sink_weight`].
///
/// Left out are a query that sees one key only, which gives it all its weight whatever the head does, and a later query whose token
/// is the same as the key's: there a head that looks for earlier copies of a token looks at this key, too, and is no sink. The
/// baseline is what looking at all visible keys alike would give.
pub fn sink_with_choice(query: &Query<'_>, key: usize) -> Option<Target> {
    let copies = &query.columns.copies;
    let is_copy = query.position != key && query.is_self_attention() && copies.are_same(query.position, key);
    let has_choice = query.n_visible() >= 2 && query.position >= key && !is_copy;
    has_choice.then(|| Target::seen(query, [key])).flatten()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::of_rows;
    use super::*;
    use crate::Kind;

    const WEIGHTS: [f32; 9] = [1.0, 0.0, 0.0, 0.4, 0.6, 0.0, 0.1, 0.2, 0.7];

    #[test]
    fn only_queries_at_or_after_the_key_count() {
        let of_key = |key| of_rows(Kind::Decoder, WEIGHTS.to_vec(), 3, |row| sink_weight(row, key).map(|w| w as f32));
        assert_eq!(of_key(0), [Some(1.0), Some(0.4), Some(0.1)]);
        assert_eq!(of_key(1), [None, Some(0.6), Some(0.2)]);
        assert_eq!(of_key(3), [None; 3]);
    }

    #[test]
    fn a_query_without_a_choice_says_nothing_about_a_sink() {
        let found = of_rows(Kind::Decoder, WEIGHTS.to_vec(), 3, |row| {
            sink_with_choice(row, 0).map(|key| (key.weight_of(row).score as f32, key.baseline))
        });
        assert_eq!(found, [None, Some((0.4, 0.5)), Some((0.1, 1.0 / 3.0))]);
    }
}
