//! Attention sinks: keys that every later query looks at.

use super::{Row, Sample};

/// The weight on key `key` of a query at or after it; `None` for earlier queries, and where there is no such key.
///
/// Its mean over queries is `α_k = mean_{q ≥ k} w(q,k)` (Gu et al. 2025, "When attention sink emerges in language models",
/// eq. 2). A head has a sink at `key` when this is over 0.3, on texts of 64 tokens.
pub fn sink_weight(row: &Row<'_>, key: usize) -> Option<f64> {
    (row.position >= key).then(|| row.weights.get(key).map(|weight| f64::from(*weight))).flatten()
}

/// The weight on the first key, and what looking at all visible keys alike would give.
///
/// `α_0` of Gu et al. (2025, eq. 2) over the queries that have a choice. Left out are a query that sees the first key only,
/// which gives it all its weight whatever the head does, and a query whose own token is the first one again: there a head
/// that looks for earlier copies of a token looks at the first key, too, and is no sink.
pub fn first_key_weight(row: &Row<'_>) -> Option<Sample> {
    let first = row.columns.all.first()?;
    let n_visible = row.n_visible();
    if n_visible < 2 || !row.sees(first) || repeats(row, first) {
        return None;
    }
    Some(Sample { score: f64::from(row.weights[first]), baseline: 1.0 / n_visible as f64 })
}

/// Whether a later query's token is that of key `key`.
fn repeats(row: &Row<'_>, key: usize) -> bool {
    let (Some(query), Some(key_token)) = (row.token, row.columns.tokens.get(key)) else { return false };
    let is_same = match (query.id, key_token.id) {
        (Some(query), Some(key)) => query == key,
        _ => query.text == key_token.text,
    };
    row.position != key && is_same
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
            first_key_weight(row).map(|s| (s.score as f32, s.baseline))
        });
        assert_eq!(found, [None, Some((0.4, 0.5)), Some((0.1, 1.0 / 3.0))]);
    }
}
