//! T5, mT5 and Flan-T5 (Raffel et al. 2020): pre-norm RMS, no biases, a bucketed bias instead of positions, unscaled
//! scores.

use attlas::Visibility;
use serde_json::Value;

use super::{Family, PieceRule, TextRules};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Biases, Block, Directions, Embedding, FeedForward, Length, Norm, Output,
    PositionBias, Readout, Residual, SpecialIds, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};
use crate::tokenizer::pieces::control;

pub(super) const FAMILY: Family = Family {
    name: "t5",
    model_types: &["t5", "mt5"],
    about: "T5, mT5, Flan-T5, ProtT5 (Raffel et al. 2020)",
    read,
    tested: &[("t5", "bucketed bias, tied"), ("t5-v1.1", "gated, untied, bf16"), ("mt5", "mT5, untied")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules {
    model_types: &["t5", "mt5", "umt5", "longt5", "switch_transformers"],
    classes: &["T5Tokenizer"],
    pieces: PieceRule::Arranged(|pieces, _, settings| {
        for index in (0..settings.number("extra_ids").unwrap_or(100).min(10_000)).rev() {
            pieces.pieces.push(control(&format!("<extra_id_{index}>")));
        }
        pieces.surround(&[], &["</s>"], &["</s>"]);
        pieces.cut_at_space = true;
    }),
    ..TextRules::PLAIN
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let classes = config.texts("architectures")?.unwrap_or_default();
    let is_encoder = config.get("is_encoder_decoder") == Some(&Value::Bool(false))
        || classes.iter().any(|class| class.ends_with("EncoderModel"));
    if is_encoder {
        config.must_be("is_decoder", &Value::Bool(false))?;
    }
    let sizes = Sizes::read(config)?;
    let n_tokens = config.size("vocab_size")?;
    let (feed_forward, gated) = feed_forward(config)?;
    let n_encoder = config.layers_or("num_layers", 6)?;
    let n_decoder = config.layers_or("num_decoder_layers", n_encoder)?;
    let padding = config.id("pad_token_id", n_tokens)?;
    let encoder = sizes.block(Visibility::FULL, Directions::Both, &feed_forward);
    let decoder = sizes.block(Visibility::CAUSAL, Directions::Backward, &feed_forward);
    let decoder = Block { cross: Some(sizes.attention(Visibility::FULL)), ..decoder };
    let encoder = sizes.stack(n_tokens, vec![encoder; n_encoder]);
    let names_of = |names: Option<StackNames>| {
        let feed_forward = if gated { GATED } else { PLAIN };
        names.map(|names| StackNames { feed_forward, ..names })
    };
    let names = Names { encoder: names_of(NAMES.encoder), ..NAMES };
    if is_encoder {
        let architecture = Architecture::encoder(padding, encoder, Readout::None, Length::Any);
        return Ok((architecture, Names { decoder: None, ..names }));
    }
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(encoder),
        decoder: Some(sizes.stack(n_tokens, vec![decoder; n_decoder])),
        readout: readout(config, n_tokens, sizes.d_model)?,
        ids: SpecialIds {
            padding,
            start: config.id("decoder_start_token_id", n_tokens)?.or(padding),
            ends: config.ids("eos_token_id", n_tokens)?,
            ..SpecialIds::default()
        },
        length: Length::Any,
    };
    Ok((architecture, Names { decoder: decoder_names(names_of(NAMES.decoder)), ..names }))
}

/// What both stacks share.
struct Sizes {
    d_model: usize,
    n_heads: usize,
    d_head: usize,
    n_buckets: usize,
    max_distance: usize,
    norm: Norm,
}

impl Sizes {
    fn read(config: &ConfigFile) -> Result<Sizes, Error> {
        let max_distance = config.size_or("relative_attention_max_distance", 128)?;
        if max_distance > MAX_DISTANCE {
            let field = "relative_attention_max_distance";
            return Err(config.error(field, format!("is {max_distance}, but at most {MAX_DISTANCE} is supported")));
        }
        Ok(Sizes {
            d_model: config.size_or("d_model", 512)?,
            n_heads: config.size_or("num_heads", 8)?,
            d_head: config.size_or("d_kv", 64)?,
            n_buckets: config.size_or("relative_attention_num_buckets", 32)?,
            max_distance,
            norm: Norm::rms(config.positive_or("layer_norm_epsilon", 1e-6)? as f32),
        })
    }

    /// Attention with unscaled scores and no biases.
    fn attention(&self, visibility: Visibility) -> Attention {
        Attention { scale: 1.0, biases: Biases::NONE, ..Attention::plain(self.n_heads, self.d_head, visibility) }
    }

    fn block(&self, visibility: Visibility, directions: Directions, feed_forward: &FeedForward) -> Block {
        let Sizes { n_buckets, max_distance, norm, .. } = *self;
        let bias = PositionBias::Buckets { n_buckets, max_distance, directions };
        Block::new(Attention { bias, ..self.attention(visibility) }, feed_forward.clone(), norm, Residual::Pre)
    }

    fn stack(&self, n_tokens: usize, blocks: Vec<Block>) -> Stack {
        Stack::pre_norm(self.norm, self.d_model, Embedding::new(n_tokens, self.d_model), blocks)
    }
}

fn readout(config: &ConfigFile, n_tokens: usize, d_model: usize) -> Result<Readout, Error> {
    let tied = config.flag_or("tie_word_embeddings", true)?;
    // mT5 never scales its decoder's output
    let scaled = config.flag_or("scale_decoder_outputs", tied && config.text_or("model_type", "t5")? == "t5")?;
    Ok(Readout::Tokens {
        n_tokens,
        transform: None,
        bias: false,
        output: if tied { Output::Tied } else { Output::Own },
        scale: if scaled { (d_model as f32).sqrt().recip() } else { 1.0 },
        softcap: None,
    })
}

/// The widest bias table that is built.
const MAX_DISTANCE: usize = 1 << 16;

/// The feed-forward that `feed_forward_proj` names, and whether it is gated.
fn feed_forward(config: &ConfigFile) -> Result<(FeedForward, bool), Error> {
    let d_hidden = config.size_or("d_ff", 2048)?;
    let kind = config.text_or("feed_forward_proj", "relu")?;
    let plain = |activation| FeedForward { biases: false, ..FeedForward::plain(d_hidden, activation) };
    match kind {
        "relu" => Ok((plain(Activation::Relu), false)),
        "gelu" => Ok((plain(Activation::Gelu), false)),
        "gated-gelu" => Ok((FeedForward::gated(d_hidden, Activation::GeluTanh), true)),
        "gated-silu" => Ok((FeedForward::gated(d_hidden, Activation::Silu), true)),
        _ => Err(config
            .error("feed_forward_proj", format!("is \"{kind}\"; attlas knows relu, gelu, gated-gelu and gated-silu"))),
    }
}

/// In the decoder the feed-forward is the third sublayer.
fn decoder_names(names: Option<StackNames>) -> Option<StackNames> {
    names.map(|names| StackNames {
        feed_forward: FeedForwardNames {
            up: if names.feed_forward.gate.is_empty() {
                "layer.2.DenseReluDense.wi"
            } else {
                "layer.2.DenseReluDense.wi_1"
            },
            gate: if names.feed_forward.gate.is_empty() { "" } else { "layer.2.DenseReluDense.wi_0" },
            down: "layer.2.DenseReluDense.wo",
            norm: "layer.2.layer_norm",
            ..FeedForwardNames::NONE
        },
        ..names
    })
}

const PLAIN: FeedForwardNames = FeedForwardNames {
    up: "layer.1.DenseReluDense.wi",
    down: "layer.1.DenseReluDense.wo",
    norm: "layer.1.layer_norm",
    ..FeedForwardNames::NONE
};

const GATED: FeedForwardNames =
    FeedForwardNames { up: "layer.1.DenseReluDense.wi_1", gate: "layer.1.DenseReluDense.wi_0", ..PLAIN };

const SELF_ATTENTION: AttentionNames = AttentionNames {
    projections: ProjectionNames::Separate {
        query: "layer.0.SelfAttention.q",
        key: "layer.0.SelfAttention.k",
        value: "layer.0.SelfAttention.v",
    },
    output: "layer.0.SelfAttention.o",
    norm: "layer.0.layer_norm",
    ..AttentionNames::NONE
};

const NAMES: Names = Names {
    prefixes: &[""],
    encoder: Some(StackNames {
        tokens: &["shared.weight", "encoder.embed_tokens.weight"],
        layer: "encoder.block.{}.",
        attention: SELF_ATTENTION,
        feed_forward: PLAIN,
        relative_bias: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
        final_norm: "encoder.final_layer_norm",
        ..StackNames::NONE
    }),
    decoder: Some(StackNames {
        tokens: &["shared.weight", "decoder.embed_tokens.weight"],
        layer: "decoder.block.{}.",
        attention: SELF_ATTENTION,
        cross: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "layer.1.EncDecAttention.q",
                key: "layer.1.EncDecAttention.k",
                value: "layer.1.EncDecAttention.v",
            },
            output: "layer.1.EncDecAttention.o",
            norm: "layer.1.layer_norm",
            ..AttentionNames::NONE
        },
        relative_bias: "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
        final_norm: "decoder.final_layer_norm",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    // some checkpoints store the table again, and a bias that the cross-attention never uses
    ignored: &["embed_tokens.weight", "EncDecAttention.relative_attention_bias.weight"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
