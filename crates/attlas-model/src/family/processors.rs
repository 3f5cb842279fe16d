//! What image processors do where preprocessor_config.json leaves it unsaid, or means something of their own by it.

use crate::Error;
use crate::config::file::ConfigFile;

/// The classes that a preprocessor_config.json names.
fn classes(preprocessor: &ConfigFile) -> Result<impl Iterator<Item = &str>, Error> {
    let names = [preprocessor.text("image_processor_type")?, preprocessor.text("feature_extractor_type")?];
    Ok(names.into_iter().flatten())
}

/// Classes of processors that do alike where their file says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processor {
    /// Resizes to 224 × 224. Also where no class is named.
    Vit,
    /// Resizes the shorter side to 224 and cuts out the middle (CLIP, DINOv2, LLaVA).
    Clip,
    /// Resizes to 256 × 256 and cuts out the middle.
    Deit,
    /// Resizes to 224 × 224 by another filter than [`Processor::Vit`] (SigLIP, BEiT).
    Siglip,
    /// As [`Processor::Vit`] with ImageNet's colours.
    Dinov3,
    /// Keeps the shape, within a longest side, with ImageNet's colours.
    Detr,
}

/// How the processors of the class that is named do where nothing is said, as `transformers` 5.24 has them.
pub(crate) fn processor(preprocessor: &ConfigFile) -> Result<Processor, Error> {
    let of_name = |name: &str| {
        let begins = |starts: &[&str]| starts.iter().any(|start| name.starts_with(start));
        match () {
            () if begins(&["CLIP", "ChineseCLIP", "BitImageProcessor", "LlavaImageProcessor"]) => Some(Processor::Clip),
            () if begins(&["DeiT"]) => Some(Processor::Deit),
            () if begins(&["SiglipImageProcessor", "Beit"]) => Some(Processor::Siglip),
            () if begins(&["DINOv3ViTImageProcessor"]) => Some(Processor::Dinov3),
            () if begins(&["DetrImageProcessor"]) || name == "DetrFeatureExtractor" => Some(Processor::Detr),
            () => None,
        }
    };
    Ok(classes(preprocessor)?.find_map(of_name).unwrap_or(Processor::Vit))
}

/// Whether a size that is one number is the shorter side: in CLIP's older files it is.
pub(crate) fn size_is_shorter_side(preprocessor: &ConfigFile) -> Result<bool, Error> {
    Ok(classes(preprocessor)?.any(|name| name.contains("CLIP")))
}

/// Whether `do_pad` means that an image is put in the middle of a square first (LLaVA), and not that images of a batch become equally large.
pub(crate) fn pads_to_square(preprocessor: &ConfigFile) -> Result<bool, Error> {
    Ok(classes(preprocessor)?.any(|name| name.starts_with("LlavaImageProcessor")))
}
