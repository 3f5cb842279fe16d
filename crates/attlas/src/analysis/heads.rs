//! Heads measured: one pass over each map feeds all measures, and what several texts say merges.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::plan::{Plan, Slots};
use super::{Annotations, Columns, Gathered, Geometry, MEASURES, Measure, Reads, Rows, Score, Stripes, Sums};
use crate::{Error, HeadId, Item, Kind, Layer, Recording};

/// Weights read per head and text; longer texts are sampled by evenly spaced rows.
pub(crate) const MAX_WEIGHTS: usize = 1 << 20;

/// What is known of one head: the sums of every measure that is looked for in its kind of attention.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadSums {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head, counted from 0.
    pub head: HeadId,
    /// In the order of [`MEASURES`], each with one for each of its variants.
    pub sums: Vec<(&'static Measure, Vec<Sums>)>,
    /// Rows that were read.
    pub n_rows: u64,
    /// Rows that the texts have.
    pub n_queries: u64,
}

impl HeadSums {
    /// Takes in what another text says about the same head.
    fn merge(&mut self, other: &HeadSums) {
        // heads of one kind have the same measures
        for ((_, sums), (_, others)) in self.sums.iter_mut().zip(&other.sums) {
            sums.iter_mut().zip(others).for_each(|(sums, others)| sums.merge(others));
        }
        self.n_rows += other.n_rows;
        self.n_queries += other.n_queries;
    }

    /// Whether some of the head's weights are no finite numbers: then some measures say nothing of it.
    pub fn is_broken(&self) -> bool {
        self.sums.iter().flat_map(|(_, sums)| sums).any(|sums| sums.n_not_finite > 0)
    }

    /// What the head scores under each measure that is looked for in its kind, or why there is no score.
    pub fn scores_or_reasons(&self) -> impl Iterator<Item = (&'static Measure, Result<Score, String>)> {
        self.sums.iter().map(|(measure, sums)| (*measure, measure.score(sums).ok_or_else(|| measure.absence(sums))))
    }

    /// What the head scores under each measure that had something to measure.
    pub fn scores(&self) -> impl Iterator<Item = (&'static Measure, Score)> {
        self.sums.iter().filter_map(|(measure, sums)| Some((*measure, measure.score(sums)?)))
    }

    /// What the head scores under the measure of this name.
    pub fn score(&self, name: &str) -> Option<Score> {
        let (measure, sums) = self.sums.iter().find(|(measure, _)| measure.name == name)?;
        measure.score(sums)
    }
}

/// Something that a head does more than its baseline would.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standout {
    /// The kind of attention.
    pub kind: Kind,
    /// The head.
    pub head: HeadId,
    /// The measure it scores high on.
    pub measure: &'static Measure,
    /// Its score, with interval, baseline and number of rows.
    pub score: Score,
    /// The share of the kind's heads that do so, in 0 ..= 1.
    pub share_of_heads: f64,
}

impl Standout {
    /// What the head does, in words that fit its kind.
    pub fn title(&self) -> &'static str {
        self.measure.title_for(self.kind)
    }

    /// How much of the score the baseline does not give; without a baseline, nothing.
    pub fn excess(&self) -> f64 {
        self.score.baseline.map_or(0.0, |baseline| self.score.value - baseline)
    }

    /// Which part of what the baseline leaves the score takes, `(score − baseline) / (1 − baseline)`; without a baseline, nothing.
    pub fn strength(&self) -> f64 {
        self.score.baseline.map_or(0.0, |baseline| self.excess() / (1.0 - baseline).max(f64::EPSILON))
    }

    /// What it does and how much of it, in a sentence: `L1H3: previous token, 0.93 of a query's weight; positions alone give 0.11`.
    pub fn reason(&self) -> String {
        let unit = self.measure.unit.strip_prefix("share of ").map_or(String::new(), |what| format!(" of {what}"));
        let variant = self.score.variant.map_or(String::new(), |variant| format!(" ({variant})"));
        let baseline = self.measure.baseline.zip(self.score.baseline);
        let baseline = baseline.map_or(String::new(), |(what, value)| format!("; {} {value:.2}", what.gives));
        format!("{}: {}{variant}, {:.2}{unit}{baseline}", self.head, self.title(), self.score.value)
    }

    /// Whether more than half of the heads do so: true of the model, and no mark of this head.
    pub fn is_usual(&self) -> bool {
        self.share_of_heads > 0.5
    }
}

/// Measures every head on text `item`: by kind, then in the order of the recording.
///
/// # Errors
/// [`Error::NoItem`] when the recording has no such text.
pub fn measure(recording: &Recording, item: usize) -> Result<Vec<HeadSums>, Error> {
    measure_with(recording, item, &Annotations::NONE)
}

/// Measures every head on text `item`, with what is known of the text beside its maps.
///
/// # Errors
/// [`Error::NoItem`] when the recording has no such text.
pub fn measure_with(recording: &Recording, item: usize, annotations: &Annotations) -> Result<Vec<HeadSums>, Error> {
    if item >= recording.items.len() {
        return Err(Error::NoItem { item, n_items: recording.items.len() });
    }
    let mut alike: Vec<Alike<'_>> = Vec::new();
    let mut n_heads = 0;
    for layer in Kind::ALL.into_iter().flat_map(|kind| recording.layers_of(kind)) {
        for head in 0..layer.shape.n_heads {
            let heads = (n_heads, layer, head);
            match alike.iter_mut().find(|alike| alike.has(layer, &recording.items[item])) {
                Some(alike) => alike.heads.push(heads),
                None => alike.push(Alike { heads: vec![heads] }),
            }
            n_heads += 1;
        }
    }
    let mut heads: Vec<(usize, HeadSums)> = Vec::with_capacity(n_heads);
    for alike in alike {
        heads.extend(alike.read(recording, item, annotations)?);
    }
    heads.sort_by_key(|(place, _)| *place);
    Ok(heads.into_iter().map(|(_, sums)| sums).collect())
}

/// Measures every head on all texts of a recording together.
///
/// # Errors
/// When the recording contradicts itself.
pub fn measure_all(recording: &Recording) -> Result<Vec<HeadSums>, Error> {
    let per_item = (0..recording.items.len()).map(|item| measure(recording, item));
    Ok(merge(per_item.collect::<Result<Vec<_>, _>>()?.into_iter().flatten()))
}

/// Merges what several texts, or several recordings of one model, say about each head; sorted by kind and head. Any cut and
/// any order gives the same.
pub fn merge(heads: impl IntoIterator<Item = HeadSums>) -> Vec<HeadSums> {
    let mut merged: BTreeMap<(Kind, HeadId), HeadSums> = BTreeMap::new();
    for head in heads {
        match merged.get_mut(&(head.kind, head.head)) {
            Some(known) => known.merge(&head),
            None => drop(merged.insert((head.kind, head.head), head)),
        }
    }
    merged.into_values().collect()
}

/// What stands out: by kind, then in the order of [`MEASURES`], the highest score first. See [`Measure::names`].
pub fn standouts(heads: &[HeadSums]) -> Vec<Standout> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let of_kind: Vec<&HeadSums> = heads.iter().filter(|head| head.kind == kind).collect();
        for measure in &MEASURES {
            let score = |head: &&&HeadSums| head.score(measure.name).filter(|score| measure.names(score));
            let named = of_kind.iter().filter_map(|head| Some((head.head, score(&head)?)));
            let mut named: Vec<(HeadId, Score)> = named.collect();
            // in f32, scores a millionth apart are equal: what a text was padded to decides nothing
            let place = |score: &Score| (score.value * 1e6).round();
            named.sort_by(|a, b| place(&b.1).total_cmp(&place(&a.1)).then(a.0.cmp(&b.0)));
            let share_of_heads = named.len() as f64 / of_kind.len() as f64;
            all.extend(named.into_iter().map(|(head, score)| Standout { kind, head, measure, score, share_of_heads }));
        }
    }
    all
}

/// From the first of some rising queries to the last.
fn around(queries: &[usize]) -> Range<usize> {
    queries.first().map_or(0, |first| *first)..queries.last().map_or(0, |last| last + 1)
}

/// Heads whose rows ask the same: of one kind, over the same tokens, each query with the same keys in sight.
struct Alike<'a> {
    /// The place of each in the result, its layer, and its number there; at least one.
    heads: Vec<(usize, &'a Layer, usize)>,
}

/// What is read of one head.
#[derive(Clone)]
struct Reader<'a> {
    /// Shape `[slots]`.
    sums: Vec<Sums>,
    gathered: Gathered<'a>,
}

impl<'a> Alike<'a> {
    /// Whether the rows of a layer's heads on a text ask the same as these.
    fn has(&self, layer: &Layer, text: &Item) -> bool {
        let first = self.heads[0].1;
        let tokens = |layer: &Layer| (layer.query_tokens(text).tokens.as_ptr(), layer.key_tokens(text).tokens.as_ptr());
        let sizes = |layer: &Layer| (layer.kind, layer.shape.n_queries, layer.shape.n_keys, layer.first_position());
        if sizes(layer) != sizes(first) || tokens(layer) != tokens(first) {
            return false;
        }
        match (layer.factored(), first.factored()) {
            // a mask may be another for each head
            (Some(one), Some(other)) => {
                one.scoring.visibility == other.scoring.visibility && one.mask.is_none() && other.mask.is_none()
            }
            // of dense decoders the weights say what is in sight
            (None, None) => layer.kind != Kind::Decoder,
            _ => false,
        }
    }

    /// Reads every map once for all measures, a few rows of all heads at a time.
    fn read(
        self,
        recording: &'a Recording,
        item: usize,
        annotations: &'a Annotations,
    ) -> Result<Vec<(usize, HeadSums)>, Error> {
        let (_, layer, head) = self.heads[0];
        let first = recording.map_of(layer, item, head)?;
        let columns = Arc::new(Columns::of(&first, annotations));
        let rows = Rows::with_columns(&first, Arc::clone(&columns), MAX_WEIGHTS);
        let slots = Slots::of(layer.kind);
        // words look at most at something only where every row is read
        let is_whole = rows.n_rows() == rows.n_queries();
        let gathered = Gathered::new(&first, &columns, annotations, is_whole);
        let mut readers = vec![Reader { sums: vec![Sums::default(); slots.len()], gathered }; self.heads.len()];
        let mut uniform = Stripes::new(&first, &columns.segments);
        for band in rows.bands() {
            let plan = Plan::of(&rows, band, &slots);
            plan.of_queries().for_each(|query| uniform.add_uniform(query));
            self.heads.par_iter().zip(&mut readers).try_for_each(|((_, layer, head), reader)| {
                let map = recording.rows_of(layer, item, *head, around(band))?;
                let weights = map.rows(band, 0..rows.n_read()); // [band, n_read]
                plan.answer(&weights, &mut reader.sums, |row| reader.gathered.add(row));
                Ok(())
            })?;
        }
        let (n_rows, n_queries) = (rows.n_rows() as u64, rows.n_queries() as u64);
        let uniform = uniform.geometry();
        let finish = |((place, layer, head), reader): ((usize, &Layer, usize), Reader<'_>)| {
            let head = HeadId { layer: layer.index, head };
            let sums = reader.finish(&slots, uniform);
            (place, HeadSums { kind: layer.kind, head, sums, n_rows, n_queries })
        };
        Ok(self.heads.into_iter().zip(readers).map(finish).collect())
    }
}

impl Reader<'_> {
    /// The sums of all measures.
    fn finish(mut self, slots: &Slots, uniform: Geometry) -> Vec<(&'static Measure, Vec<Sums>)> {
        self.gathered.close(uniform);
        let of_measure = |(measure, range): (&'static Measure, Range<usize>)| {
            let sums = match measure.reads {
                Reads::Whole(sums) => (0..range.len()).map(|variant| sums(&self.gathered, variant)).collect(),
                _ => self.sums[range].to_vec(),
            };
            (measure, sums)
        };
        slots.measures().map(of_measure).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::{Token, TokenRole};

    /// An n × n map that looks one token back.
    fn previous_token_head(n: usize) -> Vec<f32> {
        let mut weights = vec![0.0; n * n]; // [n, n]
        for query in 0..n {
            weights[query * n + query.saturating_sub(1)] = 1.0;
        }
        weights
    }

    /// The names of what stands out in the one text of a recording.
    fn found(recording: &Recording) -> Vec<&'static str> {
        let heads = measure(recording, 0).expect("the text exists");
        standouts(&heads).iter().map(|standout| standout.measure.name).collect()
    }

    #[test]
    fn a_previous_token_head_is_named_with_its_score_and_baseline() {
        let recording = recording(Kind::Encoder, previous_token_head(10), 10, 10);
        let found = standouts(&measure(&recording, 0).expect("the text exists"));
        let names: Vec<&str> = found.iter().map(|one| one.measure.name).collect();
        assert_eq!(names, ["previous", "positional", "local"]);
        assert_eq!((found[0].title(), found[0].score.n), ("previous token", 10));
        assert!((found[0].score.value - 0.9).abs() < 1e-9);
        assert!(
            (found[0].score.baseline.expect("uniform") - 0.09).abs() < 1e-9,
            "nine of ten rows have a previous token"
        );
        // nine rows of ten, all or nothing: Wilson's interval, (0.9 + 0.19207 ± 1.95996 · √(0.009 + 0.0096037)) / 1.384146
        let (low, high) = found[0].score.interval.expect("ten rows");
        assert!((low - 0.595_850).abs() < 1e-6 && (high - 0.982_124).abs() < 1e-6, "{low} {high}");
    }

    #[test]
    fn a_uniform_head_is_broad_and_nothing_else() {
        assert_eq!(found(&recording(Kind::Encoder, vec![0.2; 25], 5, 5)), ["broad"]);
    }

    #[test]
    fn nothing_is_named_on_four_rows() {
        assert_eq!(found(&recording(Kind::Encoder, vec![0.25; 16], 4, 4)), [""; 0]);
    }

    #[test]
    fn a_crossing_cross_attention_head_covers_the_source() {
        let n = 36;
        let mut weights = vec![0.003; n * (n + 1)]; // [n, n + 1]
        for row in 0..n {
            weights[row * (n + 1) + (row * 5 + 1) % n] = 0.88;
        }
        let mut recording = recording(Kind::Cross, weights, n, n + 1);
        recording.items[0].source.tokens[n] = Token { role: TokenRole::Special, ..Token::labelled("</s>") };
        let heads = measure(&recording, 0).expect("the text exists");
        let score = heads[0].score("coverage").expect("there are words");
        assert_eq!((score.value, score.n), (1.0, 36));
        assert!((score.baseline.expect("chance") - (1.0 - (35.0_f64 / 36.0).powi(36))).abs() < 1e-9);
        assert_eq!(found(&recording), ["agreement", "coverage"]);
    }

    #[test]
    fn a_head_that_looks_for_earlier_copies_is_no_sink() {
        // a b a c a d a e …: every a looks at the first one, every other token at itself
        let n = 20;
        let mut weights = vec![0.0; n * n]; // [n, n]
        for query in 0..n {
            weights[query * n + if query % 2 == 0 { 0 } else { query }] = 1.0;
        }
        let mut recording = recording(Kind::Decoder, weights, n, n);
        let sink = |recording: &Recording| measure(recording, 0).expect("the text exists")[0].score("sink");
        assert!(
            sink(&recording).expect("tokens differ").value > 0.4,
            "tokens that all differ: half of them look at the first"
        );
        for token in recording.items[0].target.tokens.iter_mut().step_by(2) {
            token.text = "a".into();
        }
        let score = sink(&recording).expect("other tokens are left");
        assert!(score.value < 0.1, "{score:?}");
        assert!(!found(&recording).contains(&"sink"));
    }

    #[test]
    fn an_ideal_induction_head_is_no_sink() {
        // a b c d e a b c d e …: each token looks behind its last copy, and at itself where there is none
        let (n, period) = (20, 5);
        let mut weights = vec![0.0; n * n]; // [n, n]
        for query in 0..n {
            weights[query * n + if query < period { query } else { query - period + 1 }] = 1.0;
        }
        let mut recording = recording(Kind::Decoder, weights, n, n);
        for (place, token) in recording.items[0].target.tokens.iter_mut().enumerate() {
            token.text = ["a", "b", "c", "d", "e"][place % period].into();
        }
        let found = found(&recording);
        assert!(found.contains(&"induction") && !found.contains(&"sink") && !found.contains(&"first"), "{found:?}");
    }

    #[test]
    fn what_most_heads_do_is_usual() {
        let mut recording = recording(Kind::Encoder, [vec![0.2; 50], previous_token_head(5)].concat(), 5, 5);
        recording.layers[0].shape.n_heads = 3;
        recording.layers[0].shape.n_kv_heads = 3;
        let heads = measure(&recording, 0).expect("the text exists");
        let found = standouts(&heads);
        let broad: Vec<_> = found.iter().filter(|standout| standout.measure.name == "broad").collect();
        assert_eq!(broad.len(), 2);
        assert!(broad[0].is_usual() && (broad[0].share_of_heads - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn texts_merge_to_the_same_sums_in_any_order() {
        let mut recording =
            recording(Kind::Decoder, (0..108).map(|cell| (cell * 31 % 108) as f32 / 108.0).collect(), 6, 6);
        recording.items = vec![recording.items[0].clone(); 3];
        let texts: Vec<_> = (0..3).map(|item| measure(&recording, item).expect("the text exists")).collect();
        let forwards = merge(texts.iter().flatten().cloned());
        let backwards = merge(texts.iter().rev().flatten().cloned());
        assert_eq!(forwards, backwards);
        assert_eq!(measure_all(&recording).expect("the texts exist"), forwards);
        assert_eq!((forwards[0].n_rows, forwards[0].score("previous").expect("three texts").n), (18, 18));
    }

    #[test]
    fn a_text_that_does_not_exist_is_refused_with_the_number_there_are() {
        let recording = recording(Kind::Encoder, vec![1.0], 1, 1);
        assert_eq!(
            measure(&recording, 3).expect_err("there is one text").to_string(),
            "there is no text 3; the recording has 1 (counted from 0)"
        );
    }
}
