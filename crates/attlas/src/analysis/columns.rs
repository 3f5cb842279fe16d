//! What is known of a map's axes before a weight is read: classes of keys, copies of tokens, and what a person or a corpus says of
//! the text.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::classes::{is_function_word, is_punctuation, is_separator};
use super::rarity::rarest_keys;
use crate::{AttentionMap, Kind, PatchGrid, RowTokens, Token, TokenRole};

/// What is known of a text beside its maps. A measure that needs what is not there says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations {
    /// How often the token of each id occurs in a corpus. Shape `[vocabulary]`; ids beyond it occur never.
    pub counts: Option<Arc<Vec<u64>>>,
    /// Which source word each target word translates, as pairs of target and source word, counted among the words of the text.
    pub links: Vec<(usize, usize)>,
    /// The smallest constituent around each source token, as token places. Shape `[source tokens]`, or empty.
    pub source_phrases: Vec<Option<Range<usize>>>,
    /// The same of the target.
    pub target_phrases: Vec<Option<Range<usize>>>,
    /// The keys that hold what a model is to find in a long text and to repeat.
    pub needle: Option<Range<usize>>,
}

impl Annotations {
    /// Nothing is known.
    pub const NONE: Annotations = Annotations {
        counts: None,
        links: Vec::new(),
        source_phrases: Vec::new(),
        target_phrases: Vec::new(),
        needle: None,
    };
}

/// What is known of the keys of a map, and of its queries where they are the same tokens.
#[derive(Debug, Clone)]
pub struct Columns<'a> {
    /// The keys' tokens, padding included. Shape `[n_keys]`, or empty for arrays that came without tokens.
    pub tokens: &'a [Token],
    /// The keys that are not padding, rising.
    pub all: Keys,
    /// The separators among them: see [`is_separator`].
    pub separators: Keys,
    /// The punctuation among them: see [`is_punctuation`].
    pub punctuation: Keys,
    /// The separators, the punctuation and the words without content among them: see [`is_function_word`].
    pub functional: Keys,
    /// The end token: the last key, when it is special.
    pub end: Option<usize>,
    /// The stretch between separators that each key lies in. Shape `[n_keys]`; empty where there is one stretch only.
    pub segments: Vec<usize>,
    /// Which keys carry the same token.
    pub copies: Copies,
    /// The rarest keys of the text, and the two rarest, by the counts that [`Annotations`] has; with all that are as rare.
    pub rarest: [Vec<usize>; 2],
    /// The smallest constituent around the token at each position; empty where no tree is known.
    pub phrases: &'a [Option<Range<usize>>],
    /// The keys of the needle, where there is one.
    pub needle: Option<Range<usize>>,
    /// The first query that has generated a token, where some were generated.
    pub first_generating: Option<usize>,
}

/// Some of the keys, rising.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keys(Vec<usize>);

impl Keys {
    /// The keys for which a condition holds.
    pub fn new(n_keys: usize, is_in: impl Fn(usize) -> bool) -> Keys {
        Keys((0..n_keys).filter(|key| is_in(*key)).collect())
    }

    /// The keys of this set that lie in `range`, rising.
    pub fn within(&self, range: &Range<usize>) -> &[usize] {
        let start = self.0.partition_point(|key| *key < range.start);
        let end = self.0.partition_point(|key| *key < range.end);
        &self.0[start..end.max(start)]
    }

    /// The first of them.
    pub fn first(&self) -> Option<usize> {
        self.0.first().copied()
    }

    /// Whether `key` is one of them.
    pub fn contains(&self, key: usize) -> bool {
        self.0.binary_search(&key).is_ok()
    }

    /// The `n`-th of them, counted from 0.
    pub fn nth(&self, n: usize) -> Option<usize> {
        self.0.get(n).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Columns<'a> {
    /// What is known of a map's axes, with what `annotations` say of its text.
    pub fn of(map: &AttentionMap<'a>, annotations: &'a Annotations) -> Columns<'a> {
        let (tokens, n_keys) = (map.key_tokens().tokens.as_slice(), map.n_keys());
        let valid = |key: usize| tokens.get(key).is_none_or(|token| token.role != TokenRole::Padding);
        let class = |is_in: fn(&Token) -> bool| Keys::new(n_keys, |key| tokens.get(key).is_some_and(is_in));
        let all = Keys::new(n_keys, valid);
        let is_special = |key: &usize| tokens.get(*key).is_some_and(|token| token.role == TokenRole::Special);
        let end = all.0.last().copied().filter(is_special);
        let separators = class(is_separator);
        let counts = annotations.counts.as_deref().map_or(&[][..], Vec::as_slice);
        Columns {
            tokens,
            segments: segments(&separators, &all, n_keys),
            punctuation: class(is_punctuation),
            functional: class(|token| is_separator(token) || is_punctuation(token) || is_function_word(token)),
            copies: Copies::of(tokens, following(map), map.query_offset(), patches_of(map)),
            rarest: [1, 2].map(|n| rarest_keys(tokens, counts, n)),
            phrases: match map.kind() {
                Kind::Encoder => &annotations.source_phrases,
                Kind::Decoder => &annotations.target_phrases,
                Kind::Cross => &[],
            },
            needle: annotations.needle.clone().filter(|needle| map.kind() == Kind::Decoder && needle.end <= n_keys),
            // the query before the first generated token is the one that generates it
            first_generating: map.item().n_prompt.and_then(|n| n.checked_sub(1 + map.query_offset())),
            all,
            separators,
            end,
        }
    }
}

/// The token that follows each query of a decoder: what the run predicted where that is known, else the next one of the text.
fn following<'a>(map: &AttentionMap<'a>) -> &'a [Token] {
    match RowTokens::Predicted.known(map) {
        _ if map.kind() != Kind::Decoder => &[],
        RowTokens::Predicted => &map.item().predicted.tokens,
        RowTokens::Read => map.key_tokens().tokens.get(map.query_offset() + 1..).unwrap_or_default(),
    }
}

/// The stretch that each key lies in, a separator closing its own; empty where no separator has text behind it, which padding
/// is not.
fn segments(separators: &Keys, all: &Keys, n_keys: usize) -> Vec<usize> {
    let segment = |key: usize| separators.within(&(0..key)).len();
    let is_parted = all.0.last().is_some_and(|last| segment(*last) > 0);
    if is_parted { (0..n_keys).map(segment).collect() } else { Vec::new() }
}

/// The images among the keys of a decoder.
fn patches_of<'a>(map: &AttentionMap<'a>) -> &'a [PatchGrid] {
    if map.kind() == Kind::Decoder { map.item().target_images() } else { &[] }
}

/// Which keys carry the same token: by id where all have one, else by text. Special tokens and padding are nobody's copy, nor are patches
/// of images, which all have one id, nor tokens that the vocabulary lacks: what differs has the same id there.
#[derive(Debug, Clone, Default)]
pub struct Copies {
    /// Which token each key carries. Shape `[n_keys]`.
    token: Vec<Option<usize>>,
    /// Where each token occurs, rising.
    places: Vec<Vec<usize>>,
    /// Which token follows each query, where it is one that occurs. Shape `[n_queries]`.
    next: Vec<Option<usize>>,
    /// The key at query 0.
    offset: usize,
}

/// Whether a token is one that the vocabulary lacks: `<unk>`, or the text and the name, `日 <unk>`.
fn is_unknown(token: &Token) -> bool {
    token.text.rsplit(' ').next().is_some_and(|name| matches!(name, "<unk>" | "[UNK]" | "<UNK>" | "[unk]"))
}

impl Copies {
    fn of(tokens: &[Token], following: &[Token], offset: usize, images: &[PatchGrid]) -> Copies {
        let has_ids = |tokens: &[Token]| tokens.iter().all(|token| token.id.is_some() || !token.is_text());
        let by_id = has_ids(tokens) && has_ids(following);
        let is_patch = |key: usize| images.iter().any(|grid| grid.tokens().contains(&key));
        let name = |key: usize, token: &'_ Token| -> Option<(Option<u32>, String)> {
            (token.is_text() && !is_patch(key) && !is_unknown(token))
                .then(|| if by_id { (token.id, String::new()) } else { (None, token.text.clone()) })
        };
        let mut numbers = BTreeMap::new();
        let mut copies = Copies { offset, ..Copies::default() };
        for (key, token) in tokens.iter().enumerate() {
            let number = name(key, token).map(|name| {
                let n = numbers.len();
                *numbers.entry(name).or_insert(n)
            });
            if let Some(number) = number {
                copies.places.resize(copies.places.len().max(number + 1), Vec::new());
                copies.places[number].push(key);
            }
            copies.token.push(number);
        }
        let next = |(query, token): (usize, &Token)| numbers.get(&name(query + offset + 1, token)?).copied();
        copies.next = following.iter().enumerate().map(next).collect();
        copies
    }

    /// The keys before `key` that carry the same token, rising.
    pub fn before(&self, key: usize) -> &[usize] {
        self.earlier(self.token.get(key).copied().flatten(), key)
    }

    /// The keys at or before query `query` that carry the token which follows it, rising.
    pub fn of_next(&self, query: usize) -> &[usize] {
        self.earlier(self.next.get(query).copied().flatten(), query + self.offset + 1)
    }

    /// Whether the token that follows query `query` is that of `key`.
    pub fn is_next(&self, query: usize, key: usize) -> bool {
        let next = self.next.get(query).copied().flatten();
        next.is_some() && self.token.get(key).copied().flatten() == next
    }

    /// Whether two keys carry the same token.
    pub fn are_same(&self, a: usize, b: usize) -> bool {
        let of = |key: usize| self.token.get(key).copied().flatten();
        of(a).is_some() && of(a) == of(b)
    }

    fn earlier(&self, token: Option<usize>, end: usize) -> &[usize] {
        let Some(places) = token.and_then(|token| self.places.get(token)) else { return &[] };
        &places[..places.partition_point(|place| *place < end)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tokens;

    #[test]
    fn copies_of_a_token_are_those_before_it_and_special_tokens_have_none() {
        let mut tokens = Tokens::from_labels(["a", "b", "a", "|", "a", "|"]);
        tokens.tokens[3].role = TokenRole::Special;
        tokens.tokens[5].role = TokenRole::Special;
        let mut predicted = Tokens::from_labels(["b", "a", "|", "a", "|", "b"]);
        predicted.tokens[2].role = TokenRole::Special;
        let copies = Copies::of(&tokens.tokens, &predicted.tokens, 0, &[]);
        assert_eq!([0, 2, 4, 5].map(|key| copies.before(key).to_vec()), [vec![], vec![0], vec![0, 2], vec![]]);
        assert_eq!([0, 1, 3, 5].map(|query| copies.of_next(query).to_vec()), [vec![], vec![0], vec![0, 2], vec![1]]);
        assert!(copies.is_next(0, 1) && !copies.is_next(0, 0) && !copies.is_next(2, 3));
    }

    #[test]
    fn patches_of_an_image_are_nobodys_copy_though_they_have_one_id() {
        let mut tokens = Tokens::from_labels(["a", "r0c0", "r0c1", "a"]);
        tokens.tokens.iter_mut().zip([1, 9, 9, 1]).for_each(|(token, id)| token.id = Some(id));
        let image = PatchGrid { first: 1, rows: 1, columns: 2, size: None, seen: None };
        let copies = Copies::of(&tokens.tokens, &tokens.tokens[1..], 0, &[image]);
        assert_eq!([2, 3].map(|key| copies.before(key).to_vec()), [vec![], vec![0]]);
        assert!(copies.of_next(1).is_empty() && copies.of_next(2) == [0]);
    }

    #[test]
    fn tokens_that_the_vocabulary_lacks_are_nobodys_copy() {
        let mut tokens = Tokens::from_labels(["a", "日 <unk>", "本 <unk>", "a"]);
        tokens.tokens.iter_mut().zip([4, 3, 3, 4]).for_each(|(token, id)| token.id = Some(id));
        let copies = Copies::of(&tokens.tokens, &[], 0, &[]);
        assert_eq!([1, 2, 3].map(|key| copies.before(key).to_vec()), [vec![], vec![], vec![0]]);
    }

    #[test]
    fn a_separator_closes_the_stretch_before_it() {
        let (all, second) = (|n: usize| Keys::new(n, |_| true), Keys::new(5, |key| key == 2));
        assert_eq!(segments(&second, &all(5), 5), [0, 0, 0, 1, 1]);
        assert!(segments(&second, &all(3), 3).is_empty(), "one stretch");
        assert!(segments(&second, &all(3), 5).is_empty(), "padding is no stretch");
    }
}
