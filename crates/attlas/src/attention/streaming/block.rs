//! One block of queries on its way over the keys: the online softmax (Milakov & Gimelshein 2018; Dao et al. 2022).
//!
//! Everything is transposed: a query is a lane, so maxima, sums and rescaling never cross lanes.

use std::ops::Range;

use super::overview::{LaneTiles, Tiles};
use super::rule::Rule;
use attlas_kernels::product::{Left, Product, Store};
use attlas_kernels::turn;
use attlas_kernels::vector::Vector;

/// What all query blocks of one head read.
pub(super) struct Head<'a> {
    /// Shape `[n_queries, d_head]`.
    pub queries: &'a [f32],
    /// Shape `[n_keys, d_head]`.
    pub keys: &'a [f32],
    /// Shape `[n_keys, d_value]`.
    pub values: &'a [f32],
    /// Width of a query and of a key.
    pub d_head: usize,
    /// Width of a value; 0 where no context is wanted.
    pub d_value: usize,
    /// How scores are formed.
    pub rule: Rule<'a>,
}

/// The state of one block of queries; scores and sums are relative to `2^reference`.
pub(super) struct Block<'s> {
    /// Which queries.
    pub rows: Range<usize>,
    /// Scaled queries. Shape `[d_head, width]`.
    pub queries: &'s mut [f32],
    /// `Σ 2^(score − reference) · value`. Shape `[d_value, width]`.
    pub context: &'s mut [f32],
    /// Near the largest score so far, [`UNSEEN`] before the first. Shape `[width]`.
    pub reference: &'s mut [f32],
    /// `Σ 2^(score − reference)`. Shape `[width]`.
    pub sum: &'s mut [f32],
    /// What `sum` lost to rounding (Kahan 1965). Shape `[width]`.
    pub lost: &'s mut [f32],
    /// Each query's overview.
    pub overview: Option<LaneTiles<'s>>,
}

/// The reference of a query that has seen no key.
pub(super) const UNSEEN: f32 = f32::MIN;

/// How far, in powers of two, a score may exceed the reference before sums are rescaled: rescaling is rare then, and
/// 2⁸ · 65,536 keys are far from overflow.
const SLACK: f32 = 8.0;

impl Block<'_> {
    /// Takes the block's queries in, and forgets everything else.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn begin<V: Vector>(&mut self, head: &Head<'_>) {
        // SAFETY: the caller vouches for the instructions.
        unsafe { self.pack::<V>(head, self.sum.len()) }
        self.context.fill(0.0);
        self.reference.fill(UNSEEN);
        self.sum.fill(0.0);
        self.lost.fill(0.0);
        if let Some(overview) = &mut self.overview {
            overview.begin();
        }
    }

    /// Takes the block's queries in, scaled; lanes beyond the rows are 0.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn pack<V: Vector>(&mut self, head: &Head<'_>, width: usize) {
        let (n, d_head) = (self.rows.len(), head.d_head);
        let queries = &head.queries[self.rows.start * d_head..self.rows.end * d_head];
        let lanes = &mut self.queries[..d_head * width];
        if n < width {
            lanes.fill(0.0);
        }
        // SAFETY: the caller vouches for the instructions; both slices were cut to size, and `n` is at most `width`.
        unsafe {
            turn::<V>(queries.as_ptr(), d_head, [n, d_head], lanes.as_mut_ptr(), width);
            let factor = V::splat(head.rule.query_factor);
            for register in lanes.chunks_exact_mut(V::LANES) {
                V::load(register.as_ptr()).mul(factor).store(register.as_mut_ptr());
            }
        }
    }

    /// Fills `scores` with the block's scores for `keys`, in powers of two. Shape `[keys.len(), width]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn score<V: Vector, const C: usize>(&self, head: &Head<'_>, keys: &Range<usize>, scores: &mut [f32]) {
        let left = Left { numbers: &head.keys[keys.start * head.d_head..], row_stride: head.d_head, inner_stride: 1 };
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            V::call(Product::<C> {
                left,
                n_rows: keys.len(),
                n_inner: head.d_head,
                right: self.queries,
                out: scores,
                store: Store::Replace,
            });
            head.rule.apply::<V, C>(scores, &self.rows, keys);
        }
    }

    /// Takes `keys` in. `scores` is scratch of shape `[keys.len(), width]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn step<V: Vector, const C: usize>(
        &mut self,
        head: &Head<'_>,
        keys: &Range<usize>,
        key_tiles: &Tiles,
        scores: &mut [f32],
    ) {
        let values =
            Left { numbers: &head.values[keys.start * head.d_value..], row_stride: 1, inner_stride: head.d_value };
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            self.score::<V, C>(head, keys, scores);
            self.raise_reference::<V, C>(scores);
            self.exponentiate::<V, C>(keys, key_tiles, scores);
            V::call(Product::<C> {
                left: values,
                n_rows: head.d_value,
                n_inner: keys.len(),
                right: scores,
                out: self.context,
                store: Store::Add,
            });
        }
    }

    /// Raises the reference where `scores` exceed it by far, and rescales what was summed so far.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn raise_reference<V: Vector, const C: usize>(&mut self, scores: &[f32]) {
        // SAFETY: the caller vouches for the instructions; every slice read or written holds `C · LANES` numbers.
        unsafe {
            let mut largest = [V::splat(UNSEEN); C];
            for row in scores.chunks_exact(C * V::LANES) {
                for (c, largest) in largest.iter_mut().enumerate() {
                    *largest = largest.max(V::load(row.as_ptr().add(c * V::LANES)));
                }
            }
            let mut rises = false;
            for (c, largest) in largest.iter().enumerate() {
                let reference = V::load(self.reference[c * V::LANES..].as_ptr());
                rises |= reference.add(V::splat(SLACK)).any_less(*largest);
            }
            if !rises {
                return;
            }
            let mut factors = [V::splat(0.0); C];
            for (c, largest) in largest.iter().enumerate() {
                let reference = &mut self.reference[c * V::LANES..][..V::LANES];
                let before = V::load(reference.as_ptr());
                let after = before.max(*largest);
                after.store(reference.as_mut_ptr());
                factors[c] = before.sub(after).exp2();
            }
            rescale::<V, C>(self.sum, &factors);
            rescale::<V, C>(self.lost, &factors);
            rescale::<V, C>(self.context, &factors);
            if let Some(overview) = &mut self.overview {
                rescale::<V, C>(overview.seen_sums(), &factors);
            }
        }
    }

    /// Turns `scores` into `2^(score − reference)` and adds them to the sums.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn exponentiate<V: Vector, const C: usize>(
        &mut self,
        keys: &Range<usize>,
        key_tiles: &Tiles,
        scores: &mut [f32],
    ) {
        let width = C * V::LANES;
        // SAFETY: the caller vouches for the instructions; every slice read or written holds `C · LANES` numbers.
        unsafe {
            let mut reference = [V::splat(0.0); C];
            for (c, reference) in reference.iter_mut().enumerate() {
                *reference = V::load(self.reference[c * V::LANES..].as_ptr());
            }
            let mut sums = [V::splat(0.0); C];
            match &mut self.overview {
                None => exponentiate_rows::<V, C>(scores, &reference, &mut sums),
                Some(overview) => {
                    for (tile, keys_of_tile) in key_tiles.split(keys.clone()) {
                        let rows = (keys_of_tile.start - keys.start) * width..(keys_of_tile.end - keys.start) * width;
                        let within = keys_of_tile.start - key_tiles.places(tile).start;
                        overview.take_maxima::<V, C>(tile, within, &scores[rows.clone()]);
                        let mut tile_sums = [V::splat(0.0); C];
                        exponentiate_rows::<V, C>(&mut scores[rows], &reference, &mut tile_sums);
                        overview.add_sums::<V, C>(tile, &tile_sums);
                        for (sum, tile_sum) in sums.iter_mut().zip(tile_sums) {
                            *sum = sum.add(tile_sum);
                        }
                    }
                }
            }
            for (c, sum) in sums.iter().enumerate() {
                let lanes = c * V::LANES..(c + 1) * V::LANES;
                let (total, lost) = (&mut self.sum[lanes.clone()], &mut self.lost[lanes]);
                let before = V::load(total.as_ptr());
                let addend = sum.sub(V::load(lost.as_ptr()));
                let after = before.add(addend);
                after.sub(before).sub(addend).store(lost.as_mut_ptr());
                after.store(total.as_mut_ptr());
            }
        }
    }

    /// Whether a lane has met no score but −∞; one that is not a number leaves the reference as it was, but not the sum.
    fn is_unseen(&self, lane: usize) -> bool {
        self.reference[lane] == UNSEEN && self.sum[lane] == 0.0
    }

    /// The logarithm, base 2, of `Σ 2^score` of a lane, the sink included; −∞ where there is nothing.
    pub fn log_sum(&self, lane: usize, sink: f64) -> f64 {
        if self.is_unseen(lane) {
            return sink;
        }
        let own = f64::from(self.reference[lane]) + (f64::from(self.sum[lane]) - f64::from(self.lost[lane])).log2();
        if sink == f64::NEG_INFINITY { own } else { own.max(sink) + (1.0 + (-(own - sink).abs()).exp2()).log2() }
    }

    /// Multiplies each lane's context. Shape of `factors`: `[width]`.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn scale_context<V: Vector>(&mut self, factors: &[f32]) {
        for row in self.context.chunks_exact_mut(self.sum.len()) {
            for (numbers, factors) in row.chunks_exact_mut(V::LANES).zip(factors.chunks_exact(V::LANES)) {
                // SAFETY: the caller vouches for the instructions; both are whole registers.
                unsafe { V::load(numbers.as_ptr()).mul(V::load(factors.as_ptr())).store(numbers.as_mut_ptr()) }
            }
        }
    }

    /// What a lane's sums are multiplied by to become weights that sum to 1 less the sink's: `2^(reference − log_sum)`.
    pub fn factor(&self, lane: usize, log_sum: f64) -> f32 {
        if self.is_unseen(lane) || log_sum == f64::NEG_INFINITY {
            return 0.0;
        }
        (f64::from(self.reference[lane]) - log_sum).exp2() as f32
    }
}

/// A log-sum-exp in powers of two as two numbers that add up to it; ∞ and 0 where a row sees no key, whose weights are 0 then.
pub(super) fn in_two(log_sum: f64) -> (f32, f32) {
    if log_sum == f64::NEG_INFINITY {
        return (f32::INFINITY, 0.0);
    }
    let first = log_sum as f32;
    (first, (log_sum - f64::from(first)) as f32)
}

/// `numbers[row][lane] ·= factors[lane]`. Shape `[n_rows, C · LANES]`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn rescale<V: Vector, const C: usize>(numbers: &mut [f32], factors: &[V; C]) {
    for row in numbers.chunks_exact_mut(C * V::LANES) {
        for (c, factor) in factors.iter().enumerate() {
            // SAFETY: the caller vouches for the instructions; `row` holds `C · LANES` numbers.
            unsafe {
                let slot = row.as_mut_ptr().add(c * V::LANES);
                V::load(slot).mul(*factor).store(slot);
            }
        }
    }
}

/// `scores = 2^(scores − reference)`, added to `sums`. Shape `[n_rows, C · LANES]`.
///
/// # Safety
/// The processor has the instructions of `V`.
#[inline(always)]
unsafe fn exponentiate_rows<V: Vector, const C: usize>(scores: &mut [f32], reference: &[V; C], sums: &mut [V; C]) {
    for row in scores.chunks_exact_mut(C * V::LANES) {
        for (c, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller vouches for the instructions; `row` holds `C · LANES` numbers.
            unsafe {
                let slot = row.as_mut_ptr().add(c * V::LANES);
                let power = V::load(slot).sub(reference[c]).exp2();
                power.store(slot);
                *sum = sum.add(power);
            }
        }
    }
}
