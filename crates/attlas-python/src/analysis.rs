//! What analyses find, as columns of tables.

use std::ops::Range;

use attlas::analysis::alignment::{Symmetrise, Unit, WordMap};
use attlas::analysis::describe::describe;
use attlas::analysis::{
    HeadDistances, HeadSums, MEASURES, Matching, Question, Received, Span, Sums, classes, compare, layer_profiles,
    measure, measure_all, roles,
};
use attlas::{AttentionMap, HeadId, Kind, Recording as Inner, RowTokens};
use pyo3::prelude::*;

use crate::errors::{Class, Raise, exception};
use crate::recording::Recording;
use crate::threads::finish;

/// One column of a table.
#[derive(IntoPyObject)]
pub enum Column {
    /// Words; none where there is none.
    Words(Vec<Option<String>>),
    /// Numbers; NaN where there is none.
    Numbers(Vec<f64>),
    /// Counts and indices.
    Counts(Vec<u64>),
}

/// A table: its columns by name, each with the letter of what it holds, `w`, `f` or `i`.
pub type Columns = Vec<(&'static str, char, Column)>;

/// A table whose cells are asked for row by row.
struct Rows<'a, T>(&'a [T]);

impl<T> Rows<'_, T> {
    fn words<W: Into<String>>(
        &self,
        name: &'static str,
        cell: impl Fn(&T) -> Option<W>,
    ) -> (&'static str, char, Column) {
        let cell = |row| cell(row).map(Into::into);
        (name, 'w', Column::Words(self.0.iter().map(cell).collect()))
    }

    fn numbers(&self, name: &'static str, cell: impl Fn(&T) -> Option<f64>) -> (&'static str, char, Column) {
        let cell = |row| cell(row).unwrap_or(f64::NAN);
        (name, 'f', Column::Numbers(self.0.iter().map(cell).collect()))
    }

    fn counts(&self, name: &'static str, cell: impl Fn(&T) -> u64) -> (&'static str, char, Column) {
        (name, 'i', Column::Counts(self.0.iter().map(cell).collect()))
    }
}

/// Registers what is here.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(aligned, module)?)?;
    module.add_function(wrap_pyfunction!(compared, module)?)?;
    module.add_function(wrap_pyfunction!(described, module)?)?;
    module.add_function(wrap_pyfunction!(distances, module)?)?;
    module.add_function(wrap_pyfunction!(head_classes, module)?)?;
    module.add_function(wrap_pyfunction!(measures, module)?)?;
    module.add_function(wrap_pyfunction!(profiles, module)?)?;
    module.add_function(wrap_pyfunction!(received, module)?)
}

/// Every head measured on one text, or on all together.
fn measured(recording: &Inner, item: Option<usize>) -> Result<Vec<HeadSums>, attlas::Error> {
    item.map_or_else(|| measure_all(recording), |item| measure(recording, item))
}

/// The measures: what is looked for in a head.
#[pyfunction]
fn measures() -> Columns {
    let rows = Rows(&MEASURES);
    vec![
        rows.words("measure", |m| Some(m.name)),
        rows.words("title", |m| Some(m.title)),
        rows.words("says", |m| Some(m.says)),
        rows.words("formula", |m| Some(m.formula)),
        rows.words("unit", |m| Some(m.unit)),
        rows.numbers("threshold", |m| m.threshold),
        rows.words("baseline", |m| m.baseline.map(|baseline| baseline.says)),
        rows.words("kinds", |m| Some(m.kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "))),
        rows.words("paper", |m| Some(m.paper)),
    ]
}

/// What each head is named for.
#[pyfunction]
#[pyo3(signature = (recording, item))]
fn head_classes(py: Python<'_>, recording: &Recording, item: Option<usize>) -> PyResult<Columns> {
    let heads = finish(py, || measured(&recording.inner, item))?.or_raise()?;
    let classes = classes(&heads);
    let rows = Rows(&classes);
    Ok(vec![
        rows.words("kind", |head| Some(head.kind.name())),
        rows.counts("layer", |head| head.head.layer as u64),
        rows.counts("head", |head| head.head.head as u64),
        rows.words("name", |head| head.named.first().map(|first| first.title())),
        rows.words("measure", |head| head.named.first().map(|first| first.measure.name)),
        rows.numbers("score", |head| head.named.first().map(|first| first.score.value)),
        rows.words("reason", |head| head.named.first().map(|first| first.reason())),
        rows.words("also", |head| {
            let others: Vec<&str> = head.named.iter().skip(1).map(|other| other.title()).collect();
            (!others.is_empty()).then(|| others.join(", "))
        }),
    ])
}

/// What the heads of each layer do together.
#[pyfunction]
#[pyo3(signature = (recording, item))]
fn profiles(py: Python<'_>, recording: &Recording, item: Option<usize>) -> PyResult<Columns> {
    let heads = finish(py, || measured(&recording.inner, item))?.or_raise()?;
    let profiles = layer_profiles(&heads);
    let rows = Rows(&profiles);
    Ok(vec![
        rows.words("kind", |layer| Some(layer.kind.name())),
        rows.counts("layer", |layer| layer.layer as u64),
        rows.counts("heads", |layer| layer.n_heads as u64),
        rows.numbers("distance", |layer| layer.distance),
        rows.numbers("uniform_distance", |layer| layer.uniform_distance),
        rows.numbers("broad", |layer| layer.broad),
        rows.numbers("confidence", |layer| layer.confidence),
        rows.words("named", |layer| {
            let classes: Vec<String> = layer.classes.iter().map(|(name, n)| format!("{name} {n}")).collect();
            (!classes.is_empty()).then(|| classes.join(", "))
        }),
    ])
}

/// What the heads do with a text, in sentences.
#[pyfunction]
fn described(py: Python<'_>, recording: &Recording, item: usize) -> PyResult<Columns> {
    let sentences = finish(py, || {
        let heads = measure(&recording.inner, item)?;
        describe(&recording.inner, item, &heads)
    })?
    .or_raise()?;
    let rows = Rows(&sentences);
    Ok(vec![
        rows.words("sentence", |one| Some(one.text.clone())),
        rows.words("kind", |one| one.kind.map(Kind::name)),
        rows.words("head", |one| one.layer.zip(one.head).map(|(layer, head)| HeadId { layer, head }.to_string())),
        rows.words("measure", |one| one.measure),
        rows.numbers("number", |one| one.numbers.first().map(|number| number.value)),
    ])
}

/// How far every two heads of a kind are apart, on one text or on all together; and the distance in the middle.
#[pyfunction]
#[pyo3(signature = (recording, kind, item))]
fn distances(
    py: Python<'_>,
    recording: &Recording,
    kind: &str,
    item: Option<usize>,
) -> PyResult<(Columns, Option<f64>)> {
    let kind = parsed::<Kind>(kind)?;
    let found = finish(py, || match item {
        Some(item) => HeadDistances::of(&recording.inner, kind, item),
        None => HeadDistances::of_all(&recording.inner, kind),
    })?
    .or_raise()?;
    let n = found.heads.len();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a + 1..n).map(move |b| (a, b))).collect();
    let rows = Rows(&pairs);
    let columns = vec![
        rows.words("kind", |_| Some(kind.name())),
        rows.counts("layer", |(a, _)| found.heads[*a].layer as u64),
        rows.counts("head", |(a, _)| found.heads[*a].head as u64),
        rows.counts("other_layer", |(_, b)| found.heads[*b].layer as u64),
        rows.counts("other_head", |(_, b)| found.heads[*b].head as u64),
        rows.numbers("divergence", |(a, b)| found.between(*a, *b)),
    ];
    Ok((columns, found.median()))
}

/// What differs between two recordings, head by head, and how far two heads of the first are apart.
#[pyfunction]
fn compared(
    py: Python<'_>,
    first: &Recording,
    second: &Recording,
    kind: &str,
    texts: Vec<(usize, usize)>,
    is_best: bool,
) -> PyResult<(Columns, Option<f64>)> {
    let kind = parsed::<Kind>(kind)?;
    let matching = if is_best { Matching::Best } else { Matching::Index };
    let found = finish(py, || compare([&first.inner, &second.inner], kind, &texts, matching))?.or_raise()?;
    let token = |side: &Inner, layer: usize, text: usize, place: usize, is_key: bool| -> Option<String> {
        let item = side.items.get(text)?;
        let layer = side.layer(kind, layer).ok()?;
        let tokens = if is_key { layer.key_tokens(item) } else { layer.query_tokens(item) };
        tokens.tokens.get(place).map(|token| token.text.clone())
    };
    let item = |text: usize| found.texts[text].items[0];
    let rows = Rows(&found.heads);
    let columns = vec![
        rows.words("kind", |_| Some(kind.name())),
        rows.counts("layer", |head| head.first.layer as u64),
        rows.counts("head", |head| head.first.head as u64),
        rows.counts("other_layer", |head| head.second.layer as u64),
        rows.counts("other_head", |head| head.second.head as u64),
        rows.numbers("divergence", |head| head.divergence()),
        rows.numbers("low", |head| head.interval().map(|(low, _)| low)),
        rows.numbers("high", |head| head.interval().map(|(_, high)| high)),
        rows.counts("n_rows", |head| head.sums.n),
        rows.words("query", |head| {
            let cell = head.largest?;
            token(&first.inner, head.first.layer, item(cell.text), cell.queries.0, false)
        }),
        rows.words("key", |head| {
            let cell = head.largest?;
            token(&first.inner, head.first.layer, item(cell.text), cell.keys.0, true)
        }),
        rows.numbers("weight", |head| head.largest.map(|cell| cell.weights[0])),
        rows.numbers("other_weight", |head| head.largest.map(|cell| cell.weights[1])),
    ];
    Ok((columns, found.between_heads))
}

/// A share of attention that keys receive, with its place in the table.
struct Share {
    what: &'static str,
    name: String,
    n_tokens: u64,
    over_all: Sums,
    where_seen: Sums,
    has_baseline: bool,
}

/// What each key of a map receives, or the mean of the heads of a layer; and spans, padding, a sink and nowhere.
#[pyfunction]
#[pyo3(signature = (recording, map, item, spans, queries))]
fn received(
    py: Python<'_>,
    recording: &Recording,
    map: (String, usize, Option<usize>),
    item: usize,
    spans: Vec<(String, usize, usize)>,
    queries: Option<(usize, usize)>,
) -> PyResult<Columns> {
    let (kind, layer, head) = map;
    let recording = &recording.inner;
    let layer = recording.layer(parsed(&kind)?, layer).or_raise()?;
    let n_items = recording.items.len();
    let of_item = recording.items.get(item).ok_or(attlas::Error::NoItem { item, n_items }).or_raise()?;
    let (tokens, n_keys) = (layer.key_tokens(of_item), layer.shape.n_keys);
    let mut asked = Vec::with_capacity(spans.len());
    for (name, start, end) in spans {
        let n = tokens.unpadded(n_keys).len();
        let outside = || {
            exception(
                Class::Missing,
                format!("span {name}: tokens {start}:{end} are outside the keys, which are 0:{n}"),
            )
        };
        asked.push(Span::of(name.clone(), start..end, tokens, n_keys).ok_or_else(outside)?);
    }
    let is_free = |role: &Span| !asked.iter().any(|span: &Span| span.name == role.name);
    let of_roles: Vec<Span> = roles(of_item, layer).into_iter().filter(is_free).collect();
    asked.extend(of_roles);
    let queries: Option<Range<usize>> = queries.map(|(start, end)| start..end);
    let question = Question { item, spans: &asked, n_by_row: 0, queries };
    let found = finish(py, || Received::of(recording, layer, head, &question))?.or_raise()?;

    let keys = tokens.unpadded(n_keys).into_iter().zip(&found.keys).map(|(key, sums)| {
        let name = tokens.tokens.get(key).map_or_else(|| key.to_string(), |token| token.text.clone());
        Share {
            what: "token",
            name,
            n_tokens: 1,
            over_all: found.over_all(sums),
            where_seen: *sums,
            has_baseline: true,
        }
    });
    let spans = asked.iter().zip(&found.spans).map(|(span, sums)| {
        let (name, n_tokens) = (span.name.clone(), span.len() as u64);
        Share { what: "span", name, n_tokens, over_all: found.over_all(sums), where_seen: *sums, has_baseline: true }
    });
    let besides = [("padding", found.padding), ("sink", found.sink), ("nowhere", found.nowhere)];
    let besides = besides.into_iter().filter_map(|(name, sums)| {
        let sums = sums?;
        let (over_all, where_seen) = (sums, sums);
        Some(Share { what: "elsewhere", name: name.into(), n_tokens: 0, over_all, where_seen, has_baseline: false })
    });
    let shares: Vec<Share> = keys.chain(spans).chain(besides).collect();
    let rows = Rows(&shares);
    Ok(vec![
        rows.words("what", |share| Some(share.what)),
        rows.words("name", |share| Some(share.name.clone())),
        rows.counts("n_tokens", |share| share.n_tokens),
        rows.numbers("share", |share| share.over_all.mean()),
        rows.numbers("baseline", |share| share.over_all.mean_baseline().filter(|_| share.has_baseline)),
        rows.numbers("low", |share| share.over_all.interval_of_shares().map(|(low, _)| low)),
        rows.numbers("high", |share| share.over_all.interval_of_shares().map(|(_, high)| high)),
        rows.numbers("share_where_seen", |share| share.where_seen.mean()),
        rows.counts("n_rows", |share| share.over_all.n),
    ])
}

/// Which source word each target word looks at most, in the mean of some heads of cross-attention.
#[pyfunction]
#[pyo3(signature = (recording, heads, item, row_tokens, words, symmetrise))]
fn aligned(
    py: Python<'_>,
    recording: &Recording,
    heads: Vec<(usize, usize)>,
    item: usize,
    row_tokens: &str,
    words: &str,
    symmetrise: Option<&str>,
) -> PyResult<Columns> {
    let row_tokens = match row_tokens {
        "predicted" => RowTokens::Predicted,
        "read" => RowTokens::Read,
        other => return Err(unknown("rows", other, "predicted and read")),
    };
    let unit = match words {
        "model" => Unit::Words,
        "whitespace" => Unit::WhiteSpace,
        "tokens" => Unit::Tokens,
        other => return Err(unknown("words", other, "model, whitespace and tokens")),
    };
    let way = symmetrise.map(parsed::<Symmetrise>).transpose()?;
    let links = finish(py, || -> Result<_, attlas::Error> {
        let map = |(layer, head): &(usize, usize)| {
            let layer = recording.inner.layer(Kind::Cross, *layer)?;
            recording.inner.map_of(layer, item, *head)
        };
        let maps: Vec<AttentionMap<'_>> = heads.iter().map(map).collect::<Result<_, _>>()?;
        let words = WordMap::new(&maps, row_tokens, unit)?;
        let links = words.links();
        let pairs = match way {
            None => links.by_target,
            Some(way) => way.of(&links.by_target, &links.by_source),
        };
        let mut weights: Vec<Vec<(usize, f32)>> = vec![Vec::new(); words.target().len()]; // by target: source, weight
        let mut sources: Vec<Vec<usize>> = vec![Vec::new(); words.target().len()];
        pairs.pairs().for_each(|pair| sources[pair.target].push(pair.source));
        words.for_each_row(|target, row| {
            weights[target] = sources[target].iter().map(|source| (*source, row[*source])).collect();
        });
        let link = |(target, of_target): (usize, &Vec<(usize, f32)>)| -> Vec<Link> {
            let link = |(source, weight): &(usize, f32)| Link {
                source: *source,
                target,
                words: [words.source()[*source].clone(), words.target()[target].clone()],
                weight: *weight,
            };
            of_target.iter().map(link).collect()
        };
        Ok(weights.iter().enumerate().flat_map(link).collect::<Vec<Link>>())
    })?
    .or_raise()?;
    let rows = Rows(&links);
    Ok(vec![
        rows.counts("source", |link| link.source as u64),
        rows.counts("target", |link| link.target as u64),
        rows.words("source_word", |link| Some(link.words[0].clone())),
        rows.words("target_word", |link| Some(link.words[1].clone())),
        rows.numbers("weight", |link| Some(f64::from(link.weight))),
    ])
}

/// A source and a target word that go together.
struct Link {
    source: usize,
    target: usize,
    words: [String; 2],
    weight: f32,
}

fn parsed<T: std::str::FromStr<Err = String>>(text: &str) -> PyResult<T> {
    text.parse().map_err(|sentence: String| exception(Class::Missing, sentence))
}

fn unknown(what: &str, given: &str, there_are: &str) -> PyErr {
    exception(Class::Error, format!("{what} is \"{given}\"; there are {there_are}"))
}
