//! Goes on with a run from the hidden states that enter a layer, for several changes of it side by side.

use attlas::Kind;
use attlas::recording::{Edit, Which};

use super::check::Sizes;
use super::collect::{Kept, Seen};
use super::generate::Decoding;
use super::input::{Input, Side};
use super::record::Run;
use crate::Error;
use crate::block::pass::{Array, Next, Pass, Plan, Purpose, Site};
use crate::block::state::StackState;
use crate::block::workspace::Workspace;
use crate::config::Readout;
use crate::model::Model;

/// A layer of a stack, in the order of a pass: what is before it stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Start {
    /// Whether it is the decoder's.
    pub in_decoder: bool,
    /// The layer; one more than the last for what leaves the stack.
    pub layer: usize,
}

impl Start {
    /// The first layer that one of the changes touches; `None` where there is none.
    pub fn of(edits: &[Edit<Array>]) -> Option<Start> {
        let start = |edit: &Edit<Array>| {
            let (kind, layer) = match edit {
                Edit::Stream { stack, layer, .. } => (*stack, *layer),
                Edit::HeadOutput { heads, .. } | Edit::Edges { heads, .. } | Edit::Weights { heads, .. } => {
                    (heads.kind, heads.layer)
                }
            };
            Start { in_decoder: kind != Kind::Encoder, layer }
        };
        edits.iter().map(start).min()
    }
}

/// What comes of going on.
pub(crate) struct Resumed {
    /// The hidden states that the readout reads. Shape `[n_variants, n, d_model]`.
    pub hidden: Vec<f32>,
    /// What was kept on the way, one item for each variant.
    pub kept: Vec<Kept>,
}

impl Model {
    /// Goes on with the run of one text that kept every layer's hidden states, once for each list of changes, beside each other;
    /// `keep` says what is kept of it. The numbers are those of a run from the beginning.
    ///
    /// # Errors
    /// When a change names what is not there, or the run did not keep its hidden states.
    pub(crate) fn resume(
        &self,
        input: &Input,
        run: &Run,
        start: Start,
        variants: Vec<Vec<Edit<Array>>>,
        keep: Pass,
    ) -> Result<Resumed, Error> {
        let sizes = Sizes::of(std::slice::from_ref(input), Decoding::TeacherForcing);
        let n_items = variants.len();
        let mut pass = keep;
        for (item, edits) in variants.into_iter().enumerate() {
            let edits = Pass { edits, ..Pass::keeping([]) };
            self.check_pass(&edits, sizes)?;
            pass.edits.extend(edits.edits.into_iter().map(|edit| of_item(edit, item)));
        }
        let inputs = vec![input.clone(); n_items];
        let batch = self.padded(&inputs)?;
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let (mut encoder, mut decoder) = (StackState::default(), StackState::default());
        let mut workspace = Workspace::default();
        let mut watch = |_| Next::Continue;
        let states = |kind: Kind, layer: usize| -> Result<Vec<f32>, Error> {
            let absent = || Error::Plan(format!("the run kept no hidden states of {kind} layer {layer}"));
            Ok(run.kept(Site::Stream, kind, layer).ok_or_else(absent)?.values.repeat(n_items))
        };
        // 1. the encoder, from where something changes in it
        let encoded = match self.transformer.stack(Kind::Encoder) {
            Some(stack) if start.in_decoder => Some(states(Kind::Encoder, stack.config.blocks.len())?),
            Some(stack) => {
                let (batch, stream) = (batch.source(), states(Kind::Encoder, start.layer)?);
                let first = start.layer;
                let run = stack.run_from(first, stream, batch, None, &mut encoder, plan, &mut watch, &mut workspace);
                Some(run?)
            }
            None => None,
        };
        // 2. the decoder, from there or whole
        let places = self.transformer.source_places(batch.source());
        let source = encoded.as_ref().map(|hidden| batch.encoded(hidden, &places));
        let decoded = match self.transformer.stack(Kind::Decoder) {
            Some(stack) => {
                let first = if start.in_decoder { start.layer } else { 0 };
                let (batch, stream) = (batch.target(), states(Kind::Decoder, first)?);
                let run = stack.run_from(first, stream, batch, source, &mut decoder, plan, &mut watch, &mut workspace);
                Some(run?)
            }
            None => None,
        };
        let (source_valid, target_valid) = (batch.source_valid.as_deref(), batch.target_valid.as_deref());
        let seen = Seen { plan, n_items, encoder, decoder, source_valid, target_valid };
        let firsts = if start.in_decoder { [0, start.layer] } else { [start.layer, 0] };
        let (_, kept) = seen.collect_from(firsts, &self.transformer);
        Ok(Resumed { hidden: decoded.or(encoded).unwrap_or_default(), kept })
    }

    /// The hidden states that leave the last block of the stack that the readout reads, before its final norm. Shape `[n, d_model]`.
    ///
    /// # Errors
    /// When the run did not keep its hidden states.
    pub(crate) fn before_final_norm(&self, input: &Input, run: &Run) -> Result<Vec<f32>, Error> {
        let absent = || Error::Plan("the run kept no hidden states".to_owned());
        let states = |kind: Kind, layer: usize| run.kept(Site::Stream, kind, layer).ok_or_else(absent);
        let (kind, in_decoder) = if self.has(Side::Target) { (Kind::Decoder, true) } else { (Kind::Encoder, false) };
        let stack = self.transformer.stack(kind).ok_or_else(absent)?;
        let n_layers = stack.config.blocks.len();
        let last = n_layers.checked_sub(1).ok_or_else(absent)?;
        let mut stream = states(kind, last)?.values.clone(); // [n, d_model]
        let inputs = std::slice::from_ref(input);
        let padded = self.padded(inputs)?;
        let encoded = match self.transformer.stack(Kind::Encoder).filter(|_| in_decoder) {
            Some(encoder) => Some(&states(Kind::Encoder, encoder.config.blocks.len())?.values),
            None => None,
        };
        let places = self.transformer.source_places(padded.source());
        let source = encoded.map(|hidden| padded.encoded(hidden, &places));
        let pass = Pass::keeping([]);
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let batch = if in_decoder { padded.target() } else { padded.source() };
        let (mut state, mut workspace) = (StackState::default(), Workspace::default());
        let mut watch = |_| Next::Continue;
        stack.run_blocks(last, &mut stream, batch, source, &mut state, plan, &mut watch, &mut workspace)?;
        Ok(stream)
    }

    /// Logits of some rows of each item; `None` is the one row of a model of classes. Shapes `[n_items, n, d_model]` and
    /// `[n_items · rows.len(), n_logits]`.
    pub(crate) fn logits_at(&self, hidden: &[f32], n_items: usize, rows: &[Option<usize>]) -> Vec<f32> {
        let architecture = &self.transformer.architecture;
        let Some(stack) = architecture.decoder.as_ref().or(architecture.encoder.as_ref()) else { return Vec::new() };
        let items = hidden.chunks_exact((hidden.len() / n_items).max(1));
        let chosen: Vec<f32> = match &architecture.readout {
            Readout::Classes { pooled, .. } => items.flat_map(|item| pooled.row(item, stack)).collect(),
            _ => {
                let row = |item: &[f32], row: usize| item[row * stack.d_model..][..stack.d_model].to_vec();
                items.flat_map(|item| rows.iter().flatten().flat_map(move |place| row(item, *place))).collect()
            }
        };
        self.transformer.logits(&chosen)
    }
}

/// The change, for one item of a batch alone.
fn of_item(mut edit: Edit<Array>, item: usize) -> Edit<Array> {
    match &mut edit {
        Edit::HeadOutput { heads, .. } | Edit::Edges { heads, .. } | Edit::Weights { heads, .. } => {
            heads.items = Which::These(vec![item]);
        }
        Edit::Stream { items, .. } => *items = Which::These(vec![item]),
    }
    edit
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::RunOptions;

    #[test]
    fn hidden_states_of_a_run_that_goes_on_have_the_numbers_of_their_layers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/explain/models/gpt2_tiny");
        let model = Model::load(&folder).expect("a model");
        let target = model.tokens_from_ids(Side::Target, &[3, 1, 4, 1, 5]).expect("tokens");
        let input = Input { target, ..Input::default() };
        let options = RunOptions { pass: Pass::keeping([Site::Stream]), ..RunOptions::default() };
        let run = model.run(std::slice::from_ref(&input), &options).expect("a run");
        let start = Start { in_decoder: true, layer: 2 };
        let resumed =
            model.resume(&input, &run, start, vec![Vec::new()], Pass::keeping([Site::Stream])).expect("it goes on");
        let layers: Vec<usize> = resumed.kept.iter().map(|kept| kept.layer).collect();
        assert_eq!(layers, [2, 3]);
        for kept in &resumed.kept {
            assert_eq!(run.kept(kept.site, kept.kind, kept.layer), Some(&kept.array), "layer {}", kept.layer);
        }
    }
}
