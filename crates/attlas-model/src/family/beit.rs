//! BEiT (Bao et al. 2022): ViT whose scores have a number added for each way from patch to patch, with factors on each sublayer's
//! output; data2vec's vision model (Baevski et al. 2022) is built alike.

use attlas::Visibility;

use super::{Family, readouts, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, AddedScores, Architecture, Attention, Biases, Block, FeedForward, Length, Norm, OtherGrids, Patches,
    Pooled, Readout, Residual, Stack, Transform,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ReadoutNames, StackNames};

pub(super) const BEIT: Family = Family {
    name: "beit",
    model_types: &["beit"],
    about: "BEiT (Bao et al. 2022)",
    read: |config| read(config, &["beit.", ""], "beit.pooler.layernorm"),
    tested: &[
        ("beit", "ways from patch to patch, layer scale, no key bias"),
        ("beit-classifier", "one table for all layers, absolute positions, classifier on the mean"),
    ],
    texts: &[],
};

pub(super) const DATA2VEC: Family = Family {
    name: "data2vec_vision",
    model_types: &["data2vec-vision"],
    about: "data2vec, vision (Baevski et al. 2022)",
    read: |config| read(config, &["data2vec_vision.", ""], "data2vec_vision.pooler.layernorm"),
    tested: &[("data2vec-vision", "as BEiT, f16")],
    texts: &[],
};

fn read(
    config: &ConfigFile,
    prefixes: &'static [&'static str],
    pooled_norm: &'static str,
) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let has_positions = config.flag_or("use_absolute_position_embeddings", false)?;
    let patches = vit::patches(config, 16, vec![vit::CLASS], OtherGrids::Refused)?;
    let [n_rows, n_columns] = patches.grid;
    if n_rows != n_columns {
        let message = format!("gives {n_rows} × {n_columns} patches; attlas reads square images here");
        return Err(config.error("image_size", message));
    }
    let patches = Patches { has_positions, ..patches };
    let attention = Attention {
        added: added(config, patches.grid)?,
        biases: Biases { key: false, ..Biases::ALL },
        ..Attention::plain(n_heads, d_head, Visibility::FULL)
    };
    let d_hidden = config.size_or("intermediate_size", 3072)?;
    let feed_forward = FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu")?);
    let block = Block {
        layer_scale: config.is_positive_or("layer_scale_init_value", 0.1)?,
        ..Block::new(attention, feed_forward, norm, Residual::Pre)
    };
    let blocks = vec![block; config.layers_or("num_hidden_layers", 12)?];
    let is_mean = config.flag_or("use_mean_pooling", true)?;
    let final_norm = if is_mean { None } else { Some(norm) };
    let stack = Stack { final_norm, ..Stack::new(d_model, vit::embedding(patches, d_model), blocks) };
    let classes = config.texts("architectures")?.unwrap_or_default();
    let (readout, readout_names) = match classes.iter().any(|name| name.contains("ForImageClassification")) {
        true => {
            // the mean of the patches is normalised, nothing else is done to it
            let normed = Transform { width: d_model, activation: Activation::Identity, norm: Some(norm), bias: false };
            let (pooled, transform) = if is_mean { (Pooled::Mean, Some(normed)) } else { (Pooled::First, None) };
            let names = ReadoutNames { transform_norm: pooled_norm, ..vit::CLASSIFIER };
            (Readout::Classes { n: readouts::n_classes(config)?, transform, pooled }, names)
        }
        false => (Readout::None, ReadoutNames::NONE),
    };
    let names = Names { prefixes, encoder: Some(ENCODER), readout: readout_names, ignored: IGNORED, ..vit::NAMES };
    Ok((Architecture::encoder(None, stack, readout, Length::Any), names))
}

/// The table of ways, of each layer or of all.
fn added(config: &ConfigFile, grid: [usize; 2]) -> Result<Option<AddedScores>, Error> {
    let own = config.flag_or("use_relative_position_bias", false)?;
    let shared = config.flag_or("use_shared_relative_position_bias", false)?;
    if own && shared {
        let message = "is true, and so is use_relative_position_bias; attlas reads a table of each layer or one of all";
        return Err(config.error("use_shared_relative_position_bias", message));
    }
    Ok((own || shared).then_some(AddedScores::Ways { grid, shared }))
}

const IGNORED: &[&str] = &[
    "embeddings.mask_token",
    "relative_position_index",
    "pooler.layernorm.weight",
    "pooler.layernorm.bias",
    // what guesses masked patches
    "lm_head.weight",
    "lm_head.bias",
    "layernorm.weight",
    "layernorm.bias",
];

const ENCODER: StackNames = StackNames {
    leading: &["embeddings.cls_token"],
    relative_bias: "encoder.relative_position_bias.relative_position_bias_table",
    attention: AttentionNames {
        added: "attention.attention.relative_position_bias.relative_position_bias_table",
        layer_scale: "lambda_1",
        ..vit::ENCODER.attention
    },
    feed_forward: FeedForwardNames { layer_scale: "lambda_2", ..vit::ENCODER.feed_forward },
    ..vit::ENCODER
};
