//! Matrices of four bits, as AWQ and GPTQ pack them: `(q − zero) · scale`, a zero and a scale for each group of inputs.

use std::io;
use std::sync::Arc;

use rayon::prelude::*;

use super::Method;
use crate::Error;
use crate::config::file::ConfigFile;
use crate::error::Clash;
use crate::weights::convert::{bytes_of, floats};
use crate::weights::{Bytes, Checkpoint, Dtype, Tensor};

/// Numbers in a word of 32 bits.
const PER_WORD: usize = 8;
/// In which of a word's places AWQ puts a column.
const AWQ_PLACES: [usize; PER_WORD] = [0, 4, 1, 5, 2, 6, 3, 7];

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

/// A packed matrix of `d_out` rows and `d_in` columns.
struct Packed {
    method: Method,
    name: String,
    /// AWQ: `[d_in, d_out / 8]`; GPTQ: `[d_in / 8, d_out]`.
    words: Tensor,
    /// Shape `[n_groups, d_out / 8]`.
    zeros: Tensor,
    /// Shape `[n_groups, d_out]`.
    scales: Tensor,
    /// The group of each input, where it is stored. Shape `[d_in]`.
    groups: Option<Tensor>,
    group_size: usize,
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
        let (d_in, d_out) = if method == Method::Awq { (rows, columns * PER_WORD) } else { (rows * PER_WORD, columns) };
        if !d_out.is_multiple_of(PER_WORD) {
            let message = format!("has {d_out} columns, whose zeros do not fill words of {PER_WORD}");
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
        let zeros = shaped("qzeros", &[n_groups, d_out / PER_WORD])?;
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
        Ok(Packed { method, name: name.to_owned(), words, zeros, scales, groups, group_size, d_in, d_out })
    }

    /// The matrix, unpacked when it is read. Shape `[d_out, d_in]`.
    fn tensor(self) -> Tensor {
        let (shape, path) = (vec![self.d_out, self.d_in], Arc::clone(&self.words.path));
        let n_bytes = self.d_out * self.d_in * size_of::<f32>();
        Tensor { dtype: Dtype::F32, shape, path, bytes: Bytes::made(n_bytes, move || self.unpack()) }
    }

    fn unpack(&self) -> io::Result<Vec<u8>> {
        let (words, zeros, scales) = (words(&self.words)?, words(&self.zeros)?, floats(&self.scales)?);
        let groups = self.groups()?;
        let mut weight = vec![0.0; self.d_out * self.d_in]; // [d_out, d_in]
        weight.par_chunks_mut(self.d_in.max(1)).enumerate().for_each(|(output, row)| {
            for (input, value) in row.iter_mut().enumerate() {
                let group = groups[input];
                let number = self.number(&words, input, output);
                let zero = self.zero(&zeros, group, output);
                *value = (number as i32 - zero as i32) as f32 * scales[group * self.d_out + output];
            }
        });
        Ok(bytes_of(&weight))
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

    fn number(&self, words: &[u32], input: usize, output: usize) -> u32 {
        match self.method {
            Method::Awq => {
                let word = words[input * (self.d_out / PER_WORD) + output / PER_WORD];
                four_bits(word, AWQ_PLACES[output % PER_WORD])
            }
            _ => four_bits(words[input / PER_WORD * self.d_out + output], input % PER_WORD),
        }
    }

    fn zero(&self, zeros: &[u32], group: usize, output: usize) -> u32 {
        let word = zeros[group * (self.d_out / PER_WORD) + output / PER_WORD];
        match self.method {
            Method::Gptq { zero_offset } => (four_bits(word, output % PER_WORD) + zero_offset) & 15,
            _ => four_bits(word, AWQ_PLACES[output % PER_WORD]),
        }
    }
}

fn four_bits(word: u32, place: usize) -> u32 {
    word >> (4 * place) & 15
}

/// A tensor of words.
fn words(tensor: &Tensor) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; tensor.bytes.len()]; // [shape, 4]
    tensor.bytes.read(0, &mut bytes)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
}
