//! Numbers about a head: what it looks at, how broadly, and whether that is more than positions alone would give.
//!
//! [`MEASURES`] says what is looked for, each measure defined once. [`measure()`] reads every map of a text row by row and keeps
//! [`Sums`], which [`merge`] over texts; [`standouts`] names what lies over its baseline.
//!
//! Every function here is pure. Those about weights take one [`Row`] of a map with padding left out ([`Rows`] reads them);
//! those that change the axes (pieces to words, special tokens hidden) take a [`Grid`]. Entropies are in nats.

pub mod alignment;
mod assignment;
mod breadth;
mod classes;
mod columns;
mod common;
mod compare;
mod copies;
pub mod coreference;
pub mod describe;
mod distance;
mod divergence;
mod gathered;
mod geometry;
mod heads;
mod measure;
mod plane;
mod positional;
mod rarity;
mod received;
mod rows;
mod scores;
mod sink;
mod spans;
mod student;
mod sums;
pub mod syntax;
mod table;
mod tree_words;
mod words;

pub use breadth::{confidence, entropy, largest_weight, normalized_entropy, smoothed_entropy};
pub use classes::{class_weight, is_function_word, is_punctuation, is_separator};
pub use columns::{Annotations, Columns, Copies, Keys};
pub use compare::{CellDifference, ComparedHead, ComparedText, Comparison, Matching, compare};
pub use copies::{on_copies_of_next, on_duplicates, on_induction, on_previous};
pub use distance::HeadDistances;
pub use divergence::{MAX_DIVERGENCE, divergence};
pub use gathered::Gathered;
pub use geometry::{Geometry, Peak, Stripes};
pub use heads::{HeadSums, Standout, measure, measure_all, measure_with, merge, standouts};
pub use measure::{Baseline, Measure, Reads, Score};
pub use plane::{Plane, plane};
pub use positional::{distance, local_weight, looks_most_at, offset_weight, recency};
pub use rarity::{looks_most_at_rarest, rarest_keys};
pub use received::{Question, Received};
pub use rows::{Row, Rows};
pub use scores::{HeadClass, LayerProfile, ScoreRow, classes, layer_profiles, score_rows};
pub use sink::{sink_weight, sink_with_choice};
pub use spans::{CHAT_MARKS, ROLE_NAMES, Span, roles, turns};
pub use sums::{Sample, Sums};
pub use table::MEASURES;
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
