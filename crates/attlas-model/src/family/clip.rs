//! The two towers of CLIP (Radford et al. 2021), of which one is read at a time: ViT with a norm before the first layer, and a
//! causal stack that reads texts. Those of other models of two towers are built like them.

use attlas::Visibility;

use super::{Family, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Embedding, FeedForward, Leading, Length, Norm, OtherGrids, Patches, Positions,
    Readout, Residual, SpecialIds, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const VISION: Family = Family {
    name: "clip_vision",
    model_types: &["clip_vision_model", "clip"],
    about: "CLIP's vision tower (Radford et al. 2021)",
    read: read_vision,
    tested: &[("clip-vision", "norm before the layers"), ("clip", "beside its text tower")],
    texts: &[],
};

pub(super) const TEXT: Family = Family {
    name: "clip_text",
    model_types: &["clip_text_model"],
    about: "CLIP's text tower, chosen of both (Radford et al. 2021)",
    read: read_text,
    tested: &[("clip-text", "causal")],
    texts: &[],
};

/// What a tower's fields are where config.json leaves them out.
pub(super) struct Defaults {
    pub d_model: usize,
    pub d_hidden: usize,
    pub n_heads: usize,
    pub activation: &'static str,
    pub epsilon: f64,
}

/// What the towers are built of.
pub(super) struct Layers {
    pub d_model: usize,
    pub norm: Norm,
    pub blocks: Vec<Block>,
}

/// The configuration of one tower: its section of both towers' file, or the file of a tower that was saved alone.
pub(super) fn tower(config: &ConfigFile, section: &str) -> Result<ConfigFile, Error> {
    Ok(config.section(section)?.unwrap_or_else(|| config.clone()))
}

/// The layers of a tower.
pub(super) fn layers(config: &ConfigFile, defaults: &Defaults, visibility: Visibility) -> Result<Layers, Error> {
    let d_model = config.size_or("hidden_size", defaults.d_model)?;
    let n_heads = config.size_or("num_attention_heads", defaults.n_heads)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", defaults.epsilon)? as f32);
    let block = Block::new(
        Attention::plain(n_heads, d_head, visibility),
        FeedForward::plain(
            config.size_or("intermediate_size", defaults.d_hidden)?,
            config.activation_or("hidden_act", defaults.activation)?,
        ),
        norm,
        Residual::Pre,
    );
    Ok(Layers { d_model, norm, blocks: vec![block; config.layers_or("num_hidden_layers", 12)?] })
}

/// The stack of a text tower, with positions for so many tokens.
pub(super) fn text_stack(
    config: &ConfigFile,
    defaults: &Defaults,
    (default_vocabulary, default_positions): (usize, usize),
    visibility: Visibility,
) -> Result<Stack, Error> {
    let Layers { d_model, norm, blocks } = layers(config, defaults, visibility)?;
    let n_positions = config.size_or("max_position_embeddings", default_positions)?;
    let embedding = Embedding {
        positions: Positions::learned(n_positions),
        ..Embedding::new(config.size_or("vocab_size", default_vocabulary)?, d_model)
    };
    Ok(Stack::pre_norm(norm, d_model, embedding, blocks))
}

fn read_vision(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &tower(config, "vision_config")?;
    let defaults = Defaults { d_model: 768, d_hidden: 3072, n_heads: 12, activation: "quick_gelu", epsilon: 1e-5 };
    let Layers { d_model, norm, blocks } = layers(config, &defaults, Visibility::FULL)?;
    let class = vec![Leading { label: "CLS", n: 1, has_position: true }];
    let patches = Patches { bias: false, ..vit::patches(config, 32, class, OtherGrids::Refused)? };
    let embedding = Embedding { norm: Some(norm), ..vit::embedding(patches, d_model) };
    let stack = Stack::new(d_model, embedding, blocks);
    Ok((Architecture::encoder(None, stack, Readout::None, Length::Any), VISION_NAMES))
}

fn read_text(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &tower(config, "text_config")?;
    let defaults = Defaults { d_model: 512, d_hidden: 2048, n_heads: 8, activation: "quick_gelu", epsilon: 1e-5 };
    let stack = text_stack(config, &defaults, (49_408, 77), Visibility::CAUSAL)?;
    let names = Names { decoder: Some(TEXT_STACK), ..TEXT_NAMES };
    Ok((Architecture::decoder(stack, Readout::None, SpecialIds::default(), Length::Any), names))
}

/// The names of the layers of either tower.
pub(super) const LAYERS: StackNames = StackNames {
    positions: "embeddings.position_embedding.weight",
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
    feed_forward: FeedForwardNames { up: "mlp.fc1", down: "mlp.fc2", norm: "layer_norm2", ..FeedForwardNames::NONE },
    ..StackNames::NONE
};

/// A vision tower's names; what comes after the last hidden states, and the other tower, are not needed.
const VISION_NAMES: Names = Names {
    prefixes: &["vision_model.", ""],
    encoder: Some(StackNames {
        projections: &["embeddings.patch_embedding"],
        leading: &["embeddings.class_embedding"],
        // spelt like this in every checkpoint
        embedding_norm: "pre_layrnorm",
        ..LAYERS
    }),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &[
        "embeddings.position_ids",
        "post_layernorm.weight",
        "post_layernorm.bias",
        "visual_projection.weight",
        "text_",
        "logit_scale",
    ],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

pub(super) const TEXT_STACK: StackNames =
    StackNames { tokens: &["embeddings.token_embedding.weight"], final_norm: "final_layer_norm", ..LAYERS };

/// A text tower's names, without its stack; the projection to the space of both towers, and the other tower, are not needed.
pub(super) const TEXT_NAMES: Names = Names {
    prefixes: &["text_model.", ""],
    encoder: None,
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &[
        "embeddings.position_ids",
        "text_projection.weight",
        "head.weight",
        "head.bias",
        "vision_",
        "visual_projection.weight",
        "logit_scale",
        "logit_bias",
    ],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
