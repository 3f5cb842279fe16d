//! Parts of one head's map with their weights in memory: for packed texts, which are short, and for the way back.

use std::ops::Range;

use attlas::attention::{Inputs, reference};
use attlas_kernels::{Matrix, Onto, Threads, multiply};

use super::dropout::Dropout;
use super::edits::WeightEdits;
use super::state::Packing;

/// Rows of a map that are computed together, where texts are not packed.
const ROWS: usize = 64;

/// The maps of one item.
#[derive(Clone, Copy)]
pub(super) struct Maps<'a> {
    /// Queries, keys, values, and how scores are formed.
    pub inputs: Inputs<'a>,
    /// What is added to scores besides. Shape `[n_heads, n_queries, n_keys]`.
    pub added: Option<&'a [f32]>,
    /// The number of the text that the item is.
    pub text: usize,
    /// What the plan changes in the weights.
    pub edits: &'a WeightEdits<'a>,
    /// Which weights are set to 0.
    pub dropout: Dropout,
    /// The texts of queries and of keys, where the item is several.
    pub packing: Option<[Packing<'a>; 2]>,
    /// All weights before dropout, by [`Part::first`]; empty where they are to be computed.
    pub weights: &'a [f32],
}

/// Some rows of one head's map, and the keys that any of them sees.
pub(super) struct Part {
    pub head: usize,
    /// Which queries.
    pub queries: Range<usize>,
    /// Which keys.
    pub keys: Range<usize>,
    /// The first query and the first key of their text.
    pub origin: [usize; 2],
    /// The place of its first weight among all of the item, as dropout counts them.
    pub first: usize,
}

impl Maps<'_> {
    /// The parts that a head's map is computed in: each text's, or some rows at a time, then of all keys if `all_keys`.
    pub fn parts(&self, head: usize, all_keys: bool) -> Vec<Part> {
        let shape = self.inputs.shape;
        if let Some([queries, keys]) = self.packing {
            let mut first = 0;
            let texts = queries.starts.windows(2).zip(keys.starts.windows(2));
            let part = |(queries, keys): (&[usize], &[usize])| {
                let n = (queries[1] - queries[0]) * (keys[1] - keys[0]);
                let place = first + head * n;
                first += shape.n_heads * n;
                let origin = [queries[0], keys[0]];
                Part { head, queries: queries[0]..queries[1], keys: keys[0]..keys[1], origin, first: place }
            };
            return texts.map(part).collect();
        }
        let part = |start: usize| {
            let queries = start..(start + ROWS).min(shape.n_queries);
            let keys = if all_keys { 0..shape.n_keys } else { self.seen(queries.clone()) };
            Part { head, queries, keys, origin: [0, 0], first: 0 }
        };
        (0..shape.n_queries).step_by(ROWS).map(part).collect()
    }

    /// The keys that some queries see together.
    fn seen(&self, queries: Range<usize>) -> Range<usize> {
        let n_keys = self.inputs.shape.n_keys;
        let ranges =
            queries.map(|query| self.inputs.scoring.visible_keys(query, n_keys)).filter(|keys| !keys.is_empty());
        ranges.reduce(|all, keys| all.start.min(keys.start)..all.end.max(keys.end)).unwrap_or(0..0)
    }

    /// The queries of a part. Shape `[n, d_head]`.
    pub fn queries(&self, part: &Part) -> Matrix<'_> {
        let shape = self.inputs.shape;
        rows(self.inputs.queries, part.head * shape.n_queries, &part.queries, shape.d_head)
    }

    /// Its keys. Shape `[n_keys, d_head]`.
    pub fn keys(&self, part: &Part) -> Matrix<'_> {
        let shape = self.inputs.shape;
        rows(self.inputs.keys, shape.kv_head(part.head) * shape.n_keys, &part.keys, shape.d_head)
    }

    /// Its values. Shape `[n_keys, d_value]`.
    pub fn values(&self, part: &Part) -> Matrix<'_> {
        let shape = self.inputs.shape;
        rows(self.inputs.values, shape.kv_head(part.head) * shape.n_keys, &part.keys, shape.d_value)
    }

    /// The dot products of its queries and keys. Shape `[n, n_keys]`.
    pub fn dots(&self, part: &Part) -> Vec<f32> {
        let mut dots = vec![0.0; part.queries.len() * part.keys.len()]; // [n, n_keys]
        multiply(self.queries(part), self.keys(part).transposed(), Onto::Replace, Threads::One, &mut dots);
        dots
    }

    /// The scores of one of its rows, −∞ where a key is not seen, from the dot products. Shapes `[n_keys]`.
    pub fn scores(&self, part: &Part, query: usize, dots: &[f32], scores: &mut Vec<f64>) {
        let Inputs { scoring, shape, key_valid, key_bias, mask, .. } = self.inputs;
        let mask = mask.map(|mask| mask.row(part.head, query));
        let (query, skipped) = (query - part.origin[0], part.keys.start - part.origin[1]);
        scores.clear();
        scores.resize(dots.len(), f64::NEG_INFINITY);
        let seen = scoring.visible_keys(query, skipped + dots.len());
        for key in seen.start.max(skipped)..seen.end {
            let place = key - skipped;
            let column = part.origin[1] + key;
            if key_valid.is_some_and(|valid| !valid[column]) || mask.is_some_and(|mask| !mask.sees(column)) {
                continue;
            }
            let bias = key_bias.map_or(0.0, |bias| bias[part.head * shape.n_keys + column]);
            let row = part.head * shape.n_queries + part.origin[0] + query;
            let added = self.added.map_or(0.0, |added| added[row * shape.n_keys + column]);
            let score = scoring.score(part.head, query, key, f64::from(dots[place]));
            scores[place] = score + f64::from(bias) + f64::from(added);
        }
    }

    /// The score of what takes weight to nowhere.
    pub fn sink(&self, head: usize) -> f64 {
        self.inputs.scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[head]))
    }

    /// The weights of a part, where they are kept and nothing else is asked of its scores. Shape `[n, n_keys]`.
    pub fn kept(&self, part: &Part) -> Option<&[f32]> {
        let scoring = self.inputs.scoring;
        let is_wanted = scoring.softcap.is_none() && scoring.sinks.is_none();
        self.weights.get(part.first..part.first + part.queries.len() * part.keys.len()).filter(|_| is_wanted)
    }

    /// How many weights all maps of packed texts have.
    pub fn n_weights(&self) -> usize {
        let Some([queries, keys]) = self.packing else { return 0 };
        let texts = queries.starts.windows(2).zip(keys.starts.windows(2));
        texts.map(|(queries, keys)| self.inputs.shape.n_heads * (queries[1] - queries[0]) * (keys[1] - keys[0])).sum()
    }

    /// What all heads give, with dropout of their weights, which `kept` gets before it if it has room. Shape of `context`:
    /// `[n_queries, n_heads, d_value]`.
    pub fn attend(&self, context: &mut [f32], kept: &mut [f32]) {
        let shape = self.inputs.shape;
        let mut row = Vec::new(); // [n_keys]
        let mut mixed = Vec::new(); // [n, d_value]
        for part in (0..shape.n_heads).flat_map(|head| self.parts(head, false)) {
            let (n, n_keys) = (part.queries.len(), part.keys.len());
            // 1. weights
            let mut weights = self.dots(&part); // [n, n_keys]
            for (query, weights) in part.queries.clone().zip(weights.chunks_exact_mut(n_keys)) {
                self.scores(&part, query, weights, &mut row);
                let lse = reference::log_sum_exp(&row, self.sink(part.head));
                reference::weigh(&mut row, lse);
                weights.iter_mut().zip(&row).for_each(|(slot, weight)| *slot = *weight as f32);
            }
            if let Some(kept) = kept.get_mut(part.first..part.first + n * n_keys) {
                kept.copy_from_slice(&weights);
            }
            self.dropout.apply_from(part.first, &mut weights);
            // 2. the weighted sums of the values
            mixed.resize(n * shape.d_value, 0.0);
            multiply(Matrix::new(&weights, n, n_keys), self.values(&part), Onto::Replace, Threads::One, &mut mixed);
            for (query, mixed) in part.queries.clone().zip(mixed.chunks_exact(shape.d_value)) {
                let start = (query * shape.n_heads + part.head) * shape.d_value;
                context[start..start + shape.d_value].copy_from_slice(mixed);
            }
        }
    }
}

/// Some of the rows from `start` on.
fn rows<'a>(numbers: &'a [f32], start: usize, range: &Range<usize>, width: usize) -> Matrix<'a> {
    Matrix::new(&numbers[(start + range.start) * width..][..range.len() * width], range.len(), width)
}
