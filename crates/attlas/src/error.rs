//! What can go wrong, with the numbers.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use crate::Kind;
use crate::arrays::Cause;

/// An error of this crate; its text says what was needed, what came and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file could not be written; what was there before is untouched.
    #[error("{}: could not be written: {source}", path.display())]
    Output {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected and what came.
        message: String,
    },
    /// A file of tensors that is no recording.
    #[error("{}: a safetensors file, but no attlas recording; attention arrays from elsewhere are imported first", path.display())]
    NoRecording {
        /// The file.
        path: PathBuf,
    },
    /// A recording contradicts itself.
    #[error("{0}")]
    Inconsistent(String),
    /// The recording has no attention of this kind.
    #[error("the recording has no {kind} attention; it has {available}")]
    NoKind {
        /// What was asked for.
        kind: Kind,
        /// What there is.
        available: String,
    },
    /// The layer does not exist.
    #[error("there is no {kind} layer {layer}; {available}")]
    NoLayer {
        /// The kind of attention.
        kind: Kind,
        /// What was asked for.
        layer: usize,
        /// The layers there are.
        available: String,
    },
    /// The head does not exist.
    #[error("{kind} layer {layer} has no head {head}; its heads are 0 to {last}")]
    NoHead {
        /// The kind of attention.
        kind: Kind,
        /// The layer.
        layer: usize,
        /// What was asked for.
        head: usize,
        /// The last head there is.
        last: usize,
    },
    /// The batch item does not exist.
    #[error("there is no text {item}; the recording has {n_items} (counted from 0)")]
    NoItem {
        /// What was asked for.
        item: usize,
        /// How many there are.
        n_items: usize,
    },
    /// Rows or columns that a map does not have.
    #[error("{axis} {}:{} are outside the {kind} map, whose {axis} are 0:{n}", range.start, range.end)]
    OutsideMap {
        /// `rows` or `columns`.
        axis: &'static str,
        /// The rows or columns that were asked for, counted from 0 without padding.
        range: Range<usize>,
        /// The kind of attention.
        kind: Kind,
        /// How many rows or columns the map has, padding left out.
        n: usize,
    },
    /// Imported arrays that are no attention weights.
    #[error("{0}")]
    BadWeights(String),
    /// An imported array of which nothing says what kind of attention it is.
    #[error(
        "{array} does not say what kind of attention it is; the names encoder, decoder_self and decoder_cross do \
         (encoder.0, encoder.1, … for the layers of a batch), and those of transformers: attentions, encoder_attentions, \
         decoder_attentions, cross_attentions"
    )]
    KindUnknown {
        /// The array, with its name in the file where it has one.
        array: String,
    },
    /// Imported weights of which a row sums to more than 1.
    #[error("{place}: the row sums to {sum}, more than 1{}", after(cause))]
    Unnormalised {
        /// Kind, head, text and row.
        place: String,
        /// What the row sums to.
        sum: f32,
        /// Why that probably is.
        cause: Option<Cause>,
    },
    /// More than a written limit allows.
    #[error("{what} would need {needed} bytes, more than the limit of {limit}; {remedy}")]
    Limit {
        /// What was asked for.
        what: String,
        /// Bytes it takes.
        needed: u64,
        /// Bytes allowed.
        limit: u64,
        /// How to ask for less, or raise the limit.
        remedy: Remedy,
    },
    /// More layers, texts, heads or tokens than a recording may have.
    #[error("{what} has {n} {things}, more than the limit of {limit}")]
    TooMany {
        /// What has them: `the recording`, `encoder layer 3`, a file and its array.
        what: String,
        /// How many there are.
        n: usize,
        /// What is counted.
        things: &'static str,
        /// How many are possible.
        limit: usize,
    },
    /// Hiding special tokens, or a range, leaves no row or no column of the map.
    #[error("{0}")]
    NothingShown(String),
    /// A map too large to be held was asked for in a way that needs all its numbers.
    #[error(
        "{what} needs every number that is shown, but {n_rows} × {n_columns} are more than {limit}: an overview, or a range \
         of it, can be had"
    )]
    NeedsWholeMap {
        /// What needs the whole map: `merging pieces into words`, `hiding special tokens`.
        what: &'static str,
        /// Rows that would be shown.
        n_rows: usize,
        /// Columns that would be shown.
        n_columns: usize,
        /// The most numbers of one map that are held in memory.
        limit: usize,
    },
    /// A quantity that is not defined for a recording; the sentence says why, and what is.
    #[error("{0}")]
    Undefined(String),
    /// Words of two texts that cannot be aligned.
    #[error("{0}")]
    Alignment(String),
    /// Rows are to be named after what they predict, which the recording does not know.
    #[error("the recording does not say which token each row predicts; the row that has read a word is known")]
    PredictedUnknown,
    /// A token without a place in the text, where words are told by their places.
    #[error(
        "token {place} of the {side} (\"{text}\") has no place in a text, so that words between white space cannot be told"
    )]
    Placeless {
        /// Which token, counted from 0.
        place: usize,
        /// `source` or `target`.
        side: &'static str,
        /// How it is shown.
        text: String,
    },
    /// A figure that cannot be drawn.
    #[error("{0}")]
    Figure(String),
}

/// A cause after a sentence.
fn after(cause: &Option<Cause>) -> String {
    cause.as_ref().map_or(String::new(), |cause| format!(": {cause}"))
}

/// What helps when a limit refuses the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Fewer pixels, or a format that has none.
    DrawSmaller,
    /// Fewer maps or rows, or a higher limit.
    ChooseFewer,
    /// A higher limit.
    RaiseLimit,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remedy::DrawSmaller => "draw it smaller, or write SVG or PDF",
            Remedy::ChooseFewer => "choose fewer kinds, layers, heads, rows or columns, or raise the limit",
            Remedy::RaiseLimit => "raise the limit to read it all the same",
        })
    }
}
