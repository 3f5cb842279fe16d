//! MPT (MosaicML 2023): pre-norm decoder with ALiBi and without any bias.

use attlas::Visibility;

use super::{Family, bloom, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, NormKind, PositionBias,
    Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "mpt",
    model_types: &["mpt"],
    about: "MPT (MosaicML 2023)",
    read,
    tested: &[("mpt", "ALiBi, no biases"), ("mpt-clipped", "clipping, ALiBi of 6 heads, own scale, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("no_bias", &true.into())?;
    config.must_be("expansion_ratio", &4.into())?;
    if config.has("logit_scale") {
        return Err(config.error("logit_scale", "is given; attlas supports only null for this family"));
    }
    let d_model = config.size_or("d_model", 2048)?;
    let n_tokens = config.size("vocab_size")?;
    let epsilon = config.positive_or("layer_norm_epsilon", 1e-5)? as f32;
    let norm = Norm { kind: NormKind::LayerWithoutBias, epsilon };
    let feed_forward = FeedForward { biases: false, ..FeedForward::plain(4 * d_model, Activation::Gelu) };
    let block = Block::new(attention(config, d_model)?, feed_forward, norm, Residual::Pre);
    let blocks = vec![block; config.layers_or("n_layers", 24)?];
    let architecture = Architecture::decoder(
        Stack::pre_norm(norm, d_model, Embedding::new(n_tokens, d_model), blocks),
        readouts::next_token(config, n_tokens, readouts::Tied::Yes)?,
        llama::ids(config, n_tokens)?,
        Length::Noted(config.size_or("max_seq_len", 2048)?),
    );
    Ok((architecture, NAMES))
}

fn attention(config: &ConfigFile, d_model: usize) -> Result<Attention, Error> {
    let n_heads = config.size_or("n_heads", 16)?;
    let d_head = config.head_width("n_heads", n_heads, "d_model", d_model)?;
    let mut attention = Attention {
        biases: Biases::NONE,
        bias: PositionBias::Alibi(bloom::slopes(n_heads)),
        ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
    };
    let Some(own) = config.section("attn_config")? else { return Ok(attention) };
    own.must_be("attn_type", &"multihead_attention".into())?;
    own.must_be("alibi", &true.into())?;
    own.must_be("alibi_bias_max", &8.into())?;
    own.must_be("qk_ln", &false.into())?;
    own.must_be("prefix_lm", &false.into())?;
    attention.clip = llama::clip(&own)?;
    attention.scale = own.positive_or("softmax_scale", f64::from(attention.scale))? as f32;
    Ok(attention)
}

const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    encoder: None,
    decoder: Some(StackNames {
        tokens: &["wte.weight"],
        layer: "blocks.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Joint("attn.Wqkv"),
            output: "attn.out_proj",
            norm: "norm_1",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "ffn.up_proj",
            down: "ffn.down_proj",
            norm: "norm_2",
            ..FeedForwardNames::NONE
        },
        final_norm: "norm_f",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
