//! How a sublayer joins the residual stream: which norms stand before it, on what it gives, and on the sum.

use super::norm::NormWeights;
use super::weights::{AttentionWeights, BlockWeights, Mixer};
use crate::config::Residual;

/// How a sublayer `f` joins the stream `x`, with the norms that there are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Join<'a> {
    /// `norm(x + f(x))`.
    Post(&'a NormWeights),
    /// `x + norm(f(x))`.
    OutputNorm(&'a NormWeights),
    /// `x + post_norm(f(norm(x)))`.
    Sandwich(Option<&'a NormWeights>, &'a NormWeights),
    /// `x + f(norm(x))`.
    Pre(Option<&'a NormWeights>),
}

impl<'a> Join<'a> {
    /// Of a sublayer with its norm, and the second one where it has two.
    pub fn new(residual: Residual, norm: &'a Option<NormWeights>, post_norm: &'a Option<NormWeights>) -> Join<'a> {
        match (residual, norm, post_norm) {
            (Residual::Post, Some(norm), _) => Join::Post(norm),
            (Residual::OutputNorm, Some(norm), _) => Join::OutputNorm(norm),
            (Residual::Sandwich, norm, Some(post_norm)) => Join::Sandwich(norm.as_ref(), post_norm),
            (_, norm, _) => Join::Pre(norm.as_ref()),
        }
    }

    /// The norm on what the sublayer reads.
    pub fn before(self) -> Option<&'a NormWeights> {
        match self {
            Join::Post(_) | Join::OutputNorm(_) => None,
            Join::Sandwich(norm, _) | Join::Pre(norm) => norm,
        }
    }

    /// The norm on what the sublayer gives, before it is added.
    pub fn on_output(self) -> Option<&'a NormWeights> {
        match self {
            Join::OutputNorm(norm) | Join::Sandwich(_, norm) => Some(norm),
            Join::Post(_) | Join::Pre(_) => None,
        }
    }

    /// The norm on the stream with what the sublayer gives.
    pub fn on_sum(self) -> Option<&'a NormWeights> {
        match self {
            Join::Post(norm) => Some(norm),
            _ => None,
        }
    }
}

impl AttentionWeights {
    /// How the layer joins the stream of a block with such norms.
    pub(crate) fn join(&self, residual: Residual) -> Join<'_> {
        Join::new(residual, &self.norm, &self.post_norm)
    }
}

impl Mixer {
    /// The same, whatever lets tokens see each other.
    pub(crate) fn join(&self, residual: Residual) -> Join<'_> {
        match self {
            Mixer::Attention(attention) => attention.join(residual),
            Mixer::Recurrence(recurrence) => Join::new(residual, &recurrence.norm, &None),
        }
    }
}

impl BlockWeights {
    /// How the feed-forward joins the stream; in a parallel block without a norm of its own it reads through the attention's.
    pub(crate) fn feed_forward_join(&self, residual: Residual) -> Join<'_> {
        let join = Join::new(residual, &self.feed_forward_norm, &self.feed_forward_post_norm);
        match (residual, join) {
            (Residual::Parallel | Residual::ParallelSharedNorm, Join::Pre(None)) => {
                Join::Pre(self.mixer.join(residual).before())
            }
            _ => join,
        }
    }
}
