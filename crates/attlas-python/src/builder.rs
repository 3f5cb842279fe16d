//! Makes a recording of what a capture found: queries, keys and rules from Python, log-sum-exps from the kernel.

use std::collections::BTreeMap;

use attlas::attention::Shape;
use attlas::{Buffer, Element, Factored, Kind, Layer, Mask, Numbers, Scoring, Trace, Writer};
use attlas::{Error, Provenance};
use half::{bf16, f16};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::array::Array;
use crate::errors::{Class, Raise, exception};
use crate::recording::Recording;
use crate::threads::compute;

/// What a layer is, in the words of docs/format.md.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    kind: Kind,
    index: usize,
    stack: Option<String>,
    query_axis: Option<String>,
    key_axis: Option<String>,
    query_offset: usize,
    shape: Shape,
    scoring: Option<Scoring>,
}

/// An array of Python: its number format (`f32`, `f16`, `bf16`) and its bytes in this machine's order.
type Given<'py> = (String, PyReadonlyArray1<'py, u8>);

/// A recording in the making: its texts first, then masks and layers, then where it comes from.
#[pyclass(module = "attlas._attlas")]
pub struct Builder {
    inner: attlas::Recording,
    masks: Vec<Mask>,
}

#[pymethods]
impl Builder {
    /// Begins with the texts, as JSON of docs/format.md.
    #[new]
    fn new(items: &str) -> PyResult<Builder> {
        let provenance = Provenance { writer: Writer::attlas(), ..Provenance::default() };
        let inner = attlas::Recording { items: parsed("items", items)?, layers: Vec::new(), provenance };
        Ok(Builder { inner, masks: Vec::new() })
    }

    /// Takes a mask and returns its number: `stretches` of sizes `[n_items, n_stretches]`, u32, or `bits` of sizes
    /// `[n_items, n_heads]`.
    fn mask(&mut self, form: &str, sizes: [usize; 2], bytes: PyReadonlyArray1<'_, u8>) -> PyResult<usize> {
        let bytes = slice(&bytes)?;
        let [n_items, n] = sizes;
        self.masks.push(match form {
            "stretches" => Mask::Stretches { n_items, n_stretches: n, keys: numbers(bytes)? },
            _ => Mask::Bits { n_items, n_heads: n, bits: numbers(bytes)? },
        });
        Ok(self.masks.len() - 1)
    }

    /// Takes a layer: what it is as JSON, its arrays by name (`queries`, `keys`, `key_bias` and `values`, or `weights` alone),
    /// the number of its mask.
    fn add(
        &mut self,
        py: Python<'_>,
        about: &str,
        arrays: BTreeMap<String, Given<'_>>,
        mask: Option<usize>,
    ) -> PyResult<()> {
        let About { kind, index, stack, query_axis, key_axis, query_offset, shape, scoring } = parsed("a layer", about)?;
        let missing = |name: &str| exception(Class::Format, format!("a layer has no {name}"));
        let array = |name: &str| arrays.get(name).ok_or_else(|| missing(name));
        let mut layer = match (arrays.get("weights"), scoring) {
            (Some((_, weights)), _) => Layer::new(kind, index, shape, numbers::<f32>(slice(weights)?)?),
            (None, None) => return Err(missing("weights and no rule of its scores")),
            (None, Some(scoring)) => {
                let queries = read(array("queries")?)?;
                let keys = read(array("keys")?)?;
                let key_bias = arrays.get("key_bias").map(|(_, bias)| numbers(slice(bias)?)).transpose()?;
                let mask = mask.and_then(|mask| self.masks.get(mask)).cloned();
                let n_rows = self.inner.items.len().saturating_mul(shape.n_heads).saturating_mul(shape.n_queries);
                let lse = vec![0.0; n_rows.min(queries.len())].into(); // [batch, n_heads, n_queries]
                Layer::new(kind, index, shape, Factored { scoring, queries, keys, lse, mask, key_bias })
            }
        };
        (layer.stack, layer.query_axis, layer.key_axis, layer.query_offset) = (stack, query_axis, key_axis, query_offset);
        if let Some(values) = arrays.get("values") {
            layer.traces.insert(Trace::Values, read(values)?);
        }
        compute(py, || layer.stream_lse(&self.inner.items))?.or_raise()?;
        self.inner.layers.push(layer);
        Ok(())
    }

    /// Weights · values `[batch, n_kv_heads, n_keys, d_value]` of some `rows` of a finished layer. Shape `[batch, rows, n_heads, d_value]`.
    fn contexts(&self, py: Python<'_>, layer: usize, rows: Vec<usize>, values: Given<'_>, d_value: usize) -> PyResult<Array> {
        let values = read(&values)?;
        let n_layers = self.inner.layers.len();
        let absent = || exception(Class::Missing, format!("there is no layer at place {layer} of {n_layers}"));
        let layer = self.inner.layers.get(layer).ok_or_else(absent)?;
        let s = layer.shape;
        let n_maps = self.inner.items.len() * s.n_heads;
        let of_map = |map: usize| self.contexts_of(layer, (map / s.n_heads, map % s.n_heads), &rows, &values, d_value);
        let found = compute(py, || (0..n_maps).into_par_iter().map(of_map).collect::<Result<Vec<_>, Error>>())?;
        let found = found.or_raise()?;
        let mut all = Vec::with_capacity(n_maps * rows.len() * d_value);
        for heads in found.chunks(s.n_heads) {
            for row in 0..rows.len() {
                heads.iter().for_each(|head| all.extend_from_slice(&head[row * d_value..][..d_value]));
            }
        }
        Ok(Array::f32([self.inner.items.len(), rows.len(), s.n_heads, d_value], all))
    }

    /// The recording, with where it comes from as JSON of docs/format.md.
    fn finish(&mut self, py: Python<'_>, provenance: &str) -> PyResult<Recording> {
        self.inner.provenance = parsed("provenance", provenance)?;
        let empty = attlas::Recording { items: Vec::new(), layers: Vec::new(), provenance: Provenance::default() };
        let mut finished = std::mem::replace(&mut self.inner, empty);
        finished.layers.sort_by_key(|layer| (layer.kind, layer.stack.clone(), layer.index));
        compute(py, || finished.validate())?.or_raise()?;
        Ok(Recording::new(finished))
    }
}

impl Builder {
    /// Shape `[rows.len(), d_value]`, of one head of one text.
    fn contexts_of(
        &self,
        layer: &Layer,
        (item, head): (usize, usize),
        rows: &[usize],
        values: &Numbers,
        d_value: usize,
    ) -> Result<Vec<f32>, Error> {
        let s = layer.shape;
        let n_kv_heads = (values.len() / (self.inner.items.len() * s.n_keys * d_value).max(1)).max(1);
        let first = (item * n_kv_heads + head / (s.n_heads / n_kv_heads).max(1)) * s.n_keys * d_value;
        let values = values.read(first..first + s.n_keys * d_value)?; // [n_keys, d_value]
        let map = self.inner.map_of(layer, item, head)?;
        let mut contexts = Vec::with_capacity(rows.len() * d_value);
        for row in rows.iter().filter(|row| **row < s.n_queries) {
            let mut sums = vec![0.0_f64; d_value];
            let weights = map.row(*row);
            for (weight, value) in weights.iter().zip(values.chunks_exact(d_value.max(1))).filter(|(w, _)| **w != 0.0) {
                sums.iter_mut().zip(value).for_each(|(sum, value)| *sum += f64::from(*weight) * f64::from(*value));
            }
            contexts.extend(sums.into_iter().map(|sum| sum as f32));
        }
        Ok(contexts)
    }
}

/// JSON of the package's own making.
fn parsed<T: DeserializeOwned>(what: &str, text: &str) -> PyResult<T> {
    serde_json::from_str(text).map_err(|error| exception(Class::Format, format!("{what}: {error}")))
}

fn slice<'a>(bytes: &'a PyReadonlyArray1<'_, u8>) -> PyResult<&'a [u8]> {
    bytes.as_slice().map_err(|_| exception(Class::Format, "the bytes of an array do not lie side by side in memory"))
}

/// A copy of numbers that another owns.
fn numbers<T: Element>(bytes: &[u8]) -> PyResult<Buffer<T>> {
    let memory: attlas::Memory = std::sync::Arc::new(bytes.to_vec());
    let whole = Buffer::over(&memory, 0..bytes.len());
    whole.ok_or_else(|| exception(Class::Format, format!("{} bytes are no whole numbers", bytes.len())))
}

fn read((format, bytes): &Given<'_>) -> PyResult<Numbers> {
    let bytes = slice(bytes)?;
    Ok(match format.as_str() {
        "f16" => Numbers::F16(numbers::<f16>(bytes)?.into()),
        "bf16" => Numbers::Bf16(numbers::<bf16>(bytes)?.into()),
        _ => Numbers::F32(numbers::<f32>(bytes)?.into()),
    })
}
