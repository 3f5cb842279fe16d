//! BERT with ALiBi in both directions and a gated feed-forward: JinaBERT v2 (Günther et al. 2023), and MosaicBERT (Portes et al.
//! 2023) with DNABERT-2 (Zhou et al. 2024). Their own code lies beside their weights; config.json calls them `bert`.

use attlas::Visibility;

use super::bert;
use super::bloom::slopes;
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Attention, Biases, Block, Embedding, FeedForward, Length, Norm, PositionBias, Positions, Residual,
    Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, StackNames};

/// How many tokens a text may have at least, whatever the configuration says: distances have no end of their own.
const LEAST_LENGTH: usize = 8192;
/// The longest texts for which a table of distances is built.
const MOST_LENGTH: usize = 1 << 16;
/// The most numbers of that table, which has one for each head and distance on either side.
const MOST_DISTANCES: usize = 1 << 24;

/// Whether a configuration of `bert` means this one.
pub(super) fn is_meant(config: &ConfigFile) -> Result<bool, Error> {
    Ok(config.has("alibi_starting_size") || config.text_or("position_embedding_type", "absolute")? == "alibi")
}

/// The encoder and the names of its parts.
pub(super) fn encoder(config: &ConfigFile) -> Result<(Stack, Length, Names), Error> {
    let is_mosaic = config.has("alibi_starting_size");
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let activation = if is_mosaic { config.activation_or("hidden_act", "gelu")? } else { gate(config)? };
    let longest = match config.size_or("max_position_embeddings", 512)? {
        n @ ..=MOST_LENGTH => n.max(LEAST_LENGTH),
        n => {
            let problem = format!("is {n}, but at most {MOST_LENGTH} is supported");
            return Err(config.error("max_position_embeddings", problem));
        }
    };
    if n_heads * (2 * longest - 1) > MOST_DISTANCES {
        let problem = format!(
            "is {n_heads}, too many for texts of up to {longest} tokens: {MOST_DISTANCES} distances of all heads are held"
        );
        return Err(config.error("num_attention_heads", problem));
    }
    let attention = Attention {
        bias: PositionBias::AlibiBothWays { slopes: slopes(n_heads), reach: longest - 1 },
        biases: Biases::ALL,
        ..Attention::plain(n_heads, d_head, Visibility::FULL)
    };
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let feed_forward =
        FeedForward { output_bias: true, ..FeedForward::gated(config.size_or("intermediate_size", 3072)?, activation) };
    let block = Block::new(attention, feed_forward, norm, Residual::Post);
    let embedding = Embedding {
        positions: Positions::None,
        n_token_types: config.count_or("type_vocab_size", 2)?,
        norm: Some(norm),
        ..Embedding::new(config.size("vocab_size")?, d_model)
    };
    let stack = Stack::new(d_model, embedding, vec![block; config.layers_or("num_hidden_layers", 12)?]);
    let projections = match is_mosaic {
        true => ProjectionNames::Joint("attention.self.Wqkv"),
        false => bert::ENCODER.attention.projections,
    };
    let names = StackNames {
        attention: AttentionNames { projections, ..bert::ENCODER.attention },
        feed_forward: FeedForwardNames {
            up: "mlp.gated_layers",
            down: "mlp.wo",
            norm: "mlp.layernorm",
            ..FeedForwardNames::NONE
        },
        ..bert::ENCODER
    };
    Ok((stack, Length::Refused(longest), Names { encoder: Some(names), ..bert::NAMES }))
}

/// The activation that JinaBERT's `feed_forward_type` names.
fn gate(config: &ConfigFile) -> Result<Activation, Error> {
    match config.text_or("feed_forward_type", "original")? {
        "geglu" => Ok(Activation::Gelu),
        "reglu" => Ok(Activation::Relu),
        other => Err(config.error("feed_forward_type", format!("is \"{other}\"; attlas knows geglu and reglu"))),
    }
}
