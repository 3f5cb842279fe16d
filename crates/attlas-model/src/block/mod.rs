//! The generic Transformer: its weights, and what is computed with them, forwards.

pub(crate) mod attention;
pub mod backbone;
pub mod backward;
pub mod convolution;
pub(crate) mod disentangled;
pub mod dropout;
pub(crate) mod edits;
pub(crate) mod embed;
pub(crate) mod feed_forward;
pub(crate) mod forward;
pub(crate) mod join;
mod latent;
pub mod linear;
mod maps;
mod mixture;
pub mod norm;
pub mod parameters;
pub mod pass;
mod project;
mod readout;
pub mod recurrence;
pub(crate) mod rope;
pub(crate) mod state;
pub(crate) mod stretch;
pub mod weights;
pub(crate) mod workspace;
