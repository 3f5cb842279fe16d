//! Queries and keys in 13 to 16 bits, with the weights that would then be shown with other digits beside them.
//!
//! Every row of a query or key is whole numbers, up to 4,095 in 13 bits, times one step. The page computes weights from these, each
//! row divided by its own sum. Here the same is computed, and held against the recording's weights one by one: of a weight whose
//! digits would change, the digits travel. A head that would need many of these, whose scores would be off by more than 0.005, or are
//! large, is refused.

use std::ops::{Range, RangeInclusive};

use attlas::{AttentionMap, Error, Factored, Item, Layer, Provenance, Recording};
use rayon::prelude::*;

use crate::digits::{keeps_digits, number};

/// Queries whose weights are held at a time: two blocks of the kernel.
const BAND: usize = 96;
/// Bits of a whole number, as few as scores allow: with one less, three weights a row more travel beside them.
pub const BITS: RangeInclusive<u8> = 13..=16;
/// How far a score may be off, which is shown with two digits after the point.
const MOST_OF_SCORE: f64 = 0.005;
/// The largest error of a score among a million, in standard deviations, with some to spare.
const N_DEVIATIONS: f64 = 6.0;
/// Log-sum-exps beyond this are those of scores that even f32 blurs.
const LARGE: f64 = 16.0;
/// Below this a weight and its score are not told apart by f32.
const VANISHING: f32 = 1e-35;

/// Rows of whole numbers times a step.
pub struct Rows {
    /// Shape `[n_rows, width]`.
    pub numbers: Vec<i16>,
    /// Shape `[n_rows]`.
    pub steps: Vec<f32>,
}

/// The weights of one head that travel as they are, row by row.
#[derive(Default)]
pub struct Exact {
    /// How many there are in each row. Shape `[n_queries]`.
    pub counts: Vec<u16>,
    /// The column of each.
    pub keys: Vec<u16>,
    /// The [number] of each.
    pub numbers: Vec<u16>,
}

impl Rows {
    /// The nearest rows of so many bits to some; `None` where a number is not finite.
    pub fn nearest(rows: &[f32], width: usize, bits: u8) -> Option<Rows> {
        let largest = largest(bits);
        let mut nearest = Rows { numbers: Vec::with_capacity(rows.len()), steps: Vec::new() };
        for row in rows.chunks_exact(width) {
            if !row.iter().all(|number| number.is_finite()) {
                return None;
            }
            let step = row.iter().fold(0.0_f32, |most, number| most.max(number.abs())) / largest;
            let factor = if step > 0.0 { step.recip() } else { 0.0 };
            // half away from 0 and cut: an instruction, which rounding is not on every processor
            let whole = |number: &f32| (number * factor + 0.5_f32.copysign(*number)).clamp(-largest, largest) as i16;
            nearest.numbers.extend(row.iter().map(whole));
            nearest.steps.push(step);
        }
        Some(nearest)
    }

    /// The rows as the page has them. Shape `[n_rows, width]`.
    fn numbers(&self, width: usize) -> impl Iterator<Item = f32> {
        let rows = self.numbers.chunks_exact(width).zip(&self.steps);
        rows.flat_map(|(row, step)| row.iter().map(move |number| f32::from(*number) * step))
    }
}

/// The largest whole number of so many bits.
fn largest(bits: u8) -> f32 {
    ((1_u32 << (bits - 1)) - 1) as f32
}

/// How many bits queries and keys need for scores that are right to [`MOST_OF_SCORE`], as far as the sizes of the largest tell; at most
/// 16. Errors of a row are taken as independent and even over a step.
fn bits_for(queries: &[f32], keys: &[f32], width: usize, scale: f64) -> u8 {
    let most = |rows: &[f32], of: &dyn Fn(&[f32]) -> f32| rows.chunks_exact(width).map(of).fold(0.0_f32, f32::max);
    let largest_of = |rows: &[f32]| most(rows, &|row| row.iter().fold(0.0_f32, |most, number| most.max(number.abs())));
    let length_of = |rows: &[f32]| most(rows, &|row| row.iter().map(|number| number * number).sum::<f32>().sqrt());
    let error = f64::from((largest_of(queries) * length_of(keys)).hypot(largest_of(keys) * length_of(queries)));
    let enough = |bits: &u8| {
        let deviation = scale.abs() * error / f64::from(largest(*bits)) / 12_f64.sqrt();
        N_DEVIATIONS * deviation < MOST_OF_SCORE
    };
    BITS.into_iter().find(enough).unwrap_or(*BITS.end())
}

/// A layer of one text whose queries and keys are rows of whole numbers.
pub struct Rounded {
    recording: Recording,
    /// Bits of a whole number.
    pub bits: u8,
    pub queries: Rows,
    pub keys: Rows,
}

impl Rounded {
    /// The layer, rounded; `None` where a number is not finite, or a score may be large. `kept` are the queries and the keys that
    /// are not padding.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn of(layer: &Layer, factored: &Factored, item: &Item, place: usize) -> Result<Option<Rounded>, Error> {
        let shape = layer.shape;
        let part = |n_heads: usize, n_rows: usize| place * n_heads * n_rows..(place + 1) * n_heads * n_rows;
        let wide = |rows: Range<usize>| rows.start * shape.d_head..rows.end * shape.d_head;
        let (queries, keys) = (part(shape.n_heads, shape.n_queries), part(shape.n_kv_heads, shape.n_keys));
        let lse = factored.lse.read(queries.clone())?;
        if shape.n_keys > usize::from(u16::MAX) || lse.iter().any(|lse| lse.is_finite() && lse.abs() > LARGE) {
            return Ok(None);
        }
        let (queries, keys) = (factored.queries.read(wide(queries))?, factored.keys.read(wide(keys))?);
        let bits = bits_for(&queries, &keys, shape.d_head, factored.scoring.scale);
        let queries = Rows::nearest(&queries, shape.d_head, bits);
        let keys = Rows::nearest(&keys, shape.d_head, bits);
        let (Some(queries), Some(keys)) = (queries, keys) else { return Ok(None) };
        let rounded = Factored {
            scoring: factored.scoring.clone(),
            queries: queries.numbers(shape.d_head).collect::<Vec<f32>>().into(),
            keys: keys.numbers(shape.d_head).collect::<Vec<f32>>().into(),
            lse: lse.into_owned().into(),
            mask: None,
            key_bias: None,
        };
        let layers = vec![Layer::new(layer.kind, layer.index, shape, rounded)];
        let recording = Recording { items: vec![item.clone()], layers, provenance: Provenance::default() };
        Ok(Some(Rounded { recording, bits, queries, keys }))
    }

    /// For each head of the layer, the weights that travel as they are; `None` of a head that needs all its digits.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn exact(
        &self,
        recording: &Recording,
        layer: &Layer,
        place: usize,
        kept: (&[usize], &[usize]),
    ) -> Result<Vec<Option<Exact>>, Error> {
        let of_head = |head: usize| {
            let given = recording.map_of(layer, place, head)?;
            let rounded = self.recording.map_of(&self.recording.layers[0], 0, head)?;
            Ok(Exact::between(&given, &rounded, kept, layer.shape.d_head))
        };
        (0..layer.shape.n_heads).into_par_iter().map(of_head).collect()
    }
}

impl Exact {
    /// What of a map must travel as it is beside the rounded one; `None` where that is too much.
    fn between(
        given: &AttentionMap<'_>,
        rounded: &AttentionMap<'_>,
        (queries, keys): (&[usize], &[usize]),
        d_head: usize,
    ) -> Option<Exact> {
        let mut exact = Exact::default();
        let n_keys = given.n_keys();
        let most = queries.len() * d_head / 6; // a sixth of what the queries take as f32
        for band in queries.chunk_by(|a, b| a + 1 == *b).flat_map(|stretch| stretch.chunks(BAND)) {
            let [first, ..] = band else { continue };
            let band = *first..first + band.len();
            let (weights, near) = (given.tile(band.clone(), 0..n_keys), rounded.tile(band.clone(), 0..n_keys));
            for (query, (weights, near)) in band.zip(weights.chunks_exact(n_keys).zip(near.chunks_exact(n_keys))) {
                exact.take_row(weights, near, rounded.sink_mass(query), keys)?;
                if exact.keys.len() > most {
                    return None;
                }
            }
        }
        Some(exact)
    }

    /// Takes one row in; `None` where a score of it would be too far off. Shapes `[n_keys]`.
    fn take_row(&mut self, weights: &[f32], near: &[f32], sink: f32, keys: &[usize]) -> Option<()> {
        let before = self.keys.len();
        let sum: f64 = f64::from(sink) + near.iter().map(|weight| f64::from(*weight)).sum::<f64>();
        let factor = if sum > 0.0 && sink < 1.0 { 1.0 / sum } else { 1.0 };
        for (column, key) in keys.iter().enumerate() {
            let (weight, computed) = (weights[*key], f64::from(near[*key]) * factor);
            if weight == 0.0 && computed == 0.0 {
                continue;
            }
            let exact = f64::from(weight);
            // a product, since there are so many that dividing would take longer than all else
            if weight > VANISHING && (computed - exact).abs() > MOST_OF_SCORE * exact || !weight.is_finite() {
                return None;
            }
            if !keeps_digits(weight, computed) {
                self.keys.push(u16::try_from(column).ok()?);
                self.numbers.push(number(weight)?);
            }
        }
        self.counts.push(u16::try_from(self.keys.len() - before).ok()?);
        Some(())
    }
}
