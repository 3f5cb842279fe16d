//! BART (Lewis et al. 2020) and the encoder-decoders built like it: mBART, Marian, Pegasus, M2M100 and NLLB.

use attlas::Visibility;

use super::{Family, bart_text, readouts};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Arrangement, AtPadding, Attention, Block, Embedding, FeedForward, Length, Norm, Positions, Readout,
    Residual, SpecialIds, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const BART: Family = Family {
    name: "bart",
    model_types: &["bart"],
    about: "BART (Lewis et al. 2020)",
    read: |config| read(config, BART_STYLE),
    tested: &[("bart", "post-norm, learnt positions")],
    texts: &[],
};

pub(super) const MBART: Family = Family {
    name: "mbart",
    model_types: &["mbart"],
    about: "mBART (Liu et al. 2020)",
    read: |config| read(config, Style { residual: Residual::Pre, final_norm: true, ..BART_STYLE }),
    tested: &[("mbart", "pre-norm, f16")],
    texts: &[bart_text::MBART],
};

pub(super) const MARIAN: Family = Family {
    name: "marian",
    model_types: &["marian"],
    about: "Marian, opus-mt (Junczys-Dowmunt et al. 2018)",
    read: |config| read(config, Style { table: Table::Halves, embedding_norm: false, ..BART_STYLE }),
    tested: &[("marian", "sinusoidal positions, shards")],
    texts: &[bart_text::MARIAN],
};

pub(super) const PEGASUS: Family = Family {
    name: "pegasus",
    model_types: &["pegasus"],
    about: "Pegasus (Zhang et al. 2020)",
    read: |config| read(config, PEGASUS_STYLE),
    tested: &[("pegasus", "sinusoidal positions, pre-norm")],
    texts: &[bart_text::PEGASUS],
};

pub(super) const M2M100: Family = Family {
    name: "m2m_100",
    model_types: &["m2m_100"],
    about: "M2M100, NLLB (Fan et al. 2020; NLLB Team 2022)",
    read: |config| read(config, Style { table: Table::HalvesAfterPadding, output_bias: false, ..PEGASUS_STYLE }),
    tested: &[("m2m-100", "sinusoidal positions after padding, bf16")],
    texts: &[bart_text::M2M100],
};

/// In what these families differ.
#[derive(Clone, Copy)]
struct Style {
    table: Table,
    residual: Residual,
    embedding_norm: bool,
    final_norm: bool,
    output_bias: bool,
    /// Positions where the configuration does not say how many.
    n_positions: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Learnt, two rows before position 0.
    Learned,
    /// Sines, then cosines.
    Halves,
    /// The same as tensor2tensor counts, after the padding id.
    HalvesAfterPadding,
}

const BART_STYLE: Style = Style {
    table: Table::Learned,
    residual: Residual::Post,
    embedding_norm: true,
    final_norm: false,
    output_bias: true,
    n_positions: 1024,
};

const PEGASUS_STYLE: Style = Style {
    table: Table::Halves,
    residual: Residual::Pre,
    embedding_norm: false,
    final_norm: true,
    output_bias: true,
    n_positions: 1024,
};

fn read(config: &ConfigFile, style: Style) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("d_model", 1024)?;
    let n_tokens = config.size("vocab_size")?;
    let n_target_tokens = config.size_or("decoder_vocab_size", n_tokens)?;
    let encoder = stack(config, style, Side { name: "encoder", n_tokens, cross: false, d_model })?;
    let decoder = stack(config, style, Side { name: "decoder", n_tokens: n_target_tokens, cross: true, d_model })?;
    let padding = config.id("pad_token_id", n_tokens)?;
    let ends = config.ids("eos_token_id", n_target_tokens)?;
    let shared = config.flag_or("share_encoder_decoder_embeddings", true)?;
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(encoder),
        decoder: Some(decoder),
        readout: if readouts::has_language_readout(config)? {
            Readout::Tokens {
                n_tokens: n_target_tokens,
                transform: None,
                bias: style.output_bias,
                output: readouts::output(config, readouts::Tied::Yes)?,
                scale: 1.0,
                softcap: None,
            }
        } else {
            Readout::None
        },
        ids: SpecialIds {
            padding,
            start: config.id("decoder_start_token_id", n_target_tokens)?.or(ends.first().copied()),
            ends,
            forced_start: config.id("forced_bos_token_id", n_target_tokens)?,
            forced_end: config.id("forced_eos_token_id", n_target_tokens)?,
            ..SpecialIds::default()
        },
        length: match style.table {
            Table::Learned => Length::Any,
            _ => Length::Noted(config.size_or("max_position_embeddings", 1024)?),
        },
    };
    Ok((architecture, if shared { NAMES } else { apart() }))
}

/// The decoder of a model whose encoder is none of these (TrOCR).
pub(super) fn captioner(config: &ConfigFile, n_tokens: usize) -> Result<Stack, Error> {
    let style = Style { embedding_norm: config.flag_or("layernorm_embedding", true)?, n_positions: 512, ..BART_STYLE };
    let d_model = config.size_or("d_model", 1024)?;
    stack(config, style, Side { name: "decoder", n_tokens, cross: true, d_model })
}

struct Side {
    name: &'static str,
    n_tokens: usize,
    cross: bool,
    d_model: usize,
}

fn stack(config: &ConfigFile, style: Style, side: Side) -> Result<Stack, Error> {
    let d_model = side.d_model;
    let field = |end: &str| format!("{}_{end}", side.name);
    let n_heads = config.size_or(&field("attention_heads"), 16)?;
    let d_head = config.head_width(&field("attention_heads"), n_heads, "d_model", d_model)?;
    let norm = Norm::layer(1e-5);
    let visibility = if side.cross { Visibility::CAUSAL } else { Visibility::FULL };
    let block = Block {
        cross: side.cross.then(|| Attention::plain(n_heads, d_head, Visibility::FULL)),
        ..Block::new(
            Attention::plain(n_heads, d_head, visibility),
            FeedForward::plain(
                config.size_or(&field("ffn_dim"), 4096)?,
                config.activation_or("activation_function", "gelu")?,
            ),
            norm,
            style.residual,
        )
    };
    let n_positions = config.size_or("max_position_embeddings", style.n_positions)?;
    let positions = match style.table {
        Table::Learned => Positions::Learned { n_rows: n_positions + 2, offset: 2, at_padding: None },
        Table::Halves => {
            Positions::Sinusoidal { arrangement: Arrangement::Halves, offset: 0, at_padding: AtPadding::Position }
        }
        Table::HalvesAfterPadding => Positions::Sinusoidal {
            arrangement: Arrangement::HalvesInclusive,
            offset: config.count_or("pad_token_id", 1)? + 1,
            at_padding: AtPadding::Nothing,
        },
    };
    Ok(Stack {
        final_norm: style.final_norm.then_some(norm),
        ..Stack::new(
            d_model,
            Embedding {
                scale: if config.flag_or("scale_embedding", false)? { (d_model as f32).sqrt() } else { 1.0 },
                positions,
                norm: style.embedding_norm.then_some(norm),
                ..Embedding::new(side.n_tokens, d_model)
            },
            vec![block; config.layers_or(&field("layers"), 12)?],
        )
    })
}

const SELF_ATTENTION: AttentionNames = AttentionNames {
    projections: ProjectionNames::Separate {
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
    },
    output: "self_attn.out_proj",
    norm: "self_attn_layer_norm",
    ..AttentionNames::NONE
};

pub(super) const ENCODER: StackNames = StackNames {
    tokens: &["shared.weight", "encoder.embed_tokens.weight"],
    positions: "encoder.embed_positions.weight",
    embedding_norm: "encoder.layernorm_embedding",
    layer: "encoder.layers.{}.",
    attention: SELF_ATTENTION,
    feed_forward: FeedForwardNames { up: "fc1", down: "fc2", norm: "final_layer_norm", ..FeedForwardNames::NONE },
    final_norm: "encoder.layer_norm",
    ..StackNames::NONE
};

pub(super) const DECODER: StackNames = StackNames {
    tokens: &["shared.weight", "decoder.embed_tokens.weight"],
    positions: "decoder.embed_positions.weight",
    embedding_norm: "decoder.layernorm_embedding",
    layer: "decoder.layers.{}.",
    cross: AttentionNames {
        projections: ProjectionNames::Separate {
            query: "encoder_attn.q_proj",
            key: "encoder_attn.k_proj",
            value: "encoder_attn.v_proj",
        },
        output: "encoder_attn.out_proj",
        norm: "encoder_attn_layer_norm",
        ..AttentionNames::NONE
    },
    final_norm: "decoder.layer_norm",
    ..ENCODER
};

const NAMES: Names = Names {
    prefixes: &["model.", ""],
    encoder: Some(ENCODER),
    decoder: Some(DECODER),
    readout: ReadoutNames { output: "lm_head.weight", bias: &["final_logits_bias"], ..ReadoutNames::NONE },
    layout: Layout::OutIn,
    // tables that are stored again, or that are computed
    ignored: &["embed_tokens.weight", "embed_positions.weight", "embed_positions.weights"],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};

/// Each side has its own table.
fn apart() -> Names {
    Names {
        encoder: Some(StackNames { tokens: &["encoder.embed_tokens.weight"], ..ENCODER }),
        decoder: Some(StackNames { tokens: &["decoder.embed_tokens.weight"], ..DECODER }),
        ..NAMES
    }
}
