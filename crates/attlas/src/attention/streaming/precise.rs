//! Scores in f64, for rows whose scores are so large that f32 would blur their weights.
//!
//! At ±420 neighbouring f32 are 3e-5 apart, and so are weights. Here dot products are summed in f64: eight queries at a
//! time share each key, in plain loops that are compiled for the processor's instructions.

use std::ops::Range;

use rayon::prelude::*;

use super::access::Recorded;
use attlas_kernels::Instructions;
use attlas_kernels::dispatch::{self, Task};
use attlas_kernels::vector::Vector;

/// Queries that share each key while it is read.
const LANES: usize = 8;
/// Keys whose scores are held at a time.
const KEY_BLOCK: usize = 256;

impl Recorded<'_> {
    /// The weights of some queries over `keys`. Shape `[queries.len(), keys.len()]`.
    pub(super) fn precise_rows(
        &self,
        instructions: Instructions,
        queries: &[usize],
        keys: Range<usize>,
        weights: &mut [f32],
    ) {
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
        let mut wide = Vec::with_capacity(KEY_BLOCK * d_head); // [KEY_BLOCK, d_head]
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
            wide.clear();
            wide.extend(numbers.iter().map(|number| f64::from(*number)));
            dispatch::run(instructions, Dots { keys: &wide, d_head, queries: &packed, dots: &mut dots });
            for (lane, query) in queries.iter().enumerate() {
                let visible = self.scoring.visible_keys(*query, self.n_keys);
                let mask = self.mask.map(|mask| mask.row(self.head, *query));
                for key in block.start.max(visible.start)..block.end.min(visible.end) {
                    let is_valid = self.key_valid.is_none_or(|valid| valid[key]);
                    if is_valid && mask.is_none_or(|mask| mask.sees(key)) {
                        let score = self.scoring.score(self.head, *query, key, dots[key - block.start][lane]);
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
        if score == f64::NEG_INFINITY {
            return; // as if masked; −∞ less −∞ would be no number
        }
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
    keys: &'a [f64],
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
        let mut dots = self.dots.iter_mut();
        let fours = self.keys.chunks_exact(4 * self.d_head);
        let rest = fours.remainder().chunks_exact(self.d_head);
        for keys in fours {
            let (first, second) = keys.split_at(2 * self.d_head);
            let ((a, b), (c, d)) = (first.split_at(self.d_head), second.split_at(self.d_head));
            let mut sums = [[0.0; LANES]; 4];
            for ((lanes, (a, b)), (c, d)) in queries.iter().zip(a.iter().zip(b)).zip(c.iter().zip(d)) {
                for lane in 0..LANES {
                    sums[0][lane] += a * lanes[lane];
                    sums[1][lane] += b * lanes[lane];
                    sums[2][lane] += c * lanes[lane];
                    sums[3][lane] += d * lanes[lane];
                }
            }
            sums.into_iter().zip(dots.by_ref()).for_each(|(sums, dots)| *dots = sums);
        }
        for (key, dots) in rest.zip(dots) {
            *dots = [0.0; LANES];
            for (number, lanes) in key.iter().zip(queries) {
                dots.iter_mut().zip(lanes).for_each(|(sum, lane)| *sum += number * lane);
            }
        }
    }
}
