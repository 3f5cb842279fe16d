//! When the words of a transcript are spoken: cross-attention from tokens to times, and the cheapest way through it.

use std::ops::Range;

use serde::Serialize;

use crate::{AttentionMap, Error, Kind, RowTokens, Token, Tokens};

/// Frames over which a median is taken where a model does not say how many.
pub const MEDIAN_WIDTH: usize = 7;

/// Cells of a map at most: 16 million, or half a gigabyte while the way through them is found.
const MAX_CELLS: usize = 1 << 24;

/// A word of a transcript, with the time at which it is spoken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpokenWord {
    /// The word.
    pub word: String,
    /// Seconds from the beginning of the sound.
    pub start: f64,
    /// Seconds from the beginning of the sound.
    pub end: f64,
    /// The rows that predict its tokens.
    #[serde(skip)]
    pub rows: Range<usize>,
}

/// When the words of a transcript are spoken, and what that was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// The words, in order.
    pub words: Vec<SpokenWord>,
    /// The rows that the way goes through: from the one that predicts the first token of the transcript.
    pub rows: Range<usize>,
    /// How far each row looks more at a frame than other rows do: the mean of the heads, each normalised over rows and smoothed over
    /// frames. Shape `[rows, n_frames]`.
    pub weights: Vec<f32>,
    /// The first frame of each row. Shape `[rows]`.
    pub starts: Vec<usize>,
    /// Frames that hold sound.
    pub n_frames: usize,
    /// Seconds of a frame.
    pub frame_seconds: f64,
}

/// What counts as a word of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpokenUnit {
    /// What stands between white space.
    #[default]
    Words,
    /// Each token, for languages that are written without spaces.
    Tokens,
}

/// The words of a transcript with their times, from heads of cross-attention that align.
///
/// Of each head the weights of a frame are normalised over the rows (mean 0, standard deviation 1), and a median over
/// `median_width` frames is taken; the mean of the heads is what the way from the first row and frame to the last goes through as
/// dearly as possible (dynamic time warping). A token begins at the first frame of the row that predicts it, and ends
/// where the next row begins. So transformers does it (`_extract_token_timestamps`); openai-whisper normalises over all rows, the
/// prompt's too, weights that are a softmax over the sound's frames alone. Added silence is left out.
///
/// # Errors
/// [`Error::Alignment`] when the heads are none of cross-attention, or their maps of several sizes, the source is no sound, or the
/// transcript is empty;
/// [`Error::PredictedUnknown`]; [`Error::TooMany`].
pub fn spoken(heads: &[AttentionMap<'_>], median_width: usize, unit: SpokenUnit) -> Result<Spoken, Error> {
    let Some(first) = heads.first().filter(|map| map.kind() == Kind::Cross) else {
        return Err(Error::Alignment("times of words are read from heads of cross-attention alone".into()));
    };
    if RowTokens::Predicted.known(first) != RowTokens::Predicted {
        return Err(Error::PredictedUnknown);
    }
    let sides = |map: &AttentionMap<'_>| [map.n_queries(), map.n_keys()];
    if let Some(other) = heads.iter().find(|map| map.kind() != Kind::Cross || sides(map) != sides(first)) {
        let ([n_rows, n_columns], [n_queries, n_keys]) = (sides(first), sides(other));
        let message = format!(
            "times of words are read from cross-attention of {n_rows} × {n_columns}, but {} is {} of {n_queries} × {n_keys}",
            other.id(),
            other.kind()
        );
        return Err(Error::Alignment(message));
    }
    let item = first.item();
    let Some(frame_seconds) = item.token_seconds() else {
        return Err(Error::Alignment("the source is no sound: its tokens are named by no times".into()));
    };
    let n_frames = item.n_sound.unwrap_or(first.n_keys()).min(first.n_keys());
    let n_prompt = item.target.tokens.iter().take_while(|token| !token.is_text()).count();
    let n_rows = first.query_tokens().unpadded(first.n_queries()).len();
    let rows = n_prompt.saturating_sub(1)..n_rows;
    if n_frames == 0 || rows.is_empty() || !item.predicted.tokens[rows.clone()].iter().any(Token::is_text) {
        return Err(Error::Alignment("the transcript has no word, or the sound no time".into()));
    }
    let weights = contrast(heads, rows.clone(), n_frames, median_width)?; // [rows, n_frames]
    let starts = warp(&weights, n_frames); // [rows]
    let begin = |row: usize| starts.get(row - rows.start).map_or(n_frames, |frame| *frame) as f64 * frame_seconds;
    let word = |group: Range<usize>| SpokenWord {
        word: text_of(&item.predicted, group.clone()),
        start: begin(group.start),
        end: begin(group.end),
        rows: group,
    };
    let words = groups(&item.predicted, rows.clone(), unit).into_iter().map(word).collect();
    let weights = weights.into_iter().map(|weight| weight as f32).collect();
    Ok(Spoken { words, rows, weights, starts, n_frames, frame_seconds })
}

/// How far each row looks more at a frame than other rows do, the mean of the heads. Shape `[rows, n_frames]`.
///
/// # Errors
/// [`Error::TooMany`].
pub fn contrast(
    heads: &[AttentionMap<'_>],
    rows: Range<usize>,
    n_frames: usize,
    median_width: usize,
) -> Result<Vec<f64>, Error> {
    let n_cells = rows.len().saturating_mul(n_frames);
    if n_cells > MAX_CELLS {
        let what = format!("the map of {} tokens × {n_frames} frames", rows.len());
        return Err(Error::TooMany { what, n: n_cells, things: "cells", limit: MAX_CELLS });
    }
    let mut sum = vec![0.0_f64; n_cells]; // [rows, n_frames]
    for head in heads {
        let mut weights: Vec<f64> = Vec::with_capacity(n_cells); // [rows, n_frames]
        for row in rows.clone() {
            weights.extend(head.row(row).iter().take(n_frames).map(|weight| f64::from(*weight)));
        }
        for frame in 0..n_frames {
            normalise(&mut weights, frame, n_frames);
        }
        let smoothed = weights.chunks_exact(n_frames).flat_map(|row| medians(row, median_width));
        sum.iter_mut().zip(smoothed).for_each(|(sum, weight)| *sum += weight);
    }
    let n_heads = heads.len().max(1) as f64;
    sum.iter_mut().for_each(|sum| *sum /= n_heads);
    Ok(sum)
}

/// Gives a column mean 0 and standard deviation 1; one that is the same everywhere becomes 0. Shape `[rows, n_columns]`.
fn normalise(weights: &mut [f64], column: usize, n_columns: usize) {
    let n = (weights.len() / n_columns) as f64;
    let numbers = || weights.iter().skip(column).step_by(n_columns);
    let mean = numbers().sum::<f64>() / n;
    let deviation = (numbers().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n).sqrt();
    let numbers = weights.iter_mut().skip(column).step_by(n_columns);
    numbers.for_each(|x| *x = if deviation > 0.0 { (*x - mean) / deviation } else { 0.0 });
}

/// The median around each place, the row mirrored at its ends; the row itself where it is no longer than half a window.
fn medians(row: &[f64], width: usize) -> Vec<f64> {
    let (n, reach) = (row.len() as i64, width as i64 / 2);
    if n <= reach {
        return row.to_vec();
    }
    let mirrored = |place: i64| {
        let place = place.abs();
        row[(if place >= n { 2 * (n - 1) - place } else { place }) as usize]
    };
    let median = |place: i64| {
        let mut window: Vec<f64> = (place - reach..=place + reach).map(mirrored).collect();
        window.sort_by(f64::total_cmp);
        window[reach as usize]
    };
    (0..n).map(median).collect()
}

/// The first column of each row on the way from the first cell to the last whose sum is the largest, where each step goes on by a
/// row, a column, or both (dynamic time warping). Costs are f32, as in the models' own code. Shape `[n_rows]`.
pub fn warp(weights: &[f64], n_columns: usize) -> Vec<usize> {
    let n_rows = weights.len() / n_columns;
    let width = n_columns + 1;
    let mut costs = vec![f32::INFINITY; (n_rows + 1) * width]; // [n_rows + 1, n_columns + 1]
    let mut steps = vec![Step::Column; costs.len()]; // [n_rows + 1, n_columns + 1]
    costs[0] = 0.0;
    for row in 1..=n_rows {
        for column in 1..=n_columns {
            let both = costs[(row - 1) * width + column - 1];
            let (down, across) = (costs[(row - 1) * width + column], costs[row * width + column - 1]);
            let (cost, step) = if both < down && both < across {
                (both, Step::Both)
            } else if down < both && down < across {
                (down, Step::Row)
            } else {
                (across, Step::Column)
            };
            costs[row * width + column] = (f64::from(cost) - weights[(row - 1) * n_columns + column - 1]) as f32;
            steps[row * width + column] = step;
        }
    }
    let mut starts = vec![0; n_rows];
    let (mut row, mut column) = (n_rows, n_columns);
    while row > 0 {
        starts[row - 1] = column.saturating_sub(1);
        match steps[row * width + column] {
            _ if column == 0 => row -= 1,
            Step::Both => (row, column) = (row - 1, column - 1),
            Step::Row => row -= 1,
            Step::Column => column -= 1,
        }
    }
    starts
}

/// How a way came to a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Both,
    Row,
    Column,
}

/// The rows of each word; special tokens belong to none.
fn groups(tokens: &Tokens, rows: Range<usize>, unit: SpokenUnit) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for row in rows.filter(|row| tokens.tokens[*row].is_text()) {
        match groups.last_mut() {
            Some(last) if last.end == row && unit == SpokenUnit::Words && goes_on(tokens, row) => last.end = row + 1,
            _ => groups.push(row..row + 1),
        }
    }
    groups
}

/// Whether no white space stands before a token.
fn goes_on(tokens: &Tokens, row: usize) -> bool {
    let Some(span) = &tokens.tokens[row].span else { return false };
    let (before, own) = (tokens.text.get(..span.start), tokens.text.get(span.clone()));
    let is_apart = |text: Option<&str>, from_end: bool| {
        let end = text.and_then(|text| if from_end { text.chars().next_back() } else { text.chars().next() });
        end.is_none_or(char::is_whitespace)
    };
    !is_apart(before, true) && !is_apart(own, false)
}

/// A word as it stands in the text, or its tokens where that is not known.
fn text_of(tokens: &Tokens, group: Range<usize>) -> String {
    let of_group = &tokens.tokens[group];
    let ends = of_group.first().and_then(|token| token.span.clone()).zip(of_group.last().and_then(|t| t.span.clone()));
    let found = ends.and_then(|(first, last)| tokens.text.get(first.start..last.end.max(first.end)));
    let joined = || of_group.iter().map(|token| token.text.as_str()).collect::<String>();
    found.map_or_else(joined, |text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_goes_where_the_weights_are() {
        let weights = [
            [9.0, 9.0, -1.0, -1.0, -1.0], //
            [-1.0, -1.0, 9.0, -1.0, -1.0],
            [-1.0, -1.0, -1.0, 9.0, 9.0],
        ];
        assert_eq!(warp(weights.as_flattened(), 5), [0, 2, 3]);
        // more rows than columns: some rows share one
        assert_eq!(warp(&[1.0, -1.0, -1.0, 1.0, -1.0, 1.0], 2), [0, 1, 1]);
        assert_eq!(warp(&[0.0; 4], 1), [0, 0, 0, 0]);
    }

    #[test]
    fn a_median_leaves_out_single_frames_and_mirrors_the_ends() {
        assert_eq!(medians(&[0.0, 9.0, 0.0, 0.0, 1.0, 1.0, 1.0], 3), [9.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
        assert_eq!(medians(&[5.0, 1.0], 5), [5.0, 1.0]);
    }

    #[test]
    fn a_frame_that_all_rows_look_at_alike_says_nothing() {
        let mut weights = [0.1, 0.5, 0.3, 0.5];
        normalise(&mut weights, 0, 2);
        normalise(&mut weights, 1, 2);
        assert!((weights[0] + 1.0).abs() < 1e-12 && (weights[2] - 1.0).abs() < 1e-12, "{weights:?}");
        assert_eq!([weights[1], weights[3]], [0.0, 0.0]);
    }

    #[test]
    fn heads_whose_maps_have_other_sizes_are_refused() {
        use crate::attention::Shape;
        use crate::{Item, Layer, Provenance, Recording, Weights};

        let item = Item {
            source: Tokens::from_labels(["0.00s", "0.02s", "0.04s"]),
            target: Tokens::from_labels(["a", "b"]),
            predicted: Tokens::from_labels(["b", "c"]),
            ..Item::default()
        };
        let layer = |index, n_queries, n_keys| {
            let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries, n_keys, d_head: 1, d_value: 1 };
            Layer::new(Kind::Cross, index, shape, Weights::Dense(vec![0.5; n_queries * n_keys].into()))
        };
        let layers = vec![layer(0, 2, 3), layer(1, 2, 2), layer(2, 1, 3)];
        let recording = Recording { items: vec![item], layers, provenance: Provenance::default() };
        let map = |layer| recording.map(0, Kind::Cross, layer, 0).unwrap();
        assert_eq!(spoken(&[map(0), map(0)], 3, SpokenUnit::Words).unwrap().rows, 0..2);
        for (layer, sizes) in [(1, "L1H0 is cross of 2 × 2"), (2, "L2H0 is cross of 1 × 3")] {
            let error = spoken(&[map(0), map(layer)], 3, SpokenUnit::Words).unwrap_err().to_string();
            assert!(error.contains("cross-attention of 2 × 3") && error.contains(sizes), "{error}");
        }
    }

    #[test]
    fn tokens_that_are_named_by_their_time_say_how_long_one_lasts() {
        let seconds = |labels: &[&str]| {
            let source = Tokens::from_labels(labels.iter().copied());
            crate::Item { source, ..crate::Item::default() }.token_seconds()
        };
        assert_eq!(seconds(&["0.00s", "0.02s", "0.04s"]), Some(0.02));
        for none in
            [&["0.00s"][..], &["0.50s", "1.00s"], &["0.00s", "end"], &["0.00s", "0.00s"], &["0.00s", "infs"], &[]]
        {
            assert_eq!(seconds(none), None, "{none:?}");
        }
    }

    #[test]
    fn words_are_what_stands_between_white_space() {
        let mut tokens = Tokens::from_labels([" The", " cat", "s", ".", " sat"]);
        tokens.text = " The cats. sat".into();
        for (token, span) in tokens.tokens.iter_mut().zip([0..4, 4..8, 8..9, 9..10, 10..14]) {
            token.span = Some(span);
        }
        let words = |unit| {
            let groups = groups(&tokens, 0..5, unit).into_iter();
            groups.map(|group| text_of(&tokens, group)).collect::<Vec<_>>()
        };
        assert_eq!(words(SpokenUnit::Words), ["The", "cats.", "sat"]);
        assert_eq!(words(SpokenUnit::Tokens), ["The", "cat", "s", ".", "sat"]);
    }
}
