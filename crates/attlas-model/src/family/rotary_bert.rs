//! BERT with rotary positions: NomicBERT (Nussbaum et al. 2024) and GTE (Zhang et al. 2024), whose feed-forwards are gated,
//! and jina-embeddings-v3 (Sturua et al. 2024).

use attlas::Visibility;
use serde_json::Value;

use super::rotary::{self, RopePlace};
use super::{Family, bert, readouts, roberta};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Biases, Block, Embedding, FeedForward, Frequencies, Length, Norm, Readout,
    Residual, Rotary, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const NOMIC: Family = Family {
    name: "nomic_bert",
    model_types: &["nomic_bert"],
    about: "NomicBERT, nomic-embed-text (Nussbaum et al. 2024)",
    read: nomic,
    tested: &[("nomic-bert", "RoPE, gated, masked LM"), ("nomic-bert-classifier", "classifier, f16")],
    texts: &[],
};

pub(super) const GTE: Family = Family {
    name: "gte",
    model_types: &["gte", "new"],
    about: "GTE v1.5, gte-multilingual (Zhang et al. 2024)",
    read: gte,
    tested: &[("gte", "RoPE, gated, masked LM"), ("gte-classifier", "no segments, classifier, bf16")],
    texts: &[],
};

pub(super) const JINA: Family = Family {
    name: "jina_embeddings_v3",
    model_types: &["jina_embeddings_v3"],
    about: "jina-embeddings-v3 (Sturua et al. 2024)",
    read: jina,
    tested: &[("jina-v3", "RoPE, masked LM")],
    texts: &[],
};

/// What differs between the three.
struct Differences {
    fields: Fields,
    /// Base of the rotary frequencies, where the configuration does not say.
    base: f64,
    positions: usize,
    types: usize,
    epsilon: f64,
    biases: Biases,
}

/// The fields of config.json with sizes.
struct Fields {
    width: &'static str,
    heads: &'static str,
    layers: &'static str,
    hidden: &'static str,
    positions: &'static str,
    epsilon: &'static str,
}

const OF_BERT: Fields = Fields {
    width: "hidden_size",
    heads: "num_attention_heads",
    layers: "num_hidden_layers",
    hidden: "intermediate_size",
    positions: "max_position_embeddings",
    epsilon: "layer_norm_eps",
};

/// The fields of the hub's NomicBERT.
const OF_GPT: Fields = Fields {
    width: "n_embd",
    heads: "n_head",
    layers: "n_layer",
    hidden: "n_inner",
    positions: "n_positions",
    epsilon: "layer_norm_epsilon",
};

/// An encoder whose feed-forward `feed_forward` makes of its width.
fn encoder(
    config: &ConfigFile,
    differences: &Differences,
    feed_forward: impl Fn(usize) -> FeedForward,
) -> Result<(Stack, Norm, Length), Error> {
    readouts::only_encoder(config)?;
    let fields = &differences.fields;
    let d_model = config.size_or(fields.width, 768)?;
    let n_heads = config.size_or(fields.heads, 12)?;
    let d_head = config.own_head_width("head_dim", [fields.heads, fields.width], [n_heads, d_model])?;
    let max_positions = config.size_or(fields.positions, differences.positions)?;
    let place = RopePlace { d_head, max_positions, default_share: 1.0, default_base: differences.base };
    let plain = Attention::plain(n_heads, d_head, Visibility::FULL);
    let attention = Attention { rotary: rope(config, place)?, biases: differences.biases, ..plain };
    let norm = Norm::layer(config.positive_or(fields.epsilon, differences.epsilon)? as f32);
    let feed_forward = feed_forward(config.size_or(fields.hidden, 4 * d_model)?);
    let block = Block::new(attention, feed_forward, norm, Residual::Post);
    let embedding = Embedding {
        n_token_types: config.count_or("type_vocab_size", differences.types)?,
        norm: Some(norm),
        ..Embedding::new(config.size("vocab_size")?, d_model)
    };
    let blocks = vec![block; config.layers_or(fields.layers, 12)?];
    Ok((Stack::new(d_model, embedding, blocks), norm, Length::Noted(max_positions)))
}

/// Rotary positions; the hub's NomicBERT has fields of its own for them.
fn rope(config: &ConfigFile, place: RopePlace) -> Result<Option<Rotary>, Error> {
    if !config.has("rotary_emb_base") {
        return rotary::read(config, place, "");
    }
    let config = &config.renamed(&[("partial_rotary_factor", "rotary_emb_fraction")]);
    let base = rotary::base(config, "rotary_emb_base", place.default_base)?;
    let mut rotary = rotary::read(config, RopePlace { default_base: base, ..place }, "")?;
    if let (Some(rotary), true) = (&mut rotary, config.has("rotary_scaling_factor")) {
        rotary.frequencies = Frequencies::Dynamic {
            base,
            factor: config.positive_or("rotary_scaling_factor", 1.0)?,
            threshold: config.size_or("max_trained_positions", place.max_positions)?,
        };
    }
    Ok(rotary)
}

fn architecture(config: &ConfigFile, stack: Stack, length: Length, readout: Readout) -> Result<Architecture, Error> {
    Ok(Architecture::encoder(config.id("pad_token_id", stack.embedding.n_tokens)?, stack, readout, length))
}

fn nomic(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let is_of_hub = config.has("n_embd");
    let activation = if is_of_hub { hub_activation(config)? } else { config.activation_or("hidden_act", "silu")? };
    let fields = if is_of_hub { OF_GPT } else { OF_BERT };
    let differences =
        Differences { fields, base: 1000.0, positions: 2048, types: 2, epsilon: 1e-12, biases: Biases::NONE };
    let (stack, norm, length) = encoder(config, &differences, |width| FeedForward::gated(width, activation))?;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            let mut readout = readouts::masked_tokens(config, &stack, activation, norm)?;
            if let Readout::Tokens { transform: Some(transform), bias, .. } = &mut readout {
                // the hub's readout has biases where its feed-forwards have
                (transform.bias, *bias) = (!is_of_hub, !is_of_hub);
            }
            (readout, ReadoutNames { transform_norm: "cls.predictions.transform.layer_norm", ..bert::VOCABULARY })
        }
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, POOLED),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let feed_forward =
        FeedForwardNames { up: "mlp.fc11", gate: "mlp.fc12", down: "mlp.fc2", norm: "norm2", ..FeedForwardNames::NONE };
    let encoder = StackNames { feed_forward, ..FLASH };
    let names = Names { prefixes: &["nomic_bert.", "bert.", ""], encoder: Some(encoder), readout: names, ..NAMES };
    Ok((architecture(config, stack, length, readout)?, names))
}

/// The activation of the hub's NomicBERT; what its code can do besides is refused.
fn hub_activation(config: &ConfigFile) -> Result<Activation, Error> {
    const OFF: [&str; 8] = [
        "prenorm",
        "use_rms_norm",
        "parallel_block",
        "causal",
        "qkv_proj_bias",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "rotary_emb_interleaved",
    ];
    OFF.iter().try_for_each(|field| config.must_be(field, &false.into()))?;
    config.must_be("rotary_emb_scale_base", &Value::Null)?;
    config.must_be("moe_every_n_layers", &0.into())?;
    match config.text_or("activation_function", "gelu")? {
        "swiglu" => Ok(Activation::Silu),
        "geglu" => Ok(Activation::Gelu),
        other => Err(config.error("activation_function", format!("is \"{other}\"; attlas knows swiglu and geglu"))),
    }
}

fn gte(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("position_embedding_type", &"rope".into())?;
    config.must_be("layer_norm_type", &"layer_norm".into())?;
    config.must_be("logn_attention_scale", &false.into())?;
    config.must_be("pack_qkv", &true.into())?;
    let activation = config.activation_or("hidden_act", "gelu")?;
    let differences = Differences {
        fields: OF_BERT,
        base: 160_000.0,
        positions: 8192,
        types: 1,
        epsilon: 1e-12,
        biases: Biases::ALL,
    };
    let feed_forward = |width| FeedForward { output_bias: true, ..FeedForward::gated(width, activation) };
    let (stack, norm, length) = encoder(config, &differences, feed_forward)?;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, OF_LM_HEAD),
        readouts::Task::Classes => (readouts::pooled_classes(config, &stack)?, POOLED),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let encoder = StackNames {
        embedding_norm: "embeddings.LayerNorm",
        layer: "encoder.layer.{}.",
        attention: AttentionNames {
            projections: ProjectionNames::Joint("attention.qkv_proj"),
            output: "attention.o_proj",
            norm: "attn_ln",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up_and_gate: "mlp.up_gate_proj",
            down: "mlp.down_proj",
            norm: "mlp_ln",
            ..FeedForwardNames::NONE
        },
        ..FLASH
    };
    let names = Names { prefixes: &["new.", "gte.", ""], encoder: Some(encoder), readout: names, ..NAMES };
    Ok((architecture(config, stack, length, readout)?, names))
}

fn jina(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let activation = config.activation_or("hidden_act", "gelu")?;
    let differences =
        Differences { fields: OF_BERT, base: 20_000.0, positions: 8194, types: 1, epsilon: 1e-5, biases: Biases::ALL };
    let (stack, norm, length) = encoder(config, &differences, |width| FeedForward::plain(width, activation))?;
    let (readout, names) = match readouts::task(config)? {
        readouts::Task::MaskedTokens => {
            (readouts::masked_tokens(config, &stack, Activation::Gelu, norm)?, roberta::VOCABULARY)
        }
        readouts::Task::Classes => (roberta::classes(config, stack.d_model, Activation::Tanh)?, roberta::CLASSIFIER),
        readouts::Task::None => (Readout::None, ReadoutNames::NONE),
    };
    let encoder = StackNames {
        attention: AttentionNames {
            projections: ProjectionNames::Joint("mixer.Wqkv"),
            output: "mixer.out_proj",
            ..FLASH.attention
        },
        feed_forward: FeedForwardNames { up: "mlp.fc1", down: "mlp.fc2", norm: "norm2", ..FeedForwardNames::NONE },
        ..FLASH
    };
    let names = Names { prefixes: &["roberta.", ""], encoder: Some(encoder), readout: names, ..NAMES };
    Ok((architecture(config, stack, length, readout)?, names))
}

/// GTE's masked language model.
const OF_LM_HEAD: ReadoutNames = ReadoutNames {
    transform: "lm_head.dense",
    transform_norm: "lm_head.norm",
    output: "lm_head.decoder.weight",
    bias: &["lm_head.decoder.bias"],
    ..ReadoutNames::NONE
};

/// A tanh layer on the first position, then the classes.
const POOLED: ReadoutNames = ReadoutNames {
    transform: "{}pooler.dense",
    output: "classifier.weight",
    bias: &["classifier.bias"],
    ..ReadoutNames::NONE
};

/// As the code of flash-attention names the parts of BERT.
const FLASH: StackNames = StackNames {
    tokens: &["embeddings.word_embeddings.weight"],
    token_types: "embeddings.token_type_embeddings.weight",
    embedding_norm: "emb_ln",
    layer: "encoder.layers.{}.",
    attention: AttentionNames {
        projections: ProjectionNames::Joint("attn.Wqkv"),
        output: "attn.out_proj",
        norm: "norm1",
        ..AttentionNames::NONE
    },
    ..StackNames::NONE
};

const NAMES: Names = Names {
    prefixes: &[""],
    encoder: None,
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    ignored: &["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias", "lm_head.", "cls."],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
