//! The pairs of one head, each hidden alone: what the output loses with each.

use attlas::recording::Which;
use attlas::{RowTokens, Tokens};

use super::asked::Measured;
use super::knock_out::{Baseline, KindHead, Watch};
use crate::Error;

/// Pairs that are hidden at most: each is a run.
const MAX_PAIRS: usize = 1 << 16;

/// The pairs of one head, each hidden alone.
#[derive(Debug, Clone)]
pub struct Edges {
    /// The head.
    pub head: KindHead,
    /// The metric's name.
    pub metric: &'static str,
    /// What it counts in.
    pub unit: &'static str,
    /// What is measured, in words.
    pub measures: String,
    /// The number before anything is hidden.
    pub before: f64,
    /// Query, key, effect, weight.
    pub rows: Vec<(usize, usize, f64, f32)>,
    /// What the rows are named after, as pictures name them: of cross-attention the tokens that they predict.
    pub queries: Tokens,
    /// The tokens of the columns.
    pub keys: Tokens,
}

/// How many pairs of a head there are to hide.
///
/// # Errors
/// When there is no such head, or there are more than can be hidden.
pub fn n_edges(baseline: &Baseline<'_>, head: KindHead) -> Result<usize, Error> {
    match baseline.edges(head, &Which::All)?.len() {
        n if n > MAX_PAIRS => Err(Error::Limit(format!(
            "{n} pairs of tokens are as many runs, and {MAX_PAIRS} are possible; use a shorter text"
        ))),
        n => Ok(n),
    }
}

/// What the output loses with each pair of a head hidden; `watch` is told how many are done.
///
/// # Errors
/// As [`n_edges`], [`Measured::metric`] and [`Baseline::edge_effects`].
pub fn edges(
    baseline: &Baseline<'_>,
    head: KindHead,
    measured: Measured<'_>,
    watch: &mut Watch<'_>,
) -> Result<Edges, Error> {
    n_edges(baseline, head)?;
    let metric = measured.metric(baseline.model(), &baseline.input, &baseline.unchanged)?;
    let map = baseline.map_of(head)?;
    let found = baseline.edge_effects(head, &Which::All, &metric, watch)?;
    let weight = |query: usize, key: usize| map.tile(query..query + 1, key..key + 1)[0];
    Ok(Edges {
        head,
        metric: metric.name(),
        unit: metric.unit(),
        measures: baseline.model().metric_in_words(&metric, &baseline.input),
        before: baseline.value(&metric)?,
        rows: found.iter().map(|&(query, key, effect)| (query, key, effect, weight(query, key))).collect(),
        queries: RowTokens::usual(head.kind).of(&map).clone(),
        keys: map.key_tokens().clone(),
    })
}
