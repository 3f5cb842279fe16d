//! DeepSeek V2 and V3 (DeepSeek-AI 2024): Llama whose queries, keys and values come from narrower states, and whose feed-forwards are
//! experts, one of them shared by all tokens, from some layer on.

use attlas::Visibility;

use super::mixture;
use super::rotary::{self, RopePlace};
use super::{Family, llama};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Attention, Experts, FeedForward, Groups, Latent, Norm, Pairs, Rotary, Routing};
use crate::load::{AttentionNames, FeedForwardNames, LatentNames, Names, ProjectionNames, StackNames};

pub(super) const V2: Family = Family {
    name: "deepseek_v2",
    model_types: &["deepseek_v2"],
    about: "DeepSeek V2 (DeepSeek-AI 2024)",
    read: read_v2,
    tested: &[
        ("deepseek-v2", "latent attention, experts of groups, YaRN"),
        ("deepseek-v2-lite", "queries straight, older configuration, bf16"),
    ],
    texts: &[],
};

pub(super) const V3: Family = Family {
    name: "deepseek_v3",
    model_types: &["deepseek_v3"],
    about: "DeepSeek V3 and R1 (DeepSeek-AI 2024, 2025)",
    read: read_v3,
    tested: &[
        ("deepseek-v3", "latent attention, sigmoid routing with correction, YaRN"),
        ("deepseek-v3-older-config", "older configuration, biases, bf16"),
    ],
    texts: &[],
};

/// The field that says how many experts a token uses.
const USED: &str = "num_experts_per_tok";

fn read_v2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("scoring_func", &"softmax".into())?;
    config.must_be("norm_topk_prob", &false.into())?;
    let experts = Experts {
        factor: config.positive_or("routed_scaling_factor", 1.0)? as f32,
        ..mixture::experts(config, config.size_or("n_routed_experts", 64)?, (USED, config.size(USED)?), Routing::OfAll)?
    };
    let groups = match config.text_or("topk_method", "greedy")? {
        "greedy" => None,
        "group_limited_greedy" => {
            Some(groups(config, experts, [config.size("n_group")?, config.size("topk_group")?], 1)?)
        }
        other => {
            let problem = format!("is \"{other}\"; attlas knows greedy and group_limited_greedy");
            return Err(config.error("topk_method", problem));
        }
    };
    let defaults = Defaults { first: 0, d_hidden: 1407, n_shared: 2 };
    decoder(config, Experts { groups, ..experts }, defaults, NAMES)
}

fn read_v3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 4096);
    config.must_be("scoring_func", &"sigmoid".into())?;
    config.must_be("topk_method", &"noaux_tc".into())?;
    let routing = match config.flag_or("norm_topk_prob", true)? {
        true => Routing::SigmoidOfChosen,
        false => Routing::Sigmoid,
    };
    let experts = Experts {
        factor: config.positive_or("routed_scaling_factor", 2.5)? as f32,
        ..mixture::experts(config, config.size_or("n_routed_experts", 256)?, (USED, 8), routing)?
    };
    let groups = groups(config, experts, [group_size(config, "n_group", 8)?, group_size(config, "topk_group", 4)?], 2)?;
    let defaults = Defaults { first: 3, d_hidden: 2048, n_shared: 1 };
    // the file has layers after the last, which predict tokens after the next
    let field = if config.has("num_mtp_layers") { "num_mtp_layers" } else { "num_nextn_predict_layers" };
    let names = Names { further_layers: config.count_or(field, 1)?, ..NAMES };
    decoder(config, Experts { groups: Some(groups), ..experts }, defaults, names)
}

/// A number of groups, which no null stands for.
fn group_size(config: &ConfigFile, field: &str, default: usize) -> Result<usize, Error> {
    if config.is_null(field) { config.size(field) } else { config.size_or(field, default) }
}

/// The groups that experts are chosen from, of which so many are used.
fn groups(config: &ConfigFile, experts: Experts, [n, n_used]: [usize; 2], n_counted: usize) -> Result<Groups, Error> {
    let groups = Groups { n, n_used, n_counted };
    if !experts.n.is_multiple_of(groups.n) {
        let problem = format!("is {}, but n_routed_experts {} is not divisible by it", groups.n, experts.n);
        return Err(config.error("n_group", problem));
    }
    if groups.n_used > groups.n || experts.n_used > experts.n / groups.n * groups.n_used {
        let problem = format!(
            "is {} of {} groups of {} experts, of which num_experts_per_tok {} are to come",
            groups.n_used,
            groups.n,
            experts.n / groups.n,
            experts.n_used
        );
        return Err(config.error("topk_group", problem));
    }
    Ok(groups)
}

/// What the two classes have where a configuration does not say.
struct Defaults {
    /// The layer that experts begin with.
    first: usize,
    /// Width of an expert.
    d_hidden: usize,
    /// Experts that all tokens share.
    n_shared: usize,
}

/// What both have in common.
fn decoder(
    config: &ConfigFile,
    experts: Experts,
    defaults: Defaults,
    names: Names,
) -> Result<(Architecture, Names), Error> {
    config.must_be("moe_layer_freq", &1.into())?;
    let first = config.count_or("first_k_dense_replace", defaults.first)?;
    let d_hidden = config.size_or("moe_intermediate_size", defaults.d_hidden)?;
    let n_shared = config.size_or("n_shared_experts", defaults.n_shared)?;
    let experts = Experts { d_shared: Some(n_shared * d_hidden), ..experts };
    let architecture = llama::decoder_of(config, attention(config)?, |layer, block| {
        if layer >= first {
            let plain = block.feed_forward.clone();
            block.feed_forward = FeedForward { d_hidden, experts: Some(experts), biases: false, ..plain };
        }
        Ok(())
    })?;
    Ok((architecture, names))
}

fn attention(config: &ConfigFile) -> Result<Attention, Error> {
    let n_heads = config.size("num_attention_heads")?;
    let n_kv_heads = config.size_or("num_key_value_heads", n_heads)?;
    if n_kv_heads != n_heads {
        let problem =
            format!("is {n_kv_heads}, but must be num_attention_heads, {n_heads}: each head has keys of its own");
        return Err(config.error("num_key_value_heads", problem));
    }
    let n_own = width(config, n_heads, ("qk_nope_head_dim", 128))?;
    let n_shared = width(config, n_heads, ("qk_rope_head_dim", 64))?;
    let latent = Latent {
        // an explicit null is none
        query_width: match config.is_null("q_lora_rank") {
            true => config.size_or_none("q_lora_rank")?,
            false => Some(config.size_or("q_lora_rank", 1536)?),
        },
        key_value_width: config.size_or("kv_lora_rank", 512)?,
        n_shared,
        norm: Norm::rms(1e-6),
    };
    let plain = Attention::plain(n_heads, n_own + n_shared, Visibility::CAUSAL);
    let biases = llama::biases(config)?;
    Ok(Attention {
        d_value: width(config, n_heads, ("v_head_dim", 128))?,
        scale: plain.scale * sharpened(config)?,
        rotary: rotary_of(config, n_own, n_shared)?,
        latent: Some(latent),
        biases,
        ..plain
    })
}

/// A width of a head, of as many heads and as wide ones as are believed.
fn width(config: &ConfigFile, n_heads: usize, (field, default): (&str, usize)) -> Result<usize, Error> {
    let width = config.size_or(field, default)?; // where it is absent, this is what is asked for next
    config.own_head_width(field, ["num_attention_heads", "hidden_size"], [n_heads, width])
}

/// The shared columns of keys turn, and those of queries that meet them.
fn rotary_of(config: &ConfigFile, first_column: usize, n_columns: usize) -> Result<Option<Rotary>, Error> {
    let max_positions = config.size_or("max_position_embeddings", 2048)?;
    let place = RopePlace { d_head: n_columns, max_positions, default_share: 1.0, default_base: 10_000.0 };
    let pairs = if config.flag_or("rope_interleave", true)? { Pairs::Neighbours } else { Pairs::Halves };
    Ok(rotary::read(config, place, "")?.map(|rotary| Rotary { first_column, pairs, ..rotary }))
}

/// The factor that scaled positions put on all scores: `(0.1 · mscale_all_dim · ln factor + 1)²`.
fn sharpened(config: &ConfigFile) -> Result<f32, Error> {
    let section = match config.section("rope_parameters")? {
        Some(section) => Some(section),
        None => config.section("rope_scaling")?,
    };
    let Some(section) = section else { return Ok(1.0) };
    let kind = section.text("rope_type")?.or(section.text("type")?).unwrap_or("default");
    let (by, factor) = (section.number_or("mscale_all_dim", 0.0)?, section.number_or("factor", 1.0)?);
    if kind == "default" || by == 0.0 || factor <= 1.0 {
        return Ok(1.0);
    }
    Ok((0.1 * by * factor.ln() + 1.0).powi(2) as f32)
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames {
            projections: ProjectionNames::Latent(LatentNames {
                query: "self_attn.q_proj",
                query_by: ["self_attn.q_a_proj", "self_attn.q_a_layernorm", "self_attn.q_b_proj"],
                key_value_by: ["self_attn.kv_a_proj_with_mqa", "self_attn.kv_a_layernorm", "self_attn.kv_b_proj"],
            }),
            ..llama::DECODER.attention
        },
        feed_forward: FeedForwardNames {
            correction: "mlp.gate.e_score_correction_bias",
            shared: ["mlp.shared_experts", ""],
            ..mixture::EXPERTS
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
