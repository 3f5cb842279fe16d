//! Positions as sines and cosines: added to embeddings, or turning queries and keys.

use std::ops::Range;

use attlas::Mask;

use crate::config::{Arrangement, Frequencies, Pairs, PlaceScale, Rotary};

/// Sines and cosines of one pass, for the positions it computes.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    first_column: usize,
    pairs: Pairs,
    half: usize,
    n: usize,
    /// One where all items of the pass turn alike.
    n_items: usize,
    /// Shape `[n_items, n, half]`.
    cosines: Vec<f32>,
    /// Shape `[n_items, n, half]`.
    sines: Vec<f32>,
    /// Radians per position, of the first text. Shape `[half]`.
    frequencies: Vec<f32>,
}

/// Where the patches of images stand among the positions of a pass.
#[derive(Debug, Clone, Default)]
pub(crate) struct PatchPlaces {
    /// Positions before the first patch.
    pub n_leading: usize,
    /// Patches from top to bottom.
    pub n_rows: usize,
    /// Patches from left to right.
    pub n_columns: usize,
    /// The three positions of each token, where images stand among words. Shape `[n_items, n]`.
    pub positions: Vec<[u32; 3]>,
}

impl PatchPlaces {
    /// The mask of patches that see those of their square alone. At the image's edges squares may be smaller.
    pub fn mask_of_squares(&self, side: usize) -> Mask {
        let PatchPlaces { n_leading, n_rows, n_columns, .. } = *self;
        let all = n_leading + n_rows * n_columns;
        let of_patch = |patch: usize| -> Vec<Range<usize>> {
            let [top, left] = [patch / n_columns, patch % n_columns].map(|place| place / side * side);
            let (bottom, right) = ((top + side).min(n_rows), (left + side).min(n_columns));
            let at = |row: usize, column: usize| n_leading + row * n_columns + column;
            match right - left == n_columns {
                true => vec![at(top, 0)..at(bottom, 0)],
                false => (top..bottom).map(|row| at(row, left)..at(row, right)).collect(),
            }
        };
        let rows: Vec<Vec<Range<usize>>> = (0..n_leading)
            .map(|_| std::iter::once(0..all).collect())
            .chain((0..n_rows * n_columns).map(of_patch))
            .collect();
        Mask::stretches(&rows)
    }
}

impl Turns {
    /// For positions `start` to `start + n`; `lengths` says how long each text of the batch is in all, so that one whose
    /// frequencies depend on it turns as it would without the others. Shape `[n_items]`.
    pub fn new(rotary: &Rotary, start: usize, n: usize, lengths: &[usize], places: &PatchPlaces) -> Turns {
        if let Some(sections) = rotary.sections.filter(|_| !places.positions.is_empty()) {
            return Turns::by_three(rotary, sections, n, lengths, &places.positions);
        }
        if let Frequencies::ByPlace { per_axis, scale } = &rotary.frequencies {
            return Turns::by_place(rotary.pairs, per_axis, *scale, places);
        }
        if let Frequencies::Table { stored, .. } = &rotary.frequencies {
            return Turns::of_table(rotary, stored.as_ref().map_or(&[][..], |table| table.as_slice()), start, n);
        }
        let is_fixed = matches!(rotary.frequencies, Frequencies::Fixed { .. });
        let alike = is_fixed || lengths.iter().all(|length| *length == lengths[0]);
        let lengths = if alike { &lengths[..1] } else { lengths };
        let half = rotary.n_columns / 2;
        let mut cosines = Vec::with_capacity(lengths.len() * n * half); // [n_items, n, half]
        let mut sines = Vec::with_capacity(lengths.len() * n * half); // [n_items, n, half]
        for length in lengths {
            let (per_pair, factor) = rotary.frequencies.at(*length, rotary.n_columns);
            for position in start..start + n {
                for frequency in &per_pair {
                    // the angle is rounded to f32 as in the models' own code; its sine and cosine are not
                    let angle = f64::from(position as f32 * frequency);
                    cosines.push((angle.cos() * f64::from(factor)) as f32);
                    sines.push((angle.sin() * f64::from(factor)) as f32);
                }
            }
        }
        let frequencies =
            lengths.first().map_or(Vec::new(), |length| rotary.frequencies.at(*length, rotary.n_columns).0);
        Turns {
            first_column: rotary.first_column,
            pairs: rotary.pairs,
            half,
            n,
            n_items: lengths.len(),
            cosines,
            sines,
            frequencies,
        }
    }

    /// By a table of sines and cosines; what is not in it is computed. Shape of `stored`: `[n_positions, n_columns]`.
    fn of_table(rotary: &Rotary, stored: &[f32], start: usize, n: usize) -> Turns {
        let half = rotary.n_columns / 2;
        let mut rows = vec![0.0; n * rotary.n_columns]; // [n, n_columns]
        for (position, row) in (start..).zip(rows.chunks_exact_mut(rotary.n_columns)) {
            match stored.chunks_exact(rotary.n_columns).nth(position) {
                Some(known) => row.copy_from_slice(known),
                None => sinusoidal_row(Arrangement::Halves, position, row),
            }
        }
        let halves = || rows.chunks_exact(rotary.n_columns).map(|row| row.split_at(half));
        Turns {
            first_column: rotary.first_column,
            pairs: rotary.pairs,
            half,
            n,
            n_items: 1,
            cosines: halves().flat_map(|(_, cosines)| cosines).copied().collect(),
            sines: halves().flat_map(|(sines, _)| sines).copied().collect(),
            frequencies: inverse_frequencies(10_000.0, rotary.n_columns),
        }
    }

    /// For tokens that have three positions, each of which turns some pairs. Shape of `positions`: `[n_items, n]`.
    fn by_three(rotary: &Rotary, sections: [usize; 3], n: usize, lengths: &[usize], positions: &[[u32; 3]]) -> Turns {
        let half = rotary.n_columns / 2;
        let ends = [sections[0], sections[0] + sections[1]];
        let (per_pair, factor) = rotary.frequencies.at(lengths.first().copied().unwrap_or(n), rotary.n_columns);
        let angle = |place: &[u32; 3], pair: usize| {
            let axis = ends.iter().filter(|end| pair >= **end).count();
            f64::from(place[axis] as f32 * per_pair[pair])
        };
        let angles = || positions.iter().flat_map(|place| (0..half).map(move |pair| angle(place, pair)));
        let scaled = |x: f64| (x * f64::from(factor)) as f32;
        Turns {
            first_column: rotary.first_column,
            pairs: rotary.pairs,
            half,
            n,
            n_items: positions.len() / n.max(1),
            cosines: angles().map(|angle| scaled(angle.cos())).collect(),
            sines: angles().map(|angle| scaled(angle.sin())).collect(),
            frequencies: Vec::new(),
        }
    }

    /// For the patches of an image.
    fn by_place(pairs: Pairs, per_axis: &[f32], scale: PlaceScale, places: &PatchPlaces) -> Turns {
        let PatchPlaces { n_leading, n_rows, n_columns, .. } = *places;
        let half = 2 * per_axis.len();
        let n = n_leading + n_rows * n_columns;
        let (mut cosines, mut sines) = (vec![1.0; n * half], vec![0.0; n * half]); // [n, half]
        // step by step in f32, as the models' own code does; sine and cosine are not
        let at = |place: usize, n: usize| match scale {
            PlaceScale::Image => 2.0 * ((place as f32 + 0.5) / n as f32) - 1.0,
            PlaceScale::Patches => place as f32,
        };
        for patch in 0..n_rows * n_columns {
            let axes = [at(patch / n_columns, n_rows), at(patch % n_columns, n_columns)];
            let angles = axes.into_iter().flat_map(|at| per_axis.iter().map(move |turn| f64::from(at * turn)));
            let start = (n_leading + patch) * half;
            for (angle, slot) in angles.zip(start..) {
                (cosines[slot], sines[slot]) = (angle.cos() as f32, angle.sin() as f32);
            }
        }
        Turns { first_column: 0, pairs, half, n, n_items: 1, cosines, sines, frequencies: Vec::new() }
    }

    /// Radians per position of a pair of columns; 0 where it is not the position that turns it.
    pub fn frequency(&self, pair: usize) -> f64 {
        self.frequencies.get(pair).copied().map_or(0.0, f64::from)
    }

    /// Turns one head's row of an item at the `index`-th position of the pass. Shape `[d_head]`.
    #[inline(always)]
    pub fn apply(&self, item: usize, index: usize, row: &mut [f32]) {
        self.turn::<false>(item, index, row);
    }

    /// Takes the gradient of a turned row back to the row: turns it the other way, by the same factor. Shape `[d_head]`.
    #[inline(always)]
    pub fn go_back(&self, item: usize, index: usize, row: &mut [f32]) {
        self.turn::<true>(item, index, row);
    }

    #[inline(always)]
    fn turn<const BACK: bool>(&self, item: usize, index: usize, row: &mut [f32]) {
        let start = ((item % self.n_items) * self.n + index) * self.half;
        let cosines = &self.cosines[start..][..self.half];
        let sines = &self.sines[start..][..self.half];
        let row = &mut row[self.first_column..];
        match self.pairs {
            Pairs::Halves => {
                let (first, rest) = row.split_at_mut(self.half);
                for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cosines).zip(sines) {
                    let sin = if BACK { -sin } else { *sin };
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
            Pairs::Neighbours => {
                for ((pair, cos), sin) in row.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
                    let ([a, b], sin) = (*pair, if BACK { -sin } else { *sin });
                    *pair = [a * cos - b * sin, b * cos + a * sin];
                }
            }
        }
    }
}

impl Frequencies {
    /// Frequencies and factor for a text of `length` tokens.
    fn at(&self, length: usize, n_columns: usize) -> (Vec<f32>, f32) {
        match self {
            Frequencies::Fixed { per_pair, factor } => (per_pair.clone(), *factor),
            Frequencies::ByLength { short, long, threshold, factor } => {
                (if length > *threshold { long.clone() } else { short.clone() }, *factor)
            }
            Frequencies::ByPlace { .. } | Frequencies::Table { .. } => (Vec::new(), 1.0),
            Frequencies::Dynamic { base, factor, threshold } => {
                let columns = n_columns as f64;
                let grown = factor * length.max(*threshold) as f64 / *threshold as f64 - (factor - 1.0);
                (inverse_frequencies(base * grown.powf(columns / (columns - 2.0)), n_columns), 1.0)
            }
        }
    }
}

/// `base^(−2i / n_columns)`. Shape `[n_columns / 2]`.
pub(crate) fn inverse_frequencies(base: f64, n_columns: usize) -> Vec<f32> {
    let frequency = |pair: usize| 1.0 / (base as f32).powf((2 * pair) as f32 / n_columns as f32);
    (0..n_columns / 2).map(frequency).collect()
}

/// The sinusoidal row of one position (Vaswani et al. 2017, §3.5). Shape `[width]`.
pub(crate) fn sinusoidal_row(arrangement: Arrangement, position: usize, row: &mut [f32]) {
    let width = row.len();
    let half = width.div_ceil(2);
    match arrangement {
        Arrangement::Interleaved => {
            // in f32 step by step, as the usual class computes its table
            let step = -(10_000.0_f64.ln() / width as f64) as f32;
            for (pair, slots) in row.chunks_mut(2).enumerate() {
                let angle = position as f32 * ((2 * pair) as f32 * step).exp();
                slots[0] = angle.sin();
                if let Some(slot) = slots.get_mut(1) {
                    *slot = angle.cos();
                }
            }
        }
        Arrangement::Halves => {
            for (column, slot) in row.iter_mut().enumerate() {
                let pair = column % half;
                let angle = position as f64 / 10_000.0_f64.powf(2.0 * pair as f64 / width as f64);
                *slot = if column < half { angle.sin() } else { angle.cos() } as f32;
            }
        }
        Arrangement::HalvesInclusive => {
            let half = width / 2;
            let step = -(10_000.0_f64.ln() / (half.max(2) - 1) as f64) as f32;
            for (column, slot) in row.iter_mut().enumerate() {
                let angle = position as f32 * ((column % half.max(1)) as f32 * step).exp();
                *slot = if column < half { angle.sin() } else { angle.cos() };
                if column >= 2 * half {
                    *slot = 0.0;
                }
            }
        }
    }
}
