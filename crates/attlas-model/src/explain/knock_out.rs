//! Measured effects: what becomes of a model's output when a head's output, its weights or one of its edges is taken away.
//!
//! A head is knocked out in one pass of its own, which goes on from the hidden states that enter the head's layer, so that the
//! layers before it are computed once for all; heads of one layer are computed beside each other, as items of one batch. The
//! numbers are those of a whole run with that change, bit by bit.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use attlas::analysis::Rows;
use attlas::recording::{Edit, HeadOutput, Heads, NewWeights, Which};
use attlas::{AttentionMap, HeadId, Kind};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::score::{Metric, Unchanged};
use crate::run::collect::HeadMeans;
use crate::run::resume::{Resumed, Start};
use crate::{Array, Error, Input, Keep, Model, Next, Pass, Run, RunOptions, Site};

/// How a head is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// Its output is set to 0, the value's bias included; the output projection's bias stays.
    Zero,
    /// Its output becomes its mean over the rows of one or more texts, the same at every row.
    Mean,
    /// Its weights become the same for all visible keys.
    Uniform,
    /// Each row of its weights is dealt out anew among the visible keys.
    Permute {
        /// The same seed deals the same way.
        seed: u64,
    },
    /// As [`Removal::Zero`], and the weights of all later layers stay those of the unchanged run: what is lost is what the head
    /// moved, not where it made others look (Olsson et al. 2022, "pattern-preserving").
    PatternPreserving,
}

impl Removal {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Removal::Zero => "zero",
            Removal::Mean => "mean",
            Removal::Uniform => "uniform",
            Removal::Permute { .. } => "permute",
            Removal::PatternPreserving => "pattern-preserving",
        }
    }
}

/// A head of a kind of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KindHead {
    /// Encoder self-attention, decoder self-attention or cross-attention.
    pub kind: Kind,
    /// Layer and head.
    pub head: HeadId,
}

impl KindHead {
    /// The head, for all rows of all texts.
    pub fn heads(self) -> Heads {
        Heads::one(self.kind, self.head)
    }

    /// Whether its layer is computed before that of another, so that what it gives can reach it.
    pub fn is_before(self, other: KindHead) -> bool {
        order(self.kind, self.head.layer) < order(other.kind, other.head.layer)
    }
}

/// `cross:L2H4`.
impl fmt::Display for KindHead {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.kind, self.head)
    }
}

impl Model {
    /// Every head, encoder, decoder, cross, each in the order of layers.
    pub fn heads(&self) -> Vec<KindHead> {
        let of_kind = |kind: Kind| {
            let layers = self.transformer.architecture.attention(kind).into_iter();
            let of_layer = move |(layer, n): (usize, usize)| {
                (0..n).map(move |head| KindHead { kind, head: HeadId { layer, head } })
            };
            layers.map(|(layer, attention)| (layer, attention.n_heads)).flat_map(of_layer).collect::<Vec<_>>()
        };
        Kind::ALL.into_iter().flat_map(of_kind).collect()
    }
}

/// Rows of hidden states, and numbers of logits, that changed runs have beside each other at most.
const MAX_ROWS: usize = 1024;
const MAX_LOGITS: usize = 1 << 26;
/// What is kept of an unchanged run at most.
const MAX_BYTES: usize = 4 << 30;

/// A text's unchanged run, with everything from which changed runs go on.
#[derive(Debug, Clone)]
pub struct Baseline<'m> {
    model: &'m Model,
    /// What the model read.
    pub input: Input,
    /// The run: attention, hidden states and outputs of heads were kept.
    pub run: Run,
    /// Its output.
    pub unchanged: Unchanged,
}

/// Tells how many changed runs are done, and asks whether to go on.
pub type Watch<'w> = dyn FnMut(usize) -> Next + 'w;

/// Takes some of the changed runs with their logits. Shape `[variants, rows, n_logits]`.
type Batches<'e> = dyn FnMut(&[usize], &[f32]) -> Result<(), Error> + 'e;

impl<'m> Baseline<'m> {
    /// Runs the model on one text and keeps what changed runs need.
    ///
    /// # Errors
    /// When the model cannot read the text, has no logits, would keep more than 4 GB, or computes what is no number; the layer
    /// and head in which that begins are named.
    pub fn of(model: &'m Model, input: &Input) -> Result<Baseline<'m>, Error> {
        check_memory(model, input)?;
        let pass = Pass::keeping([Site::Attention, Site::Values, Site::Logits, Site::Stream, Site::HeadOutputs]);
        let mut run = model.run(std::slice::from_ref(input), &RunOptions { pass, ..RunOptions::default() })?;
        check_finite(&run)?;
        let logits = run.logits.take().filter(|logits| !logits.values.is_empty()).ok_or_else(|| {
            Error::Unsupported(format!(
                "{} has no logits: its files hold only the layers, so that no output shows what a change does",
                model.name()
            ))
        })?;
        let unchanged = Unchanged::of(model, input, logits);
        Ok(Baseline { model, input: input.clone(), run, unchanged })
    }

    /// The model that was run.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The number of the unchanged run.
    ///
    /// # Errors
    /// As [`Metric::value`].
    pub fn value(&self, metric: &Metric) -> Result<f64, Error> {
        let rows = metric.rows(&self.unchanged)?;
        metric.value(&self.unchanged.at(&rows)?, &self.unchanged)
    }

    /// The numbers of `n` changed runs, for each of the metrics; `edits` says what is changed in each. Shape `[n][metrics]`.
    ///
    /// # Errors
    /// When a change names what is not there, a metric is not defined, what comes out is no number, or `watch` says stop.
    pub fn values(
        &self,
        metrics: &[Metric],
        n: usize,
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let starts: Vec<Option<Start>> = (0..n).map(|variant| Start::of(&edits(variant))).collect();
        self.values_from(metrics, &starts, edits, watch)
    }

    /// As [`Baseline::values`], where it is known from which layer each run goes on: large changes are made once for each.
    pub(super) fn values_from(
        &self,
        metrics: &[Metric],
        starts: &[Option<Start>],
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let of_metrics = metrics.iter().map(|metric| metric.rows(&self.unchanged)).collect::<Result<Vec<_>, _>>()?;
        let mut all: Vec<Vec<f64>> = vec![Vec::new(); starts.len()];
        let mut rows: Vec<Option<usize>> = of_metrics.concat();
        rows.sort_unstable();
        rows.dedup();
        let places: Vec<Vec<usize>> =
            of_metrics.iter().map(|own| own.iter().filter_map(|row| rows.binary_search(row).ok()).collect()).collect();
        let width = self.model.transformer.n_logits();
        let (unchanged, n_rows) = (&self.unchanged, rows.len());
        self.outputs_from(&rows, starts, edits, watch, &mut |variants, logits| {
            // beside each other: a divergence of large rows takes as long as a layer
            let of_variant = |values: &[f32]| -> Result<Vec<f64>, Error> {
                let logits = Array { shape: vec![n_rows, width], values: values.to_vec() };
                metrics
                    .iter()
                    .zip(&places)
                    .map(|(metric, own)| metric.value(&chosen(&logits, own), unchanged))
                    .collect()
            };
            let found: Vec<_> = logits.par_chunks_exact((n_rows * width).max(1)).map(of_variant).collect();
            for (variant, found) in variants.iter().zip(found) {
                let told = |error: Error| Error::Input(format!("with {}: {error}", in_words(&edits(*variant))));
                all[*variant] = found.map_err(told)?;
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Calls `each` with the logits of each of `n` changed runs, of the rows that are chosen. Shape `[rows, n_logits]`.
    ///
    /// # Errors
    /// As [`Baseline::values`], and whatever `each` says.
    pub fn outputs(
        &self,
        rows: &[Option<usize>],
        n: usize,
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
        watch: &mut Watch<'_>,
        each: &mut dyn FnMut(usize, &Array) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let starts: Vec<Option<Start>> = (0..n).map(|variant| Start::of(&edits(variant))).collect();
        let width = self.model.transformer.n_logits();
        self.outputs_from(rows, &starts, edits, watch, &mut |variants, logits| {
            let logits = logits.chunks_exact((rows.len() * width).max(1));
            variants.iter().zip(logits).try_for_each(|(variant, values)| {
                each(*variant, &Array { shape: vec![rows.len(), width], values: values.to_vec() })
            })
        })
    }

    /// Calls `each` with some of the changed runs and their logits. Shape `[variants, rows, n_logits]`.
    fn outputs_from(
        &self,
        rows: &[Option<usize>],
        starts: &[Option<Start>],
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
        watch: &mut Watch<'_>,
        each: &mut Batches<'_>,
    ) -> Result<(), Error> {
        let width = self.model.transformer.n_logits();
        let mut by_start: BTreeMap<Option<Start>, Vec<usize>> = BTreeMap::new();
        starts.iter().enumerate().for_each(|(variant, start)| by_start.entry(*start).or_default().push(variant));
        let size = self.n_beside().min(MAX_LOGITS / (rows.len() * width).max(1)).max(1);
        let mut n_done = 0;
        for (start, variants) in by_start {
            for batch in variants.chunks(size) {
                if watch(n_done) == Next::Stop {
                    return Err(Error::Stopped);
                }
                let Some(start) = start else {
                    let logits = self.unchanged.at(rows)?;
                    batch.iter().try_for_each(|variant| each(&[*variant], &logits.values))?;
                    n_done += batch.len();
                    continue;
                };
                let resumed = self.resumed(start, batch, edits, Pass::keeping([]))?;
                let logits = self.model.logits_at(&resumed.hidden, batch.len(), rows);
                each(batch, &logits)?;
                n_done += batch.len();
            }
        }
        watch(n_done);
        Ok(())
    }

    /// Goes on from a layer, once for each of the variants.
    pub(super) fn resumed(
        &self,
        start: Start,
        variants: &[usize],
        edits: &dyn Fn(usize) -> Vec<Edit<Array>>,
        keep: Pass,
    ) -> Result<Resumed, Error> {
        let variants = variants.iter().map(|variant| edits(*variant)).collect();
        self.model.resume(&self.input, &self.run, start, variants, keep)
    }

    /// The effect of taking each of the heads away: the number with the change less the number without. `means` are the outputs
    /// of heads over texts for [`Removal::Mean`]; of this text's rows alone when it is `None`.
    ///
    /// # Errors
    /// As [`Baseline::values`], and when the model has no such head.
    pub fn effects(
        &self,
        heads: &[KindHead],
        method: Removal,
        metric: &Metric,
        means: Option<&HeadMeans>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<f64>, Error> {
        let alone: Vec<Vec<KindHead>> = heads.iter().map(|head| vec![*head]).collect();
        self.effects_together(&alone, method, metric, means, watch)
    }

    /// The effect of taking all heads of a set away at once, for each of the sets: heads that do the same work stand in for each
    /// other, so that the effects of a set's heads need not sum to it.
    ///
    /// # Errors
    /// As [`Baseline::effects`].
    pub fn effects_together(
        &self,
        sets: &[Vec<KindHead>],
        method: Removal,
        metric: &Metric,
        means: Option<&HeadMeans>,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<f64>, Error> {
        sets.iter().flatten().try_for_each(|head| self.check_head(*head))?;
        let own = match (method, means) {
            (Removal::Mean, None) => HeadMeans::of(&self.run)?,
            _ => HeadMeans::default(),
        };
        let means = means.unwrap_or(&own);
        let frozen = if method == Removal::PatternPreserving { self.patterns()? } else { Vec::new() };
        let of_head = |head: &KindHead| -> Result<Edit<Array>, Error> {
            let mean = (method == Removal::Mean).then(|| means.mean(head.kind, head.head)).transpose()?;
            Ok(edit(*head, method, mean))
        };
        let of_sets: Vec<Vec<Edit<Array>>> =
            sets.iter().map(|set| set.iter().map(of_head).collect()).collect::<Result<_, _>>()?;
        let edits = |place: usize| {
            let first = sets[place].iter().map(|head| order(head.kind, head.head.layer)).min();
            let is_later = |edit: &&Edit<Array>| edit.heads().map(|heads| order(heads.kind, heads.layer)) > first;
            [of_sets[place].clone(), frozen.iter().filter(is_later).cloned().collect()].concat()
        };
        let before = self.value(metric)?;
        // weights that stay are of layers after the first change
        let starts: Vec<Option<Start>> = of_sets.iter().map(|edits| Start::of(edits)).collect();
        let after = self.values_from(std::slice::from_ref(metric), &starts, &edits, watch)?;
        Ok(after.iter().flatten().map(|after| after - before).collect())
    }

    /// The pairs of a head that can be hidden one by one, query and key: those that it sees. A row of a single key is left out, as
    /// it has nothing to share with.
    ///
    /// # Errors
    /// When the model has no such head.
    pub fn edges(&self, head: KindHead, queries: &Which) -> Result<Vec<(usize, usize)>, Error> {
        self.check_head(head)?;
        let map = self.map_of(head)?;
        let mut pairs = Vec::new();
        Rows::of(&map).for_each(|row| {
            if queries.contains(row.query) && row.n_visible() > 1 {
                pairs.extend(row.visible_keys().map(|key| (row.query, key)));
            }
        });
        Ok(pairs)
    }

    /// The effect of hiding single keys from a head, at one row or all: for each of [`Baseline::edges`], query, key and effect.
    /// The rest of the row shares the hidden weight.
    ///
    /// # Errors
    /// As [`Baseline::effects`].
    pub fn edge_effects(
        &self,
        head: KindHead,
        queries: &Which,
        metric: &Metric,
        watch: &mut Watch<'_>,
    ) -> Result<Vec<(usize, usize, f64)>, Error> {
        let pairs = self.edges(head, queries)?;
        let edits = |place: usize| {
            let (query, key) = pairs[place];
            let heads = Heads { queries: Which::These(vec![query]), ..head.heads() };
            vec![Edit::Edges { heads, keys: Which::These(vec![key]) }]
        };
        let before = self.value(metric)?;
        let after = self.values(std::slice::from_ref(metric), pairs.len(), &edits, watch)?;
        Ok(pairs
            .iter()
            .zip(after.iter().flatten())
            .map(|(&(query, key), after)| (query, key, after - before))
            .collect())
    }

    /// The mean over the text's rows of each row's largest weight: 1 where a head looks at one key at a time, and small where
    /// it looks at many. What makes a map look meaningful, whether or not the model uses it.
    ///
    /// # Errors
    /// When the model has no such head.
    pub fn mean_weight(&self, head: KindHead) -> Result<f64, Error> {
        self.check_head(head)?;
        let map = self.map_of(head)?;
        let largest = Rows::of(&map).map(|row| row.weights.iter().copied().fold(0.0_f32, f32::max));
        Ok(largest.iter().map(|weight| f64::from(*weight)).sum::<f64>() / largest.len().max(1) as f64)
    }

    /// The weights of all layers as edits that keep them, one for each layer.
    fn patterns(&self) -> Result<Vec<Edit<Array>>, Error> {
        let shapes = self.run.recording.layers.iter().map(|layer| layer.shape);
        let numbers = shapes.map(|shape| [shape.n_heads, shape.n_queries, shape.n_keys]);
        check_patterns(numbers, self.n_beside(), self.n_rows())?;
        let pattern = |layer: &attlas::Layer| -> Result<Edit<Array>, Error> {
            let shape = layer.shape;
            let mut values = Vec::with_capacity(shape.n_heads * shape.n_queries * shape.n_keys); // [heads, queries, keys]
            for head in 0..shape.n_heads {
                values.extend(self.run.recording.map(0, layer.kind, layer.index, head)?.dense());
            }
            let array = Array { shape: vec![1, shape.n_heads, shape.n_queries, shape.n_keys], values };
            Ok(Edit::Weights { heads: Heads::all(layer.kind, layer.index), to: NewWeights::Given(array) })
        };
        self.run.recording.layers.iter().map(pattern).collect()
    }

    /// The map of a head in the unchanged run.
    pub(super) fn map_of(&self, head: KindHead) -> Result<AttentionMap<'_>, Error> {
        Ok(self.run.recording.map(0, head.kind, head.head.layer, head.head.head)?)
    }

    /// Refuses a head that is not there.
    pub(super) fn check_head(&self, head: KindHead) -> Result<(), Error> {
        self.model.check_head(head)
    }

    /// Changed runs beside each other at most.
    fn n_beside(&self) -> usize {
        (MAX_ROWS / self.n_rows()).max(1)
    }

    /// Rows of hidden states of one item.
    fn n_rows(&self) -> usize {
        (self.input.source.len() + self.input.target.len()).max(1)
    }
}

impl Model {
    /// `12 decoder layers of 12 heads`, for messages.
    pub fn heads_in_words(&self) -> String {
        let of_kind = |kind: Kind| {
            let layers = self.transformer.architecture.attention(kind);
            let n_heads = layers.iter().map(|(_, layer)| layer.n_heads).max()?;
            Some(format!("{} {kind} layers of {n_heads} heads", layers.len()))
        };
        Kind::ALL.into_iter().filter_map(of_kind).collect::<Vec<_>>().join(" and ")
    }

    /// Refuses a head that is not there.
    pub(super) fn check_head(&self, KindHead { kind, head }: KindHead) -> Result<(), Error> {
        match self.transformer.architecture.attention_at(kind, head.layer) {
            Some(layer) if head.head < layer.n_heads => Ok(()),
            _ => Err(Error::Plan(format!(
                "there is no head {head} of {}; {} has {}",
                kind.title(),
                self.name(),
                self.heads_in_words()
            ))),
        }
    }
}

/// The change that takes a head away.
fn edit(head: KindHead, method: Removal, mean: Option<Array>) -> Edit<Array> {
    let heads = head.heads();
    match (method, mean) {
        (Removal::Mean, Some(mean)) => Edit::HeadOutput { heads, to: HeadOutput::Mean(mean) },
        (Removal::Uniform, _) => Edit::Weights { heads, to: NewWeights::Uniform },
        (Removal::Permute { seed }, _) => Edit::Weights { heads, to: NewWeights::Permuted { seed } },
        _ => Edit::HeadOutput { heads, to: HeadOutput::Zero },
    }
}

/// Attention layers in the order of a pass: the encoder's, then each block's own before its cross-attention.
pub(super) fn order(kind: Kind, layer: usize) -> (bool, usize, bool) {
    (kind != Kind::Encoder, layer, kind == Kind::Cross)
}

/// Rows of logits. Shape of `logits`: `[rows, n_logits]`.
fn chosen<'a>(logits: &'a Array, places: &[usize]) -> Cow<'a, Array> {
    let width = logits.shape[1];
    if places.iter().copied().eq(0..logits.shape[0]) {
        return Cow::Borrowed(logits);
    }
    let values = places.iter().flat_map(|place| &logits.values[place * width..][..width]).copied().collect();
    Cow::Owned(Array { shape: vec![places.len(), width], values })
}

/// The first change, in words.
fn in_words(edits: &[Edit<Array>]) -> String {
    edits.first().map_or_else(|| "nothing changed".to_owned(), |edit| edit.map(Array::digest).sentence())
}

/// Refuses weights that would be kept of all layers, once and for each of the runs beside each other, before they are made.
fn check_patterns(shapes: impl Iterator<Item = [usize; 3]>, n_beside: usize, n_tokens: usize) -> Result<(), Error> {
    let n = shapes.map(|shape| shape.into_iter().fold(1, usize::saturating_mul)).fold(0, usize::saturating_add);
    let n_bytes = n.saturating_mul(size_of::<f32>()).saturating_mul(1 + n_beside);
    if n_bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "the weights of all layers, which stay as they are, would take {} MB for a text of {n_tokens} tokens, more than {} MB; use \
         a shorter text",
        n_bytes >> 20,
        MAX_BYTES >> 20
    )))
}

/// Refuses a run that would keep too much, before it starts.
fn check_memory(model: &Model, input: &Input) -> Result<(), Error> {
    let architecture = &model.transformer.architecture;
    let mut n = 0usize;
    let stacks = [(&architecture.encoder, &input.source), (&architecture.decoder, &input.target)];
    for (stack, tokens) in stacks.into_iter().filter_map(|(stack, tokens)| Some((stack.as_ref()?, tokens))) {
        n = n.saturating_add(tokens.len().saturating_mul((stack.blocks.len() + 1) * stack.d_model * 4));
    }
    n = n.saturating_add(model.predicted_at(input).len().saturating_mul(model.transformer.n_logits()));
    let n_bytes = n.saturating_mul(size_of::<f32>());
    if n_bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(Error::Limit(format!(
        "the hidden states, heads and logits of this text would take {} MB, more than {} MB; use a shorter text",
        n_bytes >> 20,
        MAX_BYTES >> 20
    )))
}

/// Refuses a run in which something is no number, by the first place where it is not.
pub(super) fn check_finite(run: &Run) -> Result<(), Error> {
    let is_broken = |values: &[f32]| values.iter().any(|value| !value.is_finite());
    // outputs of heads come after all streams of their stack
    let of = |site: Site| run.kept.iter().filter(move |kept| kept.site == site);
    for kept in of(Site::HeadOutputs).filter(|kept| is_broken(&kept.array.values)) {
        let [_, n_heads, n, width] = kept.array.shape[..] else { continue };
        let head =
            (0..n_heads).find(|head| is_broken(&kept.array.values[head * n * width..][..n * width])).unwrap_or(0);
        let id = HeadId { layer: kept.layer, head };
        let (before, kind) = (kept.layer, kept.kind);
        let stack = if kind == Kind::Cross { Kind::Decoder } else { kind };
        let entered = run.kept(Site::Stream, stack, before).is_some_and(|stream| is_broken(&stream.values));
        let found = if entered { "already in the hidden states that enter its layer" } else { "first in its output" };
        return Err(Error::Input(format!(
            "the run has numbers that are infinite or none (NaN): {found}, at {id} of {}; nothing can be measured on it",
            kind.title()
        )));
    }
    match of(Site::Stream).find(|kept| is_broken(&kept.array.values)) {
        None => Ok(()),
        Some(kept) => Err(Error::Input(format!(
            "the run has numbers that are infinite or none (NaN), from the hidden states that enter layer {} of the {} on",
            kept.layer, kept.kind
        ))),
    }
}

/// What has to be kept of a run over which outputs of heads are averaged.
pub fn keeping_head_outputs() -> Pass {
    Pass { keep: vec![Keep { site: Site::HeadOutputs, kind: None, layers: None }], edits: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use super::*;

    #[test]
    fn weights_that_stay_are_refused_where_they_would_fill_the_memory() {
        let of_gpt2 = |n: usize| check_patterns(std::iter::repeat_n([12, n, n], 12), (MAX_ROWS / n).max(1), n);
        assert!(of_gpt2(1024).is_ok());
        assert_eq!(
            of_gpt2(8192).unwrap_err().to_string(),
            "the weights of all layers, which stay as they are, would take 73728 MB for a text of 8192 tokens, more than 4096 MB; use \
             a shorter text"
        );
        assert!(of_gpt2(usize::MAX).is_err());
    }

    #[test]
    fn changes_whose_first_layer_is_known_are_made_once_for_each_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/explain/models/gpt2_tiny");
        let model = Model::load(&folder).expect("a model");
        let target = model.tokens_from_ids(crate::Side::Target, &[3, 1, 4, 1, 5]).expect("tokens");
        let baseline = Baseline::of(&model, &Input { target, ..Input::default() }).expect("a run");
        let heads = model.heads();
        let n_made = Cell::new(0);
        let edits = |place: usize| {
            n_made.set(n_made.get() + 1);
            vec![edit(heads[place], Removal::Zero, None)]
        };
        let starts: Vec<Option<Start>> =
            heads.iter().map(|head| Start::of(&[edit(*head, Removal::Zero, None)])).collect();
        let metrics = [Metric::KullbackLeibler];
        let found = baseline.values_from(&metrics, &starts, &edits, &mut |_| Next::Continue).expect("numbers");
        assert_eq!(n_made.get(), heads.len());
        assert_eq!(found, baseline.values(&metrics, heads.len(), &edits, &mut |_| Next::Continue).expect("numbers"));
    }
}
