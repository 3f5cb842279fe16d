//! ModernBERT (Warner et al. 2024): pre-norm encoder with rotary positions, gated feed-forward, and windows in two of
//! three layers.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, NormKind, Output, Pooled, Readout, Residual,
    Stack, Transform,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "modernbert",
    model_types: &["modernbert"],
    about: "ModernBERT (Warner et al. 2024)",
    read,
    tested: &[("modernbert", "windows, RoPE of two bases, gated")],
    texts: &[],
};

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
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            let bias = config.flag_or("decoder_bias", true)?;
            (Readout::Tokens { n_tokens, transform, bias, output: Output::Tied, scale: 1.0, softcap: None }, TOKENS)
        }
        readouts::Task::Classes => {
            config.must_be("classifier_pooling", &"cls".into())?;
            (Readout::Classes { n: readouts::n_classes(config)?, transform, pooled: Pooled::First }, CLASSES)
        }
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", n_tokens)?, stack, readout, Length::Noted(max_positions));
    Ok((architecture, Names { readout: readout_names, ..NAMES }))
}

fn norm(config: &ConfigFile) -> Result<Norm, Error> {
    let kind = if config.flag_or("norm_bias", false)? { NormKind::Layer } else { NormKind::LayerWithoutBias };
    Ok(Norm { kind, epsilon: config.positive_or("norm_eps", 1e-5)? as f32 })
}

/// Which layers look only at their neighbourhood: named one by one, or all but every n-th.
fn sliding_layers(config: &ConfigFile, n_layers: usize) -> Result<Vec<bool>, Error> {
    if let Some(sliding) = readouts::sliding_layers(config, n_layers)? {
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
        default_base: rotary::base(config, older_field, default_base)?,
    };
    let reach = i64::try_from(config.size_or("local_attention", 128)? / 2).ok();
    let visibility = if sliding { Visibility { before: reach, after: reach } } else { Visibility::FULL };
    let biases = llama::biases(config)?;
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
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &["head.", "decoder."],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

const TOKENS: ReadoutNames = ReadoutNames {
    transform: "head.dense",
    transform_norm: "head.norm",
    output: "decoder.weight",
    bias: &["decoder.bias"],
    ..ReadoutNames::NONE
};

const CLASSES: ReadoutNames = ReadoutNames { output: "classifier.weight", bias: &["classifier.bias"], ..TOKENS };
