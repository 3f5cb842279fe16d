//! MPNet (Song et al. 2020): RoBERTa's encoder with T5's bucketed bias besides.

use super::bert::{self, Numbering};
use super::{Family, heads, roberta};
use crate::Error;
use crate::config::{Activation, Architecture, Directions, Head, Length, Norm, PositionBias};
use crate::config_file::ConfigFile;
use crate::load::{AttentionNames, HeadNames, Names, ProjectionNames, StackNames};

pub(super) const FAMILY: Family =
    Family { name: "mpnet", model_types: &["mpnet"], about: "MPNet (Song et al. 2020)", read };

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    // the models' own code counts 32 buckets up to distance 128 whatever the configuration says
    config.must_be("relative_attention_num_buckets", &32.into())?;
    let mut stack = bert::encoder(config, Numbering::after_padding(config)?)?;
    stack.embedding.n_token_types = 0;
    for block in &mut stack.blocks {
        block.attention.bias = PositionBias::Buckets { n_buckets: 32, max_distance: 128, directions: Directions::Both };
    }
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-12)? as f32);
    let (head, head_names) = match heads::task(config)? {
        heads::Task::MaskedTokens => (heads::masked_tokens(config, &stack, Activation::Gelu, norm)?, roberta::LM_HEAD),
        heads::Task::Classes => (heads::pooled_classes(config, &stack)?, roberta::CLASSIFIER),
        heads::Task::None => (Head::None, HeadNames::NONE),
    };
    let architecture =
        Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, head, Length::Any);
    Ok((architecture, Names { head: head_names, ..NAMES }))
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
