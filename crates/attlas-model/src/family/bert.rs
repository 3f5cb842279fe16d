//! BERT (Devlin et al. 2019): post-norm encoder, learnt positions, segments.

use attlas::Visibility;

use super::{Family, alibi_bert, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, Positions, Readout, Residual, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const FAMILY: Family = Family {
    name: "bert",
    model_types: &["bert"],
    about: "BERT, ProtBERT, DNABERT 1 and 2, JinaBERT v2 (Devlin et al. 2019)",
    read,
    tested: &[
        ("bert", "segments, masked LM"),
        ("bert-classifier", "classifier, f16"),
        ("jina-bert-v2", "ALiBi both ways, gated, against their formulas"),
        ("dnabert-2", "the same in one matrix, masked LM"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    let (stack, length, stack_names) = match alibi_bert::is_meant(config)? {
        true => alibi_bert::encoder(config)?,
        false => (encoder(config, Numbering::FROM_ZERO)?, Length::Any, NAMES),
    };
    let task = readouts::task(config)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (readout, names) = match task {
        readouts::Task::MaskedTokens => {
            (readouts::masked_tokens(config, &stack, config.activation_or("hidden_act", "gelu")?, norm)?, VOCABULARY)
        }
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, length);
    Ok((architecture, Names { readout: names, ..stack_names }))
}

/// How a family counts positions.
#[derive(Clone, Copy)]
pub(super) struct Numbering {
    /// Rows before position 0.
    pub offset: usize,
    /// The row of padding tokens.
    pub at_padding: Option<usize>,
}

impl Numbering {
    /// Position 0 is row 0.
    pub const FROM_ZERO: Numbering = Numbering { offset: 0, at_padding: None };

    /// As RoBERTa counts: rows after the padding id; padding has that row.
    pub fn after_padding(config: &ConfigFile) -> Result<Numbering, Error> {
        let padding = config.count_or("pad_token_id", 1)?;
        Ok(Numbering { offset: padding + 1, at_padding: Some(padding) })
    }
}

/// BERT's encoder, which several families share.
pub(super) fn encoder(config: &ConfigFile, numbering: Numbering) -> Result<Stack, Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    config.must_be("position_embedding_type", &"absolute".into())?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let activation = config.activation_or("hidden_act", "gelu")?;
    let block = Block::new(
        Attention::plain(n_heads, d_head, Visibility::FULL),
        FeedForward::plain(config.size_or("intermediate_size", 3072)?, activation),
        norm,
        Residual::Post,
    );
    Ok(Stack::new(
        d_model,
        Embedding {
            positions: Positions::Learned {
                n_rows: config.size_or("max_position_embeddings", 512)?,
                offset: numbering.offset,
                at_padding: numbering.at_padding,
            },
            n_token_types: config.count_or("type_vocab_size", 2)?,
            norm: Some(norm),
            ..Embedding::new(config.size("vocab_size")?, config.size_or("embedding_size", d_model)?)
        },
        vec![block; config.layers_or("num_hidden_layers", 12)?],
    ))
}

/// BERT's names; `NAMES.encoder` under another prefix serves several families.
pub(super) const NAMES: Names = Names {
    prefixes: &["bert.", ""],
    encoder: Some(ENCODER),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &["embeddings.position_ids", "cls.", "pooler.dense.weight", "pooler.dense.bias"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

pub(super) const ENCODER: StackNames = StackNames {
    tokens: &["embeddings.word_embeddings.weight"],
    positions: "embeddings.position_embeddings.weight",
    token_types: "embeddings.token_type_embeddings.weight",
    embedding_norm: "embeddings.LayerNorm",
    embedding_projection: "embeddings_project",
    layer: "encoder.layer.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Separate {
            query: "attention.self.query",
            key: "attention.self.key",
            value: "attention.self.value",
        },
        output: "attention.output.dense",
        norm: "attention.output.LayerNorm",
        ..AttentionNames::NONE
    },
    feed_forward: FeedForwardNames {
        up: "intermediate.dense",
        down: "output.dense",
        norm: "output.LayerNorm",
        ..FeedForwardNames::NONE
    },
    ..StackNames::NONE
};

/// The masked language model's readout.
pub(super) const VOCABULARY: ReadoutNames = ReadoutNames {
    transform: "cls.predictions.transform.dense",
    transform_norm: "cls.predictions.transform.LayerNorm",
    output: "cls.predictions.decoder.weight",
    bias: &["cls.predictions.bias", "cls.predictions.decoder.bias"],
    ..ReadoutNames::NONE
};

/// A tanh layer on the first position, then the classes.
pub(super) const CLASSIFIER: ReadoutNames = ReadoutNames {
    transform: "bert.pooler.dense",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..ReadoutNames::NONE
};
