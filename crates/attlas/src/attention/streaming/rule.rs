//! How dot products become scores, for one head, a block at a time.

use std::f64::consts::LOG2_E;
use std::ops::Range;

use crate::{Bias, MaskView, Scoring, Visibility};
use attlas_kernels::functions::tanh;
use attlas_kernels::vector::{MAX_WIDTH, Vector};

/// What the rules of all heads of a call are made of.
pub(super) struct About<'a> {
    pub scoring: &'a Scoring,
    /// Of the head that a rule is made for. Shape `[n_keys]`.
    pub key_bias: Option<&'a [f32]>,
    /// Shape `[n_keys]`.
    pub key_valid: Option<&'a [bool]>,
    pub mask: Option<MaskView<'a>>,
}

/// [`Scoring`] for one head, prepared for blocks: scores are in powers of two, `score · log2 e`.
pub(super) struct Rule<'a> {
    /// What a query is multiplied by, so that its dot products come out scaled.
    pub query_factor: f32,
    /// `c · log2 e`, where scores are capped at `c`.
    cap: Option<f32>,
    bias: Option<BiasLine>,
    /// Added to each key's scores, in powers of two. Shape `[keys.len()]`, from the rule's first key on.
    key_bias: Option<Vec<f32>>,
    first_key: usize,
    visibility: Visibility,
    query_offset: usize,
    /// Shape `[n_keys]`.
    key_valid: Option<&'a [bool]>,
    /// From the first key to the last that is not padding.
    keys: Range<usize>,
    mask: Option<RuleMask<'a>>,
    /// The sink's score in powers of two; −∞ where there is none.
    pub sink: f64,
    /// The query of each row, rising, where rows are not neighbours: rows then count its places.
    spaced: Option<&'a [usize]>,
}

/// What a mask says of one head's queries.
struct RuleMask<'a> {
    mask: MaskView<'a>,
    head: usize,
    /// From the first key that each row sees to the last, the band considered. Shape `[rows.len()]`.
    hulls: Vec<Range<usize>>,
    first_row: usize,
}

/// The bias of one head as a line of numbers: a bias depends on `key − query` only.
struct BiasLine {
    /// `bias · log2 e` of falling offsets, so that neighbouring queries lie side by side. Shape `[n_offsets]`.
    numbers: Vec<f32>,
    /// `key − query` of the line's first number.
    first: i64,
}

impl<'a> Rule<'a> {
    /// The rule of `head`, for these queries over these keys; a row is a query.
    pub fn new(about: &About<'a>, head: usize, queries: Range<usize>, keys: Range<usize>) -> Rule<'a> {
        Rule::of_rows(about, head, queries, None, keys)
    }

    /// The rule of `head`, for some queries in rising order over these keys; a row is a place in `queries`.
    pub fn spaced(about: &About<'a>, head: usize, queries: &'a [usize], keys: Range<usize>) -> Rule<'a> {
        Rule::of_rows(about, head, 0..queries.len(), Some(queries), keys)
    }

    fn of_rows(
        about: &About<'a>,
        head: usize,
        rows: Range<usize>,
        spaced: Option<&'a [usize]>,
        keys: Range<usize>,
    ) -> Rule<'a> {
        let queries = match spaced {
            Some([first, .., last]) => *first..last + 1,
            Some([only]) => *only..only + 1,
            Some([]) => 0..0,
            None => rows.clone(),
        };
        let scoring = about.scoring;
        let factor = scoring.softcap.map_or(scoring.scale * LOG2_E, |cap| scoring.scale / cap);
        let in_powers_of_two = |number: &f32| (f64::from(*number) * LOG2_E) as f32;
        let mut rule = Rule {
            query_factor: factor as f32,
            cap: scoring.softcap.map(|cap| (cap * LOG2_E) as f32),
            bias: BiasLine::new(scoring, head, queries, &keys),
            key_bias: about.key_bias.map(|bias| bias[keys.clone()].iter().map(in_powers_of_two).collect()),
            first_key: keys.start,
            visibility: scoring.visibility,
            query_offset: scoring.query_offset,
            key_valid: about.key_valid,
            keys: without_padding(keys, about.key_valid),
            mask: None,
            sink: scoring.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[head]) * LOG2_E),
            spaced,
        };
        rule.mask = about.mask.map(|mask| {
            let hull = |row: usize| {
                let (band, seen) = (rule.row(row), mask.row(head, rule.query(row)).hull(rule.keys.end));
                let start = band.start.max(seen.start);
                start..band.end.min(seen.end).max(start)
            };
            RuleMask { mask, head, hulls: rows.clone().map(hull).collect(), first_row: rows.start }
        });
        rule
    }

    /// The query of a row.
    pub fn query(&self, row: usize) -> usize {
        self.spaced.map_or(row, |queries| queries[row])
    }

    /// The keys that any of `rows` sees lie in this range; it is empty when none sees any.
    pub fn visible(&self, rows: &Range<usize>) -> Range<usize> {
        if let Some(mask) = &self.mask {
            let hulls = mask.hulls[rows.start - mask.first_row..rows.end - mask.first_row].iter();
            let around = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
            return hulls.filter(|hull| !hull.is_empty()).cloned().reduce(around).unwrap_or(0..0);
        }
        let start = self.row(rows.start).start;
        start..self.row(rows.end - 1).end.max(start)
    }

    /// The keys in the reach of the row's query; among them may be padding.
    fn row(&self, row: usize) -> Range<usize> {
        let row = self.visibility.keys(self.query(row).saturating_add(self.query_offset), self.keys.end);
        let start = row.start.max(self.keys.start);
        start..row.end.max(start)
    }

    /// Whether any of `rows` sees any of `keys`, as far as a mask tells; a band is not asked again.
    pub fn any_sees(&self, rows: &Range<usize>, keys: &Range<usize>) -> bool {
        self.mask
            .as_ref()
            .is_none_or(|mask| rows.clone().any(|row| mask.mask.row(mask.head, self.query(row)).sees_any(keys)))
    }

    /// Makes scores of scaled dot products: cap, bias, masks.
    ///
    /// `scores` has shape `[keys.len(), C · LANES]`; its lanes are the rows from `rows.start` on.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    pub unsafe fn apply<V: Vector, const C: usize>(
        &self,
        scores: &mut [f32],
        rows: &Range<usize>,
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
                let queries = self.spaced.map(|_| self.lanes(rows));
                for (key, row) in keys.clone().zip(scores.chunks_exact_mut(width)) {
                    if let Some(queries) = &queries {
                        row.iter_mut().zip(queries).for_each(|(slot, query)| *slot += line.from(*query, key, 1)[0]);
                        continue;
                    }
                    let bias = line.from(rows.start, key, width);
                    for (slot, bias) in row.chunks_exact_mut(V::LANES).zip(bias.chunks_exact(V::LANES)) {
                        V::load(slot.as_ptr()).add(V::load(bias.as_ptr())).store(slot.as_mut_ptr());
                    }
                }
            }
            if let Some(key_bias) = &self.key_bias {
                for (bias, row) in key_bias[keys.start - self.first_key..].iter().zip(scores.chunks_exact_mut(width)) {
                    for slot in row.chunks_exact_mut(V::LANES) {
                        V::load(slot.as_ptr()).add(V::splat(*bias)).store(slot.as_mut_ptr());
                    }
                }
            }
            let seen_by_all = self.row(rows.end - 1).start..self.row(rows.start).end;
            if keys.start < seen_by_all.start || seen_by_all.end < keys.end {
                self.mask_by_position::<V, C>(scores, rows, keys);
            }
        }
        if let Some(mask) = &self.mask {
            for (lane, row) in rows.clone().enumerate() {
                mask.mask.row(mask.head, self.query(row)).hidden(keys.clone(), |hidden| {
                    let of_keys = (hidden.start - keys.start) * width..(hidden.end - keys.start) * width;
                    scores[of_keys][lane..].iter_mut().step_by(width).for_each(|score| *score = f32::NEG_INFINITY);
                });
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

    /// The query of each lane; of lanes beyond the rows, that of the last.
    fn lanes(&self, rows: &Range<usize>) -> [usize; MAX_WIDTH] {
        std::array::from_fn(|lane| self.query((rows.start + lane).min(rows.end - 1)))
    }

    /// Sets scores outside a query's range to −∞.
    ///
    /// # Safety
    /// The processor has the instructions of `V`.
    #[inline(always)]
    unsafe fn mask_by_position<V: Vector, const C: usize>(
        &self,
        scores: &mut [f32],
        rows: &Range<usize>,
        keys: &Range<usize>,
    ) {
        let width = C * V::LANES;
        let inside = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
        let mut first = [0.0_f32; MAX_WIDTH]; // [width]: the first key of the block that the lane's query sees
        let mut end = [0.0_f32; MAX_WIDTH]; // [width]: the key after the last
        for lane in 0..width {
            let row = self.row((rows.start + lane).min(rows.end - 1));
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
