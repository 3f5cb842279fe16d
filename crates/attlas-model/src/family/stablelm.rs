//! StableLM (Bellagente et al. 2024): Llama with layer norms and partial rotary positions.

use super::{Family, llama};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, Norm, NormKind, QkNorm, QkScope, Residual};
use crate::family::rotary::{self, RopePlace};
use crate::load::{AttentionNames, Names, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "stablelm",
    model_types: &["stablelm"],
    about: "StableLM 3B, StableLM 2 (Bellagente et al. 2024)",
    read,
    tested: &[("stablelm", "partial RoPE, biases"), ("stablelm-2-12b", "q/k norm per head, parallel, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let biases = if config.flag_or("use_qkv_bias", false)? { Biases::QKV } else { Biases::NONE };
    let own_norm = Norm { kind: NormKind::LayerWithoutBias, ..norm };
    let qk_norm = config.flag_or("qk_layernorm", false)?.then_some(QkNorm { norm: own_norm, scope: QkScope::OwnHead });
    let parallel = config.flag_or("use_parallel_residual", false)?;
    let max_positions = config.size_or("max_position_embeddings", 4096)?;
    let architecture = llama::decoder_with(norm, config, biases, |_, block| {
        let d_head = block.attention.d_head;
        let place = RopePlace { d_head, max_positions, default_share: 0.25, default_base: 10_000.0 };
        block.attention.rotary = rotary::read(config, place, "")?;
        block.attention.qk_norm = qk_norm;
        block.residual = if parallel { Residual::ParallelSharedNorm } else { Residual::Pre };
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames {
            query_norm: "self_attn.q_layernorm.norms.{}",
            key_norm: "self_attn.k_layernorm.norms.{}",
            ..llama::DECODER.attention
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
