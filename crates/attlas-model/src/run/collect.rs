//! What a run leaves: the layers of a recording, and the sites that were kept besides.

use std::collections::BTreeMap;

use attlas::attention::Inputs;
use attlas::recording::{Heads, TokenExpert};
use attlas::{Factored, HeadId, Kind, Layer, Scoring, TokenRole, Trace, Weights};

use super::record::Run;
use crate::Error;
use crate::block::attention::head_major;
use crate::block::edits::WeightEdits;
use crate::block::pass::{Array, Plan, Purpose, Site};
use crate::block::state::{LayerState, StackState};
use crate::block::weights::{BlockWeights, Transformer};
use crate::config::{Attention, Block};

/// A site that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// Which place of the Transformer the numbers are from.
    pub site: Site,
    /// The kind of attention, or the stack's for hidden states.
    pub kind: Kind,
    /// The layer.
    pub layer: usize,
    /// The numbers; [`Site`] says what their axes are.
    pub array: Array,
}

/// The mean output of heads over runs that kept [`Site::HeadOutputs`], over the rows and texts that `heads` chooses,
/// padding left out. Shape `[heads, d_value]`, of those that are chosen: what a head's output can be replaced by.
///
/// # Errors
/// When a run did not keep them, or no row is left.
pub fn mean_head_outputs(runs: &[Run], heads: &Heads) -> Result<Array, Error> {
    let Heads { kind, layer, .. } = *heads;
    let mut sums: Vec<f64> = Vec::new(); // [heads, d_value]
    let (mut n_rows, mut shape) = (0usize, Vec::new());
    for run in runs {
        let absent = || Error::Plan(format!("a run kept no head outputs of {kind} layer {layer}"));
        let array = run.kept(Site::HeadOutputs, kind, layer).ok_or_else(absent)?;
        let [_, n_heads, n_queries, width] = array.shape[..] else { return Err(absent()) };
        let mut chosen: Vec<usize> = (0..n_heads).filter(|head| heads.heads.contains(*head)).collect();
        chosen.sort_by_key(|head| heads.heads.place(*head)); // an edit reads them in the order in which they are named
        sums.resize(chosen.len() * width, 0.0);
        shape = vec![chosen.len(), width];
        for (item, outputs) in array.values.chunks_exact(n_heads * n_queries * width).enumerate() {
            for query in (0..n_queries).filter(|query| heads.queries.contains(*query)) {
                if is_padding(run, kind, item, query) || !heads.items.contains(item) {
                    continue;
                }
                n_rows += 1;
                for (sums, head) in sums.chunks_exact_mut(width).zip(&chosen) {
                    let output = &outputs[(head * n_queries + query) * width..][..width];
                    sums.iter_mut().zip(output).for_each(|(sum, value)| *sum += f64::from(*value));
                }
            }
        }
    }
    if n_rows == 0 {
        return Err(Error::Plan(format!("there is no row of {kind} layer {layer} to take a mean over")));
    }
    Ok(Array { shape, values: sums.into_iter().map(|sum| (sum / n_rows as f64) as f32).collect() })
}

/// The mean output of every head over runs that kept [`Site::HeadOutputs`], padding left out: of each run only the sums stay, so
/// that there may be any number of them.
#[derive(Debug, Clone, Default)]
pub struct HeadMeans {
    sums: BTreeMap<(Kind, usize), HeadSums>,
}

/// The sums of one layer.
#[derive(Debug, Clone)]
struct HeadSums {
    n_rows: usize,
    /// Shape `[n_heads, d_value]`.
    sums: Vec<f64>,
    width: usize,
}

impl HeadMeans {
    /// Of one run.
    ///
    /// # Errors
    /// As [`HeadMeans::add`].
    pub fn of(run: &Run) -> Result<HeadMeans, Error> {
        let mut means = HeadMeans::default();
        means.add(run)?;
        Ok(means)
    }

    /// Counts another run in.
    ///
    /// # Errors
    /// When its heads are not those of the runs before.
    pub fn add(&mut self, run: &Run) -> Result<(), Error> {
        for kept in run.kept.iter().filter(|kept| kept.site == Site::HeadOutputs) {
            let [_, n_heads, n_queries, width] = kept.array.shape[..] else { continue };
            let none = HeadSums { n_rows: 0, sums: vec![0.0; n_heads * width], width };
            let own = self.sums.entry((kept.kind, kept.layer)).or_insert(none);
            if (own.sums.len(), own.width) != (n_heads * width, width) {
                return Err(Error::Plan(format!("the runs have other heads in {} layer {}", kept.kind, kept.layer)));
            }
            let n_outputs = (n_heads * n_queries * width).max(1);
            for (item, outputs) in kept.array.values.chunks_exact(n_outputs).enumerate() {
                for query in (0..n_queries).filter(|query| !is_padding(run, kept.kind, item, *query)) {
                    own.n_rows += 1;
                    for (head, sums) in own.sums.chunks_exact_mut(width.max(1)).enumerate() {
                        let output = &outputs[(head * n_queries + query) * width..][..width];
                        sums.iter_mut().zip(output).for_each(|(sum, value)| *sum += f64::from(*value));
                    }
                }
            }
        }
        Ok(())
    }

    /// The mean output of a head. Shape `[1, d_value]`.
    ///
    /// # Errors
    /// When no run kept it, or there was no row.
    pub fn mean(&self, kind: Kind, head: HeadId) -> Result<Array, Error> {
        let found = self.sums.get(&(kind, head.layer)).filter(|layer| layer.n_rows > 0);
        let sums = found.and_then(|layer| Some((layer, layer.sums.chunks_exact(layer.width.max(1)).nth(head.head)?)));
        let Some((layer, sums)) = sums else {
            return Err(Error::Plan(format!("there is no row of {head} of {} to take a mean over", kind.title())));
        };
        let values = sums.iter().map(|sum| (sum / layer.n_rows as f64) as f32).collect();
        Ok(Array { shape: vec![1, layer.width], values })
    }
}

impl Run {
    /// The experts of tokens, each with its text's place, in layers that have no attention and so no place in the recording; of a
    /// run that kept [`Site::Router`].
    pub fn experts_without_attention(&self) -> Vec<(usize, TokenExpert)> {
        let layers = &self.recording.layers;
        let has_place = |kept: &Kept| layers.iter().any(|layer| (layer.kind, layer.index) == (kept.kind, kept.layer));
        let mut found = Vec::new();
        for kept in self.kept.iter().filter(|kept| kept.site == Site::Router && !has_place(kept)) {
            let [_, n, n_experts] = kept.array.shape[..] else { continue };
            let items = self.recording.items.iter().zip(kept.array.values.chunks_exact((n * n_experts).max(1)));
            for (item, (text, shares)) in items.enumerate() {
                let of_layer = TokenExpert::of_layer(kept.kind, kept.layer, text.queries(kept.kind), shares, n_experts);
                found.extend(of_layer.into_iter().map(|one| (item, one)));
            }
        }
        found
    }
}

/// Whether a query of a text is padding.
fn is_padding(run: &Run, kind: Kind, item: usize, query: usize) -> bool {
    let token = run.recording.items.get(item).and_then(|item| item.queries(kind).tokens.get(query));
    token.is_some_and(|token| token.role == TokenRole::Padding)
}

/// What the stacks have seen in a run.
pub(super) struct Seen<'a> {
    pub plan: Plan<'a>,
    pub n_items: usize,
    pub encoder: StackState,
    pub decoder: StackState,
    /// Which source tokens are not padding; all when `None`. Shape `[n_items, n_source]`.
    pub source_valid: Option<&'a [bool]>,
    /// The same of the target. Shape `[n_items, n_target]`.
    pub target_valid: Option<&'a [bool]>,
}

impl Seen<'_> {
    /// The layers of the recording, encoder, decoder, cross, each in order, and what else was kept; buffers are moved,
    /// not copied, where nobody else wants them.
    pub fn collect(self, transformer: &Transformer) -> (Vec<Layer>, Vec<Kept>) {
        self.collect_from([0, 0], transformer)
    }

    /// The same of a run that went on from a layer of the encoder and one of the decoder.
    pub fn collect_from(mut self, first: [usize; 2], transformer: &Transformer) -> (Vec<Layer>, Vec<Kept>) {
        let (mut layers, mut kept) = (Vec::new(), Vec::new());
        self.streams(Kind::Encoder, first[0], &mut kept);
        self.streams(Kind::Decoder, first[1], &mut kept);
        let architecture = &transformer.architecture;
        let (encoder, decoder) = (std::mem::take(&mut self.encoder), std::mem::take(&mut self.decoder));
        if let (Some(stack), Some(weights)) = (&architecture.encoder, &transformer.encoder) {
            let blocks = stack.blocks.iter().zip(&weights.blocks).zip(encoder.attention);
            for (index, ((config, weights), state)) in blocks.enumerate() {
                self.own_layer(Kind::Encoder, index, config, weights, state, &mut layers, &mut kept);
            }
        }
        if let (Some(stack), Some(weights)) = (&architecture.decoder, &transformer.decoder) {
            let blocks = stack.blocks.iter().zip(&weights.blocks);
            for (index, ((config, weights), state)) in blocks.clone().zip(decoder.attention).enumerate() {
                self.own_layer(Kind::Decoder, index, config, weights, state, &mut layers, &mut kept);
            }
            for (index, ((config, weights), state)) in blocks.zip(decoder.cross).enumerate() {
                if let (Some(config), Some(weights)) = (&config.cross, &weights.cross) {
                    self.layer(Kind::Cross, index, config, &weights.scoring, state, &mut layers, &mut kept);
                }
            }
        }
        (layers, kept)
    }

    /// The hidden states of a stack that began with layer `first`.
    fn streams(&mut self, stack: Kind, first: usize, kept: &mut Vec<Kept>) {
        let state = if stack == Kind::Encoder { &mut self.encoder } else { &mut self.decoder };
        let (n, hidden) = (state.past, std::mem::take(&mut state.hidden));
        for (layer, values) in (first..).zip(hidden) {
            if self.plan.pass.keeps_at(Site::Stream, stack, layer) {
                let d_model = values.len().checked_div(self.n_items * n).unwrap_or(0);
                let array = Array { shape: vec![self.n_items, n, d_model], values };
                kept.push(Kept { site: Site::Stream, kind: stack, layer, array });
            }
        }
    }

    /// What a block leaves of its stack's own attention; of one without it, the experts alone.
    #[allow(clippy::too_many_arguments)]
    fn own_layer(
        &self,
        kind: Kind,
        index: usize,
        config: &Block,
        weights: &BlockWeights,
        state: LayerState,
        layers: &mut Vec<Layer>,
        kept: &mut Vec<Kept>,
    ) {
        match weights.attention() {
            Some(attention) => {
                self.layer(kind, index, &config.attention, &attention.scoring, state, layers, kept);
            }
            None => kept.extend(self.router(kind, index, &state)),
        }
    }

    /// The shares of experts, where they are kept.
    fn router(&self, kind: Kind, layer: usize, state: &LayerState) -> Option<Kept> {
        let is_kept = state.n_experts > 0 && self.plan.parts(kind, layer).router;
        is_kept.then(|| {
            let n_rows = state.router.len() / (self.n_items * state.n_experts).max(1);
            let array = Array { shape: vec![self.n_items, n_rows, state.n_experts], values: state.router.clone() };
            Kept { site: Site::Router, kind, layer, array }
        })
    }

    #[allow(clippy::too_many_arguments)]
    fn layer(
        &self,
        kind: Kind,
        index: usize,
        config: &Attention,
        scoring: &Scoring,
        state: LayerState,
        layers: &mut Vec<Layer>,
        kept: &mut Vec<Kept>,
    ) {
        let valid = if kind == Kind::Decoder { self.target_valid } else { self.source_valid };
        let seen = SeenLayer { plan: self.plan, n_items: self.n_items, kind, index, config, scoring, valid };
        seen.keep(&state, kept);
        kept.extend(self.router(kind, index, &state));
        if self.plan.parts(kind, index).recorded {
            layers.push(seen.recorded(state));
        }
    }
}

/// One attention layer of a run.
#[derive(Clone, Copy)]
struct SeenLayer<'a> {
    plan: Plan<'a>,
    n_items: usize,
    kind: Kind,
    index: usize,
    config: &'a Attention,
    scoring: &'a Scoring,
    /// Which keys are not padding. Shape `[n_items, n_keys]`.
    valid: Option<&'a [bool]>,
}

impl SeenLayer<'_> {
    /// The layer of the recording.
    fn recorded(self, mut state: LayerState) -> Layer {
        debug_assert_eq!(state.lse.len(), self.n_items * self.config.n_heads * state.n_queries);
        let shape = self.config.shape(state.n_queries, state.n_keys);
        let edits = self.plan.weight_edits(self.kind, self.index);
        let weights = if self.config.why_dense().is_some() {
            Weights::Dense(state.dense.into())
        } else if !edits.is_empty() {
            Weights::Dense(self.for_all(&state, |inputs, text| edits.weights(inputs, text)).into())
        } else {
            let [queries, keys] = state.take_queries_and_keys();
            Weights::from(Factored {
                scoring: self.config.recorded_scoring(self.scoring, state.n_keys),
                queries,
                keys,
                lse: state.lse.into_iter().map(f64::from).collect::<Vec<f64>>().into(),
                mask: state.mask,
                key_bias: self.config.key_bias(self.valid, &[], state.n_keys).map(Into::into),
            })
        };
        let mut layer = Layer::new(self.kind, self.index, shape, weights);
        if self.plan.pass.keeps_at(Site::Values, self.kind, self.index) {
            layer.traces.insert(Trace::Values, state.values);
        }
        if !state.router.is_empty() {
            layer.traces.insert(Trace::Router, state.router);
        }
        layer
    }

    /// What is kept of the layer besides.
    fn keep(self, state: &LayerState, kept: &mut Vec<Kept>) {
        if self.plan.purpose != Purpose::Whole {
            return;
        }
        let SeenLayer { kind, index: layer, config, n_items, .. } = self;
        let (n_heads, n_kv_heads, d_head, d_value) = (config.n_heads, config.n_kv_heads, config.d_head, config.d_value);
        let mut push = |site: Site, shape: [usize; 4], values: &dyn Fn() -> Vec<f32>| {
            if self.plan.pass.keeps_at(site, kind, layer) {
                kept.push(Kept { site, kind, layer, array: Array { shape: shape.to_vec(), values: values() } });
            }
        };
        let (n_queries, n_keys) = (state.n_queries, state.n_keys);
        push(Site::Queries, [n_items, n_heads, n_queries, d_head], &|| state.queries.clone());
        push(Site::Keys, [n_items, n_kv_heads, n_keys, d_head], &|| state.keys.clone());
        let n_rows = state.outputs.len().checked_div(n_items * n_heads * d_value).unwrap_or(0);
        push(Site::HeadOutputs, [n_items, n_heads, n_rows, d_value], &|| {
            head_major(&state.outputs, [n_items, n_heads, n_rows, d_value])
        });
        let edits = self.plan.weight_edits(kind, layer);
        let scores = || self.for_all(state, |inputs, text| WeightEdits::scores(&edits, inputs, text));
        push(Site::Scores, [n_items, n_heads, n_queries, n_keys], &scores);
    }

    /// Numbers of all items, one after the other.
    fn for_all(self, state: &LayerState, numbers: impl Fn(&Inputs<'_>, usize) -> Vec<f32>) -> Vec<f32> {
        let shape = self.config.shape(state.n_queries, state.n_keys);
        let (n_query, n_key) = (self.config.query_width() * state.n_queries, self.config.key_width() * state.n_keys);
        let key_bias = self.config.key_bias(self.valid, &[], state.n_keys);
        let of_item = |item: usize| {
            let inputs = Inputs {
                queries: &state.queries[item * n_query..][..n_query],
                keys: &state.keys[item * n_key..][..n_key],
                values: &[],
                shape,
                scoring: self.scoring,
                key_valid: self.valid.map(|valid| &valid[item * state.n_keys..][..state.n_keys]),
                mask: state.mask.as_ref().map(|mask| mask.of_item(item, &shape)),
                key_bias: key_bias.as_deref().and_then(|bias| self.config.key_bias_of(bias, item, state.n_keys)),
            };
            numbers(&inputs, self.plan.text(item))
        };
        (0..self.n_items).flat_map(of_item).collect()
    }
}
