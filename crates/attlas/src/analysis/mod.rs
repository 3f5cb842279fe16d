//! Numbers about a head: what it looks at, how broadly, and whether that is more than positions alone would give.
//!
//! [`MEASURES`] says what is looked for, each measure defined once. [`measure()`] reads every map of a text row by row and keeps
//! [`Sums`], which [`merge`] over texts; [`standouts`] names what lies over its baseline.
//!
//! Every function here is pure. Those about weights take one [`Row`] of a map with padding left out ([`Rows`] reads them);
//! those that change the axes (pieces to words, special tokens hidden) take a [`Grid`]. Entropies are in nats.

mod breadth;
mod classes;
pub mod coreference;
mod geometry;
mod heads;
mod measure;
mod positional;
mod rarity;
mod rows;
mod sink;
mod student;
mod sums;
pub mod syntax;
mod tree_words;
mod words;

pub use breadth::{confidence, entropy, largest_weight, normalized_entropy, smoothed_entropy};
pub use classes::{class_weight, is_punctuation, is_separator};
pub use geometry::{Geometry, Peak, Stripes};
pub use heads::{HeadSummary, HeadSums, Standout, measure, measure_all, merge, standouts, summarise, summarise_all};
pub use measure::{Baseline, MEASURES, Measure, Reads, Score};
pub use positional::{looks_most_at, offset_weight};
pub use rarity::{looks_most_at_one_of, rarest_keys};
pub use rows::{Columns, Keys, Row, Rows};
pub use sink::{first_key_weight, sink_weight};
pub use sums::{Sample, Sums};
pub use tree_words::{TreeWords, WordRow, for_each_word_row};
pub use words::{Link, WordLinks, links, word_links};

pub use crate::grid::{Grid, Hidden, RowTokens};

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
