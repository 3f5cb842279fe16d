//! What checkpoints of several families have in common: which task's readout they carry, and the usual readouts.

use attlas::Visibility;
use serde_json::Value;

use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Norm, Output, Pooled, Readout, Stack, Transform};

/// The task that a checkpoint was saved for, from `architectures` in config.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Masked language model.
    MaskedTokens,
    /// A score per class.
    Classes,
    /// No readout, or one that attlas does not run.
    None,
}

pub(super) fn task(config: &ConfigFile) -> Result<Task, Error> {
    let names = config.texts("architectures")?.unwrap_or_default();
    let any = |part: &str| names.iter().any(|name| name.contains(part));
    Ok(if any("ForMaskedLM") || any("ForPreTraining") {
        Task::MaskedTokens
    } else if any("ForSequenceClassification") {
        Task::Classes
    } else {
        Task::None
    })
}

/// Whether the checkpoint has an output matrix for the next token: all but bare stacks have.
pub(super) fn has_language_readout(config: &ConfigFile) -> Result<bool, Error> {
    let names = config.texts("architectures")?.unwrap_or_default();
    let has =
        |name: &&str| name.contains("LM") || name.contains("ForConditionalGeneration") || name.contains("MTModel");
    Ok(names.is_empty() || names.iter().any(has))
}

/// Refuses encoders that were configured as decoders.
pub(super) fn only_encoder(config: &ConfigFile) -> Result<(), Error> {
    config.must_be("is_decoder", &Value::Bool(false))?;
    config.must_be("add_cross_attention", &Value::Bool(false))
}

/// Whether the output matrix is the token table, where config.json does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tied {
    /// It is.
    Yes,
    /// It is a matrix of its own.
    No,
}

/// Where the output matrix comes from.
pub(super) fn output(config: &ConfigFile, tied: Tied) -> Result<Output, Error> {
    Ok(if config.flag_or("tie_word_embeddings", tied == Tied::Yes)? { Output::Tied } else { Output::Own })
}

/// A dense layer, a norm and the tied output matrix with a bias.
pub(super) fn masked_tokens(
    config: &ConfigFile,
    stack: &Stack,
    activation: Activation,
    norm: Norm,
) -> Result<Readout, Error> {
    let width = stack.embedding.width;
    Ok(Readout::Tokens {
        n_tokens: stack.embedding.n_tokens,
        transform: Some(Transform { width, activation, norm: Some(norm), bias: true }),
        bias: true,
        output: output(config, Tied::Yes)?,
        scale: 1.0,
        softcap: None,
    })
}

/// The first position through a tanh layer, then one score per class.
pub(super) fn pooled_classes(config: &ConfigFile, stack: &Stack) -> Result<Readout, Error> {
    Ok(Readout::Classes { n: n_classes(config)?, transform: Some(tanh_layer(stack.d_model)), pooled: Pooled::First })
}

/// The number of classes: `num_labels`, or as many as `id2label` has, or 2.
pub(super) fn n_classes(config: &ConfigFile) -> Result<usize, Error> {
    let labels = config.get("id2label").and_then(Value::as_object).map_or(2, serde_json::Map::len);
    config.size_or("num_labels", labels.max(1))
}

/// The plain output matrix of a causal language model.
pub(super) fn next_token(config: &ConfigFile, n_tokens: usize, tied: Tied) -> Result<Readout, Error> {
    if !has_language_readout(config)? {
        return Ok(Readout::None);
    }
    Ok(Readout::Tokens {
        n_tokens,
        transform: None,
        bias: false,
        output: output(config, tied)?,
        scale: 1.0,
        softcap: None,
    })
}

/// The same, always with a bias.
pub(super) fn next_token_with_bias(config: &ConfigFile, n_tokens: usize) -> Result<Readout, Error> {
    let mut readout = next_token(config, n_tokens, Tied::No)?;
    if let Readout::Tokens { bias, .. } = &mut readout {
        *bias = true;
    }
    Ok(readout)
}

/// Multiplies the logits by a factor.
pub(super) fn scale_logits(readout: &mut Readout, factor: f64) {
    if let Readout::Tokens { scale, .. } = readout {
        *scale = factor as f32;
    }
}

/// Which layers have a window, from `layer_types`; `None` where the configuration does not name each layer's type.
pub(super) fn sliding_layers(config: &ConfigFile, n_layers: usize) -> Result<Option<Vec<bool>>, Error> {
    let Some(types) = config.texts("layer_types")? else { return Ok(None) };
    if types.len() != n_layers {
        return Err(config.error("layer_types", format!("has {} entries for {n_layers} layers", types.len())));
    }
    let sliding =
        |layer_type: &&str| match *layer_type {
            "sliding_attention" => Ok(true),
            "full_attention" => Ok(false),
            other => Err(config
                .error("layer_types", format!("has \"{other}\"; attlas knows full_attention and sliding_attention"))),
        };
    types.iter().map(sliding).collect::<Result<_, _>>().map(Some)
}

/// The window that `sliding_window` gives: `default` where it is absent, none where it is null.
pub(super) fn window_or(config: &ConfigFile, default: usize) -> Result<Option<usize>, Error> {
    match config.is_null("sliding_window") {
        true => Ok(None),
        false => config.size_or("sliding_window", default).map(Some),
    }
}

/// The same where `use_sliding_window` is on.
pub(super) fn window_where_used(config: &ConfigFile) -> Result<Option<usize>, Error> {
    if config.flag_or("use_sliding_window", false)? { window_or(config, 4096) } else { Ok(None) }
}

/// A causal window of `n` keys, the query's own included.
pub(super) fn window(n: usize) -> Visibility {
    Visibility { before: Some(i64::try_from(n.saturating_sub(1)).unwrap_or(i64::MAX)), after: Some(0) }
}

/// A dense layer as wide as the model, with tanh (BERT's pooler).
pub(super) fn tanh_layer(width: usize) -> Transform {
    Transform { width, activation: Activation::Tanh, norm: None, bias: true }
}
