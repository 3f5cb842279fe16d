//! Nemotron and Minitron (Nvidia 2024): Llama with layer norms that multiply by `1 + weight`, a squared ReLU without a gate, and
//! rotary positions on a part of each head.

use super::rotary::{self, RopePlace};
use super::{Family, llama};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, FeedForward, Norm, NormKind};
use crate::load::Names;

pub(super) const FAMILY: Family = Family {
    name: "nemotron",
    model_types: &["nemotron"],
    about: "Nemotron-4, Minitron (Nvidia 2024)",
    read,
    tested: &[
        ("nemotron", "norms of 1 + weight, partial RoPE"),
        ("nemotron-biases", "biases, older configuration, bf16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm { kind: NormKind::LayerPlusOne, epsilon: config.positive_or("norm_eps", 1e-5)? as f32 };
    let biases = llama::biases(config)?;
    let max_positions = config.size_or("max_position_embeddings", 4096)?;
    let feed_forward = FeedForward {
        biases: config.flag_or("mlp_bias", false)?,
        ..FeedForward::plain(config.size("intermediate_size")?, config.activation_or("hidden_act", "relu2")?)
    };
    let architecture = llama::decoder_with(norm, config, biases, |_, block| {
        let d_head = block.attention.d_head;
        let place = RopePlace { d_head, max_positions, default_share: 0.5, default_base: 10_000.0 };
        block.attention.rotary = rotary::read(config, place, "")?;
        block.feed_forward = feed_forward.clone();
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}
