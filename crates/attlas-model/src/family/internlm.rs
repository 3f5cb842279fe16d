//! InternLM 2 (Cai et al. 2024): Llama with one matrix for queries, keys and values, group by group. InternLM 3: Llama with
//! biases that are switched apart.

use super::{Family, llama};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Biases};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const INTERNLM2: Family = Family {
    name: "internlm2",
    model_types: &["internlm2"],
    about: "InternLM 2 and 2.5 (Cai et al. 2024)",
    read: read_internlm2,
    tested: &[("internlm2", "a Llama's weights in its layout, dynamic RoPE scaling")],
    texts: &[],
};

pub(super) const INTERNLM3: Family = Family {
    name: "internlm3",
    model_types: &["internlm3"],
    about: "InternLM 3 (InternLM Team 2025)",
    read: read_internlm3,
    tested: &[("internlm3", "biases, the hub's configuration")],
    texts: &[],
};

fn read_internlm2(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let biases = if config.flag_or("bias", true)? { Biases::ALL } else { Biases::NONE };
    llama::decoder(config, biases, |_, _| Ok(())).map(|architecture| (architecture, INTERNLM2_NAMES))
}

const INTERNLM2_NAMES: Names = Names {
    decoder: Some(StackNames {
        tokens: &["tok_embeddings.weight"],
        attention: AttentionNames {
            projections: ProjectionNames::Grouped("attention.wqkv"),
            output: "attention.wo",
            norm: "attention_norm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            gate: "feed_forward.w1",
            up: "feed_forward.w3",
            down: "feed_forward.w2",
            norm: "ffn_norm",
            ..FeedForwardNames::NONE
        },
        ..llama::DECODER
    }),
    readout: ReadoutNames { output: "output.weight", ..ReadoutNames::NONE },
    ..llama::NAMES
};

fn read_internlm3(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.renamed(&[("attention_bias", "qkv_bias"), ("mlp_bias", "bias")]);
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    let of_heads = config.flag_or("attention_bias", false)?;
    let biases = Biases { query_value: of_heads, key: of_heads, output: config.flag_or("mlp_bias", false)? };
    llama::decoder(config, biases, |_, _| Ok(())).map(|architecture| (architecture, llama::NAMES))
}
