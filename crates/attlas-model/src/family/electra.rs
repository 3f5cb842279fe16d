//! ELECTRA (Clark et al. 2020): BERT with narrow embeddings; the discriminator scores each token, the generator the
//! vocabulary.

use super::bert::{self, Numbering};
use super::{Family, heads, roberta};
use crate::Error;
use crate::config::{Activation, Architecture, Head, Length, Norm, Transform};
use crate::config_file::ConfigFile;
use crate::load::{HeadNames, Names};

pub(super) const FAMILY: Family =
    Family { name: "electra", model_types: &["electra"], about: "ELECTRA (Clark et al. 2020)", read };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    heads::only_encoder(config)?;
    let mut stack = bert::encoder(config, Numbering::FROM_ZERO)?;
    stack.embedding.width = config.size_or("embedding_size", 128)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let names = config.texts("architectures")?.unwrap_or_default();
    let (head, head_names) = match heads::task(config)? {
        heads::Task::MaskedTokens if names.iter().any(|name| name.contains("ForPreTraining")) => {
            (discriminator(stack.d_model, config.activation_or("hidden_act", "gelu")?), DISCRIMINATOR)
        }
        heads::Task::MaskedTokens => (heads::masked_tokens(config, &stack, Activation::Gelu, norm)?, GENERATOR),
        heads::Task::Classes => (roberta::classes(config, stack.d_model, Activation::Gelu)?, roberta::CLASSIFIER),
        heads::Task::None => (Head::None, HeadNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, head, Length::Any);
    let ignored = &["embeddings.position_ids", "generator_", "discriminator_"];
    Ok((architecture, Names { prefixes: &["electra.", ""], head: head_names, ignored, ..bert::NAMES }))
}

/// One score per token: above 0 says that it was replaced.
fn discriminator(width: usize, activation: Activation) -> Head {
    Head::Positions { transform: Some(Transform { width, activation, norm: None, bias: true }) }
}

const DISCRIMINATOR: HeadNames = HeadNames {
    transform: "discriminator_predictions.dense",
    output: "discriminator_predictions.dense_prediction.weight",
    bias: &["discriminator_predictions.dense_prediction.bias"],
    ..HeadNames::NONE
};

const GENERATOR: HeadNames = HeadNames {
    transform: "generator_predictions.dense",
    transform_norm: "generator_predictions.LayerNorm",
    output: "generator_lm_head.weight",
    bias: &["generator_lm_head.bias"],
    ..HeadNames::NONE
};
