//! The rows of one map, read one after the other: what every number about a head is made of.

use std::cell::OnceCell;
use std::ops::{Deref, Range};
use std::sync::Arc;

use super::{Annotations, Columns, Keys, breadth};
use crate::{AttentionMap, Kind, Token, TokenRole};

/// Weights held at a time. A dense map of 65,536 keys is read row by row, one of 256 at once.
const BAND: usize = 1 << 16;
/// The same of a map that is made of queries and keys, which are read again for each band; and the rows that the kernel computes
/// together, of which a band has some at least.
const MADE_BAND: usize = 1 << 18;
const BLOCK: usize = 48;

/// The rows of one head's map for one text, padded queries left out. Holds what is known of its axes, but no weights.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    map: &'a AttentionMap<'a>,
    /// The query of each row, rising. Shape `[n_rows]`.
    queries: Vec<usize>,
    /// How many rows the text has, read or not, padding left out.
    n_queries: usize,
    /// The last of them.
    last: Option<usize>,
    columns: Arc<Columns<'a>>,
    /// Keys that are read of a map made of queries and keys: up to the last that is not padding. So a text's weights are the
    /// same to the last bit whatever it was padded to. Of a dense map, all.
    n_read: usize,
    /// Whether queries look at nothing ahead of them although nothing says so.
    is_causal: bool,
}

/// A query and the keys it may look at: what is known of a row before a weight is read.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// Which query of the map this is, padding counted.
    pub query: usize,
    /// The position of the query among the keys.
    pub position: usize,
    /// Whether no query of the text comes after it, padding left out.
    pub is_last: bool,
    /// The query's token; `None` for arrays that came without tokens.
    pub token: Option<&'a Token>,
    /// From the first key it may look at to the last; padding and a mask may hide some between.
    pub visible: Range<usize>,
    /// The keys it may look at, where a mask hides some.
    seen: Option<Keys>,
    n_visible: usize,
    is_self_attention: bool,
    /// What is known of the keys.
    pub columns: &'a Columns<'a>,
}

/// One row: a query, and what it looks at.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The weights; 0 on padded and on hidden keys. Shape `[n_keys]`; padding at the end may be left out.
    pub weights: &'a [f32],
    about: &'a Query<'a>,
    argmax_but_end: OnceCell<Option<usize>>,
    entropy: OnceCell<f64>,
}

impl<'a> Deref for Row<'a> {
    type Target = Query<'a>;

    fn deref(&self) -> &Query<'a> {
        self.about
    }
}

impl<'a> Rows<'a> {
    /// All rows of a map.
    pub fn of(map: &'a AttentionMap<'a>) -> Rows<'a> {
        Rows::sampled(map, usize::MAX)
    }

    /// Evenly spaced rows of a map of which nothing is known but itself, as [`with_columns`](Self::with_columns).
    pub fn sampled(map: &'a AttentionMap<'a>, max_weights: usize) -> Rows<'a> {
        static NOTHING: Annotations = Annotations::NONE;
        Rows::with_columns(map, Arc::new(Columns::of(map, &NOTHING)), max_weights)
    }

    /// Evenly spaced rows of a map: as many as keep within `max_weights` weights, at least one.
    ///
    /// A mean over rows then stands for the whole text; [`n_queries`](Self::n_queries) says how many rows that has.
    pub fn with_columns(map: &'a AttentionMap<'a>, columns: Arc<Columns<'a>>, max_weights: usize) -> Rows<'a> {
        let tokens = &map.query_tokens().tokens;
        let valid = |query: &usize| tokens.get(*query).is_none_or(|token| token.role != TokenRole::Padding);
        let all: Vec<usize> = (0..map.n_queries()).filter(valid).collect();
        // padding is no part of the text: how many rows are read does not hang on what it was padded to
        let n_rows = (max_weights / columns.all.len().max(1)).clamp(1, all.len().max(1)).min(all.len());
        let queries = evenly(all.len(), n_rows).map(|row| all[row]).collect();
        let (n_queries, last) = (all.len(), all.last().copied());
        let end = columns.all.within(&(0..map.n_keys())).last().map_or(0, |key| key + 1);
        let n_read = if map.lse().is_some() { end } else { map.n_keys() };
        let mut rows = Rows { map, queries, n_queries, last, columns, n_read, is_causal: false };
        rows.is_causal = map.kind() == Kind::Decoder && rows.looks_causal();
        rows
    }

    /// How many rows are read.
    pub fn n_rows(&self) -> usize {
        self.queries.len()
    }

    /// How many rows the text has, read or not, padding left out.
    pub fn n_queries(&self) -> usize {
        self.n_queries
    }

    /// What is known of the keys.
    pub fn columns(&self) -> &Columns<'a> {
        &self.columns
    }

    /// The queries of the rows, in rising order, some at a time: as many as have few enough weights to be held.
    pub(super) fn bands(&self) -> impl Iterator<Item = &[usize]> {
        let n_read = self.n_read.max(1);
        self.queries.chunks(match self.map.lse() {
            Some(_) => (MADE_BAND / n_read / BLOCK * BLOCK).max(BLOCK),
            None => (BAND / n_read).max(1),
        })
    }

    /// How many keys of a row are read; the others are padding.
    pub(super) fn n_read(&self) -> usize {
        self.n_read
    }

    /// What is known of a query of the map.
    pub(super) fn query(&self, query: usize) -> Query<'_> {
        let position = query + self.map.query_offset();
        let mut visible = self.map.visible_keys(query);
        if self.is_causal {
            visible.end = visible.end.min(position + 1).max(visible.start);
        }
        let seen = self.map.is_masked().then(|| Keys::new(self.map.n_keys(), |key| self.map.sees(query, key)));
        let n_visible = seen.as_ref().unwrap_or(&self.columns.all).within(&visible).len();
        Query {
            query,
            position,
            is_last: self.last == Some(query),
            token: self.map.query_tokens().tokens.get(query),
            visible,
            seen,
            n_visible,
            is_self_attention: self.map.kind() != Kind::Cross,
            columns: &self.columns,
        }
    }

    /// Reads every row, in rising order of the queries; holds a few rows' weights at a time.
    pub fn for_each(&self, mut read: impl FnMut(&Row<'_>)) {
        let mut weights = vec![0.0; self.map.n_keys()]; // [n_keys]
        for queries in self.bands() {
            let band = self.map.rows(queries, 0..self.n_read); // [queries, n_read]
            for (index, &query) in queries.iter().enumerate() {
                weights[..self.n_read].copy_from_slice(&band[index * self.n_read..][..self.n_read]);
                read(&Row::new(&weights, &self.query(query)));
            }
        }
    }

    /// A number of every row. Shape `[n_rows]`.
    pub fn map<T>(&self, mut number: impl FnMut(&Row<'_>) -> T) -> Vec<T> {
        let mut numbers = Vec::with_capacity(self.n_rows()); // [n_rows]
        self.for_each(|row| numbers.push(number(row)));
        numbers
    }

    /// Whether no row looks past its own position. Dense arrays carry no mask; a decoder's that never looks ahead is taken
    /// as causal.
    fn looks_causal(&self) -> bool {
        let is_known = |query: &usize| self.map.visible_keys(*query).end <= query + self.map.query_offset() + 1;
        if self.queries.iter().all(is_known) {
            return true;
        }
        let mut looks_ahead = false;
        self.for_each(|row| looks_ahead |= row.weights.iter().skip(row.position + 1).any(|weight| *weight != 0.0));
        !looks_ahead
    }
}

impl Query<'_> {
    /// Whether the query may look at `key`.
    pub fn sees(&self, key: usize) -> bool {
        let seen = self.seen.as_ref().unwrap_or(&self.columns.all);
        self.visible.contains(&key) && seen.contains(key)
    }

    /// The keys the query may look at, rising.
    pub fn visible_keys(&self) -> impl Iterator<Item = usize> + '_ {
        self.seen.as_ref().unwrap_or(&self.columns.all).within(&self.visible).iter().copied()
    }

    /// Whether queries and keys are the same tokens.
    pub fn is_self_attention(&self) -> bool {
        self.is_self_attention
    }

    /// How many keys the query may look at.
    pub fn n_visible(&self) -> usize {
        self.n_visible
    }

    /// The key `offset` positions after the query, where there is one that is not padding.
    pub fn key_at(&self, offset: i64) -> Option<usize> {
        let key = usize::try_from(self.position as i64 + offset).ok()?;
        self.columns.all.contains(key).then_some(key)
    }

    /// Whether this is the query of the end token, which Voita et al. (2019, §4) leave out with its key because it is no
    /// real token and often draws the largest weight.
    pub fn is_end(&self) -> bool {
        self.is_last && self.columns.end.is_some()
    }
}

impl<'a> Row<'a> {
    /// The row of a query with these weights.
    pub(super) fn new(weights: &'a [f32], about: &'a Query<'a>) -> Row<'a> {
        Row { weights, about, argmax_but_end: OnceCell::new(), entropy: OnceCell::new() }
    }

    /// The key with the largest weight, the end token's left out; the first of equals, `None` for a row without mass.
    pub fn argmax_but_end(&self) -> Option<usize> {
        *self.argmax_but_end.get_or_init(|| self.find_argmax_but_end())
    }

    /// Shannon entropy of the row, in nats; see [`entropy`](super::entropy).
    pub(super) fn entropy(&self) -> f64 {
        *self.entropy.get_or_init(|| breadth::of_weights(self.weights))
    }

    /// The entropy of looking at all visible keys alike, `ln(n_visible)`, in nats.
    pub(super) fn largest_entropy(&self) -> f64 {
        (self.n_visible().max(1) as f64).ln()
    }

    fn find_argmax_but_end(&self) -> Option<usize> {
        let end = self.columns.end.unwrap_or(usize::MAX).min(self.weights.len());
        let after = (end + 1).min(self.weights.len());
        let (before, after) = (&self.weights[..end], &self.weights[after..]);
        let best = |weights, start| super::argmax(weights).map(|key| (key + start, weights[key]));
        match (best(before, 0), best(after, end + 1)) {
            (Some(first), Some(second)) if second.1 > first.1 => Some(second.0),
            (first, second) => first.or(second).map(|(key, _)| key),
        }
    }
}

/// `n_chosen` of `n` places, evenly spread, the first of them among them.
pub(super) fn evenly(n: usize, n_chosen: usize) -> impl Iterator<Item = usize> {
    (0..n_chosen).map(move |place| place * n / n_chosen)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::attention::Shape;
    use crate::recording::Factored;
    use crate::{Buffer, Item, Layer, Mask, Provenance, Recording, Scoring, Tokens, Visibility};

    /// A recording of one head with dense weights; labels are `t0`, `t1` and so on.
    pub fn recording(kind: Kind, weights: Vec<f32>, n_queries: usize, n_keys: usize) -> Recording {
        let letters = |n: usize| Tokens::from_labels((0..n).map(|index| format!("t{index}")));
        let (source, target) = match kind {
            Kind::Encoder => (letters(n_keys), Tokens::default()),
            Kind::Decoder => (Tokens::default(), letters(n_keys)),
            Kind::Cross => (letters(n_keys), letters(n_queries)),
        };
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries, n_keys, d_head: 0, d_value: 0 };
        Recording {
            items: vec![Item { source, target, ..Item::default() }],
            layers: vec![Layer::new(kind, 0, shape, Buffer::from(weights))],
            provenance: Provenance::default(),
        }
    }

    /// A number of every row of a square dense map.
    pub fn of_rows<T>(kind: Kind, weights: Vec<f32>, n_keys: usize, number: impl FnMut(&Row<'_>) -> T) -> Vec<T> {
        let n_queries = weights.len() / n_keys;
        let recording = recording(kind, weights, n_queries, n_keys);
        Rows::of(&recording.map(0, kind, 0, 0).expect("the head exists")).map(number)
    }

    #[test]
    fn padded_queries_are_not_read_and_padded_keys_do_not_count() {
        let mut recording = recording(Kind::Encoder, vec![0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.0], 3, 3);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Padding, ..Token::labelled("<pad>") };
        let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
        assert_eq!(Rows::of(&map).map(|row| (row.query, row.n_visible(), row.is_last)), [(0, 2, false), (1, 2, true)]);
    }

    #[test]
    fn a_dense_decoder_map_that_never_looks_ahead_is_causal() {
        assert_eq!(of_rows(Kind::Decoder, vec![1.0, 0.0, 0.5, 0.5], 2, |row| row.n_visible()), [1, 2]);
        assert_eq!(of_rows(Kind::Decoder, vec![0.9, 0.1, 0.5, 0.5], 2, |row| row.n_visible()), [2, 2]);
    }

    #[test]
    fn sampled_rows_are_spread_over_the_text() {
        let recording = recording(Kind::Encoder, vec![0.1; 100], 10, 10);
        let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
        let rows = Rows::sampled(&map, 50);
        assert_eq!((rows.map(|row| row.query), rows.n_queries()), (vec![0, 2, 4, 6, 8], 10));
    }

    /// A recording of one causal head of width 1 whose query and key at each place are the same number.
    fn factored(numbers: &[f32], mask: Option<Mask>) -> Recording {
        let n = numbers.len();
        let mut recording = recording(Kind::Decoder, Vec::new(), n, n);
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 0 };
        let scoring = Scoring::scaled_dot_product(1, Visibility::CAUSAL);
        let sees = |query: usize, key: usize| {
            mask.as_ref().is_none_or(|mask| mask.of_item(0, &shape).row(0, query).sees(key)) && key <= query
        };
        let lse = |query: usize| {
            let scores = (0..n).filter(|key| sees(query, *key)).map(|key| f64::from(numbers[query] * numbers[key]));
            scores.map(f64::exp).sum::<f64>().ln()
        };
        let lse: Vec<f64> = (0..n).map(lse).collect();
        let shared = || Buffer::from(numbers.to_vec()).into();
        let weights = Factored { scoring, queries: shared(), keys: shared(), lse: lse.into(), mask, key_bias: None };
        recording.layers = vec![Layer::new(Kind::Decoder, 0, shape, weights)];
        recording
    }

    #[test]
    fn a_map_of_several_bands_is_read_whole_and_in_order() {
        let numbers: Vec<f32> = (0..600).map(|index| (index * 7 % 11) as f32 / 11.0).collect(); // more than one band
        let recording = factored(&numbers, None);
        let map = recording.map(0, Kind::Decoder, 0, 0).expect("the head exists");
        let rows = Rows::of(&map);
        assert_eq!(rows.map(|row| row.query), (0..600).collect::<Vec<_>>());
        rows.for_each(|row| {
            assert!(row.weights.iter().zip(map.row(row.query)).all(|(read, exact)| (read - exact).abs() < 1e-6));
        });
    }

    #[test]
    fn a_query_sees_no_key_that_a_mask_hides() {
        // two sequences packed into one, and a hole in the last row
        let seen = |query: usize, key: usize| query / 3 == key / 3 && (query, key) != (5, 4);
        let dense: Vec<bool> = (0..36).map(|cell| seen(cell / 6, cell % 6)).collect(); // [6, 6]
        let mask = Mask::from_dense(&dense, [1, 1, 6, 6]);
        let recording = factored(&[0.5; 6], Some(mask));
        let map = recording.map(0, Kind::Decoder, 0, 0).expect("the head exists");
        let rows = Rows::of(&map);
        assert_eq!(rows.map(|row| row.n_visible()), [1, 2, 3, 1, 2, 2]);
        assert_eq!(rows.map(|row| row.sees(row.position.saturating_sub(1))), [true, true, true, false, true, false]);
    }

    #[test]
    fn the_end_token_is_no_largest_weight() {
        let mut recording = recording(Kind::Encoder, vec![0.3, 0.1, 0.6, 0.1, 0.2, 0.7, 0.0, 0.0, 1.0], 3, 3);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
        let found = Rows::of(&map).map(|row| (row.argmax_but_end(), row.is_end()));
        assert_eq!(found, [(Some(0), false), (Some(1), false), (None, true)]);
    }
}
