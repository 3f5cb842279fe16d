//! The page's numbers: one block of bytes for dense maps, which may be deflated, and one for all else.
//!
//! Everything is little-endian; `web/src/data.ts` reads it. An array begins at a multiple of four bytes.

use std::io::Write;

use attlas::{Error, Factored, Layer, Recording};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use serde::Serialize;

use crate::digits;
use crate::payload::{is_dense, kept};
use crate::sixteen_bits::{Exact, Rounded, Rows};

/// Bytes of numbers up to which they travel as they are: 32-bit and not deflated.
const FEW: u64 = 1 << 16;

/// Where one item's numbers of a layer begin, in bytes.
#[derive(Serialize)]
#[serde(tag = "storage", rename_all = "lowercase")]
pub enum Stored {
    /// Weights `[n_heads, n_queries, n_keys]` in the block of maps; log-sum-exps `[n_heads, n_queries]`, f32, in the other.
    Dense { form: Form, weights: usize, lse: Option<usize> },
    /// Log-sum-exps `[n_heads, n_queries]`, f32, and what f32 leaves out of these: the page computes in f64, and large scores need
    /// all of it. For each head of keys, these and its queries.
    Factored { lse: usize, lse_rest: usize, groups: Vec<Group> },
}

/// How dense weights are written.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// 32-bit floats.
    F32,
    /// 16-bit [codes](digits::code): first the lower bytes of all, then the upper.
    Coded,
}

/// Queries `[n_heads / n_kv_heads, n_queries, d_head]` and keys `[n_keys, d_head]`.
#[derive(Serialize)]
#[serde(tag = "form", rename_all = "lowercase")]
pub enum Group {
    /// 32-bit floats; a weight is made with the log-sum-exp.
    F32 { queries: usize, keys: usize },
    /// 16-bit whole numbers, each row times a step, f32: `[n_heads / n_kv_heads, n_queries]` and `[n_keys]`. A weight is made with
    /// the sum of its row. For each head, weights that travel as they are.
    Int16 { queries: usize, query_steps: usize, keys: usize, key_steps: usize, exact: Vec<PageExact> },
}

/// Weights of a head that travel as they are: `n` columns, u16, and weights, f32, and how many each row has, u16 `[n_queries]`.
#[derive(Serialize)]
pub struct PageExact {
    n: usize,
    counts: usize,
    keys: usize,
    weights: usize,
}

/// The two blocks, while they grow.
pub struct Numbers {
    /// Dense maps.
    maps: Vec<u8>,
    /// All else.
    others: Vec<u8>,
    /// Whether there are so many that they are to take fewer bits.
    many: bool,
}

/// The two blocks as they travel.
pub struct Blocks {
    pub maps: Vec<u8>,
    /// Whether `maps` must be inflated.
    pub deflated: bool,
    pub others: Vec<u8>,
}

impl Numbers {
    /// Nothing yet; there will be so many bytes of 32-bit numbers.
    pub fn new(bytes: u64) -> Numbers {
        Numbers { maps: Vec::new(), others: Vec::new(), many: bytes > FEW }
    }

    /// The blocks; maps are deflated where that saves a tenth.
    pub fn finish(self) -> Blocks {
        let Numbers { maps, others, many } = self;
        match many.then(|| deflated(&maps)) {
            Some(small) if small.len() < maps.len() / 10 * 9 => Blocks { maps: small, deflated: true, others },
            _ => Blocks { maps, deflated: false, others },
        }
    }

    /// Appends one item's numbers as weights, or as queries, keys and log-sum-exps.
    ///
    /// # Errors
    /// When the recording's file cannot be read.
    pub fn store(&mut self, recording: &Recording, layer: &Layer, place: usize) -> Result<Stored, Error> {
        let item = &recording.items[place];
        let kept = (kept(layer.query_tokens(item)), kept(layer.key_tokens(item)));
        let kept = (&kept.0[..], &kept.1[..]);
        let Some(factored) = layer.factored() else {
            let weights = dense(recording, layer, place, kept)?;
            let (form, weights) = self.push_map(&weights);
            return Ok(Stored::Dense { form, weights, lse: None });
        };
        let shape = layer.shape;
        let first_head = place * shape.n_heads;
        let lse = factored.lse.read(first_head * shape.n_queries..(first_head + shape.n_heads) * shape.n_queries)?;
        let lse: Vec<f64> =
            lse.chunks_exact(shape.n_queries).flat_map(|head| kept.0.iter().map(|row| head[*row])).collect();
        let whole: Vec<f32> = lse.iter().map(|lse| *lse as f32).collect(); // [n_heads, kept]
        if is_dense(layer, item) {
            // the page shows scores, which are made of the weights: no code has digits for them
            let weights = push(&mut self.maps, bytemuck::cast_slice(&dense(recording, layer, place, kept)?));
            return Ok(Stored::Dense { form: Form::F32, weights, lse: Some(push_all(&mut self.others, &whole)) });
        }
        let rest = |lse: &f64| if lse.is_finite() { (lse - f64::from(*lse as f32)) as f32 } else { 0.0 };
        let rests: Vec<f32> = lse.iter().map(rest).collect(); // [n_heads, kept]
        Ok(Stored::Factored {
            lse: push_all(&mut self.others, &whole),
            lse_rest: push_all(&mut self.others, &rests),
            groups: self.push_groups(recording, layer, factored, place, kept)?,
        })
    }

    /// Appends dense weights as codes, where there are many weights and all have a code, or as they are.
    fn push_map(&mut self, weights: &[f32]) -> (Form, usize) {
        let codes = if self.many { weights.iter().map(|weight| digits::code(*weight)).collect() } else { None };
        let Some(codes): Option<Vec<u16>> = codes else {
            return (Form::F32, push(&mut self.maps, bytemuck::cast_slice(weights)));
        };
        let [low, high] = [0, 1].map(|byte| codes.iter().map(move |code| code.to_le_bytes()[byte]));
        let bytes: Vec<u8> = low.chain(high).collect();
        (Form::Coded, push(&mut self.maps, &bytes))
    }

    /// Appends queries and keys, 16-bit where all heads that share the keys allow it.
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
                    let (queries, query_steps) = self.push_rounded(&rounded.queries, heads, shape.n_queries, kept.0);
                    let (keys, key_steps) =
                        self.push_rounded(&rounded.keys, kv_head..kv_head + 1, shape.n_keys, kept.1);
                    let exact = exact.iter().map(|exact| self.push_exact(exact)).collect();
                    Group::Int16 { queries, query_steps, keys, key_steps, exact }
                }
                _ => {
                    let (first, first_key) = (place * shape.n_heads + heads.start, place * shape.n_kv_heads + kv_head);
                    let queries = rows(&factored.queries, first, n_sharing, shape.n_queries, kept.0, shape.d_head)?;
                    let keys = rows(&factored.keys, first_key, 1, shape.n_keys, kept.1, shape.d_head)?;
                    Group::F32 {
                        queries: push_all(&mut self.others, &queries),
                        keys: push_all(&mut self.others, &keys),
                    }
                }
            });
        }
        Ok(groups)
    }

    /// Appends the kept rows of some heads, and their steps.
    fn push_rounded(
        &mut self,
        rounded: &Rows,
        heads: std::ops::Range<usize>,
        n_rows: usize,
        kept: &[usize],
    ) -> (usize, usize) {
        let width = rounded.numbers.len() / rounded.steps.len().max(1);
        let rows: Vec<usize> = heads.flat_map(|head| kept.iter().map(move |row| head * n_rows + row)).collect();
        let numbers: Vec<i16> = rows.iter().flat_map(|row| &rounded.numbers[row * width..][..width]).copied().collect();
        let steps: Vec<f32> = rows.iter().map(|row| rounded.steps[*row]).collect();
        (push_all(&mut self.others, &numbers), push_all(&mut self.others, &steps))
    }

    fn push_exact(&mut self, exact: &Exact) -> PageExact {
        PageExact {
            n: exact.keys.len(),
            counts: push_all(&mut self.others, &exact.counts),
            keys: push_all(&mut self.others, &exact.keys),
            weights: push_all(&mut self.others, &exact.weights),
        }
    }
}

/// The weights of all heads, padding left out. Shape `[n_heads, n_queries, n_keys]`.
fn dense(
    recording: &Recording,
    layer: &Layer,
    place: usize,
    (queries, keys): (&[usize], &[usize]),
) -> Result<Vec<f32>, Error> {
    let mut weights = Vec::with_capacity(layer.shape.n_heads * queries.len() * keys.len());
    for head in 0..layer.shape.n_heads {
        let map = recording.map_of(layer, place, head)?;
        let mut row = vec![0.0; map.n_keys()]; // [n_keys]
        for query in queries {
            map.fill_row(*query, 0..map.n_keys(), &mut row);
            weights.extend(keys.iter().map(|key| row[*key]));
        }
    }
    Ok(weights)
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

fn push_all<T: bytemuck::NoUninit>(block: &mut Vec<u8>, numbers: &[T]) -> usize {
    push(block, bytemuck::cast_slice(numbers))
}

/// Appends an array's bytes; says where it begins.
fn push(block: &mut Vec<u8>, bytes: &[u8]) -> usize {
    let start = block.len();
    block.extend_from_slice(bytes);
    block.resize(block.len().next_multiple_of(4), 0);
    start
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    // writing to a Vec cannot fail; were it to, the bytes would travel as they are
    match encoder.write_all(bytes).and_then(|()| encoder.finish()) {
        Ok(small) => small,
        Err(_) => bytes.to_vec(),
    }
}
