//! Weights of recorded maps: tiles and overviews, with the log-sum-exp that was recorded.

use std::f64::consts::LOG2_E;
use std::ops::Range;

use rayon::prelude::*;

use super::block::{Block, Head, in_two};
use super::group::{Lse, key_block};
use super::rule::{About, Rule};
use super::{SEQUENTIAL_BELOW, Shared, stream};
use crate::{MaskView, Pooled, Pooling, Scoring};
use attlas_kernels::Instructions;
use attlas_kernels::dispatch::{self, Task};
use attlas_kernels::vector::{MAX_WIDTH, Vector};
use attlas_kernels::{Carver, SCRATCH, turn};

/// A log-sum-exp beyond this, either side of 0, is that of a head whose scores f32 cannot tell apart well enough: next to
/// 16 they are 1e-6 apart, and an error in a score is one of the same size in the weight.
const LARGE: f64 = 16.0;

/// Whether the weights of a head with these log-sum-exps must be computed in f64. Of such a head also the rows with small
/// ones are in doubt: their dot products may be small differences of large numbers.
pub(crate) fn needs_f64(lse: &[f64]) -> bool {
    lse.iter().any(|lse| lse.is_finite() && lse.abs() > LARGE)
}

/// One head's map as it was recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded<'a> {
    /// Which head of the layer; its number in [`Scoring`].
    pub head: usize,
    /// How scores are formed.
    pub scoring: &'a Scoring,
    /// Shape `[n_queries, d_head]`.
    pub queries: &'a [f32],
    /// Shape `[n_keys, d_head]`.
    pub keys: &'a [f32],
    /// Width of a query and of a key.
    pub d_head: usize,
    /// Each row's log-sum-exp. Shape `[n_queries]`.
    pub lse: &'a [f64],
    /// Which keys are not padding. Shape `[n_keys]`.
    pub key_valid: Option<&'a [bool]>,
    /// Which keys are seen of those that the band lets through.
    pub mask: Option<MaskView<'a>>,
    /// Added to each key's scores. Shape `[n_keys]`.
    pub key_bias: Option<&'a [f32]>,
    /// Columns of the map.
    pub n_keys: usize,
    /// Whether [`needs_f64`] says so of `lse`.
    pub needs_f64: bool,
}

impl<'a> Recorded<'a> {
    /// The weights of some queries over some keys, in parallel. Shape `[queries.len(), keys.len()]`.
    pub fn tile(&self, queries: Range<usize>, keys: Range<usize>) -> Vec<f32> {
        self.tile_with(Instructions::best(), queries, keys)
    }

    /// [`tile`](Self::tile) with chosen instructions.
    pub fn tile_with(&self, instructions: Instructions, queries: Range<usize>, keys: Range<usize>) -> Vec<f32> {
        let rule = Rule::new(&self.about(), self.head, queries.clone(), keys.clone());
        self.weights(instructions, &self.with_rule(self.queries, rule), self.lse, queries, keys)
    }

    /// The weights of some queries, in rising order, over `keys`, in parallel: the same numbers as in a [tile](Self::tile).
    /// Shape `[queries.len(), keys.len()]`.
    pub fn rows(&self, queries: &[usize], keys: Range<usize>) -> Vec<f32> {
        self.rows_with(Instructions::best(), queries, keys)
    }

    fn rows_with(&self, instructions: Instructions, queries: &[usize], keys: Range<usize>) -> Vec<f32> {
        let query = |query: &usize| &self.queries[query * self.d_head..][..self.d_head];
        let gathered: Vec<f32> = queries.iter().flat_map(query).copied().collect(); // [queries, d_head]
        self.gathered_rows(instructions, queries, &gathered, keys)
    }

    /// [`rows`](Self::rows) of queries that were read apart from the others, of a head that needs no f64.
    /// Shape of `read`: `[queries.len(), d_head]`.
    pub fn rows_of(&self, queries: &[usize], read: &[f32], keys: Range<usize>) -> Vec<f32> {
        debug_assert!(!self.needs_f64, "exact rows are computed from all queries");
        self.gathered_rows(Instructions::best(), queries, read, keys)
    }

    fn gathered_rows(
        &self,
        instructions: Instructions,
        queries: &[usize],
        gathered: &[f32],
        keys: Range<usize>,
    ) -> Vec<f32> {
        let lse: Vec<f64> = queries.iter().map(|query| self.lse[*query]).collect(); // [queries]
        let rule = Rule::spaced(&self.about(), self.head, queries, keys.clone());
        let head = self.with_rule(gathered, rule);
        self.weights(instructions, &head, &lse, 0..queries.len(), keys)
    }

    /// The weights of some rows of `head` over `keys`, in parallel. Shape `[rows.len(), keys.len()]`.
    fn weights(
        &self,
        instructions: Instructions,
        head: &Head<'_>,
        lse: &[f64],
        rows: Range<usize>,
        keys: Range<usize>,
    ) -> Vec<f32> {
        let mut weights = vec![0.0; rows.len() * keys.len()]; // [rows, keys]
        if weights.is_empty() {
            return weights;
        }
        let instructions = instructions.or_portable();
        let block_rows = instructions.block_rows();
        let n_multiply_adds = weights.len().saturating_mul(self.d_head);
        let fill = |(step, weights): (usize, &mut [f32])| {
            let start = rows.start + step * block_rows;
            let rows = start..(start + block_rows).min(rows.end);
            if self.needs_f64 {
                let queries: Vec<usize> = rows.map(|row| head.rule.query(row)).collect();
                return self.precise_rows(instructions, &queries, keys.clone(), weights);
            }
            dispatch::run(instructions, TileRows { head, lse, rows, keys: keys.clone(), weights });
        };
        let piece = block_rows * keys.len();
        if n_multiply_adds < SEQUENTIAL_BELOW {
            weights.chunks_mut(piece).enumerate().for_each(fill);
        } else {
            weights.par_chunks_mut(piece).enumerate().for_each(fill);
        }
        weights
    }

    /// An overview of the whole map, in parallel.
    pub fn pooled(&self, pooling: Pooling) -> Pooled {
        let size = (self.lse.len(), self.n_keys);
        let rule = Rule::new(&self.about(), self.head, 0..size.0, 0..size.1);
        let heads = [self.with_rule(self.queries, rule)];
        let lse = Lse::Given(self.lse);
        let overviews = stream(Instructions::best(), &heads, size, &Shared::new(&mut []), &lse, Some(pooling));
        overviews.into_iter().next().unwrap_or_else(|| Pooled::empty(pooling, size.0, size.1))
    }

    fn about(&self) -> About<'a> {
        let Recorded { scoring, key_bias, key_valid, mask, .. } = *self;
        About { scoring, key_bias, key_valid, mask }
    }

    /// What blocks of `queries` read, whose rows the rule counts.
    fn with_rule<'b>(&self, queries: &'b [f32], rule: Rule<'b>) -> Head<'b>
    where
        'a: 'b,
    {
        Head { queries, keys: self.keys, values: &[], d_head: self.d_head, d_value: 0, rule }
    }
}

/// One piece of work: one block of queries of a tile.
struct TileRows<'a> {
    head: &'a Head<'a>,
    /// The log-sum-exp of each row of the head.
    lse: &'a [f64],
    rows: Range<usize>,
    keys: Range<usize>,
    /// All 0 before. Shape `[rows.len(), keys.len()]`.
    weights: &'a mut [f32],
}

impl Task for TileRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let d_head = self.head.d_head;
        let width = self.rows.len().next_multiple_of(V::LANES);
        let key_block = key_block(d_head);
        let mut scratch = SCRATCH.take();
        let n_numbers = (d_head + key_block) * width + 8 * Carver::ALIGNMENT;
        let mut carver = Carver::new(&mut scratch, n_numbers);
        let scores = carver.take(key_block * width); // [key_block, width]
        let mut block = Block {
            rows: self.rows.clone(),
            queries: carver.take(d_head * width),
            context: &mut [],
            reference: &mut [],
            sum: &mut [],
            lost: &mut [],
            overview: None,
        };
        // SAFETY: the caller vouches for the instructions.
        unsafe { block.pack::<V>(self.head, width) }
        let (log_sums, rests) = self.log_sums();
        let visible = self.head.rule.visible(&self.rows);
        for start in visible.clone().step_by(key_block) {
            let keys = start..(start + key_block).min(visible.end);
            if !self.head.rule.any_sees(&self.rows, &keys) {
                continue;
            }
            let scores = &mut scores[..keys.len() * width];
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                match width / V::LANES {
                    1 => block.score::<V, 1>(self.head, &keys, scores),
                    3 if const { V::TILE_COLUMNS == 3 } => block.score::<V, 3>(self.head, &keys, scores),
                    _ => block.score::<V, 2>(self.head, &keys, scores),
                }
                weigh::<V>(scores, width, &log_sums, &rests);
            }
            let n_columns = self.keys.len();
            let weights = &mut self.weights[keys.start - self.keys.start..];
            assert!(weights.len() >= (self.rows.len() - 1) * n_columns + keys.len());
            // SAFETY: the caller vouches for the instructions; scores hold all lanes, and the weights were measured.
            unsafe {
                let size = [keys.len(), self.rows.len()];
                turn::<V>(scores.as_ptr(), width, size, weights.as_mut_ptr(), n_columns);
            }
        }
        SCRATCH.set(scratch);
    }
}

impl TileRows<'_> {
    /// Each lane's log-sum-exp in powers of two, as two numbers that add up to it; ∞ where the row sees no key.
    fn log_sums(&self) -> ([f32; MAX_WIDTH], [f32; MAX_WIDTH]) {
        let mut log_sums = [f32::INFINITY; MAX_WIDTH]; // [width]
        let mut rests = [0.0; MAX_WIDTH]; // [width]
        for (lane, row) in self.rows.clone().enumerate() {
            (log_sums[lane], rests[lane]) = in_two(self.lse[row] * LOG2_E);
        }
        (log_sums, rests)
    }
}

/// Turns scores into weights: `2^(score − log_sum − rest)`. Shape `[n_keys, width]`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn weigh<V: Vector>(scores: &mut [f32], width: usize, log_sums: &[f32; MAX_WIDTH], rests: &[f32; MAX_WIDTH]) {
    // SAFETY: the caller vouches for the instructions; every slice read or written holds `LANES` numbers.
    unsafe {
        let largest = V::splat(126.0); // a recorded log-sum-exp may be wrong: the weight is then absurd, but a number
        for row in scores.chunks_exact_mut(width) {
            for (c, slot) in row.chunks_exact_mut(V::LANES).enumerate() {
                let log_sum = V::load(log_sums[c * V::LANES..].as_ptr());
                let rest = V::load(rests[c * V::LANES..].as_ptr());
                let power = V::load(slot.as_ptr()).sub(log_sum).sub(rest);
                largest.where_less(power, largest, power).exp2().store(slot.as_mut_ptr());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::Shape;
    use crate::{Bias, Mask, Visibility};

    #[test]
    fn every_instruction_set_gives_the_tile_that_the_formula_gives() {
        let (n_queries, n_keys, d_head) = (61, 203, 5);
        let number = |i: usize| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 2.0;
        let queries: Vec<f32> = (0..n_queries * d_head).map(number).collect();
        let keys: Vec<f32> = (0..n_keys * d_head).map(|i| number(i + 13)).collect();
        let scoring = Scoring::scaled_dot_product(d_head, Visibility { before: Some(40), after: Some(70) });
        let lse = vec![3.0; n_queries];
        let map = Recorded {
            head: 0,
            scoring: &scoring,
            queries: &queries,
            keys: &keys,
            d_head,
            lse: &lse,
            key_valid: None,
            mask: None,
            key_bias: None,
            n_keys,
            needs_f64: false,
        };
        let sets = Instructions::ALL.into_iter().filter(|choice| choice.available());
        for (instructions, needs_f64) in sets.flat_map(|set| [(set, false), (set, true)]) {
            let tile = Recorded { needs_f64, ..map }.tile_with(instructions, 3..60, 11..199);
            for (index, weight) in tile.iter().enumerate() {
                let (query, key) = (3 + index / 188, 11 + index % 188);
                let row = |numbers: &[f32], at: usize| numbers[at * d_head..][..d_head].to_vec();
                let dot: f64 =
                    row(&queries, query).iter().zip(row(&keys, key)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum();
                let seen = scoring.visible_keys(query, n_keys).contains(&key);
                let wanted = if seen { (dot / 5.0_f64.sqrt() - 3.0).exp() } else { 0.0 };
                assert!(
                    (f64::from(*weight) - wanted).abs() <= 1e-6 * wanted.max(1.0),
                    "{instructions:?} {needs_f64} {query} {key}"
                );
            }
        }
    }

    #[test]
    fn rows_that_are_no_neighbours_are_those_of_the_tile_with_bias_mask_and_large_scores() {
        let (n_queries, n_keys, d_head) = (150, 203, 5);
        let number = |i: usize| ((i * 7919 % 1009) as f32 / 504.5 - 1.0) * 2.0;
        let queries: Vec<f32> = (0..n_queries * d_head).map(number).collect();
        let keys: Vec<f32> = (0..n_keys * d_head).map(|i| number(i + 13)).collect();
        let key_valid: Vec<bool> = (0..n_keys).map(|key| key % 17 != 3 && key < 190).collect();
        let dense: Vec<bool> = (0..n_queries * n_keys).map(|cell| cell % 11 != 5).collect(); // [n_queries, n_keys]
        let mask = Mask::from_dense(&dense, [1, 1, n_queries, n_keys]);
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries, n_keys, d_head, d_value: 0 };
        let lse: Vec<f64> = (0..n_queries)
            .map(|query| if query == 7 { f64::NEG_INFINITY } else { 3.0 + query as f64 / 100.0 })
            .collect();
        let table: Vec<f32> = (0..9).map(number).collect();
        let biases =
            [Bias::None, Bias::Alibi { slopes: vec![0.01] }, Bias::Relative { first: -4, table, n_offsets: 9 }];
        for (bias, (is_masked, needs_f64)) in biases
            .into_iter()
            .flat_map(|bias| [(false, false), (true, false), (true, true)].map(|at| (bias.clone(), at)))
        {
            let visibility = Visibility { before: Some(90), after: Some(70) };
            let scoring = Scoring { bias, query_offset: 2, ..Scoring::scaled_dot_product(d_head, visibility) };
            let map = Recorded {
                head: 0,
                scoring: &scoring,
                queries: &queries,
                keys: &keys,
                d_head,
                lse: &lse,
                key_valid: is_masked.then_some(&key_valid[..]),
                mask: is_masked.then(|| mask.of_item(0, &shape)),
                key_bias: None,
                n_keys,
                needs_f64,
            };
            let spaced: Vec<usize> = (0..n_queries).filter(|query| query % 7 < 3).collect();
            for instructions in Instructions::ALL.into_iter().filter(|choice| choice.available()) {
                let whole = map.tile_with(instructions, 0..n_queries, 1..n_keys);
                let rows = map.rows_with(instructions, &spaced, 1..n_keys);
                for (row, query) in rows.chunks_exact(n_keys - 1).zip(&spaced) {
                    assert_eq!(row, &whole[query * (n_keys - 1)..][..n_keys - 1], "{instructions:?} {query}");
                }
            }
        }
    }
}
