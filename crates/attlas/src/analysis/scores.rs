//! Scores as rows of a table, the class of each head with its reason in words, and what a layer's heads do together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{HeadSums, Measure, Score, Standout, standouts};
use crate::{HeadId, Kind};

/// What one head scores under one measure: a row of every table that is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScoreRow {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer, counted from 0.
    pub layer: usize,
    /// The head, counted from 0.
    pub head: usize,
    /// The measure's name.
    pub measure: String,
    /// Which of the measure's variants scores best, where it has several.
    pub variant: Option<String>,
    /// The score; `None` where it cannot be computed, which `absent` explains.
    pub score: Option<f64>,
    /// What the baseline gives.
    pub baseline: Option<f64>,
    /// The low end of the score's 95 % interval.
    pub low: Option<f64>,
    /// Its high end.
    pub high: Option<f64>,
    /// Over how many queries, words or texts.
    pub n_rows: u64,
    /// The score from which a head is named; `None` where a high score is no name.
    pub threshold: Option<f64>,
    /// Whether the head is named: see [`Measure::names`].
    pub named: bool,
    /// Why there is no score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

impl ScoreRow {
    /// The row of a score, or of the reason why there is none.
    pub fn new(kind: Kind, head: HeadId, measure: &Measure, score: Result<Score, String>) -> ScoreRow {
        let (score, absent) = match score {
            Ok(score) => (Some(score), None),
            Err(reason) => (None, Some(reason)),
        };
        ScoreRow {
            kind,
            layer: head.layer,
            head: head.head,
            measure: measure.name.to_owned(),
            variant: score.and_then(|score| score.variant).map(str::to_owned),
            score: score.map(|score| score.value),
            baseline: score.and_then(|score| score.baseline),
            low: score.and_then(|score| score.interval).map(|(low, _)| low),
            high: score.and_then(|score| score.interval).map(|(_, high)| high),
            n_rows: score.map_or(0, |score| score.n),
            threshold: measure.threshold,
            named: score.is_some_and(|score| measure.names(&score)),
            absent,
        }
    }
}

/// All scores of all heads, in the order of the heads and then of the measures.
pub fn score_rows(heads: &[HeadSums]) -> Vec<ScoreRow> {
    let of_head = |head: &HeadSums| -> Vec<ScoreRow> {
        let row = |(measure, score)| ScoreRow::new(head.kind, head.head, measure, score);
        head.scores_or_reasons().map(row).collect()
    };
    heads.iter().flat_map(of_head).collect()
}

/// A head, and what it is said to do.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadClass {
    /// The kind of attention.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// What it is named for, the narrowest and strongest first; empty where it stands out for nothing.
    pub named: Vec<Standout>,
}

impl HeadClass {
    /// The name of what it does: a measure's title, or `–`.
    pub fn title(&self) -> &'static str {
        self.named.first().map_or("–", Standout::title)
    }
}

/// What each head is said to do, in the order of the heads.
///
/// The class of a head is what it is named for. Of several names the narrower comes first ("previous token" before "local",
/// which every such head is, too), then the one with the larger part of what its baseline leaves: `(score − baseline) /
/// (1 − baseline)`.
pub fn classes(heads: &[HeadSums]) -> Vec<HeadClass> {
    let mut named: BTreeMap<(Kind, HeadId), Vec<Standout>> = BTreeMap::new();
    for standout in standouts(heads) {
        named.entry((standout.kind, standout.head)).or_default().push(standout);
    }
    let class = |head: &HeadSums| {
        let mut named = named.remove(&(head.kind, head.head)).unwrap_or_default();
        named.sort_by(|a, b| {
            (a.measure.is_general.cmp(&b.measure.is_general)).then(b.strength().total_cmp(&a.strength()))
        });
        HeadClass { kind: head.kind, head: head.head, named }
    };
    heads.iter().map(class).collect()
}

/// What the heads of one layer do together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerProfile {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer, counted from 0.
    pub layer: usize,
    /// Heads in it.
    pub n_heads: usize,
    /// The mean over its heads of how far a query looks, in positions.
    pub distance: Option<f64>,
    /// What looking at all visible keys alike would give.
    pub uniform_distance: Option<f64>,
    /// The mean over its heads of the entropy over that of looking at all visible keys alike.
    pub broad: Option<f64>,
    /// The mean over its heads of each row's largest weight.
    pub confidence: Option<f64>,
    /// How many heads are of each class, by the measure's name; those that stand out for nothing are in none.
    pub classes: BTreeMap<&'static str, usize>,
}

/// What the heads of each layer do together, in the order of kinds and layers.
pub fn layer_profiles(heads: &[HeadSums]) -> Vec<LayerProfile> {
    let classes = classes(heads);
    let mut layers: BTreeMap<(Kind, usize), Vec<usize>> = BTreeMap::new();
    for (index, head) in heads.iter().enumerate() {
        layers.entry((head.kind, head.head.layer)).or_default().push(index);
    }
    let profile = |((kind, layer), members): ((Kind, usize), Vec<usize>)| {
        let mean = |name: &str, of: fn(Score) -> Option<f64>| {
            let numbers: Vec<f64> = members.iter().filter_map(|index| heads[*index].score(name).and_then(of)).collect();
            (!numbers.is_empty()).then(|| numbers.iter().sum::<f64>() / numbers.len() as f64)
        };
        let mut mix = BTreeMap::new();
        for standout in members.iter().filter_map(|index| classes[*index].named.first()) {
            *mix.entry(standout.measure.name).or_default() += 1;
        }
        LayerProfile {
            kind,
            layer,
            n_heads: members.len(),
            distance: mean("distance", |score| Some(score.value)),
            uniform_distance: mean("distance", |score| score.baseline),
            broad: mean("broad", |score| Some(score.value)),
            confidence: mean("confidence", |score| Some(score.value)),
            classes: mix,
        }
    };
    layers.into_iter().map(profile).collect()
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::analysis::measure;

    /// Two heads on ten tokens: one looks one token back, one at all alike.
    fn heads() -> Vec<HeadSums> {
        let mut weights = vec![0.0; 100]; // [10, 10]
        (0_usize..10).for_each(|query| weights[query * 10 + query.saturating_sub(1)] = 1.0);
        weights.extend([0.1; 100]);
        let mut recording = recording(Kind::Encoder, weights, 10, 10);
        (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
        measure(&recording, 0).expect("the text exists")
    }

    #[test]
    fn the_class_of_a_head_is_its_narrowest_name_with_the_reason_in_words() {
        let classes = classes(&heads());
        let names = |class: &HeadClass| class.named.iter().map(|one| one.measure.name).collect::<Vec<_>>();
        assert_eq!(names(&classes[0]), ["previous", "local", "positional"]);
        assert_eq!(names(&classes[1]), ["broad"]);
        assert_eq!(
            classes[0].named[0].reason(),
            "L0H0: previous token, 0.90 of a query's weight; positions alone give 0.09"
        );
    }

    #[test]
    fn a_score_that_cannot_be_computed_is_a_row_with_its_reason() {
        let rows = score_rows(&heads());
        let row = |name: &str| rows.iter().find(|row| row.measure == name).expect("the measure is looked for");
        assert_eq!((row("previous").score.map(|score| score as f32), row("previous").named), (Some(0.9), true));
        let rare = row("rare");
        assert_eq!((rare.score, rare.n_rows, rare.named), (None, 0, false));
        assert_eq!(rare.absent.as_deref(), Some("it needs counts of the tokens in a corpus"));
        assert_eq!(row("positional").variant.as_deref(), Some("offset -1"));
    }

    #[test]
    fn a_layer_is_profiled_by_distance_entropy_and_what_its_heads_are() {
        let profile = &layer_profiles(&heads())[0];
        assert_eq!((profile.n_heads, profile.classes.clone()), (2, BTreeMap::from([("broad", 1), ("previous", 1)])));
        assert!((profile.distance.expect("self-attention") - (0.9 + 3.3) / 2.0).abs() < 1e-6, "{profile:?}");
        assert!((profile.broad.expect("ten keys") - 0.5).abs() < 1e-6);
    }
}
