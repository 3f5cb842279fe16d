//! What stands out in a recording: each claim with its score, its baseline and how much text it was measured on.

use std::fmt;

use rayon::prelude::*;
use serde::Serialize;

use super::{Grid, RowTokens, Rows, align, class_mass, coverage, geometry, is_punctuation, is_separator};
use super::{largest_weights, mean, normalized_entropy, offset_mass, sink_weight, uniform_offset_mass};
use crate::{AttentionMap, Error, HeadId, Kind, Layer, Recording, Token, TokenRole};

/// Weights read per head; longer texts are sampled by evenly spaced rows.
const MAX_WEIGHTS: usize = 1 << 20;

/// Something that a head does more than its baseline would.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Standout {
    /// The kind of attention.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// What it does.
    pub finding: Finding,
    /// How much, in 0 ..= 1.
    pub score: f64,
    /// The score from which it is named.
    pub threshold: f64,
    /// What the score would be without knowing the text.
    pub baseline: f64,
    /// Which baseline that is.
    pub baseline_kind: Baseline,
    /// The 95 % interval of the score over rows (`± 1.96 s/√n`, rows taken as independent); absent for scores that are
    /// no mean over rows.
    pub interval: Option<(f64, f64)>,
    /// Rows it was measured on.
    pub n_rows: usize,
    /// Rows the text has.
    pub n_queries: usize,
}

impl Standout {
    /// What the head does, in words that fit its kind: in cross-attention the two texts have positions in common, not
    /// tokens, and a row's position is that of the token it predicts.
    pub fn name(&self) -> &'static str {
        match (self.kind, self.finding) {
            (Kind::Cross, Finding::Previous) => "position before",
            (Kind::Cross, Finding::Same) => "same position",
            (Kind::Cross, Finding::Next) => "position after",
            (_, finding) => finding.name(),
        }
    }

    /// Whether the score, and the low end of its interval, lie over the baseline.
    fn beats_baseline(&self) -> bool {
        self.interval.map_or(self.score, |(low, _)| low) > self.baseline
    }
}

/// What a head does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// Looks one token back.
    Previous,
    /// Looks at the query's own token, or position in cross-attention.
    Same,
    /// Looks one token ahead.
    Next,
    /// Looks at the first token, as every later query does: a sink.
    First,
    /// Looks at separators and end tokens.
    Separator,
    /// Looks at punctuation.
    Punctuation,
    /// Looks at nearly all tokens alike.
    Broad,
    /// Links target words to source words, nearly each to its own.
    Alignment,
}

impl Finding {
    /// What it is called in a table.
    pub fn name(self) -> &'static str {
        match self {
            Finding::Previous => "previous token",
            Finding::Same => "own token",
            Finding::Next => "next token",
            Finding::First => "first token (sink)",
            Finding::Separator => "separator",
            Finding::Punctuation => "punctuation",
            Finding::Broad => "broad",
            Finding::Alignment => "alignment",
        }
    }

    /// What its score is, in a line.
    pub fn score_meaning(self) -> &'static str {
        match self {
            Finding::Previous | Finding::Same | Finding::Next => "mean weight at this offset",
            Finding::First => "mean weight on the first token",
            Finding::Separator => "mean weight on separators",
            Finding::Punctuation => "mean weight on punctuation",
            Finding::Broad => "entropy over that of uniform attention",
            Finding::Alignment => "share of source words that a target word looks at most",
        }
    }

    /// The score from which a head is named, as published: Clark et al. 2019 (offsets, classes, broad), Gu et al. 2025
    /// (sink).
    pub fn threshold(self) -> f64 {
        match self {
            Finding::Previous | Finding::Same | Finding::Next => 0.5,
            Finding::First => 0.3,
            Finding::Separator | Finding::Punctuation => 0.6,
            Finding::Broad | Finding::Alignment => 0.8,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a score is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// Every query looks at all keys it may see alike.
    Uniform,
    /// Every query looks most at a key drawn at random.
    Chance,
}

/// The plain numbers of one head on one text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadSummary {
    /// The kind of attention.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// Mean entropy over that of uniform attention, in 0 ..= 1; `None` when no row sees two keys.
    pub breadth: Option<f64>,
    /// Mean of the largest weight of each row, an end token left out, in 0 ..= 1.
    pub confidence: Option<f64>,
    /// Mean weight one token back.
    pub previous: f64,
    /// Mean weight on the query's own position.
    pub same: f64,
    /// Mean weight one token ahead.
    pub next: f64,
    /// Mean weight on the first key.
    pub first: Option<f64>,
    /// Mean weight on separators.
    pub separator: f64,
    /// Mean weight on punctuation.
    pub punctuation: f64,
    /// The key with the largest share of all mass, and that share.
    pub vertical: Option<(usize, f64)>,
    /// The offset with the largest share of all mass, and that share.
    pub diagonal: Option<(i64, f64)>,
    /// Rows it was measured on.
    pub n_rows: usize,
}

/// What stands out in the maps of text `item`: by kind, then by finding, the highest score first.
///
/// A head is named when its score reaches the threshold and lies over its baseline, interval included, so that a short
/// text names few. For broad heads, whose baseline *is* uniform attention, only the threshold counts.
///
/// # Errors
/// [`Error::NoItem`] when the recording has no such text.
pub fn standouts(recording: &Recording, item: usize) -> Result<Vec<Standout>, Error> {
    let of_head = |map: &AttentionMap<'_>| -> Vec<Standout> {
        let rows = Rows::sampled(map, MAX_WEIGHTS);
        findings(map.kind())
            .iter()
            .filter_map(|finding| measure(map, &rows, *finding))
            .filter(|standout| standout.score >= standout.threshold)
            .filter(|standout| standout.finding == Finding::Broad || standout.beats_baseline())
            .collect()
    };
    let mut all: Vec<Standout> =
        maps(recording, item)?.par_iter().map(of_head).collect::<Vec<_>>().into_iter().flatten().collect();
    all.sort_by(|a, b| {
        (a.kind, a.finding).cmp(&(b.kind, b.finding)).then(b.score.total_cmp(&a.score)).then(a.head.cmp(&b.head))
    });
    Ok(all)
}

/// The numbers of every head on text `item`, in the order of the recording.
///
/// # Errors
/// [`Error::NoItem`] when the recording has no such text.
pub fn summarise(recording: &Recording, item: usize) -> Result<Vec<HeadSummary>, Error> {
    Ok(maps(recording, item)?.par_iter().map(summarise_head).collect())
}

/// All maps of one text.
fn maps(recording: &Recording, item: usize) -> Result<Vec<AttentionMap<'_>>, Error> {
    let heads = |layer: &Layer| -> Vec<_> {
        (0..layer.shape.n_heads).map(|head| recording.map(item, layer.kind, layer.index, head)).collect()
    };
    if item >= recording.items.len() {
        return Err(Error::NoItem { item, n_items: recording.items.len() });
    }
    recording.layers.iter().flat_map(heads).collect()
}

fn summarise_head(map: &AttentionMap<'_>) -> HeadSummary {
    let rows = Rows::sampled(map, MAX_WEIGHTS);
    let shape = geometry(&rows, &[]);
    let class = |is_member: fn(&Token) -> bool| class_mass(&rows, &members(map, is_member)).0;
    HeadSummary {
        kind: map.kind(),
        head: map.id(),
        breadth: super::mean_normalized_entropy(&rows),
        confidence: super::confidence(&without_end(map, &rows)),
        previous: offset_mass(&rows, -1),
        same: offset_mass(&rows, 0),
        next: offset_mass(&rows, 1),
        first: sink_weight(&rows, first_key(&rows)),
        separator: class(is_separator),
        punctuation: class(is_punctuation),
        vertical: shape.vertical.map(|peak| (peak.at as usize, peak.share)),
        diagonal: shape.diagonal.map(|peak| (peak.at, peak.share)),
        n_rows: rows.n_rows(),
    }
}

/// The rows without the end token, where the keys end in one.
fn without_end(map: &AttentionMap<'_>, rows: &Rows) -> Rows {
    let text = |token: &&Token| token.role != TokenRole::Padding;
    match map.key_tokens().tokens.iter().rfind(text) {
        Some(last) if last.role == TokenRole::Special => rows.without_end(map.n_queries().saturating_sub(1)),
        _ => rows.clone(),
    }
}

/// What is looked for in a kind of attention: an aligning head needs two texts.
fn findings(kind: Kind) -> &'static [Finding] {
    use Finding::{Alignment, Broad, First, Next, Previous, Punctuation, Same, Separator};
    match kind {
        Kind::Encoder => &[Previous, Same, Next, First, Separator, Punctuation, Broad],
        Kind::Decoder => &[Previous, Same, First, Separator, Punctuation, Broad],
        Kind::Cross => &[Previous, Same, Next, Separator, Punctuation, Broad, Alignment],
    }
}

/// Scores one head for one finding; `None` where the text has nothing to measure it on.
fn measure(map: &AttentionMap<'_>, rows: &Rows, finding: Finding) -> Option<Standout> {
    let offset = |offset: i64| {
        let weight = |row: usize| rows.key_at(row, offset).map_or(0.0, |key| f64::from(rows.row(row)[key]));
        Some(((0..rows.n_rows()).map(weight).collect(), uniform_offset_mass(rows, offset)))
    };
    let class = |is_member: fn(&Token) -> bool| {
        let members = members(map, is_member);
        let mass =
            |row: &[f32]| row.iter().zip(&members).filter(|(_, inside)| **inside).map(|(w, _)| f64::from(*w)).sum();
        members.contains(&true).then(|| (rows.iter().map(mass).collect(), class_mass(rows, &members).1))
    };
    let (per_row, baseline): (Vec<f64>, f64) = match finding {
        Finding::Previous => offset(-1)?,
        Finding::Same => offset(0)?,
        Finding::Next => offset(1)?,
        Finding::First => first_token(rows)?,
        Finding::Separator => class(is_separator)?,
        Finding::Punctuation => class(is_punctuation)?,
        Finding::Broad => (normalized_entropy(rows).into_iter().flatten().map(f64::from).collect(), 1.0),
        Finding::Alignment => return alignment(map, rows),
    };
    let score = mean(per_row.iter().copied())?;
    Some(Standout { interval: interval(&per_row, score), score, baseline, ..blank(map, rows, finding) })
}

/// Each row's weight on the first key, from the first row at or after it on, and the uniform baseline.
fn first_token(rows: &Rows) -> Option<(Vec<f64>, f64)> {
    let key = first_key(rows);
    let later: Vec<usize> = (0..rows.n_rows()).filter(|row| rows.n_visible(*row) > 1 && rows.sees(*row, key)).collect();
    let baseline = mean(later.iter().map(|row| 1.0 / rows.n_visible(*row) as f64))?;
    Some((later.iter().map(|row| f64::from(rows.row(*row)[key])).collect(), baseline))
}

/// How many source words a target word looks at most, where target words look at something: confident heads only.
fn alignment(map: &AttentionMap<'_>, rows: &Rows) -> Option<Standout> {
    if rows.n_rows() < rows.n_queries {
        return None; // a sampled text cannot cover
    }
    let confident = mean(largest_weights(rows).into_iter().map(f64::from))? >= 0.5;
    let (grid, _) = Grid::of(map, RowTokens::Read).words().hide_special();
    if !confident || grid.columns.len() < 3 || align(&grid).len() < 3 {
        return None;
    }
    let (score, baseline) = coverage(&grid);
    let blank = blank(map, rows, Finding::Alignment);
    Some(Standout { score, baseline, baseline_kind: Baseline::Chance, ..blank })
}

/// A standout with nothing measured yet.
fn blank(map: &AttentionMap<'_>, rows: &Rows, finding: Finding) -> Standout {
    Standout {
        kind: map.kind(),
        head: map.id(),
        finding,
        score: 0.0,
        threshold: finding.threshold(),
        baseline: 0.0,
        baseline_kind: Baseline::Uniform,
        interval: None,
        n_rows: rows.n_rows(),
        n_queries: rows.n_queries,
    }
}

/// The 95 % interval of a mean over rows, clipped to 0 ..= 1; `None` of fewer than two rows.
fn interval(per_row: &[f64], mean: f64) -> Option<(f64, f64)> {
    let n = per_row.len() as f64;
    if per_row.len() < 2 {
        return None;
    }
    let variance = per_row.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let half = 1.96 * (variance / n).sqrt();
    Some(((mean - half).max(0.0), (mean + half).min(1.0)))
}

/// Which keys are of a class. Shape `[n_keys]`.
fn members(map: &AttentionMap<'_>, is_member: fn(&Token) -> bool) -> Vec<bool> {
    map.key_tokens().tokens.iter().map(|token| token.role != TokenRole::Padding && is_member(token)).collect()
}

/// The first key that is not padding.
fn first_key(rows: &Rows) -> usize {
    rows.key_valid.iter().position(|valid| *valid).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;

    /// A 5 × 5 map that looks one token back.
    fn previous_token_head() -> Vec<f32> {
        let mut weights = vec![0.0; 25]; // [5, 5]
        for query in 0..5_usize {
            weights[query * 5 + query.saturating_sub(1)] = 1.0;
        }
        weights
    }

    #[test]
    fn a_previous_token_head_is_named_with_its_score_and_baseline() {
        let recording = recording(Kind::Encoder, previous_token_head(), 5, 5);
        let found = standouts(&recording, 0).expect("the text exists");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].finding, found[0].n_rows), (Finding::Previous, 5));
        assert!((found[0].score - 0.8).abs() < 1e-9);
        assert!((found[0].baseline - 0.16).abs() < 1e-9, "four of five rows have a previous token, one of five keys");
    }

    #[test]
    fn a_uniform_head_is_broad_and_nothing_else() {
        let recording = recording(Kind::Encoder, vec![0.2; 25], 5, 5);
        let found = standouts(&recording, 0).expect("the text exists");
        assert_eq!(found.iter().map(|standout| standout.finding).collect::<Vec<_>>(), [Finding::Broad]);
        assert_eq!(found[0].interval.map(|(low, high)| low <= found[0].score && found[0].score <= high), Some(true));
    }

    #[test]
    fn a_crossing_cross_attention_head_aligns() {
        let mut weights = vec![0.05; 12]; // [3, 4]
        for (row, column) in [(0, 0), (1, 2), (2, 1)] {
            weights[row * 4 + column] = 0.8;
        }
        let mut recording = recording(Kind::Cross, weights, 3, 4);
        recording.items[0].source.tokens[3] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        let found = standouts(&recording, 0).expect("the text exists");
        assert!(
            found.iter().any(|standout| standout.finding == Finding::Alignment && standout.score == 1.0),
            "{found:?}"
        );
    }

    #[test]
    fn a_text_that_does_not_exist_is_refused_with_the_number_there_are() {
        let recording = recording(Kind::Encoder, vec![1.0], 1, 1);
        assert_eq!(
            standouts(&recording, 3).expect_err("there is one text").to_string(),
            "there is no text 3; the recording has 1 (counted from 0)"
        );
    }

    #[test]
    fn a_head_is_summarised_in_plain_numbers() {
        let recording = recording(Kind::Encoder, previous_token_head(), 5, 5);
        let summary = summarise(&recording, 0).expect("the text exists")[0];
        assert_eq!(summary.confidence, Some(1.0));
        assert_eq!(summary.breadth, Some(0.0));
        assert_eq!(summary.diagonal.map(|(offset, _)| offset), Some(-1));
    }
}
