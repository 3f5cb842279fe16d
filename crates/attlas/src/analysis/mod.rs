//! Numbers about a head: what it looks at, how broadly, and whether that is more than positions alone would give.
//!
//! Every function here is pure. Those about weights take [`Rows`], one head's weights for one text with padding left
//! out; those that change the axes (pieces to words, special tokens hidden) take a [`Grid`]. Entropies are in nats.

mod alignment;
mod breadth;
mod classes;
mod geometry;
mod positional;
mod rarity;
mod rows;
mod sink;
mod standouts;

pub use crate::grid::{Grid, Hidden, RowTokens};
pub use alignment::{Alignment, align, coverage};
pub use breadth::{
    confidence, entropy, largest_weights, mean_normalized_entropy, normalized_entropy, smoothed_entropy,
};
pub use classes::{class_mass, is_punctuation, is_separator};
pub use geometry::{Geometry, Peak, geometry};
pub use positional::{offset_mass, positional_share, uniform_offset_mass};
pub use rarity::rare_token_share;
pub use rows::Rows;
pub use sink::{sink_rate, sink_weight};
pub use standouts::{Baseline, Finding, HeadSummary, Standout, standouts, summarise};

/// The index of the largest weight, the first of equals; `None` for an empty row or one that is all zero.
pub(crate) fn argmax(weights: &[f32]) -> Option<usize> {
    let mut best: Option<(usize, f32)> = None;
    for (index, &weight) in weights.iter().enumerate() {
        if weight > best.map_or(0.0, |(_, largest)| largest) {
            best = Some((index, weight));
        }
    }
    best.map(|(index, _)| index)
}

/// The mean; `None` of nothing.
pub(crate) fn mean(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, count) = numbers.into_iter().fold((0.0, 0_usize), |(sum, count), number| (sum + number, count + 1));
    (count > 0).then(|| sum / count as f64)
}
