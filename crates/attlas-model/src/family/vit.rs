//! ViT (Dosovitskiy et al. 2021): pre-norm encoder of image patches after a learnt row, learnt positions. DeiT (Touvron
//! et al. 2021) has a second learnt row, which was taught by a larger model.

use attlas::Visibility;

use super::{Family, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Leading, Length, Norm, OtherGrids, PatchMatrix,
    Patches, Pooled, Readout, Reads, Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const VIT: Family = Family {
    name: "vit",
    model_types: &["vit"],
    about: "ViT (Dosovitskiy et al. 2021)",
    read: |config| read(config, &["vit.", ""], &[CLASS]),
    tested: &[("vit", "classifier"), ("vit-model", "f16")],
    texts: &[],
};

pub(super) const DEIT: Family = Family {
    name: "deit",
    model_types: &["deit"],
    about: "DeiT (Touvron et al. 2021)",
    read: |config| read(config, &["deit.", ""], &[CLASS, DISTILLATION]),
    tested: &[("deit", "distillation token, two classifiers")],
    texts: &[],
};

/// The masked autoencoder's encoder, which sees all patches here: masking is for its training.
pub(super) const MAE: Family = Family {
    name: "vit_mae",
    model_types: &["vit_mae"],
    about: "ViT-MAE's encoder, nothing masked (He et al. 2022)",
    read: |config| {
        let (architecture, names) = read(config, &["vit.", ""], &[CLASS])?;
        Ok((architecture, Names { ignored: &["decoder."], ..names }))
    },
    tested: &[("vit-mae", "nothing masked")],
    texts: &[],
};

/// The row that classes are read from.
pub(super) const CLASS: Leading = Leading { label: "CLS", n: 1, has_position: true };
pub(super) const DISTILLATION: Leading = Leading { label: "DIST", n: 1, has_position: true };

fn read(
    config: &ConfigFile,
    prefixes: &'static [&'static str],
    leading: &[Leading],
) -> Result<(Architecture, Names), Error> {
    let stack = stack(config, leading)?;
    let classes = config.texts("architectures")?.unwrap_or_default();
    let has = |part: &str| classes.iter().any(|name| name.contains(part));
    let n_classes = || readouts::n_classes(config);
    let (readout, readout_names) = if has("WithTeacher") {
        let pooled = Pooled::FirstTwo;
        (Readout::Classes { n: n_classes()?, transform: None, pooled }, TWO_CLASSIFIERS)
    } else if has("ForImageClassification") {
        (Readout::Classes { n: n_classes()?, transform: None, pooled: Pooled::First }, CLASSIFIER)
    } else {
        (Readout::None, ReadoutNames::NONE)
    };
    Ok((Architecture::encoder(None, stack, readout, Length::Any), Names { prefixes, readout: readout_names, ..NAMES }))
}

/// Patches after learnt rows, and the blocks.
pub(super) fn stack(config: &ConfigFile, leading: &[Leading]) -> Result<Stack, Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let d_hidden = config.size_or("intermediate_size", 3072)?;
    let block = Block::new(
        Attention { biases: qkv_biases(config)?, ..Attention::plain(n_heads, d_head, Visibility::FULL) },
        FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu")?),
        norm,
        Residual::Pre,
    );
    let patches = patches(config, 16, leading.to_vec(), OtherGrids::Refused)?;
    let embedding = embedding(patches, d_model);
    Ok(Stack::pre_norm(norm, d_model, embedding, vec![block; config.layers_or("num_hidden_layers", 12)?]))
}

/// The patches of an image, square or oblong, as most configurations say it.
pub(super) fn patches(
    config: &ConfigFile,
    default_side: usize,
    leading: Vec<Leading>,
    other_grids: OtherGrids,
) -> Result<Patches, Error> {
    let [side, n_channels] = pixels(config, default_side)?;
    let sizes = config.sides_or("image_size", 224)?;
    for size in sizes {
        if size < side {
            return Err(config.error("image_size", format!("is {size}, less than one patch (patch_size is {side})")));
        }
        if size > MAX_IMAGE_SIDE {
            let message = format!("is {size}; attlas reads up to {MAX_IMAGE_SIDE} pixels a side");
            return Err(config.error("image_size", message));
        }
    }
    // pixels that are left over on the right and below are not read
    let grid = sizes.map(|size| size / side);
    let stored = PatchMatrix::Kernel;
    Ok(Patches { n_channels, side, grid, leading, bias: true, stored, has_positions: true, other_grids })
}

/// The side of a patch, and the colours of its pixels.
pub(super) fn pixels(config: &ConfigFile, default_side: usize) -> Result<[usize; 2], Error> {
    let [side, across] = config.sides_or("patch_size", default_side)?;
    if side != across {
        return Err(config.error("patch_size", format!("is [{side}, {across}]; attlas reads square patches")));
    }
    let n_channels = config.size_or("num_channels", 3)?;
    if n_channels > 4 {
        return Err(config.error("num_channels", format!("is {n_channels}; attlas reads up to 4 colours")));
    }
    Ok([side, n_channels])
}

/// The longest side of an image that is believed.
pub(super) const MAX_IMAGE_SIDE: usize = 4096;

/// Patches in place of ids.
pub(super) fn embedding(patches: Patches, d_model: usize) -> Embedding {
    Embedding { reads: Reads::Patches(patches), ..Embedding::new(0, d_model) }
}

pub(super) fn qkv_biases(config: &ConfigFile) -> Result<Biases, Error> {
    let has_biases = config.flag_or("qkv_bias", true)?;
    Ok(Biases { query_value: has_biases, key: has_biases, output: true })
}

/// ViT's names, of which DINOv2 changes a few.
pub(super) const NAMES: Names = Names {
    prefixes: &["vit.", ""],
    encoder: Some(ENCODER),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &["pooler.dense.weight", "pooler.dense.bias", "embeddings.mask_token"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

pub(super) const ENCODER: StackNames = StackNames {
    projections: &["embeddings.patch_embeddings.projection"],
    leading: &["embeddings.cls_token", "embeddings.distillation_token"],
    positions: "embeddings.position_embeddings",
    layer: "encoder.layer.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Separate {
            query: "attention.attention.query",
            key: "attention.attention.key",
            value: "attention.attention.value",
        },
        output: "attention.output.dense",
        norm: "layernorm_before",
        ..AttentionNames::NONE
    },
    feed_forward: FeedForwardNames {
        up: "intermediate.dense",
        down: "output.dense",
        norm: "layernorm_after",
        ..FeedForwardNames::NONE
    },
    final_norm: "layernorm",
    ..StackNames::NONE
};

pub(super) const CLASSIFIER: ReadoutNames =
    ReadoutNames { output: "classifier.weight", bias: &["classifier.bias"], ..ReadoutNames::NONE };

const TWO_CLASSIFIERS: ReadoutNames =
    ReadoutNames { output: "cls_classifier", second: "distillation_classifier", ..ReadoutNames::NONE };
