//! MPNet (Song et al. 2020): RoBERTa's encoder with T5's bucketed bias besides.

use super::bert::{self, Numbering};
use super::{Family, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Activation, Architecture, Directions, Length, Norm, PositionBias, Readout};
use crate::load::{AttentionNames, Names, ProjectionNames, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "mpnet",
    model_types: &["mpnet"],
    about: "MPNet (Song et al. 2020)",
    read,
    tested: &[("mpnet", "bucketed bias")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    // the models' own code counts 32 buckets up to distance 128 whatever the configuration says
    config.must_be("relative_attention_num_buckets", &32.into())?;
    let mut stack = bert::encoder(config, Numbering::after_padding(config)?)?;
    stack.embedding.n_token_types = 0;
    for block in &mut stack.blocks {
        block.attention.bias = PositionBias::Buckets { n_buckets: 32, max_distance: 128, directions: Directions::Both };
    }
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (readout, readout_names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, roberta::VOCABULARY)
        }
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, Length::Any);
    Ok((architecture, Names { readout: readout_names, ..NAMES }))
}

const NAMES: Names = Names {
    prefixes: &["mpnet.", ""],
    encoder: Some(StackNames {
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.attn.q",
                key: "attention.attn.k",
                value: "attention.attn.v",
            },
            output: "attention.attn.o",
            norm: "attention.LayerNorm",
            ..AttentionNames::NONE
        },
        relative_bias: "encoder.relative_attention_bias",
        ..bert::ENCODER
    }),
    ignored: roberta::IGNORED,
    ..bert::NAMES
};
