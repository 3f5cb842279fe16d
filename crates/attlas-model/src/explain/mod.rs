//! What attention does not show: what a model computes is taken apart, or changed and measured again.

pub mod adversarial;
mod along;
mod alti;
mod attribution;
mod by_knock_out;
mod circuits;
mod components;
mod composition;
pub mod direct;
mod eigenvalues;
pub mod faithfulness;
pub mod importance;
pub mod knock_out;
pub mod lens;
mod maps;
mod matrices;
mod method;
mod norms;
mod of_maps;
mod parts;
pub mod patch;
mod quadrature;
mod read;
mod relevance;
pub mod score;
mod why;

pub use alti::{Reach, contributions};
pub use attribution::{Attribution, Completeness, Moved, Share, Way};
pub use circuits::{Circuit, Copying, Pair, circuit, copying};
pub use components::Source;
pub use composition::{Composition, Compositions, compositions};
pub use matrices::Norms;
pub use method::{Cost, Definition, METHODS, Method, Unit};
pub use norms::{Mixing, NormForm, Shares, keep_value_norms, mixing, summed_norms};
pub use parts::traced;
pub use why::{Asked, Origin, Part, Parts, Term, Why, why};
