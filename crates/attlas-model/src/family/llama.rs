//! Llama (Touvron et al. 2023) and the many decoders built like it: pre-norm RMS, rotary positions, gated SiLU,
//! grouped queries.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Gating, Length, Norm, Pairs, Residual, SpecialIds,
    Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    model_types: &["llama"],
    about: "Llama 1 to 3, SmolLM, TinyLlama (Touvron et al. 2023)",
    read,
    tested: &[
        ("llama", "groups of 2"),
        ("llama-ungrouped", "groups of 1, bf16"),
        ("llama-multi-query", "groups of 4, tied"),
        ("llama-linear", "linear RoPE scaling"),
        ("llama-dynamic", "dynamic RoPE scaling"),
        ("llama3", "Llama 3 RoPE scaling"),
        ("llama-yarn", "YaRN"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    decoder(config, biases(config)?, |_, _| Ok(())).map(|architecture| (architecture, NAMES))
}

/// Biases of all projections where `attention_bias` is on, of none otherwise.
pub(super) fn biases(config: &ConfigFile) -> Result<Biases, Error> {
    Ok(if config.flag_or("attention_bias", false)? { Biases::ALL } else { Biases::NONE })
}

/// What queries, keys and values are cut to, where `clip_qkv` says.
pub(super) fn clip(config: &ConfigFile) -> Result<Option<f32>, Error> {
    let clip = config.has("clip_qkv").then(|| config.positive_or("clip_qkv", 1.0)).transpose()?;
    Ok(clip.map(|clip| clip as f32))
}

/// Turns neighbouring columns instead of halves.
pub(super) fn turn_neighbours(block: &mut Block) {
    if let Some(rotary) = &mut block.attention.rotary {
        rotary.pairs = Pairs::Neighbours;
    }
}

/// Llama's decoder, which several families change in a detail: `change` sees each block with its index.
pub(super) fn decoder(
    config: &ConfigFile,
    biases: Biases,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    decoder_of(config, attention(config, biases)?, change)
}

/// Llama's decoder with another attention.
pub(super) fn decoder_of(
    config: &ConfigFile,
    attention: Attention,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    let stack = stack_of(config, attention, change)?;
    let n_tokens = stack.embedding.n_tokens;
    Ok(Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::No)?,
        ids(config, n_tokens)?,
        Length::Noted(max_positions(config)?),
    ))
}

/// The texts that the model was trained for, in tokens.
pub(super) fn max_positions(config: &ConfigFile) -> Result<usize, Error> {
    config.size_or("max_position_embeddings", 2048)
}

/// The decoder's blocks, which see what is before them.
pub(super) fn stack(
    config: &ConfigFile,
    biases: Biases,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Stack, Error> {
    stack_of(config, attention(config, biases)?, change)
}

/// Llama's attention.
fn attention(config: &ConfigFile, biases: Biases) -> Result<Attention, Error> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    let n_kv_heads = kv_heads(config, n_heads)?;
    let d_head = config.own_head_width("head_dim", ["num_attention_heads", "hidden_size"], [n_heads, d_model])?;
    let place = RopePlace { d_head, max_positions: max_positions(config)?, default_share: 1.0, default_base: 10_000.0 };
    let rotary = rotary::read(config, place, "")?;
    Ok(Attention { n_kv_heads, rotary, biases, ..Attention::plain(n_heads, d_head, Visibility::CAUSAL) })
}

fn stack_of(
    config: &ConfigFile,
    attention: Attention,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Stack, Error> {
    let d_model = config.size("hidden_size")?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::rms(config.positive_or("rms_norm_eps", 1e-6)? as f32);
    let activation = config.activation_or("hidden_act", "silu")?;
    let feed_forward = FeedForward {
        biases: config.flag_or("mlp_bias", false)?,
        gating: Gating::Gated,
        ..FeedForward::gated(config.size("intermediate_size")?, activation)
    };
    let block = Block::new(attention, feed_forward, norm, Residual::Pre);
    let mut blocks = vec![block; config.layers_or("num_hidden_layers", 32)?];
    for (index, block) in blocks.iter_mut().enumerate() {
        change(index, block)?;
    }
    Ok(Stack::pre_norm(norm, d_model, Embedding::new(n_tokens, d_model), blocks))
}

/// Llama's decoder with another norm everywhere.
pub(super) fn decoder_with(
    norm: Norm,
    config: &ConfigFile,
    biases: Biases,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    let mut architecture = decoder(config, biases, |layer, block| {
        block.norm = norm;
        block.attention_norm = Some(norm);
        change(layer, block)
    })?;
    if let Some(stack) = &mut architecture.decoder {
        stack.final_norm = Some(norm);
    }
    Ok(architecture)
}

/// Special ids as most configurations name them.
pub(super) fn ids(config: &ConfigFile, n_tokens: usize) -> Result<SpecialIds, Error> {
    Ok(SpecialIds {
        padding: config.id("pad_token_id", n_tokens)?,
        start: config.id("bos_token_id", n_tokens)?,
        ends: config.ids("eos_token_id", n_tokens)?,
        ..SpecialIds::default()
    })
}

/// The number of key–value heads, which must divide that of query heads.
pub(super) fn kv_heads(config: &ConfigFile, n_heads: usize) -> Result<usize, Error> {
    let n_kv_heads = config.size_or("num_key_value_heads", n_heads)?;
    if !n_heads.is_multiple_of(n_kv_heads) {
        return Err(config.error(
            "num_key_value_heads",
            format!("is {n_kv_heads}, but num_attention_heads {n_heads} is not divisible by it"),
        ));
    }
    Ok(n_kv_heads)
}

/// Llama's names; several families change a few.
pub(super) const NAMES: Names = Names {
    prefixes: &["model.", ""],
    encoder: None,
    decoder: Some(DECODER),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &["rotary_emb.inv_freq"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

pub(super) const DECODER: StackNames = StackNames {
    tokens: &["embed_tokens.weight"],
    layer: "layers.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Separate {
            query: "self_attn.q_proj",
            key: "self_attn.k_proj",
            value: "self_attn.v_proj",
        },
        output: "self_attn.o_proj",
        norm: "input_layernorm",
        query_norm: "self_attn.q_norm",
        key_norm: "self_attn.k_norm",
        ..AttentionNames::NONE
    },
    feed_forward: FeedForwardNames {
        up: "mlp.up_proj",
        gate: "mlp.gate_proj",
        down: "mlp.down_proj",
        norm: "post_attention_layernorm",
        ..FeedForwardNames::NONE
    },
    final_norm: "norm",
    ..StackNames::NONE
};
