//! What configurations say of layers without attention.

use serde_json::Value;

use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Mamba, Mamba2, Norm, Recurrence, Rule};

/// The widest layer, and the most numbers of a column's state, that are believed.
const MAX_WIDTH: usize = 1 << 24;
const MAX_STATES: usize = 4096;

/// Which layers have attention, from `layer_types`; `None` where the configuration does not name each layer's type.
pub(super) fn attending(config: &ConfigFile, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
    let field = if config.has("layers_block_type") { "layers_block_type" } else { "layer_types" };
    let Some(types) = config.texts(field)? else { return Ok(None) };
    if types.len() != n_layers {
        return Err(config.error(field, format!("has {} entries for {n_layers} layers", types.len())));
    }
    let attends = |layer_type: &&str| match *layer_type {
        "full_attention" | "attention" => Ok(true),
        "linear_attention" | "mamba" => Ok(false),
        other => {
            let known = "full_attention and attention, linear_attention and mamba";
            Err(config.error(field, format!("has \"{other}\"; attlas knows {known}")))
        }
    };
    let attends = types.iter().map(attends).collect::<Result<Vec<bool>, Error>>()?;
    some(config, field, &attends)?;
    Ok(Some(attends))
}

/// Refuses a model none of whose layers has attention.
pub(super) fn some(config: &ConfigFile, field: &str, attends: &[bool]) -> Result<(), Error> {
    match attends.contains(&true) {
        true => Ok(()),
        false => Err(config.error(field, "leaves no layer with attention: there are no maps to record")),
    }
}

/// Mamba-2 by the fields that begin with `mamba_`.
pub(super) fn mamba2(config: &ConfigFile, norm: Norm) -> Result<Recurrence, Error> {
    let width = width(config)?;
    let n_heads = config.size_or("mamba_n_heads", 128)?;
    let n_groups = config.size_or("mamba_n_groups", 1)?;
    let d_head = match config.get("mamba_d_head") {
        Some(Value::String(auto)) if auto == "auto" => None,
        _ => config.size_or_none("mamba_d_head")?,
    };
    let d_head = d_head.unwrap_or(width / n_heads);
    if d_head == 0 || d_head.saturating_mul(n_heads) != width {
        let problem = format!("makes {n_heads} heads of {d_head} columns, but mamba_expand · hidden_size is {width}");
        return Err(config.error("mamba_d_head", problem));
    }
    if !n_heads.is_multiple_of(n_groups) {
        return Err(config
            .error("mamba_n_groups", format!("is {n_groups}, but mamba_n_heads {n_heads} is not divisible by it")));
    }
    let n_states = n_states(config, 256)?;
    let rule = Rule::Mamba2(Mamba2 { n_heads, d_head, n_groups, n_states, steps: steps(config)?, norm });
    recurrence(config, rule)
}

/// Mamba by the same fields.
pub(super) fn mamba(config: &ConfigFile, norm: Norm) -> Result<Recurrence, Error> {
    let d_step = match config.get("mamba_dt_rank") {
        Some(Value::String(auto)) if auto == "auto" => None,
        _ => config.size_or_none("mamba_dt_rank")?,
    };
    let d_step = d_step.unwrap_or(config.size("hidden_size")?.div_ceil(16));
    recurrence(config, Rule::Mamba(Mamba { width: width(config)?, n_states: n_states(config, 16)?, d_step, norm }))
}

/// What both have around their rules.
fn recurrence(config: &ConfigFile, rule: Rule) -> Result<Recurrence, Error> {
    Ok(Recurrence {
        rule,
        kernel: kernel(config, "mamba_d_conv")?,
        activation: config.activation_or("hidden_act", "silu")?,
        convolution_bias: config.flag_or("mamba_conv_bias", true)?,
        biases: config.flag_or("mamba_proj_bias", false)?,
    })
}

/// Tokens that a convolution sees.
pub(super) fn kernel(config: &ConfigFile, field: &str) -> Result<usize, Error> {
    match config.size_or(field, 4)? {
        kernel @ ..=MAX_STATES => Ok(kernel),
        kernel => Err(config.error(field, format!("is {kernel}; attlas reads up to {MAX_STATES}"))),
    }
}

fn width(config: &ConfigFile) -> Result<usize, Error> {
    let expand = config.size_or("mamba_expand", 2)?;
    match expand.saturating_mul(config.size("hidden_size")?) {
        width @ ..=MAX_WIDTH => Ok(width),
        width => Err(config.error(
            "mamba_expand",
            format!("is {expand}, which makes layers of {width} columns; attlas reads up to {MAX_WIDTH}"),
        )),
    }
}

fn n_states(config: &ConfigFile, default: usize) -> Result<usize, Error> {
    match config.size_or("mamba_d_state", default)? {
        n @ ..=MAX_STATES => Ok(n),
        n => Err(config.error("mamba_d_state", format!("is {n}; attlas reads up to {MAX_STATES}"))),
    }
}

/// The least and the largest step of `time_step_limit`, whose end may be no number: infinity has none in JSON.
fn steps(config: &ConfigFile) -> Result<[f32; 2], Error> {
    let field = "time_step_limit";
    let Some(value) = config.get(field) else { return Ok([0.0, f32::INFINITY]) };
    let number = |value: &Value| match value {
        Value::Object(object) => {
            (object.get("__float__").and_then(Value::as_str) == Some("Infinity")).then_some(f32::INFINITY)
        }
        Value::String(text) => (text == "Infinity" || text == "inf").then_some(f32::INFINITY),
        other => other.as_f64().map(|number| number as f32),
    };
    let numbers = value.as_array().map(|all| all.iter().map(number).collect::<Option<Vec<f32>>>());
    match numbers.flatten().as_deref() {
        Some([least, most]) if *least >= 0.0 && least <= most => Ok([*least, *most]),
        _ => Err(config.error(field, "must be two numbers from 0 on, the least step and the largest")),
    }
}
