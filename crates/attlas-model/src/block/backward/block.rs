//! Back through one block: what its sublayers computed is kept on a tape, and they are walked in reverse.

use std::borrow::Cow;

use attlas::Kind;

use super::attention::AttentionBack;
use super::feed_forward::FeedForwardTape;
use super::sums::{Part, Place};
use super::{Back, Halt, add};
use crate::block::dropout::Dropout;
use crate::block::forward::{BlockRef, normalise_to};
use crate::block::join::Join;
use crate::block::norm::NormWeights;
use crate::block::state::{AttentionCall, LayerState};
use crate::block::weights::AttentionWeights;
use crate::block::workspace::Workspace;
use crate::config::{Attention, Residual};

/// A sublayer and what it computed. Shapes `[n, d_model]`.
struct Tape<'a> {
    join: Join<'a>,
    place: Place,
    /// Which numbers of its result are set to 0.
    dropout: Dropout,
    /// What enters the sublayer.
    stream: Vec<f32>,
    /// What its function reads.
    input: Vec<f32>,
    /// What its function gives, after dropout; empty where nothing that goes back depends on it.
    result: Vec<f32>,
}

impl<'a> Tape<'a> {
    /// Takes what the sublayer reads.
    fn new(join: Join<'a>, place: Place, dropout: Dropout, stream: Vec<f32>, d_model: usize) -> Tape<'a> {
        let mut input = vec![0.0; stream.len()]; // [n, d_model]
        normalise_to(join.before(), &stream, &mut input, d_model);
        Tape { join, place, dropout, stream, input, result: Vec::new() }
    }

    /// What leaves the sublayer; `result` is what its function gave.
    fn forward(&mut self, mut result: Vec<f32>, d_model: usize) -> Vec<f32> {
        self.dropout.apply(&mut result);
        let mut stream = self.stream.clone();
        match self.join {
            Join::Pre(_) => {
                add(&mut stream, &result);
                return stream;
            }
            Join::Post(norm) => norm.add_and_apply(&mut stream, &result, d_model),
            Join::OutputNorm(norm) | Join::Sandwich(_, norm) => {
                let mut normed = result.clone();
                norm.apply(&mut normed, d_model);
                add(&mut stream, &normed);
            }
        }
        self.result = result;
        stream
    }

    /// Takes the gradient of what leaves the sublayer to that of what enters it; `f` goes back through its function.
    fn go_back(
        &self,
        back: &mut Back<'_>,
        d_stream: &mut [f32],
        d_model: usize,
        f: impl FnOnce(&mut Back<'_>, &[f32], &[f32]) -> Result<Vec<f32>, Halt>,
    ) -> Result<(), Halt> {
        let (rules, place) = (back.rules, self.place);
        // 1. the norm that read the result
        let d_result = match self.join {
            Join::Pre(_) => None,
            Join::Post(norm) => {
                let mut sum = self.stream.clone();
                add(&mut sum, &self.result);
                norm.go_back(rules, &sum, d_stream, d_model, back.sums.norm(place));
                None
            }
            Join::OutputNorm(norm) => {
                let mut d_result = d_stream.to_vec();
                norm.go_back(rules, &self.result, &mut d_result, d_model, back.sums.norm(place));
                Some(d_result)
            }
            Join::Sandwich(_, norm) => {
                let mut d_result = d_stream.to_vec();
                norm.go_back(rules, &self.result, &mut d_result, d_model, back.sums.post_norm(place));
                Some(d_result)
            }
        };
        // 2. the function, and the norm that it read
        let d_result = dropped(self.dropout, d_result.as_deref().unwrap_or(d_stream));
        let mut d_input = f(back, &self.input, &d_result)?;
        if let Some(norm) = self.join.before() {
            norm.go_back(rules, &self.stream, &mut d_input, d_model, back.sums.norm(place));
        }
        add(d_stream, &d_input);
        Ok(())
    }
}

/// What goes back through dropout.
fn dropped(dropout: Dropout, gradient: &[f32]) -> Cow<'_, [f32]> {
    if dropout.is_off() {
        return Cow::Borrowed(gradient);
    }
    let mut gradient = gradient.to_vec();
    dropout.apply(&mut gradient);
    Cow::Owned(gradient)
}

/// The dropout of one block.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockDropout {
    pub dropout: Dropout,
    /// The number of its first sublayer among those of the Transformer.
    pub first: u64,
}

impl BlockDropout {
    /// Of a sublayer: its attention weights or hidden layer at site 0, its result at site 1.
    fn of(self, sublayer: u64, site: u64) -> Dropout {
        self.dropout.at(self.first + sublayer).at(site)
    }
}

/// A block and what it computed.
pub(super) struct BlockTape<'a> {
    d_model: usize,
    place: Place,
    attention: AttentionBack<'a>,
    way: Way<'a>,
    feed_forward: FeedForwardTape<'a>,
    /// The result of the feed-forward: which numbers are set to 0.
    dropout: Dropout,
}

/// How the sublayers of a block stand to each other.
enum Way<'a> {
    /// One after the other.
    InTurn { first: Tape<'a>, second: Option<Box<(Tape<'a>, AttentionBack<'a>)>>, last: Tape<'a> },
    /// `x + attention(norm(x)) + feed_forward(norm′(x))`.
    BesideEachOther {
        /// What enters the block.
        stream: Vec<f32>,
        /// What the attention reads.
        input: Vec<f32>,
        /// What the feed-forward reads, if it is something else.
        other: Option<Vec<f32>>,
        attended: Vec<f32>,
        dropout: Dropout,
        norms: [Option<&'a NormWeights>; 2],
    },
}

impl<'a> BlockRef<'a> {
    /// Computes the block for its way back. Shape of `stream`: `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When it has no attention.
    pub(super) fn tape(
        self,
        call: AttentionCall<'a>,
        dropout: BlockDropout,
        stream: Vec<f32>,
        workspace: &mut Workspace,
    ) -> Result<BlockTape<'a>, Halt> {
        let BlockRef { config, weights, d_model } = self;
        let attention = weights.attention().ok_or(Halt::Recurrence { stack: call.kind, layer: call.index })?;
        if matches!(config.residual, Residual::Parallel | Residual::ParallelSharedNorm) {
            return Ok(self.parallel_tape(call, attention, dropout, stream, workspace));
        }
        let place = Place { kind: call.kind, layer: call.index, part: Part::Attention };
        // 1. attention
        let mut first = Tape::new(attention.join(config.residual), place, dropout.of(0, 1), stream, d_model);
        let own = AttentionCall { dropout: dropout.of(0, 0), ..call };
        let (looking, result) = attend(own, &config.attention, attention, &first.input, workspace);
        let mut stream = first.forward(result, d_model);
        // 2. cross-attention
        let mut second = None;
        if let (Some(cross_config), Some(cross)) = (&config.cross, &weights.cross) {
            let joined = cross.join(config.residual);
            let place = Place { kind: Kind::Cross, ..place };
            let mut tape = Tape::new(joined, place, dropout.of(1, 1), stream, d_model);
            let call = AttentionCall { kind: Kind::Cross, dropout: dropout.of(1, 0), ..call };
            let (looking, result) = attend(call, cross_config, cross, &tape.input, workspace);
            stream = tape.forward(result, d_model);
            second = Some(Box::new((tape, looking)));
        }
        // 3. the feed-forward, all of it where a norm reads what it gives
        let [hidden, result] = [0, 1].map(|site| dropout.of(1 + u64::from(second.is_some()), site));
        let place = Place { part: Part::FeedForward, ..place };
        let joined = weights.feed_forward_join(config.residual);
        let mut last = Tape::new(joined, place, result, stream, d_model);
        let feed_forward = FeedForwardTape::new(&config.feed_forward, &weights.feed_forward, hidden, &last.input);
        if !matches!(last.join, Join::Pre(_)) {
            last.result = feed_forward.result(&last.input, workspace);
        }
        Ok(BlockTape {
            d_model,
            place,
            attention: looking,
            way: Way::InTurn { first, second, last },
            feed_forward,
            dropout: result,
        })
    }

    fn parallel_tape(
        self,
        call: AttentionCall<'a>,
        attention: &'a AttentionWeights,
        dropout: BlockDropout,
        stream: Vec<f32>,
        workspace: &mut Workspace,
    ) -> BlockTape<'a> {
        let BlockRef { config, weights, d_model } = self;
        let norms = [attention.norm.as_ref(), weights.feed_forward_norm.as_ref()];
        let mut input = vec![0.0; stream.len()]; // [n, d_model]
        normalise_to(norms[0], &stream, &mut input, d_model);
        let own = AttentionCall { dropout: dropout.of(0, 0), ..call };
        let (attention, attended) = attend(own, &config.attention, attention, &input, workspace);
        let other = norms[1].map(|norm| {
            let mut other = vec![0.0; stream.len()]; // [n, d_model]
            norm.apply_to(&stream, &mut other, d_model);
            other
        });
        let read = other.as_ref().unwrap_or(&input);
        let feed_forward = FeedForwardTape::new(&config.feed_forward, &weights.feed_forward, dropout.of(1, 0), read);
        let way = Way::BesideEachOther { stream, input, other, attended, dropout: dropout.of(0, 1), norms };
        let place = Place { kind: call.kind, layer: call.index, part: Part::FeedForward };
        BlockTape { d_model, place, attention, way, feed_forward, dropout: dropout.of(1, 1) }
    }
}

impl BlockTape<'_> {
    /// What leaves the block. Shape `[n_items · n, d_model]`.
    pub fn leave(&mut self, workspace: &mut Workspace) -> Vec<f32> {
        match &mut self.way {
            Way::InTurn { last, .. } => {
                let held = std::mem::take(&mut last.result);
                let result = if held.is_empty() { self.feed_forward.result(&last.input, workspace) } else { held };
                last.forward(result, self.d_model)
            }
            Way::BesideEachOther { stream, input, other, attended, dropout, .. } => {
                let mut result = self.feed_forward.result(other.as_ref().unwrap_or(input), workspace);
                self.dropout.apply(&mut result);
                add(&mut result, &dropped(*dropout, attended));
                add(&mut result, stream);
                result
            }
        }
    }

    /// Takes the gradient of what leaves the block to that of what enters it; `d_source` gets what goes back to the
    /// encoder's hidden states. Shapes `[n_items · n, d_model]`.
    ///
    /// # Errors
    /// When what comes back from an attention head is not finite.
    pub fn go_back(&self, back: &mut Back<'_>, d_stream: &mut [f32], d_source: &mut [f32]) -> Result<(), Halt> {
        let BlockTape { d_model, place, attention, feed_forward, .. } = self;
        let feed_forward_back = |back: &mut Back<'_>, input: &[f32], d: &[f32]| {
            let sums = back.sums.feed_forward(place.kind, place.layer);
            feed_forward.go_back(back.rules, input, d, sums)
        };
        match &self.way {
            Way::InTurn { first, second, last } => {
                last.go_back(back, d_stream, *d_model, |back, input, d| Ok(feed_forward_back(back, input, d)))?;
                if let Some((tape, cross)) = second.as_deref() {
                    tape.go_back(back, d_stream, *d_model, |back, input, d| {
                        let gradient = cross.go_back(back, input, d)?;
                        add(d_source, &gradient.source.unwrap_or_default());
                        Ok(gradient.input)
                    })?;
                }
                first.go_back(back, d_stream, *d_model, |back, input, d| Ok(attention.go_back(back, input, d)?.input))
            }
            Way::BesideEachOther { stream, input, other, dropout, norms, .. } => {
                let (rules, d_model) = (back.rules, *d_model);
                let mut d_input = attention.go_back(back, input, &dropped(*dropout, d_stream))?.input;
                let d = dropped(self.dropout, d_stream);
                let mut d_other = feed_forward_back(back, other.as_ref().unwrap_or(input), &d);
                drop(d);
                match norms[1] {
                    Some(norm) => norm.go_back(rules, stream, &mut d_other, d_model, back.sums.norm(*place)),
                    None => add(&mut d_input, &std::mem::take(&mut d_other)),
                }
                if let Some(norm) = norms[0] {
                    let sums = back.sums.norm(Place { part: Part::Attention, ..*place });
                    norm.go_back(rules, stream, &mut d_input, d_model, sums);
                }
                add(d_stream, &d_input);
                add(d_stream, &d_other);
                Ok(())
            }
        }
    }
}

/// Computes an attention layer for its way back. Shapes of `input` and of what it gives: `[n, d_model]`.
fn attend<'a>(
    call: AttentionCall<'a>,
    config: &'a Attention,
    weights: &'a AttentionWeights,
    input: &[f32],
    workspace: &mut Workspace,
) -> (AttentionBack<'a>, Vec<f32>) {
    let mut state = LayerState::default();
    let mut output = vec![0.0; input.len()]; // [n, d_model]
    call.run(config, weights, &mut state, input, &mut output, workspace);
    (AttentionBack { call, config, weights, state }, output)
}
