//! DistilBERT (Sanh et al. 2019): BERT with half the layers, no segments, and other names.

use attlas::Visibility;

use super::{Family, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, Positions, Readout, Residual,
    Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "distilbert",
    model_types: &["distilbert"],
    about: "DistilBERT (Sanh et al. 2019)",
    read,
    tested: &[("distilbert", "masked LM")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("dim", 768)?;
    let n_heads = config.size_or("n_heads", 12)?;
    let d_head = config.head_width("n_heads", n_heads, "dim", d_model)?;
    let n_tokens = config.size("vocab_size")?;
    let norm = Norm::layer(1e-12);
    let activation = config.activation_or("activation", "gelu")?;
    let block = Block::new(
        Attention::plain(n_heads, d_head, Visibility::FULL),
        FeedForward::plain(config.size_or("hidden_dim", 3072)?, activation),
        norm,
        Residual::Post,
    );
    let n_rows = config.size_or("max_position_embeddings", 512)?;
    let stack = Stack::new(
        d_model,
        Embedding { positions: Positions::learned(n_rows), norm: Some(norm), ..Embedding::new(n_tokens, d_model) },
        vec![block; config.layers_or("n_layers", 6)?],
    );
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, activation, norm)?, VOCABULARY),
        readouts::Task::Classes => (roberta::classes(config, d_model, Activation::Relu)?, CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture = Architecture::encoder(config.id("pad_token_id", n_tokens)?, stack, readout, Length::Any);
    Ok((architecture, Names { readout: readout_names, ..NAMES }))
}

const NAMES: Names = Names {
    prefixes: &["distilbert.", ""],
    encoder: Some(StackNames {
        layer: "transformer.layer.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.q_lin",
                key: "attention.k_lin",
                value: "attention.v_lin",
            },
            output: "attention.out_lin",
            norm: "sa_layer_norm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "ffn.lin1",
            down: "ffn.lin2",
            norm: "output_layer_norm",
            ..FeedForwardNames::NONE
        },
        ..super::bert::ENCODER
    }),
    ignored: &["embeddings.position_ids", "vocab_"],
    ..super::bert::NAMES
};

const VOCABULARY: ReadoutNames = ReadoutNames {
    transform: "vocab_transform",
    transform_norm: "vocab_layer_norm",
    output: "vocab_projector.weight",
    bias: &["vocab_projector.bias"],
    ..ReadoutNames::NONE
};

const CLASSIFIER: ReadoutNames = ReadoutNames {
    transform: "pre_classifier",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..ReadoutNames::NONE
};
