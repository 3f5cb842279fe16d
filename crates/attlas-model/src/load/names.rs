//! How a family names its tensors.

/// How a family names its tensors. A linear layer or norm is named without its ending: `.weight` and `.bias` are
/// added, or put in the place of a `*`.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// What the stacks' names may stand under; the first that fits is taken for all of them.
    pub prefixes: &'static [&'static str],
    /// The encoder's names.
    pub encoder: Option<StackNames>,
    /// The decoder's names.
    pub decoder: Option<StackNames>,
    /// The readout's names, not under a prefix.
    pub readout: ReadoutNames,
    /// How linear layers are stored.
    pub layout: Layout,
    /// Beginnings or endings of names that may be there and are not needed.
    pub ignored: &'static [&'static str],
    /// Layers that may follow those of the decoder and are not needed.
    pub further_layers: usize,
    /// What other superfluous tensors mean.
    pub superfluous: Superfluous,
}

/// What a tensor means that the configuration does not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Superfluous {
    /// The file does not belong to the configuration.
    Refused,
    /// Refused inside the layers; elsewhere (readouts of other tasks) said in the notes.
    Noted,
    /// The same; those whose names begin like this are of what images go through, of which the notes say that it is not used.
    Towers(&'static [&'static str]),
    /// The same; those whose names begin like this are of a head that pools the last hidden states by an attention of its own, which
    /// is not recorded, as the notes say.
    Pooling(&'static [&'static str]),
}

/// How a linear layer's matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[d_out, d_in]` (`nn.Linear`).
    OutIn,
    /// `[d_in, d_out]` (GPT-2's `Conv1D`).
    InOut,
}

/// The names of one stack, under the prefix.
#[derive(Debug, Clone, Copy)]
pub struct StackNames {
    /// The token table; the first that exists.
    pub tokens: &'static [&'static str],
    /// What makes hidden states of patches (one) or of a spectrogram's frames (two convolutions, in order), or of samples (the first,
    /// whose number is 0).
    pub projections: &'static [&'static str],
    /// Where the convolutions of a ResNet lie; the first that is there.
    pub backbones: &'static [BackboneNames],
    /// The norm on what the first of several projections gives, whose number is 0 (wav2vec 2.0).
    pub read_norm: &'static str,
    /// The convolution that gives positions.
    pub position_convolution: &'static str,
    /// The norm on its sum with what it reads.
    pub position_norm: &'static str,
    /// The learnt rows before the patches, whole names.
    pub leading: &'static [&'static str],
    /// The position table, a whole name.
    pub positions: &'static str,
    /// The table of segments.
    pub token_types: &'static str,
    /// How fast rotary positions turn, or the table that they turn by, whole names; the first that exists takes the place of what the
    /// configuration says.
    pub frequencies: &'static [&'static str],
    /// The embedding's norm.
    pub embedding_norm: &'static str,
    /// From the table's width to `d_model`.
    pub embedding_projection: &'static str,
    /// What a layer's names stand under; `{}` is its index.
    pub layer: &'static str,
    /// Self-attention, under the layer.
    pub attention: AttentionNames,
    /// Cross-attention, under the layer.
    pub cross: AttentionNames,
    /// What stands in the place of self-attention in some layers, under the layer.
    pub recurrence: RecurrenceNames,
    /// Feed-forward, under the layer.
    pub feed_forward: FeedForwardNames,
    /// The table of a bucketed bias, or of added scores that all layers share, under the prefix.
    pub relative_bias: &'static str,
    /// The norm after the last layer.
    pub final_norm: &'static str,
    /// The table of distances that scores share, a whole name (DeBERTa).
    pub distances: &'static str,
    /// The norm on its rows.
    pub distance_norm: &'static str,
    /// The convolution beside the first layer.
    pub convolution: &'static str,
    /// The norm on its sum with the first layer's output.
    pub convolution_norm: &'static str,
}

/// The names of one attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionNames {
    /// The projections of queries, keys and values.
    pub projections: ProjectionNames,
    /// The output projection.
    pub output: &'static str,
    /// Its norm.
    pub norm: &'static str,
    /// The norm on its output (sandwich).
    pub post_norm: &'static str,
    /// The norm on queries; a `{}` stands for the head, where each has one of its own.
    pub query_norm: &'static str,
    /// The norm on keys.
    pub key_norm: &'static str,
    /// The projection of distances that queries meet, where it is not the keys' own (DeBERTa).
    pub distance_key: &'static str,
    /// The projection of distances that keys meet, where it is not the queries' own.
    pub distance_query: &'static str,
    /// What is added to scores: a table, a whole name, or the layer that gives gates.
    pub added: &'static str,
    /// The factors beside gates, a whole name.
    pub factors: &'static str,
    /// The sinks, a whole name.
    pub sinks: &'static str,
    /// The factors on its output, a whole name (layer scale).
    pub layer_scale: &'static str,
}

/// The names of a layer without attention; the norm before it is named with the attention.
#[derive(Debug, Clone, Copy)]
pub struct RecurrenceNames {
    /// Into the layer.
    pub into: &'static str,
    /// How much heads correct, and how fast they forget (gated delta rule).
    pub rates: &'static str,
    /// The convolution.
    pub convolution: &'static str,
    /// What steps are made of, with `B` and `C` (Mamba).
    pub narrow: &'static str,
    /// The norms on those three (Mamba); the norm on the output, first.
    pub norms: [&'static str; 3],
    /// Steps (Mamba).
    pub steps: &'static str,
    /// Added to steps, a whole name.
    pub step_bias: &'static str,
    /// The logarithms of what states decay by, a whole name.
    pub decay: &'static str,
    /// Factors on what passes the state by, a whole name (Mamba).
    pub skip: &'static str,
    /// Out of the layer.
    pub output: &'static str,
}

/// How queries, keys and values are stored.
#[derive(Debug, Clone, Copy)]
pub enum ProjectionNames {
    /// Three matrices.
    Separate {
        /// Queries.
        query: &'static str,
        /// Keys.
        key: &'static str,
        /// Values.
        value: &'static str,
    },
    /// One matrix: all queries, all keys, all values.
    Joint(&'static str),
    /// One matrix: for each key–value head its query heads, its key, its value (GPT-NeoX, BLOOM, Falcon).
    Grouped(&'static str),
    /// Through narrower states (DeepSeek).
    Latent(LatentNames),
}

/// The names of projections through narrower states.
#[derive(Debug, Clone, Copy)]
pub struct LatentNames {
    /// Queries, where they come straight from the hidden state.
    pub query: &'static str,
    /// Into the state that queries come from, its norm, and out of it.
    pub query_by: [&'static str; 3],
    /// Into the state that keys and values come from and the shared columns of keys, its norm, and out of it: for each head its
    /// keys' own columns, then its values.
    pub key_value_by: [&'static str; 3],
}

/// The names of one feed-forward.
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardNames {
    /// Into the hidden layer; when gated and `gate` is empty, the gate's rows come first in it.
    pub up: &'static str,
    /// The gate.
    pub gate: &'static str,
    /// Both in one matrix with the gate's rows last (GTE); `up` and `gate` are empty then.
    pub up_and_gate: &'static str,
    /// Out of the hidden layer.
    pub down: &'static str,
    /// Its norm.
    pub norm: &'static str,
    /// The norm on its output (sandwich).
    pub post_norm: &'static str,
    /// Where there are experts, the layer that scores them; the first that exists.
    pub routers: &'static [&'static str],
    /// What is added to the scores where experts are chosen, a whole name.
    pub correction: &'static str,
    /// The experts; the first that exist.
    pub experts: &'static [ExpertNames],
    /// The expert that all tokens share, with `up`, `gate` and `down` under it, and the layer that its share is made of; where that
    /// is empty, it counts as it is.
    pub shared: [&'static str; 2],
    /// What that expert's gate, the matrix beside it and the last one are called; where the first is empty, its rows come first in
    /// the second.
    pub shared_parts: [&'static str; 3],
    /// The factors on its output, a whole name (layer scale).
    pub layer_scale: &'static str,
    /// What the numbers of a learnt non-linearity stand under (Apertus).
    pub xielu: &'static str,
}

/// How the experts of a mixture are stored.
#[derive(Debug, Clone, Copy)]
pub enum ExpertNames {
    /// A matrix of each; `{}` is the expert's index.
    Apart {
        /// The gate.
        gate: &'static str,
        /// Into the hidden layer.
        up: &'static str,
        /// Out of it.
        down: &'static str,
    },
    /// Two tensors of all of them, whole names: `[n, d_out, d_in]`, the gate's rows first (transformers 5).
    Stacked {
        /// Into the hidden layer.
        up: &'static str,
        /// Out of it.
        down: &'static str,
    },
    /// The same as `[n, d_in, d_out]`, gate and up taking turns, or in MXFP4 (GPT-OSS).
    Turning {
        /// Into the hidden layer.
        up: &'static str,
        /// Out of it.
        down: &'static str,
    },
}

/// The names of the readout; a `{}` in `transform` stands for the prefix.
#[derive(Debug, Clone, Copy)]
pub struct ReadoutNames {
    /// The dense layer before the output matrix; empty where there is a norm alone.
    pub transform: &'static str,
    /// Its norm.
    pub transform_norm: &'static str,
    /// The output matrix, a whole name; when tied and absent, the token table.
    pub output: &'static str,
    /// Other whole names of the output matrix, of files in which the model is a part of another.
    pub elsewhere: &'static [&'static str],
    /// The output's bias, a whole name; the first that exists.
    pub bias: &'static [&'static str],
    /// The second output layer, where two scores are averaged (DeiT).
    pub second: &'static str,
    /// The layer that reads contacts off the maps of all heads, where there may be one (ESM-2).
    pub contacts: &'static str,
    /// The layers that read boxes, `{}` their number; the first that exist (DETR).
    pub boxes: &'static [&'static str],
}

/// The names of a ResNet's convolutions and of the norm that follows each; `{stage}`, `{layer}` and `{convolution}` are numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackboneNames {
    /// The first.
    pub stem: [&'static str; 2],
    /// Those of a layer.
    pub convolution: [&'static str; 2],
    /// The one that goes past them.
    pub shortcut: [&'static str; 2],
    /// The number of the first stage, and of the first convolution of a layer.
    pub first: usize,
}

impl StackNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: StackNames = StackNames {
        tokens: &[],
        projections: &[],
        backbones: &[],
        read_norm: "",
        position_convolution: "",
        position_norm: "",
        leading: &[],
        positions: "",
        token_types: "",
        frequencies: &[],
        embedding_norm: "",
        embedding_projection: "",
        layer: "",
        attention: AttentionNames::NONE,
        cross: AttentionNames::NONE,
        recurrence: RecurrenceNames::NONE,
        feed_forward: FeedForwardNames::NONE,
        relative_bias: "",
        final_norm: "",
        distances: "",
        distance_norm: "",
        convolution: "",
        convolution_norm: "",
    };
}

impl AttentionNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: AttentionNames = AttentionNames {
        projections: ProjectionNames::Joint(""),
        output: "",
        norm: "",
        post_norm: "",
        query_norm: "",
        key_norm: "",
        distance_key: "",
        distance_query: "",
        added: "",
        factors: "",
        sinks: "",
        layer_scale: "",
    };
}

impl RecurrenceNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: RecurrenceNames = RecurrenceNames {
        into: "",
        rates: "",
        convolution: "",
        narrow: "",
        norms: ["", "", ""],
        steps: "",
        step_bias: "",
        decay: "",
        skip: "",
        output: "",
    };
}

impl FeedForwardNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: FeedForwardNames = FeedForwardNames {
        up: "",
        gate: "",
        up_and_gate: "",
        down: "",
        norm: "",
        post_norm: "",
        routers: &[],
        correction: "",
        experts: &[],
        shared: ["", ""],
        shared_parts: ["gate_proj", "up_proj", "down_proj"],
        layer_scale: "",
        xielu: "",
    };
}

impl ReadoutNames {
    /// Nothing named; the start of a family's constant.
    pub const NONE: ReadoutNames = ReadoutNames {
        transform: "",
        transform_norm: "",
        output: "",
        elsewhere: &[],
        bias: &[],
        second: "",
        contacts: "",
        boxes: &[],
    };
}
