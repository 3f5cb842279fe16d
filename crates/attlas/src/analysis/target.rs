//! The keys that a query is looked for on: what most measures ask of a row, known before a weight is.

use super::{Query, Row, Sample};

/// Some keys of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// The keys, each with what its weight counts: 1 but for distances.
    pub keys: Vec<(usize, f32)>,
    /// What a query that knows nothing would score.
    pub baseline: f64,
}

impl Target {
    /// These keys, each counted once.
    pub fn new(keys: impl IntoIterator<Item = usize>, baseline: f64) -> Target {
        Target { keys: keys.into_iter().map(|key| (key, 1.0)).collect(), baseline }
    }

    /// One key that may not be there. The baseline: looking at all keys that the query may see alike.
    pub fn at(query: &Query<'_>, key: Option<usize>) -> Target {
        let is_seen = key.is_some_and(|key| query.sees(key));
        Target::new(key, if is_seen { 1.0 / query.n_visible() as f64 } else { 0.0 })
    }

    /// Those of some keys that the query may look at; `None` where it sees none of them. The baseline: looking at all it sees
    /// alike.
    pub fn seen(query: &Query<'_>, keys: impl IntoIterator<Item = usize>) -> Option<Target> {
        let target = Target::new(keys.into_iter().filter(|key| query.sees(*key)), 0.0);
        let baseline = target.keys.len() as f64 / query.n_visible().max(1) as f64;
        (!target.keys.is_empty()).then_some(Target { baseline, ..target })
    }

    /// The same of an arg-max: the end token is no target, and no key that could be drawn.
    pub fn drawn(query: &Query<'_>, keys: impl IntoIterator<Item = usize>) -> Target {
        let end = query.columns.end;
        let n_keys = query.n_visible() - usize::from(end.is_some_and(|end| query.sees(end)));
        let target = Target::new(keys, 0.0);
        let n_targets = target.keys.iter().filter(|(key, _)| query.sees(*key) && end != Some(*key)).count();
        Target { baseline: n_targets as f64 / n_keys.max(1) as f64, ..target }
    }

    /// `Σ w(q,k) · count(k)` over the keys.
    pub fn weight_of(&self, row: &Row<'_>) -> Sample {
        Sample { score: weight_on(&self.keys, row.weights), baseline: self.baseline }
    }

    /// Whether the largest weight but the end token's lies on one of the keys, 1 or 0.
    pub fn most_of(&self, row: &Row<'_>) -> Sample {
        let is_on = row.argmax_but_end().is_some_and(|found| has(&self.keys, found));
        Sample { score: f64::from(u8::from(is_on)), baseline: self.baseline }
    }
}

/// The weight on some keys together, each times what it counts.
#[inline]
pub(super) fn weight_on(keys: &[(usize, f32)], weights: &[f32]) -> f64 {
    let weight = |key: usize| weights.get(key).map_or(0.0, |weight| f64::from(*weight));
    keys.iter().map(|(key, count)| weight(*key) * f64::from(*count)).sum()
}

/// Whether a key is one of some.
#[inline]
pub(super) fn has(keys: &[(usize, f32)], found: usize) -> bool {
    keys.iter().any(|(key, _)| *key == found)
}
