//! Scores in f64, for rows whose scores are so large that f32 would blur their weights.
//!
//! At ±420 neighbouring f32 are 3e-5 apart, and so are weights. Here dot products are summed in f64: eight queries at a
//! time share each key, in plain loops that are compiled for the processor's instructions.

use std::array;
use std::ops::Range;

use rayon::prelude::*;

use super::access::Recorded;
use crate::Bias;
use attlas_kernels::Instructions;
use attlas_kernels::dispatch::{self, Task};
use attlas_kernels::vector::Vector;

/// Queries that share each key while it is read.
const LANES: usize = 8;
/// Groups of so many queries that a thread takes at a time, so that keys are widened once for all of them.
const GROUPS: usize = 4;
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
        let n_keys = keys.len();
        self.precise_scores(instructions, queries, keys.clone(), |row, first, scores| {
            let lse = self.lse[queries[row]];
            if lse != f64::NEG_INFINITY {
                let weights = &mut weights[row * n_keys + first - keys.start..][..scores.len()];
                dispatch::run(instructions, Weigh { scores, lse, weights });
            }
        });
    }

    /// The log-sum-exps of some rows, the sink included, in parallel. Shape `[queries.len()]`.
    pub fn log_sum_exp(&self, queries: &[usize]) -> Vec<f64> {
        let instructions = Instructions::best();
        let sink = self.scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[self.head]));
        let of_groups = |queries: &[usize]| {
            let nothing = Sum { largest: sink, sum: f64::from(u8::from(sink > f64::NEG_INFINITY)) };
            let mut sums = vec![nothing; queries.len()];
            self.precise_scores(instructions, queries, 0..self.n_keys, |row, _, scores| {
                dispatch::run(instructions, AddTo { sum: &mut sums[row], scores });
            });
            sums.into_iter().map(Sum::logarithm).collect::<Vec<f64>>()
        };
        queries.par_chunks(GROUPS * LANES).flat_map_iter(of_groups).collect()
    }

    /// Calls `take` with the place of each query, the first key of a block and the block's scores, for each query in rising order
    /// of keys; −∞ is the score of what is not seen.
    fn precise_scores(
        &self,
        instructions: Instructions,
        queries: &[usize],
        keys: Range<usize>,
        mut take: impl FnMut(usize, usize, &[f64]),
    ) {
        let d_head = self.d_head;
        let packed = self.packed_queries(queries); // [n_groups, d_head, LANES]
        let mut dots = vec![[0.0; LANES]; KEY_BLOCK]; // [KEY_BLOCK, LANES]
        let mut wide = Vec::with_capacity(KEY_BLOCK * d_head); // [KEY_BLOCK, d_head]
        let mut scores = [0.0; KEY_BLOCK];
        for start in keys.clone().step_by(KEY_BLOCK) {
            let block = start..(start + KEY_BLOCK).min(keys.end);
            let sees = |query: &usize| {
                let visible = self.scoring.visible_keys(*query, self.n_keys);
                visible.start < block.end && block.start < visible.end
            };
            wide.clear();
            for (group, queries) in queries.chunks(LANES).enumerate() {
                if !queries.iter().any(sees) {
                    continue;
                }
                if wide.is_empty() {
                    // once for all groups
                    let numbers = &self.keys[block.start * d_head..block.end * d_head];
                    wide.extend(numbers.iter().map(|number| f64::from(*number)));
                }
                let packed = &packed[group * d_head * LANES..][..d_head * LANES];
                dispatch::run(instructions, Dots { keys: &wide, d_head, queries: packed, dots: &mut dots });
                for (lane, query) in queries.iter().enumerate() {
                    let scores = &mut scores[..block.len()];
                    self.lane_scores(*query, &block, |place| dots[place][lane], scores);
                    take(group * LANES + lane, block.start, scores);
                }
            }
        }
    }

    /// Queries in f64, [`LANES`] side by side; 0 where the last group has fewer. Shape `[n_groups, d_head, LANES]`.
    fn packed_queries(&self, queries: &[usize]) -> Vec<f64> {
        let d_head = self.d_head;
        let mut packed = vec![0.0; queries.len().div_ceil(LANES) * d_head * LANES];
        for (place, query) in queries.iter().enumerate() {
            let query = &self.queries[query * d_head..][..d_head];
            let first = place / LANES * d_head * LANES + place % LANES;
            for (slot, number) in packed[first..].iter_mut().step_by(LANES).zip(query) {
                *slot = f64::from(*number);
            }
        }
        packed
    }

    /// The scores of a query for a block of keys, from their dot products by place; −∞ is the score of what is not seen.
    fn lane_scores(&self, query: usize, block: &Range<usize>, dot: impl Fn(usize) -> f64, scores: &mut [f64]) {
        let visible = self.scoring.visible_keys(query, self.n_keys);
        let seen = block.start.max(visible.start)..block.end.min(visible.end);
        let mask = self.mask.map(|mask| mask.row(self.head, query));
        let is_scaled = self.scoring.softcap.is_none() && self.scoring.bias == Bias::None && self.key_bias.is_none();
        scores.fill(f64::NEG_INFINITY);
        if is_scaled && mask.is_none() && self.key_valid.is_none() {
            // most maps: nothing to ask of each key
            for key in seen {
                scores[key - block.start] = self.scoring.scale * dot(key - block.start);
            }
            return;
        }
        for key in seen {
            let is_valid = self.key_valid.is_none_or(|valid| valid[key]);
            if is_valid && mask.is_none_or(|mask| mask.sees(key)) {
                let score = self.scoring.score(self.head, query, key, dot(key - block.start));
                scores[key - block.start] = score + self.key_bias.map_or(0.0, |bias| f64::from(bias[key]));
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
    fn logarithm(self) -> f64 {
        if self.sum == 0.0 { f64::NEG_INFINITY } else { self.largest + self.sum.ln() }
    }
}

/// Adds the exponentials of some scores to a sum.
struct AddTo<'a> {
    sum: &'a mut Sum,
    scores: &'a [f64],
}

impl Task for AddTo<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let AddTo { sum, scores } = self;
        let largest = scores.iter().fold(sum.largest, |largest, score| if *score > largest { *score } else { largest });
        if largest == f64::NEG_INFINITY && !scores.iter().any(|score| score.is_nan()) {
            return; // nothing is seen; −∞ less −∞ would be no number
        }
        let mut sums = [0.0; LANES];
        for chunk in scores.chunks(LANES) {
            let mut lanes = [f64::NEG_INFINITY; LANES];
            lanes[..chunk.len()].copy_from_slice(chunk);
            let powers = exp(lanes.map(|score| score - largest));
            sums.iter_mut().zip(powers).for_each(|(sum, power)| *sum += power);
        }
        // the first scores meet a sum of 0; what is not a number stays so
        let before = if sum.sum == 0.0 { 0.0 } else { sum.sum * exp([sum.largest - largest; LANES])[0] };
        *sum = Sum { largest, sum: before + sums.iter().sum::<f64>() };
    }
}

/// `weights = exp(scores − lse)`.
struct Weigh<'a> {
    scores: &'a [f64],
    lse: f64,
    /// As many.
    weights: &'a mut [f32],
}

impl Task for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        for (weights, scores) in self.weights.chunks_mut(LANES).zip(self.scores.chunks(LANES)) {
            let mut lanes = [f64::NEG_INFINITY; LANES];
            lanes[..scores.len()].copy_from_slice(scores);
            let powers = exp(lanes.map(|score| score - self.lse)).map(|power| power as f32);
            weights.copy_from_slice(&powers[..weights.len()]);
        }
    }
}

/// Exponentials, within 2⁻⁵¹ of themselves; 0 below −708, and that of 709 above it.
///
/// `x = n ln 2 + r` with |r| ≤ ½ ln 2, and Taylor's series of `exp r`. Step by step for all lanes, and without a branch, so
/// that the compiler takes them at once; without the library, so that every machine gives the same bytes.
#[inline(always)]
fn exp(x: [f64; LANES]) -> [f64; LANES] {
    const TO_INTEGER: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: added, it leaves no fraction
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1; // 33 bits; times n exact
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    const INVERSES: [f64; 14] = inverses();
    let clamped = x.map(|x| if x > 709.0 { 709.0 } else { x });
    let shifted = clamped.map(|x| x * std::f64::consts::LOG2_E + TO_INTEGER);
    let n = shifted.map(|shifted| shifted - TO_INTEGER);
    let r: [f64; LANES] = array::from_fn(|lane| (clamped[lane] - n[lane] * LN_2_HIGH) - n[lane] * LN_2_LOW);
    let mut series = [1.0; LANES];
    for inverse in INVERSES.iter().skip(1).rev() {
        series = array::from_fn(|lane| 1.0 + series[lane] * (r[lane] * inverse));
    }
    let powers = shifted.map(|shifted| f64::from_bits((shifted.to_bits() << 52).wrapping_add(1.0_f64.to_bits())));
    array::from_fn(|lane| if x[lane] < -708.0 { 0.0 } else { series[lane] * powers[lane] })
}

/// `1 / k` at place `k`, up to 13.
const fn inverses() -> [f64; 14] {
    let mut inverses = [0.0; 14];
    let mut k = 1;
    while k < 14 {
        inverses[k] = 1.0 / k as f64;
        k += 1;
    }
    inverses
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_the_library_s_to_the_last_bits() {
        let exp = |x: f64| exp([x; LANES])[LANES - 1];
        for step in -14_160..=1_418 {
            let x = f64::from(step) * 0.5 + 0.1 / (1.0 + f64::from(step).abs());
            let (found, wanted) = (exp(x), x.exp());
            let is_near = (found - wanted).abs() <= wanted * 2.0_f64.powi(-51);
            assert!(is_near || x < -708.0 && found == 0.0 || x > 709.0, "exp({x}) is {wanted}, not {found}");
        }
        for step in -2000..=2000 {
            let x = f64::from(step) * 1e-3;
            assert!((exp(x) - x.exp()).abs() <= x.exp() * 2.0_f64.powi(-51), "{x}");
        }
        assert_eq!((exp(0.0), exp(f64::NEG_INFINITY), exp(-1e300)), (1.0, 0.0, 0.0));
        assert!(exp(f64::NAN).is_nan() && exp(f64::INFINITY).is_finite());
    }
}
