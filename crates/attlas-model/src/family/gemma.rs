//! Gemma 1 to 3 (Gemma Team 2024, 2025): Llama with scaled embeddings and norms that multiply by `1 + weight`; Gemma 2
//! adds soft caps, windows and norms after the sublayers; Gemma 3 has norms on queries and keys instead of soft caps.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, llama, readouts};
use crate::Error;
use crate::block::rope::inverse_frequencies;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Frequencies, Norm, NormKind, Pairs, QkNorm, QkScope, Readout, Residual, Rotary,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, StackNames};

pub(super) const GEMMA: Family = Family {
    name: "gemma",
    model_types: &["gemma"],
    about: "Gemma (Gemma Team 2024)",
    read: |config| Ok((decoder(config, |_, _| Ok(()))?, llama::NAMES)),
    tested: &[("gemma", "multi-query, scaled embedding")],
    texts: &[],
};

pub(super) const GEMMA2: Family = Family {
    name: "gemma2",
    model_types: &["gemma2"],
    about: "Gemma 2 (Gemma Team 2024)",
    read: read_gemma2,
    tested: &[("gemma2", "soft caps, alternating windows, sandwich norms")],
    texts: &[],
};

pub(super) const GEMMA3: Family = Family {
    name: "gemma3",
    model_types: &["gemma3_text"],
    about: "Gemma 3, text (Gemma Team 2025)",
    read: read_gemma3,
    tested: &[("gemma3", "q/k norms, RoPE of two bases"), ("gemma3-older-config", "older configuration")],
    texts: &[],
};

fn read_gemma2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let n_layers = config.layers_or("num_hidden_layers", 26)?;
    let window = readouts::window(config.size_or("sliding_window", 4096)?);
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| layer % 2 == 0).collect());
    let softcap = soft_cap(config, "attn_logit_softcapping", Some(50.0))?;
    let scale = scale(config)?;
    let mut architecture = decoder(config, |layer, block| {
        let visibility = if sliding[layer] { window } else { Visibility::CAUSAL };
        block.attention = Attention { scale, softcap, visibility, ..block.attention.clone() };
        block.residual = Residual::Sandwich;
        Ok(())
    })?;
    let cap = soft_cap(config, "final_logit_softcapping", Some(30.0))?;
    if let Readout::Tokens { softcap, .. } = &mut architecture.readout {
        *softcap = cap;
    }
    Ok((architecture, SANDWICH))
}

fn read_gemma3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 131_072);
    let n_layers = config.layers_or("num_hidden_layers", 26)?;
    let window = readouts::window(config.size_or("sliding_window", 4096)?);
    let every = config.size_or("sliding_window_pattern", 6)?;
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| (layer + 1) % every != 0).collect());
    let softcap = soft_cap(config, "attn_logit_softcapping", None)?;
    let scale = scale(config)?;
    let mut architecture = decoder(config, |layer, block| {
        let rotary = rotary_of(config, block.attention.d_head, sliding[layer])?;
        let visibility = if sliding[layer] { window } else { Visibility::CAUSAL };
        let qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::Head });
        block.attention = Attention { scale, softcap, visibility, rotary, qk_norm, ..block.attention.clone() };
        block.residual = Residual::Sandwich;
        Ok(())
    })?;
    let cap = soft_cap(config, "final_logit_softcapping", None)?;
    if let Readout::Tokens { softcap, .. } = &mut architecture.readout {
        *softcap = cap;
    }
    Ok((architecture, SANDWICH))
}

/// Windowed layers turn by a base of their own, never scaled.
fn rotary_of(config: &ConfigFile, d_head: usize, sliding: bool) -> Result<Option<Rotary>, Error> {
    if sliding && !config.has("rope_parameters") {
        let base = config.positive_or("rope_local_base_freq", 10_000.0)?;
        let n_columns = rotary::columns(config, None, d_head, 1.0)?;
        let frequencies = Frequencies::Fixed { per_pair: inverse_frequencies(base, n_columns), factor: 1.0 };
        return Ok(Some(Rotary { first_column: 0, n_columns, pairs: Pairs::Halves, frequencies, sections: None }));
    }
    let (layer_type, default_base) =
        if sliding { ("sliding_attention", 10_000.0) } else { ("full_attention", 1_000_000.0) };
    let max_positions = config.size_or("max_position_embeddings", 131_072)?;
    rotary::read(config, RopePlace { d_head, max_positions, default_share: 1.0, default_base }, layer_type)
}

/// What all Gemmas have in common.
fn decoder(
    config: &ConfigFile,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    config.assume("max_position_embeddings", 8192);
    let activation = config.activation_or("hidden_activation", "gelu_pytorch_tanh")?;
    let plus_one = |norm: Norm| Norm { kind: NormKind::RmsPlusOne, ..norm };
    let biases = llama::biases(config)?;
    let mut architecture = llama::decoder(config, biases, |layer, block| {
        block.feed_forward.activation = activation;
        block.norm = plus_one(block.norm);
        block.attention_norm = Some(block.norm);
        change(layer, block)
    })?;
    if let Some(stack) = &mut architecture.decoder {
        stack.embedding.scale = (stack.d_model as f64).sqrt() as f32;
        stack.final_norm = stack.final_norm.map(plus_one);
    }
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, readouts::Tied::Yes)?;
    Ok(architecture)
}

fn scale(config: &ConfigFile) -> Result<f32, Error> {
    Ok(config.positive_or("query_pre_attn_scalar", 256.0)?.sqrt().recip() as f32)
}

/// A soft cap; an explicit null is none.
fn soft_cap(config: &ConfigFile, field: &str, default: Option<f64>) -> Result<Option<f32>, Error> {
    if config.has(field) {
        return config.positive_or(field, 1.0).map(|cap| Some(cap as f32));
    }
    Ok(default.filter(|_| !config.is_null(field)).map(|cap| cap as f32))
}

const SANDWICH: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames { post_norm: "post_attention_layernorm", ..llama::DECODER.attention },
        feed_forward: FeedForwardNames {
            norm: "pre_feedforward_layernorm",
            post_norm: "post_feedforward_layernorm",
            ..llama::DECODER.feed_forward
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
