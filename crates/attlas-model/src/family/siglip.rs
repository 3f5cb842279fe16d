//! The two towers of SigLIP (Zhai et al. 2023) and of SigLIP 2 (Tschannen et al. 2025), of which one is read at a time: patches
//! without a learnt row before them, and texts of one length, whose padding is read like any token. SigLIP 2 in its own
//! `model_type` keeps the shape of images, as NaViT does. It learnt texts in lower case, which its tokenizer.json may leave to whoever writes them.

use attlas::Visibility;

use super::clip::{self, Defaults, LAYERS, Layers, TEXT_NAMES, TEXT_STACK};
use super::{Family, readouts, vit};
use crate::Error;
use crate::config::file::ConfigFile;
use crate::config::{
    Architecture, Filling, Length, OtherGrids, PatchMatrix, Patches, Pooled, Readout, SpecialIds, Stack,
};
use crate::load::{Layout, Names, ReadoutNames, StackNames, Superfluous};

pub(super) const VISION: Family = Family {
    name: "siglip_vision",
    model_types: &["siglip_vision_model", "siglip"],
    about: "SigLIP's vision tower, also in SigLIP 2 of one image size (Zhai et al. 2023; Tschannen et al. 2025)",
    read: |config| {
        let tower = clip::tower(config, "vision_config")?;
        let patches = vit::patches(&tower, 16, Vec::new(), OtherGrids::Refused)?;
        vision(config, &tower, patches)
    },
    tested: &[("siglip", "beside its text tower"), ("siglip-classifier", "classifier on the mean, pixels left over")],
    texts: &[],
};

pub(super) const VISION_2: Family = Family {
    name: "siglip2_vision",
    model_types: &["siglip2_vision_model", "siglip2"],
    about: "SigLIP 2's vision tower for images of any shape (Tschannen et al. 2025)",
    read: |config| {
        let tower = clip::tower(config, "vision_config")?;
        let patches = patches_of_any_shape(&tower)?;
        vision(config, &tower, patches)
    },
    tested: &[("siglip2", "other grids, matrix of pixels")],
    texts: &[],
};

pub(super) const TEXT: Family = Family {
    name: "siglip_text",
    model_types: &["siglip_text_model", "siglip2_text_model"],
    about: "SigLIP's text tower, chosen of both (Zhai et al. 2023; Tschannen et al. 2025)",
    read: read_text,
    tested: &[("siglip-text", "both directions")],
    texts: &[],
};

const DEFAULTS: Defaults =
    Defaults { d_model: 768, d_hidden: 3072, n_heads: 12, activation: "gelu_pytorch_tanh", epsilon: 1e-6 };

fn vision(config: &ConfigFile, tower: &ConfigFile, patches: Patches) -> Result<(Architecture, Names), Error> {
    let Layers { d_model, norm, blocks } = clip::layers(tower, &DEFAULTS, Visibility::FULL)?;
    let stack = Stack::pre_norm(norm, d_model, vit::embedding(patches, d_model), blocks);
    let classes = config.texts("architectures")?.unwrap_or_default();
    let (readout, readout_names) = match classes.iter().any(|name| name.contains("ForImageClassification")) {
        true => {
            let pooled = Pooled::Mean;
            (Readout::Classes { n: readouts::n_classes(config)?, transform: None, pooled }, vit::CLASSIFIER)
        }
        false => (Readout::None, ReadoutNames::NONE),
    };
    let names = Names { readout: readout_names, ..VISION_NAMES };
    Ok((Architecture::encoder(None, stack, readout, Length::Any), names))
}

/// Positions were learnt on a square of `num_patches`, and are stretched to an image's own grid.
fn patches_of_any_shape(config: &ConfigFile) -> Result<Patches, Error> {
    let n = config.size_or("num_patches", 256)?;
    let n_rows = n.isqrt();
    if n_rows * n_rows != n {
        return Err(config.error("num_patches", format!("is {n}, which is no square")));
    }
    let [side, n_channels] = vit::pixels(config, 16)?;
    if side > vit::MAX_IMAGE_SIDE {
        let message = format!("is {side}; attlas reads images of up to {} pixels a side", vit::MAX_IMAGE_SIDE);
        return Err(config.error("patch_size", message));
    }
    Ok(Patches {
        n_channels,
        side,
        grid: [n_rows; 2],
        leading: Vec::new(),
        bias: true,
        stored: PatchMatrix::Pixels,
        has_positions: true,
        other_grids: OtherGrids::LinearAveraging,
    })
}

fn read_text(config: &ConfigFile) -> Result<(Architecture, Names), Error> {
    let config = &clip::tower(config, "text_config")?;
    let stack = clip::text_stack(config, &DEFAULTS, (32_000, 64), Visibility::FULL)?;
    let n_tokens = stack.embedding.n_tokens;
    let mut architecture = Architecture::encoder(None, stack, Readout::None, Length::Any);
    let said = config.id("pad_token_id", n_tokens)?;
    let n = config.size_or("max_position_embeddings", 64)?;
    let filling = said.or((n_tokens > 1).then_some(1)).map(|id| Filling { id, is_assumed: said.is_none(), n });
    architecture.ids = SpecialIds { filling, ..SpecialIds::default() };
    Ok((architecture, Names { encoder: Some(TEXT_STACK), ..TEXT_NAMES }))
}

const VISION_NAMES: Names = Names {
    prefixes: &["vision_model.", ""],
    encoder: Some(StackNames { projections: &["embeddings.patch_embedding"], final_norm: "post_layernorm", ..LAYERS }),
    decoder: None,
    readout: ReadoutNames::NONE,
    layout: Layout::OutIn,
    // and the other tower
    ignored: &["embeddings.position_ids", "text_", "logit_scale", "logit_bias"],
    further_layers: 0,
    superfluous: Superfluous::Pooling(&["vision_model.head.", "head."]),
};
