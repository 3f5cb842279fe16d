//! Command R and Aya (Cohere 2024), and Command R7B and A (Cohere 2025): attention and feed-forward side by side after one norm
//! without a bias, rotary positions on neighbouring columns, a factor on the logits. The later ones have windows, and no
//! positions in the layers without.

use super::rotary::{self, RopePlace};
use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Block, Norm, NormKind, QkNorm, QkScope, Residual, Rotary};
use crate::load::Names;

pub(super) const COHERE: Family = Family {
    name: "cohere",
    model_types: &["cohere"],
    about: "Command R, Aya (Cohere 2024)",
    read: read_cohere,
    tested: &[("cohere", "parallel, scaled logits"), ("cohere-qk-norm", "q/k norm per head, biases, bf16")],
    texts: &[],
};

pub(super) const COHERE2: Family = Family {
    name: "cohere2",
    model_types: &["cohere2"],
    about: "Command R7B, Command A (Cohere 2025)",
    read: read_cohere2,
    tested: &[("cohere2", "windows, layers without positions"), ("cohere2-older-config", "older configuration")],
    texts: &[],
};

fn read_cohere(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = norm(config)?;
    let qk_norm = config.flag_or("use_qk_norm", false)?.then_some(QkNorm { norm, scope: QkScope::OwnHead });
    let architecture = decoder(config, norm, |_, block| {
        block.attention.rotary = rotary_of(config, block.attention.d_head, 500_000.0)?;
        block.attention.qk_norm = qk_norm;
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_cohere2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("use_qk_norm", &false.into())?;
    let n_layers = config.layers_or("num_hidden_layers", 40)?;
    let window = readouts::window(config.size_or("sliding_window", 4096)?);
    let every = config.size_or("sliding_window_pattern", 4)?;
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| (layer + 1) % every != 0).collect());
    let architecture = decoder(config, norm(config)?, |layer, block| {
        block.attention.rotary = None;
        if sliding[layer] {
            block.attention.visibility = window;
            block.attention.rotary = rotary_of(config, block.attention.d_head, 10_000.0)?;
        }
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn norm(config: &ConfigFile) -> Result<Norm, Error> {
    let epsilon = config.positive_or("layer_norm_eps", 1e-5)? as f32;
    Ok(Norm { kind: NormKind::LayerWithoutBias, epsilon })
}

fn rotary_of(config: &ConfigFile, d_head: usize, default_base: f64) -> Result<Option<Rotary>, Error> {
    let max_positions = config.size_or("max_position_embeddings", 8192)?;
    rotary::read_neighbours(config, RopePlace { d_head, max_positions, default_share: 1.0, default_base })
}

/// What both have in common.
fn decoder(
    config: &ConfigFile,
    norm: Norm,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    config.assume("max_position_embeddings", 8192);
    let biases = llama::biases(config)?;
    let mut architecture = llama::decoder_with(norm, config, biases, |layer, block| {
        block.residual = Residual::ParallelSharedNorm;
        change(layer, block)
    })?;
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, readouts::Tied::Yes)?;
    readouts::scale_logits(&mut architecture.readout, config.positive_or("logit_scale", 0.0625)?);
    Ok(architecture)
}
