//! OLMo 1 to 3 (Groeneveld et al. 2024; OLMo Team 2025): Llama with weightless norms and clipped projections; then
//! with norms on each sublayer's output and on queries and keys; then with windows besides. SmolLM3: Llama whose every fourth layer knows no
//! positions.

use super::rotary::{self, RopePlace};
use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Norm, NormKind, QkNorm, QkScope, Residual};
use crate::load::{AttentionNames, FeedForwardNames, Names, StackNames};

pub(super) const OLMO: Family = Family {
    name: "olmo",
    model_types: &["olmo"],
    about: "OLMo (Groeneveld et al. 2024)",
    read: read_olmo,
    tested: &[("olmo", "weightless norms, clipping")],
    texts: &[],
};

pub(super) const OLMO2: Family = Family {
    name: "olmo2",
    model_types: &["olmo2"],
    about: "OLMo 2 (OLMo Team 2025)",
    read: read_olmo2,
    tested: &[("olmo2", "output norms, q/k norms")],
    texts: &[],
};

pub(super) const OLMO3: Family = Family {
    name: "olmo3",
    model_types: &["olmo3"],
    about: "OLMo 3 (OLMo Team 2025)",
    read: read_olmo3,
    tested: &[
        ("olmo3", "output norms, q/k norms, windows, YaRN in layers without"),
        ("olmo3-older-config", "older configuration, bf16"),
    ],
    texts: &[],
};

pub(super) const SMOLLM3: Family = Family {
    name: "smollm3",
    model_types: &["smollm3"],
    about: "SmolLM3 (Bakouch et al. 2025)",
    read: read_smollm3,
    tested: &[("smollm3", "layers without positions")],
    texts: &[],
};

fn read_olmo(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm { kind: NormKind::LayerPlain, epsilon: 1e-5 };
    let clip = llama::clip(config)?;
    let architecture = llama::decoder_with(norm, config, llama::biases(config)?, |_, block| {
        block.attention.clip = clip;
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_olmo2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let architecture = llama::decoder(config, llama::biases(config)?, |_, block| {
        block.residual = Residual::OutputNorm;
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::All });
        Ok(())
    })?;
    Ok((architecture, OUTPUT_NORMS))
}

fn read_olmo3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let n_layers = config.layers_or("num_hidden_layers", 32)?;
    let window = readouts::window(config.size_or("sliding_window", 4096)?);
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| (layer + 1) % 4 != 0).collect());
    let max_positions = config.size_or("max_position_embeddings", 2048)?;
    let architecture = llama::decoder(config, llama::biases(config)?, |layer, block| {
        let d_head = block.attention.d_head;
        let place = RopePlace { d_head, max_positions, default_share: 1.0, default_base: 500_000.0 };
        block.attention.rotary = match sliding[layer] {
            true => rotary::read_unscaled(config, place, "sliding_attention")?,
            false => rotary::read(config, place, "full_attention")?,
        };
        if sliding[layer] {
            block.attention.visibility = window;
        }
        block.residual = Residual::OutputNorm;
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::All });
        Ok(())
    })?;
    Ok((architecture, OUTPUT_NORMS))
}

/// Llama's names where norms stand after the sublayers.
pub(super) const OUTPUT_NORMS: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames { norm: "post_attention_layernorm", ..llama::DECODER.attention },
        feed_forward: FeedForwardNames { norm: "post_feedforward_layernorm", ..llama::DECODER.feed_forward },
        ..llama::DECODER
    }),
    ..llama::NAMES
};

fn read_smollm3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 32_768);
    let config = &config.defaulting(&[("rope_theta", 2e6)]);
    let n_layers = config.layers_or("num_hidden_layers", 36)?;
    let every = config.size_or("no_rope_layer_interval", 4)?;
    let rotary: Vec<bool> = match config.numbers("no_rope_layers")? {
        Some(flags) if flags.len() == n_layers => flags.iter().map(|flag| *flag != 0.0).collect(),
        Some(flags) => {
            let n = flags.len();
            return Err(config.error("no_rope_layers", format!("has {n} entries for {n_layers} layers")));
        }
        None => (0..n_layers).map(|layer| (layer + 1) % every != 0).collect(),
    };
    config.must_be("use_sliding_window", &false.into())?;
    let mut architecture = llama::decoder(config, llama::biases(config)?, |layer, block| {
        if !rotary[layer] {
            block.attention.rotary = None;
        }
        Ok(())
    })?;
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, readouts::Tied::Yes)?;
    Ok((architecture, llama::NAMES))
}
