//! Mixtures of experts: Mixtral (Jiang et al. 2024), Qwen 1.5 and 2 MoE (Qwen Team 2024), Qwen 3 MoE (Yang et al. 2025) and OLMoE
//! (Muennighoff et al. 2024): Llama whose feed-forwards are many, of which each token uses a few.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, Block, Experts, FeedForward, QkNorm, QkScope, Routing};
use crate::load::{ExpertNames, FeedForwardNames, Names, StackNames};

pub(super) const MIXTRAL: Family = Family {
    name: "mixtral",
    model_types: &["mixtral"],
    about: "Mixtral (Jiang et al. 2024)",
    read: read_mixtral,
    tested: &[("mixtral", "experts"), ("mixtral-stacked", "experts in one tensor, window, bf16")],
    texts: &[],
};

pub(super) const QWEN2_MOE: Family = Family {
    name: "qwen2_moe",
    model_types: &["qwen2_moe"],
    about: "Qwen 1.5 and 2, mixtures (Qwen Team 2024)",
    read: read_qwen2_moe,
    tested: &[
        ("qwen2-moe", "experts, one of all tokens"),
        ("qwen2-moe-sparse", "every other layer, windows, stacked, f16"),
    ],
    texts: &[],
};

pub(super) const QWEN3_MOE: Family = Family {
    name: "qwen3_moe",
    model_types: &["qwen3_moe"],
    about: "Qwen 3, mixtures (Yang et al. 2025)",
    read: read_qwen3_moe,
    tested: &[("qwen3-moe", "experts, q/k norms")],
    texts: &[],
};

pub(super) const OLMOE: Family = Family {
    name: "olmoe",
    model_types: &["olmoe"],
    about: "OLMoE (Muennighoff et al. 2024)",
    read: read_olmoe,
    tested: &[("olmoe", "experts, q/k norms, clipping")],
    texts: &[],
};

/// The experts of a configuration; `used` is the field that says how many a token uses, and its default.
pub(super) fn experts(
    config: &ConfigFile,
    n: usize,
    (field, default): (&str, usize),
    routing: Routing,
) -> Result<Experts, Error> {
    let n_used = config.size_or(field, default)?;
    match n_used > n {
        true => Err(config.error(field, format!("is {n_used}, but there are {n} experts"))),
        false => Ok(Experts::new(n, n_used, routing)),
    }
}

fn read_mixtral(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 131_072);
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5), ("rope_theta", 1e6)]);
    let n = config.size_or("num_local_experts", 8)?;
    let experts = experts(config, n, ("num_experts_per_tok", 2), Routing::OfChosen)?;
    let window = config.size_or_none("sliding_window")?;
    let architecture = llama::decoder(config, Biases::NONE, |_, block| {
        block.feed_forward.experts = Some(experts);
        if let Some(window) = window {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, names(MIXTRAL_EXPERTS)))
}

fn read_qwen2_moe(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 32_768);
    let experts = Experts {
        d_shared: Some(config.size_or("shared_expert_intermediate_size", 5632)?),
        ..qwen_experts(config, ("num_experts", 60), 4, false)?
    };
    let mixed = mixed_layers(config)?;
    let windows = qwen2_windows(config)?;
    let d_hidden = config.size_or("moe_intermediate_size", 1408)?;
    let biases = if config.flag_or("qkv_bias", true)? { Biases::QKV } else { Biases::NONE };
    let architecture = llama::decoder(config, biases, |layer, block| {
        if mixed[layer] {
            mix(block, experts, d_hidden);
        }
        if let Some(window) = windows[layer] {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, names(EXPERTS)))
}

fn read_qwen3_moe(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 32_768);
    // on the hub, and as transformers 5 saves it
    let field = if config.has("num_experts") { "num_experts" } else { "num_local_experts" };
    let experts = qwen_experts(config, (field, 128), 8, false)?;
    let mixed = mixed_layers(config)?;
    let d_hidden = config.size_or("moe_intermediate_size", 768)?;
    let window = readouts::window_where_used(config)?;
    let architecture = llama::decoder(config, llama::biases(config)?, |layer, block| {
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::Head });
        if mixed[layer] {
            mix(block, experts, d_hidden);
        }
        if let Some(window) = window {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, names(EXPERTS)))
}

fn read_olmoe(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 4096);
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let n = config.size_or("num_experts", 64)?;
    let experts = experts(config, n, ("num_experts_per_tok", 8), routing(config, false)?)?;
    let clip = llama::clip(config)?;
    let architecture = llama::decoder(config, llama::biases(config)?, |_, block| {
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::All });
        block.attention.clip = clip;
        block.feed_forward.experts = Some(experts);
        Ok(())
    })?;
    Ok((architecture, names(EXPERTS)))
}

/// Puts experts in the place of a block's feed-forward.
fn mix(block: &mut Block, experts: Experts, d_hidden: usize) {
    block.feed_forward = FeedForward { d_hidden, experts: Some(experts), ..block.feed_forward.clone() };
}

/// The experts of Qwen's mixtures; `sums_to_1` is whether shares do where `norm_topk_prob` does not say.
pub(super) fn qwen_experts(
    config: &ConfigFile,
    (field, default_n): (&str, usize),
    default_used: usize,
    sums_to_1: bool,
) -> Result<Experts, Error> {
    let routing = routing(config, sums_to_1)?;
    experts(config, config.size_or(field, default_n)?, ("num_experts_per_tok", default_used), routing)
}

fn routing(config: &ConfigFile, sums_to_1: bool) -> Result<Routing, Error> {
    Ok(if config.flag_or("norm_topk_prob", sums_to_1)? { Routing::OfChosen } else { Routing::OfAll })
}

/// Which layers have experts: every `decoder_sparse_step`-th, those of `mlp_only_layers` left out.
pub(super) fn mixed_layers(config: &ConfigFile) -> Result<Vec<bool>, Error> {
    let n_layers = config.layers_or("num_hidden_layers", 24)?;
    let every = config.size_or("decoder_sparse_step", 1)?;
    let plain = config.numbers("mlp_only_layers")?.unwrap_or_default();
    Ok((0..n_layers).map(|layer| (layer + 1) % every == 0 && !plain.contains(&(layer as f64))).collect())
}

/// Each layer's window: with `use_sliding_window` as `layer_types` says, or every other layer before `max_window_layers`.
fn qwen2_windows(config: &ConfigFile) -> Result<Vec<Option<usize>>, Error> {
    let n_layers = config.layers_or("num_hidden_layers", 24)?;
    let window = readouts::window_where_used(config)?;
    let end = config.count_or("max_window_layers", 28)?;
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| layer % 2 == 0 && layer < end).collect());
    Ok(sliding.into_iter().map(|sliding| window.filter(|_| sliding)).collect())
}

/// Llama's names with those of experts.
fn names(experts: FeedForwardNames) -> Names {
    Names { decoder: Some(StackNames { feed_forward: experts, ..llama::DECODER }), ..llama::NAMES }
}

/// Names that DeepSeek shares.
pub(super) const EXPERTS: FeedForwardNames = FeedForwardNames {
    routers: &["mlp.gate"],
    experts: &[
        ExpertNames::Apart {
            gate: "mlp.experts.{}.gate_proj",
            up: "mlp.experts.{}.up_proj",
            down: "mlp.experts.{}.down_proj",
        },
        STACKED,
    ],
    shared: ["mlp.shared_expert", "mlp.shared_expert_gate"],
    ..llama::DECODER.feed_forward
};

const MIXTRAL_EXPERTS: FeedForwardNames = FeedForwardNames {
    routers: &["block_sparse_moe.gate", "mlp.gate"],
    experts: &[
        ExpertNames::Apart {
            gate: "block_sparse_moe.experts.{}.w1",
            up: "block_sparse_moe.experts.{}.w3",
            down: "block_sparse_moe.experts.{}.w2",
        },
        STACKED,
    ],
    ..llama::DECODER.feed_forward
};

/// As the classes of transformers 5 keep them.
const STACKED: ExpertNames = ExpertNames::Stacked { up: "mlp.experts.gate_up_proj", down: "mlp.experts.down_proj" };
