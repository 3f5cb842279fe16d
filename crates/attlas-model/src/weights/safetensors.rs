//! Reads safetensors files: one, a sharded index, or bytes in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attlas::safetensors_header::{self, Problem, TensorInfo};

use super::{Bytes, Checkpoint, Dtype, Tensor, open_weights, shards};
use crate::Error;

/// The weights of a model folder.
pub(super) fn open_folder(folder: &Path) -> Result<Checkpoint, Error> {
    let whole = folder.join("model.safetensors");
    let index = folder.join("model.safetensors.index.json");
    if !whole.exists() && index.exists() {
        return shards::open(&index, &[".safetensors"], open_file);
    }
    let path = if whole.exists() { whole } else { only_model_file(folder)? };
    Ok(Checkpoint::from_tensors(&path, open_file(&path)?))
}

/// The tensors of one file.
pub(super) fn open_file(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let (file, size) = open_weights(path)?;
    let part = |offset: u64, len: usize| Bytes::File { file: Arc::clone(&file), offset, len };
    tensors(path, size, &part)
}

/// The tensors of a file that is built into the programme.
pub(super) fn from_static(path: &Path, bytes: &'static [u8]) -> Result<BTreeMap<String, Tensor>, Error> {
    let part = |offset: u64, len: usize| Bytes::Static(&bytes[offset as usize..][..len]);
    tensors(path, bytes.len() as u64, &part)
}

/// The tensors of a file of `size` bytes; `part` gives a run of its bytes that lies inside it.
fn tensors(path: &Path, size: u64, part: &dyn Fn(u64, usize) -> Bytes) -> Result<BTreeMap<String, Tensor>, Error> {
    let read = |offset: u64, bytes: &mut [u8]| part(offset, bytes.len()).read(0, bytes);
    let header = safetensors_header::read(size, read).map_err(|problem| match problem {
        Problem::Io(source) => Error::Io { path: path.to_owned(), source },
        Problem::File(message) => Error::file(path, message),
        Problem::Tensor { name, message } => Error::tensor(path, name, message),
    })?;
    let shared_path: Arc<Path> = Arc::from(path);
    let tensor = |(name, info): (String, TensorInfo)| {
        let bytes = part(info.bytes.start, (info.bytes.end - info.bytes.start) as usize);
        let tensor = Tensor { dtype: dtype(&info), shape: info.shape, bytes, path: Arc::clone(&shared_path) };
        (name, tensor)
    };
    Ok(header.tensors.into_iter().map(tensor).collect())
}

fn dtype(info: &TensorInfo) -> Dtype {
    match info.dtype {
        "f32" => Dtype::F32,
        "f16" => Dtype::F16,
        "bf16" => Dtype::BF16,
        "f64" => Dtype::F64,
        "i8" => Dtype::I8,
        name => Dtype::Other { name, bits: info.bits },
    }
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
