//! Reads safetensors files: one, a sharded index, or bytes in memory. The header is checked before it is believed.
//!
//! Not the `safetensors` crate's reader: that one wants the whole file in memory and takes the same name twice.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Bytes, Checkpoint, Dtype, MAX_JSON_BYTES, Tensor, read_small_file};
use crate::Error;

/// What a header says of one tensor.
#[derive(Debug, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [usize; 2],
}

/// The weights of a model folder.
pub(super) fn open_folder(folder: &Path) -> Result<Checkpoint, Error> {
    let whole = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    let mut tensors = BTreeMap::new();
    let path = if whole.exists() {
        merge(&mut tensors, open_file(&whole)?, &whole)?;
        whole
    } else if index.exists() {
        open_sharded(folder, &index, &mut tensors)?;
        index
    } else {
        let only = only_model_file(folder)?;
        merge(&mut tensors, open_file(&only)?, &only)?;
        only
    };
    Ok(Checkpoint::from_tensors(&path, tensors))
}

/// The tensors of one file.
pub(super) fn open_file(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(Error::file(path, "is not a regular file"));
    }
    let file = Arc::new(File::open(path).map_err(io)?);
    let size = file.metadata().map_err(io)?.len();
    let whole = |offset: u64, len: usize| Bytes::File { file: Arc::clone(&file), offset, len };
    read_header(path, size, &whole)
}

/// The tensors of a file that is built into the programme.
pub(super) fn from_static(path: &Path, bytes: &'static [u8]) -> Result<BTreeMap<String, Tensor>, Error> {
    let part = |offset: u64, len: usize| Bytes::Static(&bytes[offset as usize..][..len]);
    read_header(path, bytes.len() as u64, &part)
}

/// Reads and checks the header of a file of `size` bytes; `part` gives a run of its bytes that lies inside it.
fn read_header(path: &Path, size: u64, part: &dyn Fn(u64, usize) -> Bytes) -> Result<BTreeMap<String, Tensor>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    if size < 8 {
        return Err(Error::file(path, format!("is no safetensors file: {size} bytes, fewer than a header needs")));
    }
    // 1. the header's length, against the file's size and the limit
    let mut length = [0; 8];
    part(0, 8).read(0, &mut length).map_err(io)?;
    let length = u64::from_le_bytes(length);
    if length > MAX_JSON_BYTES || length > size - 8 {
        return Err(Error::file(
            path,
            format!(
                "says that its header has {length} bytes, but the file has {size} and the limit is {MAX_JSON_BYTES}"
            ),
        ));
    }
    // 2. the header itself
    let mut json = vec![0; length as usize];
    part(8, length as usize).read(0, &mut json).map_err(io)?;
    let header: Header = serde_json::from_slice(&json)
        .map_err(|error| Error::file(path, format!("has a malformed safetensors header: {error}")))?;
    // 3. each tensor, against the bytes there are
    let data_start = 8 + length;
    let data_len = (size - data_start) as usize;
    let shared_path: Arc<Path> = Arc::from(path);
    let mut spans = Vec::with_capacity(header.0.len()); // [n_tensors]
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.0 {
        let [begin, end] = entry.data_offsets;
        let dtype = dtype(&entry.dtype);
        let needed = entry.shape.iter().try_fold(dtype.bits(), |bits, n| bits.checked_mul(*n)).map(|bits| bits / 8);
        if begin > end || end > data_len || needed != Some(end - begin) {
            let (shape, kind) = (&entry.shape, &entry.dtype);
            return Err(Error::tensor(
                path,
                name,
                format!(
                    "says {kind} {shape:?} at bytes {begin} to {end} of {data_len}, which does not fit; the file is truncated or damaged"
                ),
            ));
        }
        spans.push((begin, end, name.clone()));
        let bytes = part(data_start + begin as u64, end - begin);
        tensors.insert(name, Tensor { dtype, shape: entry.shape, bytes, path: Arc::clone(&shared_path) });
    }
    check_spans(path, spans, data_len)?;
    Ok(tensors)
}

/// Tensors must lie side by side, without overlap, and fill the file.
fn check_spans(path: &Path, mut spans: Vec<(usize, usize, String)>, data_len: usize) -> Result<(), Error> {
    spans.sort();
    let mut reached = 0;
    for (begin, end, name) in spans {
        if begin != reached {
            let what = if begin < reached { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(Error::tensor(
                path,
                name,
                format!("starts at byte {begin}, which {what} (it ends at {reached})"),
            ));
        }
        reached = end;
    }
    if reached != data_len {
        return Err(Error::file(path, format!("has {data_len} bytes of data, but its tensors end at byte {reached}")));
    }
    Ok(())
}

fn dtype(name: &str) -> Dtype {
    match name {
        "F32" => Dtype::F32,
        "F16" => Dtype::F16,
        "BF16" => Dtype::BF16,
        "F64" => Dtype::F64,
        "I8" => Dtype::I8,
        "U8" => Dtype::Other { name: "u8", bits: 8 },
        "BOOL" => Dtype::Other { name: "bool", bits: 8 },
        "I16" => Dtype::Other { name: "i16", bits: 16 },
        "U16" => Dtype::Other { name: "u16", bits: 16 },
        "I32" => Dtype::Other { name: "i32", bits: 32 },
        "U32" => Dtype::Other { name: "u32", bits: 32 },
        "I64" => Dtype::Other { name: "i64", bits: 64 },
        "U64" => Dtype::Other { name: "u64", bits: 64 },
        "F8_E4M3" => Dtype::Other { name: "f8_e4m3", bits: 8 },
        "F8_E5M2" => Dtype::Other { name: "f8_e5m2", bits: 8 },
        "F8_E8M0" => Dtype::Other { name: "f8_e8m0", bits: 8 },
        _ => Dtype::Other { name: "a type that attlas does not know", bits: 0 },
    }
}

/// The shards that an index names, each a plain file name in the same folder.
fn open_sharded(folder: &Path, index: &Path, tensors: &mut BTreeMap<String, Tensor>) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index_json: Index = serde_json::from_slice(&read_small_file(index)?)
        .map_err(|error| Error::file(index, format!("is no index of shards: {error}")))?;
    let mut shards: Vec<&String> = index_json.weight_map.values().collect();
    shards.sort();
    shards.dedup();
    for shard in shards {
        let plain = !shard.contains(['/', '\\']) && shard != ".." && shard.ends_with(".safetensors");
        if !plain {
            return Err(Error::file(
                index,
                format!("names the shard {shard:?}; a shard is a *.safetensors file beside it"),
            ));
        }
        let path = folder.join(shard);
        merge(tensors, open_file(&path)?, &path)?;
    }
    for (name, shard) in &index_json.weight_map {
        if !tensors.contains_key(name) {
            return Err(Error::tensor(index, name, format!("should be in {shard}, but is not there")));
        }
    }
    Ok(())
}

/// Adds a file's tensors; a name that is there already is refused.
fn merge(all: &mut BTreeMap<String, Tensor>, more: BTreeMap<String, Tensor>, path: &Path) -> Result<(), Error> {
    for (name, tensor) in more {
        if let Some(other) = all.get(&name) {
            let message = format!("is also in {}; each tensor belongs in one shard", other.path.display());
            return Err(Error::tensor(path, name, message));
        }
        all.insert(name, tensor);
    }
    Ok(())
}

/// The only `model*.safetensors` of a folder.
fn only_model_file(folder: &Path) -> Result<PathBuf, Error> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        if let Some(text) = name.to_str()
            && text.starts_with("model")
            && text.ends_with(".safetensors")
        {
            found.push(text.to_owned());
        }
    }
    found.sort();
    match found.as_slice() {
        [only] => Ok(folder.join(only)),
        [] => Err(Error::file(
            folder,
            "has no weights; attlas looks for model.safetensors, model.safetensors.index.json or pytorch_model.bin \
             beside config.json",
        )),
        several => Err(Error::file(
            folder,
            format!("has several weight files ({}); name one model.safetensors", several.join(", ")),
        )),
    }
}

/// A header whose names are all different.
struct Header(BTreeMap<String, Entry>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Header, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
                let mut entries = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<serde::de::IgnoredAny>()?;
                        continue;
                    }
                    let entry = map.next_value::<Entry>()?;
                    if entries.contains_key(&name) {
                        return Err(serde::de::Error::custom(format!("the tensor {name} is listed twice")));
                    }
                    entries.insert(name, entry);
                }
                Ok(Header(entries))
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}
