//! DeBERTa v2 and v3 (He et al. 2021, 2023): BERT whose scores also join each side's content with the distance between
//! them.

use attlas::Visibility;

use serde_json::json;

use super::{Family, PieceRule, TextRules, bert, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, Disentangled, Embedding, FeedForward, Length, Norm, Positions, Readout, Residual,
    SideConvolution, Stack,
};
use crate::load::{AttentionNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "deberta",
    model_types: &["deberta-v2"],
    about: "DeBERTa v2 and v3 (He et al. 2021, 2023)",
    read,
    tested: &[
        ("deberta-v2", "content with distance (dense), buckets"),
        ("deberta-v2-unshared", "projections of distances, convolution"),
        ("deberta-v3-classifier", "classifier, no absolute positions, f16"),
    ],
    texts: &[TEXT],
};

const TEXT: TextRules = TextRules {
    model_types: &["deberta-v2"],
    classes: &["DebertaV2Tokenizer"],
    pieces: PieceRule::Arranged(|pieces, _, settings| {
        pieces.surround(&["[CLS]"], &["[SEP]"], &["[SEP]"]);
        pieces.second = 1;
        if settings.flag("do_lower_case").unwrap_or(false) {
            pieces.normalizers.push(json!({"type": "Lowercase"}));
        }
    }),
    ..TextRules::PLAIN
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-7)? as f32);
    let stack = encoder(config, norm)?;
    let activation = config.activation_or("hidden_act", "gelu")?;
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens if config.flag_or("legacy", true)? => {
            (readouts::masked_tokens(config, &stack, activation, norm)?, bert::VOCABULARY)
        }
        readouts::Task::Classes => (pooled_classes(config, &stack)?, CLASSES),
        _ => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, Length::Any);
    Ok((architecture, Names { readout: readout_names, ..NAMES }))
}

fn encoder(config: &ConfigFile, norm: Norm) -> Result<Stack, Error> {
    let d_model = config.size_or("hidden_size", 1536)?;
    let n_heads = config.size_or("num_attention_heads", 24)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    config.must_be("embedding_size", &d_model.into())?;
    config.must_be("attention_head_size", &d_head.into())?;
    let n_positions = config.size_or("max_position_embeddings", 512)?;
    let disentangled = distances(config, n_positions)?;
    let n_terms = disentangled
        .map_or(1, |terms| 1 + usize::from(terms.content_to_position) + usize::from(terms.position_to_content));
    let attention = Attention {
        scale: 1.0 / ((d_head * n_terms) as f32).sqrt(),
        disentangled,
        ..Attention::plain(n_heads, d_head, Visibility::FULL)
    };
    let d_hidden = config.size_or("intermediate_size", 6144)?;
    let feed_forward = FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu")?);
    let block = Block::new(attention, feed_forward, norm, Residual::Post);
    let positions = match config.flag_or("position_biased_input", true)? {
        true => Positions::learned(n_positions),
        false => Positions::None,
    };
    let embedding = Embedding {
        positions,
        n_token_types: config.count_or("type_vocab_size", 0)?,
        norm: Some(norm),
        ..Embedding::new(config.size("vocab_size")?, d_model)
    };
    let blocks = vec![block; config.layers_or("num_hidden_layers", 24)?];
    let norms_distances = config.text_or("norm_rel_ebd", "none")?.split('|').any(|word| word.trim() == "layer_norm");
    Ok(Stack {
        convolution: side_convolution(config, d_model, norm)?,
        distance_norm: norms_distances.then_some(norm),
        ..Stack::new(d_model, embedding, blocks)
    })
}

/// The score's terms of distance, if there are any.
fn distances(config: &ConfigFile, n_positions: usize) -> Result<Option<Disentangled>, Error> {
    if !config.flag_or("relative_attention", false)? {
        return Ok(None);
    }
    // a list, or a text with bars between
    let terms: Vec<String> = match config.get("pos_att_type") {
        Some(serde_json::Value::String(text)) => text.split('|').map(|term| term.trim().to_lowercase()).collect(),
        _ => config.texts("pos_att_type")?.unwrap_or_default().into_iter().map(str::to_lowercase).collect(),
    };
    // −1 stands for "as the positions say"
    let max_distance = config.size_or_off("max_relative_positions")?.unwrap_or(n_positions);
    let n_buckets = config.size_or_off("position_buckets")?;
    Ok(Some(Disentangled {
        span: n_buckets.unwrap_or(max_distance),
        max_distance: n_buckets.map(|_| max_distance),
        content_to_position: terms.iter().any(|term| term == "c2p"),
        position_to_content: terms.iter().any(|term| term == "p2c"),
        shared_projections: config.flag_or("share_att_key", false)?,
    }))
}

fn side_convolution(config: &ConfigFile, d_model: usize, norm: Norm) -> Result<Option<SideConvolution>, Error> {
    let kernel = config.count_or("conv_kernel_size", 0)?;
    if kernel == 0 {
        return Ok(None);
    }
    let n_groups = config.size_or("conv_groups", 1)?;
    if kernel % 2 == 0 || kernel > MAX_KERNEL {
        return Err(config.error("conv_kernel_size", format!("is {kernel}, but must be odd and at most {MAX_KERNEL}")));
    }
    if !d_model.is_multiple_of(n_groups) {
        return Err(config.error("conv_groups", format!("is {n_groups}, which does not divide hidden_size {d_model}")));
    }
    Ok(Some(SideConvolution { kernel, n_groups, activation: config.activation_or("conv_act", "tanh")?, norm }))
}

/// The widest window of a convolution that is believed.
const MAX_KERNEL: usize = 63;

fn pooled_classes(config: &ConfigFile, stack: &Stack) -> Result<Readout, Error> {
    let activation = config.activation_or("pooler_hidden_act", "gelu")?;
    let transform = Some(crate::config::Transform { activation, ..readouts::tanh_layer(stack.d_model) });
    Ok(Readout::Classes { n: readouts::n_classes(config)?, transform, pooled: crate::config::Pooled::First })
}

const CLASSES: ReadoutNames = ReadoutNames {
    transform: "pooler.dense",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..ReadoutNames::NONE
};

const NAMES: Names = Names {
    prefixes: &["deberta.", ""],
    encoder: Some(StackNames {
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.self.query_proj",
                key: "attention.self.key_proj",
                value: "attention.self.value_proj",
            },
            distance_key: "attention.self.pos_key_proj",
            distance_query: "attention.self.pos_query_proj",
            ..bert::ENCODER.attention
        },
        distances: "encoder.rel_embeddings.weight",
        distance_norm: "encoder.LayerNorm",
        convolution: "encoder.conv.conv",
        convolution_norm: "encoder.conv.LayerNorm",
        ..bert::ENCODER
    }),
    ignored: &["embeddings.position_ids", "cls.", "lm_predictions.", "mask_predictions.", "pooler.dense."],
    ..bert::NAMES
};
