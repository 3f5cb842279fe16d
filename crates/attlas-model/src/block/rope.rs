//! Positions as sines and cosines: added to embeddings, or turning queries and keys.

use crate::config::{Arrangement, Frequencies, Pairs, Rotary};

/// Sines and cosines of one pass, for the positions it computes.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    pairs: Pairs,
    half: usize,
    /// Shape `[n, half]`.
    cosines: Vec<f32>,
    /// Shape `[n, half]`.
    sines: Vec<f32>,
}

impl Turns {
    /// For positions `start` to `start + n`; `length` is how long the text is in all.
    pub fn new(rotary: &Rotary, start: usize, n: usize, length: usize) -> Turns {
        let (per_pair, factor) = rotary.frequencies.at(length, rotary.n_columns);
        let half = per_pair.len();
        let mut cosines = Vec::with_capacity(n * half); // [n, half]
        let mut sines = Vec::with_capacity(n * half); // [n, half]
        for position in start..start + n {
            for frequency in &per_pair {
                // the angle is rounded to f32 as in the models' own code; its sine and cosine are not
                let angle = f64::from(position as f32 * frequency);
                cosines.push((angle.cos() * f64::from(factor)) as f32);
                sines.push((angle.sin() * f64::from(factor)) as f32);
            }
        }
        Turns { pairs: rotary.pairs, half, cosines, sines }
    }

    /// Turns one head's row at the `index`-th position of the pass. Shape `[d_head]`.
    pub fn apply(&self, index: usize, row: &mut [f32]) {
        let cosines = &self.cosines[index * self.half..][..self.half];
        let sines = &self.sines[index * self.half..][..self.half];
        match self.pairs {
            Pairs::Halves => {
                let (first, rest) = row.split_at_mut(self.half);
                for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cosines).zip(sines) {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
            Pairs::Neighbours => {
                for ((pair, cos), sin) in row.as_chunks_mut::<2>().0.iter_mut().zip(cosines).zip(sines) {
                    let [a, b] = *pair;
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
