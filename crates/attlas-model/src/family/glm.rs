//! GLM-4 and GLM-Edge (GLM Team 2024): Llama with fused matrices, and rotary positions on neighbouring columns of the first
//! half of a head. The later GLM-4-0414 has norms on what sublayers give besides.

use super::{Family, llama};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, Residual};
use crate::load::{AttentionNames, FeedForwardNames, Names, StackNames};

pub(super) const GLM: Family = Family {
    name: "glm",
    model_types: &["glm"],
    about: "GLM-4-9B, GLM-Edge (GLM Team 2024)",
    read: |config| Ok((decoder(config, Residual::Pre)?, names(DECODER))),
    tested: &[("glm", "fused matrices, partial interleaved RoPE")],
    texts: &[],
};

pub(super) const GLM4: Family = Family {
    name: "glm4",
    model_types: &["glm4"],
    about: "GLM-4-0414, GLM-Z1 (GLM Team 2025)",
    read: |config| Ok((decoder(config, Residual::Sandwich)?, names(SANDWICH))),
    tested: &[("glm4", "sandwich norms, older configuration, bf16")],
    texts: &[],
};

fn decoder(config: &ConfigFile, residual: Residual) -> Result<Architecture, Error> {
    let biases = if config.flag_or("attention_bias", true)? { Biases::QKV } else { Biases::NONE };
    let config = &config.defaulting(&[("rms_norm_eps", 1.5625e-7), ("partial_rotary_factor", 0.5)]);
    config.assume("max_position_embeddings", 131_072);
    llama::decoder(config, biases, |_, block| {
        llama::turn_neighbours(block);
        block.residual = residual;
        Ok(())
    })
}

fn names(decoder: StackNames) -> Names {
    Names { decoder: Some(decoder), ..llama::NAMES }
}

const DECODER: StackNames = StackNames {
    feed_forward: FeedForwardNames { up: "mlp.gate_up_proj", gate: "", ..llama::DECODER.feed_forward },
    ..llama::DECODER
};

const SANDWICH: StackNames = StackNames {
    attention: AttentionNames { post_norm: "post_self_attn_layernorm", ..DECODER.attention },
    feed_forward: FeedForwardNames { post_norm: "post_mlp_layernorm", ..DECODER.feed_forward },
    ..DECODER
};
