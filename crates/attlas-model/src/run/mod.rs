//! A run: texts, images or sounds in; a recording, logits and generated texts out.

pub mod backward;
mod batch;
pub(crate) mod capitals;
pub(crate) mod check;
pub mod collect;
pub mod generate;
pub mod input;
pub(crate) mod languages;
pub mod loops;
pub mod objects;
pub mod packed;
pub mod record;
pub(crate) mod resume;
pub mod seen;
pub mod sentences;
mod text;
pub mod words;
