//! DETR (Carion et al. 2020): a ResNet makes a grid of an image, an encoder reads it, and a decoder's object queries look for what is
//! in it. Each layer adds the places of the grid, and the learnt rows of the queries, to what queries and keys are made of.

use attlas::Visibility;

use super::{Family, bart, readouts, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Activation, Architecture, Attention, Backbone, Block, Embedding, FeedForward, Length, Norm, Places, Readout, Reads,
    Residual, ResidualLayers, SpecialIds, Stack, Stage,
};
use crate::load::{BackboneNames, Layout, Names, ReadoutNames, StackNames};

pub(super) const FAMILY: Family = Family {
    name: "detr",
    model_types: &["detr"],
    about: "DETR with a ResNet (Carion et al. 2020)",
    read,
    tested: &[
        ("detr", "object queries, boxes, grids of any shape"),
        ("detr-basic", "layers of two convolutions, names as on the hub, f16"),
    ],
    texts: &[],
};

fn read(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    config.must_be("position_embedding_type", &"sine".into())?;
    config.must_be("dilation", &false.into())?;
    config.must_be("auxiliary_loss", &false.into())?;
    let d_model = config.size_or("d_model", 256)?;
    if !d_model.is_multiple_of(4) {
        let message =
            format!("is {d_model}, but must be divisible by 4: places are sines and cosines of rows and columns");
        return Err(config.error("d_model", message));
    }
    let n_queries = config.size_or("num_queries", 100)?;
    let seeing = Embedding { reads: Reads::Grid(backbone(config)?), ..Embedding::new(0, d_model) };
    // the learnt rows of the queries are their places: the first hidden states are 0
    let looking = Embedding { scale: 0.0, ..Embedding::new(n_queries, d_model) };
    let encoder = Stack { places: Some(Places::Grid), ..stack(config, "encoder", seeing, d_model)? };
    let decoder = Stack {
        places: Some(Places::Table),
        final_norm: Some(Norm::layer(EPSILON)),
        ..stack(config, "decoder", looking, d_model)?
    };
    let classes = config.texts("architectures")?.unwrap_or_default();
    let readout = match classes.iter().any(|name| name.contains("For")) {
        true => Readout::Objects { n: readouts::n_classes(config)? + 1 },
        false => Readout::None,
    };
    let architecture = Architecture {
        anew_beyond: None,
        encoder: Some(encoder),
        decoder: Some(decoder),
        readout,
        ids: SpecialIds::default(),
        length: Length::Any,
    };
    Ok((architecture, NAMES))
}

/// What is added to the variance in all norms.
const EPSILON: f32 = 1e-5;

fn stack(config: &ConfigFile, side: &str, embedding: Embedding, d_model: usize) -> Result<Stack, Error> {
    let field = |part: &str| format!("{side}_{part}");
    let n_heads = config.size_or(&field("attention_heads"), 8)?;
    let d_head = config.head_width(&field("attention_heads"), n_heads, "d_model", d_model)?;
    let attention = Attention::plain(n_heads, d_head, Visibility::FULL);
    let d_hidden = config.size_or(&field("ffn_dim"), 2048)?;
    let feed_forward = FeedForward::plain(d_hidden, config.activation_or("activation_function", "relu")?);
    let cross = (side == "decoder").then(|| attention.clone());
    let block = Block { cross, ..Block::new(attention, feed_forward, Norm::layer(EPSILON), Residual::Post) };
    Ok(Stack::new(d_model, embedding, vec![block; config.layers_or(&field("layers"), 6)?]))
}

/// The ResNet: one that the configuration describes, or one that it names as timm does.
fn backbone(config: &ConfigFile) -> Result<Backbone, Error> {
    let section = config.section("backbone_config")?;
    let n_channels = config.size_or("num_channels", 3)?;
    if n_channels > 4 {
        return Err(config.error("num_channels", format!("is {n_channels}; attlas reads up to 4 colours")));
    }
    match section {
        Some(section) if section.text("model_type")? != Some("timm_backbone") => described(&section, n_channels),
        Some(section) => named(&section, n_channels),
        None => named(config, n_channels),
    }
}

/// The ResNets of timm: how many layers their stages have, and of which kind.
fn named(config: &ConfigFile, n_channels: usize) -> Result<Backbone, Error> {
    let bottleneck = ResidualLayers::Bottleneck { stride_first: false };
    let (n_layers, layers, widest) = match config.text_or("backbone", "resnet50")? {
        "resnet18" => ([2, 2, 2, 2], ResidualLayers::Basic, 512_usize),
        "resnet34" => ([3, 4, 6, 3], ResidualLayers::Basic, 512),
        "resnet50" => ([3, 4, 6, 3], bottleneck, 2048),
        "resnet101" => ([3, 4, 23, 3], bottleneck, 2048),
        "resnet152" => ([3, 8, 36, 3], bottleneck, 2048),
        other => {
            let message = format!("is \"{}\"; attlas reads resnet18, 34, 50, 101 and 152", crate::error::brief(other));
            return Err(config.error("backbone", message));
        }
    };
    let stage =
        |(place, n_layers)| Stage { width: widest >> (3 - place), n_layers, stride: if place == 0 { 1 } else { 2 } };
    let stages = n_layers.into_iter().enumerate().map(stage).collect();
    Ok(Backbone { n_channels, stem: 64, stages, layers, activation: Activation::Relu })
}

/// A `ResNetConfig`, of which the last stage is read.
fn described(config: &ConfigFile, n_channels: usize) -> Result<Backbone, Error> {
    match config.text("model_type")?.unwrap_or_default() {
        "resnet" => {}
        other => {
            let message = format!("is \"{}\"; of backbones attlas reads resnet", crate::error::brief(other));
            return Err(config.error("model_type", message));
        }
    }
    let layers = match config.text_or("layer_type", "bottleneck")? {
        "basic" => ResidualLayers::Basic,
        "bottleneck" => ResidualLayers::Bottleneck { stride_first: config.flag_or("downsample_in_bottleneck", false)? },
        other => {
            let message = format!("is \"{}\"; there are basic and bottleneck", crate::error::brief(other));
            return Err(config.error("layer_type", message));
        }
    };
    let widths = config.sizes_or("hidden_sizes", &[256, 512, 1024, 2048], 1 << 16)?;
    let n_layers = config.sizes_or("depths", &[3, 4, 6, 3], 4096)?;
    if widths.len() != n_layers.len() {
        let message = format!("has {} entries, but depths has {}", widths.len(), n_layers.len());
        return Err(config.error("hidden_sizes", message));
    }
    if let (ResidualLayers::Bottleneck { .. }, Some(odd)) = (layers, widths.iter().find(|n| !n.is_multiple_of(4))) {
        return Err(config.error("hidden_sizes", format!("has {odd}, of which layers have a quarter in the middle")));
    }
    check_grid(config, widths.len())?;
    let first = if config.flag_or("downsample_in_first_stage", false)? { 2 } else { 1 };
    let stage = |(place, (width, n_layers))| Stage { width, n_layers, stride: if place == 0 { first } else { 2 } };
    let stages = widths.into_iter().zip(n_layers).enumerate().map(stage).collect();
    let stem = config.size_or("embedding_size", 64)?;
    Ok(Backbone { n_channels, stem, stages, layers, activation: config.activation_or("hidden_act", "relu")? })
}

/// The grid that a backbone gives, by its name or its number, must be that of the last stage.
fn check_grid(config: &ConfigFile, n_stages: usize) -> Result<(), Error> {
    if let Some(names) = config.texts("out_features")? {
        let last = format!("stage{n_stages}");
        return match names.last() {
            Some(name) if *name != last => {
                Err(config.error("out_features", format!("must end with \"{last}\", the grid that attlas reads")))
            }
            _ => Ok(()),
        };
    }
    match config.numbers("out_indices")?.unwrap_or_default().last() {
        Some(number) if *number != n_stages as f64 && *number != -1.0 => {
            Err(config.error("out_indices", format!("must end with {n_stages}, the grid that attlas reads")))
        }
        _ => Ok(()),
    }
}

const NAMES: Names = Names {
    prefixes: &["model.", "detr.model.", ""],
    encoder: Some(StackNames {
        tokens: &[],
        projections: &["input_projection"],
        backbones: BACKBONES,
        ..bart::ENCODER
    }),
    decoder: Some(StackNames {
        tokens: &["query_position_embeddings.weight"],
        final_norm: "decoder.layernorm",
        ..bart::DECODER
    }),
    readout: ReadoutNames {
        output: "class_labels_classifier.weight",
        elsewhere: &["detr.class_labels_classifier.weight"],
        bias: &["class_labels_classifier.bias", "detr.class_labels_classifier.bias"],
        boxes: &["bbox_predictor.layers.{}", "detr.bbox_predictor.layers.{}"],
        ..ReadoutNames::NONE
    },
    layout: Layout::OutIn,
    ignored: &["num_batches_tracked"],
    ..vit::NAMES
};

/// As timm names its own, and as transformers does.
const BACKBONES: &[BackboneNames] = &[
    BackboneNames {
        stem: ["backbone.conv_encoder.model.conv1", "backbone.conv_encoder.model.bn1"],
        convolution: [
            "backbone.conv_encoder.model.layer{stage}.{layer}.conv{convolution}",
            "backbone.conv_encoder.model.layer{stage}.{layer}.bn{convolution}",
        ],
        shortcut: [
            "backbone.conv_encoder.model.layer{stage}.{layer}.downsample.0",
            "backbone.conv_encoder.model.layer{stage}.{layer}.downsample.1",
        ],
        first: 1,
    },
    BackboneNames {
        stem: [
            "backbone.conv_encoder.model.embedder.embedder.convolution",
            "backbone.conv_encoder.model.embedder.embedder.normalization",
        ],
        convolution: [
            "backbone.conv_encoder.model.encoder.stages.{stage}.layers.{layer}.layer.{convolution}.convolution",
            "backbone.conv_encoder.model.encoder.stages.{stage}.layers.{layer}.layer.{convolution}.normalization",
        ],
        shortcut: [
            "backbone.conv_encoder.model.encoder.stages.{stage}.layers.{layer}.shortcut.convolution",
            "backbone.conv_encoder.model.encoder.stages.{stage}.layers.{layer}.shortcut.normalization",
        ],
        first: 0,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> Result<Architecture, String> {
        let config = ConfigFile::parse("config.json".as_ref(), json.as_bytes()).expect("JSON");
        read(&config).map(|(architecture, _)| architecture).map_err(|error| error.to_string())
    }

    #[test]
    fn the_hubs_configuration_names_a_resnet_50_and_91_classes_beside_nothing() {
        let labels: Vec<String> = (0..91).map(|id| format!("\"{id}\": \"c{id}\"")).collect();
        let json = format!(
            r#"{{"architectures": ["DetrForObjectDetection"], "backbone": "resnet50", "backbone_config": null,
                "use_timm_backbone": true, "id2label": {{{}}}}}"#,
            labels.join(", ")
        );
        let architecture = of(&json).expect("an architecture");
        assert!(matches!(architecture.readout, Readout::Objects { n: 92 }));
        let encoder = architecture.encoder.expect("an encoder");
        let Reads::Grid(backbone) = encoder.embedding.reads else { panic!("a grid") };
        let stages: Vec<_> = backbone.stages.iter().map(|stage| (stage.width, stage.n_layers, stage.stride)).collect();
        assert_eq!(stages, [(256, 3, 1), (512, 4, 2), (1024, 6, 2), (2048, 3, 2)]);
    }

    #[test]
    fn what_is_not_read_is_refused_by_its_field() {
        for (json, words) in [
            (r#"{"dilation": true}"#, "dilation"),
            (r#"{"position_embedding_type": "learned"}"#, "position_embedding_type"),
            (r#"{"backbone": "resnest50d"}"#, "backbone is \"resnest50d\""),
            (r#"{"backbone_config": {"model_type": "swin"}}"#, "backbone_config.model_type is \"swin\""),
            (r#"{"backbone_config": {"model_type": "resnet", "depths": [1]}}"#, "depths has 1"),
            (r#"{"backbone_config": {"model_type": "resnet", "depths": [1, 0]}}"#, "backbone_config.depths is [1,0]"),
            (
                r#"{"backbone_config": {"model_type": "resnet", "out_features": ["stage3"]}}"#,
                "must end with \"stage4\"",
            ),
            (r#"{"backbone_config": {"model_type": "resnet", "out_indices": [2, 3]}}"#, "out_indices must end with 4"),
            (r#"{"d_model": 30, "encoder_attention_heads": 2}"#, "d_model is 30"),
        ] {
            let message = of(json).expect_err("a refusal");
            assert!(message.contains(words), "{message}");
        }
    }
}
