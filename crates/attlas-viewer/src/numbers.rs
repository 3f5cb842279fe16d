//! The page's numbers: one block of bytes.
//!
//! Everything is little-endian; `web/src/data.ts` reads it. An array begins at a multiple of four bytes.

use std::ops::Range;

use attlas::{AttentionMap, Error, Factored, Layer, Recording};
use rayon::prelude::*;
use serde::Serialize;

use crate::bits::{Bits, Code};
use crate::digits::{N_CLASSES, class, number};
use crate::payload::{Storage, kept, storage};
use crate::rounded::{Exact, Rounded, Rows};

/// Bytes of numbers up to which they travel as they are, 32-bit.
pub const FEW: u64 = 1 << 16;
/// Queries whose weights are held at a time.
const BAND: usize = 96;
/// The step of log-sum-exps that make scores of weights of which only digits travel.
const LSE_STEP: f32 = 1.0 / 512.0;
/// How far a row's sum may be from 1 and still be shown as 1.
const OFF: f64 = 5e-5;

/// Where one item's numbers of a layer begin, in bytes.
#[derive(Serialize)]
#[serde(tag = "storage", rename_all = "lowercase")]
pub enum Stored {
    /// Weights `[n_heads, n_queries, n_keys]`, 32-bit floats; log-sum-exps `[n_heads, n_queries]`.
    Dense { weights: usize, lse: Option<usize> },
    /// The digits that are shown of weights: for each head, row by row, how many weights there are up to the last that is not 0, in
    /// as many bits as `n_keys` has, and these weights' [numbers](number) in a [`Code`] of such `lengths`. `sums` are those of the
    /// rows, f32 `[n_heads, n_queries]`; where it is absent, a row that has weights sums to 1 with its sink.
    /// Log-sum-exps are whole numbers, i16, of [`LSE_STEP`] where `lse_short`.
    Coded { lengths: Vec<u8>, heads: Vec<usize>, sums: Option<usize>, lse: Option<usize>, lse_short: bool },
    /// Log-sum-exps `[n_heads, n_queries]`, f32, and what f32 leaves out of these: the page computes in f64, and large scores need
    /// all of it. For each head of keys, these and its queries.
    Factored { lse: usize, lse_rest: usize, groups: Vec<Group> },
}

/// Queries `[n_heads / n_kv_heads, n_queries, d_head]` and keys `[n_keys, d_head]`.
#[derive(Serialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Group {
    /// 32-bit floats; a weight is made with the log-sum-exp.
    F32 { queries: usize, keys: usize },
    /// Whole numbers of so many bits, each row times a step, f32: `[n_heads / n_kv_heads, n_queries]` and `[n_keys]`. A weight is
    /// made with the sum of its row. For each head, weights that travel as they are.
    Rounded { bits: u8, queries: usize, query_steps: usize, keys: usize, key_steps: usize, exact: Vec<PageExact> },
}

/// Weights of a head that travel as they are: `n` columns and [numbers](number), u16, and how many each row has, u16 `[n_queries]`.
#[derive(Serialize)]
pub struct PageExact {
    n: usize,
    counts: usize,
    keys: usize,
    numbers: usize,
}

/// The code of one item's weights, where each head begins, and where the sums of rows do, if they are needed.
struct Coded {
    lengths: Vec<u8>,
    heads: Vec<usize>,
    sums: Option<usize>,
}

/// The block, while it grows.
pub struct Numbers {
    bytes: Vec<u8>,
    /// Whether there are so many that they are to take fewer bits.
    many: bool,
}

impl Numbers {
    /// Nothing yet; whether there will be many.
    pub fn new(many: bool) -> Numbers {
        Numbers { bytes: Vec::new(), many }
    }

    /// The block.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// Appends one item's numbers as weights, or as queries, keys and log-sum-exps.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn store(&mut self, recording: &Recording, layer: &Layer, place: usize) -> Result<Stored, Error> {
        let item = &recording.items[place];
        let kept = (kept(layer.query_tokens(item)), kept(layer.key_tokens(item)));
        let kept = (&kept.0[..], &kept.1[..]);
        let lse = kept_lse(layer, place, kept.0)?; // [n_heads, kept]
        let whole: Option<Vec<f32>> = lse.as_ref().map(|lse| lse.iter().map(|lse| *lse as f32).collect());
        let (Some(factored), Some(lse), Storage::Factored) = (layer.factored(), lse, storage(layer, item, self.many))
        else {
            let weights = dense(recording, layer, place, kept)?;
            return Ok(match self.push_coded(recording, layer, place, kept, &weights)? {
                Some(Coded { lengths, heads, sums }) => {
                    let short = whole.as_deref().and_then(short_lse);
                    let lse_short = short.is_some();
                    let lse = short.map(|lse| self.push_all(&lse)).or_else(|| whole.map(|lse| self.push_all(&lse)));
                    Stored::Coded { lengths, heads, sums, lse, lse_short }
                }
                None => Stored::Dense { weights: self.push_all(&weights), lse: whole.map(|lse| self.push_all(&lse)) },
            });
        };
        let rest = |lse: &f64| if lse.is_finite() { (lse - f64::from(*lse as f32)) as f32 } else { 0.0 };
        let rests: Vec<f32> = lse.iter().map(rest).collect(); // [n_heads, kept]
        Ok(Stored::Factored {
            lse: self.push_all(&whole.unwrap_or_default()),
            lse_rest: self.push_all(&rests),
            groups: self.push_groups(recording, layer, factored, place, kept)?,
        })
    }

    /// Appends what is shown of dense weights, where there are many and all are weights.
    fn push_coded(
        &mut self,
        recording: &Recording,
        layer: &Layer,
        place: usize,
        (queries, keys): (&[usize], &[usize]),
        weights: &[f32],
    ) -> Result<Option<Coded>, Error> {
        let numbers: Option<Vec<u16>> =
            if self.many { weights.par_iter().map(|weight| number(*weight)).collect() } else { None };
        let (Some(numbers), false) = (numbers, keys.is_empty()) else { return Ok(None) };
        let rows = || numbers.chunks_exact(keys.len()).map(until_zeros);
        let mut counts = [0; N_CLASSES];
        rows().flatten().for_each(|number| counts[usize::from(class(*number).0)] += 1);
        let code = Code::of(&counts);
        let of_head = |numbers: &[u16]| {
            let mut bits = Bits::default();
            for row in numbers.chunks_exact(keys.len()).map(until_zeros) {
                bits.push(row.len() as u32, n_bits(keys.len()));
                row.iter().for_each(|number| code.push(&mut bits, *number));
            }
            bits.finish()
        };
        let heads: Vec<Vec<u8>> = numbers.par_chunks((queries.len() * keys.len()).max(1)).map(of_head).collect();
        let heads = heads.iter().map(|head| self.push(head)).collect();
        let sums = sums(recording, layer, place, queries, weights)?;
        let sums = sums.map(|sums| self.push_all(&sums));
        Ok(Some(Coded { lengths: code.lengths, heads, sums }))
    }

    /// Appends queries and keys, rounded where all heads that share the keys allow it.
    fn push_groups(
        &mut self,
        recording: &Recording,
        layer: &Layer,
        factored: &Factored,
        place: usize,
        kept: (&[usize], &[usize]),
    ) -> Result<Vec<Group>, Error> {
        let shape = layer.shape;
        let rounded = if self.many { Rounded::of(layer, factored, &recording.items[place], place)? } else { None };
        let exact = rounded.as_ref().map(|rounded| rounded.exact(recording, layer, place, kept)).transpose()?;
        let mut exact = exact.unwrap_or_default().into_iter();
        let n_sharing = shape.n_heads / shape.n_kv_heads;
        let mut groups = Vec::new();
        for kv_head in 0..shape.n_kv_heads {
            let heads = kv_head * n_sharing..(kv_head + 1) * n_sharing;
            let of_group: Option<Vec<Exact>> = exact.by_ref().take(n_sharing).collect();
            groups.push(match (&rounded, of_group) {
                (Some(rounded), Some(exact)) => {
                    let bits = rounded.bits;
                    let (queries, query_steps) =
                        self.push_rounded(&rounded.queries, bits, heads, shape.n_queries, kept.0);
                    let (keys, key_steps) =
                        self.push_rounded(&rounded.keys, bits, kv_head..kv_head + 1, shape.n_keys, kept.1);
                    let exact = exact.iter().map(|exact| self.push_exact(exact)).collect();
                    Group::Rounded { bits, queries, query_steps, keys, key_steps, exact }
                }
                _ => {
                    let (first, first_key) = (place * shape.n_heads + heads.start, place * shape.n_kv_heads + kv_head);
                    let queries = rows(&factored.queries, first, n_sharing, shape.n_queries, kept.0, shape.d_head)?;
                    let keys = rows(&factored.keys, first_key, 1, shape.n_keys, kept.1, shape.d_head)?;
                    Group::F32 { queries: self.push_all(&queries), keys: self.push_all(&keys) }
                }
            });
        }
        Ok(groups)
    }

    /// Appends the kept rows of some heads, and their steps.
    fn push_rounded(
        &mut self,
        rounded: &Rows,
        bits: u8,
        heads: Range<usize>,
        n_rows: usize,
        kept: &[usize],
    ) -> (usize, usize) {
        let width = rounded.numbers.len() / rounded.steps.len().max(1);
        let rows: Vec<usize> = heads.flat_map(|head| kept.iter().map(move |row| head * n_rows + row)).collect();
        let mut packed = Bits::default();
        let numbers = rows.iter().flat_map(|row| &rounded.numbers[row * width..][..width]);
        numbers.for_each(|number| packed.push(*number as u32, bits));
        let steps: Vec<f32> = rows.iter().map(|row| rounded.steps[*row]).collect();
        (self.push(&packed.finish()), self.push_all(&steps))
    }

    fn push_exact(&mut self, exact: &Exact) -> PageExact {
        PageExact {
            n: exact.keys.len(),
            counts: self.push_all(&exact.counts),
            keys: self.push_all(&exact.keys),
            numbers: self.push_all(&exact.numbers),
        }
    }

    fn push_all<T: bytemuck::NoUninit>(&mut self, numbers: &[T]) -> usize {
        self.push(bytemuck::cast_slice(numbers))
    }

    /// Appends an array's bytes; says where it begins.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        start
    }
}

/// A row up to its last number that is not 0.
fn until_zeros(row: &[u16]) -> &[u16] {
    &row[..row.iter().rposition(|number| *number > 0).map_or(0, |last| last + 1)]
}

/// In how many bits every number up to `n` can be written.
fn n_bits(n: usize) -> u8 {
    (usize::BITS - n.leading_zeros()) as u8
}

/// The log-sum-exps of the queries that are not padding; `None` of weights without scores. Shape `[n_heads, kept]`.
fn kept_lse(layer: &Layer, place: usize, kept: &[usize]) -> Result<Option<Vec<f64>>, Error> {
    let (Some(factored), shape) = (layer.factored(), layer.shape) else { return Ok(None) };
    let first_head = place * shape.n_heads;
    let lse = factored.lse.read(first_head * shape.n_queries..(first_head + shape.n_heads) * shape.n_queries)?;
    let heads = lse.chunks_exact(shape.n_queries);
    Ok(Some(heads.flat_map(|head| kept.iter().map(|row| head[*row])).collect()))
}

/// Log-sum-exps in steps of [`LSE_STEP`]; `None` where one is not finite, or too large.
fn short_lse(lse: &[f32]) -> Option<Vec<i16>> {
    let steps = lse.iter().map(|lse| (lse / LSE_STEP).round());
    steps.map(|steps| (steps.abs() <= f32::from(i16::MAX)).then_some(steps as i16)).collect()
}

/// The sums of rows; `None` where each is 1 with its sink, or 0 of a row without weights. Shape `[n_heads, kept]`.
fn sums(
    recording: &Recording,
    layer: &Layer,
    place: usize,
    queries: &[usize],
    weights: &[f32], // [n_heads, kept, n_keys]
) -> Result<Option<Vec<f32>>, Error> {
    let n_keys = weights.len() / (layer.shape.n_heads * queries.len()).max(1);
    let (mut sums, mut usual) = (Vec::new(), true);
    for (head, rows) in weights.chunks_exact((queries.len() * n_keys).max(1)).enumerate() {
        let map = recording.map_of(layer, place, head)?;
        for (query, row) in queries.iter().zip(rows.chunks_exact(n_keys)) {
            let sum: f64 = row.iter().map(|weight| f64::from(*weight)).sum();
            usual &= sum == 0.0 || (sum + f64::from(map.sink_mass(*query)) - 1.0).abs() <= OFF;
            sums.push(sum as f32);
        }
    }
    Ok(if usual { None } else { Some(sums) })
}

/// The weights of all heads, padding left out. Shape `[n_heads, n_queries, n_keys]`.
fn dense(
    recording: &Recording,
    layer: &Layer,
    place: usize,
    (queries, keys): (&[usize], &[usize]),
) -> Result<Vec<f32>, Error> {
    let of_head = |head: usize| -> Result<Vec<f32>, Error> {
        let map = recording.map_of(layer, place, head)?;
        let bands = queries.chunk_by(|a, b| a + 1 == *b).flat_map(|stretch| stretch.chunks(BAND));
        Ok(bands.flat_map(|band| of_band(&map, band, keys)).collect())
    };
    let heads: Result<Vec<Vec<f32>>, Error> = (0..layer.shape.n_heads).into_par_iter().map(of_head).collect();
    Ok(heads?.concat())
}

/// The weights of neighbouring queries. Shape `[band, keys]`.
fn of_band(map: &AttentionMap<'_>, band: &[usize], keys: &[usize]) -> Vec<f32> {
    let [first, ..] = band else { return Vec::new() };
    let n_keys = map.n_keys();
    let weights = map.tile(*first..first + band.len(), 0..n_keys); // [band, n_keys]
    if keys.len() == n_keys {
        return weights;
    }
    weights.chunks_exact(n_keys).flat_map(|row| keys.iter().map(|key| row[*key])).collect()
}

/// The kept rows of some heads of an array. Shape `[n_heads, kept.len(), width]`.
fn rows(
    array: &attlas::Numbers, // [batch × n_heads, n_rows, width]
    first_head: usize,
    n_heads: usize,
    n_rows: usize,
    kept: &[usize],
    width: usize,
) -> Result<Vec<f32>, Error> {
    let mut numbers = Vec::with_capacity(n_heads * kept.len() * width);
    for head in first_head..first_head + n_heads {
        let of_head = array.read(head * n_rows * width..(head + 1) * n_rows * width)?; // [n_rows, width]
        kept.iter().for_each(|row| numbers.extend_from_slice(&of_head[row * width..][..width]));
    }
    Ok(numbers)
}
