//! Jamba (Lieber et al. 2024): Mamba in most layers, attention without positions in the others, and experts in every second.

use attlas::Visibility;

use super::{Family, llama, mixture, recurrent};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Attention, Biases, Experts, Norm, Routing};
use crate::load::{ExpertNames, FeedForwardNames, Names, RecurrenceNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "jamba",
    model_types: &["jamba"],
    about: "Jamba (Lieber et al. 2024)",
    read,
    tested: &[
        ("jamba", "Mamba beside attention, experts"),
        ("jamba-dense", "groups of 2, biases, no experts, tied, f16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("num_key_value_heads", 8);
    config.assume("max_position_embeddings", 262_144);
    let mamba = recurrent::mamba(config, Norm::rms(config.positive_or("rms_norm_eps", 1e-6)? as f32))?;
    let n_layers = config.layers_or("num_hidden_layers", 32)?;
    let attends = every(config, n_layers, ["attn_layer_period", "attn_layer_offset"], [8, 4])?;
    recurrent::some(config, "attn_layer_offset", &attends)?;
    let mixed = every(config, n_layers, ["expert_layer_period", "expert_layer_offset"], [2, 1])?;
    let experts = experts(config)?;
    let architecture = llama::decoder_of(config, attention(config)?, |layer, block| {
        block.recurrence = (!attends[layer]).then(|| mamba.clone());
        block.feed_forward.experts = experts.filter(|_| mixed[layer]);
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

/// Without positions and biases.
fn attention(config: &ConfigFile) -> Result<Attention, Error> {
    let (d_model, n_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let d_head = config.own_head_width("head_dim", ["num_attention_heads", "hidden_size"], [n_heads, d_model])?;
    let n_kv_heads = llama::kv_heads(config, n_heads)?;
    Ok(Attention { n_kv_heads, biases: Biases::NONE, ..Attention::plain(n_heads, d_head, Visibility::CAUSAL) })
}

/// One expert is a feed-forward like any other.
fn experts(config: &ConfigFile) -> Result<Option<Experts>, Error> {
    let field = if config.has("num_local_experts") { "num_local_experts" } else { "num_experts" };
    match config.size_or(field, 16)? {
        1 => Ok(None),
        n => mixture::experts(config, n, ("num_experts_per_tok", 2), Routing::OfAll).map(Some),
    }
}

/// Which layers one of two fields names with the other: those that are `offset` after a multiple of `period`.
fn every(
    config: &ConfigFile,
    n_layers: usize,
    [period_field, offset_field]: [&str; 2],
    [period, offset]: [usize; 2],
) -> Result<Vec<bool>, Error> {
    let period = config.size_or(period_field, period)?;
    let offset = config.count_or(offset_field, offset)?;
    match offset < period {
        true => Ok((0..n_layers).map(|layer| layer % period == offset).collect()),
        false => Err(config.error(offset_field, format!("is {offset}, but must be below {period_field} {period}"))),
    }
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        recurrence: RecurrenceNames {
            into: "mamba.in_proj",
            convolution: "mamba.conv1d",
            narrow: "mamba.x_proj",
            norms: ["mamba.dt_layernorm", "mamba.b_layernorm", "mamba.c_layernorm"],
            steps: "mamba.dt_proj",
            decay: "mamba.A_log",
            skip: "mamba.D",
            output: "mamba.out_proj",
            ..RecurrenceNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "feed_forward.up_proj",
            gate: "feed_forward.gate_proj",
            down: "feed_forward.down_proj",
            norm: "pre_ff_layernorm",
            routers: &["feed_forward.router"],
            experts: &[
                ExpertNames::Apart {
                    gate: "feed_forward.experts.{}.gate_proj",
                    up: "feed_forward.experts.{}.up_proj",
                    down: "feed_forward.experts.{}.down_proj",
                },
                ExpertNames::Stacked {
                    up: "feed_forward.experts.gate_up_proj",
                    down: "feed_forward.experts.down_proj",
                },
            ],
            ..FeedForwardNames::NONE
        },
        final_norm: "final_layernorm",
        ..llama::DECODER
    }),
    ..llama::NAMES
};
