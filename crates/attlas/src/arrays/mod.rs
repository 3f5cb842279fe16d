//! Dense arrays, in and out: NumPy's `.npy` and `.npz`, safetensors, CSV, JSON.
//!
//! [`read`] and [`import`] make a [`Recording`](crate::Recording) of attention weights that came from elsewhere;
//! [`export`] writes the dense weights of a recording.

mod elements;
mod export;
mod findings;
mod import;
mod npy;
mod read;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use export::{Format, Selection, export};
pub use import::{ImportOptions, import};
pub use read::read;

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

/// The file's extension in lower case; empty when there is none.
fn extension(path: &Path) -> String {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default()
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
