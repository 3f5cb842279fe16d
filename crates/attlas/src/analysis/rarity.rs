//! Heads that look at the rarest token of the sentence.

use super::{Query, Target};
use crate::Token;

/// The `n` rarest keys of a text, the rarest first: by how often the token of each id occurs in a corpus. Keys as rare as the last of
/// them are among them, so there may be more than `n`; fewer only where the text has fewer. Shape of `counts` `[vocabulary]`; tokens
/// beyond it occur never, and those that are no text, or have no id, take no part. Nothing without counts.
pub fn rarest_keys(tokens: &[Token], counts: &[u64], n: usize) -> Vec<usize> {
    let count = |token: &Token| token.id.and_then(|id| counts.get(id as usize).copied()).unwrap_or(0);
    let is_counted = |token: &Token| token.is_text() && token.id.is_some() && !counts.is_empty();
    let mut keys: Vec<usize> = (0..tokens.len()).filter(|key| is_counted(&tokens[*key])).collect();
    keys.sort_by_key(|key| (count(&tokens[*key]), *key));
    let last = n.checked_sub(1).and_then(|last| keys.get(last)).map(|key| count(&tokens[*key]));
    keys.truncate(keys.partition_point(|key| last.is_some_and(|last| count(&tokens[*key]) <= last)));
    keys
}

/// The rarest keys, or the two rarest, each with those as rare, for the query's largest weight to lie on; the end token's query and key
/// are left out. `None` where no key is counted. The baseline: a key drawn at random.
///
/// A rare-token head's does in more than half of the queries (Voita et al. 2019, §5.3: 0.66 for the rarest, 0.83 for the two
/// rarest).
pub fn most_at_rarest(query: &Query<'_>, n: usize) -> Option<Target> {
    let rarest = query.columns.rarest.get(n.checked_sub(1)?).filter(|keys| keys.len() >= n)?;
    (!query.is_end()).then(|| Target::drawn(query, rarest.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokens;

    #[test]
    fn the_rarest_key_is_the_one_with_the_smallest_count() {
        let mut tokens = Tokens::from_labels(["the", "heron", "cat", "</s>", "heron"]).tokens;
        for (token, id) in tokens.iter_mut().zip([1, 2, 0, 3, 2]) {
            token.id = Some(id);
        }
        tokens[3].role = crate::TokenRole::Special;
        assert_eq!(rarest_keys(&tokens, &[5, 100, 2], 2), [1, 4], "both are the heron");
        assert_eq!(rarest_keys(&tokens, &[5, 100, 2], 1), [1, 4], "as rare as the rarest");
        assert_eq!(rarest_keys(&tokens, &[5, 100, 2], 3), [1, 4, 2]);
        assert_eq!(rarest_keys(&tokens, &[5], 1), [0, 1, 4], "ids that were never counted are the rarest, all alike");
        assert!(rarest_keys(&tokens, &[], 1).is_empty(), "no counts");
    }
}
