//! Runs Transformers and records their attention heads.
