//! Phi-1 and Phi-2 (Li et al. 2023; Javaheripi et al. 2023): partial rotary positions, attention and feed-forward side
//! by side after one norm. Phi-3 (Abdin et al. 2024): Llama with fused matrices.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Frequencies, Length, Norm, QkNorm, QkScope,
    Residual, Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const PHI: Family = Family {
    name: "phi",
    model_types: &["phi"],
    about: "Phi-1, Phi-1.5, Phi-2 (Li et al. 2023)",
    read: read_phi,
    tested: &[("phi", "parallel, partial RoPE"), ("phi-qk-norm", "q/k norms, f16")],
    texts: &[],
};

pub(super) const PHI3: Family = Family {
    name: "phi3",
    model_types: &["phi3"],
    about: "Phi-3, Phi-3.5, Phi-4 (Abdin et al. 2024)",
    read: read_phi3,
    tested: &[("phi3", "fused matrices, window"), ("phi3-longrope", "long RoPE")],
    texts: &[],
};

fn read_phi(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size("hidden_size")?;
    let n_heads = config.size("num_attention_heads")?;
    let n_kv_heads = llama::kv_heads(config, n_heads)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let max_positions = config.size_or("max_position_embeddings", 2048)?;
    let place = RopePlace { d_head, max_positions, default_share: 0.5, default_base: 10_000.0 };
    let qk_norm = config.flag_or("qk_layernorm", false)?.then_some(QkNorm { norm, scope: QkScope::Head });
    let d_hidden = config.size_or("intermediate_size", 4 * d_model)?;
    let block = Block::new(
        Attention {
            n_kv_heads,
            rotary: rotary::read(config, place, "")?,
            qk_norm,
            ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
        },
        FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu_new")?),
        norm,
        Residual::ParallelSharedNorm,
    );
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding::new(n_tokens, d_model),
        vec![block; config.layers_or("num_hidden_layers", 24)?],
    );
    let readout = readouts::next_token_with_bias(config, n_tokens)?;
    let architecture =
        Architecture::decoder(stack, readout, llama::ids(config, n_tokens)?, Length::Noted(max_positions));
    Ok((architecture, PHI_NAMES))
}

const PHI_NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames {
            output: "self_attn.dense",
            query_norm: "self_attn.q_layernorm",
            key_norm: "self_attn.k_layernorm",
            ..llama::DECODER.attention
        },
        feed_forward: FeedForwardNames { up: "mlp.fc1", down: "mlp.fc2", ..FeedForwardNames::NONE },
        final_norm: "final_layernorm",
        ..llama::DECODER
    }),
    readout: ReadoutNames { output: "lm_head.weight", bias: &["lm_head.bias"], ..ReadoutNames::NONE },
    ..llama::NAMES
};

fn read_phi3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 4096);
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let window = config.size_or_none("sliding_window")?;
    let architecture = llama::decoder(config, Biases::NONE, |_, block| {
        if let Some(window) = window {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    let blocks = architecture.decoder.iter().flat_map(|stack| &stack.blocks);
    let thresholds = blocks.filter_map(|block| match block.own_attention()?.rotary.as_ref()?.frequencies {
        Frequencies::ByLength { threshold, .. } => Some(threshold),
        _ => None,
    });
    let anew_beyond = thresholds.min();
    Ok((Architecture { anew_beyond, ..architecture }, PHI3_NAMES))
}

const PHI3_NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames {
            projections: ProjectionNames::Joint("self_attn.qkv_proj"),
            ..llama::DECODER.attention
        },
        feed_forward: FeedForwardNames { up: "mlp.gate_up_proj", gate: "", ..llama::DECODER.feed_forward },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
