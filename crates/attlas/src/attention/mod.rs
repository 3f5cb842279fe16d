//! Attention, computed: the context vectors a model goes on with, and the log-sum-exp that makes every weight exact later.
//!
//! Three versions, held together by tests: [`mod@reference`] is the formula, [`online`] adds the one idea that makes it stream,
//! and [`attend`] is for running.

pub mod online;
pub mod reference;
mod streaming;

pub use streaming::{Instructions, attend, attend_with};
pub(crate) use streaming::{Recorded, needs_f64};

use serde::{Deserialize, Serialize};

use crate::{MaskView, Pooled, Pooling, Scoring};

/// The sizes of one attention call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Query heads.
    pub n_heads: usize,
    /// Key–value heads; query head `h` reads head `h / (n_heads / n_kv_heads)` (Ainslie et al. 2023).
    pub n_kv_heads: usize,
    /// Rows of the map.
    pub n_queries: usize,
    /// Columns of the map.
    pub n_keys: usize,
    /// Width of a query and of a key.
    pub d_head: usize,
    /// Width of a value.
    pub d_value: usize,
}

impl Shape {
    /// The sizes of a map: query heads, rows, columns.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.n_heads, self.n_queries, self.n_keys]
    }

    /// The key–value head that query head `head` reads.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.n_heads / self.n_kv_heads)
    }
}

/// What one attention call reads: one sequence, all heads of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Shape `[n_heads, n_queries, d_head]`.
    pub queries: &'a [f32],
    /// Shape `[n_kv_heads, n_keys, d_head]`.
    pub keys: &'a [f32],
    /// Shape `[n_kv_heads, n_keys, d_value]`.
    pub values: &'a [f32],
    /// The sizes.
    pub shape: Shape,
    /// How scores are formed.
    pub scoring: &'a Scoring,
    /// Which keys are not padding; all when `None`. Shape `[n_keys]`.
    pub key_valid: Option<&'a [bool]>,
    /// Which keys are seen of those that the band of `scoring` lets through; all when `None`.
    pub mask: Option<MaskView<'a>>,
    /// Added to the scores of each key. Shape `[n_heads, n_keys]`.
    pub key_bias: Option<&'a [f32]>,
}

/// What one attention call writes.
#[derive(Debug)]
pub struct Outputs<'a> {
    /// `Σ_k w(q, k) · V[k]`, heads side by side, ready for the output projection. Shape `[n_queries, n_heads, d_value]`.
    pub context: &'a mut [f32],
    /// `ln Σ_k exp(score(q, k))`, the sink included; −∞, or the sink, for a query that sees no key.
    /// Shape `[n_heads, n_queries]`.
    pub lse: &'a mut [f32],
    /// When given, one overview per head, filled in the same pass.
    pub pooled: Option<(Pooling, &'a mut Vec<Pooled>)>,
}
