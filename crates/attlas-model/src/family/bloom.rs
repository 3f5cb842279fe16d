//! BLOOM (BigScience 2022): ALiBi instead of positions, a norm on the embedding, queries, keys and values head by head.

use attlas::Visibility;
use serde_json::Value;

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, PositionBias, Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "bloom",
    model_types: &["bloom"],
    about: "BLOOM (BigScience 2022)",
    read,
    tested: &[("bloom", "ALiBi"), ("bloom-6-heads", "ALiBi of 6 heads, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("apply_residual_connection_post_layernorm", &Value::Bool(false))?;
    // which of two names a file has; what has neither lacks the first
    let older =
        |field: &'static str, old: &'static str| if config.has(old) && !config.has(field) { old } else { field };
    let width_field = older("hidden_size", "n_embed");
    let d_model = config.size(width_field)?;
    let heads_field = older("n_head", "num_attention_heads");
    let n_heads = config.size(heads_field)?;
    let d_head = config.head_width(heads_field, n_heads, width_field, d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_epsilon", 1e-5)? as f32);
    let block = Block::new(
        Attention {
            bias: PositionBias::Alibi(slopes(n_heads)),
            ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
        },
        FeedForward::plain(4 * d_model, Activation::GeluTanh),
        norm,
        Residual::Pre,
    );
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding { norm: Some(norm), ..Embedding::new(n_tokens, d_model) },
        vec![block; config.layers_or(older("n_layer", "num_hidden_layers"), 2)?],
    );
    let architecture = Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::Yes)?,
        llama::ids(config, n_tokens)?,
        Length::Any,
    );
    Ok((architecture, NAMES))
}

/// ALiBi's slopes: powers of `2^(−8/n)`; for other numbers of heads than powers of 2, every other slope of twice as
/// many follows (Press et al. 2022). Shape `[n_heads]`.
pub(super) fn slopes(n_heads: usize) -> Vec<f32> {
    let power = 1 << n_heads.ilog2();
    let first = 2.0_f32.powf(-8.0 / power as f32);
    let between = 2.0_f32.powf(-4.0 / power as f32);
    let regular = (1..=power).map(|i| first.powi(i as i32));
    let others = (0..n_heads - power).map(|i| between.powi(2 * i as i32 + 1));
    regular.chain(others).collect()
}

const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    encoder: None,
    decoder: Some(DECODER),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

/// Names that Falcon shares.
pub(super) const DECODER: StackNames = StackNames {
    tokens: &["word_embeddings.weight"],
    embedding_norm: "word_embeddings_layernorm",
    layer: "h.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Grouped("self_attention.query_key_value"),
        output: "self_attention.dense",
        norm: "input_layernorm",
        ..AttentionNames::NONE
    },
    feed_forward: FeedForwardNames {
        up: "mlp.dense_h_to_4h",
        down: "mlp.dense_4h_to_h",
        norm: "post_attention_layernorm",
        ..FeedForwardNames::NONE
    },
    final_norm: "ln_f",
    ..StackNames::NONE
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_of_six_heads_are_those_of_four_and_two_between() {
        let expected = [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125];
        assert!(slopes(6).iter().zip(expected).all(|(slope, expected)| (slope - expected).abs() < 1e-7));
    }
}
