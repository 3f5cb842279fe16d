//! Matrices of whole numbers in words of 32 bits, as AWQ and GPTQ pack them: `(q − zero) · scale`, a zero and a scale for
//! each group of inputs.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::Method;
use super::grid::{self, Grid, groups_are_blocks, runs_are_blocks};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::error::Clash;
use crate::weights::convert::floats;
use crate::weights::{Checkpoint, Tensor};

/// In which of a word's places AWQ puts a column.
const AWQ_PLACES: [usize; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

/// The weights with every matrix unpacked.
pub(super) fn unpacked(method: Method, settings: &ConfigFile, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
    let mut checkpoint = checkpoint;
    let packed = checkpoint.names().filter_map(|name| name.strip_suffix(".qweight"));
    for name in packed.map(str::to_owned).collect::<Vec<_>>() {
        let matrix = Packed::find(method, settings, &checkpoint, &name)?;
        let has_no_bias = bias_is_zero(&checkpoint, &name, matrix.d_out)?;
        for part in ["qweight", "qzeros", "scales", "g_idx"] {
            checkpoint.take(&format!("{name}.{part}"));
        }
        if has_no_bias {
            // the first writers of GPTQ stored one for every layer; a model that has biases reads it all the same
            checkpoint.ignore(&format!("{name}.bias"));
        }
        checkpoint.put(format!("{name}.weight"), matrix.tensor());
    }
    Ok(checkpoint)
}

fn bias_is_zero(checkpoint: &Checkpoint, name: &str, d_out: usize) -> Result<bool, Error> {
    let name = format!("{name}.bias");
    Ok(checkpoint.contains(&name) && checkpoint.numbers(&name, &[d_out])?.iter().all(|bias| *bias == 0.0))
}

/// A packed matrix of `d_out` rows and `d_in` columns, with `per_word` numbers in a word.
struct Packed {
    method: Method,
    name: String,
    /// AWQ: `[d_in, d_out / per_word]`; GPTQ: `[d_in / per_word, d_out]`.
    words: Tensor,
    /// Shape `[n_groups, d_out / per_word]`.
    zeros: Tensor,
    /// Shape `[n_groups, d_out]`.
    scales: Tensor,
    /// The group of each input, where it is stored. Shape `[d_in]`.
    groups: Option<Tensor>,
    group_size: usize,
    bits: usize,
    d_in: usize,
    d_out: usize,
}

impl Packed {
    /// # Errors
    /// When a part is missing, of another shape, or not stored as words.
    fn find(method: Method, settings: &ConfigFile, checkpoint: &Checkpoint, name: &str) -> Result<Packed, Error> {
        let part = |part: &str| format!("{name}.{part}");
        let words = checkpoint.get(&part("qweight")).cloned();
        let Some((words, [rows, columns])) = words.and_then(|words| {
            let sizes = <[usize; 2]>::try_from(words.shape.as_slice()).ok()?;
            Some((words, sizes))
        }) else {
            return Err(Error::tensor(checkpoint.path(), part("qweight"), "is no matrix of words"));
        };
        grid::holds_numbers(&words.path, &part("qweight"), [rows, columns])?;
        let bits = if let Method::Gptq { bits, .. } = method { bits } else { 4 };
        let per_word = 32 / bits;
        let (d_in, d_out) = if method == Method::Awq { (rows, columns * per_word) } else { (rows * per_word, columns) };
        if !d_out.is_multiple_of(per_word) {
            let message = format!("has {d_out} columns, whose zeros do not fill words of {per_word}");
            return Err(Error::tensor(&words.path, part("qweight"), message));
        }
        let group_size = settings.size_or_off("group_size")?.unwrap_or(d_in).max(1);
        let n_groups = d_in.div_ceil(group_size);
        let shaped = |ending: &str, asked: &[usize]| match checkpoint.get(&part(ending)) {
            Some(tensor) if tensor.shape == asked => Ok(tensor.clone()),
            Some(tensor) => {
                let clash = Clash::Shape { found: tensor.shape.clone(), asked: asked.to_vec() };
                Err(Error::misfit(&tensor.path, part(ending), clash))
            }
            None => Err(Error::misfit(checkpoint.path(), part(ending), Clash::Missing { asked: asked.to_vec() })),
        };
        let zeros = shaped("qzeros", &[n_groups, d_out / per_word])?;
        let scales = shaped("scales", &[n_groups, d_out])?;
        let has_groups = method != Method::Awq && checkpoint.contains(&part("g_idx"));
        let groups = has_groups.then(|| shaped("g_idx", &[d_in])).transpose()?;
        for (ending, tensor) in
            [("qweight", &words), ("qzeros", &zeros)].into_iter().chain(groups.iter().map(|g| ("g_idx", g)))
        {
            if tensor.dtype.name() != "i32" {
                let dtype = tensor.dtype.name();
                return Err(Error::tensor(&tensor.path, part(ending), format!("is stored as {dtype}; words are i32")));
            }
        }
        Ok(Packed { method, name: name.to_owned(), words, zeros, scales, groups, group_size, bits, d_in, d_out })
    }

    /// The matrix, unpacked when it is read. Shape `[d_out, d_in]`.
    fn tensor(self) -> Tensor {
        // groups that cannot be read are named when the numbers are
        let has_blocks = match self.groups {
            None => runs_are_blocks(self.d_in, self.group_size),
            Some(_) => self.groups().is_ok_and(|groups| groups_are_blocks(&groups)),
        };
        let four_bits = self.bits == 4 && has_blocks;
        let path = Arc::clone(&self.words.path);
        grid::tensor([self.d_out, self.d_in], &path, four_bits, move || self.read())
    }

    fn read(&self) -> io::Result<Grid> {
        let (words, zeros, scales) = (words(&self.words)?, words(&self.zeros)?, floats(&self.scales)?);
        let mut numbers = vec![0; self.d_out * self.d_in]; // [d_out, d_in]
        numbers.par_chunks_mut(self.d_in.max(1)).enumerate().for_each(|(output, row)| {
            row.iter_mut().enumerate().for_each(|(input, slot)| *slot = self.number(&words, input, output));
        });
        let zero = |at: usize| self.zero(&zeros, at / self.d_out, at % self.d_out);
        let zeros = (0..scales.len()).map(zero).collect();
        Ok(Grid { numbers, groups: self.groups()?, zeros, scales })
    }

    /// The group of each input, each of one that there is.
    fn groups(&self) -> io::Result<Vec<usize>> {
        let n_groups = self.zeros.shape[0];
        let Some(stored) = &self.groups else {
            return Ok((0..self.d_in).map(|input| input / self.group_size).collect());
        };
        let group = |group: u32| {
            let message = format!("{}.g_idx holds {}, but there are {n_groups} groups", self.name, group as i32);
            let error = || io::Error::new(io::ErrorKind::InvalidData, message.clone());
            Some(group as usize).filter(|group| *group < n_groups).ok_or_else(error)
        };
        words(stored)?.into_iter().map(group).collect()
    }

    fn number(&self, words: &[u32], input: usize, output: usize) -> u8 {
        match self.method {
            Method::Awq => {
                let word = words[input * (self.d_out / 8) + output / 8];
                part_of(word, 4, AWQ_PLACES[output % 8])
            }
            _ => {
                let per_word = 32 / self.bits;
                part_of(words[input / per_word * self.d_out + output], self.bits, input % per_word)
            }
        }
    }

    fn zero(&self, zeros: &[u32], group: usize, output: usize) -> u8 {
        let per_word = 32 / self.bits;
        let word = zeros[group * (self.d_out / per_word) + output / per_word];
        match self.method {
            Method::Gptq { zero_offset, .. } => {
                let mask = u8::MAX >> (8 - self.bits);
                part_of(word, self.bits, output % per_word).wrapping_add(zero_offset) & mask
            }
            _ => part_of(word, 4, AWQ_PLACES[output % 8]),
        }
    }
}

/// The number at a place of a word.
pub(super) fn part_of(word: u32, bits: usize, place: usize) -> u8 {
    (word >> (bits * place) & (u32::MAX >> (32 - bits))) as u8
}

/// A tensor of words.
pub(super) fn words(tensor: &Tensor) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; tensor.bytes.len()]; // [shape, 4]
    tensor.bytes.read(0, &mut bytes)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}
