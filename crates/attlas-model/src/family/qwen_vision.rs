//! The vision towers of Qwen2-VL (Wang et al. 2024) and Qwen2.5-VL (Bai et al. 2025): patches of an image of any shape, turned by their rows
//! and columns. In most layers of the second, a patch sees those of its own square alone.

use attlas::Visibility;

use super::{Family, vit};
use crate::Error;
use crate::block::rope::inverse_frequencies;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, FeedForward, Frequencies, Length, Norm, OtherGrids, Pairs, PatchMatrix, Patches,
    PlaceScale, Readout, Residual, Rotary, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const QWEN2_VL: Family = Family {
    name: "qwen2_vl_vision",
    model_types: &["qwen2_vl_vision"],
    about: "Qwen2-VL's vision tower (Wang et al. 2024)",
    read: read_qwen2_vl,
    tested: &[("qwen2-vl", "rotary by rows and columns, any grid")],
    texts: &[],
};

pub(super) const QWEN2_5_VL: Family = Family {
    name: "qwen2_5_vl_vision",
    model_types: &["qwen2_5_vl_vision"],
    about: "Qwen2.5-VL's vision tower (Bai et al. 2025)",
    read: read_qwen2_5_vl,
    tested: &[("qwen2.5-vl", "squares of patches that see each other, gated")],
    texts: &[],
};

/// Added to the variance in all norms, whatever the configuration says.
const EPSILON: f32 = 1e-6;

fn read_qwen2_vl(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("embed_dim", 1280)?;
    let d_hidden = (d_model as f64 * config.positive_or("mlp_ratio", 4.0)?) as usize;
    if !(1..=1 << 24).contains(&d_hidden) {
        let value = config.get("mlp_ratio").map_or_else(String::new, |value| crate::error::brief(value.to_string()));
        return Err(config.error("mlp_ratio", format!("is {value}, which makes {d_hidden} columns of a feed-forward")));
    }
    let feed_forward = FeedForward::plain(d_hidden, config.activation_or("hidden_act", "quick_gelu")?);
    let (stack, _) = stack(config, d_model, "embed_dim", feed_forward, Norm::layer(EPSILON))?;
    Ok((Architecture::encoder(None, stack, Readout::None, Length::Any), names(PLAIN)))
}

fn read_qwen2_5_vl(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 3584)?;
    let d_hidden = config.size_or("intermediate_size", 3420)?;
    let feed_forward =
        FeedForward { biases: true, ..FeedForward::gated(d_hidden, config.activation_or("hidden_act", "silu")?) };
    let (mut stack, side) = stack(config, d_model, "hidden_size", feed_forward, Norm::rms(EPSILON))?;
    // a square is a whole number of merged patches
    let merged = config.size_or("spatial_merge_size", 2)?;
    let pixels = config.size_or("window_size", 112)?;
    let window = pixels / merged / side * merged;
    if window == 0 {
        let message = format!("is {pixels} pixels, less than {merged} patches of {side}");
        return Err(config.error("window_size", message));
    }
    let whole = whole_layers(config)?;
    for (_, block) in stack.blocks.iter_mut().enumerate().filter(|(layer, _)| !whole.contains(layer)) {
        block.attention.window = Some(window);
    }
    Ok((Architecture::encoder(None, stack, Readout::None, Length::Any), names(GATED)))
}

/// The layers in which every patch sees every other.
fn whole_layers(config: &ConfigFile) -> Result<Vec<usize>, Error> {
    let Some(numbers) = config.numbers("fullatt_block_indexes")? else { return Ok(vec![7, 15, 23, 31]) };
    match numbers.iter().find(|number| number.fract() != 0.0 || **number < 0.0) {
        Some(number) => {
            Err(config.error("fullatt_block_indexes", format!("holds {number}, which is no layer's number")))
        }
        None => Ok(numbers.into_iter().map(|number| number as usize).collect()),
    }
}

/// The stack, and the side of its patches. The norm after the last block is the one before patches are merged.
fn stack(
    config: &ConfigFile,
    d_model: usize,
    width_field: &str,
    feed_forward: FeedForward,
    norm: Norm,
) -> Result<(Stack, usize), Error> {
    let n_heads = config.size_or("num_heads", 16)?;
    let d_head = config.head_width("num_heads", n_heads, width_field, d_model)?;
    let attention =
        Attention { rotary: Some(rotary(config, d_head)?), ..Attention::plain(n_heads, d_head, Visibility::FULL) };
    let block = Block::new(attention, feed_forward, norm, Residual::Pre);
    let patches = patches(config)?;
    let side = patches.side;
    let blocks = vec![block; config.layers_or("depth", 32)?];
    Ok((Stack::pre_norm(norm, d_model, vit::embedding(patches, d_model), blocks), side))
}

/// Patches of a still image: a film's are as deep as several frames, which are then the same.
fn patches(config: &ConfigFile) -> Result<Patches, Error> {
    let frames = config.size_or("temporal_patch_size", 2)?;
    if frames > MOST_FRAMES {
        return Err(
            config.error("temporal_patch_size", format!("is {frames}; attlas reads up to {MOST_FRAMES} frames"))
        );
    }
    let patches = vit::patches(config, 14, Vec::new(), OtherGrids::LinearAveraging)?;
    let n_channels = config.size_or("in_channels", 3)?;
    if n_channels > 4 {
        return Err(config.error("in_channels", format!("is {n_channels}; attlas reads up to 4 colours")));
    }
    let stored = PatchMatrix::Frames(frames);
    Ok(Patches { n_channels, bias: false, stored, has_positions: false, ..patches })
}

/// Frames that are as deep as a patch, at most.
const MOST_FRAMES: usize = 16;

/// A quarter of a head's columns for each axis of the image, and as many again that turn with them.
fn rotary(config: &ConfigFile, d_head: usize) -> Result<Rotary, Error> {
    if !d_head.is_multiple_of(4) {
        let message =
            format!("gives heads {d_head} wide; to turn by rows and columns in pairs, they must be a multiple of 4");
        return Err(config.error("num_heads", message));
    }
    let section = config.section("rope_parameters")?;
    let base = section.as_ref().unwrap_or(config).positive_or("rope_theta", 10_000.0)?;
    Ok(Rotary {
        first_column: 0,
        n_columns: d_head,
        pairs: Pairs::Halves,
        frequencies: Frequencies::ByPlace {
            per_axis: inverse_frequencies(base, d_head / 2),
            scale: PlaceScale::Patches,
        },
        sections: None,
    })
}

fn names(feed_forward: FeedForwardNames) -> Names {
    Names {
        prefixes: &[""],
        encoder: Some(StackNames { feed_forward, ..ENCODER }),
        decoder: None,
        readout: ReadoutNames::NONE,
        layout: Layout::OutIn,
        // what merges patches
        ignored: &["merger.mlp."],
        further_layers: 0,
        superfluous: Superfluous::Noted,
    }
}

const ENCODER: StackNames = StackNames {
    projections: &["patch_embed.proj"],
    layer: "blocks.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Joint("attn.qkv"),
        output: "attn.proj",
        norm: "norm1",
        ..AttentionNames::NONE
    },
    final_norm: "merger.ln_q",
    ..StackNames::NONE
};

const PLAIN: FeedForwardNames =
    FeedForwardNames { up: "mlp.fc1", down: "mlp.fc2", norm: "norm2", ..FeedForwardNames::NONE };

const GATED: FeedForwardNames = FeedForwardNames {
    up: "mlp.up_proj",
    gate: "mlp.gate_proj",
    down: "mlp.down_proj",
    norm: "norm2",
    ..FeedForwardNames::NONE
};
