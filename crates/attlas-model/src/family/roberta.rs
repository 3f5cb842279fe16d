//! RoBERTa and XLM-R (Liu et al. 2019; Conneau et al. 2020): BERT with positions that start after the padding id.

use super::bert::{self, Numbering};
use super::{Family, heads};
use crate::Error;
use crate::config::{Activation, Architecture, Head, Length, Norm, Pooled, Transform};
use crate::config_file::ConfigFile;
use crate::load::{HeadNames, Names};

pub(super) const FAMILY: Family = Family {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert"],
    about: "RoBERTa, XLM-R, CamemBERT (Liu et al. 2019)",
    read,
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    heads::only_encoder(config)?;
    let stack = bert::encoder(config, Numbering::after_padding(config)?)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (head, head_names) = match heads::task(config)? {
        heads::Task::MaskedTokens => (heads::masked_tokens(config, &stack, Activation::Gelu, norm)?, LM_HEAD),
        heads::Task::Classes => (heads::pooled_classes(config, &stack)?, CLASSIFIER),
        heads::Task::None => (Head::None, HeadNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, head, Length::Any);
    Ok((architecture, Names { prefixes: &["roberta.", ""], head: head_names, ignored: IGNORED, ..bert::NAMES }))
}

/// The head of masked language models, which MPNet shares.
pub(super) const LM_HEAD: HeadNames = HeadNames {
    transform: "lm_head.dense",
    transform_norm: "lm_head.layer_norm",
    output: "lm_head.decoder.weight",
    bias: &["lm_head.bias", "lm_head.decoder.bias"],
    ..HeadNames::NONE
};

/// A dense layer and the classes, from the first position.
pub(super) const CLASSIFIER: HeadNames = HeadNames {
    transform: "classifier.dense",
    output: "classifier.out_proj.weight",
    bias: &["classifier.out_proj.bias"],
    ..HeadNames::NONE
};

/// Computed, stored twice, or of another task.
pub(super) const IGNORED: &[&str] =
    &["embeddings.position_ids", "lm_head.", "pooler.dense.weight", "pooler.dense.bias"];

/// A dense layer with another non-linearity than tanh, then one score per class, from the first position.
pub(super) fn classes(config: &ConfigFile, width: usize, activation: Activation) -> Result<Head, Error> {
    let transform = Transform { width, activation, norm: None, bias: true };
    Ok(Head::Classes { n: heads::n_classes(config)?, transform: Some(transform), pooled: Pooled::First })
}
