//! What attention does not show: what a model computes is taken apart, or changed and measured again.

pub mod adversarial;
mod alti;
mod attribution;
pub mod direct;
pub mod faithfulness;
pub mod importance;
pub mod knock_out;
pub mod lens;
mod maps;
mod method;
mod norms;
mod parts;
pub mod patch;
mod quadrature;
mod read;
mod relevance;
pub mod score;

pub use alti::{Reach, contributions};
pub use attribution::{Attribution, Completeness, Moved, Share, Way};
pub use method::{Definition, METHODS, Method, Unit};
pub use norms::{Mixing, NormForm, Shares, keep_value_norms, mixing, summed_norms};
pub use parts::traced;
