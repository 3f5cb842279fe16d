//! What models read besides texts: images and sounds.

pub(crate) mod audio;
pub mod image;
