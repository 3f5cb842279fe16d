//! What attention does not show: what a model computes is taken apart, or changed and measured again.

mod alti;
mod circuits;
mod components;
mod composition;
mod eigenvalues;
mod matrices;
mod norms;
mod parts;
pub mod score;
mod why;

pub use alti::{Reach, contributions};
pub use circuits::{Circuit, Copying, Pair, circuit, copying};
pub use components::Source;
pub use composition::{Composition, Compositions, compositions};
pub use matrices::Norms;
pub use norms::{Mixing, NormForm, Shares, keep_value_norms, mixing, summed_norms};
pub use parts::traced;
pub use why::{Asked, Origin, Part, Parts, Term, Why, why};
