//! Pooled overviews of a map: how an axis falls into tiles, and what is kept of each.

use std::ops::Range;

/// How many tiles an overview has; never more than the map has rows or columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pooling {
    /// Tiles from top to bottom.
    pub rows: usize,
    /// Tiles from left to right.
    pub columns: usize,
}

/// Keys in a tile of an overview from which the kernel fills it while it streams; smaller ones are pooled from weights.
const STREAMED_FROM: usize = 6;
/// Queries whose weights are held at a time for that.
const BAND: usize = 64;

impl Pooling {
    /// Whether tiles of a map with `n_keys` columns are so small that they are better pooled from weights.
    pub(crate) fn is_fine(self, n_keys: usize) -> bool {
        self.columns.saturating_mul(STREAMED_FROM) > n_keys
    }
}

/// An overview of a map: each tile's largest weight, its mass, and where the largest weight is.
///
/// Colour it by `max`: a mean hides spikes. Of numbers of either sign, the largest is the one of the largest size.
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
    /// An overview that no row has been added to: maxima and sums 0, each argmax the first cell of its tile.
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

    /// The overview of a map of this size, of whose rows `weights` gives some. Shape `[queries.len(), n_keys]`.
    pub(crate) fn of_weights(
        pooling: Pooling,
        (n_queries, n_keys): (usize, usize),
        weights: impl Fn(Range<usize>) -> Vec<f32>,
    ) -> Pooled {
        let mut pooled = Pooled::empty(pooling, n_queries, n_keys);
        if (pooled.rows, pooled.columns) == (n_queries, n_keys) {
            pooled.fill_cells(weights(0..n_queries));
            return pooled;
        }
        for start in (0..n_queries).step_by(BAND) {
            let band = start..(start + BAND).min(n_queries);
            for (query, row) in band.clone().zip(weights(band).chunks_exact(n_keys.max(1))) {
                pooled.add_row(query, row);
            }
        }
        pooled
    }

    /// The queries of a row of tiles: `⌈row · n_queries / rows⌉` and on.
    pub fn queries(&self, row: usize) -> Range<usize> {
        (row * self.n_queries).div_ceil(self.rows)..((row + 1) * self.n_queries).div_ceil(self.rows)
    }

    /// The keys of a column of tiles: `⌈column · n_keys / columns⌉` and on.
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
            let larger = |a: f32, b: f32| if b.abs() > a.abs() { b } else { a };
            let largest = weights.iter().copied().fold(0.0, larger);
            if largest.abs() > self.max[cell].abs() {
                let position = weights.iter().position(|weight| *weight == largest).unwrap_or(0);
                self.max[cell] = largest;
                self.argmax[cell] = (query as u32, (start + position) as u32);
            }
            start = end;
        }
    }

    /// Takes all weights in, where each tile is one cell. Shape `[rows, columns]`.
    pub(crate) fn fill_cells(&mut self, mut weights: Vec<f32>) {
        self.sum.iter_mut().zip(&weights).for_each(|(sum, weight)| *sum = f64::from(*weight));
        weights.iter_mut().for_each(|weight| *weight = if weight.is_nan() { 0.0 } else { *weight });
        self.max = weights;
    }

    /// Takes one weight in; weights must come in rising order of query, then key.
    pub fn add(&mut self, query: usize, key: usize, weight: f32) {
        let tile = query * self.rows / self.n_queries * self.columns + key * self.columns / self.n_keys;
        self.add_at(tile, query, key, weight);
    }

    fn add_at(&mut self, tile: usize, query: usize, key: usize, weight: f32) {
        self.sum[tile] += f64::from(weight);
        if weight.abs() > self.max[tile].abs() {
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
    fn the_largest_of_numbers_of_either_sign_is_that_of_the_largest_size() {
        let row = [0.25, -0.5, 0.5, 0.0, -0.125, f32::NAN];
        let mut by_row = Pooled::empty(Pooling { rows: 1, columns: 2 }, 1, 6);
        by_row.add_row(0, &row);
        let mut one_by_one = Pooled::empty(Pooling { rows: 1, columns: 2 }, 1, 6);
        row.iter().enumerate().for_each(|(key, number)| one_by_one.add(0, key, *number));
        for pooled in [by_row, one_by_one] {
            assert_eq!((pooled.max, pooled.argmax), (vec![-0.5, -0.125], vec![(0, 1), (0, 4)]));
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
