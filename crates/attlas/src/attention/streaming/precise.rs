//! Scores in f64, for rows whose scores are so large that f32 would blur their weights.
//!
//! At ±420 neighbouring f32 are 3e-5 apart, and so are weights. Here dot products are summed in f64: eight queries at a
//! time share each key, in plain loops that are compiled for the processor's instructions.

use std::ops::Range;

use rayon::prelude::*;

use super::access::Recorded;
use super::dispatch::{self, Instructions, Task};
use super::vector::Vector;
use crate::attention::reference::score_f64;

/// Queries that share each key while it is read.
const LANES: usize = 8;
/// Keys that are multiplied at a time.
const ROWS: usize = 4;
/// Keys whose scores are held at a time.
const KEY_BLOCK: usize = 256;

impl Recorded<'_> {
    /// The weights of neighbouring `rows` over `keys`. Shape `[rows.len(), keys.len()]`.
    pub(super) fn precise_tile(
        &self,
        instructions: Instructions,
        rows: Range<usize>,
        keys: Range<usize>,
        weights: &mut [f32],
    ) {
        let queries: Vec<usize> = rows.collect();
        for (queries, weights) in queries.chunks(LANES).zip(weights.chunks_mut(LANES * keys.len())) {
            self.precise_scores(instructions, queries, keys.clone(), |lane, key, score| {
                let lse = self.lse[queries[lane]];
                if lse != f64::NEG_INFINITY {
                    weights[lane * keys.len() + key - keys.start] = (score - lse).exp() as f32;
                }
            });
        }
    }

    /// The log-sum-exps of some rows, the sink included, in parallel. Shape `[queries.len()]`.
    pub fn log_sum_exp(&self, queries: &[usize]) -> Vec<f64> {
        let instructions = Instructions::best();
        let sink = self.scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[self.head]));
        let of_group = |queries: &[usize]| {
            let mut sums = [Sum { largest: sink, sum: f64::from(u8::from(sink > f64::NEG_INFINITY)) }; LANES];
            let seen = |lane: usize, _key: usize, score: f64| sums[lane].add(score);
            self.precise_scores(instructions, queries, 0..self.n_keys, seen);
            sums.into_iter().take(queries.len()).map(Sum::logarithm).collect::<Vec<f64>>()
        };
        queries.par_chunks(LANES).flat_map_iter(of_group).collect()
    }

    /// Calls `take` with each lane, key and score that is seen, the keys of a lane in rising order.
    fn precise_scores(
        &self,
        instructions: Instructions,
        queries: &[usize],
        keys: Range<usize>,
        mut take: impl FnMut(usize, usize, f64),
    ) {
        let d_head = self.d_head;
        let mut packed = vec![0.0; d_head * LANES]; // [d_head, LANES]
        for (lane, query) in queries.iter().enumerate() {
            let query = &self.queries[query * d_head..][..d_head];
            for (slot, number) in packed[lane..].iter_mut().step_by(LANES).zip(query) {
                *slot = f64::from(*number);
            }
        }
        let mut dots = vec![[0.0; LANES]; KEY_BLOCK]; // [KEY_BLOCK, LANES]
        for start in keys.clone().step_by(KEY_BLOCK) {
            let block = start..(start + KEY_BLOCK).min(keys.end);
            let sees = |query: &usize| {
                let visible = self.scoring.visible_keys(*query, self.n_keys);
                visible.start < block.end && block.start < visible.end
            };
            if !queries.iter().any(sees) {
                continue;
            }
            let numbers = &self.keys[block.start * d_head..block.end * d_head];
            dispatch::run(instructions, Dots { keys: numbers, d_head, queries: &packed, dots: &mut dots });
            for (lane, query) in queries.iter().enumerate() {
                let visible = self.scoring.visible_keys(*query, self.n_keys);
                let mask = self.mask.map(|mask| mask.row(self.head, *query));
                for key in block.start.max(visible.start)..block.end.min(visible.end) {
                    let is_valid = self.key_valid.is_none_or(|valid| valid[key]);
                    if is_valid && mask.is_none_or(|mask| mask.sees(key)) {
                        let score = score_f64(self.scoring, self.head, *query, key, dots[key - block.start][lane]);
                        take(lane, key, score + self.key_bias.map_or(0.0, |bias| f64::from(bias[key])));
                    }
                }
            }
        }
    }
}

/// A sum of exponentials that cannot overflow: `sum · exp(largest)`.
#[derive(Clone, Copy)]
struct Sum {
    largest: f64,
    sum: f64,
}

impl Sum {
    fn add(&mut self, score: f64) {
        if score <= self.largest {
            self.sum += (score - self.largest).exp();
        } else {
            // the first score meets a sum of 0; what is not a number stays so
            let before = if self.sum == 0.0 { 0.0 } else { self.sum * (self.largest - score).exp() };
            *self = Sum { largest: score, sum: before + 1.0 };
        }
    }

    fn logarithm(self) -> f64 {
        if self.sum == 0.0 { f64::NEG_INFINITY } else { self.largest + self.sum.ln() }
    }
}

/// `dots[key][lane] = Σ_i keys[key][i] · queries[i][lane]`.
struct Dots<'a> {
    /// Shape `[n_keys, d_head]`.
    keys: &'a [f32],
    d_head: usize,
    /// Shape `[d_head, LANES]`.
    queries: &'a [f64],
    /// Shape `[n_keys, LANES]`, or longer.
    dots: &'a mut [[f64; LANES]],
}

impl Task for Dots<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let queries = self.queries.as_chunks::<LANES>().0;
        for (keys, dots) in self.keys.chunks(ROWS * self.d_head).zip(self.dots.chunks_mut(ROWS)) {
            if keys.len() == ROWS * self.d_head {
                let mut sums = [[0.0; LANES]; ROWS];
                for (i, lanes) in queries.iter().enumerate() {
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let number = f64::from(keys[row * self.d_head + i]);
                        for (sum, lane) in sums.iter_mut().zip(lanes) {
                            *sum += number * lane;
                        }
                    }
                }
                dots.copy_from_slice(&sums);
                continue;
            }
            for (key, dots) in keys.chunks(self.d_head).zip(dots) {
                *dots = [0.0; LANES];
                for (number, lanes) in key.iter().zip(queries) {
                    for (sum, lane) in dots.iter_mut().zip(lanes) {
                        *sum += f64::from(*number) * lane;
                    }
                }
            }
        }
    }
}
