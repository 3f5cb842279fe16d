//! DINOv3 (Siméoni et al. 2025): ViT without learnt positions, whose queries and keys turn by the place of their patch, with
//! registers and factors on each sublayer's output; images of any size.

use std::f64::consts::TAU;

use attlas::Visibility;

use super::{Family, vit};
use crate::Error;
use crate::block::rope::inverse_frequencies;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, FeedForward, Frequencies, Gating, Leading, Length, Norm, OtherGrids, Pairs,
    Patches, PlaceScale, Readout, Residual, Rotary, Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "dinov3_vit",
    model_types: &["dinov3_vit"],
    about: "DINOv3, ViT (Siméoni et al. 2025)",
    read,
    tested: &[("dinov3", "RoPE over patches, registers, images of other sizes"), ("dinov3-gated", "gated, no biases")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 384)?;
    let n_heads = config.size_or("num_attention_heads", 6)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let is_gated = config.flag_or("use_gated_mlp", false)?;
    let attention = Attention {
        biases: biases(config)?,
        rotary: Some(rotary(config, d_head)?),
        ..Attention::plain(n_heads, d_head, Visibility::FULL)
    };
    let feed_forward = FeedForward {
        gating: if is_gated { Gating::Gated } else { Gating::None },
        biases: config.flag_or("mlp_bias", true)?,
        ..FeedForward::plain(config.size_or("intermediate_size", 1536)?, config.activation_or("hidden_act", "gelu")?)
    };
    let block = Block { layer_scale: true, ..Block::new(attention, feed_forward, norm, Residual::Pre) };
    let n_registers = config.count_or("num_register_tokens", 0)?;
    let mut leading = vec![vit::CLASS];
    if n_registers > 0 {
        leading.push(Leading { label: "REG", n: n_registers, has_position: false });
    }
    let patches = Patches { has_positions: false, ..vit::patches(config, 16, leading, OtherGrids::Cubic)? };
    let embedding = vit::embedding(patches, d_model);
    let stack = Stack::pre_norm(norm, d_model, embedding, vec![block; config.layers_or("num_hidden_layers", 12)?]);
    let encoder = Some(StackNames { feed_forward: if is_gated { GATED } else { PLAIN }, ..ENCODER });
    let names = Names { prefixes: &[""], encoder, readout: ReadoutNames::NONE, ..vit::NAMES };
    Ok((Architecture::encoder(None, stack, Readout::None, Length::Any), names))
}

fn biases(config: &ConfigFile) -> Result<Biases, Error> {
    let (query, value) = (config.flag_or("query_bias", true)?, config.flag_or("value_bias", true)?);
    if query != value {
        let message = format!("is {value}, but query_bias is {query}; attlas reads both or neither");
        return Err(config.error("value_bias", message));
    }
    let (key, output) = (config.flag_or("key_bias", false)?, config.flag_or("proj_bias", true)?);
    Ok(Biases { query_value: query, key, output })
}

/// A quarter of a head's columns for each axis of the image, and as many again that turn with them.
fn rotary(config: &ConfigFile, d_head: usize) -> Result<Rotary, Error> {
    if !d_head.is_multiple_of(4) {
        let message =
            format!("gives heads {d_head} wide; to turn by rows and columns in pairs, they must be a multiple of 4");
        return Err(config.error("num_attention_heads", message));
    }
    let base = config.positive_or("rope_theta", 100.0)?;
    let per_axis = inverse_frequencies(base, d_head / 2).into_iter().map(|turn| (TAU * f64::from(turn)) as f32);
    Ok(Rotary {
        first_column: 0,
        n_columns: d_head,
        pairs: Pairs::Halves,
        frequencies: Frequencies::ByPlace { per_axis: per_axis.collect(), scale: PlaceScale::Image },
        sections: None,
    })
}

const ENCODER: StackNames = StackNames {
    projections: &["embeddings.patch_embeddings"],
    leading: &["embeddings.cls_token", "embeddings.register_tokens"],
    layer: "layer.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Separate {
            query: "attention.q_proj",
            key: "attention.k_proj",
            value: "attention.v_proj",
        },
        output: "attention.o_proj",
        norm: "norm1",
        layer_scale: "layer_scale1.lambda1",
        ..AttentionNames::NONE
    },
    final_norm: "norm",
    ..StackNames::NONE
};

const PLAIN: FeedForwardNames = FeedForwardNames {
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    norm: "norm2",
    layer_scale: "layer_scale2.lambda1",
    ..FeedForwardNames::NONE
};

const GATED: FeedForwardNames = FeedForwardNames { gate: "mlp.gate_proj", ..PLAIN };
