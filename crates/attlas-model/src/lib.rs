//! Runs Transformers and records their attention heads.
//!
//! A [`Model`] comes from a folder or is the embedded one; [`Model::run`] gives an [`attlas::Recording`], logits and
//! generated text. One generic Transformer (`config`, `transformer`, `forward`) serves every family; a family
//! (`family/`) only says how its configuration and its weights are to be read.

mod activation;
pub mod config;
mod config_file;
mod embedded;
mod error;
pub mod family;
mod files;
mod forward;
mod generate;
mod head;
pub mod hub;
mod linear;
mod load;
mod matmul;
mod model;
mod norm;
mod rope;
mod run;
mod selfattention;
mod text;
pub mod tokenizer;
mod transformer;
pub mod weights;
mod workspace;

pub use config_file::ConfigFile;
pub use error::Error;
pub use linear::Linear;
pub use load::{AttentionNames, FeedForwardNames, HeadNames, Layout, Names, ProjectionNames, StackNames, Superfluous};
pub use model::{Model, Side};
pub use norm::NormWeights;
pub use run::{Array, Decoding, Generation, Input, Run, RunOptions};
pub use tokenizer::{Encoded, Tokenizer};
pub use transformer::{
    AttentionWeights, BlockWeights, EmbeddingWeights, Expert, FeedForwardWeights, HeadWeights, Projections,
    StackWeights, Transformer,
};
