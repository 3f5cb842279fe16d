//! OLMo 1 and 2 (Groeneveld et al. 2024; OLMo Team 2025): Llama with weightless norms and clipped projections; then
//! with norms on each sublayer's output and on queries and keys. SmolLM3: Llama whose every fourth layer knows no
//! positions.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, Norm, NormKind, QkNorm, QkScope, Residual};
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

pub(super) const SMOLLM3: Family = Family {
    name: "smollm3",
    model_types: &["smollm3"],
    about: "SmolLM3 (Bakouch et al. 2025)",
    read: read_smollm3,
    tested: &[("smollm3", "layers without positions")],
    texts: &[],
};

fn biases(config: &ConfigFile) -> Result<Biases, Error> {
    Ok(if config.flag_or("attention_bias", false)? { Biases::ALL } else { Biases::NONE })
}

fn read_olmo(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm { kind: NormKind::LayerPlain, epsilon: 1e-5 };
    let clip = match config.has("clip_qkv") {
        true => Some(config.positive_or("clip_qkv", 1.0)? as f32),
        false => None,
    };
    let mut architecture = llama::decoder(config, biases(config)?, |_, block| {
        block.norm = norm;
        block.attention_norm = Some(norm);
        block.attention.clip = clip;
        Ok(())
    })?;
    if let Some(stack) = &mut architecture.decoder {
        stack.final_norm = Some(norm);
    }
    Ok((architecture, llama::NAMES))
}

fn read_olmo2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let architecture = llama::decoder(config, biases(config)?, |_, block| {
        block.residual = Residual::OutputNorm;
        block.attention.qk_norm = Some(QkNorm { norm: block.norm, scope: QkScope::All });
        Ok(())
    })?;
    let names = Names {
        decoder: Some(StackNames {
            attention: AttentionNames { norm: "post_attention_layernorm", ..llama::DECODER.attention },
            feed_forward: FeedForwardNames { norm: "post_feedforward_layernorm", ..llama::DECODER.feed_forward },
            ..llama::DECODER
        }),
        ..llama::NAMES
    };
    Ok((architecture, names))
}

fn read_smollm3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
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
    let mut architecture = llama::decoder(config, biases(config)?, |layer, block| {
        if !rotary[layer] {
            block.attention.rotary = None;
        }
        Ok(())
    })?;
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, true)?;
    Ok((architecture, llama::NAMES))
}
