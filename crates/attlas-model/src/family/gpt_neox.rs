//! GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): partial rotary positions, parallel residual, one
//! matrix for queries, keys and values, head by head.

use attlas::Visibility;

use super::rotary::{self, RopePlace};
use super::{Family, Marks, TextRules, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, Residual, Stack};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "gpt_neox",
    model_types: &["gpt_neox"],
    about: "GPT-NeoX, Pythia (Black et al. 2022; Biderman et al. 2023)",
    read,
    tested: &[("gpt-neox", "parallel, partial RoPE"), ("gpt-neox-sequential", "sequential, f16")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules { model_types: &["gpt_neox"], marks: Marks::Nothing, ..TextRules::PLAIN };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 6144)?;
    let n_heads = config.size_or("num_attention_heads", 64)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let max_positions = config.size_or("max_position_embeddings", 2048)?;
    let config = &config.renamed(&[("partial_rotary_factor", "rotary_pct")]);
    let place = RopePlace {
        d_head,
        max_positions,
        default_share: 0.25,
        default_base: rotary::base(config, "rotary_emb_base", 10_000.0)?,
    };
    let parallel = config.flag_or("use_parallel_residual", true)?;
    let biases = if config.flag_or("attention_bias", true)? { Biases::ALL } else { Biases::NONE };
    let d_hidden = config.size_or("intermediate_size", 4 * d_model)?;
    let block = Block::new(
        Attention {
            rotary: rotary::read(config, place, "")?,
            biases,
            ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
        },
        FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu")?),
        norm,
        if parallel { Residual::Parallel } else { Residual::Pre },
    );
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding::new(n_tokens, d_model),
        vec![block; config.layers_or("num_hidden_layers", 44)?],
    );
    let architecture = Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::No)?,
        llama::ids(config, n_tokens)?,
        Length::Noted(max_positions),
    );
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    prefixes: &["gpt_neox.", ""],
    encoder: None,
    decoder: Some(StackNames {
        tokens: &["embed_in.weight"],
        layer: "layers.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Grouped("attention.query_key_value"),
            output: "attention.dense",
            norm: "input_layernorm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "mlp.dense_h_to_4h",
            down: "mlp.dense_4h_to_h",
            norm: "post_attention_layernorm",
            ..FeedForwardNames::NONE
        },
        final_norm: "final_layer_norm",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "embed_out.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
