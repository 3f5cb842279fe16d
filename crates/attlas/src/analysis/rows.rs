//! The rows of one map that an analysis reads.

use std::ops::Range;

use crate::{AttentionMap, Kind, TokenRole};

/// One head's weights for one text: the rows read, what each may look at, padding left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// The query of each row read, rising; padded queries are not read. Shape `[n_rows]`.
    pub queries: Vec<usize>,
    /// Columns, padding included.
    pub n_keys: usize,
    /// The weights; 0 on padded and on hidden keys. Shape `[n_rows, n_keys]`.
    pub weights: Vec<f32>,
    /// The keys each row may look at, padding not considered. Shape `[n_rows]`.
    pub visible: Vec<Range<usize>>,
    /// Which keys are not padding. Shape `[n_keys]`.
    pub key_valid: Vec<bool>,
    /// The position of query 0 among the keys.
    pub query_offset: usize,
    /// How many rows the text has, read or not, padding left out.
    pub n_queries: usize,
}

impl Rows {
    /// All rows of a map.
    pub fn of(map: &AttentionMap<'_>) -> Rows {
        Rows::sampled(map, usize::MAX)
    }

    /// Evenly spaced rows of a map: as many as keep within `max_weights` weights, at least one.
    ///
    /// A mean over rows then stands for the whole text; [`n_queries`](Self::n_queries) says how many rows that has.
    pub fn sampled(map: &AttentionMap<'_>, max_weights: usize) -> Rows {
        let tokens = &map.query_tokens().tokens;
        let valid = |query: &usize| tokens.get(*query).is_none_or(|token| token.role != TokenRole::Padding);
        let all: Vec<usize> = (0..map.n_queries()).filter(valid).collect();
        let n_rows = (max_weights / map.n_keys().max(1)).clamp(1, all.len().max(1)).min(all.len());
        let queries: Vec<usize> = (0..n_rows).map(|row| all[row * all.len() / n_rows]).collect();

        let n_keys = map.n_keys();
        let weights = match (queries.first(), queries.last()) {
            // neighbours: the blocked kernel
            (Some(&first), Some(&last)) if last - first + 1 == queries.len() => map.tile(first..last + 1, 0..n_keys),
            _ => {
                let mut weights = vec![0.0; queries.len() * n_keys]; // [n_rows, n_keys]
                for (&query, row) in queries.iter().zip(weights.chunks_mut(n_keys.max(1))) {
                    map.fill_row(query, 0..n_keys, row);
                }
                weights
            }
        };
        let keys = &map.key_tokens().tokens;
        let key_valid =
            (0..n_keys).map(|key| keys.get(key).is_none_or(|token| token.role != TokenRole::Padding)).collect();
        let visible = queries.iter().map(|&query| map.visible_keys(query)).collect();
        let mut rows = Rows {
            queries,
            n_keys,
            weights,
            visible,
            key_valid,
            query_offset: map.query_offset(),
            n_queries: all.len(),
        };
        if map.kind() == Kind::Decoder && rows.looks_causal() {
            rows.restrict_to_past();
        }
        rows
    }

    /// The same rows without the text's last query and last key, the end token: its column counts as padding.
    ///
    /// Voita et al. (2019, §4) leave the end token out because it is no real token and often draws the largest weight.
    pub fn without_end(&self, last_query: usize) -> Rows {
        let mut rows = self.clone();
        if rows.queries.last() == Some(&last_query) {
            rows.queries.pop();
            rows.visible.pop();
            rows.weights.truncate(rows.queries.len() * rows.n_keys);
            rows.n_queries -= 1;
        }
        if let Some(end) = rows.key_valid.iter().rposition(|valid| *valid) {
            rows.key_valid[end] = false;
            for row in 0..rows.queries.len() {
                rows.weights[row * rows.n_keys + end] = 0.0;
            }
        }
        rows
    }

    /// How many rows were read.
    pub fn n_rows(&self) -> usize {
        self.queries.len()
    }

    /// The weights of row `row`. Shape `[n_keys]`.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.weights[row * self.n_keys..][..self.n_keys]
    }

    /// All rows, each `[n_keys]`.
    pub fn iter(&self) -> impl Iterator<Item = &[f32]> {
        (0..self.n_rows()).map(|row| self.row(row))
    }

    /// Whether row `row` may look at `key`.
    pub fn sees(&self, row: usize, key: usize) -> bool {
        self.visible[row].contains(&key) && self.key_valid[key]
    }

    /// How many keys row `row` may look at.
    pub fn n_visible(&self, row: usize) -> usize {
        self.key_valid[self.visible[row].clone()].iter().filter(|valid| **valid).count()
    }

    /// The position of row `row`'s query among the keys.
    pub fn position(&self, row: usize) -> usize {
        self.queries[row] + self.query_offset
    }

    /// The key `offset` positions after row `row`'s query, where there is one that is not padding.
    pub fn key_at(&self, row: usize, offset: i64) -> Option<usize> {
        let key = usize::try_from(self.position(row) as i64 + offset).ok()?;
        (key < self.n_keys && self.key_valid[key]).then_some(key)
    }

    /// Whether no row looks past its own position.
    fn looks_causal(&self) -> bool {
        (0..self.n_rows()).all(|row| self.row(row).iter().skip(self.position(row) + 1).all(|weight| *weight == 0.0))
    }

    /// Dense arrays carry no mask; a decoder's that never looks ahead is taken as causal.
    fn restrict_to_past(&mut self) {
        for row in 0..self.n_rows() {
            let end = self.position(row) + 1;
            let visible = &mut self.visible[row];
            visible.end = visible.end.min(end).max(visible.start);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::attention::Shape;
    use crate::{Buffer, Item, Layer, Provenance, Recording, Token, Tokens};

    /// A recording of one head with dense weights; labels are letters.
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

    /// All rows of a dense map.
    pub fn rows(kind: Kind, weights: Vec<f32>, n_queries: usize, n_keys: usize) -> Rows {
        Rows::of(&recording(kind, weights, n_queries, n_keys).map(0, kind, 0, 0).expect("the head exists"))
    }

    #[test]
    fn padded_queries_are_not_read_and_padded_keys_do_not_count() {
        let mut recording = recording(Kind::Encoder, vec![0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.0], 3, 3);
        recording.items[0].source.tokens[2] = Token { role: TokenRole::Padding, ..Token::labelled("<pad>") };
        let rows = Rows::of(&recording.map(0, Kind::Encoder, 0, 0).expect("the head exists"));
        assert_eq!(rows.queries, [0, 1]);
        assert_eq!(rows.n_visible(0), 2);
    }

    #[test]
    fn a_dense_decoder_map_that_never_looks_ahead_is_causal() {
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 0.5, 0.5], 2, 2);
        assert_eq!((rows.n_visible(0), rows.n_visible(1)), (1, 2));
    }

    #[test]
    fn sampled_rows_are_spread_over_the_text() {
        let recording = recording(Kind::Encoder, vec![0.1; 100], 10, 10);
        let rows = Rows::sampled(&recording.map(0, Kind::Encoder, 0, 0).expect("the head exists"), 50);
        assert_eq!((rows.queries.as_slice(), rows.n_queries), ([0, 2, 4, 6, 8].as_slice(), 10));
    }
}
