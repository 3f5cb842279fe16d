//! GPT-OSS (OpenAI 2025): Llama with learnt sinks, windows in every other layer, and experts.

use super::{Family, llama, mixture, readouts, rotary};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, FeedForward, Gating, Routing};
use crate::load::{AttentionNames, ExpertNames, FeedForwardNames, Names, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "gpt_oss",
    model_types: &["gpt_oss"],
    about: "GPT-OSS (OpenAI 2025)",
    read,
    tested: &[("gpt-oss", "sinks, experts, windows, YaRN, bf16"), ("gpt-oss-mxfp4", "experts in MXFP4, RoPE left out")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let yarn = [("factor", 32.into()), ("original_max_position_embeddings", 4096.into()), ("truncate", false.into())];
    let config =
        &rotary::with_default(config, "yarn", &yarn).defaulting(&[("rms_norm_eps", 1e-5), ("rope_theta", 150_000.0)]);
    config.assume("max_position_embeddings", 131_072);
    let n_layers = config.layers_or("num_hidden_layers", 36)?;
    let window = readouts::window(config.size_or("sliding_window", 128)?);
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| layer % 2 == 0).collect());
    let biases = if config.flag_or("attention_bias", true)? { Biases::ALL } else { Biases::NONE };
    let used_field = if config.has("num_experts_per_tok") { "num_experts_per_tok" } else { "experts_per_token" };
    let n = config.size_or("num_local_experts", 128)?;
    let experts = mixture::experts(config, n, (used_field, 4), Routing::OfChosen)?;
    let gating = Gating::Clamped {
        limit: config.positive_or("swiglu_limit", 7.0)? as f32,
        alpha: config.positive_or("swiglu_alpha", 1.702)? as f32,
    };
    let architecture = llama::decoder(config, biases, |layer, block| {
        block.attention.sinks = true;
        if sliding[layer] {
            block.attention.visibility = window;
        }
        block.feed_forward = FeedForward { gating, biases: true, experts: Some(experts), ..block.feed_forward.clone() };
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames { sinks: "self_attn.sinks", ..llama::DECODER.attention },
        feed_forward: FeedForwardNames {
            routers: &["mlp.router"],
            experts: &[ExpertNames::Turning { up: "mlp.experts.gate_up_proj", down: "mlp.experts.down_proj" }],
            ..llama::DECODER.feed_forward
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
