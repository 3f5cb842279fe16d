//! Trains the encoder-decoder of Vaswani et al. (2017), keeping checkpoints that can be watched.

pub mod alignment;
pub mod architecture;
pub mod batch;
pub mod bleu;
pub mod checkpoint;
pub mod config;
pub mod data;
mod error;
pub mod evaluate;
mod files;
pub mod film;
mod folder;
pub mod kernels;
pub mod network;
pub mod optimizer;
pub mod step;
pub mod tokenizer;
pub mod train;
pub mod translate;
pub mod weights;

pub use architecture::Architecture;
pub use config::{Budget, Config, Recipe, Resume};
pub use error::Error;
pub use evaluate::evaluate;
pub use train::train;
