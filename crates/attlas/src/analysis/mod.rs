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
mod contacts;
mod copies;
pub mod coreference;
pub mod describe;
mod distance;
mod divergence;
mod flow;
mod gathered;
mod geometry;
mod heads;
mod measure;
mod plan;
mod plane;
mod positional;
mod ranks;
mod rarity;
mod received;
mod rollout;
mod rows;
mod scores;
mod share;
mod sink;
mod spans;
pub mod spoken;
mod student;
mod sums;
pub mod syntax;
mod table;
mod target;
mod tree_words;
mod words;

pub use breadth::{confidence, entropy, largest_weight, normalized_entropy, smoothed_entropy};
pub use classes::{is_function_word, is_punctuation, is_separator, of_class};
pub use columns::{Annotations, Columns, Copies, Keys};
pub use compare::{CellDifference, ComparedHead, ComparedText, Comparison, Matching, compare};
pub use contacts::{Contacts, Pair, average_product_corrected};
pub use copies::{copies_of_next, duplicates, followers, previous};
pub use distance::HeadDistances;
pub use divergence::{MAX_DIVERGENCE, divergence, total_variation};
pub use flow::{FLOW_TOKENS, MAX_FLOW_TOKENS, flow, flows_into};
pub use gathered::Gathered;
pub use geometry::{Geometry, Peak, Stripes};
pub(crate) use heads::MAX_WEIGHTS;
pub use heads::{HeadSums, Standout, measure, measure_all, measure_with, merge, standouts};
pub use measure::{Baseline, MIN_SCORES, Measure, Reads, Score, Unnamed};
pub use plane::{Plane, plane};
pub use positional::{at_offset, distances, most_at_offset, nearby, recency};
pub use ranks::rank_correlation;
pub use rarity::{most_at_rarest, rarest_keys};
pub use received::{Question, Received};
pub use rollout::{Paths, augmented, rollout, whole_layer};
pub use rows::{Query, Row, Rows};
pub use scores::{HeadClass, LayerProfile, ScoreRow, classes, layer_profiles, score_rows};
pub use share::interval_of_share;
pub use sink::{sink_weight, sink_with_choice};
pub use spans::{CHAT_MARKS, ROLE_NAMES, Span, roles, turns};
pub use sums::{Sample, Sums};
pub use table::MEASURES;
pub use target::Target;
pub use tree_words::{TreeWords, WordRow, for_each_word_row};
pub use words::{Link, WordLinks, links, word_links};

pub use crate::grid::{Grid, Hidden, RowTokens};

/// The index of the largest weight, the first of equals; `None` for an empty row or one that is all zero.
pub(crate) fn argmax(weights: &[f32]) -> Option<usize> {
    // the largest first, several at a time, then where it is: a loop that remembers both goes one by one
    let larger = |a: f32, b: f32| if b > a { b } else { a }; // NaN is larger than nothing
    let (chunks, rest) = weights.as_chunks::<8>();
    let mut lanes = [0.0_f32; 8];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, weight)| *lane = larger(*lane, *weight));
    }
    let largest = lanes.iter().chain(rest).fold(0.0, |largest, weight| larger(largest, *weight));
    (largest > 0.0).then(|| weights.iter().position(|weight| *weight == largest)).flatten()
}
