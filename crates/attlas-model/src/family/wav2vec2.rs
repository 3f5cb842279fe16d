//! wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021) and WavLM (Chen et al. 2022): encoders of samples of sound, which go
//! through convolutions first; positions are a convolution, too. WavLM adds distances to scores that content opens and shuts.

use attlas::Visibility;

use super::Family;
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    AddedScores, Architecture, Attention, Block, Embedding, FeedForward, Length, Norm, Output, PositionConvolution,
    Projected, Readout, Reads, Residual, SampleConvolution, SampleNorms, Samples, Stack,
};
use crate::load::{
    AttentionNames, FeedForwardNames, Layout, Names, ProjectionNames, ReadoutNames, StackNames, Superfluous,
};

pub(super) const WAV2VEC2: Family = Family {
    name: "wav2vec2",
    model_types: &["wav2vec2"],
    about: "wav2vec 2.0, XLS-R, MMS without adapters (Baevski et al. 2020)",
    read: |config| read(config, &["wav2vec2.", ""], None),
    tested: &[
        ("wav2vec2", "samples through convolutions, positions as a convolution, characters"),
        ("wav2vec2-stable", "norms before each sublayer and on each convolution, f16"),
    ],
    texts: &[],
};

pub(super) const HUBERT: Family = Family {
    name: "hubert",
    model_types: &["hubert"],
    about: "HuBERT (Hsu et al. 2021)",
    read: |config| {
        config.must_be("conv_pos_batch_norm", &false.into())?;
        read(config, &["hubert.", ""], None)
    },
    tested: &[("hubert", "no norm before the projection")],
    texts: &[],
};

pub(super) const WAVLM: Family = Family {
    name: "wavlm",
    model_types: &["wavlm"],
    about: "WavLM (Chen et al. 2022)",
    read: |config| {
        let n_buckets = config.size_or("num_buckets", 320)?;
        let max_distance = config.size_or("max_bucket_distance", 800)?;
        read(config, &["wavlm.", ""], Some(AddedScores::Gated { n_buckets, max_distance }))
    },
    tested: &[("wavlm", "gated bias of distances")],
    texts: &[],
};

fn read(
    config: &ConfigFile,
    prefixes: &'static [&'static str],
    added: Option<AddedScores>,
) -> Result<(Architecture, Names), Error> {
    config.must_be("add_adapter", &false.into())?;
    if config.has("adapter_attn_dim") && !config.is_null("adapter_attn_dim") {
        return Err(config.error("adapter_attn_dim", "asks for adapters in each layer, which attlas does not read"));
    }
    let d_model = config.size_or("hidden_size", 768)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-5)? as f32);
    let is_stable = config.flag_or("do_stable_layer_norm", false)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let block = Block::new(
        Attention { added, ..Attention::plain(n_heads, d_head, Visibility::FULL) },
        FeedForward::plain(config.size_or("intermediate_size", 3072)?, config.activation_or("hidden_act", "gelu")?),
        norm,
        if is_stable { Residual::Pre } else { Residual::Post },
    );
    let samples = samples(config)?;
    let width = samples.convolutions.last().map_or(1, |last| last.width);
    if width == d_model {
        let message =
            format!("is {d_model}, as wide as the last convolution; attlas reads models that are wider or narrower");
        return Err(config.error("hidden_size", message));
    }
    let embedding = Embedding {
        reads: Reads::Samples(samples),
        projected: Projected::Last,
        norm: config.flag_or("feat_proj_layer_norm", true)?.then_some(norm),
        convolution: Some(positions(config, d_model, (!is_stable).then_some(norm))?),
        ..Embedding::new(0, width)
    };
    let blocks = vec![block; config.layers_or("num_hidden_layers", 12)?];
    let final_norm = is_stable.then_some(norm);
    let stack = Stack { final_norm, ..Stack::new(d_model, embedding, blocks) };
    let classes = config.texts("architectures")?.unwrap_or_default();
    let (readout, readout_names) = match classes.iter().any(|name| name.contains("ForCTC")) {
        true => (characters(config.size_or("vocab_size", 32)?), CHARACTERS),
        false => (Readout::None, ReadoutNames::NONE),
    };
    let names = Names { prefixes, readout: readout_names, ..NAMES };
    Ok((Architecture::encoder(None, stack, readout, Length::Any), names))
}

/// A score per character at every hidden state.
fn characters(n_tokens: usize) -> Readout {
    Readout::Tokens { n_tokens, transform: None, bias: true, output: Output::Own, scale: 1.0, softcap: None }
}

fn positions(config: &ConfigFile, d_model: usize, norm: Option<Norm>) -> Result<PositionConvolution, Error> {
    let kernel = config.size_or("num_conv_pos_embeddings", 128)?;
    let n_groups = config.size_or("num_conv_pos_embedding_groups", 16)?;
    if !d_model.is_multiple_of(n_groups) {
        let message = format!("is {n_groups}, which does not divide hidden_size {d_model}");
        return Err(config.error("num_conv_pos_embedding_groups", message));
    }
    let activation = config.activation_or("feat_extract_activation", "gelu")?;
    Ok(PositionConvolution { kernel, n_groups, activation, norm })
}

fn samples(config: &ConfigFile) -> Result<Samples, Error> {
    let widths = config.sizes_or("conv_dim", &[512; 7], MAX_SIZE)?;
    let strides = config.sizes_or("conv_stride", &[5, 2, 2, 2, 2, 2, 2], MAX_SIZE)?;
    let kernels = config.sizes_or("conv_kernel", &[10, 3, 3, 3, 3, 2, 2], MAX_SIZE)?;
    for (field, given) in [("conv_stride", &strides), ("conv_kernel", &kernels)] {
        if given.len() != widths.len() {
            let message = format!("has {} numbers, but conv_dim has {}", given.len(), widths.len());
            return Err(config.error(field, message));
        }
    }
    let hop = strides.iter().fold(1_usize, |hop, stride| hop.saturating_mul(*stride));
    if hop > MAX_HOP {
        let message = format!("is {strides:?}, so a hidden state would be {hop} samples; attlas reads up to {MAX_HOP}");
        return Err(config.error("conv_stride", message));
    }
    let norms = match config.text_or("feat_extract_norm", "group")? {
        "group" => SampleNorms::First,
        "layer" => SampleNorms::Each,
        other => {
            let message = format!("is \"{}\"; attlas knows group and layer", crate::error::brief(other));
            return Err(config.error("feat_extract_norm", message));
        }
    };
    let all = widths.into_iter().zip(strides).zip(kernels);
    Ok(Samples {
        rate: 16_000,
        convolutions: all.map(|((width, stride), kernel)| SampleConvolution { width, kernel, stride }).collect(),
        biases: config.flag_or("conv_bias", false)?,
        norms,
        activation: config.activation_or("feat_extract_activation", "gelu")?,
    })
}

/// The largest size of a convolution that is believed.
const MAX_SIZE: usize = 8192;

/// Samples from one hidden state to the next that are believed: a minute.
const MAX_HOP: usize = 1 << 20;

const CHARACTERS: ReadoutNames =
    ReadoutNames { output: "lm_head.weight", bias: &["lm_head.bias"], ..ReadoutNames::NONE };

const NAMES: Names = Names {
    prefixes: &["wav2vec2.", ""],
    encoder: Some(StackNames {
        projections: &["feature_extractor.conv_layers.0.conv"],
        read_norm: "feature_extractor.conv_layers.0.layer_norm",
        embedding_norm: "feature_projection.layer_norm",
        embedding_projection: "feature_projection.projection",
        position_convolution: "encoder.pos_conv_embed.conv",
        // after positions or after the last layer
        position_norm: "encoder.layer_norm",
        final_norm: "encoder.layer_norm",
        layer: "encoder.layers.{}.",
        relative_bias: "encoder.layers.0.attention.rel_attn_embed",
        attention: AttentionNames {
            projections: ProjectionNames::Separate {
                query: "attention.q_proj",
                key: "attention.k_proj",
                value: "attention.v_proj",
            },
            output: "attention.out_proj",
            norm: "layer_norm",
            added: "attention.gru_rel_pos_linear",
            factors: "attention.gru_rel_pos_const",
            ..AttentionNames::NONE
        },
        feed_forward: FeedForwardNames {
            up: "feed_forward.intermediate_dense",
            down: "feed_forward.output_dense",
            norm: "final_layer_norm",
            ..FeedForwardNames::NONE
        },
        ..StackNames::NONE
    }),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    // what training needs
    ignored: &["masked_spec_embed", "quantizer.", "project_q.", "project_hid."],
    further_layers: 0,
    superfluous: Superfluous::Noted,
};
