//! RoFormer (Su et al. 2021): BERT whose queries and keys are turned by their positions, neighbouring columns together.

use super::bert::{self, Numbering};
use super::rotary::{self, RopePlace};
use super::{Family, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Length, Norm, Positions, Readout};
use crate::load::{Names, ReadoutNames};

pub(super) const FAMILY: Family = Family {
    name: "roformer",
    model_types: &["roformer"],
    about: "RoFormer (Su et al. 2021)",
    read,
    tested: &[
        ("roformer", "interleaved RoPE, narrow embedding, masked LM"),
        ("roformer-classifier", "classifier, f16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    readouts::only_encoder(config)?;
    config.must_be("rotary_value", &false.into())?;
    let mut stack = bert::encoder(config, Numbering::FROM_ZERO)?;
    let max_positions = config.size_or("max_position_embeddings", 1536)?;
    stack.embedding.positions = Positions::None;
    for block in &mut stack.blocks {
        let d_head = block.attention.d_head;
        let place = RopePlace { d_head, max_positions, default_share: 1.0, default_base: 10_000.0 };
        block.attention.rotary = rotary::read_neighbours(config, place)?;
    }
    let activation = config.activation_or("hidden_act", "gelu")?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, activation, norm)?, bert::VOCABULARY),
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, activation)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let architecture = Architecture::encoder(padding, stack, readout, Length::Noted(max_positions));
    let names = Names { prefixes: &["roformer.", ""], readout: names, ignored: IGNORED, ..bert::NAMES };
    Ok((architecture, names))
}

/// The sines and cosines, which are computed, and what other tasks read.
const IGNORED: &[&str] = &["encoder.embed_positions.weight", "cls."];
