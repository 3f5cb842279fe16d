//! ELECTRA (Clark et al. 2020): BERT with narrow embeddings; the discriminator scores each token, the generator the
//! vocabulary.

use super::bert::{self, Numbering};
use super::{Family, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Length, Norm, Readout, Transform};
use crate::load::{Names, ReadoutNames};

pub(super) const FAMILY: Family = Family {
    name: "electra",
    model_types: &["electra"],
    about: "ELECTRA (Clark et al. 2020)",
    read,
    tested: &[("electra", "discriminator"), ("electra-generator", "generator")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    let mut stack = bert::encoder(config, Numbering::FROM_ZERO)?;
    stack.embedding.width = config.size_or("embedding_size", 128)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let names = config.texts("architectures")?.unwrap_or_default();
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens if names.iter().any(|name| name.contains("ForPreTraining")) => {
            (discriminator(stack.d_model, config.activation_or("hidden_act", "gelu")?), DISCRIMINATOR)
        }
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, GENERATOR),
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, Activation::Gelu)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, Length::Any);
    let ignored = &["embeddings.position_ids", "generator_", "discriminator_"];
    Ok((architecture, Names { prefixes: &["electra.", ""], readout: readout_names, ignored, ..bert::NAMES }))
}

/// One score per token: above 0 says that it was replaced.
fn discriminator(width: usize, activation: Activation) -> Readout {
    Readout::Positions { transform: Some(Transform { width, activation, norm: None, bias: true }) }
}

const DISCRIMINATOR: ReadoutNames = ReadoutNames {
    transform: "discriminator_predictions.dense",
    output: "discriminator_predictions.dense_prediction.weight",
    bias: &["discriminator_predictions.dense_prediction.bias"],
    ..ReadoutNames::NONE
};

const GENERATOR: ReadoutNames = ReadoutNames {
    transform: "generator_predictions.dense",
    transform_norm: "generator_predictions.LayerNorm",
    output: "generator_lm_head.weight",
    bias: &["generator_lm_head.bias"],
    ..ReadoutNames::NONE
};
