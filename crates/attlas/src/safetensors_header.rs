//! The header of a safetensors file, checked before it is believed: names, types, shapes, and where the numbers lie.
//!
//! Not the `safetensors` crate's reader: that one wants the whole file in memory, takes the same name twice, and does
//! not say which tensor is wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The longest header that is read.
const MAX_HEADER_BYTES: u64 = 100 << 20;

/// The types of numbers, as the file names them, in lower case, and their bits.
const DTYPES: [(&str, &str, usize); 16] = [
    ("F64", "f64", 64),
    ("F32", "f32", 32),
    ("F16", "f16", 16),
    ("BF16", "bf16", 16),
    ("F8_E4M3", "f8_e4m3", 8),
    ("F8_E5M2", "f8_e5m2", 8),
    ("F8_E8M0", "f8_e8m0", 8),
    ("I64", "i64", 64),
    ("I32", "i32", 32),
    ("I16", "i16", 16),
    ("I8", "i8", 8),
    ("U64", "u64", 64),
    ("U32", "u32", 32),
    ("U16", "u16", 16),
    ("U8", "u8", 8),
    ("BOOL", "bool", 8),
];

/// A header whose tensors lie side by side and fill the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// What the header says of each tensor, by the tensor's name.
    pub tensors: BTreeMap<String, TensorInfo>,
    /// What stands under `__metadata__`.
    pub metadata: BTreeMap<String, String>,
}

/// What a header says of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The type of its numbers: `f32`, `bf16`, `u8`.
    pub dtype: &'static str,
    /// The bits of one number.
    pub bits: usize,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Where its numbers lie in the file; exactly as many bytes as type and shape say.
    pub bytes: Range<u64>,
}

/// What is wrong with a header.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("{0}")]
    Io(io::Error),
    /// The file is too short, its header is malformed, or its tensors do not fill it.
    #[error("{0}")]
    File(String),
    /// One tensor has a type, shape or place that does not fit.
    #[error("tensor {name} {message}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// What was expected and what came.
        message: String,
    },
}

/// Reads and checks the header of a file of `size` bytes; `read` fills a buffer from a place that lies inside the file.
///
/// # Errors
/// A file that is too short or cannot be read, a header that is no header, names a tensor twice, or does not fit the file.
pub fn read(size: u64, read: impl Fn(u64, &mut [u8]) -> io::Result<()>) -> Result<Header, Problem> {
    if size < 8 {
        return Err(Problem::File(format!("is no safetensors file: {size} bytes, fewer than a header needs")));
    }
    // 1. the header's length, against the file's size and the limit
    let mut length = [0; 8];
    read(0, &mut length).map_err(Problem::Io)?;
    if length.starts_with(b"GGUF") {
        return Err(Problem::File("is a GGUF model, no safetensors file".to_owned()));
    }
    let length = u64::from_le_bytes(length);
    if length > size - 8 {
        let reason =
            if length > MAX_HEADER_BYTES { "is no safetensors file" } else { "is cut short, or no safetensors file" };
        return Err(Problem::File(format!(
            "{reason}: read as one, it says that its header has {length} bytes, but the file has {size}"
        )));
    }
    if length > MAX_HEADER_BYTES {
        return Err(Problem::File(format!(
            "says that its header has {length} bytes, and {MAX_HEADER_BYTES} are read at most"
        )));
    }
    // 2. the header itself
    let mut json = vec![0; length as usize];
    read(8, &mut json).map_err(Problem::Io)?;
    let stored: Stored = serde_json::from_slice(&json)
        .map_err(|error| Problem::File(format!("has a malformed safetensors header: {error}")))?;
    // 3. each tensor, against the bytes there are
    let data_start = 8 + length;
    let data_len = size - data_start;
    let mut tensors = BTreeMap::new();
    for (name, entry) in stored.entries {
        match entry.checked(data_start, data_len) {
            Ok(info) => tensors.insert(name, info),
            Err(message) => return Err(Problem::Tensor { name, message }),
        };
    }
    check_spans(&tensors, data_start, data_len)?;
    Ok(Header { tensors, metadata: stored.metadata })
}

/// Tensors must lie side by side, without overlap, and fill the file.
fn check_spans(tensors: &BTreeMap<String, TensorInfo>, data_start: u64, data_len: u64) -> Result<(), Problem> {
    let mut spans: Vec<(u64, u64, &String)> =
        tensors.iter().map(|(name, info)| (info.bytes.start - data_start, info.bytes.end - data_start, name)).collect();
    spans.sort();
    let mut reached = 0;
    for (begin, end, name) in spans {
        if begin != reached {
            let what = if begin < reached { "overlaps the tensor before it" } else { "leaves a gap before it" };
            let message = format!("starts at byte {begin}, which {what} (it ends at {reached})");
            return Err(Problem::Tensor { name: name.clone(), message });
        }
        reached = end;
    }
    if reached != data_len {
        return Err(Problem::File(format!("has {data_len} bytes of data, but its tensors end at byte {reached}")));
    }
    Ok(())
}

/// The texts of an object; the format allows nothing else there.
///
/// Fails with the end of a sentence.
fn texts(metadata: serde_json::Value) -> Result<BTreeMap<String, String>, String> {
    let serde_json::Value::Object(entries) = metadata else {
        return Err(format!("__metadata__ is {metadata}, but must be an object of texts"));
    };
    let text = |(key, value)| match value {
        serde_json::Value::String(text) => Ok((key, text)),
        other => Err(format!("__metadata__.{key} is {other}, but must be a text")),
    };
    entries.into_iter().map(text).collect()
}

/// A tensor as the header writes it.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

impl Entry {
    /// The entry, if it lies inside the data and has as many bytes as it must.
    fn checked(self, data_start: u64, data_len: u64) -> Result<TensorInfo, String> {
        let Entry { dtype, shape, data_offsets: [begin, end] } = self;
        let Some((_, name, bits)) = DTYPES.into_iter().find(|(stored, _, _)| *stored == dtype) else {
            return Err(format!("is stored as {dtype:?}, a type that attlas does not know"));
        };
        let needed = shape.iter().try_fold(bits as u64, |bits, n| bits.checked_mul(*n as u64)).map(|bits| bits / 8);
        if begin > end || end > data_len || needed != Some(end - begin) {
            return Err(format!(
                "says {dtype} {shape:?} at bytes {begin} to {end} of {data_len}, which does not fit; the file is \
                 truncated or damaged"
            ));
        }
        Ok(TensorInfo { dtype: name, bits, shape, bytes: data_start + begin..data_start + end })
    }
}

/// A header whose names are all different, not yet held against the file.
#[derive(Default)]
struct Stored {
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Stored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stored, D::Error> {
        struct StoredVisitor;
        impl<'de> Visitor<'de> for StoredVisitor {
            type Value = Stored;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Stored, M::Error> {
                let mut stored = Stored::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        stored.metadata = texts(map.next_value()?).map_err(serde::de::Error::custom)?;
                        continue;
                    }
                    let entry = map.next_value::<Entry>()?;
                    if stored.entries.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!("the tensor {name} is listed twice")));
                    }
                    stored.entries.insert(name, entry);
                }
                Ok(stored)
            }
        }
        deserializer.deserialize_map(StoredVisitor)
    }
}
