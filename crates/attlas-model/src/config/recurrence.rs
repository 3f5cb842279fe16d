//! What stands in the place of attention in layers of hybrid models: states of one size that go from token to token.

use super::Norm;
use attlas_kernels::Activation;

/// A layer without attention: each token changes a state that the tokens before it left, and reads it. There are no weights
/// between tokens, so nothing of it is recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence {
    /// What changes the state.
    pub rule: Rule,
    /// Tokens that the convolution before it sees: the last ones, its own included.
    pub kernel: usize,
    /// The non-linearity behind the convolution.
    pub activation: Activation,
    /// Whether the convolution has a bias.
    pub convolution_bias: bool,
    /// Whether the projections into the layer and out of it have biases.
    pub biases: bool,
}

/// What changes the state, and how it is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// A state for each column: `h ← exp(Δ · A) ⊙ h + Δ · x · B`, read as `h · C + D · x` (Gu & Dao 2023, §3).
    Mamba(Mamba),
    /// A state for each head, which decays as one (Dao & Gu 2024, §6).
    Mamba2(Mamba2),
    /// A state for each head, from keys to values, which is corrected at a key by the share `β` of what it says there wrongly:
    /// `S ← e^g · S + β · k ⊗ (v − e^g · S · k)`, read as `S · q` (Yang et al. 2025, "Gated Delta Networks").
    Delta(Delta),
}

/// The sizes of [`Rule::Mamba`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mamba {
    /// Columns.
    pub width: usize,
    /// Numbers of a column's state.
    pub n_states: usize,
    /// Width of what the steps `Δ` are made of.
    pub d_step: usize,
    /// The norms on that, on `B` and on `C` (Jamba).
    pub norm: Norm,
}

/// The sizes of [`Rule::Mamba2`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mamba2 {
    /// Heads.
    pub n_heads: usize,
    /// Columns of a head.
    pub d_head: usize,
    /// Groups of heads that share `B` and `C`.
    pub n_groups: usize,
    /// Numbers of a column's state.
    pub n_states: usize,
    /// The least and the largest step.
    pub steps: [f32; 2],
    /// On the gated output, group by group.
    pub norm: Norm,
}

/// The sizes of [`Rule::Delta`].
#[derive(Debug, Clone, PartialEq)]
pub struct Delta {
    /// Heads of queries and keys, each of which serves as many of the values'.
    pub n_key_heads: usize,
    /// Heads of values.
    pub n_heads: usize,
    /// Columns of a query or key.
    pub d_key: usize,
    /// Columns of a value.
    pub d_value: usize,
    /// On what each head gives, before its gate.
    pub norm: Norm,
}

impl Recurrence {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self.rule {
            Rule::Mamba(_) => "Mamba",
            Rule::Mamba2(_) => "Mamba-2",
            Rule::Delta(_) => "gated delta rule",
        }
    }

    /// Columns of what the layer gives before its last projection.
    pub fn width(&self) -> usize {
        match &self.rule {
            Rule::Mamba(mamba) => mamba.width,
            Rule::Mamba2(mamba) => mamba.n_heads * mamba.d_head,
            Rule::Delta(delta) => delta.n_heads * delta.d_value,
        }
    }

    /// Columns that go through the convolution.
    pub fn convolved(&self) -> usize {
        match &self.rule {
            Rule::Mamba(mamba) => mamba.width,
            Rule::Mamba2(mamba) => self.width() + 2 * mamba.n_groups * mamba.n_states,
            Rule::Delta(delta) => self.width() + 2 * delta.n_key_heads * delta.d_key,
        }
    }

    /// Columns that the layer's first projection gives: those of the convolution, the gate's, and a step of each head.
    pub fn projected(&self) -> usize {
        let steps = if let Rule::Mamba2(mamba) = &self.rule { mamba.n_heads } else { 0 };
        self.convolved() + self.width() + steps
    }

    /// Numbers of an item's state.
    pub fn n_carried(&self) -> usize {
        match &self.rule {
            Rule::Mamba(mamba) => mamba.width * mamba.n_states,
            Rule::Mamba2(mamba) => self.width() * mamba.n_states,
            Rule::Delta(delta) => self.width() * delta.d_key,
        }
    }
}
