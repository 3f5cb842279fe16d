//! What attention does not show: what a model computes is taken apart, or changed and measured again.

mod attribution;
pub mod knock_out;
mod maps;
mod method;
mod quadrature;
mod read;
mod relevance;
pub mod score;

pub use attribution::{Attribution, Completeness, Moved, Share, Way};
pub use method::{Definition, METHODS, Method, Unit};
