//! TrOCR (Li et al. 2023): a ViT or DeiT reads the picture of a line of text, a decoder like BART's writes it.

use super::{Family, bart, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Length, Output, Readout, SpecialIds, Stack};
use crate::load::{Layout, Names, ReadoutNames, StackNames, Superfluous};

pub(super) const FAMILY: Family = Family {
    name: "trocr",
    model_types: &["vision-encoder-decoder"],
    about: "TrOCR (Li et al. 2023)",
    read,
    tested: &[("trocr", "image to text, generation"), ("trocr-deit", "DeiT, scaled words without a norm, f16")],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let section = |name: &str| {
        config.section(name)?.ok_or_else(|| config.error(name, "is missing; it describes one of the two stacks"))
    };
    let (encoder, decoder) = (section("encoder")?, section("decoder")?);
    let leading = match encoder.text("model_type")?.unwrap_or_default() {
        "vit" => vec![vit::CLASS],
        "deit" => vec![vit::CLASS, vit::DISTILLATION],
        other => return Err(unknown(&encoder, other, "vit and deit")),
    };
    match decoder.text("model_type")?.unwrap_or_default() {
        "trocr" => {}
        other => return Err(unknown(&decoder, other, "trocr")),
    }
    decoder.must_be("use_learned_position_embeddings", &true.into())?;
    let n_tokens = decoder.size_or("vocab_size", 50_265)?;
    let seeing = vit::stack(&encoder, &leading)?;
    let writing = bart::captioner(&decoder, n_tokens)?;
    check_widths(&decoder, &seeing, &writing)?;
    let id = |field: &str| Ok::<_, Error>(config.id(field, n_tokens)?.or(decoder.id(field, n_tokens)?));
    let mut ends = config.ids("eos_token_id", n_tokens)?;
    if ends.is_empty() {
        ends = decoder.ids("eos_token_id", n_tokens)?;
    }
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(seeing),
        decoder: Some(writing),
        readout: Readout::Tokens {
            n_tokens,
            transform: None,
            bias: false,
            output: Output::OwnOrTied,
            scale: 1.0,
            softcap: None,
        },
        ids: SpecialIds {
            padding: id("pad_token_id")?,
            start: id("decoder_start_token_id")?.or(ends.first().copied()),
            ends,
            ..SpecialIds::default()
        },
        length: Length::Any,
    };
    Ok((architecture, NAMES))
}

fn unknown(config: &ConfigFile, model_type: &str, known: &str) -> Error {
    let message = format!("is \"{}\"; of such models attlas reads {known}", crate::error::brief(model_type));
    config.error("model_type", message)
}

/// Cross-attention reads the encoder's states as they are.
fn check_widths(decoder: &ConfigFile, seeing: &Stack, writing: &Stack) -> Result<(), Error> {
    let (width, d_model) = (seeing.d_model, writing.d_model);
    match decoder.size_or_none("cross_attention_hidden_size")? {
        Some(given) if given != width => {
            Err(decoder.error("cross_attention_hidden_size", format!("is {given}, but the encoder is {width} wide")))
        }
        None if width != d_model => {
            let message = format!(
                "is not there, and the encoder is {width} wide, the decoder {d_model}; attlas reads no projection between them"
            );
            Err(decoder.error("cross_attention_hidden_size", message))
        }
        _ => Ok(()),
    }
}

const NAMES: Names = Names {
    prefixes: &[""],
    encoder: Some(StackNames {
        projections: &["encoder.embeddings.patch_embeddings.projection"],
        leading: &["encoder.embeddings.cls_token", "encoder.embeddings.distillation_token"],
        positions: "encoder.embeddings.position_embeddings",
        layer: "encoder.encoder.layer.{}.",
        final_norm: "encoder.layernorm",
        ..vit::ENCODER
    }),
    decoder: Some(StackNames {
        tokens: &["decoder.model.decoder.embed_tokens.weight"],
        positions: "decoder.model.decoder.embed_positions.weight",
        embedding_norm: "decoder.model.decoder.layernorm_embedding",
        layer: "decoder.model.decoder.layers.{}.",
        ..bart::DECODER
    }),
    readout: ReadoutNames { output: "decoder.output_projection.weight", ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    ignored: &[
        "encoder.pooler.dense.weight",
        "encoder.pooler.dense.bias",
        "encoder.embeddings.mask_token",
        "embed_positions._float_tensor",
    ],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
