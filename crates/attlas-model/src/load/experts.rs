//! The experts of a mixture: of numbers, as `[n, d_in, d_out]` with gate and up columns taking turns, or in MXFP4, as
//! `[n, d_out, d_in]` with such rows (GPT-OSS).

use std::sync::Arc;

use attlas_kernels::{Code, Precision};

use super::Loader;
use super::rearrange::transpose;
use crate::Error;
use crate::block::linear::{Linear, Weight};
use crate::block::weights::Expert;
use crate::config::FeedForward;
use crate::weights::Bytes;
use crate::weights::stored_rows::StoredRows;

/// Numbers in a block of MXFP4, and its bytes without the power of two.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 16;
/// The largest power of two with which 6 is still a number: 6 · 2^(252 − 127) = 2.6e38.
const MAX_POWER: u8 = 252;

/// One of the two matrices of every expert.
struct Matrices<'a> {
    name: &'a str,
    n: usize,
    d_out: usize,
    d_in: usize,
    /// Where an expert's row is stored.
    place: fn(usize, usize) -> usize,
}

impl Loader<'_> {
    /// All experts of one layer.
    pub(super) fn experts(
        &self,
        config: &FeedForward,
        n: usize,
        up_name: &str,
        down_name: &str,
        d_model: usize,
    ) -> Result<Vec<Expert>, Error> {
        let d_hidden = config.d_hidden;
        let up = Matrices { name: up_name, n, d_out: 2 * d_hidden, d_in: d_model, place: turn };
        let down = Matrices { name: down_name, n, d_out: d_model, d_in: d_hidden, place: |row, _| row };
        let experts = self.matrices(&up)?.into_iter().zip(self.matrices(&down)?);
        Ok(experts.map(|(up, down)| Expert { up, down }).collect())
    }

    /// One of the two layers of every expert.
    fn matrices(&self, of: &Matrices<'_>) -> Result<Vec<Linear>, Error> {
        let Matrices { name, n, d_out, d_in, place } = *of;
        let biases = self.checkpoint.tensor(&format!("{name}_bias"), &[n, d_out])?;
        let weights = match self.checkpoint.contains(&format!("{name}_blocks")) {
            true => self.in_mxfp4(of)?,
            false => match self.in_halves(of)? {
                Some(weights) => weights,
                None => self.in_numbers(of)?,
            },
        };
        let layers = weights.into_iter().zip(biases.chunks_exact(d_out)).map(|(weight, bias)| {
            let bias = Some(Arc::new((0..d_out).map(|row| bias[place(row, d_out)]).collect()));
            Linear { weight, bias, d_in, d_out, precision: Precision::Exact }
        });
        Ok(layers.collect())
    }

    /// The tensors `NAME_blocks` and `NAME_scales`, which stay packed.
    fn in_mxfp4(&self, of: &Matrices<'_>) -> Result<Vec<Weight>, Error> {
        let Matrices { name, n, d_out, d_in, .. } = *of;
        let (blocks_name, scales_name) = (format!("{name}_blocks"), format!("{name}_scales"));
        if d_in % BLOCK != 0 {
            return Err(Error::tensor(
                self.checkpoint.path(),
                &blocks_name,
                format!("is in MXFP4, whose rows are blocks of {BLOCK} numbers, but rows of {d_in} are asked for"),
            ));
        }
        let blocks = self.checkpoint.byte_tensor(&blocks_name, &[n, d_out, d_in / BLOCK, BLOCK_BYTES])?;
        let scales = self.checkpoint.bytes(&scales_name, &[n, d_out, d_in / BLOCK])?;
        if let Some(place) = scales.iter().position(|scale| *scale > MAX_POWER) {
            let scale = scales[place];
            return Err(Error::tensor(
                self.checkpoint.path(),
                &scales_name,
                format!("holds {scale} at place {place}; scales up to {MAX_POWER} make finite numbers"),
            ));
        }
        let scales = Arc::new(scales);
        let n_powers = d_out * d_in / BLOCK;
        let mut weights = Vec::with_capacity(n);
        for index in 0..n {
            let of_expert =
                self.part(&blocks_name, &blocks.bytes, index * n_powers * BLOCK_BYTES, n_powers * BLOCK_BYTES)?;
            let powers = Bytes::Memory { bytes: Arc::clone(&scales), offset: index * n_powers, len: n_powers };
            let rows = StoredRows::mxfp4(of_expert, powers);
            weights.extend(self.ordered(of, &blocks_name, rows)?);
        }
        Ok(weights)
    }

    /// Numbers of 16 bits, which stay so; `None` where they are stored in another way, or are not finite.
    fn in_halves(&self, of: &Matrices<'_>) -> Result<Option<Vec<Weight>>, Error> {
        let Matrices { name, n, d_out, d_in, .. } = *of;
        let stored = self.checkpoint.stored_rows(name, &[n, d_in, d_out])?;
        let tensor = self.checkpoint.get(name);
        let (Some(rows @ StoredRows { code: Code::F16 | Code::Bf16, .. }), Some(tensor)) = (stored, tensor) else {
            return Ok(None);
        };
        if matches!(tensor.bytes, Bytes::Made { .. }) {
            return Ok(None);
        }
        let n_bytes = 2 * d_in * d_out;
        let mut weights = Vec::with_capacity(n);
        for index in 0..n {
            let columns = self.part(name, &tensor.bytes, index * n_bytes, n_bytes)?;
            let turned = StoredRows::plain(rows.code, columns).turned(d_out).map_err(|source| self.io(name, source))?;
            let Some(turned) = turned else { return Ok(None) };
            match self.ordered(of, name, turned)? {
                Some(weight) => weights.push(weight),
                None => return Ok(None),
            }
        }
        Ok(Some(weights))
    }

    /// The same as numbers.
    fn in_numbers(&self, of: &Matrices<'_>) -> Result<Vec<Weight>, Error> {
        let Matrices { name, n, d_out, d_in, place } = *of;
        let stored = self.checkpoint.numbers(name, &[n, d_in, d_out])?;
        let weights = stored.chunks_exact(d_in * d_out).map(|columns| {
            let mut rows = vec![0.0; columns.len()]; // [d_out, d_in]
            transpose(columns, &mut rows, d_in, d_out);
            let ordered = (0..d_out).flat_map(|row| &rows[place(row, d_out) * d_in..][..d_in]);
            Weight::Rows(Arc::new(ordered.copied().collect()))
        });
        Ok(weights.collect())
    }

    /// An expert's rows, in the order in which they are computed with.
    fn ordered(&self, of: &Matrices<'_>, name: &str, rows: StoredRows) -> Result<Option<Weight>, Error> {
        let Matrices { d_out, d_in, place, .. } = *of;
        self.coded(&[(rows.ordered(move |row| place(row, d_out)), d_out, name)], d_in)
    }

    /// Some bytes of a tensor, read.
    fn part(&self, name: &str, bytes: &Bytes, start: usize, len: usize) -> Result<Bytes, Error> {
        let mut part = vec![0; len];
        bytes.read(start, &mut part).map_err(|source| self.io(name, source))?;
        Ok(Bytes::Memory { bytes: Arc::new(part), offset: 0, len })
    }
}

/// Where a row of `d_out` is stored when gate and up rows take turns, the gate's first: rows 0, 2, 4, … are the gate's.
fn turn(row: usize, d_out: usize) -> usize {
    let d_hidden = d_out / 2;
    if row < d_hidden { 2 * row } else { 2 * (row - d_hidden) + 1 }
}
