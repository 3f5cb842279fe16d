//! Falcon (Almazrouei et al. 2023): one or a few key–value heads, parallel residual; the RW models have ALiBi instead.
//!
//! Its ALiBi is rounded to bf16, as its own code and transformers have it.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, bloom, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, PositionBias, Residual, Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Layout, Names, ReadoutNames, StackNames, Superfluous};

pub(super) const FAMILY: Family = Family {
    name: "falcon",
    model_types: &["falcon"],
    about: "Falcon (Almazrouei et al. 2023)",
    read,
    tested: &[
        ("falcon-7b", "multi-query"),
        ("falcon-40b", "grouped, two norms"),
        ("falcon-rw", "ALiBi, f16"),
        ("falcon-rw-24-heads", "ALiBi of 24 heads"),
    ],
    texts: &[],
};

/// How attention and feed-forward stand to each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// One after the other.
    Sequential,
    /// Side by side after one norm.
    OneNorm,
    /// Side by side, each with its norm.
    TwoNorms,
}

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 4544)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_epsilon", 1e-5)? as f32);
    let max_positions = config.size_or("max_position_embeddings", 2048)?;
    let plan = plan(config)?;
    let block = Block::new(
        attention(config, d_model, max_positions)?,
        FeedForward {
            biases: config.flag_or("bias", false)?,
            ..FeedForward::plain(
                config.size_or("ffn_hidden_size", 4 * d_model)?,
                config.activation_or("activation", "gelu")?,
            )
        },
        norm,
        match plan {
            Plan::Sequential => Residual::Pre,
            Plan::OneNorm => Residual::ParallelSharedNorm,
            Plan::TwoNorms => Residual::Parallel,
        },
    );
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding::new(n_tokens, d_model),
        vec![block; config.layers_or("num_hidden_layers", 32)?],
    );
    let architecture = Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::Yes)?,
        llama::ids(config, n_tokens)?,
        Length::Noted(max_positions),
    );
    Ok((architecture, names(plan)))
}

fn plan(config: &ConfigFile) -> Result<Plan, Error> {
    let new = config.flag_or("new_decoder_architecture", false)?;
    let n_norms = config.size_or("num_ln_in_parallel_attn", if new { 2 } else { 1 })?;
    let parallel = new || config.flag_or("parallel_attn", true)?;
    Ok(match (parallel, n_norms) {
        (false, _) => Plan::Sequential,
        (true, 2) if new => Plan::TwoNorms,
        (true, _) => Plan::OneNorm,
    })
}

fn attention(config: &ConfigFile, d_model: usize, max_positions: usize) -> Result<Attention, Error> {
    let n_heads = config.size_or("num_attention_heads", 71)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let n_kv_heads = if config.flag_or("new_decoder_architecture", false)? {
        config.size_or("num_kv_heads", n_heads)?
    } else if config.flag_or("multi_query", true)? {
        1
    } else {
        n_heads
    };
    if n_heads % n_kv_heads != 0 {
        return Err(config.error("num_kv_heads", format!("is {n_kv_heads}, which does not divide {n_heads} heads")));
    }
    let plain = Attention::plain(n_heads, d_head, Visibility::CAUSAL);
    let alibi = config.flag_or("alibi", false)?;
    let place = RopePlace { d_head, max_positions, default_share: 1.0, default_base: 10_000.0 };
    Ok(Attention {
        n_kv_heads,
        // the bias is added before the division by √d_head
        bias: match alibi {
            true => PositionBias::AlibiInBf16(bloom::slopes(n_heads)),
            false => PositionBias::None,
        },
        rotary: if alibi { None } else { rotary::read(config, place, "")? },
        biases: if config.flag_or("bias", false)? { Biases::ALL } else { Biases::NONE },
        ..plain
    })
}

fn names(plan: Plan) -> Names {
    let (attention_norm, norm) = match plan {
        Plan::TwoNorms => ("ln_attn", "ln_mlp"),
        _ => ("input_layernorm", "post_attention_layernorm"),
    };
    let attention = AttentionNames { norm: attention_norm, ..bloom::DECODER.attention };
    let feed_forward = FeedForwardNames { norm, ..bloom::DECODER.feed_forward };
    Names {
        prefixes: &["transformer.", ""],
        encoder: None,
        decoder: Some(StackNames { attention, feed_forward, ..bloom::DECODER }),
        readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
        layout: Layout::OutIn,
        ignored: &["rotary_emb.inv_freq"],
        further_layers: 0,
        superfluous: Superfluous::Noted,
    }
}
