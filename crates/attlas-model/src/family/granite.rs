//! Granite (Granite Team 2024): Llama with four factors: on embeddings, on scores, on what sublayers add, and on logits.

use super::{Family, llama, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Block};
use crate::load::Names;

pub(super) const FAMILY: Family = Family {
    name: "granite",
    model_types: &["granite"],
    about: "Granite 3 and 4, dense (Granite Team 2024)",
    read,
    tested: &[("granite", "factors on embeddings, scores, sublayers, logits"), ("granite-tied", "biases, tied, bf16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    decoder(config, |_, _| Ok(())).map(|architecture| (architecture, llama::NAMES))
}

/// Granite's decoder; `change` sees each block with its index.
pub(super) fn decoder(
    config: &ConfigFile,
    change: impl Fn(usize, &mut Block) -> Result<(), Error>,
) -> Result<Architecture, Error> {
    let biases = llama::biases(config)?;
    let score_factor = config.positive_or("attention_multiplier", 1.0)? as f32;
    let residual_factor = config.positive_or("residual_multiplier", 1.0)? as f32;
    let mut architecture = llama::decoder(config, biases, |layer, block| {
        block.attention.scale = score_factor;
        block.residual_factor = residual_factor;
        change(layer, block)
    })?;
    if let Some(stack) = &mut architecture.decoder {
        stack.embedding.scale = config.positive_or("embedding_multiplier", 1.0)? as f32;
    }
    readouts::scale_logits(&mut architecture.readout, 1.0 / config.positive_or("logits_scaling", 1.0)?);
    Ok(architecture)
}
