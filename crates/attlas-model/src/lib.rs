//! Runs Transformers and records their attention heads.

mod error;
mod files;
pub mod tokenizer;

pub use error::Error;
pub use tokenizer::{Encoded, Tokenizer};
