//! ESM C (ESM Team 2024): a pre-norm encoder of proteins with a gated feed-forward, rotary positions, and norms on queries and keys.

use attlas::Visibility;

use super::{Family, TextRules, VocabularyRule, llama, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Length, Norm, NormKind, Output, QkNorm, QkScope, Readout, Transform};
use crate::load::{Names, ReadoutNames};

pub(super) const FAMILY: Family = Family {
    name: "esmc",
    model_types: &["esmc"],
    about: "ESM C (ESM Team 2024)",
    read,
    tested: &[("esmc", "q/k norms, scaled sublayers, masked LM"), ("esmc-classifier", "biases, classifier, bf16")],
    texts: &[TextRules {
        model_types: &["esmc"],
        classes: &["EsmcTokenizer"],
        vocabulary: VocabularyRule::Whole,
        ..TextRules::PLAIN
    }],
};

/// What is added to the variance in all norms.
const EPSILON: f32 = 1e-5;
/// Layers of the model whose sublayers are added as they are; those of others are scaled to add as much.
const USUAL_DEPTH: f32 = 36.0;

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let norm = Norm::layer(EPSILON);
    let without_bias = Norm { kind: NormKind::LayerWithoutBias, epsilon: EPSILON };
    let n_layers = config.layers_or("num_hidden_layers", 80)?;
    let mut stack = llama::stack(config, llama::biases(config)?, |_, block| {
        block.attention.visibility = Visibility::FULL;
        block.attention.qk_norm = Some(QkNorm { norm: without_bias, scope: QkScope::All });
        (block.norm, block.attention_norm) = (norm, Some(norm));
        block.residual_factor = (USUAL_DEPTH / n_layers as f32).sqrt();
        Ok(())
    })?;
    stack.final_norm = Some(without_bias);
    let width = stack.d_model;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (
            Readout::Tokens {
                n_tokens: stack.embedding.n_tokens,
                transform: Some(Transform { width, activation: Activation::Gelu, norm: Some(norm), bias: true }),
                bias: true,
                output: Output::Own,
                scale: 1.0,
                softcap: None,
            },
            ReadoutNames { bias: &["lm_head.decoder.bias"], ..roberta::VOCABULARY },
        ),
        readouts::Task::Classes => (roberta::classes(config, width, Activation::Tanh)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let length = Length::Noted(llama::max_positions(config)?);
    let architecture = Architecture::encoder(padding, stack, readout, length);
    let prefixes = &["esmc.", ""];
    Ok((architecture, Names { prefixes, encoder: llama::NAMES.decoder, decoder: None, readout: names, ..llama::NAMES }))
}
