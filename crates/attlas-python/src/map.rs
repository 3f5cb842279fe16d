//! One map: a head's, or the mean of a layer, piece by piece or as it is shown.

use std::borrow::Cow;
use std::sync::Arc;

use attlas::view::pictures::Shows;
use attlas::view::{Pieces, Specials};
use attlas::{AttentionMap, Head, Kind, Layer, Tokens, View, ViewOptions, Weights};
use attlas_model::explain::quantities::Shown as Quantity;
use pyo3::prelude::*;

use crate::array::Array;
use crate::errors::{Class, Raise, exception};
use crate::figure::{Figure, StyleKeys, ViewKeys, of_one};
use crate::threads::compute;

/// A map of a recording; nothing of it is computed until it is asked for.
#[derive(Clone)]
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Map {
    recording: Arc<attlas::Recording>,
    layer: Source,
    head: Option<usize>,
    item: usize,
}

/// Where a map's numbers are.
#[derive(Clone)]
enum Source {
    /// In a layer of the recording.
    Place(usize),
    /// In one that is made of what the recording keeps.
    Made(Arc<Layer>),
}

/// Labels of rows and columns, and what each row has in columns that are not shown.
type Shown = (Array, Vec<String>, Vec<String>, Array, Vec<String>);

impl Source {
    fn layer<'a>(&'a self, recording: &'a attlas::Recording) -> &'a Layer {
        match self {
            Source::Place(place) => &recording.layers[*place],
            Source::Made(layer) => layer,
        }
    }
}

impl Map {
    pub fn new(recording: Arc<attlas::Recording>, place: usize, head: Option<usize>, item: usize) -> PyResult<Map> {
        Map::of(recording, Source::Place(place), head, item)
    }

    /// The map of a layer of a quantity; where all heads have one map together, `head` is the mean.
    pub fn of_quantity(
        recording: Arc<attlas::Recording>,
        shown: Quantity,
        kind: Kind,
        layer: usize,
        head: Option<usize>,
        item: usize,
    ) -> PyResult<Map> {
        let found = recording.layer_in(shown.quantity(), kind, layer).or_raise()?;
        if head.is_some() && !shown.is_of_heads() && found.shape.n_heads == 1 {
            return Err(exception(
                Class::Missing,
                format!("{} is of all heads of a layer together: name no head", shown.name()),
            ));
        }
        let source = match found {
            Cow::Owned(layer) => Source::Made(Arc::new(layer)),
            Cow::Borrowed(layer) => {
                let place = recording.layers.iter().position(|other| std::ptr::eq(other, layer));
                Source::Place(place.unwrap_or_default())
            }
        };
        Map::of(recording, source, head, item)
    }

    fn of(recording: Arc<attlas::Recording>, source: Source, head: Option<usize>, item: usize) -> PyResult<Map> {
        let layer = source.layer(&recording);
        let n_items = recording.items.len();
        if item >= n_items {
            return Err(attlas::Error::NoItem { item, n_items }).or_raise();
        }
        let n_heads = layer.shape.n_heads;
        if let Some(head) = head.filter(|head| *head >= n_heads) {
            let (kind, layer, last) = (layer.kind, layer.index, n_heads.saturating_sub(1));
            return Err(attlas::Error::NoHead { kind, layer, head, last }).or_raise();
        }
        Ok(Map { recording, layer: source, head, item })
    }

    fn layer(&self) -> &Layer {
        self.layer.layer(&self.recording)
    }

    /// The maps it is made of.
    fn heads(&self) -> Result<Vec<AttentionMap<'_>>, attlas::Error> {
        let heads = match self.head {
            Some(head) => head..head + 1,
            None => 0..self.layer().shape.n_heads,
        };
        heads.map(|head| self.recording.map_of(self.layer(), self.item, head)).collect()
    }

    /// The mean over heads of what `numbers` says of each.
    fn mean(&self, numbers: impl Fn(&AttentionMap<'_>) -> Vec<f32>) -> Result<Vec<f32>, attlas::Error> {
        let heads = self.heads()?;
        if let [only] = heads.as_slice() {
            return Ok(numbers(only));
        }
        let mut sums: Vec<f64> = Vec::new();
        for head in &heads {
            let numbers = numbers(head);
            sums.resize(numbers.len(), 0.0);
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += f64::from(number));
        }
        Ok(sums.into_iter().map(|sum| (sum / heads.len() as f64) as f32).collect())
    }

    fn check(&self, axis: &str, place: usize, n: usize) -> PyResult<()> {
        if place < n {
            return Ok(());
        }
        let sentence = format!("there is no {axis} {place}; the map has {n}, counted from 0");
        Err(exception(Class::Missing, sentence))
    }
}

#[pymethods]
impl Map {
    /// What the numbers are, in words, and whether they lie on both sides of 0.
    #[getter]
    fn quantity(&self) -> (&'static str, bool) {
        let quantity = self.layer().quantity;
        (quantity.words(), quantity.is_signed())
    }

    #[getter]
    fn shape(&self) -> (usize, usize) {
        (self.layer().shape.n_queries, self.layer().shape.n_keys)
    }

    /// The whole map, [queries, keys].
    fn weights(&self, py: Python<'_>) -> PyResult<Array> {
        let (n_queries, n_keys) = self.shape();
        let map = self.clone();
        let numbers = compute(py, move || {
            if let (Weights::Dense(weights), Some(head)) = (&map.layer().weights, map.head) {
                let first = (map.item * map.layer().shape.n_heads + head) * n_queries * n_keys;
                return weights.part(first..first + n_queries * n_keys);
            }
            Ok(map.mean(|map| map.dense())?.into())
        })?
        .or_raise()?;
        Ok(Array::f32([n_queries, n_keys], numbers))
    }

    /// The weights of one query, [keys].
    fn row(&self, py: Python<'_>, query: usize) -> PyResult<Array> {
        self.check("query", query, self.shape().0)?;
        let numbers = py.detach(|| self.mean(|map| map.row(query))).or_raise()?;
        Ok(Array::f32([self.shape().1], numbers))
    }

    /// The weights that all queries give one key, [queries].
    fn column(&self, py: Python<'_>, key: usize) -> PyResult<Array> {
        self.check("key", key, self.shape().1)?;
        let numbers = py.detach(|| self.mean(|map| map.column(key))).or_raise()?;
        Ok(Array::f32([self.shape().0], numbers))
    }

    /// The weights of the queries from `queries[0]` up to `queries[1]` over some keys, [queries, keys].
    fn tile(&self, py: Python<'_>, queries: (usize, usize), keys: (usize, usize)) -> PyResult<Array> {
        let (n_queries, n_keys) = self.shape();
        for (axis, range, n) in [("queries", queries, n_queries), ("keys", keys, n_keys)] {
            if range.0 > range.1 || range.1 > n {
                let (from, to) = range;
                let sentence = format!("{axis} {from}:{to} are outside the map, whose {axis} are 0:{n}");
                return Err(exception(Class::Missing, sentence));
            }
        }
        let (queries, keys) = (queries.0..queries.1, keys.0..keys.1);
        let shape = [queries.len(), keys.len()];
        let map = self.clone();
        let numbers = compute(py, move || map.mean(|map| map.tile(queries.clone(), keys.clone())))?.or_raise()?;
        Ok(Array::f32(shape, numbers))
    }

    /// What a learned sink takes of each query, [queries].
    fn sink(&self, py: Python<'_>) -> PyResult<Array> {
        let n_queries = self.shape().0;
        let of = |map: &AttentionMap<'_>| (0..n_queries).map(|query| map.sink_mass(query)).collect();
        let numbers = py.detach(|| self.mean(of)).or_raise()?;
        Ok(Array::f32([n_queries], numbers))
    }

    /// The tokens along rows and columns, padding included: text and role.
    fn tokens(&self) -> [Vec<(String, &'static str)>; 2] {
        let item = &self.recording.items[self.item];
        let named = |tokens: &Tokens| {
            let token = |token: &attlas::Token| {
                let role = match token.role {
                    attlas::TokenRole::Text => "text",
                    attlas::TokenRole::Special => "special",
                    attlas::TokenRole::Padding => "padding",
                };
                (token.text.clone(), role)
            };
            tokens.tokens.iter().map(token).collect()
        };
        [named(self.layer().query_tokens(item)), named(self.layer().key_tokens(item))]
    }

    /// The map without padding, merged into words, without special tokens: numbers, labels, what rows have elsewhere, remarks.
    fn shown(&self, py: Python<'_>, words: bool, specials: bool) -> PyResult<Shown> {
        let options = ViewOptions {
            item: self.item,
            pieces: if words { Pieces::Words } else { Pieces::Apart },
            specials: if specials { Specials::Show } else { Specials::Hide },
            silence: attlas::view::Silence::Show,
            row_tokens: Some(attlas::RowTokens::Read),
            max_weights: usize::MAX,
            ..ViewOptions::default()
        };
        let head = self.head.map_or(Head::Mean, Head::One);
        let map = self.clone();
        let view = compute(py, move || View::of_layer(&map.recording, map.layer(), head, &options))?.or_raise()?;
        let panel = view.panel();
        let labels = |axis: &attlas::figure::Axis| (0..axis.len()).map(|place| axis.label(place)).collect();
        Ok((
            Array::f32([panel.n_rows(), panel.n_columns()], panel.weights().to_vec()),
            labels(panel.rows()),
            labels(panel.columns()),
            Array::f32([view.removed().len()], view.removed().to_vec()),
            view.remarks().to_vec(),
        ))
    }

    /// A picture of the map, or of its lines.
    fn figure(&self, py: Python<'_>, lines: bool, view: ViewKeys, style: StyleKeys) -> PyResult<Figure> {
        let picture = if lines { Shows::Lines } else { Shows::Map };
        let (shown, looks) = (view.read()?, style.read()?);
        let head = self.head.map_or(Head::Mean, Head::One);
        let options = ViewOptions { item: self.item, ..shown.options };
        let map = self.clone();
        let drawn = compute(py, move || {
            let view = View::of_layer(&map.recording, map.layer(), head, &options)?;
            Ok::<_, attlas::Error>(of_one(&view, picture, &looks))
        })?;
        drawn.or_raise()
    }
}
