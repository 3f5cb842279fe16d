//! Heads that look at the rarest token of the sentence.

use super::{Rows, argmax, mean};

/// The share of queries whose largest weight lies on one of the `n_rarest` rarest keys of the text.
///
/// `counts` says how often each key's token occurs in a corpus, shape `[n_keys]`; of equals the earlier key is the
/// rarer. A rare-token head scores over 0.5 (Voita et al. 2019, §5.3: 0.66 for the rarest, 0.83 for the two rarest).
/// `None` when there is no query or no key.
pub fn rare_token_share(rows: &Rows, counts: &[u64], n_rarest: usize) -> Option<f64> {
    let mut keys: Vec<usize> = (0..rows.n_keys.min(counts.len())).filter(|key| rows.key_valid[*key]).collect();
    keys.sort_by_key(|key| (counts[*key], *key));
    keys.truncate(n_rarest);
    if keys.is_empty() {
        return None;
    }
    let on_rare = |row: &[f32]| f64::from(u8::from(argmax(row).is_some_and(|key| keys.contains(&key))));
    mean(rows.iter().map(on_rare))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn the_rarest_key_is_the_one_with_the_smallest_count() {
        let rows = rows(Kind::Encoder, vec![0.1, 0.9, 0.0, 0.1, 0.0, 0.9, 0.0, 1.0, 0.0], 3, 3);
        let counts = [100, 2, 5];
        assert_eq!(rare_token_share(&rows, &counts, 1), Some(2.0 / 3.0));
        assert_eq!(rare_token_share(&rows, &counts, 2), Some(1.0));
    }
}
