//! Dense arrays, in and out: NumPy's `.npy` and `.npz`, safetensors, CSV, JSON.
//!
//! [`read`] and [`import`] make a [`Recording`](crate::Recording) of attention weights that came from elsewhere;
//! [`export`] writes the dense weights of a recording.

mod export;
mod import;
mod npy;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use export::{Format, Selection, export};
pub use import::{ImportOptions, import};

use crate::recording::elements;
use crate::tensor_file::{TensorFile, map_regular_file};
use crate::{Error, Remedy};

/// Bytes of arrays that are read or written at most, unless the caller says otherwise: 8 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 8 << 30;

/// An array read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    /// The elements, last axis fastest.
    pub data: ArrayData,
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrayData {
    /// Floating-point numbers of any width, as `f32`.
    Numbers(Vec<f32>),
    /// Text, such as token labels.
    Text(Vec<String>),
    /// Whole numbers, such as layer indices.
    Integers(Vec<i64>),
}

/// The arrays of a `.npy`, `.npz` or `.safetensors` file by name; the array of a `.npy` file has the name `""`.
///
/// # Errors
/// [`Error::Io`], [`Error::File`] (with the array's name), or [`Error::Limit`] beyond `max_bytes`.
pub fn read(path: &Path, max_bytes: u64) -> Result<BTreeMap<String, Array>, Error> {
    match extension(path).as_str() {
        "npy" => {
            let map = map_regular_file(path)?;
            let array = npy::parse(&map).map_err(|message| Error::File { path: path.to_path_buf(), message })?;
            Ok(BTreeMap::from([(String::new(), array)]))
        }
        "npz" => read_npz(path, max_bytes),
        "safetensors" => read_safetensors(path),
        other => Err(Error::File {
            path: path.to_path_buf(),
            message: format!("arrays are read from .npy, .npz and .safetensors files, not from \".{other}\""),
        }),
    }
}

/// The file's extension in lower case; empty when there is none.
fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn read_npz(path: &Path, max_bytes: u64) -> Result<BTreeMap<String, Array>, Error> {
    let bad = |message: String| Error::File { path: path.to_path_buf(), message };
    let map = map_regular_file(path)?;
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&map[..]))
        .map_err(|error| bad(format!("not an .npz archive: {error}")))?;
    let mut arrays = BTreeMap::new();
    let mut left = max_bytes;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| bad(format!("entry {index}: {error}")))?;
        let name = entry.name().map_err(|error| bad(format!("entry {index}: {error}")))?.into_owned();
        let Some(name) = name.strip_suffix(".npy").map(str::to_string) else { continue };
        // the declared size is not believed: reading stops at the limit
        let mut bytes = Vec::new();
        entry
            .take(left.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| bad(format!("array \"{name}\": {error}")))?;
        if bytes.len() as u64 > left {
            return Err(Error::Limit {
                what: format!("{}: unpacking array \"{name}\"", path.display()),
                needed: max_bytes.saturating_add(1),
                limit: max_bytes,
                remedy: Remedy::RaiseLimit,
            });
        }
        left -= bytes.len() as u64;
        let array = npy::parse(&bytes).map_err(|message| bad(format!("array \"{name}\": {message}")))?;
        if arrays.insert(name.clone(), array).is_some() {
            return Err(bad(format!("array \"{name}\" stands twice in the archive")));
        }
    }
    Ok(arrays)
}

fn read_safetensors(path: &Path) -> Result<BTreeMap<String, Array>, Error> {
    let file = TensorFile::open(path)?;
    let mut arrays = BTreeMap::new();
    for (name, entry) in file.tensors() {
        let bytes = file.data(entry);
        let numbers: Vec<f32> = match entry.dtype {
            "f32" => chunks(bytes, f32::from_le_bytes),
            "f64" => chunks(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
            "f16" => chunks(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32()),
            "bf16" => chunks(bytes, |chunk| half::bf16::from_le_bytes(chunk).to_f32()),
            "i64" => {
                let data = ArrayData::Integers(chunks(bytes, i64::from_le_bytes));
                arrays.insert(name.clone(), Array { shape: entry.shape.clone(), data });
                continue;
            }
            other => {
                let message = format!("tensor \"{name}\" has dtype {other}; f64, f32, f16 and bf16 are read");
                return Err(Error::File { path: path.to_path_buf(), message });
            }
        };
        arrays.insert(name.clone(), Array { shape: entry.shape.clone(), data: ArrayData::Numbers(numbers) });
    }
    if let Some(json) = file.metadata().get(EXPORT_KEY) {
        let about: ExportMetadata = serde_json::from_str(json).map_err(|error| Error::File {
            path: path.to_path_buf(),
            message: format!("the metadata \"{EXPORT_KEY}\" is damaged: {error}"),
        })?;
        arrays.extend(about.arrays());
    }
    Ok(arrays)
}

/// The key of an export's JSON in the safetensors header.
const EXPORT_KEY: &str = "attlas_export";

/// What a safetensors export says beside its arrays: token labels, a row per text, and true layer indices.
#[derive(Debug, Default, Serialize, Deserialize)]
struct ExportMetadata {
    #[serde(default)]
    tokens: BTreeMap<String, Vec<Vec<String>>>,
    #[serde(default)]
    layers: BTreeMap<String, Vec<i64>>,
}

impl ExportMetadata {
    /// The same as arrays, as an `.npz` export has them.
    fn arrays(self) -> impl Iterator<Item = (String, Array)> {
        let tokens = self.tokens.into_iter().map(|(name, rows)| {
            let shape = vec![rows.len(), rows.first().map_or(0, Vec::len)];
            (name, Array { shape, data: ArrayData::Text(rows.concat()) })
        });
        let layers = self
            .layers
            .into_iter()
            .map(|(name, indices)| (name, Array { shape: vec![indices.len()], data: ArrayData::Integers(indices) }));
        tokens.chain(layers)
    }
}

/// The numbers in `bytes`, `N` bytes each.
fn chunks<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
}

/// The number of elements of `shape`, or a sentence.
fn n_elements(shape: &[usize]) -> Result<usize, String> {
    elements(shape).ok_or_else(|| format!("shape {shape:?} has more elements than any array can"))
}
