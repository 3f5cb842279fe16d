//! Heads read as weights between the words of two texts.

use std::ops::Range;

use super::{Alignment, Pair};
use crate::analysis::argmax;
use crate::grid::mean_rows;
use crate::{AttentionMap, Error, Kind, RowTokens, Token, Tokens};

/// Weights held at a time.
const BAND: usize = 1 << 16;
/// Weights of a whole map between words at most: 16 MB.
const MAX_CELLS: usize = 1 << 22;

/// What counts as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unit {
    /// Each token that is no special one.
    Tokens,
    /// The words of the recording, whose pieces share [`Token::word`]: `mat.` may be two, `l'eau` three.
    #[default]
    Words,
    /// What stands between white space in the text, such as the words of a text that was cut beforehand. Tokens belong to the
    /// word that their first byte lies in; a word that no token belongs to has no link, but counts.
    WhiteSpace,
}

/// The mean of some heads of a cross-attention, with weights between words: summed over the pieces of a source word, averaged over
/// those of a target word (Clark et al. 2019, §4.1). Special tokens and padding belong to no word.
///
/// Rows are read when they are asked for; memory is linear in the texts' lengths.
#[derive(Debug, Clone)]
pub struct WordMap<'a> {
    heads: &'a [AttentionMap<'a>],
    rows: RowTokens,
    unit: Unit,
    target: Words,
    source: Words,
}

/// The words along an axis.
#[derive(Debug, Clone)]
struct Words {
    /// As they are shown. Shape `[n_words]`.
    texts: Vec<String>,
    /// The word of each place that belongs to one: (place, word), places rising.
    places: Vec<(usize, usize)>,
}

/// What the words of two texts look at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Links {
    /// Each target word with the source word that has the largest weight of its row, the first of equals.
    pub by_target: Alignment,
    /// Each source word with the target word that has the largest weight of its column, the first of equals.
    pub by_source: Alignment,
    /// Target words whose row has a number that is not finite; they have no link.
    pub n_not_finite: usize,
}

impl Unit {
    /// What the words are, in words.
    pub fn says(self) -> &'static str {
        match self {
            Unit::Tokens => "tokens",
            Unit::Words => "words as the tokenizer cuts them",
            Unit::WhiteSpace => "words between white space",
        }
    }
}

impl Links {
    /// How far the links of the two directions are the same; `None` without links.
    ///
    /// It takes no reference, and says less than one: a head that looks one word too far agrees with itself, too.
    pub fn overlap(&self) -> Option<f64> {
        let n = self.by_target.len() + self.by_source.len();
        overlap(self.by_target.n_shared(&self.by_source) as u64, n as u64)
    }
}

/// How much of two sets is in both, `2 |A ∩ B| / (|A| + |B|)`, in 0 ..= 1 (Dice 1945); `None` of two empty ones.
pub(super) fn overlap(n_shared: u64, n_both: u64) -> Option<f64> {
    (n_both > 0).then(|| 2.0 * n_shared as f64 / n_both as f64)
}

impl<'a> WordMap<'a> {
    /// The mean of some heads, all of one text; of one head, that head. `rows` says which token a row speaks for: which of the
    /// two aligns depends on the head and on the model (Kobayashi et al. 2020, §5: an error rate of 29.8 % for the row that
    /// has read the word, 47.7 % for the row that predicts it).
    ///
    /// # Errors
    /// [`Error::Alignment`] when the heads are none of cross-attention, or a text has no word; [`Error::PredictedUnknown`];
    /// [`Error::Placeless`] when words are those between white space and a token has no place in the text.
    pub fn new(heads: &'a [AttentionMap<'a>], rows: RowTokens, unit: Unit) -> Result<WordMap<'a>, Error> {
        let Some(first) = heads.first().filter(|map| map.kind() == Kind::Cross) else {
            return Err(Error::Alignment("words of two texts are aligned by heads of cross-attention alone".into()));
        };
        if rows.known(first) != rows {
            return Err(Error::PredictedUnknown);
        }
        let target = Words::of(rows.of(first), first.n_queries(), unit, "target")?;
        let source = Words::of(first.key_tokens(), first.n_keys(), unit, "source")?;
        Ok(WordMap { heads, rows, unit, target, source })
    }

    /// The heads.
    pub fn heads(&self) -> &'a [AttentionMap<'a>] {
        self.heads
    }

    /// Which token a row speaks for.
    pub fn rows(&self) -> RowTokens {
        self.rows
    }

    /// What counts as a word.
    pub fn unit(&self) -> Unit {
        self.unit
    }

    /// The target words. Shape `[n_target]`.
    pub fn target(&self) -> &[String] {
        &self.target.texts
    }

    /// The source words. Shape `[n_source]`.
    pub fn source(&self) -> &[String] {
        &self.source.texts
    }

    /// Reads the row of each target word that a token belongs to, in order: the word, and its weights on the source words, in
    /// 0 ..= 1. Shape of a row `[n_source]`.
    pub fn for_each_row(&self, mut read: impl FnMut(usize, &[f32])) {
        let n_keys = self.heads[0].n_keys();
        let mut masses = vec![0.0_f64; self.source.texts.len()]; // [n_source]
        let mut weights = vec![0.0_f32; masses.len()]; // [n_source]
        let mut n_pieces = 0;
        let places = &self.target.places;
        for (start, places_of_band) in bands(places, (BAND / n_keys.max(1)).max(1)) {
            let queries = places_of_band[0].0..places_of_band[places_of_band.len() - 1].0 + 1;
            let band = mean_rows(self.heads, queries.clone()); // [queries, n_keys]
            for (index, &(query, word)) in places_of_band.iter().enumerate() {
                let row = &band[(query - queries.start) * n_keys..][..n_keys];
                self.source.places.iter().for_each(|(key, word)| masses[*word] += f64::from(row[*key]));
                n_pieces += 1;
                if places.get(start + index + 1).is_none_or(|next| next.1 != word) {
                    let mean = |mass: &f64| (mass / f64::from(n_pieces)) as f32;
                    weights.iter_mut().zip(&masses).for_each(|(weight, mass)| *weight = mean(mass));
                    read(word, &weights);
                    masses.fill(0.0);
                    n_pieces = 0;
                }
            }
        }
    }

    /// The links of both directions.
    pub fn links(&self) -> Links {
        let mut best: Vec<Option<(usize, f32)>> = vec![None; self.source.texts.len()]; // [n_source]
        let (mut by_target, mut n_not_finite) = (Alignment::default(), 0);
        self.for_each_row(|target, row| {
            if row.iter().any(|weight| !weight.is_finite()) {
                n_not_finite += 1;
                return;
            }
            argmax(row).into_iter().for_each(|source| by_target.insert(Pair::new(source, target)));
            for (best, &weight) in best.iter_mut().zip(row) {
                if weight > best.map_or(0.0, |(_, largest)| largest) {
                    *best = Some((target, weight));
                }
            }
        });
        let pair = |(source, best): (usize, Option<(usize, f32)>)| best.map(|(target, _)| Pair::new(source, target));
        let by_source = best.into_iter().enumerate().filter_map(pair).collect();
        Links { by_target, by_source, n_not_finite }
    }

    /// All weights; 0 in the row of a word that no token belongs to. Shape `[n_target, n_source]`.
    ///
    /// # Errors
    /// [`Error::TooMany`] when they are more than 2048 × 2048.
    pub fn weights(&self) -> Result<Vec<f32>, Error> {
        let n_source = self.source.texts.len();
        let n_cells = self.target.texts.len().saturating_mul(n_source);
        if n_cells > MAX_CELLS {
            let (n_target, unit) = (self.target.texts.len(), self.unit.says());
            let what = format!("the map of {n_target} × {n_source} {unit}");
            return Err(Error::TooMany { what, n: n_cells, things: "cells", limit: MAX_CELLS });
        }
        let mut weights = vec![0.0; self.target.texts.len() * n_source]; // [n_target, n_source]
        self.for_each_row(|target, row| weights[target * n_source..][..n_source].copy_from_slice(row));
        Ok(weights)
    }
}

/// Places cut into runs that span at most `n_rows` rows, each with the index of its first.
fn bands(places: &[(usize, usize)], n_rows: usize) -> impl Iterator<Item = (usize, &[(usize, usize)])> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = places.get(start)?.0;
        let n = places[start..].partition_point(|(place, _)| *place < first + n_rows);
        let band = (start, &places[start..start + n]);
        start += n;
        Some(band)
    })
}

impl Words {
    fn of(tokens: &Tokens, n_places: usize, unit: Unit, side: &'static str) -> Result<Words, Error> {
        if tokens.len() != n_places {
            return Err(Error::Alignment(format!("the recording does not say what the tokens of the {side} are")));
        }
        let words = match unit {
            Unit::Tokens => {
                Words::of_groups((0..n_places).map(|place| place..place + 1), tokens, |token| token.clone())
            }
            Unit::Words => {
                let mut merged = tokens.merged().tokens.into_iter();
                Words::of_groups(tokens.words().into_iter(), tokens, |token| merged.next().unwrap_or(token.clone()))
            }
            Unit::WhiteSpace => Words::between_white_space(tokens, side)?,
        };
        match words.texts.is_empty() {
            true => Err(Error::Alignment(format!("the {side} has no word"))),
            false => Ok(words),
        }
    }

    /// Each group of tokens is a word, unless it is special or padding; `text_of` is called for every group's first token.
    fn of_groups(
        groups: impl Iterator<Item = Range<usize>>,
        tokens: &Tokens,
        mut text_of: impl FnMut(&Token) -> Token,
    ) -> Words {
        let mut words = Words { texts: Vec::new(), places: Vec::new() };
        for group in groups {
            let first = &tokens.tokens[group.start];
            let shown = text_of(first);
            if first.is_text() {
                words.places.extend(group.map(|place| (place, words.texts.len())));
                words.texts.push(shown.text);
            }
        }
        words
    }

    fn between_white_space(tokens: &Tokens, side: &'static str) -> Result<Words, Error> {
        let text = tokens.text.as_str();
        let texts: Vec<&str> = text.split_whitespace().collect();
        // where each word begins
        let starts: Vec<usize> = texts.iter().map(|word| word.as_ptr() as usize - text.as_ptr() as usize).collect();
        let mut places = Vec::with_capacity(tokens.len());
        for (place, token) in tokens.tokens.iter().enumerate().filter(|(_, token)| token.is_text()) {
            let within = token.span.clone().and_then(|span| Some((span.start, text.get(span)?)));
            let Some((start, piece)) = within else {
                return Err(Error::Placeless { place, side, text: token.text.clone() });
            };
            let bare = piece.trim_start();
            let byte = start + piece.len() - bare.len();
            let n_begun = starts.partition_point(|start| *start <= byte);
            if !bare.is_empty() && n_begun > 0 {
                places.push((place, n_begun - 1));
            }
        }
        Ok(Words { texts: texts.into_iter().map(str::to_owned).collect(), places })
    }
}
