//! How dot products become scores, for one head, a block at a time.

use std::f64::consts::LOG2_E;
use std::ops::Range;

use super::MAX_WIDTH;
use super::vector::{Vector, polynomial};
use crate::{Bias, Scoring, Visibility};

/// [`Scoring`] for one head, prepared for blocks: scores are in powers of two, `score · log2 e`.
pub(super) struct Rule<'a> {
    /// What a query is multiplied by, so that its dot products come out scaled.
    pub query_factor: f32,
    /// `c · log2 e`, where scores are capped at `c`.
    cap: Option<f32>,
    bias: Option<BiasLine>,
    visibility: Visibility,
    query_offset: usize,
    /// Shape `[n_keys]`.
    key_valid: Option<&'a [bool]>,
    /// From the first key to the last that is not padding.
    keys: Range<usize>,
    /// The sink's score in powers of two; −∞ where there is none.
    pub sink: f64,
}

/// The bias of one head as a line of numbers: a bias depends on `key − query` only.
struct BiasLine {
    /// `bias · log2 e` of falling offsets, so that neighbouring queries lie side by side. Shape `[n_offsets]`.
    numbers: Vec<f32>,
    /// `key − query` of the line's first number.
    first: i64,
}

impl<'a> Rule<'a> {
    /// The rule of `head`, for these queries over these keys.
    pub fn new(
        scoring: &Scoring,
        head: usize,
        queries: Range<usize>,
        keys: Range<usize>,
        key_valid: Option<&'a [bool]>,
    ) -> Rule<'a> {
        let scale = f64::from(scoring.scale);
        let factor = scoring.softcap.map_or(scale * LOG2_E, |cap| scale / f64::from(cap));
        Rule {
            query_factor: factor as f32,
            cap: scoring.softcap.map(|cap| (f64::from(cap) * LOG2_E) as f32),
            bias: BiasLine::new(scoring, head, queries, &keys),
            visibility: scoring.visibility,
            query_offset: scoring.query_offset,
            key_valid,
            keys: without_padding(keys, key_valid),
            sink: scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[head]) * LOG2_E),
        }
    }

    /// The keys that any of `queries` sees lie in this range; it is empty when none sees any.
    pub fn visible(&self, queries: &Range<usize>) -> Range<usize> {
        let start = self.row(queries.start).start;
        start..self.row(queries.end - 1).end.max(start)
    }

    /// The keys in the query's reach; among them may be padding.
    fn row(&self, query: usize) -> Range<usize> {
        let row = self.visibility.keys(query.saturating_add(self.query_offset), self.keys.end);
        let start = row.start.max(self.keys.start);
        start..row.end.max(start)
    }

    /// Makes scores of scaled dot products: cap, bias, masks.
    ///
    /// `scores` has shape `[keys.len(), C · LANES]`; its lanes are the queries from `queries.start` on.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn apply<V: Vector, const C: usize>(
        &self,
        scores: &mut [f32],
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) {
        let width = C * V::LANES;
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            if let Some(cap) = self.cap {
                for slot in scores.chunks_exact_mut(V::LANES) {
                    tanh(V::load(slot.as_ptr())).mul(V::splat(cap)).store(slot.as_mut_ptr());
                }
            }
            if let Some(line) = &self.bias {
                for (key, row) in keys.clone().zip(scores.chunks_exact_mut(width)) {
                    let bias = line.from(queries.start, key, width);
                    for (slot, bias) in row.chunks_exact_mut(V::LANES).zip(bias.chunks_exact(V::LANES)) {
                        V::load(slot.as_ptr()).add(V::load(bias.as_ptr())).store(slot.as_mut_ptr());
                    }
                }
            }
            let seen_by_all = self.row(queries.end - 1).start..self.row(queries.start).end;
            if keys.start < seen_by_all.start || seen_by_all.end < keys.end {
                self.mask_by_position::<V, C>(scores, queries, keys);
            }
        }
        if let Some(valid) = self.key_valid {
            for (valid, row) in valid[keys.clone()].iter().zip(scores.chunks_exact_mut(width)) {
                if !valid {
                    row.fill(f32::NEG_INFINITY);
                }
            }
        }
    }

    /// Sets scores outside a query's range to −∞.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn mask_by_position<V: Vector, const C: usize>(
        &self,
        scores: &mut [f32],
        queries: &Range<usize>,
        keys: &Range<usize>,
    ) {
        let width = C * V::LANES;
        let inside = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
        let mut first = [0.0_f32; MAX_WIDTH]; // [width]: the first key of the block that the lane's query sees
        let mut end = [0.0_f32; MAX_WIDTH]; // [width]: the key after the last
        for lane in 0..width {
            let row = self.row((queries.start + lane).min(queries.end - 1));
            first[lane] = inside(row.start) as f32;
            end[lane] = inside(row.end) as f32;
        }
        // SAFETY: the caller vouches for the instructions; every slice read or written holds `LANES` numbers.
        unsafe {
            let masked = V::splat(f32::NEG_INFINITY);
            for (key, row) in scores.chunks_exact_mut(width).enumerate() {
                let key = V::splat(key as f32);
                for (c, slot) in row.chunks_exact_mut(V::LANES).enumerate() {
                    let score = V::load(slot.as_ptr());
                    let score = key.where_less(V::load(end[c * V::LANES..].as_ptr()), score, masked);
                    let score = key.where_less(V::load(first[c * V::LANES..].as_ptr()), masked, score);
                    score.store(slot.as_mut_ptr());
                }
            }
        }
    }
}

impl BiasLine {
    fn new(scoring: &Scoring, head: usize, queries: Range<usize>, keys: &Range<usize>) -> Option<BiasLine> {
        if scoring.bias == Bias::None || queries.is_empty() || keys.is_empty() {
            return None;
        }
        let first = keys.end as i64 - 1 - queries.start as i64;
        let n_offsets = keys.len() + queries.len() - 1 + MAX_WIDTH; // the last lanes of a block may be beyond the queries
        let query_offset = i64::try_from(scoring.query_offset).unwrap_or(i64::MAX);
        let bias = |step: usize| scoring.bias.value(head, (first - step as i64).saturating_sub(query_offset));
        let numbers = (0..n_offsets).map(|step| (f64::from(bias(step)) * LOG2_E) as f32).collect(); // [n_offsets]
        Some(BiasLine { numbers, first })
    }

    /// The biases of `width` queries from `query` on for one key. Shape `[width]`.
    fn from(&self, query: usize, key: usize, width: usize) -> &[f32] {
        let step = self.first - (key as i64 - query as i64);
        &self.numbers[step as usize..][..width]
    }
}

/// `keys` without the padding at its two ends.
fn without_padding(keys: Range<usize>, key_valid: Option<&[bool]>) -> Range<usize> {
    let Some(valid) = key_valid else { return keys };
    let Some(first) = keys.clone().find(|key| valid[*key]) else { return keys.start..keys.start };
    let last = keys.rev().find(|key| valid[*key]).unwrap_or(first);
    first..last + 1
}

/// Hyperbolic tangent, relative error below 3e-7: an odd polynomial near 0, `1 − 2 / (e^{2x} + 1)` elsewhere.
#[inline(always)]
fn tanh<V: Vector>(x: V) -> V {
    /// `(tanh(x) − x) / x³` as a polynomial of x², a minimax fit for |x| ≤ 0.65.
    const NEAR: [f32; 6] = [-0.333_333_34, 0.133_332_91, -0.053_956_33, 0.021_746_097, -0.008_272_256, 0.002_214_74];
    // SAFETY: `x` proves the instructions.
    unsafe {
        let square = x.mul(x);
        let near = x.mul(square).mul_add(polynomial(square, NEAR), x);
        let size = x.max(V::splat(0.0).sub(x));
        // beyond 10 it is 1 in f32; NaN passes through
        let bounded = V::splat(10.0).where_less(size, V::splat(10.0), size);
        let power = bounded.mul(V::splat(2.0 * std::f32::consts::LOG2_E)).exp2();
        let far = V::splat(1.0).sub(V::splat(2.0).div(power.add(V::splat(1.0))));
        let far = x.where_less(V::splat(0.0), V::splat(0.0).sub(far), far);
        size.where_less(V::splat(0.65), near, far)
    }
}
