//! RoFormer (Su et al. 2021): BERT whose queries and keys are turned by their positions, neighbouring columns together. The sines
//! and cosines are a table with a row for each position, which files may hold.

use super::bert::{self, Numbering};
use super::{Family, readouts, roberta, rotary};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Frequencies, Length, Norm, Pairs, Positions, Readout, Rotary};
use crate::load::{Names, ReadoutNames, StackNames};

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
    config.assume("max_position_embeddings", 1536);
    let mut stack = bert::encoder(config, Numbering::FROM_ZERO)?;
    let n_positions = config.size("max_position_embeddings")?;
    stack.embedding.positions = Positions::None;
    for block in &mut stack.blocks {
        block.attention.rotary = Some(Rotary {
            first_column: 0,
            n_columns: rotary::columns(config, None, block.attention.d_head, 1.0)?,
            pairs: Pairs::Neighbours,
            frequencies: Frequencies::Table { n_positions, stored: None },
            sections: None,
        });
    }
    let activation = config.activation_or("hidden_act", "gelu")?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, activation, norm)?, bert::VOCABULARY),
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, activation)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let padding = config.id("pad_token_id", stack.embedding.n_tokens)?;
    let architecture = Architecture::encoder(padding, stack, readout, Length::Refused(n_positions));
    let encoder = Some(StackNames { frequencies: &["encoder.embed_positions.weight"], ..bert::ENCODER });
    let names = Names { prefixes: &["roformer.", ""], encoder, readout: names, ignored: &["cls."], ..bert::NAMES };
    Ok((architecture, names))
}
