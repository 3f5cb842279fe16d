//! Weights from files: named tensors, checked against what the model expects before anything is allocated, read as `f32`.

pub(crate) mod adapter;
mod bytes;
mod convert;
pub(crate) mod gguf;
mod gguf_blocks;
#[cfg(test)]
mod gguf_tests;
pub mod hub;
mod pickle;
mod pickle_file;
pub(crate) mod quantised;
mod safetensors;
mod saved;
mod shards;
pub(crate) mod stored_rows;
mod stored_zip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use attlas::regular_file::{self, without_mark};
use attlas_kernels::Code;
pub use bytes::Bytes;
pub use convert::Dtype;
pub use saved::{Saved, open_saved};
use serde::de::DeserializeOwned;
use stored_rows::StoredRows;

use crate::Error;
use crate::error::Clash;

/// How a file begins that Git LFS left in the place of a large one.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// One tensor of a file, not yet read.
#[derive(Debug, Clone)]
pub struct Tensor {
    /// How the numbers are stored.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// Where the numbers lie; exactly as many bytes as `dtype` and `shape` say.
    pub bytes: Bytes,
    /// The file they lie in, for messages.
    pub path: Arc<Path>,
}

/// All tensors of a model's weights, from one file or several.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    read: Mutex<BTreeMap<String, Arc<Vec<f32>>>>,
    used: Mutex<BTreeSet<String>>,
}

impl Checkpoint {
    /// The weights of a model folder: `model.safetensors`, a sharded index, or the only `*.safetensors` that is named
    /// `model.…`; without the first two, PyTorch's `pytorch_model.bin`, its sharded index, or `model.pt`.
    ///
    /// # Errors
    /// When there are none, or a file is truncated, malformed or not a regular file.
    pub fn open(folder: &Path) -> Result<Checkpoint, Error> {
        let has = |name: &str| folder.join(name).exists();
        if !has("model.safetensors")
            && !has("model.safetensors.index.json")
            && let Some(checkpoint) = pickle_file::open_folder(folder)
        {
            return checkpoint;
        }
        safetensors::open_folder(folder)
    }

    /// The tensors of one safetensors file.
    ///
    /// # Errors
    /// When it is absent, truncated, malformed or not a regular file.
    pub fn open_file(path: &Path) -> Result<Checkpoint, Error> {
        Ok(Checkpoint::from_tensors(path, safetensors::open_file(path)?))
    }

    /// The tensors of one safetensors file held in memory; `path` is the name used in messages.
    ///
    /// # Errors
    /// When the header is malformed or does not fit the bytes.
    pub fn from_static(path: &Path, bytes: &'static [u8]) -> Result<Checkpoint, Error> {
        let tensors = safetensors::from_static(path, bytes)?;
        Ok(Checkpoint::from_tensors(path, tensors))
    }

    /// Tensors that another reader found; `path` is the name used in messages.
    pub fn from_tensors(path: &Path, tensors: BTreeMap<String, Tensor>) -> Checkpoint {
        Checkpoint { path: path.to_owned(), tensors, read: Mutex::default(), used: Mutex::default() }
    }

    /// The same tensors without what a wrapper wrote before the name of every one: `torch.compile`, data parallelism.
    pub(crate) fn unwrapped(mut self) -> Checkpoint {
        const WRAPPERS: [&str; 3] = ["_orig_mod.", "module.", "_fsdp_wrapped_module."];
        let wrapper = |tensors: &BTreeMap<String, Tensor>| {
            let first = tensors.keys().next()?;
            let wrapper = WRAPPERS.into_iter().find(|wrapper| first.starts_with(wrapper))?;
            tensors.keys().all(|name| name.starts_with(wrapper)).then_some(wrapper)
        };
        // one inside another, but not without end
        for _ in 0..4 {
            let Some(wrapper) = wrapper(&self.tensors) else { break };
            self.tensors =
                self.tensors.into_iter().map(|(name, tensor)| (name[wrapper.len()..].to_owned(), tensor)).collect();
        }
        self
    }

    /// The tensors under the first of these prefixes that has any, without it: the weights of a part. Here they count as read.
    pub(crate) fn under(&self, prefixes: &[&str]) -> Checkpoint {
        let of = |prefix: &str| -> BTreeMap<String, Tensor> {
            let own = self.tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(prefix)?, tensor)));
            own.map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect()
        };
        let found = prefixes.iter().map(|prefix| (*prefix, of(prefix))).find(|(_, tensors)| !tensors.is_empty());
        let (prefix, tensors) = found.unwrap_or_default();
        tensors.keys().for_each(|name| self.ignore(&format!("{prefix}{name}")));
        Checkpoint::from_tensors(&self.path, tensors)
    }

    /// The file or folder that the weights come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The type that most of the numbers are stored in, as written in provenance: `f32`, `bf16`, `i8`, `q4_K`.
    pub fn main_dtype(&self) -> &'static str {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for (name, tensor) in &self.tensors {
            let dtype = match &tensor.bytes {
                _ if name.ends_with("_blocks") => Code::Mxfp4.name(),
                Bytes::Made { rows: Some(rows), .. } => rows.code().name(),
                _ => tensor.dtype.name(),
            };
            *counts.entry(dtype).or_default() += tensor.shape.iter().product::<usize>();
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name)
    }

    /// The numbers of a tensor that must have exactly `shape`; read once and shared.
    ///
    /// # Errors
    /// When the tensor is missing, of another shape or type, or holds a number that is not finite.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Arc<Vec<f32>>, Error> {
        if let Some(known) = lock(&self.read).get(name)
            && known.len() == shape.iter().product::<usize>()
        {
            return Ok(Arc::clone(known));
        }
        let values = Arc::new(self.numbers(name, shape)?);
        lock(&self.read).insert(name.to_owned(), Arc::clone(&values));
        Ok(values)
    }

    /// The numbers of a tensor that must have exactly `shape`, not kept: for those that are put into another order.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn numbers(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let mut values = vec![0.0; self.checked(name, shape)?.len()]; // [shape]
        self.read_into(name, shape, &mut values)?;
        Ok(values)
    }

    /// The numbers of a tensor, written to `output`, which has exactly as many places.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`].
    pub fn read_into(&self, name: &str, shape: &[usize], output: &mut [f32]) -> Result<(), Error> {
        let tensor = self.checked(name, shape)?;
        let scale_name = format!("{name}.scale");
        let scales = match tensor.dtype {
            Dtype::I8 => Some(self.tensor(&scale_name, &[shape.first().copied().unwrap_or(1)])?),
            _ => None,
        };
        lock(&self.used).insert(name.to_owned());
        convert::to_f32(tensor, scales.as_deref().map(Vec::as_slice), output).map_err(|problem| match problem {
            convert::Problem::Io(source) => Error::Io { path: tensor.path.to_path_buf(), source },
            convert::Problem::NotFinite { index, value } => {
                Error::tensor(&tensor.path, name, format!("holds {value} at place {index}; weights must be finite"))
            }
            convert::Problem::Unsupported => {
                let dtype = tensor.dtype.name();
                Error::tensor(
                    &tensor.path,
                    name,
                    format!("is stored as {dtype}; attlas reads f32, f16, bf16, f64 and i8 with a scale per row"),
                )
            }
        })
    }

    /// The rows of a matrix (or of what has more axes, as rows of all its inner numbers) of exactly this shape as they are stored; `None` where its numbers must be asked for.
    ///
    /// # Errors
    /// When it is missing or of another shape, or a part of it is.
    pub(crate) fn stored_rows(&self, name: &str, shape: &[usize]) -> Result<Option<StoredRows>, Error> {
        let tensor = self.checked(name, shape)?;
        let scale_name = format!("{name}.scale");
        let scales = match (tensor.dtype, &tensor.bytes) {
            // rows that are made have their factors in them
            (Dtype::I8, Bytes::Made { .. }) => {
                self.ignore(&scale_name);
                None
            }
            (Dtype::I8, _) => Some(self.tensor(&scale_name, &shape[..shape.len().min(1)])?),
            _ => None,
        };
        Ok(StoredRows::of(tensor, scales))
    }

    /// A tensor of unsigned bytes that must have exactly `shape`, as it lies in the file.
    ///
    /// # Errors
    /// When the tensor is missing or of another shape or type.
    pub fn bytes(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>, Error> {
        let tensor = self.byte_tensor(name, shape)?;
        let mut bytes = vec![0; tensor.bytes.len()]; // [shape]
        let io = |source| Error::Io { path: tensor.path.to_path_buf(), source };
        tensor.bytes.read(0, &mut bytes).map_err(io)?;
        Ok(bytes)
    }

    /// The same, not yet read.
    ///
    /// # Errors
    /// When the tensor is missing or of another shape or type.
    pub(crate) fn byte_tensor(&self, name: &str, shape: &[usize]) -> Result<&Tensor, Error> {
        let tensor = self.checked(name, shape)?;
        if tensor.dtype.name() != "u8" {
            let dtype = tensor.dtype.name();
            return Err(Error::tensor(&tensor.path, name, format!("is stored as {dtype}; packed weights are u8")));
        }
        lock(&self.used).insert(name.to_owned());
        Ok(tensor)
    }

    /// Takes a tensor out.
    fn take(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Puts a tensor in, or in the place of the one of this name.
    fn put(&mut self, name: String, tensor: Tensor) {
        self.tensors.insert(name, tensor);
    }

    /// Marks a tensor as known though it is not read.
    pub fn ignore(&self, name: &str) {
        lock(&self.used).insert(name.to_owned());
    }

    /// The tensors that nobody read, in alphabetical order.
    pub fn unused(&self) -> Vec<String> {
        let used = lock(&self.used);
        self.tensors.keys().filter(|name| !used.contains(*name)).cloned().collect()
    }

    fn checked(&self, name: &str, shape: &[usize]) -> Result<&Tensor, Error> {
        let asked = || shape.to_vec();
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::misfit(&self.path, name, Clash::Missing { asked: asked() }));
        };
        if tensor.shape != shape {
            let found = tensor.shape.clone();
            return Err(Error::misfit(&tensor.path, name, Clash::Shape { found, asked: asked() }));
        }
        Ok(tensor)
    }
}

impl Tensor {
    /// How many numbers.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The numbers as they are, also those that are not finite. Shape `[shape]`.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no floating-point numbers; the error does not say which tensor it is.
    pub fn read(&self) -> Result<Vec<f32>, Error> {
        convert::read_all(self).map_err(|problem| match problem {
            convert::Problem::Io(source) => Error::Io { path: self.path.to_path_buf(), source },
            _ => Error::file(
                &self.path,
                format!("holds a tensor of {}; f32, f16, bf16 and f64 are read", self.dtype.name()),
            ),
        })
    }
}

/// The lock's content, also after a thread panicked while holding it: the maps are valid at every moment.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The whole of a regular file of at most `limit` bytes.
///
/// # Errors
/// A file that is absent, unreadable, no regular file, longer than the limit, or only a pointer of Git LFS.
pub(crate) fn read_small_file(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let bytes = regular_file::read(path, limit).map_err(|problem| Error::regular_file(path, problem))?;
    no_lfs_pointer(path, &bytes)?;
    Ok(bytes)
}

/// Opens a regular file of weights; says how many bytes it has.
///
/// # Errors
/// A file that is absent, unreadable, no regular file, or only a pointer of Git LFS.
pub(crate) fn open_weights(path: &Path) -> Result<(Arc<File>, u64), Error> {
    let (file, size) = regular_file::open(path).map_err(|problem| Error::regular_file(path, problem))?;
    let file = Arc::new(file);
    let mut start = vec![0; LFS_POINTER.len().min(size as usize)];
    let head = Bytes::File { file: Arc::clone(&file), offset: 0, len: start.len() };
    head.read(0, &mut start).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    no_lfs_pointer(path, &start)?;
    Ok((file, size))
}

fn no_lfs_pointer(path: &Path, start: &[u8]) -> Result<(), Error> {
    if start.starts_with(LFS_POINTER) {
        return Err(Error::file(path, "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"));
    }
    Ok(())
}

/// What JSON holds; a byte order mark before it is passed over. `otherwise` begins the sentence about what is no JSON.
///
/// # Errors
/// Bytes that are no JSON, or not of this form.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8], otherwise: &str) -> Result<T, Error> {
    let (needed, limit) = (json_memory(bytes), MOST_JSON_MEMORY.min(JSON_BYTES + JSON_BYTES_PER_BYTE * bytes.len()));
    if needed > limit {
        return Err(Error::file(
            path,
            format!(
                "has {} bytes of JSON whose many small values would take about {needed} bytes of memory; {limit} are allowed",
                bytes.len()
            ),
        ));
    }
    serde_json::from_slice(without_mark(bytes)).map_err(|error| {
        let wide = [b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| bytes.starts_with(*mark));
        let problem = if wide { "it is in UTF-16; JSON is UTF-8".to_owned() } else { error.to_string() };
        Error::file(path, format!("{otherwise}: {problem}"))
    })
}

/// What the values of a JSON file may take in memory: this much, and so much for each of its bytes (those in use take up to
/// 10), but never more than the last.
const JSON_BYTES: usize = 16 << 20;
const JSON_BYTES_PER_BYTE: usize = 24;
const MOST_JSON_MEMORY: usize = 1 << 30;

/// About how many bytes the values of a JSON text take in memory, by its brackets and commas: `{"a":0}` a hundred times its own.
fn json_memory(json: &[u8]) -> usize {
    const OBJECT: usize = 640;
    const ARRAY: usize = 160;
    const VALUE: usize = 48;
    let (mut n_bytes, mut is_text, mut is_escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_text,
            b'"' => is_text = !is_text,
            _ if is_text => {}
            b'{' => n_bytes += OBJECT,
            b'[' => n_bytes += ARRAY,
            b',' => n_bytes += VALUE,
            _ => {}
        }
    }
    n_bytes
}
