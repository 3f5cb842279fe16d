//! Trains the encoder-decoder of Vaswani et al. (2017), keeping checkpoints that can be watched.
//!
//! Without the feature `train` there are sentence pairs, alignment and evaluation alone.

pub mod alignment;
#[cfg(feature = "train")]
pub mod architecture;
pub mod batch;
pub mod bleu;
#[cfg(feature = "train")]
pub mod checkpoint;
#[cfg(feature = "train")]
pub mod config;
pub mod data;
mod error;
pub mod evaluate;
#[cfg(feature = "train")]
mod files;
#[cfg(feature = "train")]
pub mod film;
#[cfg(feature = "train")]
mod folder;
#[cfg(feature = "train")]
pub mod loss;
#[cfg(feature = "train")]
pub mod network;
#[cfg(feature = "train")]
pub mod optimizer;
#[cfg(feature = "train")]
pub mod step;
#[cfg(feature = "train")]
pub mod tokenizer;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "train")]
pub mod translate;
#[cfg(feature = "train")]
pub mod variation;
#[cfg(feature = "train")]
pub mod weights;

#[cfg(feature = "train")]
pub use architecture::Architecture;
#[cfg(feature = "train")]
pub use config::{Budget, Config, Recipe, Resume};
pub use error::Error;
pub use evaluate::evaluate;
#[cfg(feature = "train")]
pub use train::train;
