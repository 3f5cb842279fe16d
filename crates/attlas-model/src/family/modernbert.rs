//! ModernBERT (Warner et al. 2024): pre-norm encoder with rotary positions, gated feed-forward, and windows in two of
//! three layers.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, heads};
use crate::Error;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Head, Length, Norm, NormKind, Output, Pooled,
    Residual, Stack, Transform,
};
use crate::config_file::ConfigFile;
use crate::load::{
    AttentionNames, FeedForwardNames, HeadNames, Layout, Names, ProjectionNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family =
    Family { name: "modernbert", model_types: &["modernbert"], about: "ModernBERT (Warner et al. 2024)", read };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_tokens = config.size("vocab_size")?;
    let max_positions = config.size_or("max_position_embeddings", 8192)?;
    let norm = norm(config)?;
    let sliding = sliding_layers(config, config.layers_or("num_hidden_layers", 22)?)?;
    let blocks = sliding.iter().enumerate().map(|(layer, sliding)| block(config, layer, *sliding, norm));
    let embedding = Embedding { norm: Some(norm), ..Embedding::new(n_tokens, d_model) };
    let blocks = blocks.collect::<Result<_, _>>()?;
    let stack = Stack::pre_norm(norm, d_model, embedding, blocks);
    let transform = Some(Transform {
        width: d_model,
        activation: config.activation_or("classifier_activation", "gelu")?,
        norm: Some(norm),
        bias: config.flag_or("classifier_bias", false)?,
    });
    let (head, head_names) = match heads::task(config)? {
        heads::Task::MaskedTokens => {
            let bias = config.flag_or("decoder_bias", true)?;
            (Head::Tokens { n_tokens, transform, bias, output: Output::Tied, scale: 1.0, softcap: None }, TOKENS)
        }
        heads::Task::Classes => {
            config.must_be("classifier_pooling", &"cls".into())?;
            (Head::Classes { n: heads::n_classes(config)?, transform, pooled: Pooled::First }, CLASSES)
        }
        heads::Task::None => (Head::None, HeadNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", n_tokens)?, stack, head, Length::Noted(max_positions));
    Ok((architecture, Names { head: head_names, ..NAMES }))
}

fn norm(config: &ConfigFile) -> Result<Norm, Error> {
    let kind = if config.flag_or("norm_bias", false)? { NormKind::Layer } else { NormKind::LayerWithoutBias };
    Ok(Norm { kind, epsilon: config.positive_or("norm_eps", 1e-5)? as f32 })
}

/// Which layers look only at their neighbourhood: named one by one, or all but every n-th.
fn sliding_layers(config: &ConfigFile, n_layers: usize) -> Result<Vec<bool>, Error> {
    if let Some(sliding) = heads::sliding_layers(config, n_layers)? {
        return Ok(sliding);
    }
    let every = config.size_or("global_attn_every_n_layers", 3)?;
    Ok((0..n_layers).map(|layer| layer % every != 0).collect())
}

fn block(config: &ConfigFile, layer: usize, sliding: bool, norm: Norm) -> Result<Block, Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let (layer_type, older_field, default_base) = match sliding {
        true => ("sliding_attention", "local_rope_theta", 10_000.0),
        false => ("full_attention", "global_rope_theta", 160_000.0),
    };
    let place = RopePlace {
        d_head,
        max_positions: config.size_or("max_position_embeddings", 8192)?,
        default_share: 1.0,
        default_base: config.positive_or(older_field, default_base)?,
    };
    let reach = i64::try_from(config.size_or("local_attention", 128)? / 2).ok();
    let visibility = if sliding { Visibility { before: reach, after: reach } } else { Visibility::FULL };
    let biases = if config.flag_or("attention_bias", false)? { Biases::ALL } else { Biases::NONE };
    let activation = config.activation_or("hidden_activation", "gelu")?;
    Ok(Block {
        attention_norm: (layer > 0).then_some(norm),
        ..Block::new(
            Attention {
                rotary: rotary::read(config, place, layer_type)?,
                biases,
                ..Attention::plain(n_heads, d_head, visibility)
            },
            FeedForward {
                biases: config.flag_or("mlp_bias", false)?,
                ..FeedForward::gated(config.size_or("intermediate_size", 1152)?, activation)
            },
            norm,
            Residual::Pre,
        )
    })
}

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    encoder: Some(StackNames {
        tokens: &["embeddings.tok_embeddings.weight"],
        embedding_norm: "embeddings.norm",
        layer: "layers.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Joint("attn.Wqkv"),
            output: "attn.Wo",
            norm: "attn_norm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames { up: "mlp.Wi", down: "mlp.Wo", norm: "mlp_norm", ..FeedForwardNames::NONE },
        final_norm: "final_norm",
        ..StackNames::NONE
    }),
    decoder: None,
    head: HeadNames::NONE,
    layout: Layout::OutIn,
    ignored: &["head.", "decoder."],
    superfluous: Superfluous::Noted,
};

const TOKENS: HeadNames = HeadNames {
    transform: "head.dense",
    transform_norm: "head.norm",
    output: "decoder.weight",
    bias: &["decoder.bias"],
    ..HeadNames::NONE
};

const CLASSES: HeadNames = HeadNames { output: "classifier.weight", bias: &["classifier.bias"], ..TOKENS };
