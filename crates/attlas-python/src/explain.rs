//! What attention does not show: explanations, knock-outs, checks and what weights say, as Python asks for them.

use std::sync::atomic::AtomicBool;

use attlas::place::token_of;
use attlas::{HeadId, Kind, RowTokens, Tokens};
use attlas_model::explain::asked::{Measured, MetricName, Predicted};
use attlas_model::explain::by_key::{by_key, writing_heads};
use attlas_model::explain::card::{self, Card};
use attlas_model::explain::edges::edges;
use attlas_model::explain::effects::{self, Receiver, effects};
use attlas_model::explain::faithfulness::NEGLIGIBLE;
use attlas_model::explain::from_weights;
use attlas_model::explain::knock_out::{Baseline, KindHead, Removal};
use attlas_model::explain::lens::Depth;
use attlas_model::explain::side_by_side::{Explained, Undefined};
use attlas_model::explain::states::states;
use attlas_model::explain::way::Way;
use attlas_model::explain::{Asked, HeadPattern, METHODS, Method, mixing, traced, why};
use attlas_model::{Decoding, Error, Input, RunOptions, Side};
use attlas_survey::table::{Cells, Table, lens_table, mixing_table};
use pyo3::prelude::*;

use crate::analysis::Columns;
use crate::errors::{Class, Raise, exception};
use crate::found::{Finding, Found, columns};
use crate::model::{MAX_TOKENS, Model, input, next};
use crate::threads::{compute, compute_watched};

/// Registers what is here.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Found>()?;
    module.add_function(wrap_pyfunction!(ablated, module)?)?;
    module.add_function(wrap_pyfunction!(checked, module)?)?;
    module.add_function(wrap_pyfunction!(circuits, module)?)?;
    module.add_function(wrap_pyfunction!(exchanged_states, module)?)?;
    module.add_function(wrap_pyfunction!(explained, module)?)?;
    module.add_function(wrap_pyfunction!(hidden_pairs, module)?)?;
    module.add_function(wrap_pyfunction!(lens, module)?)?;
    module.add_function(wrap_pyfunction!(methods, module)?)?;
    module.add_function(wrap_pyfunction!(mixed, module)?)?;
    module.add_function(wrap_pyfunction!(why_there, module)?)?;
    module.add_function(wrap_pyfunction!(written_by_key, module)?)
}

/// A text, or the ids of its tokens.
#[derive(FromPyObject)]
pub enum Given {
    Text(String),
    Ids(Vec<u32>),
}

/// What the model reads: a text, and what a decoder behind an encoder reads; what it generates where nothing is said.
pub type Subject = (Given, Option<Given>);

/// What `work` finds of the model while other Python threads run.
fn found(
    py: Python<'_>,
    model: &Model,
    work: impl FnOnce(&attlas_model::Model, &AtomicBool) -> Result<Finding, Error> + Send + 'static,
) -> PyResult<Found> {
    let model = model.inner.clone();
    Ok(Found::new(compute_watched(py, move |stop| work(&model, stop))?.or_raise()?))
}

/// What is measured of the output, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct MeasuredKeys {
    metric: Option<String>,
    target: Option<String>,
    foil: Option<String>,
    position: Option<usize>,
}

impl MeasuredKeys {
    fn read(&self) -> Result<Measured<'_>, Error> {
        let metric = self.metric.as_deref().map(|name| name.parse::<MetricName>());
        let metric = metric.transpose().map_err(|sentence| named_amiss("metric", self.metric.as_deref(), sentence))?;
        let (target, foil) = (self.target.as_deref(), self.foil.as_deref());
        Ok(Measured { metric, predicted: Predicted { target, foil, position: self.position } })
    }
}

fn named_amiss(what: &str, name: Option<&str>, sentence: String) -> Error {
    Error::Plan(format!("{what} \"{}\": {sentence}", name.unwrap_or_default()))
}

/// Heads of a model, as Python names them.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct HeadsKeys {
    patterns: Vec<String>,
    kind: Option<String>,
}

impl HeadsKeys {
    fn read(&self, model: &attlas_model::Model) -> Result<Vec<KindHead>, Error> {
        let patterns = self.patterns.iter().map(|pattern| pattern.parse::<HeadPattern>().map_err(Error::Plan));
        model.heads_named(&patterns.collect::<Result<Vec<_>, _>>()?, self.kind.as_deref().map(kind_named).transpose()?)
    }
}

fn kind_named(name: &str) -> Result<Kind, Error> {
    name.parse().map_err(Error::Plan)
}

/// The methods of explanations: what each says, its formula, unit, limit and paper.
#[pyfunction]
fn methods() -> Columns {
    let text = |of: fn(&Method) -> &'static str| {
        Cells::Text(Method::ALL.iter().map(|method| Some(of(method).to_owned())).collect())
    };
    columns(Table {
        columns: vec![
            ("method", text(|method| method.name())),
            ("title", text(|method| method.definition().title)),
            ("says", text(|method| method.definition().says)),
            ("formula", text(|method| method.definition().formula)),
            ("limit", text(|method| method.definition().limit)),
            ("paper", text(|method| method.definition().paper)),
        ],
        notes: Vec::new(),
    })
}

/// Which tokens a prediction rests on, by several methods; by all that are defined for the model when none are named.
#[pyfunction]
fn explained(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    measured: MeasuredKeys,
    methods: Option<Vec<String>>,
    n_steps: usize,
) -> PyResult<Found> {
    let undefined = if methods.is_none() { Undefined::LeftOut } else { Undefined::Refused };
    let named = |name: &String| {
        Method::named(name).ok_or_else(|| {
            let there_are = METHODS.iter().map(|method| method.name).collect::<Vec<_>>().join(", ");
            exception(Class::Missing, format!("there is no method \"{name}\"; there are {there_are}"))
        })
    };
    let methods: Vec<Method> = match &methods {
        None => Method::ALL.into_iter().filter(|method| method.is_of_all()).collect(),
        Some(names) => names.iter().map(named).collect::<PyResult<_>>()?,
    };
    found(py, model, move |model, stop| {
        let input = read(model, &subject, stop)?;
        let score = measured.read()?.explained_score(model, &input, &model.text_logits(&input)?)?;
        Explained::of(model, &input, &score, &methods, undefined, n_steps, &mut |_| next(stop)).map(Finding::Explained)
    })
}

/// How heads are taken away, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct AblateKeys {
    method: String,
    seed: u64,
    together: bool,
    mean_over: Option<Vec<Subject>>,
    patch_from: Option<Subject>,
    /// `output`, or a head.
    receiver: Option<String>,
}

impl AblateKeys {
    fn way(&self) -> Result<Way, Error> {
        Ok(match self.method.parse::<Way>()? {
            Way::KnockOut(Removal::Permute { .. }) => Way::KnockOut(Removal::Permute { seed: self.seed }),
            way => way,
        })
    }

    fn receiver(&self, model: &attlas_model::Model) -> Result<Receiver, Error> {
        let name = match self.receiver.as_deref() {
            None => return Ok(Receiver::All),
            Some("output") => return Ok(Receiver::Output),
            Some(name) => name,
        };
        let found = model.heads_named(&[name.parse().map_err(Error::Plan)?], None)?;
        match found[..] {
            [receiver] => Ok(Receiver::Head(receiver)),
            _ => Err(Error::Plan(format!("the receiver {name} is {} heads; name one, with its kind", found.len()))),
        }
    }
}

/// What the output loses with each head, on one text or several.
#[pyfunction]
fn ablated(
    py: Python<'_>,
    model: &Model,
    subjects: Vec<Subject>,
    heads: HeadsKeys,
    how: AblateKeys,
    measured: MeasuredKeys,
) -> PyResult<Found> {
    found(py, model, move |model, stop| {
        let read_all = |subjects: &[Subject]| -> Result<Vec<Input>, Error> {
            subjects.iter().map(|subject| read(model, subject, stop)).collect()
        };
        let inputs = read_all(&subjects)?;
        let mean_over = how.mean_over.as_deref().map(|texts| as_given(model, texts)).transpose()?;
        let other = how.patch_from.as_ref().map(|text| as_given(model, std::slice::from_ref(text))).transpose()?;
        let receiver = how.receiver(model)?;
        let mut asked = heads.read(model)?;
        if let (Receiver::Head(to), true) = (receiver, heads.patterns.is_empty()) {
            asked.retain(|head| head.is_before(to)); // no way leads back from the others
        }
        let question = effects::Question {
            heads: asked,
            together: how.together,
            way: how.way()?,
            measured: measured.read()?,
            mean_over: mean_over.as_deref(),
            other: other.as_ref().and_then(|inputs| inputs.first()),
            receiver,
            given: None,
        };
        effects(model, &inputs, &question, &mut |_| next(stop)).map(Finding::Effects)
    })
}

/// What the output loses with each pair of tokens hidden from one head.
#[pyfunction]
fn hidden_pairs(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    heads: HeadsKeys,
    measured: MeasuredKeys,
) -> PyResult<Found> {
    found(py, model, move |model, stop| {
        let heads = heads.read(model)?;
        let [head] = heads[..] else {
            return Err(Error::Plan(format!("pairs are hidden from one head, and {} are named", heads.len())));
        };
        let input = read(model, &subject, stop)?;
        edges(&Baseline::of(model, &input)?, head, measured.read()?, &mut |_| next(stop)).map(Finding::Edges)
    })
}

/// What hidden states of the run on another text carry over, one layer and position at a time.
#[pyfunction]
fn exchanged_states(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    patch_from: Subject,
    measured: MeasuredKeys,
) -> PyResult<Found> {
    found(py, model, move |model, stop| {
        let other = given(model, &patch_from)?;
        let input = read(model, &subject, stop)?;
        states(&Baseline::of(model, &input)?, &other, measured.read()?, &mut |_| next(stop)).map(Finding::States)
    })
}

/// What heads write for a prediction, by the token that they move it from.
#[pyfunction]
fn written_by_key(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    heads: HeadsKeys,
    measured: MeasuredKeys,
) -> PyResult<Found> {
    found(py, model, move |model, stop| {
        let heads = match heads.patterns.is_empty() && heads.kind.is_none() {
            true => writing_heads(model),
            false => heads.read(model)?,
        };
        let input = read(model, &subject, stop)?;
        by_key(&Baseline::of(model, &input)?, &heads, measured.read()?.predicted).map(Finding::ByKey)
    })
}

/// What is checked, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct CheckKeys {
    together: bool,
    permutations: u16,
    adversarial: Option<u16>,
    budget: Option<f64>,
    target: Option<String>,
    position: Option<usize>,
    ranking: Option<Vec<Option<f64>>>,
    erase_with: Option<String>,
}

/// Whether maps have to do with the output, as JSON; `beside` are other trainings of the model.
#[pyfunction]
fn checked(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    heads: HeadsKeys,
    how: CheckKeys,
    beside: Vec<(String, PyRef<'_, Model>)>,
) -> PyResult<String> {
    let others: Vec<(String, attlas_model::Model)> =
        beside.iter().map(|(name, model)| (name.clone(), model.inner.clone())).collect();
    let model = model.inner.clone();
    let card = compute_watched(py, move |stop| {
        let question = card::Question {
            heads: heads.read(&model)?,
            together: how.together,
            n_permutations: how.permutations,
            n_steps: how.adversarial,
            budget: how.budget.unwrap_or(NEGLIGIBLE),
            predicted: Predicted { target: how.target.as_deref(), foil: None, position: how.position },
            ranking: how.ranking.as_deref().map(|ranking| (ranking, "the numbers that were given")),
            erase_with: how.erase_with.as_deref(),
        };
        let input = read(&model, &subject, stop)?;
        Card::of(&Baseline::of(&model, &input)?, &question, &others, &mut |_| next(stop))
    })?;
    Ok(card.or_raise()?.json().to_string())
}

/// What each layer would predict at a position, or at all.
#[pyfunction]
#[allow(clippy::too_many_arguments, reason = "Python hands them over one by one")]
fn lens(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    position: Option<usize>,
    every: bool,
    targets: Vec<String>,
    n: usize,
    after_attention: bool,
) -> PyResult<Columns> {
    let model = model.inner.clone();
    let table = compute_watched(py, move |stop| {
        let input = read(&model, &subject, stop)?;
        let baseline = Baseline::of(&model, &input)?;
        let rows = match every {
            true => baseline.unchanged.rows.clone(),
            false => vec![model.row_of(&input, position)?],
        };
        let targets = targets.iter().map(|name| model.target_named(name)).collect::<Result<Vec<u32>, _>>()?;
        let depths = if after_attention { &[Depth::Entering, Depth::AfterAttention][..] } else { &[Depth::Entering] };
        Ok::<_, Error>(lens_table(&model, &baseline.lens(&rows, depths, n, &targets)?, &targets))
    })?;
    Ok(columns(table.or_raise()?))
}

/// Why a head looks from a token at another, as JSON. The head is kind, layer and number; tokens are named by text or place.
#[pyfunction]
fn why_there(
    py: Python<'_>,
    model: &Model,
    subject: Subject,
    head: (Option<String>, usize, usize),
    query: String,
    key: String,
) -> PyResult<String> {
    let model = model.inner.clone();
    let (kind, layer, number) = head;
    let found = compute_watched(py, move |stop| {
        let head = HeadId { layer, head: number };
        let kind = model.kind_of_head(kind.as_deref().map(kind_named).transpose()?, head)?;
        let run = run_traced(&model, &subject, stop)?;
        let map = run.recording.map(0, kind, head.layer, head.head).map_err(Error::Maps)?;
        let rows = RowTokens::usual(kind).of(&map);
        let query = token_of(rows, &query, "query").map_err(Error::Plan)?;
        let key = token_of(map.key_tokens(), &key, "key").map_err(Error::Plan)?;
        let found = why(&model, &run, Asked { item: 0, kind, head, query, key })?;
        Ok::<_, Error>(found.json(&[label(rows, query), label(map.key_tokens(), key)]).to_string())
    })?;
    found.or_raise()
}

fn label(tokens: &Tokens, place: usize) -> String {
    tokens.tokens.get(place).map_or(String::new(), |token| token.text.trim().to_owned())
}

/// What the weights alone say of heads, or of one (kind, layer and number), as JSON.
#[pyfunction]
fn circuits(
    py: Python<'_>,
    model: &Model,
    kind: Option<String>,
    head: Option<(usize, usize)>,
    token: Option<String>,
    n: usize,
) -> PyResult<String> {
    let model = model.inner.clone();
    let found = compute(py, move || {
        let head = head.map(|(layer, head)| HeadId { layer, head });
        let kind = kind.as_deref().map(kind_named).transpose()?.unwrap_or_else(|| model.usual_kind());
        let question = from_weights::Question { kind, head, token: token.as_deref(), n };
        let found = model.from_weights(question, &mut |_| {})?;
        Ok::<_, Error>(found.json(&model).to_string())
    })?;
    found.or_raise()
}

/// How much of each token's state each layer mixes in from others; of the kind that tells most where none is said.
#[pyfunction]
fn mixed(py: Python<'_>, model: &Model, subject: Subject, kind: Option<String>) -> PyResult<Columns> {
    let model = model.inner.clone();
    let table = compute_watched(py, move |stop| {
        let kind = kind.as_deref().map(kind_named).transpose()?;
        let run = run_traced(&model, &subject, stop)?;
        let kind = kind.map_or_else(|| run.recording.default_kind(), Ok).map_err(Error::Maps)?;
        run.recording.last_layer(kind).map_err(Error::Maps)?;
        Ok::<_, Error>(mixing_table(&run.recording, &mixing(&model, &run, kind)?))
    })?;
    Ok(columns(table.or_raise()?))
}

/// What the model reads, with the target that it generates where it is an encoder-decoder and none is given.
fn read(model: &attlas_model::Model, subject: &Subject, stop: &AtomicBool) -> Result<Input, Error> {
    let input = given(model, subject)?;
    match subject.1 {
        Some(_) => Ok(input),
        None => model.with_own_target(input, MAX_TOKENS, &mut |_| next(stop)).map(|(input, _)| input),
    }
}

/// Several texts as they were given.
fn as_given(model: &attlas_model::Model, subjects: &[Subject]) -> Result<Vec<Input>, Error> {
    subjects.iter().map(|subject| given(model, subject)).collect()
}

/// A text, or ids, as the model reads them.
fn given(model: &attlas_model::Model, (source, target): &Subject) -> Result<Input, Error> {
    let is_of_two = model.has(Side::Source) && model.has(Side::Target);
    if target.is_some() && !is_of_two {
        let name = model.name();
        return Err(Error::Plan(format!("a text for the decoder is for encoder-decoders, and {name} is none")));
    }
    let ids = match (source, target) {
        (Given::Text(text), None) => return input(model, text, None),
        (Given::Text(text), Some(Given::Text(target))) => return input(model, text, Some(target)),
        (Given::Ids(ids), None) => (ids, None),
        (Given::Ids(ids), Some(Given::Ids(target))) => (ids, Some(target)),
        _ => return Err(Error::Plan("what encoder and decoder read are both texts, or both ids".to_owned())),
    };
    let mut input = Input::default();
    match model.has(Side::Source) {
        true => input.source = model.tokens_from_ids(Side::Source, ids.0)?,
        false => input.target = model.tokens_from_ids(Side::Target, ids.0)?,
    }
    if let Some(target) = ids.1 {
        input.target = model.tokens_from_ids(Side::Target, target)?;
    }
    Ok(input)
}

/// A run that keeps what takes states apart.
fn run_traced(model: &attlas_model::Model, subject: &Subject, stop: &AtomicBool) -> Result<attlas_model::Run, Error> {
    let mut input = given(model, subject)?;
    let generates = subject.1.is_none() && model.has(Side::Source) && model.has(Side::Target);
    if generates && input.target.is_empty() {
        input.target = model.prompt_tokens("")?;
    }
    let decoding = if generates { model.generating(None, MAX_TOKENS) } else { Decoding::TeacherForcing };
    model.run_watched(&[input], &RunOptions { decoding, pass: traced() }, &mut |_| next(stop))
}
