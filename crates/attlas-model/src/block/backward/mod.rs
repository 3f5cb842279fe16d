//! The way back through the generic Transformer: beside each part of the forward pass, what goes back through it.
//!
//! A block that is computed for its way back leaves a tape, and the tape is walked in reverse. Where only numbers of the pass are
//! asked for, hidden states between blocks are kept and [`StackRef::go_back`](super::forward::StackRef) computes a block once more
//! when its turn comes; training keeps all tapes. Every part has the same form: it reads its input and the gradient of its output,
//! and gives the gradient of its input. The gradients of its parameters come from the same two and are added to [`Sums`].

mod attention;
mod block;
#[cfg(test)]
mod differences;
mod embed;
mod feed_forward;
mod heads;
mod latent;
mod linear;
mod mixture;
mod norm;
mod project;
mod readout;
mod stack;
mod sums;

use attlas::Kind;
use attlas_kernels::Slope;

use super::pass::{Array, Pass, Plan, Site, Stopped};
use super::workspace::Workspace;

pub(crate) use embed::EmbeddingGradient;
pub(crate) use stack::StackDropout;
pub(crate) use sums::Sums;

/// By which rules numbers go back through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Rules {
    /// By the chain rule: gradients.
    #[default]
    Gradient,
    /// Such that an input times what comes back is its relevance (Achtibat et al. 2024, AttnLRP): the divisor of a norm is
    /// held fixed, a non-linearity counts as `f(x) / x`, what comes back through a product of two is halved, and with it
    /// queries and keys get a quarter, values half.
    AttnLrp,
    /// The same with attention weights and gates held fixed: nothing goes back through queries and keys, all through values
    /// (Ali et al. 2022, CP-LRP).
    CpLrp,
}

impl Rules {
    /// What a non-linearity multiplies by what comes back.
    fn slope(self) -> Slope {
        if self == Rules::Gradient { Slope::Derivative } else { Slope::Share }
    }

    /// The factors on what comes back through a product to the gate, or the share of an expert, and to what it is a factor on.
    fn of_product(self) -> [f32; 2] {
        match self {
            Rules::Gradient => [1.0, 1.0],
            Rules::AttnLrp => [0.5, 0.5],
            Rules::CpLrp => [0.0, 1.0],
        }
    }

    /// The factors on what comes back to queries and keys, and to values.
    fn of_attention(self) -> [f32; 2] {
        match self {
            Rules::Gradient => [1.0, 1.0],
            Rules::AttnLrp => [0.25, 0.5],
            Rules::CpLrp => [0.0, 1.0],
        }
    }
}

/// What a way back follows and what it gathers.
pub(crate) struct Back<'a> {
    /// By which rules.
    pub rules: Rules,
    /// The sites whose gradients are kept.
    pub wanted: &'a Pass,
    /// The plan of the blocks that are computed once more: what the pass changed, and queries, keys and values kept.
    pub plan: Plan<'a>,
    /// What was kept so far, last layers first.
    pub kept: Vec<Gradient>,
    /// Where gradients of parameters are summed.
    pub sums: Sums<'a>,
    /// Buffers.
    pub workspace: Workspace,
}

/// A gradient that was kept.
pub(crate) struct Gradient {
    pub site: Site,
    pub kind: Kind,
    pub layer: usize,
    pub array: Array,
}

/// Why a way back did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// The callback stopped it.
    Stopped,
    /// What comes back from an attention head is infinite or no number.
    Head { kind: Kind, layer: usize, head: usize },
    /// What comes back to the keys or values that several heads read is.
    Group { kind: Kind, layer: usize, first: usize, last: usize },
    /// What comes back from a block is.
    Block { stack: Kind, layer: usize },
    /// Nothing goes back through what stands in the place of a block's attention.
    Recurrence { stack: Kind, layer: usize },
}

impl From<Stopped> for Halt {
    fn from(_: Stopped) -> Halt {
        Halt::Stopped
    }
}

impl Back<'_> {
    /// Whether the gradient of a site is kept at a layer.
    fn wants(&self, site: Site, kind: Kind, layer: usize) -> bool {
        self.wanted.keeps_at(site, kind, layer)
    }

    /// Keeps the gradient of a site where it is wanted.
    fn keep(&mut self, site: Site, kind: Kind, layer: usize, shape: &[usize], values: impl FnOnce() -> Vec<f32>) {
        if self.wants(site, kind, layer) {
            self.kept.push(Gradient { site, kind, layer, array: Array { shape: shape.to_vec(), values: values() } });
        }
    }
}

/// `sum += addend`.
fn add(sum: &mut [f32], addend: &[f32]) {
    sum.iter_mut().zip(addend).for_each(|(sum, addend)| *sum += addend);
}
