//! The generic Transformer's configuration: what can differ between families, and nothing about any of them.

mod alignment_heads;
mod attention;
mod backbone;
pub(crate) mod file;
mod readout;
mod reads;
mod recurrence;

pub(crate) use alignment_heads::{alignment_heads, median_width};
pub(crate) use attention::alibi_both_ways;
pub use attention::{
    AddedScores, Attention, Biases, Directions, Frequencies, Latent, Pairs, PlaceScale, PositionBias, QkNorm, QkScope,
    Rotary,
};
pub use attlas_kernels::Activation;
pub use backbone::{Backbone, GridConvolution, ResidualLayer, ResidualLayers, Stage};
pub use readout::{Output, Pooled, Readout, Transform};
pub use reads::{
    Disentangled, Frames, ImageRows, Leading, OtherGrids, PatchMatrix, Patches, PositionConvolution, Reads,
    SampleConvolution, SampleNorms, Samples, SideConvolution,
};
pub use recurrence::{Delta, Mamba, Mamba2, Recurrence, Rule};

/// A model: its stacks and what it does with the last hidden states.
///
/// An encoder-only model has no decoder, a decoder-only model no encoder.
#[derive(Debug, Clone)]
pub struct Architecture {
    /// Reads the source.
    pub encoder: Option<Stack>,
    /// Reads the target, and the source through cross-attention where its blocks have it.
    pub decoder: Option<Stack>,
    /// From hidden states to logits.
    pub readout: Readout,
    /// Ids with a meaning.
    pub ids: SpecialIds,
    /// How long a text may be.
    pub length: Length,
    /// A generated text that grows longer than so many tokens is read anew from its beginning: rotary frequencies change there
    /// (Phi-3). Other models whose frequencies change keep what they have read.
    pub anew_beyond: Option<usize>,
}

/// How long a text may be, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As long as wanted.
    Any,
    /// Longer ones run, and the recording says that the model was not made for them.
    Noted(usize),
    /// Longer ones are refused: the model has no positions for them.
    Refused(usize),
}

/// Ids that mean something to the model.
#[derive(Debug, Clone, Default)]
pub struct SpecialIds {
    /// Fills batches.
    pub padding: Option<u32>,
    /// The decoder's first token.
    pub start: Option<u32>,
    /// Any of these ends a generated text.
    pub ends: Vec<u32>,
    /// What follows the source text where the tokenizer does not add it itself.
    pub source_end: Option<u32>,
    /// Never generated.
    pub suppressed: Vec<u32>,
    /// Not generated first (Whisper).
    pub suppressed_first: Vec<u32>,
    /// Tags of languages, one of which the model itself puts after the start token (Whisper).
    pub languages: Vec<u32>,
    /// What follows the start token, and the language where there is one, before anything is generated.
    pub prompt: Vec<u32>,
    /// What a source text is filled with, where the model has learnt texts of one length.
    pub filling: Option<Filling>,
    /// Generated first whatever the model says (a language tag).
    pub forced_start: Option<u32>,
    /// Generated last when the length limit is reached.
    pub forced_end: Option<u32>,
}

/// What follows a text up to the one length that a model has learnt; it is read like any token (SigLIP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filling {
    /// The token.
    pub id: u32,
    /// Whether the tokenizer's padding token comes before it: no configuration names one.
    pub is_assumed: bool,
    /// Tokens of a text with its filling.
    pub n: usize,
}

/// A stack of blocks with its embedding.
#[derive(Debug, Clone)]
pub struct Stack {
    /// Width of the hidden states.
    pub d_model: usize,
    /// From ids to the first hidden states.
    pub embedding: Embedding,
    /// The blocks, in order.
    pub blocks: Vec<Block>,
    /// For each block, which set of stored weights it uses; the block's own index unless layers share (ALBERT).
    pub stored_as: Option<Vec<usize>>,
    /// Applied after the last block.
    pub final_norm: Option<Norm>,
    /// Joined to the first block's output.
    pub convolution: Option<SideConvolution>,
    /// The norm on the table that [`Disentangled`] scores share.
    pub distance_norm: Option<Norm>,
    /// What says, in each layer anew, where a row stands.
    pub places: Option<Places>,
}

/// Rows that each layer adds to what queries and keys are made of, and not to what values are made of (DETR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// Sines and cosines of a place's row and column as shares of the grid.
    Grid,
    /// The rows of the table of ids, which the first hidden states have nothing of.
    Table,
}

/// From ids to hidden states: `norm(scale · E[id] + positions + types)`, then a projection where the widths differ.
/// Images and spectrograms come in through [`Reads`] instead of a table of ids.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// What is read.
    pub reads: Reads,
    /// Rows of the table; 0 where no ids are read.
    pub n_tokens: usize,
    /// Width of the table; a projection follows where it is not `d_model`.
    pub width: usize,
    /// Where the projection stands.
    pub projected: Projected,
    /// Factor on the token's row: `√d_model` in Vaswani et al. (2017).
    pub scale: f32,
    /// The token whose row counts as dropped out (ESM-2): it is 0, and the rows of the others are divided by their share
    /// of the text's tokens.
    pub dropped: Option<u32>,
    /// What says where a token stands.
    pub positions: Positions,
    /// Segments (BERT); 0 when there are none.
    pub n_token_types: usize,
    /// Applied to the sum.
    pub norm: Option<Norm>,
    /// What else says where a row stands, after the projection.
    pub convolution: Option<PositionConvolution>,
}

/// Where the projection from the table's width to `d_model` stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projected {
    /// After positions, types and norm (ALBERT, ELECTRA).
    Last,
    /// On the token's row alone; positions are as wide as the model (OPT-350M).
    Token,
}

/// Positions added to the embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// None: they enter the attention, or nowhere.
    None,
    /// A table that was learnt; position `p` is its row `p + offset`.
    Learned {
        /// Rows of the table, the offset included.
        n_rows: usize,
        /// Rows before position 0 (RoBERTa and BART: 2).
        offset: usize,
        /// The row that padding tokens get, where it is not their position's (RoBERTa).
        at_padding: Option<usize>,
    },
    /// Sines and cosines (Vaswani et al. 2017, §3.5), as long as wanted.
    Sinusoidal {
        /// How sines and cosines are arranged.
        arrangement: Arrangement,
        /// Position of the first token.
        offset: usize,
        /// What padding tokens get.
        at_padding: AtPadding,
    },
}

/// What is added to padding tokens where positions are sinusoidal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtPadding {
    /// Their position, as to any token.
    Position,
    /// Nothing (M2M100).
    Nothing,
}

/// How the sines and cosines of a position are arranged over the width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrangement {
    /// `sin, cos, sin, cos, …`, frequencies `10000^(−2i/d)` in f32, as PyTorch's usual class does.
    Interleaved,
    /// All sines, then all cosines, same frequencies (Marian, Pegasus).
    Halves,
    /// All sines, then all cosines, frequencies `10000^(−i/(d/2 − 1))` (tensor2tensor: M2M100).
    HalvesInclusive,
}

/// One layer: attention, cross-attention in decoders that have a source, feed-forward.
#[derive(Debug, Clone)]
pub struct Block {
    /// Looks at its own stack's tokens, unless there is a [`recurrence`](Block::recurrence).
    pub attention: Attention,
    /// What stands in the place of that attention; the layer then has no heads and no maps.
    pub recurrence: Option<Recurrence>,
    /// Looks at the encoder's last hidden states.
    pub cross: Option<Attention>,
    /// Position by position.
    pub feed_forward: FeedForward,
    /// The kind of norm around the sublayers; `None` for a first sublayer that has none (ModernBERT).
    pub attention_norm: Option<Norm>,
    /// The norm around the feed-forward and the cross-attention.
    pub norm: Norm,
    /// How sublayers, norms and the residual stream are joined.
    pub residual: Residual,
    /// Whether each sublayer's output is multiplied by learnt factors, one per column (DINOv2).
    pub layer_scale: bool,
    /// Factor on what each sublayer adds to the residual stream (Granite).
    pub residual_factor: f32,
}

/// How a sublayer `f` joins the residual stream `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// `norm(x + f(x))` (Vaswani et al. 2017).
    Post,
    /// `x + f(norm(x))` (Xiong et al. 2020).
    Pre,
    /// `x + norm′(f(norm(x)))` (Gemma 2).
    Sandwich,
    /// `x + norm(f(x))` (OLMo 2).
    OutputNorm,
    /// `x + attention(norm(x)) + feed_forward(norm′(x))` (GPT-NeoX).
    Parallel,
    /// `x + attention(norm(x)) + feed_forward(norm(x))` with one norm (GPT-J, Phi).
    ParallelSharedNorm,
}

/// The feed-forward sublayer.
#[derive(Debug, Clone)]
pub struct FeedForward {
    /// Hidden width.
    pub d_hidden: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// Whether `activation(gate) · up` replaces `activation(up)` (Shazeer 2020).
    pub gating: Gating,
    /// Whether the projections have biases.
    pub biases: bool,
    /// Whether the last projection has a bias where the others have none (GTE).
    pub output_bias: bool,
    /// Several feed-forwards of which each token uses a few.
    pub experts: Option<Experts>,
}

/// Whether the hidden layer is gated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gating {
    /// `activation(up)`.
    None,
    /// The same with a learnt non-linearity (Apertus; Huang & Schlag 2024): `α₊x² + βx` above 0, `α₋(e^min(x, ε) − 1 − x) + βx` below.
    Xielu,
    /// `activation(gate) · up`.
    Gated,
    /// `min(gate, limit) · sigmoid(alpha · gate) · (clamp(up, ±limit) + 1)` (GPT-OSS).
    Clamped {
        /// The limit on both halves.
        limit: f32,
        /// Steepness of the sigmoid.
        alpha: f32,
    },
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub n: usize,
    /// How many each token uses: those with the highest scores.
    pub n_used: usize,
    /// What the shares of the chosen ones are.
    pub routing: Routing,
    /// Experts are chosen from some groups only.
    pub groups: Option<Groups>,
    /// Factor on all shares but that of the expert that every token uses.
    pub factor: f32,
    /// Hidden width of one more that every token uses, with a share of its own (Qwen 1.5 MoE) or as it is (DeepSeek).
    pub d_shared: Option<usize>,
}

/// Groups of experts of one size, of which each token's experts come from a few (DeepSeek-AI 2024, §2.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Groups {
    /// How many there are.
    pub n: usize,
    /// How many each token uses: those with the highest scores.
    pub n_used: usize,
    /// How many of a group's highest scores its own score is the sum of.
    pub n_counted: usize,
}

/// How the scores of experts become their shares in a token's feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// A softmax over the scores of the chosen ones: their shares sum to 1.
    OfChosen,
    /// A softmax over all scores: the shares of the chosen ones sum to less.
    OfAll,
    /// The sigmoid of each score; a learnt number per expert is added where experts are chosen (DeepSeek-AI 2024, V3, §2.1.2).
    Sigmoid,
    /// The same, divided by the sum of the chosen ones.
    SigmoidOfChosen,
}

impl Routing {
    /// Whether shares are sigmoids, and not a softmax.
    pub fn is_sigmoid(self) -> bool {
        matches!(self, Routing::Sigmoid | Routing::SigmoidOfChosen)
    }
}

impl Experts {
    /// `n` experts of which each token uses `n_used`, and nothing else.
    pub fn new(n: usize, n_used: usize, routing: Routing) -> Experts {
        Experts { n, n_used, routing, groups: None, factor: 1.0, d_shared: None }
    }
}

/// A normalisation of each row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Norm {
    /// What is computed.
    pub kind: NormKind,
    /// Added to the variance.
    pub epsilon: f32,
}

/// The kinds of normalisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// Mean 0, variance 1, times weight, plus bias (Ba et al. 2016).
    Layer,
    /// The same without a bias.
    LayerWithoutBias,
    /// The same without weight and bias (OLMo).
    LayerPlain,
    /// Mean 0, variance 1, times `1 + weight`, plus bias (Nemotron).
    LayerPlusOne,
    /// Root mean square 1, times weight (Zhang & Sennrich 2019).
    Rms,
    /// The same, times `1 + weight` (Gemma).
    RmsPlusOne,
}

impl NormKind {
    /// Whether the mean is taken away.
    pub fn is_centred(self) -> bool {
        !matches!(self, NormKind::Rms | NormKind::RmsPlusOne)
    }

    /// Whether a weight is stored.
    pub fn has_weight(self) -> bool {
        self != NormKind::LayerPlain
    }

    /// Whether a bias is stored.
    pub fn has_bias(self) -> bool {
        matches!(self, NormKind::Layer | NormKind::LayerPlusOne)
    }

    /// What is added to the stored weight.
    pub fn plus(self) -> f32 {
        if matches!(self, NormKind::RmsPlusOne | NormKind::LayerPlusOne) { 1.0 } else { 0.0 }
    }
}

impl Architecture {
    /// A decoder on its own.
    pub fn decoder(stack: Stack, readout: Readout, ids: SpecialIds, length: Length) -> Architecture {
        Architecture { encoder: None, decoder: Some(stack), readout, ids, length, anew_beyond: None }
    }

    /// An encoder on its own, whose batches are filled with `padding`.
    pub fn encoder(padding: Option<u32>, stack: Stack, readout: Readout, length: Length) -> Architecture {
        let ids = SpecialIds { padding, ..SpecialIds::default() };
        Architecture { encoder: Some(stack), decoder: None, readout, ids, length, anew_beyond: None }
    }
}

impl Positions {
    /// A table whose row 0 is position 0.
    pub fn learned(n_rows: usize) -> Positions {
        Positions::Learned { n_rows, offset: 0, at_padding: None }
    }
}

impl Stack {
    /// Blocks after an embedding, and a norm after the last: blocks that normalise their inputs need it.
    pub fn pre_norm(norm: Norm, d_model: usize, embedding: Embedding, blocks: Vec<Block>) -> Stack {
        Stack { final_norm: Some(norm), ..Stack::new(d_model, embedding, blocks) }
    }

    /// Blocks after an embedding, nothing else.
    pub fn new(d_model: usize, embedding: Embedding, blocks: Vec<Block>) -> Stack {
        Stack {
            d_model,
            embedding,
            blocks,
            stored_as: None,
            final_norm: None,
            convolution: None,
            distance_norm: None,
            places: None,
        }
    }

    /// Each layer's attention to the stack's own tokens, with its index; layers without attention have none.
    pub fn own_attention(&self) -> impl Iterator<Item = (usize, &Attention)> {
        self.blocks.iter().enumerate().filter_map(|(layer, block)| Some((layer, block.own_attention()?)))
    }

    /// How many learnt rows stand before the patches of an image.
    pub fn n_leading(&self) -> usize {
        match &self.embedding.reads {
            Reads::Patches(patches) => patches.n_leading(),
            _ => 0,
        }
    }
}

impl Embedding {
    /// A table of ids as it is.
    pub fn new(n_tokens: usize, width: usize) -> Embedding {
        Embedding {
            reads: Reads::Tokens,
            n_tokens,
            width,
            projected: Projected::Last,
            scale: 1.0,
            dropped: None,
            positions: Positions::None,
            n_token_types: 0,
            norm: None,
            convolution: None,
        }
    }
}

impl Block {
    /// Attention and feed-forward with the same kind of norm.
    pub fn new(attention: Attention, feed_forward: FeedForward, norm: Norm, residual: Residual) -> Block {
        let attention_norm = Some(norm);
        Block {
            attention,
            recurrence: None,
            cross: None,
            feed_forward,
            attention_norm,
            norm,
            residual,
            layer_scale: false,
            residual_factor: 1.0,
        }
    }

    /// The attention to its own stack's tokens; `None` where something else stands in its place.
    pub fn own_attention(&self) -> Option<&Attention> {
        self.recurrence.is_none().then_some(&self.attention)
    }
}

impl FeedForward {
    /// `down(activation(up(x)))` with biases.
    pub fn plain(d_hidden: usize, activation: Activation) -> FeedForward {
        FeedForward { d_hidden, activation, gating: Gating::None, biases: true, output_bias: false, experts: None }
    }

    /// `down(activation(gate(x)) · up(x))` without biases.
    pub fn gated(d_hidden: usize, activation: Activation) -> FeedForward {
        FeedForward { d_hidden, activation, gating: Gating::Gated, biases: false, output_bias: false, experts: None }
    }
}

impl Norm {
    /// Mean 0, variance 1, times weight, plus bias.
    pub fn layer(epsilon: f32) -> Norm {
        Norm { kind: NormKind::Layer, epsilon }
    }

    /// Root mean square 1, times weight.
    pub fn rms(epsilon: f32) -> Norm {
        Norm { kind: NormKind::Rms, epsilon }
    }
}
