//! GPT-J (Wang & Komatsuzaki 2021): rotary positions on neighbouring columns, attention and feed-forward side by side
//! after one norm.

use attlas::Visibility;

use super::{Family, Marks, TextRules, llama, readouts};
use crate::Error;
use crate::block::rope::inverse_frequencies;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Frequencies, Length, Norm, Pairs, Residual, Rotary,
    Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "gptj",
    model_types: &["gptj"],
    about: "GPT-J (Wang & Komatsuzaki 2021)",
    read,
    tested: &[("gptj", "interleaved RoPE, shared norm")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules { model_types: &["gptj", "codegen"], marks: Marks::Nothing, ..TextRules::PLAIN };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("n_embd", 4096)?;
    let n_heads = config.size_or("n_head", 16)?;
    let d_head = config.head_width("n_head", n_heads, "n_embd", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(config.positive_or("layer_norm_epsilon", 1e-5)? as f32);
    let n_columns = config.size_or("rotary_dim", d_head)?;
    if n_columns > d_head || n_columns % 2 != 0 {
        return Err(config.error("rotary_dim", format!("is {n_columns}, but must be even and at most {d_head}")));
    }
    let frequencies = Frequencies::Fixed { per_pair: inverse_frequencies(10_000.0, n_columns), factor: 1.0 };
    let d_hidden = config.size_or("n_inner", 4 * d_model)?;
    let block = Block::new(
        Attention {
            rotary: Some(Rotary { first_column: 0, n_columns, pairs: Pairs::Neighbours, frequencies, sections: None }),
            biases: Biases::NONE,
            ..Attention::plain(n_heads, d_head, Visibility::CAUSAL)
        },
        FeedForward::plain(d_hidden, config.activation_or("activation_function", "gelu_new")?),
        norm,
        Residual::ParallelSharedNorm,
    );
    let stack = Stack::pre_norm(
        norm,
        d_model,
        Embedding::new(n_tokens, d_model),
        vec![block; config.layers_or("n_layer", 28)?],
    );
    let readout = readouts::next_token_with_bias(config, n_tokens)?;
    let architecture = Architecture::decoder(
        stack,
        readout,
        llama::ids(config, n_tokens)?,
        Length::Noted(config.size_or("n_positions", 2048)?),
    );
    Ok((architecture, NAMES))
}

const NAMES: Names = Names {
    prefixes: &["transformer.", ""],
    encoder: None,
    decoder: Some(StackNames {
        tokens: &["wte.weight"],
        layer: "h.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate { query: "attn.q_proj", key: "attn.k_proj", value: "attn.v_proj" },
            output: "attn.out_proj",
            norm: "ln_1",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames { up: "mlp.fc_in", down: "mlp.fc_out", ..FeedForwardNames::NONE },
        final_norm: "ln_f",
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "lm_head.weight", bias: &["lm_head.bias"], ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[".attn.bias", ".attn.masked_bias"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
