//! Why a head looks where it looks: the score of one query and one key, taken apart.

use std::collections::BTreeMap;
use std::ops::Range;

use attlas::attention::reference;
use attlas::recording::{Digest, Edit};
use attlas::{AttentionMap, HeadId, Kind, Layer, Scoring};
use serde::Serialize;
use serde_json::{Value, json};

use super::components::{Components, Source, before_cross, entering, read_by};
use super::knock_out::check_finite;
use super::matrices::through_narrower_states;
use super::parts::{attention_of, widened};
use crate::Error;
use crate::block::linear::Linear;
use crate::block::rope::{PatchPlaces, Turns};
use crate::block::weights::{AttentionWeights, Projections};
use crate::config::{Architecture, Attention, Block, Pairs, QkScope};
use crate::model::Model;
use crate::run::record::Run;

/// The pair that is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The text of the batch.
    pub item: usize,
    /// The kind of attention.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// The query's position.
    pub query: usize,
    /// The key's position.
    pub key: usize,
}

/// The score of a pair, `softcap(scale · q·k) + bias`, and what it is the sum of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// The pair.
    pub asked: Asked,
    /// The score, as the model computed it.
    pub score: f64,
    /// The weight: `exp(score − lse)`.
    pub weight: f64,
    /// The mean score of the keys that the query sees: only what differs between keys moves weight.
    pub mean_score: f64,
    /// The score by what it comes from; they sum to it.
    pub parts: Parts,
    /// `q·k` term by term, scaled: columns of the head, or pairs of columns that turn together. The largest first.
    pub terms: Vec<Term>,
    /// What the query's side is made of, each with its share of `scale · q·k`; they sum to it. The largest first.
    pub queries: Vec<Origin>,
    /// The same of the key's side.
    pub keys: Vec<Origin>,
    /// Both sides together: what of the query's meets what of the key's. The largest first, all of them.
    pub pairs: Vec<(Source, Source, f64)>,
    /// How far the parts' sum is from the score.
    pub error: f64,
}

impl Why {
    /// The same as data, with the texts of query and key.
    pub fn json(&self, [query, key]: &[String; 2]) -> Value {
        let Asked { kind, head, query: at, key: of, .. } = self.asked;
        let pairs = self.pairs.iter().map(|(query, key, value)| json!({"query": query, "key": key, "value": value}));
        let parts = self.parts.0.iter().map(|(part, value)| json!({"part": part, "value": value}));
        json!({
            "kind": kind, "layer": head.layer, "head": head.head,
            "query": {"position": at, "token": query}, "key": {"position": of, "token": key},
            "score": self.score, "weight": self.weight, "mean_score": self.mean_score,
            "parts": parts.collect::<Vec<_>>(), "error": self.error, "terms": self.terms,
            "query_sources": self.queries, "key_sources": self.keys, "pairs": pairs.collect::<Vec<_>>(),
        })
    }
}

/// A score by what it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parts(pub Vec<(Part, f64)>);

/// What a part of a score comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Both sides from tokens, segments, heads and feed-forwards, as if both stood at one place.
    Content,
    /// Content of the query with the position of the key, added to its embedding.
    ContentPosition,
    /// The position of the query with content of the key.
    PositionContent,
    /// Both positions.
    PositionPosition,
    /// At least one side a bias of a norm or a projection.
    Biases,
    /// What turning queries and keys by their distance changes (rotary positions).
    Rotation,
    /// The bias by relative position, or by key, that is added to scores.
    RelativeBias,
    /// What cutting the score by `c · tanh(x / c)` changes.
    SoftCap,
}

impl Part {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Part::Content => "content of both",
            Part::ContentPosition => "content with the key's position",
            Part::PositionContent => "the query's position with content",
            Part::PositionPosition => "both positions",
            Part::Biases => "biases of norms and projections",
            Part::Rotation => "turned by their distance (rotary)",
            Part::RelativeBias => "bias added to the score",
            Part::SoftCap => "cut by the soft cap",
        }
    }
}

/// A term of `scale · q·k`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Term {
    /// The columns of the head: one, or the two that turn together.
    pub columns: Vec<usize>,
    /// The term.
    pub value: f64,
    /// What it would be if both stood at one place, where the columns turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unturned: Option<f64>,
    /// Positions of one turn, where the columns turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavelength: Option<f64>,
}

/// What a side of a score comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Origin {
    /// Where it comes from.
    pub source: Source,
    /// Its share of `scale · q·k`.
    pub value: f64,
}

/// Takes the score of one pair apart. Norms are taken with the variance that they had: parts are exact as a sum, and not what would be
/// left if one of them were taken away.
///
/// Time and memory are linear in the length of the text for each layer below.
///
/// # Errors
/// When the pair, the head or what [`traced`](super::traced) keeps is not there; when the query does not see the key; where the run
/// has numbers that are infinite or none (NaN); and
/// [`Error::Unsupported`] for scores that are no sum of such parts: weights that were changed, DeBERTa's, and projections that are cut.
pub fn why(model: &Model, run: &Run, asked: Asked) -> Result<Why, Error> {
    check_summed(model, run, asked.item)?;
    let layer = run.recording.layer(asked.kind, asked.head.layer)?;
    let map = run.recording.map_of(layer, asked.item, asked.head.head)?;
    let pair = Pair::new(model, layer, &map, asked)?;
    let scores = pair.scores(layer, &map)?;
    let (score, lse) = (scores.of_key, scores.lse);
    let (query, key) = (pair.query_side(model, run)?, pair.key_side(model, run)?);
    let (turned_query, turned_key) = (pair.turned(&query, asked.query), pair.turned(&key, asked.key));
    let (mut parts, pairs) = pair.met([&query, &key], [&turned_query, &turned_key]);
    let bias = pair.bias(layer);
    if bias != 0.0 {
        parts.insert(Part::RelativeBias, bias);
    }
    let error = parts.values().sum::<f64>() - score;
    let side = |of: fn(&Met) -> Source| {
        let mut sums: BTreeMap<Source, f64> = BTreeMap::new();
        pairs.iter().for_each(|pair| *sums.entry(of(pair)).or_default() += pair.2);
        sorted(sums.into_iter().map(|(source, value)| Origin { source, value }).collect(), |origin| origin.value)
    };
    let (queries, keys) = (side(|pair| pair.0), side(|pair| pair.1));
    let terms = pair.terms([&query.sum(), &key.sum()], [&turned_query.sum(), &turned_key.sum()]);
    let mut weight = [score];
    reference::weigh(&mut weight, lse);
    Ok(Why {
        asked,
        score,
        weight: weight[0],
        mean_score: scores.mean,
        parts: Parts(parts.into_iter().collect()),
        terms: sorted(terms, |term| term.value),
        queries,
        keys,
        pairs: sorted(pairs, |pair| pair.2),
        error,
    })
}

/// Refuses a run whose states are no sums of what its words, heads and feed-forwards wrote.
fn check_summed(model: &Model, run: &Run, item: usize) -> Result<(), Error> {
    let changed = |edit: &&Edit<Digest>| matches!(edit, Edit::Stream { .. });
    if let Some(edit) = run.recording.provenance.edits.iter().find(changed) {
        return Err(Error::Unsupported(format!(
            "a score is not taken apart in a run whose residual stream was changed, which then is no sum of what the model wrote to it: {}",
            edit.sentence()
        )));
    }
    if run.recording.items.get(item).is_some_and(|item| !item.target_images().is_empty()) {
        return Err(Error::Unsupported(format!(
            "a score of {} is not taken apart in a text with images in it: what they put into the residual stream is no word's",
            model.name()
        )));
    }
    check_finite(run)
}

/// The largest first, whatever the sign.
fn sorted<T>(mut all: Vec<T>, value: impl Fn(&T) -> f64) -> Vec<T> {
    all.sort_by(|a, b| value(b).abs().total_cmp(&value(a).abs()));
    all
}

/// What a pair of sources belongs to.
fn part_of(query: Source, key: Source) -> Part {
    match (query, key) {
        (Source::Bias, _) | (_, Source::Bias) => Part::Biases,
        (Source::Position, Source::Position) => Part::PositionPosition,
        (Source::Position, _) => Part::PositionContent,
        (_, Source::Position) => Part::ContentPosition,
        _ => Part::Content,
    }
}

/// What of the query's side meets what of the key's, and its share of `scale · q·k`.
type Met = (Source, Source, f64);

/// What a query scores.
struct Scores {
    /// For the key that is asked about.
    of_key: f64,
    /// The mean over the keys that it sees.
    mean: f64,
    /// `ln Σ exp(score)`, sink included.
    lse: f64,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Why scores of a layer are no sums of parts, of any run; `None` where they are.
fn why_whole(architecture: &Architecture, config: &Attention) -> Option<&'static str> {
    let mut stacks = architecture.encoder.iter().chain(&architecture.decoder);
    let reasons = [
        (
            config.why_dense().is_some(),
            "its scores are more than one product of queries and keys with a bias of their distance",
        ),
        (
            config.rotary.as_ref().is_some_and(|rotary| rotary.is_by_place()),
            "it turns queries and keys by the places of patches in an image",
        ),
        (
            stacks.any(|stack| stack.places.is_some()),
            "it adds places to what queries and keys are made of, in each layer",
        ),
        (config.is_normed_turned(), "it normalises queries and keys after they were turned"),
        (config.latent.is_some(), "its queries and keys are made of narrower states with a norm between"),
        (config.clip.is_some(), "it cuts queries and keys, which parts cannot be"),
    ];
    reasons.into_iter().find_map(|(holds, why)| holds.then_some(why))
}

/// A query and a key of one head, with what the head is made of.
struct Pair<'a> {
    asked: Asked,
    config: &'a Attention,
    block: &'a Block,
    weights: &'a AttentionWeights,
    scoring: &'a Scoring,
    kv_head: usize,
    /// The sines and cosines of all positions.
    turns: Option<Turns>,
}

impl<'a> Pair<'a> {
    fn new(model: &'a Model, layer: &'a Layer, map: &AttentionMap<'_>, asked: Asked) -> Result<Pair<'a>, Error> {
        let Asked { kind, head, query, key, .. } = asked;
        for (what, place, n) in [("query", query, map.n_queries()), ("key", key, map.n_keys())] {
            if place >= n {
                return Err(Error::Plan(format!(
                    "{kind} {head} has {n} places along its {what} axis, and no place {place}"
                )));
            }
        }
        if !map.sees(query, key) {
            return Err(Error::Plan(format!(
                "query {query} of {kind} {head} does not see key {key}: its score is −∞, by the mask"
            )));
        }
        let architecture = &model.transformer().architecture;
        let stack = if kind == Kind::Encoder { &architecture.encoder } else { &architecture.decoder };
        let block = stack.as_ref().and_then(|stack| stack.blocks.get(head.layer));
        let config =
            block.and_then(|block| if kind == Kind::Cross { block.cross.as_ref() } else { block.own_attention() });
        let (Some(block), Some(config)) = (block, config) else {
            return Err(Error::Plan(format!("{} has no {kind} {head}", model.name())));
        };
        let scoring = match (why_whole(architecture, config), layer.factored()) {
            (None, Some(factored)) => &factored.scoring,
            (why, _) => {
                let why = why.unwrap_or("the weights of this layer were changed in the run");
                return Err(Error::Unsupported(format!("the scores of {} are not taken apart: {why}", model.name())));
            }
        };
        let n = map.n_keys().max(map.n_queries());
        let length = map.key_tokens().unpadded(map.n_keys()).last().map_or(n, |last| last + 1);
        let turns = config.rotary.as_ref().map(|rotary| Turns::new(rotary, 0, n, &[length], &PatchPlaces::default()));
        let kv_head = layer.shape.kv_head(head.head);
        Ok(Pair { asked, config, block, weights: attention_of(model, layer)?, scoring, kv_head, turns })
    }

    /// What the recorded queries and keys score.
    fn scores(&self, layer: &Layer, map: &AttentionMap<'_>) -> Result<Scores, Error> {
        let Some(factored) = layer.factored() else {
            return Err(Error::Unsupported("dense weights have no scores".into()));
        };
        let Asked { item, head, query, key, .. } = self.asked;
        let (shape, width) = (layer.shape, layer.shape.d_head);
        let row = (item * shape.n_heads + head.head) * shape.n_queries + query;
        let first_key = (item * shape.n_kv_heads + self.kv_head) * shape.n_keys;
        let q = widened(&factored.queries.read(row * width..(row + 1) * width)?);
        let keys = factored.keys.read(first_key * width..(first_key + shape.n_keys) * width)?;
        let lse = factored.lse.read(row..row + 1)?;
        let score = |key: usize| {
            let k = widened(&keys[key * width..][..width]);
            self.scoring.score(head.head, query, key, dot(&q, &k)) + self.key_bias(layer, key)
        };
        let seen: Vec<f64> = (0..shape.n_keys).filter(|key| map.sees(query, *key)).map(score).collect();
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        Ok(Scores { of_key: score(key), mean, lse: lse.first().copied().unwrap_or(f64::NEG_INFINITY) })
    }

    /// The score without what is added to it, by what it comes from, and what of the query's side meets what of the key's: both sides before
    /// they are turned, and after.
    fn met(
        &self,
        [query, key]: [&Components; 2],
        [turned_query, turned_key]: [&Components; 2],
    ) -> (BTreeMap<Part, f64>, Vec<Met>) {
        let scale = f64::from(self.config.scale);
        let mut parts: BTreeMap<Part, f64> = BTreeMap::new();
        let mut pairs = Vec::new();
        for ((one, unturned), (_, turned)) in query.parts.iter().zip(&turned_query.parts) {
            for ((other, unturned_key), (_, turned_key)) in key.parts.iter().zip(&turned_key.parts) {
                let at_one_place = scale * dot(unturned, unturned_key);
                let value = scale * dot(turned, turned_key);
                *parts.entry(part_of(*one, *other)).or_default() += at_one_place;
                if self.config.rotary.is_some() {
                    *parts.entry(Part::Rotation).or_default() += value - at_one_place;
                }
                pairs.push((*one, *other, value));
            }
        }
        if self.scoring.softcap.is_some() {
            let product: f64 = pairs.iter().map(|(.., value)| value).sum();
            parts.insert(Part::SoftCap, self.scoring.capped(product / scale) - product);
        }
        (parts, pairs)
    }

    /// What is added to the score by relative position, and by key.
    fn bias(&self, layer: &Layer) -> f64 {
        let Asked { head, query, key, .. } = self.asked;
        let offset = key as i64 - (query + self.scoring.query_offset) as i64;
        f64::from(self.scoring.bias.value(head.head, offset)) + self.key_bias(layer, key)
    }

    fn key_bias(&self, layer: &Layer, key: usize) -> f64 {
        let Some(bias) = layer.factored().and_then(|factored| factored.key_bias.as_ref()) else { return 0.0 };
        let shape = layer.shape;
        let item = if bias.len() == shape.n_heads * shape.n_keys { 0 } else { self.asked.item };
        let place = (item * shape.n_heads + self.asked.head.head) * shape.n_keys + key;
        bias.get(place).map_or(0.0, |bias| f64::from(*bias))
    }

    /// The parts of the query before it is turned. Shape of each `[d_head]`.
    fn query_side(&self, model: &Model, run: &Run) -> Result<Components, Error> {
        let Asked { item, kind, head, query, .. } = self.asked;
        let mut state = match kind {
            Kind::Cross => before_cross(model, run, (item, query), head.layer)?,
            _ => entering(model, run, kind, (item, query), head.layer)?,
        };
        read_by(&mut state, self.block, self.weights);
        let rows = match &self.weights.projections {
            Projections::Joint(linear) | Projections::Apart { query: linear, .. } => {
                self.rows(linear, 0..self.config.query_width(), head.head)
            }
            Projections::Latent(_) => return Err(through_narrower_states(model)),
        };
        state.project(&rows);
        self.normalised(state, &self.weights.query_norm, head.head)
    }

    /// The parts of the key before it is turned. Shape of each `[d_head]`.
    fn key_side(&self, model: &Model, run: &Run) -> Result<Components, Error> {
        let Asked { item, kind, head, key, .. } = self.asked;
        let kv_width = self.config.key_width();
        let (mut state, rows) = match &self.weights.projections {
            Projections::Joint(linear) => {
                let mut state = entering(model, run, kind, (item, key), head.layer)?;
                read_by(&mut state, self.block, self.weights);
                let start = self.config.query_width();
                (state, self.rows(linear, start..start + kv_width, self.kv_head))
            }
            Projections::Latent(_) => return Err(through_narrower_states(model)),
            Projections::Apart { key_value, .. } => {
                let n_layers = model.transformer().architecture.encoder.as_ref().map_or(0, |stack| stack.blocks.len());
                (
                    entering(model, run, Kind::Encoder, (item, key), n_layers)?,
                    self.rows(key_value, 0..kv_width, self.kv_head),
                )
            }
        };
        state.project(&rows);
        self.normalised(state, &self.weights.key_norm, self.kv_head)
    }

    /// A head's rows of a projection, with its bias; those of all heads, `whole`, where they are normalised together.
    fn rows(&self, linear: &Linear, whole: Range<usize>, head: usize) -> Linear {
        let d_head = self.config.d_head;
        let of_head = whole.start + head * d_head..whole.start + (head + 1) * d_head;
        let places = if self.is_normed_together() { whole } else { of_head };
        let mut rows = vec![0.0; places.len() * linear.d_in]; // [places.len(), d_in]
        for (row, place) in rows.chunks_exact_mut(linear.d_in).zip(places.clone()) {
            linear.weight.row(place, row);
        }
        let bias = linear.bias.as_ref().map(|bias| bias[places.clone()].to_vec());
        Linear::new(rows, bias, places.len(), linear.d_in)
    }

    /// Whether queries, or keys, of all heads are normalised together.
    fn is_normed_together(&self) -> bool {
        self.config.qk_norm.is_some_and(|norm| norm.scope == QkScope::All)
    }

    /// The parts behind the norm of queries or keys, where there is one. Shape of each `[d_head]`.
    fn normalised(
        &self,
        mut state: Components,
        norm: &Option<crate::NormWeights>,
        head: usize,
    ) -> Result<Components, Error> {
        if let Some(norm) = norm {
            state.normalise(&self.norm_of(norm, head));
        }
        if self.is_normed_together() {
            let d_head = self.config.d_head;
            state.parts.iter_mut().for_each(|(_, part)| *part = part[head * d_head..(head + 1) * d_head].to_vec());
        }
        Ok(state)
    }

    /// A head's norm of queries or keys.
    fn norm_of(&self, norm: &crate::NormWeights, head: usize) -> crate::NormWeights {
        let part = |all: &[f32]| -> Vec<f32> {
            match self.config.qk_norm.map(|norm| norm.scope) {
                Some(QkScope::OwnHead) if !all.is_empty() => {
                    all[head * self.config.d_head..][..self.config.d_head].to_vec()
                }
                _ => all.to_vec(),
            }
        };
        crate::NormWeights { norm: norm.norm, weight: part(&norm.weight).into(), bias: part(&norm.bias).into() }
    }

    /// The parts turned to a position.
    fn turned(&self, parts: &Components, position: usize) -> Components {
        let mut turned = parts.clone();
        if let Some(turns) = &self.turns {
            for (_, part) in &mut turned.parts {
                let mut row: Vec<f32> = part.iter().map(|x| *x as f32).collect();
                turns.apply(0, position, &mut row);
                *part = widened(&row);
            }
        }
        turned
    }

    /// `scale · q·k` by columns, those that turn together as pairs.
    fn terms(&self, [q, k]: [&[f64]; 2], [turned_q, turned_k]: [&[f64]; 2]) -> Vec<Term> {
        let scale = f64::from(self.config.scale);
        let sum =
            |columns: &[usize], q: &[f64], k: &[f64]| scale * columns.iter().map(|at| q[*at] * k[*at]).sum::<f64>();
        let term = |columns: Vec<usize>, frequency: Option<f64>| Term {
            value: sum(&columns, turned_q, turned_k),
            unturned: frequency.map(|_| sum(&columns, q, k)),
            wavelength: frequency.map(|frequency| std::f64::consts::TAU / frequency),
            columns,
        };
        let Some((rotary, turns)) = self.config.rotary.as_ref().zip(self.turns.as_ref()) else {
            return (0..self.config.d_head).map(|column| term(vec![column], None)).collect();
        };
        let (first, half) = (rotary.first_column, rotary.n_columns / 2);
        let pair = |place: usize| match rotary.pairs {
            Pairs::Halves => vec![first + place, first + place + half],
            Pairs::Neighbours => vec![first + 2 * place, first + 2 * place + 1],
        };
        let turning = (0..half).map(|place| term(pair(place), Some(turns.frequency(place))));
        let others = (0..first).chain(first + rotary.n_columns..self.config.d_head);
        turning.chain(others.map(|column| term(vec![column], None))).collect()
    }
}
