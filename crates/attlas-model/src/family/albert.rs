//! ALBERT (Lan et al. 2020): BERT whose layers share weights in groups, with narrow embeddings.

use super::bert::{self, Numbering};
use super::{Family, heads};
use crate::Error;
use crate::config::{Architecture, Head, Length, Norm};
use crate::config_file::ConfigFile;
use crate::load::{AttentionNames, FeedForwardNames, HeadNames, Names, ProjectionNames, StackNames};

pub(super) const FAMILY: Family =
    Family { name: "albert", model_types: &["albert"], about: "ALBERT (Lan et al. 2020)", read };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("inner_group_num", &1.into())?;
    let mut stack = bert::encoder(config, Numbering::FROM_ZERO)?;
    stack.embedding.width = config.size_or("embedding_size", 128)?;
    let activation = config.activation_or("hidden_act", "gelu_new")?;
    let n_layers = stack.blocks.len();
    let n_groups = config.size_or("num_hidden_groups", 1)?;
    if n_groups > n_layers {
        return Err(config.error("num_hidden_groups", format!("is {n_groups}, but there are {n_layers} layers")));
    }
    stack.blocks.iter_mut().for_each(|block| block.feed_forward.activation = activation);
    stack.stored_as = Some((0..n_layers).map(|layer| layer * n_groups / n_layers).collect());
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (head, head_names) = match heads::task(config)? {
        heads::Task::MaskedTokens => (heads::masked_tokens(config, &stack, activation, norm)?, PREDICTIONS),
        heads::Task::Classes => (heads::pooled_classes(config, &stack)?, CLASSIFIER),
        heads::Task::None => (Head::None, HeadNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, head, Length::Any);
    Ok((architecture, Names { head: head_names, ..NAMES }))
}

const NAMES: Names = Names {
    prefixes: &["albert.", ""],
    encoder: Some(StackNames {
        embedding_projection: "encoder.embedding_hidden_mapping_in",
        layer: "encoder.albert_layer_groups.{}.albert_layers.0.",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.query",
                key: "attention.key",
                value: "attention.value",
            },
            output: "attention.dense",
            norm: "attention.LayerNorm",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "ffn",
            down: "ffn_output",
            norm: "full_layer_layer_norm",
            ..FeedForwardNames::NONE
        },
        ..bert::ENCODER
    }),
    ignored: &["embeddings.position_ids", "predictions.", "sop_classifier.", "pooler.weight", "pooler.bias"],
    ..bert::NAMES
};

const PREDICTIONS: HeadNames = HeadNames {
    transform: "predictions.dense",
    transform_norm: "predictions.LayerNorm",
    output: "predictions.decoder.weight",
    bias: &["predictions.bias", "predictions.decoder.bias"],
    ..HeadNames::NONE
};

const CLASSIFIER: HeadNames = HeadNames {
    transform: "albert.pooler",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..HeadNames::NONE
};
