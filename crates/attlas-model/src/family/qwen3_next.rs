//! Qwen 3 Next (Qwen Team 2025): the gated delta rule in three layers of four, gated attention in the others, and experts.

use super::rotary::{self, RopePlace};
use super::{Family, llama, mixture, recurrent};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Delta, Experts, FeedForward, Norm, NormKind, QkNorm, QkScope, Recurrence, Rule};
use crate::load::{Names, RecurrenceNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "qwen3_next",
    model_types: &["qwen3_next"],
    about: "Qwen 3 Next (Qwen Team 2025)",
    read,
    tested: &[
        ("qwen3-next", "gated delta rule beside gated attention, experts, one of all tokens, partial RoPE"),
        ("qwen3-next-dense", "layers by interval, biases, no experts, bf16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("head_dim", 256);
    config.assume("num_key_value_heads", 2);
    config.assume("max_position_embeddings", 32_768);
    let norm = Norm { kind: NormKind::RmsPlusOne, epsilon: config.positive_or("rms_norm_eps", 1e-6)? as f32 };
    let attends = attending(config)?;
    let delta = delta(config, Norm::rms(norm.epsilon))?;
    let experts = experts(config)?;
    let mixed = mixture::mixed_layers(config)?;
    let d_hidden = config.size_or("moe_intermediate_size", 512)?;
    let max_positions = llama::max_positions(config)?;
    let architecture = llama::decoder_with(norm, config, llama::biases(config)?, |layer, block| {
        let d_head = block.attention.d_head;
        let place = RopePlace { d_head, max_positions, default_share: 0.25, default_base: 10_000.0 };
        block.attention.rotary = rotary::read(config, place, "")?;
        block.attention.qk_norm = Some(QkNorm { norm, scope: QkScope::Head });
        block.attention.gated = true;
        block.recurrence = (!attends[layer]).then(|| delta.clone());
        if let Some(experts) = experts.filter(|_| mixed[layer]) {
            block.feed_forward = FeedForward { d_hidden, experts: Some(experts), ..block.feed_forward.clone() };
        }
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

/// As `layer_types` says, or every `full_attention_interval`-th layer.
fn attending(config: &ConfigFile) -> Result<Vec<bool>, Error> {
    let n_layers = config.layers_or("num_hidden_layers", 48)?;
    if let Some(attends) = recurrent::attending(config, n_layers)? {
        return Ok(attends);
    }
    let every = config.size_or("full_attention_interval", 4)?;
    let attends: Vec<bool> = (1..=n_layers).map(|layer| layer % every == 0).collect();
    recurrent::some(config, "full_attention_interval", &attends)?;
    Ok(attends)
}

fn delta(config: &ConfigFile, norm: Norm) -> Result<Recurrence, Error> {
    let heads = |count: &str, default_count: usize, width: &str| -> Result<[usize; 2], Error> {
        let n = config.size_or(count, default_count)?;
        config.assume(width, 128);
        Ok([n, config.own_head_width(width, [count, "hidden_size"], [n, config.size("hidden_size")?])?])
    };
    let [n_key_heads, d_key] = heads("linear_num_key_heads", 16, "linear_key_head_dim")?;
    let [n_heads, d_value] = heads("linear_num_value_heads", 32, "linear_value_head_dim")?;
    if !n_heads.is_multiple_of(n_key_heads) {
        let problem = format!("is {n_heads}, but must be a multiple of linear_num_key_heads {n_key_heads}");
        return Err(config.error("linear_num_value_heads", problem));
    }
    Ok(Recurrence {
        rule: Rule::Delta(Delta { n_key_heads, n_heads, d_key, d_value, norm }),
        kernel: recurrent::kernel(config, "linear_conv_kernel_dim")?,
        activation: config.activation_or("hidden_act", "silu")?,
        convolution_bias: false,
        biases: false,
    })
}

/// What tokens choose from, and the expert of all.
fn experts(config: &ConfigFile) -> Result<Option<Experts>, Error> {
    if config.count_or("num_experts", 512)? == 0 {
        return Ok(None);
    }
    let experts = mixture::qwen_experts(config, ("num_experts", 512), 10, true)?;
    Ok(Some(Experts { d_shared: Some(config.size_or("shared_expert_intermediate_size", 512)?), ..experts }))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        recurrence: RecurrenceNames {
            into: "linear_attn.in_proj_qkvz",
            rates: "linear_attn.in_proj_ba",
            convolution: "linear_attn.conv1d",
            norms: ["linear_attn.norm", "", ""],
            step_bias: "linear_attn.dt_bias",
            decay: "linear_attn.A_log",
            output: "linear_attn.out_proj",
            ..RecurrenceNames::NONE
        },
        feed_forward: mixture::EXPERTS,
        ..llama::DECODER
    }),
    // layers that predict tokens after the next
    ignored: &["rotary_emb.inv_freq", "mtp."],
    ..llama::NAMES
};
