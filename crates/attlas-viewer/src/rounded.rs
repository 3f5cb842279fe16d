//! Queries and keys in 13 to 16 bits, with the weights that would then be shown with other digits beside them.
//!
//! Every row of a query or key is whole numbers, up to 4,095 in 13 bits, times one step. The page computes weights from these, each
//! row divided by its own sum. Here the same is computed, and held against the recording's weights one by one: of a weight whose
//! digits would change, the digits travel. A head that would need many of these, whose scores would be off by more than 0.005, or are
//! large, is refused.

use std::ops::RangeInclusive;

use attlas::attention::Shape;
use attlas::{AttentionMap, Error, Factored, Item, Layer, Provenance, Recording};
use rayon::prelude::*;

use crate::alike::{mark, marked, sum};
use crate::bands::bands;
use crate::digits::{keeps_digits, number};

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
#[derive(Clone, Default)]
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
    fn numbers(&self, width: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; self.numbers.len()]; // [n_rows, width]
        let rows = numbers.chunks_exact_mut(width).zip(self.numbers.chunks_exact(width)).zip(&self.steps);
        for ((row, whole), step) in rows {
            row.iter_mut().zip(whole).for_each(|(number, whole)| *number = f32::from(*whole) * step);
        }
        numbers
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
    /// Bits of a whole number.
    pub bits: u8,
    /// Shape `[n_heads, n_queries, d_head]`.
    pub queries: Rows,
    /// Shape `[n_kv_heads, n_keys, d_head]`.
    pub keys: Rows,
}

impl Rounded {
    /// The layer, rounded; `None` where a number is not finite, or a score may be large.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn of(layer: &Layer, factored: &Factored, place: usize) -> Result<Option<Rounded>, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let part = |n_rows: usize| place * n_rows..(place + 1) * n_rows;
        let lse = factored.lse.read(part(n_heads * n_queries))?;
        if n_keys > usize::from(u16::MAX) || lse.iter().any(|lse| lse.is_finite() && lse.abs() > LARGE) {
            return Ok(None);
        }
        let queries = factored.queries.read(part(n_heads * n_queries * d_head))?;
        let keys = factored.keys.read(part(n_kv_heads * n_keys * d_head))?;
        let bits = bits_for(&queries, &keys, d_head, factored.scoring.scale);
        let (queries, keys) = (Rows::nearest(&queries, d_head, bits), Rows::nearest(&keys, d_head, bits));
        let (Some(queries), Some(keys)) = (queries, keys) else { return Ok(None) };
        Ok(Some(Rounded { bits, queries, keys }))
    }

    /// The layer as the page has it: a recording of one text, without mask.
    fn recording(&self, layer: &Layer, factored: &Factored, item: &Item, lse: Vec<f64>) -> Recording {
        let d_head = layer.shape.d_head;
        let rounded = Factored {
            scoring: factored.scoring.clone(),
            queries: self.queries.numbers(d_head).into(),
            keys: self.keys.numbers(d_head).into(),
            lse: lse.into(),
            mask: None,
            key_bias: None,
        };
        let layers = vec![Layer::new(layer.kind, layer.index, layer.shape, rounded)];
        Recording { items: vec![item.clone()], layers, provenance: Provenance::default() }
    }

    /// For each head of the layer, the weights that travel as they are; `None` of a head that needs all its digits. `kept` are the
    /// queries and the keys that are not padding.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn exact(
        &self,
        recording: &Recording,
        (layer, factored): (&Layer, &Factored),
        place: usize,
        kept: (&[usize], &[usize]),
    ) -> Result<Vec<Option<Exact>>, Error> {
        let n_rows = layer.shape.n_heads * layer.shape.n_queries;
        let lse = factored.lse.read(place * n_rows..(place + 1) * n_rows)?.into_owned();
        let rounded = self.recording(layer, factored, &recording.items[place], lse);
        let of_head = |head: usize| {
            let given = recording.map_of(layer, place, head)?;
            let near = rounded.map_of(&rounded.layers[0], 0, head)?;
            Ok(Exact::between(&given, &near, kept, layer.shape.d_head))
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
        let mut row = Looked::default();
        for band in bands(queries) {
            let (weights, near) = (given.tile(band.clone(), 0..n_keys), rounded.tile(band.clone(), 0..n_keys));
            for (query, (weights, near)) in band.zip(weights.chunks_exact(n_keys).zip(near.chunks_exact(n_keys))) {
                let sink = f64::from(rounded.sink_mass(query));
                let sum = sink + sum(near);
                row.factor = if sum > 0.0 && sink < 1.0 { 1.0 / sum } else { 1.0 };
                let before = exact.keys.len();
                if keys.len() == n_keys {
                    // what is not seen is 0 on both sides
                    let seen = rounded.visible_keys(query);
                    exact.take_row(&mut row, &weights[seen.clone()], &near[seen.clone()], seen.start)?;
                } else {
                    let of_keys = |row: &[f32]| keys.iter().map(|key| row[*key]).collect::<Vec<f32>>();
                    exact.take_row(&mut row, &of_keys(weights), &of_keys(near), 0)?;
                }
                exact.counts.push(u16::try_from(exact.keys.len() - before).ok()?);
                if exact.keys.len() > most {
                    return None;
                }
            }
        }
        Some(exact)
    }

    /// Takes in some columns of a row, from `first` on; `None` where a score of them would be too far off. Shapes `[n]`.
    fn take_row(&mut self, row: &mut Looked, weights: &[f32], near: &[f32], first: usize) -> Option<()> {
        row.marks.resize(weights.len(), 0);
        if mark(weights, near, row.factor as f32, (MOST_OF_SCORE as f32, VANISHING), &mut row.marks) {
            return None;
        }
        for place in marked(&row.marks) {
            let weight = weights[place];
            if !keeps_digits(weight, f64::from(near[place]) * row.factor) {
                self.keys.push(u16::try_from(first + place).ok()?);
                self.numbers.push(number(f64::from(weight))?);
            }
        }
        Some(())
    }
}

/// A row that is being looked at.
#[derive(Default)]
struct Looked {
    /// What its weights on rounded numbers are multiplied by, so that they sum to 1 with the sink.
    factor: f64,
    marks: Vec<u8>,
}
