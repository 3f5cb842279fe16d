//! What image processors do where preprocessor_config.json leaves it unsaid, or means something of their own by it.

use crate::Error;
use crate::config::file::ConfigFile;

/// The classes that a preprocessor_config.json names.
fn classes(preprocessor: &ConfigFile) -> Result<impl Iterator<Item = &str>, Error> {
    let names = [preprocessor.text("image_processor_type")?, preprocessor.text("feature_extractor_type")?];
    Ok(names.into_iter().flatten())
}

/// Whether a size that is one number is the shorter side: in CLIP's older files it is.
pub(crate) fn size_is_shorter_side(preprocessor: &ConfigFile) -> Result<bool, Error> {
    Ok(classes(preprocessor)?.any(|name| name.contains("CLIP")))
}

/// Whether images keep their shape, within a longest side, and have ImageNet's colours where nothing is said (DETR).
pub(crate) fn keeps_shape(preprocessor: &ConfigFile) -> Result<bool, Error> {
    let is_one = |name: &str| name.starts_with("DetrImageProcessor") || name == "DetrFeatureExtractor";
    Ok(classes(preprocessor)?.any(is_one))
}

/// Whether `do_pad` means that an image is put in the middle of a square first (LLaVA), and not that images of a batch become equally large.
pub(crate) fn pads_to_square(preprocessor: &ConfigFile) -> Result<bool, Error> {
    Ok(classes(preprocessor)?.any(|name| name.starts_with("LlavaImageProcessor")))
}

/// Whether pixels are resized as numbers that are not rounded to 8 bits afterwards (DINOv3).
pub(crate) fn resizes_numbers(preprocessor: &ConfigFile) -> Result<bool, Error> {
    Ok(classes(preprocessor)?.any(|name| name.starts_with("DINOv3ViTImageProcessor")))
}
