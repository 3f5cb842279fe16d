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
        _ => Ok(None),
    }
}

/// LLaVA 1.5 (Liu et al. 2024): the patches' states before the last layer of CLIP, through two layers.
fn llava(config: &ConfigFile) -> Result<SightPlan, Error> {
    let (tower, kind) = section(config)?;
    let tower = match kind {
        "clip_vision_model" | "siglip_vision_model" => tower,
        other => return Err(unknown_tower(&tower, other, "clip_vision_model and siglip_vision_model")),
    };
    let has_class = kind == "clip_vision_model";
    let rows = match config.text_or("vision_feature_select_strategy", "default")? {
        "default" if has_class => TakenRows::Patches,
        "full" => TakenRows::All,
        "default" => {
            let message = "is \"default\", which leaves the first row out, but this tower has patches alone: that would be one";
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
        image_token: image_token(config, 32_000)?,
        written: "<image>",
    })
}

/// The configuration of the tower and its `model_type`.
fn section(config: &ConfigFile) -> Result<(ConfigFile, &'static str), Error> {
    const KNOWN: [&str; 4] = ["clip_vision_model", "siglip_vision_model", "qwen2_vl_vision", "qwen2_5_vl_vision"];
    let missing = || config.error("vision_config", "is missing; it describes what images go through");
    let tower = config.section("vision_config")?.ok_or_else(missing)?;
    let named = tower.text("model_type")?.unwrap_or("clip_vision_model").to_owned();
    match KNOWN.into_iter().find(|known| *known == named) {
        Some(kind) => Ok((tower.supposing("model_type", kind.into()), kind)),
        None => Err(unknown_tower(&tower, &named, "clip_vision_model and siglip_vision_model")),
    }
}

fn unknown_tower(tower: &ConfigFile, kind: &str, known: &str) -> Error {
    let kind = crate::error::brief(kind);
    tower.error("model_type", format!("is \"{kind}\"; of the towers that images go through attlas reads {known}"))
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
