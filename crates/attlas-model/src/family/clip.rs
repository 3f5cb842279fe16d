//! The vision tower of CLIP (Radford et al. 2021): ViT with a norm before the first layer. The text tower is left out.

use attlas::Visibility;

use super::{Family, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Embedding, FeedForward, Leading, Length, Norm, OtherGrids, Patches, Readout,
    Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "clip_vision",
    model_types: &["clip_vision_model", "clip"],
    about: "CLIP's vision tower (Radford et al. 2021)",
    read,
    tested: &[("clip-vision", "norm before the layers"), ("clip", "beside its text tower")],
    texts: &[],
};

/// Whether a preprocessor_config.json gives the shorter side where it gives a size as one number: CLIP's older files do.
pub(crate) fn size_is_shorter_side(preprocessor: &ConfigFile) -> Result<bool, Error> {
    let names = [preprocessor.text("image_processor_type")?, preprocessor.text("feature_extractor_type")?];
    Ok(names.into_iter().flatten().any(|name| name.contains("CLIP")))
}

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let both = if config.text("model_type")? == Some("clip") { config.section("vision_config")? } else { None };
    let config = both.as_ref().unwrap_or(config);
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let block = Block::new(
        Attention::plain(n_heads, d_head, Visibility::FULL),
        FeedForward::plain(
            config.size_or("intermediate_size", 3072)?,
            config.activation_or("hidden_act", "quick_gelu")?,
        ),
        norm,
        Residual::Pre,
    );
    let class = vec![Leading { label: "CLS", n: 1, has_position: true }];
    let patches = Patches { bias: false, ..vit::patches(config, 32, class, OtherGrids::Refused)? };
    let embedding = Embedding { norm: Some(norm), ..vit::embedding(patches, d_model) };
    let stack = Stack::new(d_model, embedding, vec![block; config.layers_or("num_hidden_layers", 12)?]);
    Ok((Architecture::encoder(None, stack, Readout::None, Length::Any), NAMES))
}

const NAMES: Names = Names {
    prefixes: &["vision_model.", ""],
    encoder: Some(StackNames {
        projections: &["embeddings.patch_embedding"],
        leading: &["embeddings.class_embedding"],
        positions: "embeddings.position_embedding.weight",
        // spelt like this in every checkpoint
        embedding_norm: "pre_layrnorm",
        layer: "encoder.layers.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "self_attn.q_proj",
                key: "self_attn.k_proj",
                value: "self_attn.v_proj",
            },
            output: "self_attn.out_proj",
            norm: "layer_norm1",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "mlp.fc1",
            down: "mlp.fc2",
            norm: "layer_norm2",
            ..FeedForwardNames::NONE
        },
        ..StackNames::NONE
    }),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    // what comes after the last hidden states, and the other tower
    ignored: &[
        "embeddings.position_ids",
        "post_layernorm.weight",
        "post_layernorm.bias",
        "visual_projection.weight",
        "text_",
        "logit_scale",
    ],
    superfluous: Superfluous::Noted,
};
