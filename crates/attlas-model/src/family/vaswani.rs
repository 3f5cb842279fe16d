//! The encoder-decoder of Vaswani et al. (2017), as its usual PyTorch class saves it: post-norm, sinusoidal positions,
//! ReLU, one `in_proj` matrix per attention. `tools/reference/vaswani.py` has the class.

use attlas::Visibility;

use super::Family;
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Arrangement, AtPadding, Attention, Block, Embedding, FeedForward, Length, Norm, Output,
    Positions, Readout, Residual, SpecialIds, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

/// The source design: the encoder-decoder of Vaswani et al. (2017), which `attlas-train` trains.
pub const FAMILY: Family = Family {
    name: "vaswani",
    model_types: &["vaswani"],
    about: "the original encoder-decoder (Vaswani et al. 2017)",
    read,
    tested: &[],
    texts: &[],
};

/// Whether a configuration without `model_type` can only be this family's.
pub(super) fn is_meant(config: &ConfigFile) -> bool {
    ["src_vocab", "tgt_vocab"].iter().all(|field| config.has(field))
}

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let source_vocabulary = config.size("src_vocab")?;
    let target_vocabulary = config.size("tgt_vocab")?;
    config.must_be("post_norm", &true.into())?;
    let d_model = config.size_or("d_model", 512)?;
    let n_heads = config.size_or("num_heads", 8)?;
    let d_head = config.head_width("num_heads", n_heads, "d_model", d_model)?;
    let d_hidden = config.size_or("d_ff", 2048)?;
    let n_layers = config.layers_or("num_layers", 6)?;
    config.number_or("dropout", 0.1)?;
    let stack = |n_tokens: usize, attention: Visibility, cross: Option<Attention>| {
        Stack::new(
            d_model,
            Embedding {
                scale: (d_model as f64).sqrt() as f32,
                positions: Positions::Sinusoidal {
                    arrangement: Arrangement::Interleaved,
                    offset: 0,
                    at_padding: AtPadding::Position,
                },
                ..Embedding::new(n_tokens, d_model)
            },
            vec![
                Block {
                    cross,
                    ..Block::new(
                        Attention::plain(n_heads, d_head, attention),
                        FeedForward::plain(d_hidden, Activation::Relu),
                        Norm::layer(1e-5),
                        Residual::Post
                    )
                };
                n_layers
            ],
        )
    };
    let cross = Attention::plain(n_heads, d_head, Visibility::FULL);
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(stack(source_vocabulary, Visibility::FULL, None)),
        decoder: Some(stack(target_vocabulary, Visibility::CAUSAL, Some(cross))),
        readout: Readout::Tokens {
            n_tokens: target_vocabulary,
            transform: None,
            bias: true,
            output: Output::OwnOrTied,
            scale: 1.0,
            softcap: None,
        },
        ids: SpecialIds {
            padding: config.id("pad", source_vocabulary.min(target_vocabulary))?,
            start: config.id("bos", target_vocabulary)?,
            ends: config.ids("eos", target_vocabulary)?,
            source_end: config.id("eos", source_vocabulary)?,
            ..SpecialIds::default()
        },
        length: Length::Refused(config.size_or("max_len", 5000)?),
    };
    Ok((architecture, NAMES))
}

const fn attention(projections: &'static str, output: &'static str, norm: &'static str) -> AttentionNames {
    AttentionNames { projections: ProjectionNames::Joint(projections), output, norm, ..AttentionNames::NONE }
}

const NAMES: Names = Names {
    prefixes: &[""],
    encoder: Some(StackNames {
        tokens: &["src_embed.weight"],
        positions: "pe",
        layer: "encoder_layers.{}.",
        attention: attention("self_attn.mha.in_proj_*", "self_attn.mha.out_proj", "self_attn.norm"),
        feed_forward: FEED_FORWARD,
        ..StackNames::NONE
    }),
    decoder: Some(StackNames {
        // one table for all three when they are tied
        tokens: &["tgt_embed.weight", "src_embed.weight"],
        positions: "pe",
        layer: "decoder_layers.{}.",
        attention: attention("self_attn.mha.in_proj_*", "self_attn.mha.out_proj", "self_attn.norm"),
        cross: attention("cross_attn.mha.in_proj_*", "cross_attn.mha.out_proj", "cross_attn.norm"),
        feed_forward: FEED_FORWARD,
        ..StackNames::NONE
    }),
    readout: ReadoutNames { output: "output_proj.weight", bias: &["output_proj.bias"], ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &["pe"],
    further_layers: 0,
    superfluous: Superfluous::Refused,
};

const FEED_FORWARD: FeedForwardNames =
    FeedForwardNames { up: "ffn.ffn.0", down: "ffn.ffn.3", norm: "ffn.norm", ..FeedForwardNames::NONE };
