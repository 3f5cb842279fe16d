//! DINOv2 (Oquab et al. 2023): ViT with factors on each sublayer's output, on images of any size; registers (Darcet et
//! al. 2024) are learnt rows without a place.

use attlas::Visibility;

use super::{Family, readouts, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Attention, Block, FeedForward, Gating, Leading, Length, Norm, OtherGrids, Pooled, Readout, Residual,
    Stack,
};
use crate::load::{AttentionNames, FeedForwardNames, Names, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "dinov2",
    model_types: &["dinov2", "dinov2_with_registers"],
    about: "DINOv2, with and without registers (Oquab et al. 2023; Darcet et al. 2024)",
    read,
    tested: &[
        ("dinov2", "layer scale, images of other sizes"),
        ("dinov2-classifier", "classifier on CLS and mean"),
        ("dinov2-giant", "gated"),
        ("dinov2-registers", "registers"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let d_model = config.size_or("hidden_size", 768)?;
    let n_heads = config.size_or("num_attention_heads", 12)?;
    let d_head = config.head_width("num_attention_heads", n_heads, "hidden_size", d_model)?;
    let norm = Norm::layer(config.positive_or("layer_norm_eps", 1e-6)? as f32);
    let has_registers = config.text("model_type")? == Some("dinov2_with_registers");
    let (mut leading, mut other_grids) = (vec![vit::CLASS], OtherGrids::Cubic);
    if has_registers {
        let n = config.count_or("num_register_tokens", 4)?;
        leading.push(Leading { label: "REG", n, has_position: false });
        other_grids = OtherGrids::CubicAveraging;
    }
    let is_gated = config.flag_or("use_swiglu_ffn", false)?;
    let block = Block {
        layer_scale: true,
        ..Block::new(
            Attention { biases: vit::qkv_biases(config)?, ..Attention::plain(n_heads, d_head, Visibility::FULL) },
            feed_forward(config, d_model, is_gated)?,
            norm,
            Residual::Pre,
        )
    };
    let embedding = vit::embedding(vit::patches(config, 14, leading, other_grids)?, d_model);
    let stack = Stack::pre_norm(norm, d_model, embedding, vec![block; config.layers_or("num_hidden_layers", 12)?]);
    let classes = config.texts("architectures")?.unwrap_or_default();
    let (readout, readout_names) = if classes.iter().any(|name| name.contains("ForImageClassification")) {
        let pooled = Pooled::FirstAndMean;
        (Readout::Classes { n: readouts::n_classes(config)?, transform: None, pooled }, vit::CLASSIFIER)
    } else {
        (Readout::None, ReadoutNames::NONE)
    };
    let feed_forward = if is_gated { GATED } else { PLAIN };
    let encoder = Some(StackNames { feed_forward, ..ENCODER });
    let names = Names { prefixes: PREFIXES, encoder, readout: readout_names, ..vit::NAMES };
    Ok((Architecture::encoder(None, stack, readout, Length::Any), names))
}

fn feed_forward(config: &ConfigFile, d_model: usize, is_gated: bool) -> Result<FeedForward, Error> {
    let d_hidden = d_model * config.size_or("mlp_ratio", 4)?;
    if !is_gated {
        return Ok(FeedForward::plain(d_hidden, config.activation_or("hidden_act", "gelu")?));
    }
    // two thirds of the plain width, rounded up to a multiple of 8
    let d_hidden = (d_hidden * 2 / 3).next_multiple_of(8);
    Ok(FeedForward {
        gating: Gating::Gated,
        biases: true,
        ..FeedForward::gated(d_hidden, crate::config::Activation::Silu)
    })
}

const PREFIXES: &[&str] = &["dinov2.", "dinov2_with_registers.", ""];

const ENCODER: StackNames = StackNames {
    leading: &["embeddings.cls_token", "embeddings.register_tokens"],
    attention: AttentionNames { norm: "norm1", layer_scale: "layer_scale1.lambda1", ..vit::ENCODER.attention },
    ..vit::ENCODER
};

const PLAIN: FeedForwardNames = FeedForwardNames {
    up: "mlp.fc1",
    down: "mlp.fc2",
    norm: "norm2",
    layer_scale: "layer_scale2.lambda1",
    ..FeedForwardNames::NONE
};

const GATED: FeedForwardNames = FeedForwardNames { up: "mlp.weights_in", down: "mlp.weights_out", ..PLAIN };
