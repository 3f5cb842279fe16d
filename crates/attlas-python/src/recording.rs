//! Recordings: opened, saved, asked for what they hold.

use std::path::PathBuf;
use std::sync::Arc;

use attlas::analysis::{HeadSums, Standout, measure, measure_all, score_rows, standouts};
use attlas::recording::Trace;
use attlas::view::pictures::Shows;
use attlas::{Layer, Weights};
use attlas_model::explain::quantities::{Quantities, Shown};
use attlas_viewer::PageOptions;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};
use sha2::{Digest, Sha256};

use crate::array::Array;
use crate::errors::{Class, Raise, exception};
use crate::figure::{Figure, StyleKeys, ViewKeys};
use crate::map::Map;
use crate::threads::{compute, finish};

/// A recording.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Recording {
    pub inner: Arc<attlas::Recording>,
}

impl Recording {
    pub fn new(recording: attlas::Recording) -> Recording {
        Recording { inner: Arc::new(recording) }
    }

    /// Every head measured, on one text or on all together.
    fn measured(&self, py: Python<'_>, item: Option<usize>) -> PyResult<Vec<HeadSums>> {
        let recording = Arc::clone(&self.inner);
        let measured = compute(py, move || match item {
            Some(item) => measure(&recording, item),
            None => measure_all(&recording),
        })?;
        measured.or_raise()
    }

    /// The layer at this place of the recording.
    fn layer(&self, place: usize) -> PyResult<&Layer> {
        let n_layers = self.inner.layers.len();
        self.inner
            .layers
            .get(place)
            .ok_or_else(|| exception(Class::Missing, format!("there is no layer at place {place} of {n_layers}")))
    }
}

/// What a layer is: kind, stack, index, quantity, whether it is kept as queries and keys, and heads, heads of keys, queries,
/// keys, width of a head, width of a value.
type LayerFacts = (&'static str, Option<String>, usize, &'static str, bool, [usize; 6]);

#[pymethods]
impl Recording {
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf) -> PyResult<Recording> {
        Ok(Recording::new(compute(py, move || attlas::Recording::open(&path))?.or_raise()?))
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: PyBackedBytes) -> PyResult<Recording> {
        Ok(Recording::new(compute(py, move || attlas::Recording::from_bytes(Arc::new(bytes)))?.or_raise()?))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let recording = Arc::clone(&self.inner);
        let bytes = compute(py, move || recording.to_bytes())?.or_raise()?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Saves the recording and says what of it fails its checks.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<Option<String>> {
        let checks = finish(py, || self.inner.save(&path))?.or_raise()?;
        Ok(attlas::recording::complaint(&checks))
    }

    /// SHA-256 of the bytes that `save` writes.
    fn digest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let recording = Arc::clone(&self.inner);
        let digest = compute(py, move || recording.to_bytes().map(Sha256::digest))?.or_raise()?;
        Ok(PyBytes::new(py, &digest))
    }

    #[getter]
    fn n_items(&self) -> usize {
        self.inner.items.len()
    }

    /// A text of the batch as JSON, as files have it.
    fn item(&self, item: usize) -> PyResult<String> {
        let n_items = self.inner.items.len();
        let tokens = self.inner.items.get(item).ok_or(attlas::Error::NoItem { item, n_items }).or_raise()?;
        json(tokens)
    }

    /// The provenance as JSON, as files have it.
    fn provenance(&self) -> PyResult<String> {
        json(&self.inner.provenance)
    }

    fn layers(&self) -> Vec<LayerFacts> {
        let facts = |layer: &Layer| -> LayerFacts {
            let s = layer.shape;
            let sizes = [s.n_heads, s.n_kv_heads, s.n_queries, s.n_keys, s.d_head, s.d_value];
            let is_factored = layer.factored().is_some();
            (layer.kind.name(), layer.stack.clone(), layer.index, layer.quantity.name(), is_factored, sizes)
        };
        self.inner.layers.iter().map(facts).collect()
    }

    /// The place of the layer of attention weights of this kind and index.
    fn place(&self, kind: &str, index: usize) -> PyResult<usize> {
        let kind = kind.parse().map_err(|sentence: String| exception(Class::Missing, sentence))?;
        let layer = self.inner.layer(kind, index).or_raise()?;
        let place = self.inner.layers.iter().position(|other| std::ptr::eq(other, layer));
        place.ok_or_else(|| exception(Class::Missing, format!("there is no {kind} layer {index}")))
    }

    /// Queries, keys, log-sum-exps (`lse`), dense weights (`weights`) or a trace of the layer at `place`.
    fn array(&self, py: Python<'_>, place: usize, name: &str) -> PyResult<Array> {
        let layer = self.layer(place)?;
        let n_items = self.inner.items.len();
        let s = layer.shape;
        let found = finish(py, || -> Result<Option<Array>, attlas::Error> {
            Ok(Some(match (&layer.weights, name) {
                (Weights::Factored(factored), "queries") => {
                    Array::of([n_items, s.n_heads, s.n_queries, s.d_head], &factored.queries)?
                }
                (Weights::Factored(factored), "keys") => {
                    Array::of([n_items, s.n_kv_heads, s.n_keys, s.d_head], &factored.keys)?
                }
                (Weights::Factored(factored), "lse") => {
                    Array::f64([n_items, s.n_heads, s.n_queries], factored.lse.load()?)
                }
                (Weights::Dense(weights), "weights") => {
                    Array::f32([n_items, s.n_heads, s.n_queries, s.n_keys], weights.load()?)
                }
                (_, name) => {
                    let named = |trace: &Trace| trace.name() == name;
                    let Some((trace, numbers)) = layer.traces.iter().find(|(trace, _)| named(trace)) else {
                        return Ok(None);
                    };
                    let width = numbers.len() / trace.shape(n_items, &s, 1).iter().product::<usize>().max(1);
                    Array::of(trace.shape(n_items, &s, width), numbers)?
                }
            }))
        })?
        .or_raise()?;
        found.ok_or_else(|| {
            let form = match layer.factored() {
                Some(_) => "queries, keys and lse",
                None => "dense weights",
            };
            let traces: String = layer.traces.iter().map(|(trace, _)| format!(", {}", trace.name())).collect();
            exception(Class::Missing, format!("{layer} has no {name}; it was recorded as {form}{traces}"))
        })
    }

    /// The map of a head of the layer at `place`; the mean of its heads without one.
    #[pyo3(signature = (place, head, item))]
    fn map(&self, place: usize, head: Option<usize>, item: usize) -> PyResult<Map> {
        self.layer(place)?;
        Map::new(Arc::clone(&self.inner), place, head, item)
    }

    /// The recording with maps of a quantity beside its weights: as it is where it has them, else with those that weights alone give; and
    /// what a reader should be told.
    fn with_quantity(&self, py: Python<'_>, name: &str) -> PyResult<(Recording, Vec<String>)> {
        let shown: Shown = name.parse().map_err(|sentence: String| exception(Class::Missing, sentence))?;
        let recording = Arc::clone(&self.inner);
        let made = compute(py, move || {
            let asked = Quantities { shown: vec![shown], ..Quantities::default() };
            let mut recording = recording.as_ref().clone();
            let remarks = asked.add_to_opened(&mut recording)?;
            Ok::<_, attlas_model::Error>((recording, remarks))
        })?;
        let (recording, remarks) = made.or_raise()?;
        Ok((Recording::new(recording), remarks))
    }

    /// The map of a head of a quantity, or of all heads of a layer.
    fn map_of(&self, quantity: &str, kind: &str, layer: usize, head: Option<usize>, item: usize) -> PyResult<Map> {
        let missing = |sentence: String| exception(Class::Missing, sentence);
        let shown: Shown = quantity.parse().map_err(missing)?;
        Map::of_quantity(Arc::clone(&self.inner), shown, kind.parse().map_err(missing)?, layer, head, item)
    }

    /// What was found when the numbers were looked at: a dict of JSON for each layer, and what is wrong with it.
    fn checks(&self, py: Python<'_>) -> PyResult<Vec<(String, Option<String>)>> {
        let recording = Arc::clone(&self.inner);
        let checks = compute(py, move || recording.check())?.or_raise()?;
        checks.iter().map(|check| Ok((json(check)?, check.problem()))).collect()
    }

    /// What every head scores under every measure, of one text or of all together: columns by name.
    fn heads<'py>(&self, py: Python<'py>, item: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
        let rows = score_rows(&self.measured(py, item)?);
        let columns = PyDict::new(py);
        columns.set_item("kind", rows.iter().map(|row| row.kind.name()).collect::<Vec<_>>())?;
        columns.set_item("layer", rows.iter().map(|row| row.layer).collect::<Vec<_>>())?;
        columns.set_item("head", rows.iter().map(|row| row.head).collect::<Vec<_>>())?;
        columns.set_item("measure", rows.iter().map(|row| row.measure.as_str()).collect::<Vec<_>>())?;
        columns.set_item("variant", rows.iter().map(|row| row.variant.as_deref()).collect::<Vec<_>>())?;
        columns.set_item("score", rows.iter().map(|row| row.score).collect::<Vec<_>>())?;
        columns.set_item("baseline", rows.iter().map(|row| row.baseline).collect::<Vec<_>>())?;
        columns.set_item("low", rows.iter().map(|row| row.low).collect::<Vec<_>>())?;
        columns.set_item("high", rows.iter().map(|row| row.high).collect::<Vec<_>>())?;
        columns.set_item("n_rows", rows.iter().map(|row| row.n_rows).collect::<Vec<_>>())?;
        columns.set_item("threshold", rows.iter().map(|row| row.threshold).collect::<Vec<_>>())?;
        columns.set_item("named", rows.iter().map(|row| row.named).collect::<Vec<_>>())?;
        columns.set_item("absent", rows.iter().map(|row| row.absent.as_deref()).collect::<Vec<_>>())?;
        Ok(columns)
    }

    /// What stands out, of one text or of all together: columns by name.
    fn standouts<'py>(&self, py: Python<'py>, item: Option<usize>) -> PyResult<Bound<'py, PyDict>> {
        let rows = standouts(&self.measured(py, item)?);
        let columns = PyDict::new(py);
        columns.set_item("kind", rows.iter().map(|row| row.kind.name()).collect::<Vec<_>>())?;
        columns.set_item("layer", rows.iter().map(|row| row.head.layer).collect::<Vec<_>>())?;
        columns.set_item("head", rows.iter().map(|row| row.head.head).collect::<Vec<_>>())?;
        columns.set_item("measure", rows.iter().map(|row| row.measure.name).collect::<Vec<_>>())?;
        columns.set_item("title", rows.iter().map(Standout::title).collect::<Vec<_>>())?;
        columns.set_item("score", rows.iter().map(|row| row.score.value).collect::<Vec<_>>())?;
        columns.set_item("baseline", rows.iter().map(|row| row.score.baseline).collect::<Vec<_>>())?;
        columns.set_item("low", rows.iter().map(|row| row.score.interval.map(|ends| ends.0)).collect::<Vec<_>>())?;
        columns.set_item("high", rows.iter().map(|row| row.score.interval.map(|ends| ends.1)).collect::<Vec<_>>())?;
        columns.set_item("n_rows", rows.iter().map(|row| row.score.n).collect::<Vec<_>>())?;
        columns.set_item("share_of_heads", rows.iter().map(|row| row.share_of_heads).collect::<Vec<_>>())?;
        columns.set_item("reason", rows.iter().map(Standout::reason).collect::<Vec<_>>())?;
        Ok(columns)
    }

    /// The kind and layer that are shown where nothing is said; with a kind, its last layer.
    fn defaults(&self, kind: Option<&str>) -> PyResult<(&'static str, usize)> {
        let kind = match kind {
            Some(kind) => kind.parse().map_err(|sentence: String| exception(Class::Missing, sentence))?,
            None => self.inner.default_kind().or_raise()?,
        };
        Ok((kind.name(), self.inner.last_layer(kind).or_raise()?))
    }

    /// A picture of several maps.
    fn figure(&self, py: Python<'_>, picture: &str, view: ViewKeys, style: StyleKeys) -> PyResult<Figure> {
        let picture: Shows = picture.parse().map_err(|sentence| exception(Class::Error, sentence))?;
        let (view, style) = (view.read()?, style.read()?);
        let recording = Arc::clone(&self.inner);
        compute(py, move || crate::figure::draw(&recording, picture, &view, &style))?.or_raise()
    }

    /// The page.
    #[pyo3(signature = (title, open, max_bytes))]
    fn to_html(
        &self,
        py: Python<'_>,
        title: Option<String>,
        open: Option<(usize, usize)>,
        max_bytes: Option<u64>,
    ) -> PyResult<String> {
        let open = match open {
            Some((place, head)) => {
                let layer = self.layer(place)?;
                Some((layer.kind, attlas::HeadId { layer: layer.index, head }))
            }
            None => None,
        };
        let recording = Arc::clone(&self.inner);
        let page = compute(py, move || {
            let all = measure_all(&recording)?;
            let of_first = if recording.items.len() > 1 { Some(measure(&recording, 0)?) } else { None };
            let about = PageOptions::about(&recording, 0, &all, of_first.as_deref().unwrap_or(&all))?;
            let max_bytes = max_bytes.unwrap_or(PageOptions::DEFAULT_MAX_BYTES);
            attlas_viewer::page(&recording, &PageOptions { title, open, max_bytes, ..about })
        })?;
        page.or_raise()
    }

    /// The kinds of attention whose weights were recorded.
    #[getter]
    fn kinds(&self) -> Vec<&'static str> {
        self.inner.kinds().into_iter().map(attlas::Kind::name).collect()
    }
}

/// A value as JSON.
fn json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| exception(Class::Format, error.to_string()))
}
