//! OPT (Zhang et al. 2022): learnt positions two rows late, ReLU. The 350M model reads and writes narrower token rows than
//! it computes with, and is post-norm.

use attlas::Visibility;

use super::{Family, Marks, TextRules, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, NormKind, Positions,
    Projected, Readout, Residual, Stack, Transform,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "opt",
    model_types: &["opt"],
    about: "OPT (Zhang et al. 2022)",
    read,
    tested: &[("opt", "positions two rows late"), ("opt-350m", "narrow token rows, post-norm, f16")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules { model_types: &["opt"], marks: Marks::EndBefore, ..TextRules::PLAIN };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let d_token = config.size_or("word_embed_proj_dim", d_model)?;
    let with_weights = config.flag_or("layer_norm_elementwise_affine", true)?;
    let norm = Norm { kind: if with_weights { NormKind::Layer } else { NormKind::LayerPlain }, epsilon: 1e-5 };
    let before = config.flag_or("do_layer_norm_before", true)?;
    let with_biases = config.flag_or("enable_bias", true)?;
    let activation = config.activation_or("activation_function", "relu")?;
    let block = Block::new(
        Attention {
            biases: if with_biases { Biases::ALL } else { Biases::NONE },
            ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
        },
        FeedForward { biases: with_biases, ..FeedForward::plain(config.size_or("ffn_dim", 3072)?, activation) },
        norm,
        if before { Residual::Pre } else { Residual::Post },
    );
    let n_positions = config.size_or("max_position_embeddings", 2048)?;
    let has_final_norm = before && !config.flag_or("_remove_final_layer_norm", false)?;
    let stack = Stack {
        final_norm: has_final_norm.then_some(norm),
        ..Stack::new(
            d_model,
            Embedding {
                positions: Positions::Learned { n_rows: n_positions + 2, offset: 2, at_padding: None },
                projected: Projected::Token,
                ..Embedding::new(n_tokens, d_token)
            },
            vec![block; config.layers_or("num_hidden_layers", 12)?],
        )
    };
    let mut readout = readouts::next_token(config, n_tokens, readouts::Tied::Yes)?;
    if let Readout::Tokens { transform, .. } = &mut readout
        && d_token != d_model
    {
        *transform = Some(Transform { width: d_token, activation: Activation::Identity, norm: None, bias: false });
    }
    let architecture = Architecture::decoder(stack, readout, llama::ids(config, n_tokens)?, Length::Any);
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    prefixes: &["model.decoder.", "decoder.", ""],
    encoder: None,
    decoder: Some(StackNames {
        tokens: &["embed_tokens.weight"],
        positions: "embed_positions.weight",
        embedding_projection: "project_in",
        layer: "layers.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "self_attn.q_proj",
                key: "self_attn.k_proj",
                value: "self_attn.v_proj",
            },
            output: "self_attn.out_proj",
            norm: "self_attn_layer_norm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames { up: "fc1", down: "fc2", norm: "final_layer_norm", ..FeedForwardNames::NONE },
        final_norm: "final_layer_norm",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { transform: "{}project_out", output: "lm_head.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
