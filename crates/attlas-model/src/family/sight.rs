//! How a model that reads texts sees images: which tower they go through, which of its hidden states are taken, and through
//! what they become rows among those of words.

use crate::Error;
use crate::config::Activation;
use crate::config::file::ConfigFile;

/// What a configuration says of the way from an image to rows among words.
pub(crate) struct SightPlan {
    /// The tower's own configuration.
    pub tower: ConfigFile,
    /// What the tower's names may stand under.
    pub tower_prefixes: &'static [&'static str],
    /// The hidden states that are taken, side by side: those that enter this layer, or leave the last. Counted from the end where
    /// negative.
    pub layers: Vec<i64>,
    /// Which rows of them are.
    pub rows: TakenRows,
    /// Patches along each side that become one row.
    pub merged: usize,
    /// The two dense layers that they go through, under these prefixes; the first that fits.
    pub projector: [&'static str; 2],
    pub projector_prefixes: &'static [&'static str],
    pub projector_bias: bool,
    pub activation: Activation,
    /// The width that the first of the two gives; that of the text where it is `None`.
    pub d_hidden: Option<usize>,
    /// Whether the norm after the tower's last block is on the states that are taken.
    pub is_normed: bool,
    /// The width of what they give, as a field of this name says it; it must be the text's.
    pub d_given: Option<(usize, String)>,
    /// Whether the text's tokens have three positions each.
    pub has_three_positions: bool,
    /// The token in whose place rows stand.
    pub image_token: u32,
    /// What is written where an image is to stand, for messages.
    pub written: &'static str,
}

/// Which of a tower's rows are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakenRows {
    /// All.
    All,
    /// All but the learnt one before the patches.
    Patches,
}

/// How the model sees images; `None` where it reads texts alone, or nothing is known of it.
///
/// # Errors
/// When a field is not what attlas can read.
pub(crate) fn sight(config: &ConfigFile) -> Result<Option<SightPlan>, Error> {
    match config.text("model_type")?.unwrap_or_default() {
        "llava" => llava(config).map(Some),
        "qwen2_vl" => qwen(config, "qwen2_vl_vision", ["embed_dim", "hidden_size"], 1280).map(Some),
        "qwen2_5_vl" => qwen(config, "qwen2_5_vl_vision", ["hidden_size", "out_hidden_size"], 3584).map(Some),
        _ => Ok(None),
    }
}

/// LLaVA 1.5 (Liu et al. 2024): the patches' states before the last layer of CLIP, through two layers.
fn llava(config: &ConfigFile) -> Result<SightPlan, Error> {
    let (tower, kind) = section(config)?;
    let has_class = kind == "clip_vision_model";
    let rows = match config.text_or("vision_feature_select_strategy", "default")? {
        "default" if has_class => TakenRows::Patches,
        "full" => TakenRows::All,
        "default" => {
            let message =
                "is \"default\", which leaves the first row out, but this tower has patches alone: that would be one";
            return Err(config.error("vision_feature_select_strategy", message));
        }
        other => {
            let message = format!("is \"{}\"; attlas knows default and full", crate::error::brief(other));
            return Err(config.error("vision_feature_select_strategy", message));
        }
    };
    Ok(SightPlan {
        tower,
        tower_prefixes: &["model.vision_tower.", "vision_tower."],
        layers: feature_layers(config)?,
        rows,
        merged: 1,
        projector: ["multi_modal_projector.linear_1", "multi_modal_projector.linear_2"],
        projector_prefixes: &["model.", ""],
        projector_bias: config.flag_or("multimodal_projector_bias", true)?,
        activation: config.activation_or("projector_hidden_act", "gelu")?,
        d_hidden: None,
        is_normed: false,
        d_given: None,
        has_three_positions: false,
        image_token: image_token(config, 32_000)?,
        written: "<image>",
    })
}

/// Qwen2-VL and Qwen2.5-VL: the states of a square of patches side by side, through two layers of which the first is as wide. The fields are
/// those of the tower's width, which has this default, and of the width of what it gives.
fn qwen(
    config: &ConfigFile,
    tower_type: &'static str,
    [width, given]: [&str; 2],
    default: usize,
) -> Result<SightPlan, Error> {
    let missing = || config.error("vision_config", "is missing; it describes what images go through");
    let tower = config.section("vision_config")?.ok_or_else(missing)?.supposing("model_type", tower_type.into());
    let merged = tower.size_or("spatial_merge_size", 2)?;
    if merged > MOST_MERGED {
        let message = format!("is {merged}; attlas merges up to {MOST_MERGED} × {MOST_MERGED} patches");
        return Err(tower.error("spatial_merge_size", message));
    }
    Ok(SightPlan {
        tower_prefixes: &["model.visual.", "visual."],
        layers: vec![-1],
        rows: TakenRows::All,
        merged,
        projector: ["merger.mlp.0", "merger.mlp.2"],
        projector_prefixes: &["model.visual.", "visual."],
        projector_bias: true,
        activation: Activation::Gelu,
        d_hidden: Some(tower.size_or(width, default)? * merged * merged),
        is_normed: true,
        has_three_positions: true,
        d_given: Some((tower.size_or(given, 3584)?, format!("vision_config.{given}"))),
        image_token: image_token(config, 151_655)?,
        written: "<|vision_start|><|image_pad|><|vision_end|>",
        tower,
    })
}

/// Patches along each side that become one row, at most.
const MOST_MERGED: usize = 16;

/// The configuration of the tower and its `model_type`.
fn section(config: &ConfigFile) -> Result<(ConfigFile, &'static str), Error> {
    const KNOWN: [&str; 2] = ["clip_vision_model", "siglip_vision_model"];
    let missing = || config.error("vision_config", "is missing; it describes what images go through");
    let tower = config.section("vision_config")?.ok_or_else(missing)?;
    let named = tower.text("model_type")?.unwrap_or("clip_vision_model").to_owned();
    match KNOWN.into_iter().find(|known| *known == named) {
        Some(kind) => Ok((tower.supposing("model_type", kind.into()), kind)),
        None => {
            let named = crate::error::brief(&named);
            let message =
                format!("is \"{named}\"; of the towers that images go through attlas reads {}", KNOWN.join(" and "));
            Err(tower.error("model_type", message))
        }
    }
}

/// `vision_feature_layer`: a number, or several whose states stand side by side.
fn feature_layers(config: &ConfigFile) -> Result<Vec<i64>, Error> {
    let field = "vision_feature_layer";
    let numbers = match config.get(field) {
        None => vec![-2.0],
        Some(value) if value.is_number() => vec![config.number_or(field, -2.0)?],
        Some(_) => config.numbers(field)?.unwrap_or_default(),
    };
    let is_layer = |number: &f64| number.fract() == 0.0 && number.abs() < 1e6;
    if numbers.is_empty() || !numbers.iter().all(is_layer) {
        return Err(config.error(field, format!("is {numbers:?}, but must be the number of a layer, or several")));
    }
    Ok(numbers.into_iter().map(|number| number as i64).collect())
}

/// The token in whose place the rows of an image stand, which transformers 5 calls by another name.
fn image_token(config: &ConfigFile, default: u32) -> Result<u32, Error> {
    let all = u32::MAX as usize;
    let found = config.id("image_token_id", all)?.or(config.id("image_token_index", all)?);
    Ok(found.unwrap_or(default))
}
