//! Attention whose scores are no function of `Q·K` and one distance: they join content and distance (He et al. 2021, DeBERTa), or have
//! something added to them that is neither ([`AddedWeights`]). So its weights are computed, and recorded, as a dense array.

use attlas_kernels::{Matrix, Onto, Threads, multiply};
use rayon::prelude::*;

use super::edits::{Row, WeightEdits};
use super::weights::{AddedWeights, DistanceWeights};
use crate::config::{Activation, Attention, Directions, Disentangled};
use crate::load::bucket;

/// What one layer's attention reads: head-major arrays of all items.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    /// Shape `[n_items, n_heads, n, d_head]`.
    pub queries: &'a [f32],
    /// Shape `[n_items, n_heads, n, d_head]`.
    pub keys: &'a [f32],
    /// Shape `[n_items, n_heads, n, d_head]`.
    pub values: &'a [f32],
    /// What the layer reads. Shape `[n_items, n, d_model]`.
    pub input: &'a [f32],
    /// Which keys are no padding; all when `None`. Shape `[n_items, n]`.
    pub valid: Option<&'a [bool]>,
    /// Tokens of each item.
    pub n: usize,
    /// What is changed in the weights.
    pub edits: &'a WeightEdits<'a>,
    /// The number of the text that an item is.
    pub text: &'a (dyn Fn(usize) -> usize + Sync),
}

/// What scores are besides products of queries and keys.
#[derive(Clone, Copy)]
pub(crate) struct Terms<'a> {
    /// Content with distance.
    pub disentangled: Option<(&'a Disentangled, &'a DistanceWeights)>,
    /// What is added to the scaled products.
    pub added: Option<&'a AddedWeights>,
}

/// Fills `context`, shape `[n_items · n, n_heads · d_head]`, and returns the weights, shape `[n_items, n_heads, n, n]`;
/// they are empty unless they are to be kept.
pub(crate) fn attend(
    config: &Attention,
    terms: Terms<'_>,
    heads: Heads<'_>,
    keeps_weights: bool,
    context: &mut [f32],
) -> Vec<f32> {
    let Heads { n, .. } = heads;
    let (n_heads, d_head) = (config.n_heads, config.d_head);
    let n_maps = heads.queries.len() / (n * d_head);
    let mut kept = vec![0.0; if keeps_weights { n_maps * n * n } else { 0 }]; // [n_items, n_heads, n, n]
    let mut scratch = vec![0.0; if keeps_weights { 0 } else { n * n }]; // [n, n]
    let mut mixed = vec![0.0; n * d_head]; // [n, d_head]
    for map in 0..n_maps {
        let (item, head) = (map / n_heads, map % n_heads);
        let weights = if keeps_weights { &mut kept[map * n * n..][..n * n] } else { &mut scratch };
        weigh(config, terms, heads, [item, head], weights);
        let values = Matrix::new(&heads.values[map * n * d_head..][..n * d_head], n, d_head);
        multiply(Matrix::new(weights, n, n), values, Onto::Replace, Threads::All, &mut mixed);
        for (token, row) in mixed.chunks_exact(d_head).enumerate() {
            context[((item * n + token) * n_heads + head) * d_head..][..d_head].copy_from_slice(row);
        }
    }
    kept
}

/// The weights of one head of one item. Shape `[n, n]`.
fn weigh(config: &Attention, terms: Terms<'_>, heads: Heads<'_>, [item, head]: [usize; 2], weights: &mut [f32]) {
    let Terms { disentangled, added } = terms;
    let (n, d_head) = (heads.n, config.d_head);
    let n_rows = disentangled.map_or(0, |(terms, _)| 2 * terms.span);
    let start = (item * config.n_heads + head) * n * d_head;
    let (queries, keys) = (&heads.queries[start..][..n * d_head], &heads.keys[start..][..n * d_head]);
    let valid = heads.valid.map(|valid| &valid[item * n..][..n]);
    // 1. content with content, and each side's content with every distance
    let dots = |left: &[f32], right: &[f32], n_right: usize, output: &mut [f32]| {
        let right = Matrix::new(right, n_right, d_head).transposed();
        multiply(Matrix::new(left, n, d_head), right, Onto::Replace, Threads::All, output);
    };
    dots(queries, keys, n, weights);
    let against = |rows: &[f32], table: &Option<Vec<f32>>| {
        let table = &table.as_ref()?[head * n_rows * d_head..][..n_rows * d_head];
        let mut by_distance = vec![0.0; n * n_rows]; // [n, 2 · span]
        dots(rows, table, n_rows, &mut by_distance);
        Some(by_distance)
    };
    let by_query = disentangled.and_then(|(_, distances)| against(queries, &distances.keys));
    let by_key = disentangled.and_then(|(_, distances)| against(keys, &distances.queries));
    // 2. the row of the table for each distance `query − key`, from `−(n − 1)` on, and what is added
    let row = |distance| disentangled.map_or(0, |(terms, _)| terms.row(distance));
    let rows: Vec<usize> = (1 - n as i64..n as i64).map(row).collect(); // [2n − 1]
    let added = added.map(|added| added.of_head(config, heads, [item, head])); // [n, n]
    // 3. scores and softmax, row by row
    let text = (heads.text)(item);
    weights.par_chunks_exact_mut(n).enumerate().for_each(|(query, scores)| {
        for (key, score) in scores.iter_mut().enumerate() {
            let row = rows[query + n - 1 - key];
            let by_query = by_query.as_ref().map_or(0.0, |dots| dots[query * n_rows + row]);
            let by_key = by_key.as_ref().map_or(0.0, |dots| dots[key * n_rows + row]);
            let is_valid = valid.is_none_or(|valid| valid[key]);
            let added = added.as_ref().map_or(0.0, |added| added[query * n + key]);
            *score = if is_valid { config.scale * (*score + by_query + by_key) + added } else { f32::NEG_INFINITY };
        }
        let place = Row { text, head, query };
        if heads.edits.touch(place) { weigh_edited(heads.edits, place, scores) } else { softmax(scores) }
    });
}

/// Makes weights of a row's scores and changes them as the plan says.
fn weigh_edited(edits: &WeightEdits<'_>, place: Row, row: &mut [f32]) {
    let mut numbers: Vec<f64> = row.iter().map(|score| f64::from(*score)).collect(); // [n]
    edits.weigh(place, f64::NEG_INFINITY, &mut numbers);
    row.iter_mut().zip(numbers).for_each(|(weight, number)| *weight = number as f32);
}

/// `exp(x) / Σ exp(x)`; all 0 where every score is −∞.
fn softmax(scores: &mut [f32]) {
    let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        scores.fill(0.0);
        return;
    }
    scores.iter_mut().for_each(|score| *score = (*score - max).exp());
    let total: f32 = scores.iter().sum();
    scores.iter_mut().for_each(|weight| *weight /= total);
}

impl AddedWeights {
    /// What is added to the scores of one head of an item. Shape `[n, n]`.
    fn of_head(&self, config: &Attention, heads: Heads<'_>, [item, head]: [usize; 2]) -> Vec<f32> {
        let (n, n_heads) = (heads.n, config.n_heads);
        match self {
            AddedWeights::Ways { table, grid } => ways(table, *grid, n, n_heads, head).collect(),
            AddedWeights::Gated { table, max_distance, gate, factors } => {
                let n_buckets = table.len() / n_heads;
                let of_offset = |offset| {
                    let bucket = bucket(offset, n_buckets, *max_distance, Directions::Both).min(n_buckets - 1);
                    table[bucket * n_heads + head]
                };
                let biases: Vec<f32> = (1 - n as i64..n as i64).map(of_offset).collect(); // [2n − 1], of key − query
                let width = gate.d_in;
                let row = |query: usize| &heads.input[((item * n + query) * n_heads + head) * width..][..width];
                let rows: Vec<f32> = (0..n).flat_map(row).copied().collect(); // [n, d_head]
                let mut gates = vec![0.0; n * gate.d_out]; // [n, 8]
                gate.forward(&rows, &mut gates, Activation::Identity);
                let share = |gates: &[f32]| 1.0 / (1.0 + (-gates.iter().sum::<f32>()).exp());
                let factor = |gates: &[f32]| {
                    let (first, second) = gates.split_at(gates.len() / 2);
                    share(first) * (share(second) * factors[head] - 1.0) + 2.0
                };
                let rows = gates.chunks_exact(gate.d_out).map(factor).enumerate();
                rows.flat_map(|(query, factor)| biases[n - 1 - query..][..n].iter().map(move |bias| factor * bias))
                    .collect()
            }
        }
    }
}

impl AddedWeights {
    /// What is added to the scores of all heads, where neither queries nor hidden states have a part in it. Shape `[n_heads, n, n]`.
    pub(super) fn of_ways(&self, n: usize, n_heads: usize) -> Option<Vec<f32>> {
        match self {
            AddedWeights::Ways { table, grid } => {
                Some((0..n_heads).flat_map(|head| ways(table, *grid, n, n_heads, head)).collect())
            }
            AddedWeights::Gated { .. } => None,
        }
    }
}

/// A head's numbers for each way of each query to each key. Shape `[n, n]`.
fn ways(table: &[f32], grid: [usize; 2], n: usize, n_heads: usize, head: usize) -> impl Iterator<Item = f32> {
    (0..n).flat_map(move |query| (0..n).map(move |key| table[way(query, key, grid) * n_heads + head]))
}

/// The row of a table of ways from patch to patch: by rows and columns, then three for the row before the patches: from it, to it, to
/// itself.
fn way(query: usize, key: usize, [n_rows, n_columns]: [usize; 2]) -> usize {
    let n_ways = (2 * n_rows - 1) * (2 * n_columns - 1);
    match (query.checked_sub(1), key.checked_sub(1)) {
        (None, None) => n_ways + 2,
        (Some(_), None) => n_ways + 1,
        (None, Some(_)) => n_ways,
        (Some(query), Some(key)) => {
            let down = query / n_columns + n_rows - 1 - key / n_columns;
            let across = query % n_columns + n_columns - 1 - key % n_columns;
            down * (2 * n_columns - 1) + across
        }
    }
}

impl Disentangled {
    /// The table's row for a distance `query − key`.
    pub(crate) fn row(&self, distance: i64) -> usize {
        let span = self.span as i64;
        (self.bucket(distance) + span).clamp(0, 2 * span - 1) as usize
    }

    /// The bucket of a distance: exact up to half a span, then logarithmic, computed in f32 as PyTorch does.
    fn bucket(&self, distance: i64) -> i64 {
        let middle = self.span as i64 / 2;
        let Some(max_distance) = self.max_distance.filter(|_| distance.abs() > middle) else { return distance };
        if middle == 0 {
            return distance;
        }
        let far = (distance.abs() as f32 / middle as f32).ln() / ((max_distance as f32 - 1.0) / middle as f32).ln();
        distance.signum() * ((far * (middle - 1) as f32).ceil() as i64 + middle)
    }
}

impl DistanceWeights {
    /// From a table that all layers share, through one layer's projections.
    ///
    /// `table` has shape `[2 · span, d_model]`; the linear layers give all heads side by side.
    pub(crate) fn new(
        config: &Attention,
        table: &[f32],
        keys: Option<&super::linear::Linear>,
        queries: Option<&super::linear::Linear>,
    ) -> DistanceWeights {
        let (n_heads, d_head) = (config.n_heads, config.d_head);
        let by_head = |linear: &super::linear::Linear| {
            let n_rows = table.len() / linear.d_in;
            let mut rows = vec![0.0; n_rows * linear.d_out]; // [2 · span, n_heads · d_head]
            linear.forward(table, &mut rows, Activation::Identity);
            let head_rows = |head: usize| (0..n_rows).map(move |row| (row * n_heads + head) * d_head);
            (0..n_heads).flat_map(head_rows).flat_map(|start| &rows[start..][..d_head]).copied().collect()
        };
        DistanceWeights { keys: keys.map(by_head), queries: queries.map(by_head) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_from_patch_to_patch_are_counted_as_the_table_stores_them() {
        // transformers' generate_relative_position_index((2, 3))
        let rows = |query| (0..7).map(|key| way(query, key, [2, 3])).collect::<Vec<_>>();
        assert_eq!(rows(0), [17, 15, 15, 15, 15, 15, 15]);
        assert_eq!(rows(1), [16, 7, 6, 5, 2, 1, 0]);
        assert_eq!(rows(6), [16, 14, 13, 12, 9, 8, 7]);
    }

    #[test]
    fn far_distances_share_buckets_and_the_table_ends() {
        let terms = Disentangled {
            span: 6,
            max_distance: Some(40),
            content_to_position: true,
            position_to_content: true,
            shared_projections: true,
        };
        // values of transformers' make_log_bucket_position(d, 6, 40)
        let buckets: Vec<i64> = [0, 1, 3, 4, 6, 10, 20, 39, -3, -4, -39].map(|d| terms.bucket(d)).to_vec();
        assert_eq!(buckets, [0, 1, 3, 4, 4, 4, 5, 5, -3, -4, -5]);
        assert_eq!([terms.row(0), terms.row(-100), terms.row(100)], [6, 0, 11]);
    }
}
