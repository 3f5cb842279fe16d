//! StarCoder 2 (Lozhkov et al. 2024): Llama with layer norms, biases and a plain feed-forward.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases, FeedForward, Norm};
use crate::load::{FeedForwardNames, Names, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "starcoder2",
    model_types: &["starcoder2"],
    about: "StarCoder 2 (Lozhkov et al. 2024)",
    read,
    tested: &[("starcoder2", "biases, window, tied"), ("starcoder2-without-biases", "no biases, no window, f16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.assume("max_position_embeddings", 4096);
    let norm = Norm::layer(config.positive_or("norm_epsilon", 1e-5)? as f32);
    let has_biases = config.flag_or("use_bias", true)?;
    let biases = if has_biases { Biases::ALL } else { Biases::NONE };
    let window = config.size_or_none("sliding_window")?;
    let feed_forward = FeedForward {
        biases: has_biases,
        ..FeedForward::plain(
            config.size("intermediate_size")?,
            config.activation_or("hidden_act", "gelu_pytorch_tanh")?,
        )
    };
    let mut architecture = llama::decoder_with(norm, config, biases, |_, block| {
        block.feed_forward = feed_forward.clone();
        if let Some(window) = window {
            block.attention.visibility = readouts::window(window);
        }
        Ok(())
    })?;
    architecture.readout = readouts::next_token(config, config.size("vocab_size")?, readouts::Tied::Yes)?;
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        feed_forward: FeedForwardNames { up: "mlp.c_fc", down: "mlp.c_proj", ..llama::DECODER.feed_forward },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
