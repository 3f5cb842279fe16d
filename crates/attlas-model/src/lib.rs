//! Runs Transformers and records their attention heads.
//!
//! A [`Model`] comes from a folder or is the embedded one; [`Model::run`] gives an [`attlas::Recording`], logits and
//! generated text. One generic Transformer (`config`, `transformer`, `forward`) serves every family; a family
//! (`family/`) only says how its configuration and its weights are to be read.

mod activation;
mod audio;
mod batch;
pub mod config;
mod config_file;
mod convolution;
mod disentangled;
mod embed;
mod embedded;
mod error;
pub mod family;
mod files;
mod forward;
mod generate;
mod head;
pub mod hub;
pub mod image;
mod input;
mod languages;
mod linear;
mod load;
mod matmul;
mod model;
mod mxfp4;
mod norm;
mod rope;
mod run;
mod selfattention;
mod stretch;
mod text;
pub mod tokenizer;
mod transformer;
pub mod weights;
mod workspace;

pub use config_file::ConfigFile;
pub use convolution::Convolution;
pub use error::Error;
pub use input::{Features, Input};
pub use linear::Linear;
pub use load::{AttentionNames, FeedForwardNames, HeadNames, Layout, Names, ProjectionNames, StackNames, Superfluous};
pub use model::{Model, Side};
pub use mxfp4::Mxfp4;
pub use norm::NormWeights;
pub use run::{Array, Decoding, Generation, Run, RunOptions};
pub use tokenizer::{Encoded, Tokenizer};
pub use transformer::{
    AttentionWeights, BlockWeights, DistanceWeights, EmbeddingWeights, Expert, Experts, FeedForwardWeights,
    HeadWeights, PackedExperts, PatchWeights, Projections, ReadWeights, StackWeights, Transformer,
};
