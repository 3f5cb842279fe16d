//! Makes a recording of what a capture found: queries, keys and rules from Python, log-sum-exps from the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    inner: Arc<attlas::Recording>,
    masks: Vec<Mask>,
}

#[pymethods]
impl Builder {
    /// Begins with the texts, as JSON of docs/format.md.
    #[new]
    fn new(items: &str) -> PyResult<Builder> {
        let provenance = Provenance { writer: Writer::attlas(), ..Provenance::default() };
        let inner = attlas::Recording { items: parsed("items", items)?, layers: Vec::new(), provenance };
        Ok(Builder { inner: Arc::new(inner), masks: Vec::new() })
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
        let About { kind, index, stack, query_axis, key_axis, query_offset, shape, scoring } =
            parsed("a layer", about)?;
        let missing = |name: &str| exception(Class::Format, format!("a layer has no {name}"));
        let array = |name: &str| arrays.get(name).ok_or_else(|| missing(name));
        let mut layer = match (arrays.get("weights"), scoring) {
            (Some((_, weights)), _) => Layer::new(kind, index, shape, numbers::<f32>(slice(weights)?)?),
            (None, None) => return Err(missing("weights and no rule of its scores")),
            (None, Some(scoring)) => {
                let queries = read(array("queries")?)?;
                let keys = read(array("keys")?)?;
                let key_bias = arrays.get("key_bias").map(|(_, bias)| numbers(slice(bias)?)).transpose()?;
                let mask =
                    mask.map(|number| self.masks.get(number).ok_or_else(|| missing("mask of its number")).cloned());
                let mask = mask.transpose()?;
                let n_rows = self.inner.items.len().saturating_mul(shape.n_heads).saturating_mul(shape.n_queries);
                let lse = vec![0.0; n_rows.min(queries.len())].into(); // [batch, n_heads, n_queries]
                Layer::new(kind, index, shape, Factored { scoring, queries, keys, lse, mask, key_bias })
            }
        };
        (layer.stack, layer.query_axis, layer.key_axis, layer.query_offset) =
            (stack, query_axis, key_axis, query_offset);
        if let Some(values) = arrays.get("values") {
            layer.traces.insert(Trace::Values, read(values)?);
        }
        let recording = Arc::clone(&self.inner);
        let layer = compute(py, move || layer.stream_lse(&recording.items).map(|()| layer))?.or_raise()?;
        Arc::make_mut(&mut self.inner).layers.push(layer);
        Ok(())
    }

    /// Some `rows` of every map of a finished layer. Shape `[batch, n_heads, rows, n_keys]`.
    fn rows(&self, py: Python<'_>, layer: usize, rows: Vec<usize>) -> PyResult<Array> {
        let n_layers = self.inner.layers.len();
        let absent = || exception(Class::Missing, format!("there is no layer at place {layer} of {n_layers}"));
        let shape = self.inner.layers.get(layer).ok_or_else(absent)?.shape;
        let (n_items, n_heads, n_rows) = (self.inner.items.len(), shape.n_heads, rows.len());
        if let Some(row) = rows.iter().find(|row| **row >= shape.n_queries) {
            return Err(exception(Class::Missing, format!("there is no row {row}; there are {}", shape.n_queries)));
        }
        let recording = Arc::clone(&self.inner);
        let weights = compute(py, move || {
            let of_map = |map: usize| {
                let map = recording.map_of(&recording.layers[layer], map / n_heads, map % n_heads)?;
                Ok(rows.iter().flat_map(|row| map.row(*row)).collect::<Vec<f32>>())
            };
            (0..n_items * n_heads).into_par_iter().map(of_map).collect::<Result<Vec<_>, Error>>()
        })?;
        let weights = weights.or_raise()?.concat();
        Ok(Array::f32([n_items, n_heads, n_rows, shape.n_keys], weights))
    }

    /// The recording, with where it comes from as JSON of docs/format.md.
    fn finish(&self, py: Python<'_>, provenance: &str) -> PyResult<Recording> {
        let mut finished = self.inner.as_ref().clone();
        finished.provenance = parsed("provenance", provenance)?;
        finished.layers.sort_by_key(|layer| (layer.kind, layer.stack.clone(), layer.index));
        let finished = compute(py, move || finished.validate().map(|()| finished))?.or_raise()?;
        Ok(Recording::new(finished))
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
    let memory: attlas::Memory = Arc::new(bytes.to_vec());
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
