//! ESM-1b and ESM-2 (Rives et al. 2021; Lin et al. 2023): pre-norm encoder of proteins, learnt or rotary positions,
//! masked tokens as dropped out, and a regression that reads contacts off the maps.

use attlas::Visibility;

use super::bert::Numbering;
use super::rotary::{self, RopePlace};
use super::{Family, TextRules, VocabularyRule, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, Positions, Readout, Residual,
    Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "esm",
    model_types: &["esm"],
    about: "ESM-2, ESM-1b, Nucleotide Transformer 1 (Lin et al. 2023; Rives et al. 2021)",
    read,
    tested: &[
        ("esm", "rotary, masks dropped out, contacts; stored frequencies"),
        ("esm-1b", "learnt positions, embedding norm, classifier, f16"),
    ],
    texts: &[TextRules {
        model_types: &["esm"],
        classes: &["EsmTokenizer"],
        vocabulary: VocabularyRule::Whole,
        ..TextRules::PLAIN
    }],
};

/// The share of tokens that training masked, for which rows are made up: `0.15 · 0.8`.
const SHARE_DROPPED: f64 = 0.15 * 0.8;

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    // ESMFold; and the feed-forward of the second Nucleotide Transformer, which is gated
    config.must_be("is_folding_model", &false.into())?;
    config.must_be("add_bias_fnn", &true.into())?;
    let (stack, length) = encoder(config)?;
    let norm = norm(config)?;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, roberta::VOCABULARY)
        }
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, Activation::Tanh)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, length);
    let readout = ReadoutNames { contacts: "contact_head.regression", ..names };
    Ok((architecture, Names { readout, ..NAMES }))
}

fn norm(config: &ConfigFile) -> Result<Norm, Error> {
    Ok(Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32))
}

fn encoder(config: &ConfigFile) -> Result<(Stack, Length), Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let n_rows = config.size_or("max_position_embeddings", 1026)?;
    let Numbering { offset, at_padding } = Numbering::after_padding(config)?;
    let mut attention = Attention::plain(n_heads, d_head, Visibility::FULL);
    let (positions, length) = match config.text_or("position_embedding_type", "absolute")? {
        "absolute" => (Positions::Learned { n_rows, offset, at_padding }, Length::Any),
        "rotary" => {
            let place = RopePlace { d_head, max_positions: n_rows, default_share: 1.0, default_base: 10_000.0 };
            attention.rotary = rotary::read(config, place, "")?;
            (Positions::None, Length::Noted(n_rows.saturating_sub(offset)))
        }
        other => {
            let problem = format!("is \"{other}\"; attlas knows absolute and rotary");
            return Err(config.error("position_embedding_type", problem));
        }
    };
    let norm = norm(config)?;
    let feed_forward = FeedForward::plain(config.size_or("intermediate_size", 3072)?, Activation::Gelu);
    let block = Block::new(attention, feed_forward, norm, Residual::Pre);
    let mut embedding = Embedding {
        positions,
        norm: config.flag_or("emb_layer_norm_before", false)?.then_some(norm),
        ..Embedding::new(config.size("vocab_size")?, d_model)
    };
    if config.flag_or("token_dropout", false)? {
        let mask = config.id("mask_token_id", embedding.n_tokens)?;
        embedding.dropped =
            Some(mask.ok_or_else(|| config.error("mask_token_id", "is missing; token_dropout needs it"))?);
        embedding.scale = (1.0 - SHARE_DROPPED) as f32;
    }
    let blocks = vec![block; config.layers_or("num_hidden_layers", 12)?];
    Ok((Stack::pre_norm(norm, d_model, embedding, blocks), length))
}

const NAMES: Names = Names {
    prefixes: &["esm.", ""],
    encoder: Some(StackNames {
        tokens: &["embeddings.word_embeddings.weight"],
        positions: "embeddings.position_embeddings.weight",
        frequencies: &["rotary_embeddings.inv_freq", "encoder.layer.0.attention.self.rotary_embeddings.inv_freq"],
        embedding_norm: "embeddings.layer_norm",
        layer: "encoder.layer.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.self.query",
                key: "attention.self.key",
                value: "attention.self.value",
            },
            output: "attention.output.dense",
            norm: "attention.LayerNorm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "intermediate.dense",
            down: "output.dense",
            norm: "LayerNorm",
            ..FeedForwardNames::NONE
        },
        final_norm: "encoder.emb_layer_norm_after",
        ..StackNames::NONE
    }),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    // the table of positions of models that turn them instead, and what other tasks read
    ignored: &[
        "embeddings.position_ids",
        "position_embeddings.weight",
        "rotary_embeddings.inv_freq",
        "pooler.dense.weight",
        "pooler.dense.bias",
        "lm_head.",
    ],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
