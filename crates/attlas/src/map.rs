//! One head's attention map, answered piece by piece.

use std::ops::Range;

use crate::attention::reference::score_f64;
use crate::attention::{Recorded, Shape};
use crate::{HeadId, Item, Kind, Layer, TokenRole, Tokens, Weights};

/// Rows and columns from which a tile is worth the blocked kernel.
const BLOCKED_FROM: usize = 4;
/// Keys in a tile of an overview from which the kernel fills it while it streams; smaller ones are pooled from weights.
const STREAMED_FROM: usize = 6;
/// Queries whose weights are held at a time for that.
const BAND: usize = 64;

/// One head's map for one text: rows are queries, columns are keys. Nothing is computed until it is asked for.
#[derive(Debug, Clone)]
pub struct AttentionMap<'a> {
    layer: &'a Layer,
    item: usize,
    tokens: &'a Item,
    head: usize,
    key_valid: Option<Vec<bool>>,
}

impl<'a> AttentionMap<'a> {
    pub(crate) fn new(layer: &'a Layer, item: usize, tokens: &'a Item, head: usize) -> AttentionMap<'a> {
        let keys = &tokens.keys(layer.kind).tokens;
        let padded = keys.iter().any(|token| token.role == TokenRole::Padding);
        let key_valid = padded.then(|| keys.iter().map(|token| token.role != TokenRole::Padding).collect());
        AttentionMap { layer, item, tokens, head, key_valid }
    }

    /// The kind of attention.
    pub fn kind(&self) -> Kind {
        self.layer.kind
    }

    /// Which head this is.
    pub fn id(&self) -> HeadId {
        HeadId { layer: self.layer.index, head: self.head }
    }

    /// Rows, padding included.
    pub fn n_queries(&self) -> usize {
        self.shape().n_queries
    }

    /// Columns, padding included.
    pub fn n_keys(&self) -> usize {
        self.shape().n_keys
    }

    /// The tokens along the rows.
    pub fn query_tokens(&self) -> &'a Tokens {
        self.tokens.queries(self.kind())
    }

    /// The tokens along the columns.
    pub fn key_tokens(&self) -> &'a Tokens {
        self.tokens.keys(self.kind())
    }

    /// The text the map belongs to.
    pub fn item(&self) -> &'a Item {
        self.tokens
    }

    /// The keys that `query` may look at, padding not considered. For dense weights nothing is known: all keys.
    pub fn visible_keys(&self, query: usize) -> Range<usize> {
        match &self.layer.weights {
            Weights::Factored { scoring, .. } => scoring.visible_keys(query, self.n_keys()),
            Weights::Dense(_) => 0..self.n_keys(),
        }
    }

    /// The position of query 0 among the keys: 0 when both start together.
    pub fn query_offset(&self) -> usize {
        match &self.layer.weights {
            Weights::Factored { scoring, .. } => scoring.query_offset,
            Weights::Dense(_) => 0,
        }
    }

    fn shape(&self) -> &Shape {
        &self.layer.shape
    }

    /// The weights of one query over all keys. Shape `[n_keys]`, in 0 ..= 1; sums to 1 − [sink mass](Self::sink_mass).
    ///
    /// # Panics
    /// When `query` is not below [`n_queries`](Self::n_queries).
    pub fn row(&self, query: usize) -> Vec<f32> {
        self.tile(query..query + 1, 0..self.n_keys())
    }

    /// The weights that all queries give one key. Shape `[n_queries]`.
    ///
    /// # Panics
    /// When `key` is not below [`n_keys`](Self::n_keys).
    pub fn column(&self, key: usize) -> Vec<f32> {
        self.tile(0..self.n_queries(), key..key + 1)
    }

    /// The whole map. Shape `[n_queries, n_keys]`.
    pub fn dense(&self) -> Vec<f32> {
        self.tile(0..self.n_queries(), 0..self.n_keys())
    }

    /// The weights of some queries over some keys. Shape `[queries.len(), keys.len()]`.
    ///
    /// # Panics
    /// When a range reaches outside the map.
    pub fn tile(&self, queries: Range<usize>, keys: Range<usize>) -> Vec<f32> {
        assert!(queries.end <= self.n_queries() && keys.end <= self.n_keys(), "the tile reaches outside the map");
        if let (Some(recorded), true) = (self.recorded(), queries.len() >= BLOCKED_FROM && keys.len() >= BLOCKED_FROM) {
            return recorded.tile(queries, keys);
        }
        let mut tile = vec![0.0; queries.len() * keys.len()]; // [queries, keys]
        for (query, row) in queries.zip(tile.chunks_mut(keys.len().max(1))) {
            self.fill_row(query, keys.clone(), row);
        }
        tile
    }

    /// The weights of `query` over `keys`, written to `row`. Shape `[keys.len()]`.
    ///
    /// # Panics
    /// When the query or a key is outside the map, or `row` has another length than `keys`.
    pub fn fill_row(&self, query: usize, keys: Range<usize>, row: &mut [f32]) {
        let shape = self.shape();
        assert!(query < shape.n_queries && keys.end <= shape.n_keys && row.len() == keys.len());
        let row_index = (self.item * shape.n_heads + self.head) * shape.n_queries + query;
        match &self.layer.weights {
            Weights::Dense(weights) => row.copy_from_slice(&weights[row_index * shape.n_keys..][keys]),
            Weights::Factored { scoring, queries, keys: all_keys, lse } => {
                let lse = f64::from(lse[row_index]);
                let q = &queries[row_index * shape.d_head..][..shape.d_head];
                let kv_row = (self.item * shape.n_kv_heads + shape.kv_head(self.head)) * shape.n_keys;
                let visible = scoring.visible_keys(query, shape.n_keys);
                for (key, weight) in keys.zip(row.iter_mut()) {
                    let valid = visible.contains(&key) && self.key_valid.as_ref().is_none_or(|valid| valid[key]);
                    *weight = if valid && lse != f64::NEG_INFINITY {
                        let k = &all_keys[(kv_row + key) * shape.d_head..][..shape.d_head];
                        (score_f64(scoring, self.head, query, key, dot(q, k)) - lse).exp() as f32
                    } else {
                        0.0
                    };
                }
            }
        }
    }

    /// The weight that a learned sink takes from `query`'s row, in 0 ..= 1; 0 where the model has no sink.
    pub fn sink_mass(&self, query: usize) -> f32 {
        let shape = self.shape();
        match &self.layer.weights {
            Weights::Factored { scoring, lse, .. } => scoring.sinks.as_ref().map_or(0.0, |sinks| {
                (sinks[self.head] - lse[(self.item * shape.n_heads + self.head) * shape.n_queries + query]).exp()
            }),
            Weights::Dense(_) => 0.0,
        }
    }

    /// An overview in `pooling` tiles: maximum, sum and arg-max of each.
    pub fn pooled(&self, pooling: Pooling) -> Pooled {
        let (n_queries, n_keys) = (self.n_queries(), self.n_keys());
        let is_fine = pooling.columns.saturating_mul(STREAMED_FROM) > n_keys;
        if let (Some(recorded), false) = (self.recorded(), is_fine) {
            return recorded.pooled(pooling);
        }
        let mut pooled = Pooled::empty(pooling, n_queries, n_keys);
        if (pooled.rows, pooled.columns) == (n_queries, n_keys) {
            pooled.fill_cells(self.dense());
            return pooled;
        }
        for start in (0..n_queries).step_by(BAND) {
            let band = start..(start + BAND).min(n_queries);
            let weights = self.tile(band.clone(), 0..n_keys); // [band, n_keys]
            for (query, row) in band.zip(weights.chunks_exact(n_keys)) {
                pooled.add_row(query, row);
            }
        }
        pooled
    }

    /// What the blocked kernel needs to compute weights; `None` where the weights are dense already.
    fn recorded(&self) -> Option<Recorded<'_>> {
        let shape = self.shape();
        let Weights::Factored { scoring, queries, keys, lse } = &self.layer.weights else { return None };
        let query_rows = (self.item * shape.n_heads + self.head) * shape.n_queries;
        let key_rows = (self.item * shape.n_kv_heads + shape.kv_head(self.head)) * shape.n_keys;
        Some(Recorded {
            head: self.head,
            scoring,
            queries: &queries[query_rows * shape.d_head..][..shape.n_queries * shape.d_head],
            keys: &keys[key_rows * shape.d_head..][..shape.n_keys * shape.d_head],
            d_head: shape.d_head,
            lse: &lse[query_rows..][..shape.n_queries],
            key_valid: self.key_valid.as_deref(),
            n_keys: shape.n_keys,
        })
    }
}

/// The dot product, summed in f64 so that a single row is as exact as its log-sum-exp.
fn dot(a: &[f32], b: &[f32]) -> f64 {
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            sums[lane] += f64::from(x[lane]) * f64::from(y[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
    sums.iter().sum::<f64>() + rest
}

/// How many tiles an overview has; never more than the map has rows or columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Tiles from top to bottom.
    pub rows: usize,
    /// Tiles from left to right.
    pub columns: usize,
}

/// An overview of a map: each tile's largest weight, its mass, and where the largest weight is.
///
/// Colour it by `max`: a mean hides spikes (`ANALYSES`, trap 8).
#[derive(Debug, Clone, PartialEq)]
pub struct Pooled {
    /// Tiles from top to bottom.
    pub rows: usize,
    /// Tiles from left to right.
    pub columns: usize,
    /// Rows of the map.
    pub n_queries: usize,
    /// Columns of the map.
    pub n_keys: usize,
    /// The largest weight of each tile. Shape `[rows, columns]`.
    pub max: Vec<f32>,
    /// The sum of each tile's weights. Shape `[rows, columns]`.
    pub sum: Vec<f64>,
    /// Query and key of the largest weight; the first of equals. Shape `[rows, columns]`.
    pub argmax: Vec<(u32, u32)>,
}

impl Pooled {
    /// An overview of nothing yet.
    pub fn empty(pooling: Pooling, n_queries: usize, n_keys: usize) -> Pooled {
        let rows = pooling.rows.min(n_queries).max(1);
        let columns = pooling.columns.min(n_keys).max(1);
        let n_tiles = rows * columns;
        let mut pooled = Pooled {
            rows,
            columns,
            n_queries,
            n_keys,
            max: vec![0.0; n_tiles],
            sum: vec![0.0; n_tiles],
            argmax: vec![(0, 0); n_tiles],
        };
        let starts: Vec<u32> = edges(n_keys, columns).take(columns).map(|key| key as u32).collect(); // [columns]
        for (query, tiles) in edges(n_queries, rows).zip(pooled.argmax.chunks_exact_mut(columns)) {
            for (tile, key) in tiles.iter_mut().zip(&starts) {
                *tile = (query as u32, *key);
            }
        }
        pooled
    }

    /// The queries of a row of tiles: `⌈row · n_queries / rows⌉` and on.
    pub fn queries(&self, row: usize) -> Range<usize> {
        (row * self.n_queries).div_ceil(self.rows)..((row + 1) * self.n_queries).div_ceil(self.rows)
    }

    /// The keys of a column of tiles.
    pub fn keys(&self, column: usize) -> Range<usize> {
        (column * self.n_keys).div_ceil(self.columns)..((column + 1) * self.n_keys).div_ceil(self.columns)
    }

    /// Takes a whole row in; rows must come in rising order. Shape `[n_keys]`.
    pub fn add_row(&mut self, query: usize, weights: &[f32]) {
        let first = query * self.rows / self.n_queries * self.columns;
        let mut start = 0;
        for (cell, end) in (first..first + self.columns).zip(edges(self.n_keys, self.columns).skip(1)) {
            let weights = &weights[start..end];
            if let [weight] = weights {
                self.add_at(cell, query, start, *weight);
                start = end;
                continue;
            }
            self.sum[cell] += weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
            let largest = weights.iter().copied().fold(0.0, f32::max);
            if largest > self.max[cell] {
                let position = weights.iter().position(|weight| *weight == largest).unwrap_or(0);
                self.max[cell] = largest;
                self.argmax[cell] = (query as u32, (start + position) as u32);
            }
            start = end;
        }
    }

    /// Takes all weights in, where each tile is one cell. Shape `[rows, columns]`.
    fn fill_cells(&mut self, mut weights: Vec<f32>) {
        self.sum.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum = f64::from(*weight));
        weights.iter_mut().for_each(|weight| *weight = if *weight > 0.0 { *weight } else { 0.0 });
        self.max = weights;
    }

    /// Takes one weight in; weights must come in rising order of query, then key.
    pub fn add(&mut self, query: usize, key: usize, weight: f32) {
        let tile = query * self.rows / self.n_queries * self.columns + key * self.columns / self.n_keys;
        self.add_at(tile, query, key, weight);
    }

    fn add_at(&mut self, tile: usize, query: usize, key: usize, weight: f32) {
        self.sum[tile] += f64::from(weight);
        if weight > self.max[tile] {
            self.max[tile] = weight;
            self.argmax[tile] = (query as u32, key as u32);
        }
    }
}

/// Where tiles begin along an axis: `⌈tile · n / n_tiles⌉` for tile 0 to `n_tiles`, whose last is `n`; no division per tile.
pub(crate) fn edges(n: usize, n_tiles: usize) -> impl Iterator<Item = usize> {
    let (step, more) = (n / n_tiles, n % n_tiles);
    let (mut edge, mut slack) = (0, 0); // slack: how far rounding up went, in 1/n_tiles
    (0..=n_tiles).map(move |tile| {
        if tile > 0 {
            edge += step;
            if more > slack {
                edge += 1;
                slack += n_tiles;
            }
            slack -= more;
        }
        edge
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_rounded_up_shares_of_the_axis() {
        for (n, n_tiles) in
            [(10_usize, 3_usize), (7, 7), (512, 64), (100, 7), (1, 1), (2000, 512), (9, 1), (65_536, 1000), (0, 1)]
        {
            let wanted: Vec<usize> = (0..=n_tiles).map(|tile| (tile * n).div_ceil(n_tiles)).collect();
            assert_eq!(edges(n, n_tiles).collect::<Vec<_>>(), wanted, "{n} in {n_tiles}");
        }
    }

    #[test]
    fn tiles_of_an_overview_cover_each_weight_once() {
        let mut pooled = Pooled::empty(Pooling { rows: 3, columns: 4 }, 10, 7);
        for query in 0..10 {
            for key in 0..7 {
                pooled.add(query, key, 1.0);
            }
        }
        for row in 0..3 {
            for column in 0..4 {
                let cells = pooled.queries(row).len() * pooled.keys(column).len();
                assert_eq!(pooled.sum[row * 4 + column], cells as f64, "tile {row},{column}");
            }
        }
    }
}
