//! Matrices of whole numbers as compressed-tensors has them (vLLM's checkpoints): four or eight bits in words along a row, or
//! signed bytes; a scale for all, for a row, or for a group of a row's inputs.

use std::io;
use std::sync::Arc;

use attlas_kernels::Code;
use rayon::prelude::*;

use super::grid::{self, Grid, groups_are_blocks, runs_are_blocks};
use super::words::{part_of, words};
use crate::Error;
use crate::error::Clash;
use crate::weights::convert::floats;
use crate::weights::stored_rows::StoredRows;
use crate::weights::{Checkpoint, Dtype, Tensor};

/// What belongs to a layer's activations, which are not packed here.
const OF_ACTIVATIONS: [&str; 3] = ["input_scale", "input_zero_point", "input_global_scale"];

/// The weights with every matrix unpacked.
pub(super) fn unpacked(checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
    let mut checkpoint = checkpoint;
    let layer = |name: &str| {
        let words = name.strip_suffix(".weight_packed");
        let is_bytes = |layer: &&str| {
            checkpoint.get(name).is_some_and(|tensor| tensor.dtype == Dtype::I8)
                && checkpoint.contains(&format!("{layer}.weight_scale"))
        };
        words.or_else(|| name.strip_suffix(".weight").filter(is_bytes)).map(str::to_owned)
    };
    for layer in checkpoint.names().filter_map(layer).collect::<Vec<_>>() {
        let tensor = Packed::find(&checkpoint, &layer)?.tensor();
        for part in ["packed", "scale", "shape", "zero_point", "g_idx"] {
            checkpoint.take(&format!("{layer}.weight_{part}"));
        }
        for part in OF_ACTIVATIONS {
            checkpoint.take(&format!("{layer}.{part}"));
        }
        checkpoint.put(format!("{layer}.weight"), tensor);
    }
    Ok(checkpoint)
}

/// A packed matrix of `d_out` rows and `d_in` columns.
struct Packed {
    layer: String,
    /// Words, `[d_out, ⌈d_in / per_word⌉]`, or signed bytes, `[d_out, d_in]`.
    stored: Tensor,
    /// Numbers of a word; `None` where they are signed bytes.
    per_word: Option<usize>,
    /// Shape `[d_out, n_groups]`, or one number for all.
    scales: Tensor,
    /// As the numbers are stored, words along columns: `[⌈d_out / per_word⌉, n_groups]`.
    zeros: Option<Tensor>,
    /// The group of each input, where groups are in no order. Shape `[d_in]`.
    groups: Option<Tensor>,
    n_groups: usize,
    d_out: usize,
    d_in: usize,
}

impl Packed {
    /// # Errors
    /// When a part is missing, or of another shape or type.
    fn find(checkpoint: &Checkpoint, layer: &str) -> Result<Packed, Error> {
        let get = |part: &str| checkpoint.get(&format!("{layer}.{part}")).cloned();
        let (stored_name, stored) = match get("weight_packed") {
            Some(words) => (format!("{layer}.weight_packed"), Some(words)),
            None => (format!("{layer}.weight"), get("weight")),
        };
        let Some((stored, [d_out, columns])) = stored.and_then(|stored| {
            let sizes = <[usize; 2]>::try_from(stored.shape.as_slice()).ok()?;
            Some((stored, sizes))
        }) else {
            return Err(Error::tensor(checkpoint.path(), stored_name, "is packed, but is no matrix"));
        };
        grid::holds_numbers(&stored.path, &stored_name, [d_out, columns])?;
        let (d_in, per_word) = match stored.dtype.name() {
            "i8" => (columns, None),
            "i32" => {
                let (d_in, per_word) = sizes_of_words(checkpoint, layer, [d_out, columns])?;
                (d_in, Some(per_word))
            }
            dtype => {
                let message = format!("is stored as {dtype}; packed weights are i32 or i8");
                return Err(Error::tensor(&stored.path, stored_name, message));
            }
        };
        let missing = |part: &str, asked: [usize; 2]| {
            Error::misfit(checkpoint.path(), format!("{layer}.{part}"), Clash::Missing { asked: asked.to_vec() })
        };
        let scales = get("weight_scale").ok_or_else(|| missing("weight_scale", [d_out, 1]))?;
        let n_groups = match scales.shape[..] {
            [] | [1] | [1, 1] => 1,
            [n] if n == d_out => 1,
            [n, n_groups] if n == d_out && n_groups >= 1 && d_in.is_multiple_of(n_groups) => n_groups,
            _ => {
                let clash = Clash::Shape { found: scales.shape.clone(), asked: vec![d_out, 1] };
                return Err(Error::misfit(&scales.path, format!("{layer}.weight_scale"), clash));
            }
        };
        let part = |part: &str, dtype: &str, asked: &[usize]| match get(part) {
            Some(tensor) if tensor.shape != asked => {
                let clash = Clash::Shape { found: tensor.shape.clone(), asked: asked.to_vec() };
                Err(Error::misfit(&tensor.path, format!("{layer}.{part}"), clash))
            }
            Some(tensor) if tensor.dtype.name() != dtype => {
                let message = format!("is stored as {}, but must be {dtype}", tensor.dtype.name());
                Err(Error::tensor(&tensor.path, format!("{layer}.{part}"), message))
            }
            found => Ok(found),
        };
        let zeros = match per_word {
            Some(per_word) => part("weight_zero_point", "i32", &[d_out.div_ceil(per_word), n_groups])?,
            None => part("weight_zero_point", "i8", &[d_out, n_groups])?,
        };
        let groups = part("weight_g_idx", "i32", &[d_in])?;
        Ok(Packed { layer: layer.to_owned(), stored, per_word, scales, zeros, groups, n_groups, d_out, d_in })
    }

    /// The matrix, unpacked when it is read. Shape `[d_out, d_in]`.
    fn tensor(self) -> Tensor {
        let has_blocks = || match self.groups {
            None => runs_are_blocks(self.d_in, self.d_in / self.n_groups),
            Some(_) => self.groups().is_ok_and(|groups| groups_are_blocks(&groups)),
        };
        let four_bits = self.per_word == Some(8) && has_blocks();
        let path = Arc::clone(&self.stored.path);
        let of_rows = match self.per_word {
            None if self.zeros.is_none() && self.n_groups == 1 && self.scales.len() == self.d_out => {
                let scales = floats(&self.scales).ok();
                scales.map(|scales| StoredRows::scaled(Code::Int8, self.stored.bytes.clone(), Arc::new(scales), 1))
            }
            _ => None,
        };
        let tensor = grid::tensor([self.d_out, self.d_in], &path, four_bits, move || self.read());
        match of_rows {
            Some(rows) => Tensor { bytes: tensor.bytes.of_rows(rows), ..tensor },
            None => tensor,
        }
    }

    fn read(&self) -> io::Result<Grid> {
        let (numbers, scales) = (self.numbers()?, floats(&self.scales)?);
        let zeros = self.zeros()?;
        // [d_out, n_groups] becomes [n_groups, d_out]
        let n_groups = self.n_groups;
        let places = || (0..n_groups * self.d_out).map(|at| at % self.d_out * n_groups + at / self.d_out);
        let scales =
            if scales.len() == 1 { vec![scales[0]; self.d_out] } else { places().map(|place| scales[place]).collect() };
        Ok(Grid { numbers, groups: self.groups()?, zeros: places().map(|place| zeros[place]).collect(), scales })
    }

    /// The numbers, without their signs. Shape `[d_out, d_in]`.
    fn numbers(&self) -> io::Result<Vec<u8>> {
        let Some(per_word) = self.per_word else { return signed_bytes(&self.stored) };
        let (words, per_row) = (words(&self.stored)?, self.d_in.div_ceil(per_word));
        let mut numbers = vec![0; self.d_out * self.d_in]; // [d_out, d_in]
        let rows = numbers.par_chunks_mut(self.d_in.max(1)).zip(words.par_chunks(per_row.max(1)));
        rows.for_each(|(row, words)| {
            let number = |input: usize| part_of(words[input / per_word], 32 / per_word, input % per_word);
            row.iter_mut().enumerate().for_each(|(input, slot)| *slot = number(input));
        });
        Ok(numbers)
    }

    /// The zeros in the same way; the middle of the range where none are stored. Shape `[d_out, n_groups]`.
    fn zeros(&self) -> io::Result<Vec<u8>> {
        let n = self.d_out * self.n_groups;
        match (&self.zeros, self.per_word) {
            (None, Some(8)) => Ok(vec![8; n]),
            (None, _) => Ok(vec![128; n]),
            (Some(zeros), None) => signed_bytes(zeros),
            (Some(zeros), Some(per_word)) => {
                let words = words(zeros)?;
                let zero = |at: usize| {
                    let (row, group) = (at / self.n_groups, at % self.n_groups);
                    part_of(words[row / per_word * self.n_groups + group], 32 / per_word, row % per_word)
                };
                Ok((0..n).map(zero).collect())
            }
        }
    }

    /// The group of each input, each of one that there is.
    fn groups(&self) -> io::Result<Vec<usize>> {
        let (n_groups, group_size) = (self.n_groups, self.d_in / self.n_groups);
        let Some(stored) = &self.groups else {
            return Ok((0..self.d_in).map(|input| input / group_size.max(1)).collect());
        };
        let group = |group: u32| {
            let group_here = Some(group as usize).filter(|group| *group < n_groups);
            group_here.ok_or_else(|| {
                let layer = &self.layer;
                let group = group.cast_signed();
                let message = format!("{layer}.weight_g_idx holds {group}, but there are {n_groups} groups");
                io::Error::new(io::ErrorKind::InvalidData, message)
            })
        };
        words(stored)?.into_iter().map(group).collect()
    }
}

/// How many columns a matrix of words has, and how many numbers are in a word.
fn sizes_of_words(checkpoint: &Checkpoint, layer: &str, [d_out, columns]: [usize; 2]) -> Result<(usize, usize), Error> {
    let name = format!("{layer}.weight_shape");
    let Some(tensor) = checkpoint.get(&name).filter(|tensor| tensor.dtype.name() == "i64" && tensor.shape == [2])
    else {
        return Err(Error::tensor(checkpoint.path(), name, "is missing, or is not two numbers of i64"));
    };
    let mut bytes = [0; 16];
    tensor.bytes.read(0, &mut bytes).map_err(|source| Error::Io { path: tensor.path.to_path_buf(), source })?;
    let [rows, d_in] = [0, 1].map(|axis| bytes.as_chunks::<8>().0[axis]).map(u64::from_le_bytes);
    let d_in = usize::try_from(d_in).unwrap_or(usize::MAX);
    let per_word = [8, 4].into_iter().find(|per_word| d_in.div_ceil(*per_word) == columns);
    match per_word {
        Some(per_word) if rows == d_out as u64 => Ok((d_in, per_word)),
        _ => {
            let message = format!(
                "is {rows} × {d_in}, which {d_out} × {columns} words of four or eight bits a number do not hold"
            );
            Err(Error::tensor(&tensor.path, name, message))
        }
    }
}

/// Signed bytes, each 128 more than it is.
fn signed_bytes(tensor: &Tensor) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; tensor.bytes.len()];
    tensor.bytes.read(0, &mut bytes)?;
    bytes.iter_mut().for_each(|byte| *byte ^= 128);
    Ok(bytes)
}
