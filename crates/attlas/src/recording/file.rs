//! A recording as one safetensors file: tensors, and metadata as JSON under the key `attlas` (docs/format.md).

use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FORMAT_VERSION, Item, LayerCheck, Provenance};
use crate::attention::Shape;
use crate::output::write_aside;
use crate::tensor_file::TensorFile;
use crate::{Bias, Buffer, Error, Kind, Layer, Recording, Scoring, Weights};

/// The key of the JSON in the safetensors header.
const KEY: &str = "attlas";

/// What every version of the format says first.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    version: u32,
    provenance: Provenance,
    checks: Vec<LayerCheck>,
    items: Vec<Item>,
    layers: Vec<LayerMetadata>,
}

#[derive(Serialize, Deserialize)]
struct LayerMetadata {
    kind: Kind,
    index: usize,
    shape: Shape,
    /// Absent for dense weights. A relative bias keeps its table in the tensor `….bias`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scoring: Option<Scoring>,
    #[serde(default)]
    values: bool,
}

/// A tensor's name, shape and numbers.
type Tensor<'a> = (String, Vec<usize>, &'a [f32]);

impl Recording {
    /// Writes the recording to `path`, complete or not at all.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it contradicts itself, [`Error::Output`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let metadata = Metadata {
            version: FORMAT_VERSION,
            provenance: self.provenance.clone(),
            checks: self.check()?,
            items: self.items.clone(),
            layers: self.layers.iter().map(LayerMetadata::of).collect(),
        };
        let json = serde_json::to_string(&metadata).map_err(|error| Error::Inconsistent(error.to_string()))?;
        let tensors: Vec<Tensor<'_>> = self.layers.iter().flat_map(|layer| layer.tensors(self.items.len())).collect();
        write_aside(path, |file| {
            let names = tensors.iter().map(|(name, shape, _)| (name.as_str(), shape.as_slice()));
            write_safetensors_header(file, names, (KEY, &json))?;
            tensors.iter().try_for_each(|(_, _, numbers)| write_f32(file, numbers))
        })
    }

    /// Opens the recording at `path`; its arrays stay in the file until they are read.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`], naming file and field: no recording, a newer version, sizes that contradict.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        let file = TensorFile::open(path)?;
        let bad = |message: String| Error::File { path: path.to_path_buf(), message };
        let json = file.metadata().get(KEY).ok_or_else(|| {
            bad("a safetensors file, but no attlas recording: to bring attention arrays, use `attlas import`".into())
        })?;
        let unreadable = |error: serde_json::Error| bad(format!("the recording's metadata is damaged: {error}"));
        let Version { version } = serde_json::from_str(json).map_err(unreadable)?;
        if version > FORMAT_VERSION {
            return Err(bad(format!(
                "the recording has format version {version}, newer than the {FORMAT_VERSION} that this attlas reads; \
                 a newer attlas opens it"
            )));
        }
        let metadata: Metadata = serde_json::from_str(json).map_err(unreadable)?;
        let n_items = metadata.items.len();
        let layers: Result<Vec<Layer>, Error> =
            metadata.layers.into_iter().map(|layer| layer.read(&file, n_items)).collect();
        let recording = Recording { items: metadata.items, layers: layers?, provenance: metadata.provenance };
        recording.validate().map_err(|error| bad(error.to_string()))?;
        Ok(recording)
    }
}

/// Writes the head of a safetensors file of `f32` tensors that follow in the order given.
pub(crate) fn write_safetensors_header<'a>(
    file: &mut impl Write,
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    metadata: (&str, &str),
) -> std::io::Result<()> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({ metadata.0: metadata.1 }));
    let mut offset = 0;
    for (name, shape) in tensors {
        let end = offset + shape.iter().product::<usize>() * size_of::<f32>();
        header.insert(name.into(), json!({ "dtype": "F32", "shape": shape, "data_offsets": [offset, end] }));
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' '); // tensors start aligned
    file.write_all(&(header.len() as u64).to_le_bytes())?;
    file.write_all(&header)
}

/// Writes numbers as little-endian bytes.
pub(crate) fn write_f32(file: &mut impl Write, numbers: &[f32]) -> std::io::Result<()> {
    if cfg!(target_endian = "little") {
        file.write_all(bytemuck::cast_slice(numbers))
    } else {
        numbers.iter().try_for_each(|number| file.write_all(&number.to_le_bytes()))
    }
}

/// The name of a layer's tensor: `encoder.3.queries`.
fn tensor_name(kind: Kind, index: usize, what: &str) -> String {
    format!("{kind}.{index}.{what}")
}

impl Layer {
    /// The layer's arrays, named and shaped for the file.
    fn tensors(&self, n_items: usize) -> Vec<Tensor<'_>> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, d_value } = self.shape;
        let name = |what: &str| tensor_name(self.kind, self.index, what);
        let mut tensors: Vec<Tensor<'_>> = match &self.weights {
            Weights::Dense(weights) => vec![(name("weights"), vec![n_items, n_heads, n_queries, n_keys], weights)],
            Weights::Factored { scoring, queries, keys, lse } => {
                let mut tensors: Vec<Tensor<'_>> = vec![
                    (name("queries"), vec![n_items, n_heads, n_queries, d_head], queries),
                    (name("keys"), vec![n_items, n_kv_heads, n_keys, d_head], keys),
                    (name("lse"), vec![n_items, n_heads, n_queries], lse),
                ];
                if let Bias::Relative { table, n_offsets, .. } = &scoring.bias {
                    tensors.push((name("bias"), vec![n_heads, *n_offsets], table));
                }
                tensors
            }
        };
        if let Some(values) = &self.values {
            tensors.push((name("values"), vec![n_items, n_kv_heads, n_keys, d_value], values));
        }
        tensors
    }
}

impl LayerMetadata {
    fn of(layer: &Layer) -> LayerMetadata {
        let scoring = match &layer.weights {
            Weights::Dense(_) => None,
            Weights::Factored { scoring, .. } => {
                let mut scoring = scoring.clone();
                if let Bias::Relative { table, .. } = &mut scoring.bias {
                    table.clear(); // stands in its own tensor
                }
                Some(scoring)
            }
        };
        let values = layer.values.is_some();
        LayerMetadata { kind: layer.kind, index: layer.index, shape: layer.shape, scoring, values }
    }

    /// The layer with its arrays, which stay in the file.
    fn read(self, file: &TensorFile, n_items: usize) -> Result<Layer, Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, d_value } = self.shape;
        let tensor = |what: &str, shape: &[usize]| -> Result<Buffer, Error> {
            file.f32_buffer(&tensor_name(self.kind, self.index, what), shape)
        };
        let weights = match self.scoring {
            None => Weights::Dense(tensor("weights", &[n_items, n_heads, n_queries, n_keys])?),
            Some(mut scoring) => {
                if let Bias::Relative { table, n_offsets, .. } = &mut scoring.bias {
                    *table = tensor("bias", &[n_heads, *n_offsets])?.to_vec();
                }
                Weights::Factored {
                    queries: tensor("queries", &[n_items, n_heads, n_queries, d_head])?,
                    keys: tensor("keys", &[n_items, n_kv_heads, n_keys, d_head])?,
                    lse: tensor("lse", &[n_items, n_heads, n_queries])?,
                    scoring,
                }
            }
        };
        let values = self.values.then(|| tensor("values", &[n_items, n_kv_heads, n_keys, d_value])).transpose()?;
        Ok(Layer { kind: self.kind, index: self.index, shape: self.shape, weights, values })
    }
}
