//! Granite 4 (IBM 2025): Granite with Mamba-2 in the place of most layers' attention, and with experts in the larger ones.

use super::{Family, granite, llama, mixture, recurrent};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, FeedForward, Norm, Routing};
use crate::load::{ExpertNames, FeedForwardNames, Names, RecurrenceNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "granitemoehybrid",
    model_types: &["granitemoehybrid"],
    about: "Granite 4, hybrid (IBM 2025)",
    read,
    tested: &[
        ("granite-hybrid", "Mamba-2 beside attention, experts, one of all tokens"),
        ("granite-hybrid-dense", "groups of 2, RoPE, biases, no experts, bf16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm::rms(config.positive_or("rms_norm_eps", 1e-6)? as f32);
    let mamba = recurrent::mamba2(config, norm)?;
    let attends = recurrent::attending(config, config.layers_or("num_hidden_layers", 32)?)?;
    let attends =
        attends.ok_or_else(|| config.error("layer_types", "is missing; it says which layers have attention"))?;
    let turns = has_positions(config)?;
    let feed_forward = feed_forward(config)?;
    let architecture = granite::decoder(config, |layer, block| {
        if !turns {
            block.attention.rotary = None;
        }
        block.recurrence = (!attends[layer]).then(|| mamba.clone());
        block.feed_forward = feed_forward.clone();
        Ok(())
    })?;
    Ok((architecture, if feed_forward.experts.is_some() { NAMES } else { DENSE }))
}

/// Whether queries and keys turn with their positions.
fn has_positions(config: &ConfigFile) -> Result<bool, Error> {
    match config.text("position_embedding_type")? {
        None | Some("nope") => Ok(false),
        Some("rope") => Ok(true),
        Some(other) => {
            Err(config.error("position_embedding_type", format!("is \"{other}\"; attlas knows rope and nope")))
        }
    }
}

/// Experts and one of all tokens, or that one alone.
fn feed_forward(config: &ConfigFile) -> Result<FeedForward, Error> {
    let activation = config.activation_or("hidden_act", "silu")?;
    let d_shared = config.size_or("shared_intermediate_size", 1024)?;
    let field = if config.has("num_experts") { "num_experts" } else { "num_local_experts" };
    if config.count_or(field, 8)? == 0 {
        return Ok(FeedForward::gated(d_shared, activation));
    }
    let n = config.size_or(field, 8)?;
    let mut experts = mixture::experts(config, n, ("num_experts_per_tok", 2), Routing::OfChosen)?;
    experts.d_shared = Some(d_shared);
    Ok(FeedForward { experts: Some(experts), ..FeedForward::gated(config.size("intermediate_size")?, activation) })
}

const DECODER: StackNames = StackNames {
    recurrence: RecurrenceNames {
        into: "mamba.in_proj",
        convolution: "mamba.conv1d",
        norms: ["mamba.norm", "", ""],
        step_bias: "mamba.dt_bias",
        decay: "mamba.A_log",
        skip: "mamba.D",
        output: "mamba.out_proj",
        ..RecurrenceNames::NONE
    },
    feed_forward: FeedForwardNames {
        routers: &["block_sparse_moe.router.layer", "block_sparse_moe.router"],
        experts: &[
            ExpertNames::Stacked {
                up: "block_sparse_moe.input_linear.weight",
                down: "block_sparse_moe.output_linear.weight",
            },
            ExpertNames::Stacked {
                up: "block_sparse_moe.experts.gate_up_proj",
                down: "block_sparse_moe.experts.down_proj",
            },
        ],
        shared: ["shared_mlp", ""],
        shared_parts: ["", "input_linear", "output_linear"],
        ..llama::DECODER.feed_forward
    },
    ..llama::DECODER
};

const NAMES: Names = Names { decoder: Some(DECODER), ..llama::NAMES };

const DENSE: Names = Names {
    decoder: Some(StackNames {
        feed_forward: FeedForwardNames {
            up: "shared_mlp.input_linear",
            gate: "",
            down: "shared_mlp.output_linear",
            ..llama::DECODER.feed_forward
        },
        ..DECODER
    }),
    ..llama::NAMES
};
