//! Reads GGUF files (llama.cpp): metadata and tensors under their own names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attlas_kernels::Code;
use rayon::prelude::*;

use super::gguf_blocks;
use super::stored_rows::StoredRows;
use super::{Bytes, Dtype, Tensor, open_weights};
use crate::Error;

/// Metadata and tensor list together; the largest vocabularies take 20 MB.
const MAX_HEADER: u64 = 64 << 20;
/// Entries of metadata.
const MAX_ENTRIES: u64 = 1 << 16;
/// Tensors of a file.
const MAX_TENSORS: u64 = 1 << 16;
/// Items of all lists together; the largest vocabularies have a million with their merges.
const MAX_ITEMS: u64 = 1 << 22;
/// Arrays in arrays.
const MAX_DEPTH: usize = 4;
/// Axes of a tensor.
const MAX_AXES: u64 = 8;
/// The coarsest grid that tensors may lie on, in bytes.
const MAX_ALIGNMENT: u64 = 1 << 20;

/// A GGUF file: its metadata, and its tensors under its own names.
#[derive(Debug)]
pub(crate) struct Gguf {
    pub path: PathBuf,
    /// Metadata by key.
    pub metadata: BTreeMap<String, Value>,
    /// Tensors; quantised ones say how their rows are stored, and become `f32` where their numbers are asked for.
    pub tensors: BTreeMap<String, Tensor>,
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(number) => write!(f, "{number}"),
            Value::Signed(number) => write!(f, "{number}"),
            Value::Float(number) => write!(f, "{number}"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Array(items) => write!(f, "a list of {} items", items.len()),
        }
    }
}

/// What the header says of a tensor.
struct Described {
    name: String,
    /// Outermost first.
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

impl Gguf {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not GGUF, damaged, or stores numbers in a way that is not read.
    pub fn open(path: &Path) -> Result<Gguf, Error> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let (file, size) = open_weights(path)?;
        let part = |offset, len| Bytes::File { file: Arc::clone(&file), offset, len };
        let mut head = vec![0; size.min(MAX_HEADER) as usize];
        part(0, head.len()).read(0, &mut head).map_err(io)?;
        let (metadata, described, header_len) = header(&head).map_err(|reason| Error::file(path, reason))?;
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= MAX_ALIGNMENT => *n,
            Some(value) => {
                let expected = format!("is {value}, but must be a power of two from 1 to {MAX_ALIGNMENT}");
                return Err(Error::config(path, "general.alignment", expected));
            }
        };
        let data_start = (header_len as u64).next_multiple_of(alignment);
        let mut gguf = Gguf { path: path.to_owned(), metadata, tensors: BTreeMap::new() };
        gguf.place(described, data_start, size, &part)?;
        Ok(gguf)
    }

    /// Finds the bytes of each tensor and checks that they lie in the file, each in its own place.
    fn place(
        &mut self,
        described: Vec<Described>,
        data_start: u64,
        size: u64,
        part: &dyn Fn(u64, usize) -> Bytes,
    ) -> Result<(), Error> {
        let path: Arc<Path> = Arc::from(self.path.as_path());
        let mut places = Vec::new();
        for tensor in described {
            let refuse = |reason: String| Error::tensor(&self.path, &tensor.name, reason);
            let storage = storage(tensor.kind).map_err(refuse)?;
            let numbers = tensor.shape.iter().try_fold(1u64, |n, size| n.checked_mul(*size as u64));
            let numbers = numbers.ok_or_else(|| {
                refuse(format!(
                    "has the shape {:?}, more numbers than any file holds; the header is damaged",
                    tensor.shape
                ))
            })?;
            let (per_block, block_bytes) = storage.block();
            let n_bytes = (numbers / per_block).checked_mul(block_bytes);
            let start = data_start.checked_add(tensor.offset);
            let end = start.zip(n_bytes).and_then(|(start, n_bytes)| start.checked_add(n_bytes));
            let row = tensor.shape.last().copied().unwrap_or(1) as u64;
            if !row.is_multiple_of(per_block) {
                return Err(refuse(format!(
                    "has rows of {row} numbers (shape {:?}), but its type stores blocks of {per_block}; the header is damaged",
                    tensor.shape
                )));
            }
            let (Some(start), Some(end)) = (start, end.filter(|end| *end <= size)) else {
                let needed =
                    n_bytes.map_or_else(|| "more bytes than can be counted".to_owned(), |n| format!("{n} bytes"));
                return Err(refuse(format!(
                    "of shape {:?} takes {needed} from byte {} of the data on, which does not fit the file of {size} bytes; \
                     it is cut off or damaged",
                    tensor.shape, tensor.offset
                )));
            };
            places.push((start, end, tensor.name.clone()));
            let bytes = part(start, (end - start) as usize);
            let (dtype, bytes) = match storage {
                Storage::Plain(dtype) => (dtype, bytes),
                Storage::Blocks(code) => {
                    let rows = StoredRows::plain(code, bytes.clone());
                    (Dtype::F32, Bytes::made(numbers as usize * 4, move || unpacked(&bytes, code)).of_rows(rows))
                }
            };
            let tensor_ = Tensor { dtype, shape: tensor.shape.clone(), bytes, path: Arc::clone(&path) };
            if self.tensors.insert(tensor.name.clone(), tensor_).is_some() {
                return Err(refuse("is there twice".to_owned()));
            }
        }
        places.sort_unstable();
        if let Some(pair) = places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
            return Err(Error::tensor(&self.path, &pair[1].2, format!("lies over {:?}", pair[0].2)));
        }
        Ok(())
    }

    /// A text of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A whole number of the metadata.
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.metadata.get(key) {
            Some(Value::Unsigned(number)) => Some(*number),
            Some(Value::Signed(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// A fraction of the metadata, or `default` when absent.
    ///
    /// # Errors
    /// When it is something else.
    pub fn float_or(&self, key: &str, default: f64) -> Result<f64, Error> {
        match self.metadata.get(key) {
            None => Ok(default),
            Some(Value::Float(number)) if number.is_finite() => Ok(*number),
            Some(value) => match self.number(key) {
                Some(number) => Ok(number as f64),
                None => Err(Error::config(&self.path, key, format!("is {value}, but must be a number"))),
            },
        }
    }

    /// A yes or no of the metadata.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.metadata.get(key) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A list of the metadata.
    pub fn list(&self, key: &str) -> Option<&[Value]> {
        match self.metadata.get(key) {
            Some(Value::Array(items)) => Some(items),
            _ => None,
        }
    }
}

/// The numbers of a quantised tensor as little-endian `f32`. Shape `[n_numbers, 4]`.
fn unpacked(stored: &Bytes, code: Code) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; stored.len()];
    stored.read(0, &mut bytes)?;
    let (per_block, block_bytes) = (code.block(), code.row_bytes(code.block()));
    let mut numbers = vec![0; bytes.len() / block_bytes * per_block * 4]; // [n_numbers, 4]
    let blocks = bytes.par_chunks(block_bytes);
    numbers.par_chunks_mut(per_block * 4).zip(blocks).for_each(|(out, stored)| {
        let mut values = [0.0; gguf_blocks::LARGEST];
        gguf_blocks::unpack(code, stored, &mut values[..per_block]);
        for (bytes, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *bytes = value.to_le_bytes();
        }
    });
    Ok(numbers)
}

/// How the numbers of a tensor are stored.
enum Storage {
    Plain(Dtype),
    Blocks(Code),
}

impl Storage {
    /// Numbers in a block, and its bytes.
    fn block(&self) -> (u64, u64) {
        match self {
            Storage::Plain(dtype) => (1, dtype.bits() as u64 / 8),
            Storage::Blocks(code) => (code.block() as u64, code.row_bytes(code.block()) as u64),
        }
    }
}

/// The storage of a GGML type.
fn storage(kind: u32) -> Result<Storage, String> {
    const NAMES: [&str; 31] = [
        "f32", "f16", "q4_0", "q4_1", "q4_2", "q4_3", "q5_0", "q5_1", "q8_0", "q8_1", "q2_K", "q3_K", "q4_K", "q5_K",
        "q6_K", "q8_K", "iq2_xxs", "iq2_xs", "iq3_xxs", "iq1_s", "iq4_nl", "iq3_s", "iq2_s", "iq4_xs", "i8", "i16",
        "i32", "i64", "f64", "iq1_m", "bf16",
    ];
    Ok(match kind {
        0 => Storage::Plain(Dtype::F32),
        1 => Storage::Plain(Dtype::F16),
        28 => Storage::Plain(Dtype::F64),
        30 => Storage::Plain(Dtype::BF16),
        2 => Storage::Blocks(Code::Q4_0),
        3 => Storage::Blocks(Code::Q4_1),
        6 => Storage::Blocks(Code::Q5_0),
        7 => Storage::Blocks(Code::Q5_1),
        8 => Storage::Blocks(Code::Q8_0),
        10 => Storage::Blocks(Code::Q2K),
        11 => Storage::Blocks(Code::Q3K),
        12 => Storage::Blocks(Code::Q4K),
        13 => Storage::Blocks(Code::Q5K),
        14 => Storage::Blocks(Code::Q6K),
        20 => Storage::Blocks(Code::Iq4Nl),
        23 => Storage::Blocks(Code::Iq4Xs),
        _ => {
            let name = NAMES.get(kind as usize).map_or_else(|| format!("type {kind}"), |name| (*name).to_owned());
            return Err(format!(
                "is stored as {name}; f32, f16, bf16, f64, q4_0 to q8_0, q2_K to q6_K, iq4_nl and iq4_xs are read"
            ));
        }
    })
}

/// Metadata, tensors, and how many bytes they took.
#[allow(clippy::type_complexity)]
fn header(bytes: &[u8]) -> Result<(BTreeMap<String, Value>, Vec<Described>, usize), String> {
    let mut input = Input { bytes, at: 0, items_left: MAX_ITEMS };
    if input.take(4)? != b"GGUF" {
        return Err("is not a GGUF file".to_owned());
    }
    let version = input.number(4)?;
    if !(2..=3).contains(&version) {
        return Err(format!("is GGUF version {version}; 2 and 3 are read, little-endian"));
    }
    let (n_tensors, n_entries) = (input.number(8)?, input.number(8)?);
    if n_tensors > MAX_TENSORS || n_entries > MAX_ENTRIES {
        return Err(format!(
            "says that it has {n_tensors} tensors and {n_entries} entries of metadata; {MAX_TENSORS} and {MAX_ENTRIES} \
             are possible"
        ));
    }
    let mut metadata = BTreeMap::new();
    for _ in 0..n_entries {
        let key = input.text()?;
        let kind = input.number(4)? as u32;
        let value = input.value(kind, 0)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(format!("has the metadata {key:?} twice"));
        }
    }
    let mut tensors = Vec::new();
    for _ in 0..n_tensors {
        let name = input.text()?;
        let n_axes = input.number(4)?;
        if n_axes > MAX_AXES {
            return Err(format!("says that its tensor {name:?} has {n_axes} axes; {MAX_AXES} are possible"));
        }
        let mut shape = Vec::new();
        for _ in 0..n_axes {
            let size = input.number(8)?;
            shape.push(usize::try_from(size).map_err(|_| format!("says that its tensor {name:?} has a size {size}"))?);
        }
        shape.reverse(); // GGUF has the innermost first
        let (kind, offset) = (input.number(4)? as u32, input.number(8)?);
        tensors.push(Described { name, shape, kind, offset });
    }
    Ok((metadata, tensors, input.at))
}

/// Bytes being read.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    items_left: u64,
}

impl<'a> Input<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..n_bytes) else {
            return Err(format!("announces {n_bytes} bytes at {} where {} follow", self.at, rest.len()));
        };
        self.at += n_bytes;
        Ok(taken)
    }

    fn number(&mut self, n_bytes: usize) -> Result<u64, String> {
        Ok(self.take(n_bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn text(&mut self) -> Result<String, String> {
        let n_bytes = usize::try_from(self.number(8)?).unwrap_or(usize::MAX);
        Ok(String::from_utf8_lossy(self.take(n_bytes)?).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, String> {
        let signed = |number: u64, bits: u32| (number << (64 - bits)) as i64 >> (64 - bits);
        Ok(match kind {
            0 => Value::Unsigned(self.number(1)?),
            1 => Value::Signed(signed(self.number(1)?, 8)),
            2 => Value::Unsigned(self.number(2)?),
            3 => Value::Signed(signed(self.number(2)?, 16)),
            4 => Value::Unsigned(self.number(4)?),
            5 => Value::Signed(signed(self.number(4)?, 32)),
            6 => Value::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            7 => Value::Bool(self.number(1)? != 0),
            8 => Value::Text(self.text()?),
            9 if depth < MAX_DEPTH => {
                let (kind, n_items) = (self.number(4)? as u32, self.number(8)?);
                // Each item takes a byte at least, so the file bounds the list.
                let n_bytes = (self.bytes.len() - self.at) as u64;
                if n_items > n_bytes {
                    return Err(format!("announces a list of {n_items} where {n_bytes} bytes follow"));
                }
                if n_items > self.items_left {
                    return Err(format!("has lists of more than {MAX_ITEMS} items in its metadata; no vocabulary has"));
                }
                self.items_left -= n_items;
                let mut items = Vec::new();
                for _ in 0..n_items {
                    items.push(self.value(kind, depth + 1)?);
                }
                Value::Array(items)
            }
            10 => Value::Unsigned(self.number(8)?),
            11 => Value::Signed(self.number(8)? as i64),
            12 => Value::Float(f64::from_bits(self.number(8)?)),
            kind => return Err(format!("has metadata of the unknown type {kind}")),
        })
    }
}
