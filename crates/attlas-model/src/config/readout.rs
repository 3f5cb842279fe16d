//! From the last hidden states to logits: the readout, and what can differ between readouts.

use super::{Activation, Norm};

/// From the last hidden states to logits.
#[derive(Debug, Clone)]
pub enum Readout {
    /// None: the file holds only the stacks.
    None,
    /// A score per token of the vocabulary, at every position.
    Tokens {
        /// Rows of the output matrix.
        n_tokens: usize,
        /// Applied first (masked language models).
        transform: Option<Transform>,
        /// Whether a bias is added.
        bias: bool,
        /// Where the output matrix comes from.
        output: Output,
        /// Factor on the hidden state (T5 with tied embeddings: `1/√d_model`).
        scale: f32,
        /// `c · tanh(logit / c)` (Gemma 2).
        softcap: Option<f32>,
    },
    /// A score at every position (ELECTRA: was the token replaced?).
    Positions {
        /// Applied first.
        transform: Option<Transform>,
    },
    /// A score per class for each row, the last class being none, and the box of what it found (DETR).
    Objects {
        /// How many classes, that of nothing included.
        n: usize,
    },
    /// A score per class, from one row for the whole input.
    Classes {
        /// How many classes.
        n: usize,
        /// Applied first.
        transform: Option<Transform>,
        /// How the row is made of all hidden states.
        pooled: Pooled,
    },
}

/// How one row is made of all hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooled {
    /// The first one. Shape `[d_model]`.
    First,
    /// The first two side by side, each with its own matrix; the two scores are averaged (DeiT). Shape `[2 · d_model]`.
    FirstTwo,
    /// The mean of the patches (SigLIP). Shape `[d_model]`.
    Mean,
    /// The first one, and beside it the mean of the patches (DINOv2). Shape `[2 · d_model]`.
    FirstAndMean,
}

impl Pooled {
    /// How many hidden states stand side by side.
    pub fn n_parts(self) -> usize {
        match self {
            Pooled::First | Pooled::Mean => 1,
            Pooled::FirstTwo | Pooled::FirstAndMean => 2,
        }
    }
}

/// Where the output matrix comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is stored.
    Own,
    /// It is stored, or else it is the embedding table.
    OwnOrTied,
    /// It is the embedding table.
    Tied,
}

/// A dense layer with a non-linearity before an output matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Its output width.
    pub width: usize,
    /// The non-linearity.
    pub activation: Activation,
    /// A norm after it.
    pub norm: Option<Norm>,
    /// Whether the dense layer has a bias.
    pub bias: bool,
}
