//! GPT-2 (Radford et al. 2019): pre-norm decoder, learnt positions, one matrix for queries, keys and values.

use attlas::Visibility;
use serde_json::Value;

use super::{Family, Marks, TextRules, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, Positions, Residual, Stack};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "gpt2",
    model_types: &["gpt2"],
    about: "GPT-2 (Radford et al. 2019)",
    read,
    tested: &[("gpt2", "shards, generation"), ("gpt2-layer-scaled", "scores scaled by layer")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules { model_types: &["gpt2"], marks: Marks::Nothing, ..TextRules::PLAIN };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("add_cross_attention", &Value::Bool(false))?;
    let d_model = config.size_or("n_embd", 768)?;
    let n_heads = config.size_or("n_head", 12)?;
    let d_head = config.head_width("n_head", n_heads, "n_embd", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_epsilon", 1e-5)? as f32);
    let d_hidden = config.size_or("n_inner", 4 * d_model)?;
    let activation = config.activation_or("activation_function", "gelu_new")?;
    let scaled = config.flag_or("scale_attn_weights", true)?;
    let by_layer = config.flag_or("scale_attn_by_inverse_layer_idx", false)?;
    let block = |layer: usize| {
        let plain = Attention::plain(n_heads, d_head, Visibility::CAUSAL);
        let scale = if scaled { plain.scale } else { 1.0 };
        Block::new(
            Attention { scale: if by_layer { scale / (layer + 1) as f32 } else { scale }, ..plain },
            FeedForward::plain(d_hidden, activation),
            norm,
            Residual::Pre,
        )
    };
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding {
            positions: Positions::learned(config.size_or("n_positions", 1024)?),
            ..Embedding::new(n_tokens, d_model)
        },
        (0..config.layers_or("n_layer", 12)?).map(block).collect(),
    );
    let architecture = Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::Yes)?,
        llama::ids(config, n_tokens)?,
        Length::Any,
    );
    Ok((architecture, NAMES))
}

/// Names that GPT-BigCode shares.
pub(super) const DECODER: StackNames = StackNames {
    tokens: &["wte.weight"],
    positions: "wpe.weight",
    layer: "h.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Joint("attn.c_attn"),
        output: "attn.c_proj",
        norm: "ln_1",
        ..AttentionNames::NONE
    },
    feed_forward: FeedForwardNames { up: "mlp.c_fc", down: "mlp.c_proj", norm: "ln_2", ..FeedForwardNames::NONE },
    final_norm: "ln_f",
    ..StackNames::NONE
};

pub(super) const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    encoder: None,
    decoder: Some(DECODER),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::InOut,
    // masks that older checkpoints carry
    ignored: &[".attn.bias", ".attn.masked_bias"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
