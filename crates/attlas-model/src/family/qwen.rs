//! Mistral, Ministral, Qwen 2 and Qwen 3 (Jiang et al. 2023; Yang et al. 2024, 2025): Llama with windows, biases, or norms on
//! queries and keys.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, Norm, QkNorm, QkScope};
use crate::load::Names;

pub(super) const MISTRAL: Family = Family {
    name: "mistral",
    model_types: &["mistral"],
    about: "Mistral (Jiang et al. 2023)",
    read: read_mistral,
    tested: &[("mistral", "window")],
    texts: &[],
};

pub(super) const MINISTRAL: Family = Family {
    name: "ministral",
    model_types: &["ministral"],
    about: "Ministral 8B (Mistral AI 2024)",
    read: read_ministral,
    tested: &[("ministral", "windows in some layers")],
    texts: &[],
};

pub(super) const QWEN2: Family = Family {
    name: "qwen2",
    model_types: &["qwen2", "qwen2_vl_text", "qwen2_5_vl_text"],
    about: "Qwen 1.5, 2 and 2.5 (Yang et al. 2024)",
    read: read_qwen2,
    tested: &[("qwen2", "q/k/v biases, tied"), ("qwen2-windowed", "windows in later layers")],
    texts: &[],
};

pub(super) const QWEN3: Family = Family {
    name: "qwen3",
    model_types: &["qwen3", "qwen3_vl_text"],
    about: "Qwen 3 (Yang et al. 2025)",
    read: read_qwen3,
    tested: &[("qwen3", "q/k norms")],
    texts: &[],
};

fn read_mistral(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 131_072);
    let window = readouts::window_or(config, 4096)?;
    let architecture = llama::decoder(config, Biases::NONE, |_, block| {
        if let Some(window) = window {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_ministral(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 131_072);
    let n_layers = config.layers_or("num_hidden_layers", 32)?;
    let window = readouts::window_or(config, 4096)?;
    let sliding = readouts::sliding_layers(config, n_layers)?.unwrap_or_else(|| vec![true; n_layers]);
    let architecture = llama::decoder(config, Biases::NONE, |layer, block| {
        if let Some(window) = window.filter(|_| sliding[layer]) {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_qwen2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 32_768);
    let windows = windows(config)?;
    let architecture = llama::decoder(config, Biases::QKV, |layer, block| {
        if let Some(window) = windows[layer] {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

fn read_qwen3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 32_768);
    let windows = windows(config)?;
    let norm = Norm::rms(config.positive_or("rms_norm_eps", 1e-6)? as f32);
    let architecture = llama::decoder(config, llama::biases(config)?, |layer, block| {
        block.attention.qk_norm = Some(QkNorm { norm, scope: QkScope::Head });
        if let Some(window) = windows[layer] {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    Ok((architecture, llama::NAMES))
}

/// Each layer's window: with `use_sliding_window`, from layer `max_window_layers` on, or as `layer_types` says.
fn windows(config: &ConfigFile) -> Result<Vec<Option<usize>>, Error> {
    let n_layers = config.layers_or("num_hidden_layers", 32)?;
    let window = readouts::window_where_used(config)?;
    let first = config.count_or("max_window_layers", 28)?;
    let sliding = readouts::sliding_layers(config, n_layers)?
        .unwrap_or_else(|| (0..n_layers).map(|layer| layer >= first).collect());
    Ok(sliding.into_iter().map(|sliding| window.filter(|_| sliding)).collect())
}
