//! BERT and RoBERTa with the norm before each sublayer and after the last: Megatron-BERT and GatorTron (Shoeybi et al. 2019), XLM-R XL
//! (Goyal et al. 2021), RoBERTa-PreLayerNorm (Wettig et al. 2023).

use super::bert::{self, Numbering};
use super::{Family, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Length, Norm, Readout, Residual, Stack};
use crate::load::{AttentionNames, FeedForwardNames, Names, ReadoutNames, StackNames};

pub(super) const MEGATRON: Family = Family {
    name: "megatron-bert",
    model_types: &["megatron-bert"],
    about: "Megatron-BERT, GatorTron (Shoeybi et al. 2019)",
    read: megatron,
    tested: &[("megatron-bert", "pre-norm, segments, masked LM")],
    texts: &[],
};

pub(super) const XLM_R_XL: Family = Family {
    name: "xlm-roberta-xl",
    model_types: &["xlm-roberta-xl"],
    about: "XLM-R XL and XXL (Goyal et al. 2021)",
    read: |config| robertas(config, Of::XlmRXl),
    tested: &[("xlm-roberta-xl", "pre-norm, masked LM; f16")],
    texts: &[],
};

pub(super) const PRE_LAYER_NORM: Family = Family {
    name: "roberta-prelayernorm",
    model_types: &["roberta-prelayernorm"],
    about: "RoBERTa-PreLayerNorm (Wettig et al. 2023)",
    read: |config| robertas(config, Of::PreLayerNorm),
    tested: &[("roberta-prelayernorm", "pre-norm, embedding norm, classifier")],
    texts: &[],
};

/// Which of the two that count positions as RoBERTa does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    XlmRXl,
    PreLayerNorm,
}

/// BERT's encoder with its norms before the sublayers.
fn encoder(config: &ConfigFile, numbering: Numbering, norm: Norm) -> Result<Stack, Error> {
    let mut stack = bert::encoder(config, numbering)?;
    for block in &mut stack.blocks {
        (block.residual, block.norm, block.attention_norm) = (Residual::Pre, norm, Some(norm));
    }
    stack.final_norm = Some(norm);
    Ok(stack)
}

fn megatron(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let mut stack = encoder(config, Numbering::FROM_ZERO, norm)?;
    stack.embedding.norm = None;
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (
            readouts::masked_tokens(config, &stack, config.activation_or("hidden_act", "gelu")?, norm)?,
            bert::VOCABULARY,
        ),
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, bert::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let names = StackNames {
        attention: AttentionNames { norm: "attention.ln", ..bert::ENCODER.attention },
        feed_forward: FeedForwardNames { norm: "ln", ..bert::ENCODER.feed_forward },
        final_norm: "encoder.ln",
        ..bert::ENCODER
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let architecture = Architecture::encoder(padding, stack, readout, Length::Any);
    Ok((architecture, Names { encoder: Some(names), readout: readout_names, ..bert::NAMES }))
}

fn robertas(config: &ConfigFile, of: Of) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    let epsilon = if of == Of::XlmRXl { 1e-5 } else { 1e-12 };
    let norm = Norm::layer(config.positive_or("layer_norm_eps", epsilon)? as f32);
    let mut stack = encoder(config, Numbering::after_padding(config)?, norm)?;
    stack.embedding.norm = (of == Of::PreLayerNorm).then_some(norm);
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, roberta::VOCABULARY)
        }
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, Activation::Tanh)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let (prefixes, attention, feed_forward, last): (&'static [&'static str], _, _, _) = match of {
        Of::XlmRXl => (&["roberta.", ""], "attention.self_attn_layer_norm", "LayerNorm", "encoder.LayerNorm"),
        Of::PreLayerNorm => {
            (&["roberta_prelayernorm.", ""], "attention.LayerNorm", "intermediate.LayerNorm", "LayerNorm")
        }
    };
    let names = StackNames {
        attention: AttentionNames { norm: attention, ..bert::ENCODER.attention },
        feed_forward: FeedForwardNames { norm: feed_forward, ..bert::ENCODER.feed_forward },
        final_norm: last,
        ..bert::ENCODER
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let architecture = Architecture::encoder(padding, stack, readout, Length::Any);
    let ignored = roberta::IGNORED;
    Ok((architecture, Names { prefixes, encoder: Some(names), readout: readout_names, ignored, ..bert::NAMES }))
}
