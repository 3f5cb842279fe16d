//! EuroBERT (Boizard et al. 2025): Llama's block as an encoder.

use attlas::Visibility;

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Length, Output, Pooled, Readout, Transform};
use crate::load::{Names, ReadoutNames};

pub(super) const FAMILY: Family = Family {
    name: "eurobert",
    model_types: &["eurobert"],
    about: "EuroBERT (Boizard et al. 2025)",
    read,
    tested: &[("eurobert", "groups of 2, masked LM"), ("eurobert-classifier", "classifier; older configuration, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &config.defaulting(&[("rms_norm_eps", 1e-5)]);
    config.assume("max_position_embeddings", 8192);
    let biases = llama::biases(config)?;
    let stack = llama::stack(config, biases, |_, block| {
        block.attention.visibility = Visibility::FULL;
        Ok(())
    })?;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (
            Readout::Tokens {
                n_tokens: stack.embedding.n_tokens,
                transform: None,
                bias: config.flag_or("mlp_bias", false)?,
                output: if config.flag_or("tie_word_embeddings", false)? { Output::Tied } else { Output::Own },
                scale: 1.0,
                softcap: None,
            },
            ReadoutNames { output: "lm_head.weight", bias: &["lm_head.bias"], ..ReadoutNames::NONE },
        ),
        readouts::Task::Classes => (
            classes(config, stack.d_model)?,
            ReadoutNames {
                transform: "dense",
                output: "classifier.weight",
                bias: &["classifier.bias"],
                ..ReadoutNames::NONE
            },
        ),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let length = Length::Noted(llama::max_positions(config)?);
    let architecture = Architecture::encoder(padding, stack, readout, length);
    Ok((architecture, Names { encoder: llama::NAMES.decoder, decoder: None, readout: names, ..llama::NAMES }))
}

/// A dense layer and the classes, from the first position.
fn classes(config: &ConfigFile, width: usize) -> Result<Readout, Error> {
    // the hub's first files have the older name
    let field = if config.has("clf_pooling") { "clf_pooling" } else { "classifier_pooling" };
    match config.text_or(field, "late")? {
        "bos" => {}
        other => {
            let problem = format!("is \"{other}\"; attlas reads classes off the first position alone (\"bos\")");
            return Err(config.error(field, problem));
        }
    }
    let transform = Transform { width, activation: Activation::Gelu, norm: None, bias: true };
    Ok(Readout::Classes { n: readouts::n_classes(config)?, transform: Some(transform), pooled: Pooled::First })
}
