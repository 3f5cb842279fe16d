//! Heads that look at the rarest token of the sentence.

use super::{Columns, Keys, Row, argmax};

/// The `n_rarest` rarest keys of a text. `counts` says how often each key's token occurs in a corpus, shape `[n_keys]`; of
/// equals the earlier key is the rarer.
pub fn rarest_keys(columns: &Columns<'_>, counts: &[u64], n_rarest: usize) -> Keys {
    let mut keys: Vec<usize> = columns.all.within(&(0..counts.len())).to_vec();
    keys.sort_by_key(|key| (counts[*key], *key));
    keys.truncate(n_rarest);
    Keys::new(counts.len(), |key| keys.contains(&key))
}

/// Whether the query's largest weight lies on one of `keys`.
///
/// A rare-token head's does on the [rarest](rarest_keys) in more than half of the queries (Voita et al. 2019, §5.3: 0.66 for
/// the rarest, 0.83 for the two rarest).
pub fn looks_most_at_one_of(row: &Row<'_>, keys: &Keys) -> bool {
    argmax(row.weights).is_some_and(|key| keys.contains(key))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::of_rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn the_rarest_key_is_the_one_with_the_smallest_count() {
        let found = of_rows(Kind::Encoder, vec![0.1, 0.9, 0.0, 0.1, 0.0, 0.9, 0.0, 1.0, 0.0], 3, |row| {
            [1, 2].map(|n_rarest| looks_most_at_one_of(row, &rarest_keys(row.columns, &[100, 2, 5], n_rarest)))
        });
        assert_eq!(found, [[true, true], [false, true], [true, true]]);
    }
}
