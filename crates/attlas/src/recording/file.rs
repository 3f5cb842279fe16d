//! A recording as one safetensors file: tensors, and metadata as JSON under the key `attlas` (docs/format.md).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::lse::check_work;
use super::{FORMAT_VERSION, Factored, Item, LayerCheck, Provenance, Trace, Traces, elements, limits};
use crate::attention::Shape;
use crate::buffer::{Memory, file_bytes};
use crate::output::write_aside;
use crate::tensor_file::TensorFile;
use crate::{Bias, Error, Kind, Layer, Mask, Numbers, Quantity, Recording, Scoring, Stored, Weights};

/// The key of the JSON in the safetensors header.
const KEY: &str = "attlas";
/// What errors call a recording that lies in no file.
const IN_MEMORY: &str = "recording in memory";

/// What every version of the format says first.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Metadata {
    version: u32,
    provenance: Provenance,
    /// Written for other readers; this one looks again.
    #[serde(skip_deserializing)]
    checks: Vec<LayerCheck>,
    items: Vec<Item>,
    layers: Vec<LayerMetadata>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LayerMetadata {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stack: Option<String>,
    index: usize,
    #[serde(default, skip_serializing_if = "is_weight")]
    quantity: Quantity,
    shape: Shape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    query_axis: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_axis: Option<String>,
    /// Of dense numbers; that of others is in their scoring.
    #[serde(default, skip_serializing_if = "is_zero")]
    query_offset: usize,
    /// Absent for dense numbers. A relative bias keeps its table in the tensor `….bias`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scoring: Option<Scoring>,
    /// The tensor that holds the mask; layers may share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mask: Option<String>,
    /// Whether there is a tensor `….key_bias`.
    #[serde(default, skip_serializing_if = "is_false")]
    key_bias: bool,
    /// What was kept beside the weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    traces: Vec<Trace>,
    /// How version 1 said that values were kept.
    #[serde(default, skip_serializing)]
    values: bool,
}

fn is_weight(quantity: &Quantity) -> bool {
    *quantity == Quantity::Weight
}

fn is_zero(offset: &usize) -> bool {
    *offset == 0
}

fn is_false(answer: &bool) -> bool {
    !answer
}

/// A tensor on its way to a file.
struct Tensor<'a> {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    data: Data<'a>,
}

/// The numbers of a tensor, which may still lie in another file.
enum Data<'a> {
    Numbers(&'a Numbers),
    Singles(&'a Stored<f32>),
    Doubles(&'a Stored<f64>),
    Bytes(Cow<'a, [u8]>),
}

impl Tensor<'_> {
    fn write_to(&self, file: &mut impl Write) -> std::io::Result<()> {
        match &self.data {
            Data::Numbers(numbers) => numbers.write_to(file),
            Data::Singles(numbers) => numbers.write_to(file),
            Data::Doubles(numbers) => numbers.write_to(file),
            Data::Bytes(bytes) => file.write_all(bytes),
        }
    }
}

impl Recording {
    /// Writes the recording to `path`, complete or not at all; what its [checks](Self::check) found is written, and returned.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it contradicts itself, [`Error::TooMany`] when it could not be read back,
    /// [`Error::Output`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<Vec<LayerCheck>, Error> {
        let checks = self.check()?;
        let (header, tensors) = self.to_write(&checks)?;
        write_aside(path, |file| write(file, &header, &tensors))?;
        Ok(checks)
    }

    /// The bytes that [`save`](Self::save) writes.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the recording contradicts itself, [`Error::TooMany`] when it could not be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let (header, tensors) = self.to_write(&self.check()?)?;
        let n_bytes = |tensor: &Tensor<'_>| tensor.shape.iter().product::<usize>() * n_bytes(tensor.dtype);
        let mut bytes = Vec::with_capacity(tensors.iter().map(n_bytes).sum());
        write(&mut bytes, &header, &tensors)
            .map_err(|error| error.downcast().unwrap_or_else(|error| Error::Inconsistent(error.to_string())))?;
        Ok(bytes)
    }

    /// Opens the recording at `path`; its arrays stay in the file until they are read.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::File`], naming file and field: no recording, a newer version, sizes that contradict.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        Recording::read(&TensorFile::open(path)?)
    }

    /// Opens the recording that [`to_bytes`](Self::to_bytes) made; its arrays stay in `memory`.
    ///
    /// # Errors
    /// [`Error::File`], as [`open`](Self::open).
    pub fn from_bytes(memory: Memory) -> Result<Recording, Error> {
        Recording::read(&TensorFile::over(memory, Path::new(IN_MEMORY))?)
    }

    fn read(file: &TensorFile) -> Result<Recording, Error> {
        let bad = |message: String| Error::File { path: file.path().to_path_buf(), message };
        let json = file.metadata().get(KEY).ok_or_else(|| Error::NoRecording { path: file.path().to_path_buf() })?;
        let unreadable = |error: serde_json::Error| bad(format!("the recording's metadata is damaged: {error}"));
        let Version { version } = serde_json::from_str(json).map_err(unreadable)?;
        if version > FORMAT_VERSION {
            return Err(bad(format!(
                "the recording has format version {version}, newer than the {FORMAT_VERSION} that this attlas reads; \
                 a newer attlas opens it"
            )));
        }
        if version == 0 {
            return Err(bad("the recording has format version 0; the first is 1".into()));
        }
        let metadata: Metadata = serde_json::from_str(json).map_err(unreadable)?;
        check_claims(file, &metadata.layers).map_err(bad)?;
        let n_items = metadata.items.len();
        let mut masks = BTreeMap::new();
        let (mut layers, mut without_lse) = (Vec::with_capacity(metadata.layers.len()), Vec::new());
        for layer in metadata.layers {
            let (layer, has_lse) = layer.read(file, n_items, &mut masks)?;
            if !has_lse {
                without_lse.push(layers.len());
            }
            layers.push(layer);
        }
        let mut recording = Recording { items: metadata.items, layers, provenance: metadata.provenance };
        recording.validate().map_err(|error| match error {
            Error::TooMany { what, n, things, limit } => {
                Error::TooMany { what: format!("{}: {what}", file.path().display()), n, things, limit }
            }
            other => bad(other.to_string()),
        })?;
        recording.compute_missing(&without_lse, file.path())?;
        Ok(recording)
    }

    /// Computes the log-sum-exps of the layers whose writer left them out.
    fn compute_missing(&mut self, positions: &[usize], path: &Path) -> Result<(), Error> {
        let work = positions.iter().map(|position| self.layers[*position].work(self.items.len()));
        check_work(work.fold(0, u64::saturating_add))
            .map_err(|message| Error::File { path: path.to_path_buf(), message })?;
        positions.iter().try_for_each(|position| self.layers[*position].compute_lse(&self.items, |_| true))
    }

    /// The header and the tensors of the recording's file; large numbers first, so that all are aligned.
    fn to_write(&self, checks: &[LayerCheck]) -> Result<(Vec<u8>, Vec<Tensor<'_>>), Error> {
        let mut masks = BTreeMap::new();
        let mut tensors = Vec::new();
        let mut layers = Vec::with_capacity(self.layers.len());
        for layer in &self.layers {
            let mask = layer.factored().and_then(|factored| factored.mask.as_ref()).map(|mask| {
                let name = || layer.tensor_name("visible");
                masks.entry(mask.identity()).or_insert_with(name).clone() // layers that share a mask share its tensor
            });
            layer.tensors(self.items.len(), mask.as_deref(), &mut tensors);
            layers.push(LayerMetadata::of(layer, mask));
        }
        tensors.sort_by_key(|tensor| std::cmp::Reverse(n_bytes(tensor.dtype)));
        let (provenance, items) = (self.provenance.clone(), self.items.clone());
        let metadata = Metadata { version: FORMAT_VERSION, provenance, checks: checks.to_vec(), items, layers };
        let json = serde_json::to_string(&metadata).map_err(|error| Error::Inconsistent(error.to_string()))?;
        let names = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.dtype, tensor.shape.as_slice()));
        Ok((safetensors_header(names, (KEY, &json))?, tensors))
    }
}

/// Refuses tensors that would change a layer's weights but that no layer says it has: a writer forgot to.
fn check_claims(file: &TensorFile, layers: &[LayerMetadata]) -> Result<(), String> {
    let masks: BTreeSet<&str> = layers.iter().filter_map(|layer| layer.mask.as_deref()).collect();
    for layer in layers {
        let has_table = matches!(layer.scoring, Some(Scoring { bias: Bias::Relative { .. }, .. }));
        let claims = [
            ("visible", "mask", masks.contains(layer.name("visible").as_str())),
            ("key_bias", "key_bias", layer.key_bias),
            ("bias", "scoring.bias", has_table),
        ];
        for (what, field, _) in claims.into_iter().filter(|(.., is_claimed)| !is_claimed) {
            let name = layer.name(what);
            if file.tensors().contains_key(&name) {
                return Err(format!("tensor \"{name}\" is there, but the field {field} of its layer does not say so"));
            }
        }
    }
    Ok(())
}

fn write(file: &mut impl Write, header: &[u8], tensors: &[Tensor<'_>]) -> std::io::Result<()> {
    file.write_all(header)?;
    tensors.iter().try_for_each(|tensor| tensor.write_to(file))
}

/// The head of a safetensors file of tensors that follow in the order given.
///
/// # Errors
/// [`Error::TooMany`] when it is longer than what readers take.
pub(crate) fn safetensors_header<'a>(
    tensors: impl IntoIterator<Item = (&'a str, &'a str, &'a [usize])>,
    metadata: (&str, &str),
) -> Result<Vec<u8>, Error> {
    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), json!({ metadata.0: metadata.1 }));
    let mut offset = 0;
    for (name, dtype, shape) in tensors {
        let end = offset + shape.iter().product::<usize>() * n_bytes(dtype);
        header.insert(
            name.into(),
            json!({ "dtype": dtype.to_uppercase(), "shape": shape, "data_offsets": [offset, end] }),
        );
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' '); // tensors start aligned
    let things = "bytes of tokens, notes and names of arrays in the header of its file";
    limits::at_most(limits::MAX_HEADER, things, header.len(), "the recording")?;
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice()].concat())
}

/// How many bytes one number of the type `dtype` takes; 1 for `u8`.
fn n_bytes(dtype: &str) -> usize {
    match dtype {
        "f64" => 8,
        "f32" | "u32" => 4,
        "f16" | "bf16" => 2,
        _ => 1,
    }
}

/// Writes numbers as little-endian bytes.
pub(crate) fn write_f32(file: &mut impl Write, numbers: &[f32]) -> std::io::Result<()> {
    file.write_all(&file_bytes(numbers))
}

impl Layer {
    /// The name of one of the layer's tensors: `encoder.3.queries`, `vision/encoder.3.queries`.
    fn tensor_name(&self, what: &str) -> String {
        tensor_name(self.stack.as_deref(), self.kind, self.index, what)
    }

    /// Appends the layer's arrays, named and shaped for the file; a mask that other layers share is there once.
    fn tensors<'a>(&'a self, n_items: usize, mask: Option<&str>, tensors: &mut Vec<Tensor<'a>>) {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = self.shape;
        let mut push = |name: String, dtype: &'static str, shape: Vec<usize>, data: Data<'a>| {
            tensors.push(Tensor { name, dtype, shape, data });
        };
        match &self.weights {
            Weights::Dense(dense) => {
                let name = self.tensor_name(dense_name(self.quantity));
                push(name, "f32", vec![n_items, n_heads, n_queries, n_keys], Data::Singles(dense));
            }
            Weights::Factored(factored) => {
                let Factored { scoring, queries, keys, lse, key_bias, .. } = &**factored;
                let name = |what: &str| self.tensor_name(what);
                let (of_queries, of_keys) =
                    ([n_items, n_heads, n_queries, d_head], [n_items, n_kv_heads, n_keys, d_head]);
                push(name("queries"), queries.dtype(), of_queries.to_vec(), Data::Numbers(queries));
                push(name("keys"), keys.dtype(), of_keys.to_vec(), Data::Numbers(keys));
                push(name("lse"), "f64", vec![n_items, n_heads, n_queries], Data::Doubles(lse));
                if let Bias::Relative { table, n_offsets, .. } = &scoring.bias {
                    push(name("bias"), "f32", vec![n_heads, *n_offsets], Data::Bytes(file_bytes(table)));
                }
                if let Some(bias) = key_bias {
                    let n_items = bias.len() / (n_heads * n_keys); // as many as the batch, or 1
                    push(name("key_bias"), "f32", vec![n_items, n_heads, n_keys], Data::Bytes(file_bytes(bias)));
                }
                if let Some(shared) = &factored.mask
                    && mask == Some(name("visible").as_str())
                {
                    let (dtype, shape, bytes) = mask_tensor(shared, &self.shape);
                    push(name("visible"), dtype, shape, Data::Bytes(bytes));
                }
            }
        }
        for (trace, numbers) in self.traces.iter() {
            let width = numbers.len() / (n_items * n_queries);
            let shape = trace.shape(n_items, &self.shape, width);
            push(self.tensor_name(trace.name()), numbers.dtype(), shape, Data::Numbers(numbers));
        }
    }
}

fn tensor_name(stack: Option<&str>, kind: Kind, index: usize, what: &str) -> String {
    match stack {
        Some(stack) => format!("{stack}/{kind}.{index}.{what}"),
        None => format!("{kind}.{index}.{what}"),
    }
}

/// What the tensor of a dense layer is called.
fn dense_name(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Weight => "weights",
        quantity => quantity.name(),
    }
}

fn mask_tensor<'a>(mask: &'a Mask, shape: &Shape) -> (&'static str, Vec<usize>, Cow<'a, [u8]>) {
    match mask {
        Mask::Stretches { n_items, n_stretches, keys } => {
            ("u32", vec![*n_items, shape.n_queries, *n_stretches, 2], file_bytes(keys))
        }
        Mask::Bits { n_items, n_heads, bits } => {
            ("u8", vec![*n_items, *n_heads, shape.n_queries, shape.n_keys.div_ceil(8)], file_bytes(bits))
        }
    }
}

impl LayerMetadata {
    fn of(layer: &Layer, mask: Option<String>) -> LayerMetadata {
        let mut scoring = layer.factored().map(|factored| factored.scoring.clone());
        if let Some(Bias::Relative { table, .. }) = scoring.as_mut().map(|scoring| &mut scoring.bias) {
            table.clear(); // stands in its own tensor
        }
        LayerMetadata {
            kind: layer.kind,
            stack: layer.stack.clone(),
            index: layer.index,
            quantity: layer.quantity,
            shape: layer.shape,
            query_axis: layer.query_axis.clone(),
            key_axis: layer.key_axis.clone(),
            query_offset: layer.query_offset,
            scoring,
            mask,
            key_bias: layer.factored().is_some_and(|factored| factored.key_bias.is_some()),
            traces: layer.traces.iter().map(|(trace, _)| trace).collect(),
            values: false,
        }
    }

    /// The layer with its arrays, which stay in the file, and whether its log-sum-exps are there: else they are 0.
    fn read(
        self,
        file: &TensorFile,
        n_items: usize,
        masks: &mut BTreeMap<String, Mask>,
    ) -> Result<(Layer, bool), Error> {
        let Shape { n_heads, n_queries, n_keys, .. } = self.shape;
        let traces = self.traces(file, n_items)?;
        let mut has_lse = true;
        let weights = match self.scoring.clone() {
            None => {
                let shape = [n_items, n_heads, n_queries, n_keys];
                Weights::Dense(file.stored(&self.name(dense_name(self.quantity)), &shape)?)
            }
            Some(scoring) => {
                let (factored, lse_is_there) = self.read_factored(scoring, file, n_items, masks)?;
                has_lse = lse_is_there;
                factored.into()
            }
        };
        let layer = Layer {
            kind: self.kind,
            stack: self.stack,
            index: self.index,
            quantity: self.quantity,
            shape: self.shape,
            query_axis: self.query_axis,
            key_axis: self.key_axis,
            query_offset: self.query_offset,
            weights,
            traces,
        };
        Ok((layer, has_lse))
    }

    fn name(&self, what: &str) -> String {
        tensor_name(self.stack.as_deref(), self.kind, self.index, what)
    }

    fn read_factored(
        &self,
        mut scoring: Scoring,
        file: &TensorFile,
        n_items: usize,
        masks: &mut BTreeMap<String, Mask>,
    ) -> Result<(Factored, bool), Error> {
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = self.shape;
        let queries = file.numbers(&self.name("queries"), &[n_items, n_heads, n_queries, d_head])?;
        let keys = file.numbers(&self.name("keys"), &[n_items, n_kv_heads, n_keys, d_head])?;
        let lse = self.read_lse(file, n_items)?;
        let has_lse = lse.is_some();
        let n_rows = elements(&[n_items, n_heads, n_queries]).filter(|n| *n <= queries.len()).unwrap_or(0);
        if let Bias::Relative { table, n_offsets, .. } = &mut scoring.bias {
            *table = file.buffer(&self.name("bias"), &[n_heads, *n_offsets])?.to_vec();
        }
        let key_bias = match self.key_bias {
            true => {
                let name = self.name("key_bias");
                let shared = file.info(&name)?.shape == [1, n_heads, n_keys];
                Some(file.buffer(&name, &[if shared { 1 } else { n_items }, n_heads, n_keys])?)
            }
            false => None,
        };
        let mask = match &self.mask {
            Some(name) if masks.contains_key(name) => masks.get(name).cloned(),
            Some(name) => Some(masks.entry(name.clone()).or_insert(self.read_mask(file, name)?).clone()),
            None => None,
        };
        let lse = lse.unwrap_or_else(|| vec![0.0; n_rows].into());
        Ok((Factored { scoring, queries, keys, lse, mask, key_bias }, has_lse))
    }

    /// The log-sum-exps, in 64 bits or in version 1's 32; `None` where the writer left them out.
    fn read_lse(&self, file: &TensorFile, n_items: usize) -> Result<Option<Stored<f64>>, Error> {
        let shape = [n_items, self.shape.n_heads, self.shape.n_queries];
        let name = self.name("lse");
        let Some(entry) = file.tensors().get(&name) else { return Ok(None) };
        if entry.dtype != "f32" {
            return file.stored(&name, &shape).map(Some);
        }
        let narrow = file.buffer::<f32>(&name, &shape)?;
        Ok(Some(narrow.iter().map(|lse| f64::from(*lse)).collect::<Vec<f64>>().into()))
    }

    /// The mask in the tensor `name`, whose type says which form it has.
    fn read_mask(&self, file: &TensorFile, name: &str) -> Result<Mask, Error> {
        let entry = file.info(name)?;
        let Shape { n_queries, n_keys, .. } = self.shape;
        let n_bytes = n_keys.div_ceil(8);
        match (entry.dtype, entry.shape.as_slice()) {
            ("u32", &[n_items, n, n_stretches, 2]) if n == n_queries => {
                Ok(Mask::Stretches { n_items, n_stretches, keys: file.buffer(name, &entry.shape)? })
            }
            ("u8", &[n_items, n_heads, n, bytes]) if (n, bytes) == (n_queries, n_bytes) => {
                Ok(Mask::Bits { n_items, n_heads, bits: file.buffer(name, &entry.shape)? })
            }
            (dtype, shape) => Err(Error::File {
                path: file.path().to_path_buf(),
                message: format!(
                    "the mask \"{name}\" of {} layer {} is {dtype} {shape:?}, but u32 [texts, {n_queries}, stretches, 2] \
                     or u8 [texts, heads, {n_queries}, {n_bytes}] was expected",
                    self.kind, self.index
                ),
            }),
        }
    }

    fn traces(&self, file: &TensorFile, n_items: usize) -> Result<Traces, Error> {
        let of_version_1 = self.values.then_some(Trace::Values);
        let read = |trace: Trace| {
            let name = self.name(trace.name());
            let width = file.info(&name)?.shape.last().copied().unwrap_or(0);
            Ok((trace, file.numbers(&name, &trace.shape(n_items, &self.shape, width))?))
        };
        self.traces.iter().copied().chain(of_version_1).map(read).collect()
    }
}
