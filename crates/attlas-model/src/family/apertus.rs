//! Apertus (Swiss AI 2025): Llama with norms on queries and keys, and a feed-forward without a gate whose non-linearity is learnt.

use super::{Family, llama, rotary};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, FeedForward, Gating, Norm, QkNorm, QkScope};
use crate::load::{AttentionNames, FeedForwardNames, Names, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "apertus",
    model_types: &["apertus"],
    about: "Apertus (Swiss AI 2025)",
    read,
    tested: &[("apertus", "xIELU, q/k norms, Llama 3 RoPE scaling"), ("apertus-biased", "biases, RoPE left out, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let llama3 = [("rope_theta", 12e6.into()), ("factor", 8.into()), ("original_max_position_embeddings", 8192.into())];
    let defaults = [("rms_norm_eps", 1e-5), ("rope_theta", 12e6)];
    let config = &rotary::with_default(config, "llama3", &llama3).defaulting(&defaults);
    config.assume("max_position_embeddings", 65_536);
    let norm = Norm::rms(config.positive_or("rms_norm_eps", 1e-5)? as f32);
    let d_hidden = config.size("intermediate_size")?;
    let feed_forward = match config.text_or("hidden_act", "xielu")? {
        "xielu" => FeedForward { gating: Gating::Xielu, ..FeedForward::plain(d_hidden, Activation::Identity) },
        _ => FeedForward::plain(d_hidden, config.activation_or("hidden_act", "silu")?),
    };
    let plain = config.with_values([("hidden_act".to_owned(), "silu".into())]);
    let architecture = llama::decoder(&plain, llama::biases(config)?, |_, block| {
        block.feed_forward = FeedForward { biases: false, ..feed_forward.clone() };
        block.attention.qk_norm = Some(QkNorm { norm, scope: QkScope::Head });
        Ok(())
    })?;
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    decoder: Some(StackNames {
        attention: AttentionNames { norm: "attention_layernorm", ..llama::DECODER.attention },
        feed_forward: FeedForwardNames {
            norm: "feedforward_layernorm",
            xielu: "mlp.act_fn",
            ..llama::DECODER.feed_forward
        },
        ..llama::DECODER
    }),
    ..llama::NAMES
};
