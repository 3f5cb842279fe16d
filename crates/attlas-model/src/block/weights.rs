//! The generic Transformer's weights. What is computed with them stands in `forward.rs`.

use std::sync::Arc;

use attlas::Scoring;
use attlas_kernels::Precision;

use super::backbone::BackboneWeights;
use super::convolution::{Convolution, GroupedConvolution};
use super::feed_forward::Xielu;
use super::linear::{Linear, Weight};
use super::norm::NormWeights;
use super::recurrence::RecurrenceWeights;
use crate::config::{Architecture, Experts};

/// A Transformer with its weights.
#[derive(Debug, Clone)]
pub struct Transformer {
    /// What it is made of.
    pub architecture: Architecture,
    /// Weights of the encoder.
    pub encoder: Option<StackWeights>,
    /// Weights of the decoder.
    pub decoder: Option<StackWeights>,
    /// Weights of the readout.
    pub readout: ReadoutWeights,
}

/// The weights of one stack.
#[derive(Debug, Clone)]
pub struct StackWeights {
    /// From ids to hidden states.
    pub embedding: EmbeddingWeights,
    /// One per block; shared where layers share.
    pub blocks: Vec<Arc<BlockWeights>>,
    /// After the last block.
    pub final_norm: Option<NormWeights>,
    /// Beside the first block, with the norm on the sum.
    pub convolution: Option<(Convolution, NormWeights)>,
}

/// The weights of an embedding.
#[derive(Debug, Clone)]
pub struct EmbeddingWeights {
    /// What stands before a table of ids.
    pub reads: ReadWeights,
    /// Shape `[n_tokens, width]`; empty where no ids are read.
    pub tokens: Weight,
    /// Shape `[n_rows, width]`.
    pub positions: Option<Arc<Vec<f32>>>,
    /// Shape `[n_token_types, width]`.
    pub token_types: Option<Arc<Vec<f32>>>,
    /// Applied to the sum.
    pub norm: Option<NormWeights>,
    /// From `width` to `d_model`.
    pub projection: Option<Linear>,
    /// What is added to say where rows stand, with the norm on the sum.
    pub convolution: Option<(GroupedConvolution, Option<NormWeights>)>,
}

/// What makes hidden states of something that is no id.
#[derive(Debug, Clone)]
pub enum ReadWeights {
    /// Ids are read.
    Tokens,
    /// An image's patches.
    Patches(PatchWeights),
    /// An image through the convolutions of a ResNet.
    Grid(BackboneWeights),
    /// A spectrogram's frames, through both in turn.
    Frames([Convolution; 2]),
    /// A sound's samples, through all in turn.
    Samples(Vec<SampleLayer>),
}

/// A convolution over samples, and the norm on what it gives.
#[derive(Debug, Clone)]
pub struct SampleLayer {
    /// Without padding.
    pub convolution: Convolution,
    /// Over columns or rows, as the configuration says.
    pub norm: Option<NormWeights>,
}

/// The weights that make hidden states of an image.
#[derive(Debug, Clone)]
pub struct PatchWeights {
    /// From a patch's numbers, colour by colour, to a hidden state. Shape `[width, n_channels · side²]`.
    pub projection: Linear,
    /// The learnt rows before the patches, positions added. Shape `[n_leading, width]`.
    pub leading: Vec<f32>,
    /// Positions of the patches that the model was trained on, row by row. Shape `[rows · columns, width]`.
    pub positions: Vec<f32>,
}

/// The weights of one block.
#[derive(Debug, Clone)]
pub struct BlockWeights {
    /// Lets the stack's own tokens see each other.
    pub mixer: Mixer,
    /// Looks at the encoder.
    pub cross: Option<AttentionWeights>,
    /// Position by position.
    pub feed_forward: FeedForwardWeights,
    /// Before or after the feed-forward, as the configuration says.
    pub feed_forward_norm: Option<NormWeights>,
    /// On the feed-forward's output (sandwich).
    pub feed_forward_post_norm: Option<NormWeights>,
}

/// The weights by which a stack's own tokens see each other.
#[derive(Debug, Clone)]
pub enum Mixer {
    /// Attention.
    Attention(AttentionWeights),
    /// What stands in its place.
    Recurrence(RecurrenceWeights),
}

/// The weights of one attention layer.
#[derive(Debug, Clone)]
pub struct AttentionWeights {
    /// From hidden states to queries, keys and values.
    pub projections: Projections,
    /// From the heads side by side to the residual stream. Shape `[d_model, n_heads · d_head]`.
    pub output: Linear,
    /// Before or after the attention, as the configuration says.
    pub norm: Option<NormWeights>,
    /// On the attention's output (sandwich).
    pub post_norm: Option<NormWeights>,
    /// From a hidden state to what its heads' columns are multiplied by the sigmoid of, side by side. Shape `[n_heads · d_value, d_model]`.
    pub gate: Option<Linear>,
    /// On queries.
    pub query_norm: Option<NormWeights>,
    /// On keys.
    pub key_norm: Option<NormWeights>,
    /// How scores are formed.
    pub scoring: Arc<Scoring>,
    /// What content meets in scores that join content and distance.
    pub distances: Option<DistanceWeights>,
    /// What is added to scores by more than content and one distance.
    pub added: Option<AddedWeights>,
}

/// Numbers that are added to scores.
#[derive(Debug, Clone)]
pub enum AddedWeights {
    /// One for each way from patch to patch, and three for the row before them.
    Ways {
        /// Shape `[(2 · rows − 1) · (2 · columns − 1) + 3, n_heads]`.
        table: Arc<Vec<f32>>,
        /// Rows and columns of patches.
        grid: [usize; 2],
    },
    /// One for each bucket of distances, times what the query's hidden state says.
    Gated {
        /// Shape `[n_buckets, n_heads]`.
        table: Arc<Vec<f32>>,
        /// Distances from here on share the last bucket.
        max_distance: usize,
        /// From the columns of a head in the hidden state to two gates. Shape `[8, d_head]`.
        gate: Linear,
        /// What the second gate is multiplied by. Shape `[n_heads]`.
        factors: Arc<Vec<f32>>,
    },
}

/// Projected rows of the table of distances, by head.
#[derive(Debug, Clone)]
pub struct DistanceWeights {
    /// What queries meet. Shape `[n_heads, 2 · span, d_head]`.
    pub keys: Option<Vec<f32>>,
    /// What keys meet. Shape `[n_heads, 2 · span, d_head]`.
    pub queries: Option<Vec<f32>>,
}

/// From hidden states to queries, keys and values.
#[derive(Debug, Clone)]
pub enum Projections {
    /// One matrix: query rows, then key rows, then value rows.
    Joint(Linear),
    /// Queries from the decoder's states; key rows, then value rows, from the encoder's.
    Apart {
        /// Shape `[n_heads · d_head, d_model]`.
        query: Linear,
        /// Shape `[2 · n_kv_heads · d_head, d_encoder]`.
        key_value: Linear,
    },
    /// Through narrower states.
    Latent(Box<LatentProjections>),
}

/// From hidden states to queries, keys and values through narrower states.
#[derive(Debug, Clone)]
pub struct LatentProjections {
    /// Queries of all heads.
    pub query: QueryProjection,
    /// The narrower state and the keys' shared columns; from the former the other columns of all heads' keys, then the values.
    pub key_value: Narrowed,
}

/// From hidden states to queries, where keys and values come from a narrower state.
#[derive(Debug, Clone)]
pub enum QueryProjection {
    /// Straight. Shape `[n_heads · d_head, d_model]`.
    Plain(Linear),
    /// Through a narrower state of their own.
    Narrowed(Narrowed),
}

/// Two dense layers with a norm between them.
#[derive(Debug, Clone)]
pub struct Narrowed {
    /// Into the narrower state, and into columns that pass the rest by. Shape `[width + n_passing, d_model]`.
    pub down: Linear,
    /// On the narrower state.
    pub norm: NormWeights,
    /// Out of it. Shape `[d_out, width]`.
    pub up: Linear,
}

impl Projections {
    /// All matrices, in the order in which they stand above.
    pub fn linears(&self) -> Vec<&Linear> {
        match self {
            Projections::Joint(linear) => vec![linear],
            Projections::Apart { query, key_value } => vec![query, key_value],
            Projections::Latent(latent) => {
                let mut linears = match &latent.query {
                    QueryProjection::Plain(linear) => vec![linear],
                    QueryProjection::Narrowed(narrowed) => vec![&narrowed.down, &narrowed.up],
                };
                linears.extend([&latent.key_value.down, &latent.key_value.up]);
                linears
            }
        }
    }

    fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        match self {
            Projections::Joint(linear) => work(linear),
            Projections::Apart { query, key_value } => [query, key_value].into_iter().for_each(work),
            Projections::Latent(latent) => {
                match &mut latent.query {
                    QueryProjection::Plain(linear) => work(linear),
                    QueryProjection::Narrowed(narrowed) => narrowed.each(work),
                }
                latent.key_value.each(work);
            }
        }
    }
}

impl Narrowed {
    fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        work(&mut self.down);
        work(&mut self.up);
    }
}

/// The weights of a feed-forward sublayer.
#[derive(Debug, Clone)]
pub enum FeedForwardWeights {
    /// Every token goes the same way.
    Plain(Expert),
    /// Each token goes through a few experts.
    Mixture(MixtureWeights),
}

/// The weights of a mixture of experts.
#[derive(Debug, Clone)]
pub struct MixtureWeights {
    /// How tokens choose experts.
    pub config: Experts,
    /// From hidden states to the scores of the experts.
    pub router: Linear,
    /// What is added to the sigmoids of scores where experts are chosen. Shape `[n]`.
    pub correction: Option<Arc<Vec<f32>>>,
    /// All of them.
    pub experts: Vec<Expert>,
    /// The one that every token goes through besides.
    pub shared: Option<SharedExpert>,
}

/// An expert that every token goes through.
#[derive(Debug, Clone)]
pub struct SharedExpert {
    /// Its matrices.
    pub expert: Expert,
    /// From a hidden state to what its share is the sigmoid of; `None` where it counts as it is. Shape `[1, d_model]`.
    pub gate: Option<Linear>,
}

/// The two matrices of a feed-forward.
#[derive(Debug, Clone)]
pub struct Expert {
    /// Shape `[d_hidden, d_model]`; twice as many rows when gated: the gate's, then the others.
    pub up: Linear,
    /// Shape `[d_model, d_hidden]`.
    pub down: Linear,
    /// A learnt non-linearity between them, where there is one.
    pub xielu: Option<Xielu>,
}

/// The weights of a readout.
#[derive(Debug, Clone, Default)]
pub struct ReadoutWeights {
    /// Applied first.
    pub transform: Option<(Linear, Option<NormWeights>)>,
    /// The output matrix. Shape `[n_tokens or n_classes, width]`.
    pub output: Option<Linear>,
    /// Read a box of a hidden state, in order; none where no boxes are read.
    pub boxes: Vec<Linear>,
    /// Reads contacts off the maps of the encoder.
    pub contacts: Option<ContactWeights>,
}

/// A logistic regression from what all heads say of a pair of tokens to the probability that they touch.
#[derive(Debug, Clone)]
pub struct ContactWeights {
    /// Shape `[n_layers · n_heads]`.
    pub weight: Vec<f32>,
    /// Added to the sum.
    pub bias: f32,
}

impl Transformer {
    /// Puts the matrices beside the blocks in the order in which products read them. A table of ids that is also the
    /// readout's matrix stays one.
    pub(crate) fn pack(&mut self) {
        let rows = self.readout.output.as_ref().map(|output| output.weight.clone());
        self.each_beside_blocks(&mut Linear::pack);
        let (Some(rows), Some(output)) = (rows, &self.readout.output) else { return };
        for stack in [&mut self.encoder, &mut self.decoder].into_iter().flatten() {
            if stack.embedding.tokens.shares(&rows) {
                stack.embedding.tokens = output.weight.clone();
            }
        }
    }

    /// Chooses how exact all products with matrices are. The weights are shared with other models that have them.
    pub(crate) fn set_precision(&mut self, precision: Precision) {
        let set = &mut |linear: &mut Linear| linear.precision = precision;
        self.each_beside_blocks(set);
        for stack in [&mut self.encoder, &mut self.decoder].into_iter().flatten() {
            stack.blocks.iter_mut().for_each(|block| Arc::make_mut(block).each(set));
        }
    }

    fn each_beside_blocks(&mut self, work: &mut impl FnMut(&mut Linear)) {
        for stack in [&mut self.encoder, &mut self.decoder].into_iter().flatten() {
            stack.each_beside_blocks(work);
        }
        if let Some((transform, _)) = &mut self.readout.transform {
            work(transform);
        }
        if let Some(output) = &mut self.readout.output {
            work(output);
        }
        self.readout.boxes.iter_mut().for_each(work);
    }
}

impl StackWeights {
    /// All matrices before and beside the blocks.
    fn each_beside_blocks(&mut self, work: &mut impl FnMut(&mut Linear)) {
        match &mut self.embedding.reads {
            ReadWeights::Tokens => {}
            ReadWeights::Patches(patches) => work(&mut patches.projection),
            ReadWeights::Grid(backbone) => backbone.each(work),
            ReadWeights::Frames(convolutions) => {
                convolutions.iter_mut().for_each(|convolution| work(&mut convolution.linear))
            }
            ReadWeights::Samples(layers) => layers.iter_mut().for_each(|layer| work(&mut layer.convolution.linear)),
        }
        if let Some((convolution, _)) = &mut self.embedding.convolution {
            convolution.groups.iter_mut().for_each(|group| work(&mut group.linear));
        }
        if let Some(projection) = &mut self.embedding.projection {
            work(projection);
        }
        if let Some((convolution, _)) = &mut self.convolution {
            work(&mut convolution.linear);
        }
    }
}

impl BlockWeights {
    /// Puts a block's matrices in the order in which products read them; done block by block, so that no two copies of a model
    /// are in memory.
    pub(crate) fn pack(&mut self) {
        self.each(&mut Linear::pack);
    }

    /// The attention to the stack's own tokens; `None` where something else stands in its place.
    pub fn attention(&self) -> Option<&AttentionWeights> {
        if let Mixer::Attention(attention) = &self.mixer { Some(attention) } else { None }
    }

    /// The same, to be changed.
    pub fn attention_mut(&mut self) -> Option<&mut AttentionWeights> {
        if let Mixer::Attention(attention) = &mut self.mixer { Some(attention) } else { None }
    }

    /// All matrices of a block.
    fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        if let Mixer::Recurrence(recurrence) = &mut self.mixer {
            recurrence.each(work);
        }
        let own = if let Mixer::Attention(attention) = &mut self.mixer { Some(attention) } else { None };
        for attention in [own, self.cross.as_mut()].into_iter().flatten() {
            work(&mut attention.output);
            attention.gate.iter_mut().for_each(&mut *work);
            attention.projections.each(work);
        }
        match &mut self.feed_forward {
            FeedForwardWeights::Plain(expert) => expert.each(work),
            FeedForwardWeights::Mixture(mixture) => {
                work(&mut mixture.router);
                mixture.experts.iter_mut().for_each(|expert| expert.each(work));
                if let Some(shared) = &mut mixture.shared {
                    shared.gate.iter_mut().for_each(&mut *work);
                    shared.expert.each(work);
                }
            }
        }
    }
}

impl Expert {
    fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        work(&mut self.up);
        work(&mut self.down);
    }
}
