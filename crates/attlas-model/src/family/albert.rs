//! ALBERT (Lan et al. 2020): BERT whose layers share weights in groups, with narrow embeddings.

use serde_json::{Value, json};

use super::bert::{self, Numbering};
use super::{Family, PieceRule, TextRules, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Length, Norm, Readout};
use crate::load::{AttentionNames, FeedForwardNames, Names, ProjectionNames, ReadoutNames, StackNames};
use crate::tokenizer::settings::Settings;

pub(super) const FAMILY: Family = Family {
    name: "albert",
    model_types: &["albert"],
    about: "ALBERT (Lan et al. 2020)",
    read,
    tested: &[("albert", "shared layers, narrow embedding"), ("albert-groups", "two groups of layers")],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules {
    model_types: &["albert"],
    classes: &["AlbertTokenizer"],
    pieces: PieceRule::Arranged(|pieces, _, settings| {
        pieces.surround(&["[CLS]"], &["[SEP]"], &["[SEP]"]);
        pieces.second = 1;
        pieces.cut_at_space = true;
        pieces.normalizers = normalizers(settings);
    }),
    ..TextRules::PLAIN
};

fn normalizers(settings: &Settings) -> Vec<Value> {
    let quote = |pattern: &str| json!({"type": "Replace", "pattern": {"String": pattern}, "content": "\""});
    let mut normalizers = vec![quote("``"), quote("''")];
    if !settings.flag("keep_accents").unwrap_or(false) {
        normalizers.extend([json!({"type": "NFKD"}), json!({"type": "StripAccents"})]);
    }
    if settings.flag("do_lower_case").unwrap_or(true) {
        normalizers.push(json!({"type": "Lowercase"}));
    }
    normalizers
}

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
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, activation, norm)?, PREDICTIONS),
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, Length::Any);
    Ok((architecture, Names { readout: readout_names, ..NAMES }))
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

const PREDICTIONS: ReadoutNames = ReadoutNames {
    transform: "predictions.dense",
    transform_norm: "predictions.LayerNorm",
    output: "predictions.decoder.weight",
    bias: &["predictions.bias", "predictions.decoder.bias"],
    ..ReadoutNames::NONE
};

const CLASSIFIER: ReadoutNames = ReadoutNames {
    transform: "albert.pooler",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..ReadoutNames::NONE
};
