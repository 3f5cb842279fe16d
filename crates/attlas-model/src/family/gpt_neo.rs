//! GPT-Neo (Black et al. 2021): GPT-2 with windows in every other layer and unscaled scores.

use attlas::Visibility;

use super::{Family, Marks, TextRules, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, Positions, Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "gpt_neo",
    model_types: &["gpt_neo"],
    about: "GPT-Neo (Black et al. 2021)",
    read,
    tested: &[("gpt-neo", "local layers")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules { model_types: &["gpt_neo"], marks: Marks::Nothing, ..TextRules::PLAIN };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 2048)?;
    let n_heads = config.size_or("num_heads", 16)?;
    let d_head = config.head_width("num_heads", n_heads, "hidden_size", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_epsilon", 1e-5)? as f32);
    let d_hidden = config.size_or("intermediate_size", 4 * d_model)?;
    let activation = config.activation_or("activation_function", "gelu_new")?;
    let window = readouts::window(config.size_or("window_size", 256)?);
    let local = local_layers(config, config.layers_or("num_layers", 24)?)?;
    let block = |local: &bool| {
        Block::new(
            Attention {
                scale: 1.0,
                biases: Biases::OUTPUT,
                ..Attention::plain(n_heads, d_head, if *local { window } else { Visibility::CAUSAL })
            },
            FeedForward::plain(d_hidden, activation),
            norm,
            Residual::Pre,
        )
    };
    let n_rows = config.size_or("max_position_embeddings", 2048)?;
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding { positions: Positions::learned(n_rows), ..Embedding::new(n_tokens, d_model) },
        local.iter().map(block).collect(),
    );
    let architecture = Architecture::decoder(
        stack,
        readouts::next_token(config, n_tokens, readouts::Tied::Yes)?,
        llama::ids(config, n_tokens)?,
        Length::Any,
    );
    Ok((architecture, NAMES))
}

/// Which layers are local, from `attention_types`: `[[["global", "local"], 12]]` is 24 layers in turns.
fn local_layers(config: &ConfigFile, n_layers: usize) -> Result<Vec<bool>, Error> {
    const FIELD: &str = "attention_types";
    let Some(types) = config.get(FIELD) else { return Ok((0..n_layers).map(|layer| layer % 2 == 1).collect()) };
    let malformed = || config.error(FIELD, "must be a list of [[type, …], count] with types global and local");
    let mut local = Vec::new();
    for entry in types.as_array().ok_or_else(malformed)? {
        let names = entry.get(0).and_then(|names| names.as_array()).ok_or_else(malformed)?;
        let count = entry.get(1).and_then(|count| count.as_u64()).ok_or_else(malformed)?;
        let types: Option<Vec<bool>> = names
            .iter()
            .map(|name| match name.as_str() {
                Some("global") => Some(false),
                Some("local") => Some(true),
                _ => None,
            })
            .collect();
        let types = types.filter(|types| !types.is_empty()).ok_or_else(malformed)?;
        for _ in 0..count {
            local.extend_from_slice(&types);
            if local.len() > n_layers {
                break;
            }
        }
    }
    if local.len() != n_layers {
        return Err(config.error(FIELD, format!("does not describe {n_layers} layers, as num_layers says")));
    }
    Ok(local)
}

const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    encoder: None,
    decoder: Some(StackNames {
        tokens: &["wte.weight"],
        positions: "wpe.weight",
        layer: "h.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attn.attention.q_proj",
                key: "attn.attention.k_proj",
                value: "attn.attention.v_proj",
            },
            output: "attn.attention.out_proj",
            norm: "ln_1",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames { up: "mlp.c_fc", down: "mlp.c_proj", norm: "ln_2", ..FeedForwardNames::NONE },
        final_norm: "ln_f",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[".attention.bias", ".attention.masked_bias"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
