//! Matrices as bitsandbytes saves them: sixteen quantiles of a normal distribution or small floats times the largest number of
//! a block (QLoRA, Dettmers et al. 2023), or signed bytes times the largest number of a row over 127 (LLM.int8()).

use std::io;
use std::sync::Arc;

use attlas_kernels::Code;
use rayon::prelude::*;
use serde::Deserialize;

use super::grid::holds_numbers;
use crate::Error;
use crate::error::Clash;
use crate::weights::convert::{bytes_of, floats};
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Bytes, Checkpoint, Dtype, Tensor, parse_json};

/// What a packed matrix's own settings are called, after its name.
const STATES: [(&str, Code); 2] =
    [(".quant_state.bitsandbytes__nf4", Code::Nf4), (".quant_state.bitsandbytes__fp4", Code::Fp4)];
/// The largest settings that are read, in bytes; those in use have 200.
const MAX_STATE: usize = 1 << 16;
/// What a row's largest number is multiplied by for a step of its signed bytes.
const PER_STEP: f32 = 1.0 / 127.0;

/// The weights with every matrix unpacked.
pub(super) fn unpacked(checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
    let mut checkpoint = checkpoint;
    for (ending, code) in STATES {
        let packed = checkpoint.names().filter_map(|name| name.strip_suffix(ending));
        for name in packed.map(str::to_owned).collect::<Vec<_>>() {
            let matrix = Packed::find(&checkpoint, &name, &format!("{name}{ending}"), code)?;
            for part in ["absmax", "quant_map", "nested_absmax", "nested_quant_map"] {
                checkpoint.take(&format!("{name}.{part}"));
            }
            checkpoint.take(&format!("{name}{ending}"));
            checkpoint.put(name, matrix.tensor());
        }
    }
    let bytes = checkpoint.names().filter_map(|name| name.strip_suffix(".SCB"));
    for layer in bytes.map(str::to_owned).collect::<Vec<_>>() {
        let tensor = signed_bytes(&checkpoint, &layer)?;
        checkpoint.take(&format!("{layer}.SCB"));
        checkpoint.take(&format!("{layer}.weight_format"));
        checkpoint.put(format!("{layer}.weight"), tensor);
    }
    Ok(checkpoint)
}

/// What a matrix's settings say.
#[derive(Deserialize)]
struct State {
    blocksize: usize,
    shape: Vec<usize>,
    #[serde(default)]
    nested_blocksize: usize,
    #[serde(default)]
    nested_offset: f32,
}

/// A packed matrix of four bits a number.
struct Packed {
    code: Code,
    shape: [usize; 2],
    /// Pairs of numbers, the first one in the upper half of a byte, all rows one after the other.
    pairs: Tensor,
    /// The sixteen numbers that four bits stand for.
    table: [f32; 16],
    /// What each block is multiplied by: numbers, or entries of `nested`.
    scales: Tensor,
    nested: Option<Nested>,
    block: usize,
}

/// What scales are made of that are packed, too (double quantisation): `map[q] · scale + offset`.
struct Nested {
    map: Vec<f32>,
    /// One for each block of scales.
    scales: Tensor,
    block: usize,
    offset: f32,
}

impl Packed {
    /// # Errors
    /// When a part is missing, or of another shape.
    fn find(checkpoint: &Checkpoint, name: &str, state_name: &str, code: Code) -> Result<Packed, Error> {
        let refuse = |name: &str, message: String| Error::tensor(checkpoint.path(), name, message);
        let state = state(checkpoint, state_name)?;
        let (Ok(shape), true) = (<[usize; 2]>::try_from(state.shape.as_slice()), state.blocksize > 0) else {
            let (shape, block) = (&state.shape, state.blocksize);
            return Err(refuse(state_name, format!("says that a matrix has shape {shape:?} in blocks of {block}")));
        };
        holds_numbers(checkpoint.path(), state_name, shape)?;
        let pairs = checkpoint.get(name).filter(|tensor| tensor.dtype.name() == "u8").cloned();
        let pairs = pairs.ok_or_else(|| refuse(name, "is missing, or is not stored as bytes (u8)".to_owned()))?;
        let n = shape[0].saturating_mul(shape[1]);
        if pairs.len() != n.div_ceil(2) {
            return Err(refuse(name, format!("has {} bytes for a matrix of shape {shape:?}", pairs.len())));
        }
        let part = |part: &str, asked: usize| match checkpoint.get(&format!("{name}.{part}")) {
            Some(tensor) if tensor.shape == [asked] => Ok(tensor.clone()),
            Some(tensor) => {
                let clash = Clash::Shape { found: tensor.shape.clone(), asked: vec![asked] };
                Err(Error::misfit(&tensor.path, format!("{name}.{part}"), clash))
            }
            None => {
                let clash = Clash::Missing { asked: vec![asked] };
                Err(Error::misfit(checkpoint.path(), format!("{name}.{part}"), clash))
            }
        };
        let numbers = |part_name: &str, asked: usize| {
            let tensor = part(part_name, asked)?;
            let problem = |error: io::Error| refuse(&format!("{name}.{part_name}"), format!("cannot be read: {error}"));
            floats(&tensor).map_err(problem)
        };
        let mut table = [0.0; 16];
        table.copy_from_slice(&numbers("quant_map", 16)?);
        let n_blocks = n.div_ceil(state.blocksize);
        let nested = match (checkpoint.contains(&format!("{name}.nested_absmax")), state.nested_blocksize) {
            (false, _) => None,
            (true, 0) => return Err(refuse(state_name, "says nothing of nested_blocksize".to_owned())),
            (true, block) => Some(Nested {
                map: numbers("nested_quant_map", 256)?,
                scales: part("nested_absmax", n_blocks.div_ceil(block))?,
                block,
                offset: state.nested_offset,
            }),
        };
        let scales = part("absmax", n_blocks)?;
        if (scales.dtype.name() == "u8") != nested.is_some() {
            let message = format!("is stored as {}, which its settings do not say", scales.dtype.name());
            return Err(refuse(&format!("{name}.absmax"), message));
        }
        Ok(Packed { code, shape, pairs, table, scales, nested, block: state.blocksize })
    }

    /// The matrix, unpacked when it is read.
    fn tensor(self) -> Tensor {
        let (shape, path) = (self.shape, Arc::clone(&self.pairs.path));
        let stays = self.block == self.code.block()
            && shape[1].is_multiple_of(self.block)
            && self.code.table().is_some_and(|table| *table == self.table);
        let (code, packed) = (self.code, Arc::new(self));
        let again = Arc::clone(&packed);
        let bytes = Bytes::made(shape[0] * shape[1] * size_of::<f32>(), move || packed.floats());
        let bytes = if stays {
            let n_bytes = shape[0] * code.row_bytes(shape[1]);
            bytes.of_rows(StoredRows::plain(code, Bytes::made(n_bytes, move || again.rows())))
        } else {
            bytes
        };
        Tensor { dtype: Dtype::F32, shape: shape.to_vec(), path, bytes }
    }

    fn floats(&self) -> io::Result<Vec<u8>> {
        let (pairs, scales) = (bytes(&self.pairs)?, self.scales()?);
        let mut weight = vec![0.0; self.shape[0] * self.shape[1]]; // [d_out, d_in]
        weight.par_chunks_mut(self.block).zip(scales).enumerate().for_each(|(block, (numbers, scale))| {
            for (index, number) in numbers.iter_mut().enumerate() {
                let place = block * self.block + index;
                let four = pairs[place / 2] >> (4 * (1 - place % 2)) & 15;
                *number = self.table[usize::from(four)] * scale;
            }
        });
        Ok(bytes_of(&weight))
    }

    /// The matrix as rows of its code: each block with its scale before it.
    fn rows(&self) -> io::Result<Vec<u8>> {
        let (pairs, scales) = (bytes(&self.pairs)?, self.scales()?);
        let blocks = pairs.chunks_exact(self.block / 2).zip(scales);
        Ok(blocks.flat_map(|(pairs, scale)| scale.to_le_bytes().into_iter().chain(pairs.iter().copied())).collect())
    }

    /// What each block is multiplied by.
    fn scales(&self) -> io::Result<Vec<f32>> {
        let Some(nested) = &self.nested else { return floats(&self.scales) };
        let (stored, scales) = (bytes(&self.scales)?, floats(&nested.scales)?);
        let scale =
            |(index, q): (usize, &u8)| nested.map[usize::from(*q)] * scales[index / nested.block] + nested.offset;
        Ok(stored.iter().enumerate().map(scale).collect())
    }
}

/// The settings of a matrix: JSON in a tensor of bytes.
fn state(checkpoint: &Checkpoint, name: &str) -> Result<State, Error> {
    let tensor = checkpoint.get(name).filter(|tensor| tensor.dtype.name() == "u8" && tensor.bytes.len() <= MAX_STATE);
    let Some(tensor) = tensor else {
        return Err(Error::tensor(checkpoint.path(), name, "is not a matrix's settings as bytes of JSON"));
    };
    let json = bytes(tensor).map_err(|source| Error::Io { path: tensor.path.to_path_buf(), source })?;
    parse_json(&tensor.path, &json, &format!("has a tensor {name} that holds no settings of a matrix"))
}

/// A matrix of signed bytes; its factors are `SCB / 127`, one for each row.
fn signed_bytes(checkpoint: &Checkpoint, layer: &str) -> Result<Tensor, Error> {
    let (name, scales_name) = (format!("{layer}.weight"), format!("{layer}.SCB"));
    let matrix = checkpoint.get(&name).filter(|tensor| tensor.dtype == Dtype::I8 && tensor.shape.len() == 2);
    let Some(matrix) = matrix.cloned() else {
        return Err(Error::tensor(checkpoint.path(), name, "has SCB beside it, but is no matrix of signed bytes (i8)"));
    };
    let format_name = format!("{layer}.weight_format");
    let format = checkpoint.get(&format_name).and_then(|tensor| bytes(tensor).ok());
    if let Some(format) = format.filter(|format| format.first() != Some(&0)) {
        let message = format!("is {:?}; attlas reads 0, rows one after the other", format.first());
        return Err(Error::tensor(checkpoint.path(), format_name, message));
    }
    let scales: Vec<f32> = checkpoint.numbers(&scales_name, &matrix.shape[..1])?;
    let scales = Arc::new(scales.into_iter().map(|scale| scale * PER_STEP).collect::<Vec<f32>>()); // [d_out]
    let rows = StoredRows::scaled(Code::Int8, matrix.bytes.clone(), Arc::clone(&scales), 1);
    let (shape, path) = (matrix.shape.clone(), Arc::clone(&matrix.path));
    let made = Bytes::made(matrix.len() * size_of::<f32>(), move || {
        let mut weight = floats(&matrix)?;
        let n_columns = matrix.shape[1].max(1);
        let row = |(row, scale): (&mut [f32], &f32)| row.iter_mut().for_each(|value| *value *= scale);
        weight.par_chunks_mut(n_columns).zip(scales.par_iter()).for_each(row);
        Ok(bytes_of(&weight))
    });
    Ok(Tensor { dtype: Dtype::F32, shape, path, bytes: made.of_rows(rows) })
}

fn bytes(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; tensor.bytes.len()];
    tensor.bytes.read(0, &mut bytes)?;
    Ok(bytes)
}
