//! One state of the residual stream as a sum: of its token, its position, heads, feed-forwards and biases, every norm on the way taken
//! with the variance that it had.

use std::borrow::Cow;
use std::fmt;

use attlas::{HeadId, Kind, TokenRole};
use attlas_kernels::Onto;
use serde::{Serialize, Serializer};

use super::parts::{LinearNorm, Sublayer, add, length, stream, widened};
use crate::Error;
use crate::block::feed_forward::feed_forward;
use crate::block::forward::StackRef;
use crate::block::join::Join;
use crate::block::linear::Linear;
use crate::block::norm::NormWeights;
use crate::block::rope::sinusoidal_row;
use crate::block::weights::{BlockWeights, StackWeights};
use crate::block::workspace::Workspace;
use crate::config::{Block, Positions, Projected, Reads, Residual, Stack};
use crate::model::Model;
use crate::run::record::Run;

/// Where a part of a state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The token's row of the embedding.
    Token,
    /// The position's row, learnt or of sines.
    Position,
    /// The segment's row.
    Segment,
    /// Embedding, position and all, where they are not told apart: patches of images, frames of sounds.
    Embedding,
    /// A head.
    Head(Kind, HeadId),
    /// The feed-forward of a layer of a stack, its biases in it.
    FeedForward(Kind, usize),
    /// The biases of norms and projections.
    Bias,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Token => f.write_str("token"),
            Source::Position => f.write_str("position"),
            Source::Segment => f.write_str("segment"),
            Source::Embedding => f.write_str("embedding"),
            Source::Head(kind, head) => write!(f, "{kind}:{head}"),
            Source::FeedForward(kind, layer) => write!(f, "{kind}:L{layer} feed-forward"),
            Source::Bias => f.write_str("biases"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A state as a sum of parts. Shape of each `[width]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Components {
    pub parts: Vec<(Source, Vec<f64>)>,
}

impl Components {
    /// Their sum.
    pub fn sum(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.parts.first().map_or(0, |(_, part)| part.len())];
        self.parts.iter().for_each(|(_, part)| add(&mut sum, part));
        sum
    }

    /// Adds to the part of a source.
    pub fn add(&mut self, source: Source, addend: Vec<f64>) {
        match self.parts.iter_mut().find(|(other, _)| *other == source) {
            Some((_, part)) => add(part, &addend),
            None => self.parts.push((source, addend)),
        }
    }

    /// The parts behind a norm: each through what it does linearly at their sum, and its bias apart.
    pub fn normalise(&mut self, norm: &NormWeights) {
        let state = self.sum();
        let linear = LinearNorm::at(norm, &state);
        self.parts.iter_mut().for_each(|(_, part)| linear.apply(part));
        let bias = linear.bias();
        if !bias.is_empty() {
            self.add(Source::Bias, bias);
        }
    }

    /// The parts behind a dense layer: each through its matrix, and its bias apart.
    pub fn project(&mut self, matrix: &Linear) {
        for (_, part) in &mut self.parts {
            *part = forward(matrix, part);
        }
        if let Some(bias) = &matrix.bias {
            self.add(Source::Bias, widened(bias));
        }
    }
}

/// `x · Wᵀ`, without the bias.
fn forward(matrix: &Linear, input: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0_f32; matrix.d_in];
    let output = |place: usize| {
        matrix.weight.row(place, &mut row);
        row.iter().zip(input).map(|(w, x)| f64::from(*w) * x).sum()
    };
    (0..matrix.d_out).map(output).collect()
}

/// What the self-attention of a layer reads at one position, before its own norm; for `layer` the number of layers, what leaves the stack.
///
/// # Errors
/// When the run did not keep what is needed, or the stack has what this cannot take apart.
pub(super) fn entering(
    model: &Model,
    run: &Run,
    stack: Kind,
    (item, position): (usize, usize),
    layer: usize,
) -> Result<Components, Error> {
    let absent = || Error::Plan(format!("{} has no {stack}", model.name()));
    let StackRef { config, weights, .. } = model.transformer().stack(stack).ok_or_else(absent)?;
    model.check_whole("states are not taken apart through them")?;
    if config.convolution.is_some() && layer > 0 {
        return Err(Error::Unsupported(format!(
            "{} joins a convolution to its states, which mixes positions",
            model.name()
        )));
    }
    let mut state = embedded(config, weights, run, stack, (item, position))?;
    for (index, (block, weights)) in config.blocks.iter().zip(&weights.blocks).enumerate().take(layer) {
        let walk = Walk { model, run, stack, layer: index, item, position, block, weights };
        walk.block(&mut state)?;
    }
    if let (Some(norm), true) = (&weights.final_norm, layer == config.blocks.len()) {
        state.normalise(norm);
    }
    Ok(state)
}

/// What the cross-attention of a decoder layer reads at one position, before its own norm.
///
/// # Errors
/// As [`entering`].
pub(super) fn before_cross(model: &Model, run: &Run, at: (usize, usize), layer: usize) -> Result<Components, Error> {
    let mut state = entering(model, run, Kind::Decoder, at, layer)?;
    let absent = || Error::Plan(format!("{} has no decoder", model.name()));
    let StackRef { config, weights, .. } = model.transformer().stack(Kind::Decoder).ok_or_else(absent)?;
    let (item, position) = at;
    if let (Some(block), Some(weights)) = (config.blocks.get(layer), weights.blocks.get(layer)) {
        let walk = Walk { model, run, stack: Kind::Decoder, layer, item, position, block, weights };
        walk.self_attention(&mut state, &walk.own()?);
    }
    Ok(state)
}

/// One block on the way.
struct Walk<'a> {
    model: &'a Model,
    run: &'a Run,
    stack: Kind,
    layer: usize,
    item: usize,
    position: usize,
    block: &'a Block,
    weights: &'a BlockWeights,
}

impl Walk<'_> {
    /// Takes the state through the block.
    fn block(&self, state: &mut Components) -> Result<(), Error> {
        let (before, own) = (state.sum(), self.own()?);
        self.self_attention(state, &own);
        if let Some(cross) = &self.weights.cross {
            let layer = self.run.recording.layer(Kind::Cross, self.layer)?;
            let residual = Cow::Owned(own.output());
            let sublayer = Sublayer::new(self.model, self.run, layer, self.item, residual)?;
            join(state, self.heads(&sublayer, Kind::Cross), cross.join(self.block.residual));
        }
        self.feed_forward(state, &before);
        Ok(())
    }

    /// The block's self-attention.
    fn own(&self) -> Result<Sublayer<'_>, Error> {
        let entering = stream(self.run, self.stack, self.layer, self.item)?;
        let layer = self.run.recording.layer(self.stack, self.layer)?;
        Sublayer::new(self.model, self.run, layer, self.item, Cow::Borrowed(entering))
    }

    fn self_attention(&self, state: &mut Components, own: &Sublayer<'_>) {
        join(state, self.heads(own, self.stack), self.weights.mixer.join(self.block.residual));
    }

    /// What the heads of a sublayer add, and its bias.
    fn heads(&self, sublayer: &Sublayer<'_>, kind: Kind) -> Components {
        let id = |head: usize| Source::Head(kind, HeadId { layer: self.layer, head });
        let heads = sublayer.heads(self.position).into_iter().enumerate();
        let mut parts: Vec<(Source, Vec<f64>)> = heads.map(|(head, added)| (id(head), added)).collect();
        parts.extend(sublayer.bias().map(|bias| (Source::Bias, bias)));
        Components { parts }
    }

    /// The feed-forward; in parallel blocks it reads what entered the block, `before`.
    fn feed_forward(&self, state: &mut Components, before: &[f64]) {
        let output = fed(self.block, self.weights, before, &state.sum());
        let parts = vec![(Source::FeedForward(self.stack, self.layer), output)];
        join(state, Components { parts }, self.weights.feed_forward_join(self.block.residual));
    }
}

/// Adds what a sublayer gives, with the norms where they belong.
fn join(state: &mut Components, mut added: Components, join: Join<'_>) {
    join.on_output().into_iter().for_each(|norm| added.normalise(norm));
    added.parts.into_iter().for_each(|(source, part)| state.add(source, part));
    join.on_sum().into_iter().for_each(|norm| state.normalise(norm));
}

/// What the feed-forward of a block gives at one position, before a norm on it. It reads `state`, what is there after attention; in
/// parallel blocks `before`, what entered the block. Shapes `[d_model]`.
pub(super) fn fed(block: &Block, weights: &BlockWeights, before: &[f64], state: &[f64]) -> Vec<f64> {
    let read = match block.residual {
        Residual::Parallel | Residual::ParallelSharedNorm => before,
        _ => state,
    };
    let mut input: Vec<f32> = read.iter().map(|x| *x as f32).collect();
    weights.feed_forward_join(block.residual).before().into_iter().for_each(|norm| norm.normalise(&mut input));
    let mut output = vec![0.0; input.len()]; // [d_model]
    let (config, weights) = (&block.feed_forward, &weights.feed_forward);
    feed_forward(config, weights, &input, &mut output, Onto::Replace, &mut Workspace::default());
    widened(&output)
}

/// The first state: of the token, its position and its segment, where they can be told apart.
fn embedded(
    config: &Stack,
    weights: &StackWeights,
    run: &Run,
    stack: Kind,
    (item, position): (usize, usize),
) -> Result<Components, Error> {
    let first = stream(run, stack, 0, item)?;
    let whole = first.get(position * config.d_model..(position + 1) * config.d_model);
    let whole = widened(whole.ok_or_else(|| Error::Plan(format!("the {stack} has no position {position}")))?);
    let told = (config.embedding.reads == Reads::Tokens).then(|| told(config, weights, run, stack, (item, position)));
    let told = told.flatten().filter(|parts| {
        let mut rest = parts.sum();
        rest.iter_mut().zip(&whole).for_each(|(x, y)| *x -= y);
        length(&rest) <= 1e-4 * (1.0 + length(&whole)) // else something was added that is not known here, such as another segment
    });
    Ok(told.unwrap_or_else(|| Components { parts: vec![(Source::Embedding, whole)] }))
}

fn told(
    config: &Stack,
    weights: &StackWeights,
    run: &Run,
    stack: Kind,
    (item, position): (usize, usize),
) -> Option<Components> {
    let (embedding, tables) = (&config.embedding, &weights.embedding);
    let tokens = run.recording.items.get(item)?.queries(stack);
    let token = tokens.tokens.get(position)?;
    let mut row = vec![0.0_f32; embedding.width];
    tables.tokens.row(token.id? as usize, &mut row);
    let factor = match embedding.dropped {
        None => embedding.scale,
        Some(dropped) => {
            let real = || tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding);
            let ids: Vec<u32> = real().filter_map(|token| token.id).collect();
            let factors: Vec<f32> = embedding.factors_of(dropped, &ids, ids.len()).collect();
            *factors.get(position)?
        }
    };
    let scaled = row.iter().map(|x| f64::from(*x) * f64::from(factor)).collect();
    let mut state = Components { parts: vec![(Source::Token, scaled)] };
    let projection = tables.projection.as_ref();
    if let (Some(projection), Projected::Token) = (projection, embedding.projected) {
        state.project(projection);
    }
    let width = state.parts.first()?.1.len();
    let of_position = embedding.position(position, token.role == TokenRole::Padding).map(|place| {
        let stored = tables.positions.as_ref().and_then(|table| table.get(place * width..(place + 1) * width));
        match (stored, embedding.positions) {
            (Some(row), _) => widened(row),
            (None, Positions::Sinusoidal { arrangement, .. }) => {
                let mut sines = vec![0.0; width];
                sinusoidal_row(arrangement, place, &mut sines);
                widened(&sines)
            }
            _ => vec![0.0; width],
        }
    });
    of_position.into_iter().for_each(|row| state.add(Source::Position, row));
    if let Some(types) = tables.token_types.as_ref().and_then(|types| types.get(..width)) {
        state.add(Source::Segment, widened(types));
    }
    tables.norm.iter().for_each(|norm| state.normalise(norm));
    if let (Some(projection), Projected::Last) = (projection, embedding.projected) {
        state.project(projection);
    }
    Some(state)
}

/// What a layer's own norm makes of the state that it reads.
pub(super) fn read_by(state: &mut Components, block: &Block, weights: &crate::AttentionWeights) {
    weights.join(block.residual).before().into_iter().for_each(|norm| state.normalise(norm));
}
