//! RoBERTa and XLM-R (Liu et al. 2019; Conneau et al. 2020): BERT with positions that start after the padding id.

use super::bert::{self, Numbering};
use super::{Family, PieceRule, TextRules, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Length, Norm, Pooled, Readout, Transform};
use crate::load::{Names, ReadoutNames};

pub(super) const FAMILY: Family = Family {
    name: "roberta",
    model_types: &["roberta", "xlm-roberta", "camembert", "data2vec-text"],
    about: "RoBERTa, XLM-R, CamemBERT, data2vec (Liu et al. 2019)",
    read,
    tested: &[("roberta", "masked LM"), ("xlm-roberta", "bf16"), ("data2vec-text", "classifier")],
    texts: &[FAIRSEQ_TEXT, UNREAD_TEXT],
};

const FAIRSEQ_TEXT: TextRules = TextRules {
    model_types: &["xlm-roberta", "xlm-roberta-xl"],
    classes: &["XLMRobertaTokenizer"],
    pieces: PieceRule::Arranged(|pieces, model, _| {
        pieces.number_as_fairseq(model, ["<mask>"].into_iter());
        pieces.surround(&["<s>"], &["</s>", "</s>"], &["</s>"]);
        pieces.cut_at_space = true;
    }),
    ..TextRules::PLAIN
};

const UNREAD_TEXT: TextRules = TextRules {
    model_types: &["camembert"],
    classes: &["CamembertTokenizer"],
    pieces: PieceRule::Unread,
    ..TextRules::PLAIN
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    let stack = bert::encoder(config, Numbering::after_padding(config)?)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, VOCABULARY),
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, Length::Any);
    Ok((
        architecture,
        Names {
            prefixes: &["roberta.", "data2vec_text.", ""],
            readout: readout_names,
            ignored: IGNORED,
            ..bert::NAMES
        },
    ))
}

/// The readout of masked language models, which MPNet shares.
pub(super) const VOCABULARY: ReadoutNames = ReadoutNames {
    transform: "lm_head.dense",
    transform_norm: "lm_head.layer_norm",
    output: "lm_head.decoder.weight",
    bias: &["lm_head.bias", "lm_head.decoder.bias"],
    ..ReadoutNames::NONE
};

/// A dense layer and the classes, from the first position.
pub(super) const CLASSIFIER: ReadoutNames = ReadoutNames {
    transform: "classifier.dense",
    output: "classifier.out_proj.weight",
    bias: &["classifier.out_proj.bias"],
    ..ReadoutNames::NONE
};

/// Computed, stored twice, or of another task.
pub(super) const IGNORED: &[&str] =
    &["embeddings.position_ids", "lm_head.", "pooler.dense.weight", "pooler.dense.bias"];

/// A dense layer with another non-linearity than tanh, then one score per class, from the first position.
pub(super) fn classes(config: &ConfigFile, width: usize, activation: Activation) -> Result<Readout, Error> {
    let transform = Transform { width, activation, norm: None, bias: true };
    Ok(Readout::Classes { n: readouts::n_classes(config)?, transform: Some(transform), pooled: Pooled::First })
}
