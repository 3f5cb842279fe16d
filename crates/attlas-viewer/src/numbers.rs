//! The page's numbers: one block of bytes.
//!
//! Everything is little-endian; `web/src/data.ts` reads it. An array begins at a multiple of four bytes.

use std::ops::Range;

use attlas::attention::Shape;
use attlas::{AttentionMap, Error, Factored, Item, Layer, Quantity, Recording};
use rayon::prelude::*;
use serde::Serialize;

use crate::alike::sum;
use crate::bands::bands;
use crate::bits::{Bits, Code};
use crate::digits::{N_CLASSES, class, number};
use crate::items::kept;
use crate::payload::{Storage, storage};
use crate::rounded::{Exact, Rounded, Rows};

/// Bytes of numbers up to which they travel as they are, 32-bit.
pub const FEW: u64 = 1 << 16;
/// The step of log-sum-exps that make scores of weights of which only digits travel.
const LSE_STEP: f32 = 1.0 / 512.0;
/// How far a row's sum may be from 1 and still be shown as 1.
const OFF: f64 = 5e-5;

/// Where one item's numbers of a layer begin, in bytes.
#[derive(Serialize)]
#[serde(tag = "storage", rename_all = "lowercase")]
pub enum Stored {
    /// Weights, or other numbers, `[n_heads, n_queries, n_keys]`, 32-bit floats; log-sum-exps `[n_heads, n_queries]`.
    Dense {
        weights: usize,
        lse: Option<usize>,
        #[serde(skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<Group>>,
    },
    /// The digits that are shown of weights: for each head, row by row, how many weights there are up to the last that is not 0, in
    /// as many bits as `n_keys` has, and these weights' [numbers](number) in a [`Code`] of such `lengths`. `sums` are those of the
    /// rows, f32 `[n_heads, n_queries]`; where it is absent, a row that has weights sums to 1 with its sink.
    /// Log-sum-exps are whole numbers, i16, of [`LSE_STEP`] where `lse_short`.
    ///
    /// Numbers that are no weights are divided by the layer's unit and coded by their size; where they are `signed`, a bit follows
    /// each that is not 0, which is 1 of a negative one.
    Coded {
        lengths: Vec<u8>,
        heads: Vec<usize>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
        sums: Option<usize>,
        lse: Option<usize>,
        lse_short: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        groups: Option<Vec<Group>>,
    },
    /// Log-sum-exps `[n_heads, n_queries]`, f32, and what f32 leaves out of these: the page computes in f64, and large scores need
    /// all of it. For each head of keys, these and its queries.
    Factored { lse: usize, lse_rest: usize, groups: Vec<Group> },
}

/// Queries `[n_heads / n_kv_heads, n_queries, d_head]` and keys `[n_keys, d_head]`; beside weights that travel otherwise they are
/// there to be looked at.
#[derive(Serialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Group {
    /// 32-bit floats; a weight is made with the log-sum-exp.
    F32 { queries: usize, keys: usize },
    /// Whole numbers of so many bits, each row times a step, f32: `[n_heads / n_kv_heads, n_queries]` and `[n_keys]`. A weight is
    /// made with the sum of its row. For each head, weights that travel as they are; none beside weights that travel otherwise.
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

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes back what was appended since there were so many bytes.
    pub fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// Appends one item's weights, or queries, keys and log-sum-exps.
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
            let numbers = if self.many { numbers(&weights, |weight| number(f64::from(weight))) } else { None };
            let Some((numbers, false)) = numbers.map(|numbers| (numbers, kept.1.is_empty())) else {
                let lse = whole.map(|lse| self.push_all(&lse));
                return Ok(Stored::Dense { weights: self.push_all(&weights), lse, groups: None });
            };
            let (lengths, heads) = self.push_coded(&numbers, kept, None);
            let sums = sums(recording, layer, place, kept.0, &weights)?;
            let sums = sums.map(|sums| self.push_all(&sums));
            let short = whole.as_deref().and_then(short_lse);
            let lse_short = short.is_some();
            let lse = short.map(|lse| self.push_all(&lse)).or_else(|| whole.map(|lse| self.push_all(&lse)));
            return Ok(Stored::Coded { lengths, heads, signed: false, sums, lse, lse_short, groups: None });
        };
        let rest = |lse: &f64| if lse.is_finite() { (lse - f64::from(*lse as f32)) as f32 } else { 0.0 };
        let rests: Vec<f32> = lse.iter().map(rest).collect(); // [n_heads, kept]
        Ok(Stored::Factored {
            lse: self.push_all(&whole.unwrap_or_default()),
            lse_rest: self.push_all(&rests),
            groups: self.push_groups(recording, layer, factored, place, kept)?,
        })
    }

    /// Appends the numbers of a layer that are no weights, of all items; also says in which power of ten they are shown.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn store_others(&mut self, recording: &Recording, layer: &Layer) -> Result<(Vec<Stored>, f64), Error> {
        let kept = |item: &Item| (kept(layer.query_tokens(item)), kept(layer.key_tokens(item)));
        let kept: Vec<(Vec<usize>, Vec<usize>)> = recording.items.iter().map(kept).collect();
        let items = kept.iter().enumerate();
        let items = items.map(|(place, (queries, keys))| dense(recording, layer, place, (queries, keys)));
        let items: Vec<Vec<f32>> = items.collect::<Result<_, _>>()?; // [items][n_heads, n_queries, n_keys]
        let (unit, signed) = (unit_of(layer.quantity, &items), layer.quantity.is_signed());
        let number = |value: f32| match signed {
            true => number(f64::from(value.abs()) / unit),
            false => number(f64::from(value) / unit),
        };
        let store = |(values, (queries, keys)): (&Vec<f32>, &(Vec<usize>, Vec<usize>))| {
            let numbers = if self.many { numbers(values, number) } else { None };
            let Some((numbers, false)) = numbers.map(|numbers| (numbers, keys.is_empty())) else {
                return Stored::Dense { weights: self.push_all(values), lse: None, groups: None };
            };
            let (lengths, heads) = self.push_coded(&numbers, (queries, keys), signed.then_some(values));
            Stored::Coded { lengths, heads, signed, sums: None, lse: None, lse_short: false, groups: None }
        };
        Ok((items.iter().zip(&kept).map(store).collect(), unit))
    }

    /// Appends a code's numbers, with the signs of `signed` where they have some; says how long codes are, and where heads begin.
    /// Shape `[n_heads, n_queries, n_keys]`, with keys.
    fn push_coded(
        &mut self,
        numbers: &[u16],
        (queries, keys): (&[usize], &[usize]),
        signed: Option<&Vec<f32>>,
    ) -> (Vec<u8>, Vec<usize>) {
        let n_cells = (queries.len() * keys.len()).max(1);
        let mut counts = [0; N_CLASSES];
        for of_head in numbers.par_chunks(n_cells).map(|head| counted(head, keys.len())).collect::<Vec<_>>() {
            counts.iter_mut().zip(of_head).for_each(|(count, more)| *count += more);
        }
        let code = Code::of(&counts);
        let of_head = |(head, numbers): (usize, &[u16])| {
            let mut bits = Bits::default();
            for (row, numbers) in numbers.chunks_exact(keys.len()).enumerate() {
                let numbers = until_zeros(numbers);
                bits.push(numbers.len() as u32, n_bits(keys.len()));
                match signed.map(|signed| &signed[head * n_cells + row * keys.len()..]) {
                    None => numbers.iter().for_each(|number| code.push(&mut bits, *number)),
                    Some(values) => numbers.iter().zip(values).for_each(|(number, value)| {
                        code.push(&mut bits, *number);
                        bits.push(u32::from(*value < 0.0), u8::from(*number > 0));
                    }),
                }
            }
            bits.finish()
        };
        let heads: Vec<Vec<u8>> = numbers.par_chunks(n_cells).enumerate().map(of_head).collect();
        let heads = heads.iter().map(|head| self.push(head)).collect();
        (code.lengths, heads)
    }

    /// Appends queries and keys of one item to be looked at beside weights that travel otherwise; `None` where scores are made of
    /// more than these, and what the page knows.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn push_beside(
        &mut self,
        recording: &Recording,
        layer: &Layer,
        place: usize,
    ) -> Result<Option<Vec<Group>>, Error> {
        let item = &recording.items[place];
        let Some(factored) = layer.factored().filter(|factored| factored.key_bias.is_none()) else { return Ok(None) };
        let kept = (kept(layer.query_tokens(item)), kept(layer.key_tokens(item)));
        let kept = (&kept.0[..], &kept.1[..]);
        let rounded = Rounded::of(layer, factored, place)?;
        let n_sharing = layer.shape.n_heads / layer.shape.n_kv_heads;
        let group = |kv_head: usize| match &rounded {
            Some(rounded) => Ok(self.push_rounded_group(layer, rounded, kv_head, kept, &vec![None; n_sharing])),
            None => self.push_group(layer, factored, place, kv_head, kept),
        };
        (0..layer.shape.n_kv_heads).map(group).collect::<Result<_, _>>().map(Some)
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
        let rounded = if self.many { Rounded::of(layer, factored, place)? } else { None };
        let exact =
            rounded.as_ref().map(|rounded| rounded.exact(recording, (layer, factored), place, kept)).transpose()?;
        let exact = exact.unwrap_or_default();
        let n_sharing = shape.n_heads / shape.n_kv_heads;
        let group = |kv_head: usize| match (&rounded, exact.get(kv_head * n_sharing..(kv_head + 1) * n_sharing)) {
            (Some(rounded), Some(exact)) if exact.iter().all(Option::is_some) => {
                Ok(self.push_rounded_group(layer, rounded, kv_head, kept, exact))
            }
            _ => self.push_group(layer, factored, place, kv_head, kept),
        };
        (0..shape.n_kv_heads).map(group).collect()
    }

    /// Appends the keys of a head of keys and the queries that share them, rounded, with the weights of `exact`.
    fn push_rounded_group(
        &mut self,
        layer: &Layer,
        rounded: &Rounded,
        kv_head: usize,
        (queries, keys): (&[usize], &[usize]),
        exact: &[Option<Exact>],
    ) -> Group {
        let Shape { n_queries, n_keys, .. } = layer.shape;
        let bits = rounded.bits;
        let heads = kv_head * exact.len()..(kv_head + 1) * exact.len();
        let (queries, query_steps) = self.push_rounded(&rounded.queries, bits, heads, n_queries, queries);
        let (keys, key_steps) = self.push_rounded(&rounded.keys, bits, kv_head..kv_head + 1, n_keys, keys);
        let exact = exact.iter().flatten().map(|exact| self.push_exact(exact)).collect();
        Group::Rounded { bits, queries, query_steps, keys, key_steps, exact }
    }

    /// Appends the keys of a head of keys and the queries that share them, with all their digits.
    fn push_group(
        &mut self,
        layer: &Layer,
        factored: &Factored,
        place: usize,
        kv_head: usize,
        kept: (&[usize], &[usize]),
    ) -> Result<Group, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = layer.shape;
        let n_sharing = n_heads / n_kv_heads;
        let (first, first_key) = (place * n_heads + kv_head * n_sharing, place * n_kv_heads + kv_head);
        let queries = rows(&factored.queries, first, n_sharing, n_queries, kept.0, d_head)?;
        let keys = rows(&factored.keys, first_key, 1, n_keys, kept.1, d_head)?;
        Ok(Group::F32 { queries: self.push_all(&queries), keys: self.push_all(&keys) })
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

/// What is shown of each value; `None` where one has no number.
fn numbers(values: &[f32], number: impl Fn(f32) -> Option<u16> + Sync) -> Option<Vec<u16>> {
    let mut numbers = vec![0; values.len()];
    let of_part = |(numbers, values): (&mut [u16], &[f32])| {
        let mut each = numbers.iter_mut().zip(values);
        each.all(|(place, value)| number(*value).map(|number| *place = number).is_some())
    };
    let are_all = numbers.par_chunks_mut(1 << 14).zip(values.par_chunks(1 << 14)).all(of_part);
    are_all.then_some(numbers)
}

/// How often each class comes among a head's numbers, zeros at the ends of rows left out.
fn counted(numbers: &[u16], n_keys: usize) -> [u64; N_CLASSES] {
    let mut counts = [0; N_CLASSES];
    let rows = numbers.chunks_exact(n_keys).map(until_zeros);
    rows.flatten().for_each(|number| counts[usize::from(class(*number).0)] += 1);
    counts
}

/// The power of ten in which numbers of some items are shown: 1 where the largest that can be is known, else the least that none is
/// above in size.
fn unit_of(quantity: Quantity, items: &[Vec<f32>]) -> f64 {
    let sizes = items.iter().flatten().map(|value| value.abs()).filter(|size| size.is_finite());
    let top = f64::from(sizes.fold(0.0, f32::max));
    if quantity.range().1.is_some() || top == 0.0 {
        return 1.0;
    }
    let power = |power: i32| if power < 0 { 1.0 / 10_f64.powi(-power) } else { 10_f64.powi(power) };
    let about = top.log10().ceil() as i32;
    (about - 1..=about + 1).map(power).find(|unit| *unit >= top).unwrap_or(top)
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
            let sum = sum(row);
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
        let mut weights = Vec::with_capacity(queries.len() * keys.len()); // [n_queries, n_keys]
        for band in bands(queries) {
            weights.append(&mut of_band(&map, band, keys));
        }
        Ok(weights)
    };
    let heads: Result<Vec<Vec<f32>>, Error> = (0..layer.shape.n_heads).into_par_iter().map(of_head).collect();
    Ok(heads?.concat())
}

/// The weights of neighbouring queries. Shape `[band, keys]`.
fn of_band(map: &AttentionMap<'_>, band: Range<usize>, keys: &[usize]) -> Vec<f32> {
    let n_keys = map.n_keys();
    let weights = map.tile(band, 0..n_keys); // [band, n_keys]
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
