//! Whisper (Radford et al. 2022): a BART-like encoder-decoder, pre-norm, whose encoder reads a log-mel spectrogram of 30
//! seconds through two convolutions.

use attlas::Visibility;

use super::{Family, bart, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Biases, Block, Embedding, FeedForward, Frames, Length, Norm, Positions, Readout, Reads,
    Residual, SpecialIds, Stack,
};
use crate::load::{Layout, Names, ReadoutNames, StackNames, Superfluous};

pub(super) const FAMILY: Family = Family {
    name: "whisper",
    model_types: &["whisper"],
    about: "Whisper (Radford et al. 2022)",
    read,
    tested: &[
        ("whisper", "spectrogram through convolutions, generation"),
        ("whisper-multilingual", "language heard, tags, suppressed tokens, f16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let n_tokens = config.size("vocab_size")?;
    config.must_be("scale_embedding", &false.into())?;
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(encoder(config)?),
        decoder: Some(decoder(config, n_tokens)?),
        readout: if readouts::has_language_readout(config)? {
            Readout::Tokens {
                n_tokens,
                transform: None,
                bias: false,
                output: readouts::output(config, readouts::Tied::Yes)?,
                scale: 1.0,
                softcap: None,
            }
        } else {
            Readout::None
        },
        ids: SpecialIds {
            padding: config.id("pad_token_id", n_tokens)?,
            start: config.id("decoder_start_token_id", n_tokens)?,
            ends: config.ids("eos_token_id", n_tokens)?,
            suppressed: config.ids("suppress_tokens", n_tokens)?,
            suppressed_first: config.ids("begin_suppress_tokens", n_tokens)?,
            ..SpecialIds::default()
        },
        length: Length::Any,
    };
    Ok((architecture, NAMES))
}

fn encoder(config: &ConfigFile) -> Result<Stack, Error> {
    let d_model = config.size_or("d_model", 384)?;
    let n_positions = config.size_or("max_source_positions", 1500)?;
    let n_mels = config.size_or("num_mel_bins", 80)?;
    if n_positions > MAX_POSITIONS || n_mels > MAX_MELS {
        return Err(config.error(
            "max_source_positions",
            format!("is {n_positions} with {n_mels} mels; attlas reads up to {MAX_POSITIONS} and {MAX_MELS}"),
        ));
    }
    let embedding = Embedding {
        reads: Reads::Frames(Frames { n_mels, n_positions, rate: 16_000, hop: 160, n_fft: 400 }),
        positions: Positions::learned(n_positions),
        ..Embedding::new(0, d_model)
    };
    stack(config, embedding, "encoder", Visibility::FULL)
}

fn decoder(config: &ConfigFile, n_tokens: usize) -> Result<Stack, Error> {
    let d_model = config.size_or("d_model", 384)?;
    let n_rows = config.size_or("max_target_positions", 448)?;
    let positions = Positions::learned(n_rows);
    let embedding = Embedding { positions, ..Embedding::new(n_tokens, d_model) };
    stack(config, embedding, "decoder", Visibility::CAUSAL)
}

fn stack(config: &ConfigFile, embedding: Embedding, side: &str, visibility: Visibility) -> Result<Stack, Error> {
    let field = |name: &str| format!("{side}_{name}");
    let d_model = embedding.width;
    let n_heads = config.size_or(&field("attention_heads"), 6)?;
    let d_head = config.head_width(&field("attention_heads"), n_heads, "d_model", d_model)?;
    let attention = |visibility| Attention {
        biases: Biases { key: false, ..Biases::ALL },
        ..Attention::plain(n_heads, d_head, visibility)
    };
    let d_hidden = config.size_or(&field("ffn_dim"), 4 * d_model)?;
    let norm = Norm::layer(1e-5);
    let block = Block {
        cross: (side == "decoder").then(|| attention(Visibility::FULL)),
        ..Block::new(
            attention(visibility),
            FeedForward::plain(d_hidden, config.activation_or("activation_function", "gelu")?),
            norm,
            Residual::Pre,
        )
    };
    let blocks = vec![block; config.layers_or(&field("layers"), 4)?];
    Ok(Stack::pre_norm(norm, d_model, embedding, blocks))
}

/// Sizes of a spectrogram that are believed.
const MAX_POSITIONS: usize = 30_000;
const MAX_MELS: usize = 1024;

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    encoder: Some(StackNames { tokens: &[], projections: &["encoder.conv1", "encoder.conv2"], ..bart::ENCODER }),
    decoder: Some(StackNames { tokens: &["decoder.embed_tokens.weight"], ..bart::DECODER }),
    readout: ReadoutNames { output: "proj_out.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
