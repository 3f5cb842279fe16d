//! What the output loses with each head, measured elsewhere, as the page shows it beside their weights.

use attlas::{HeadId, Kind};
use serde::Serialize;

/// Measured effects of heads, all by one method and metric.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadEffects {
    /// What was done to each head: `zero`.
    pub method: String,
    /// What was measured: `kl`, `loss`.
    pub metric: String,
    /// Heads without a finite effect are left out.
    pub heads: Vec<HeadEffect>,
}

/// What came of taking a head away.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadEffect {
    /// The kind of attention it is of.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// The metric with the change less without.
    pub effect: f64,
    /// The mean over rows of the row's largest weight, where it is known.
    pub mean_weight: Option<f64>,
}

/// [`HeadEffects`] in the page's description.
#[derive(Serialize)]
pub struct PageEffects<'a> {
    method: &'a str,
    metric: &'a str,
    heads: Vec<PageEffect>,
}

#[derive(Serialize)]
struct PageEffect {
    kind: Kind,
    layer: usize,
    head: usize,
    effect: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mean_weight: Option<f64>,
}

impl<'a> PageEffects<'a> {
    pub fn new(effects: &'a HeadEffects) -> PageEffects<'a> {
        let heads = effects.heads.iter().map(|one| PageEffect {
            kind: one.kind,
            layer: one.head.layer,
            head: one.head.head,
            effect: one.effect,
            mean_weight: one.mean_weight,
        });
        PageEffects { method: &effects.method, metric: &effects.metric, heads: heads.collect() }
    }
}
