//! Dense arrays, in and out: NumPy's `.npy` and `.npz`, safetensors, CSV, JSON.
//!
//! [`read`] and [`import`] make a [`Recording`](crate::Recording) of attention weights that came from elsewhere;
//! [`export`] writes the dense maps of a recording.

mod axes;
mod causes;
mod elements;
mod export;
mod findings;
mod import;
mod names;
mod npy;
mod read;
mod steps;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use axes::{Axes, Axis};
pub use causes::Cause;
pub use export::{Format, Selection, export};
pub use findings::is_called_padding;
pub use import::{ImageGrid, ImportOptions, Imported, Reading, import, import_telling, take_labels};
pub use read::read;
pub use steps::stitch;

/// Bytes of arrays that are read or written at most, unless the caller says otherwise: 8 GiB.
pub const DEFAULT_MAX_BYTES: u64 = 8 << 30;

/// An array read from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    /// The elements, last axis fastest.
    pub data: ArrayData,
    /// How exactly numbers are stored in the file.
    pub precision: Precision,
}

impl Array {
    /// Numbers of full precision.
    pub fn numbers(shape: Vec<usize>, numbers: Vec<f32>) -> Array {
        Array::of(shape, ArrayData::Numbers(numbers))
    }

    /// Elements that are no numbers of reduced precision.
    fn of(shape: Vec<usize>, data: ArrayData) -> Array {
        Array { shape, data, precision: Precision::Single }
    }
}

/// How exactly the numbers of an array are stored, the most exact first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Precision {
    /// 24 bits or more: float32, float64.
    #[default]
    Single,
    /// 11 bits: float16.
    Half,
    /// 8 bits: bfloat16.
    Brain,
}

impl Precision {
    /// The name, as NumPy and PyTorch say it.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Single => "float32",
            Precision::Half => "float16",
            Precision::Brain => "bfloat16",
        }
    }

    /// The name in a recording's provenance: `f16`, `bf16`; empty for full precision.
    fn dtype(self) -> &'static str {
        match self {
            Precision::Single => "",
            Precision::Half => "f16",
            Precision::Brain => "bf16",
        }
    }
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
            (name, Array::of(shape, ArrayData::Text(rows.concat())))
        });
        let layers = self
            .layers
            .into_iter()
            .map(|(name, indices)| (name, Array::of(vec![indices.len()], ArrayData::Integers(indices))));
        tokens.chain(layers)
    }
}
