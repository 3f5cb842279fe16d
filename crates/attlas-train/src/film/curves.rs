//! The measures of every head over a training: when does a head become what it is?

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use attlas::analysis::{self, Annotations, HeadSums, Measure, ScoreRow};
use attlas::{HeadId, Kind};
use attlas_model::{Input, Model, RunOptions};
use serde::Serialize;

use super::training::{Training, load, no_frame};
use super::{Frame, Options, translation};
use crate::Error;
use crate::alignment::{item_links, recording_error};
use crate::evaluate::model_error;

/// Texts per run of a model.
const BATCH: usize = 32;

/// What heads are measured on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Texts {
    /// Sources and the targets that the decoder reads.
    Pairs(Vec<(String, String)>),
    /// Sources alone: at every moment the decoder reads the last model's translation.
    Sources(Vec<String>),
}

/// The scores of all heads at the moments of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// When each moment was.
    pub frames: Vec<Frame>,
    /// The steps after which a further run began.
    pub seams: Vec<u64>,
    /// Texts that were measured together.
    pub n_texts: usize,
    /// Rows that were read of each head at each moment, by kind.
    pub n_rows: Vec<(Kind, u64)>,
    /// By kind, then in the order of [`MEASURES`](analysis::MEASURES), then by head.
    pub curves: Vec<Curve>,
}

/// The scores of one head under one measure, over a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head, counted from 0.
    pub head: HeadId,
    /// What is looked for.
    pub measure: &'static Measure,
    /// One per moment.
    pub readings: Vec<ScoreRow>,
}

/// A score of a head at a step: a row of every table that is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CurveRow<'a> {
    /// Steps done.
    pub step: u64,
    /// What was scored.
    #[serde(flatten)]
    pub score: &'a ScoreRow,
}

/// When a head did what it does; moments are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Emergence {
    /// The first moment from which on it is named, to the last one.
    pub since: Option<usize>,
    /// The moments before at which it was named, and after which it was not.
    pub lost: Vec<Range<usize>>,
}

impl Curves {
    /// The scores of every head of the training in `folder`, and of the runs that followed it, on `texts`, of which
    /// [`Options::then`] and [`Options::frames`] say which moments. `report` hears how many of all moments are done.
    ///
    /// # Errors
    /// As [`Film::of`](super::Film::of); also when there is no text.
    pub fn of(
        folder: &Path,
        texts: &Texts,
        options: &Options,
        report: &mut dyn FnMut(usize, usize),
    ) -> Result<Curves, Error> {
        let Training { frames, seams, .. } = Training::of_runs(folder, &options.then, options.frames)?;
        let Some((_, last)) = frames.last() else { return Err(no_frame(folder)) };
        let pairs = match texts {
            Texts::Pairs(pairs) => pairs.clone(),
            Texts::Sources(sources) => translated(&load(last)?, sources)?,
        };
        if pairs.is_empty() {
            return Err(Error::Setting("there is no text to measure heads on".to_string()));
        }
        let mut curves =
            Curves { frames: Vec::new(), seams, n_texts: pairs.len(), n_rows: Vec::new(), curves: Vec::new() };
        for (frame, folder) in &frames {
            if !curves.add(*frame, &measured(&load(folder)?, &pairs)?) {
                let problem = "its heads are not those of the film's first model".to_string();
                return Err(Error::File { path: folder.clone(), problem });
            }
            report(curves.frames.len(), frames.len());
        }
        Ok(curves)
    }

    /// Adds a moment; `false` where its heads are others than those of the first.
    fn add(&mut self, frame: Frame, heads: &[HeadSums]) -> bool {
        let mut scores: BTreeMap<(Kind, usize, HeadId), (&'static Measure, ScoreRow)> = BTreeMap::new();
        for of_head in heads {
            let HeadSums { kind, head, .. } = *of_head;
            for (place, (measure, score)) in of_head.scores_or_reasons().enumerate() {
                scores.insert((kind, place, head), (measure, ScoreRow::new(kind, head, measure, score)));
            }
        }
        if self.frames.is_empty() {
            self.n_rows = heads.iter().map(|head| (head.kind, head.n_rows)).collect();
            self.n_rows.dedup_by_key(|(kind, _)| *kind);
            let curve = |(&(kind, _, head), (measure, _)): (&(Kind, usize, HeadId), &(&'static Measure, ScoreRow))| {
                Curve { kind, head, measure, readings: Vec::new() }
            };
            self.curves = scores.iter().map(curve).collect();
        }
        self.frames.push(frame);
        let found = scores.iter().map(|(&(kind, _, head), (measure, _))| (kind, head, *measure));
        if !self.curves.iter().map(|curve| (curve.kind, curve.head, curve.measure)).eq(found) {
            return false;
        }
        for (curve, (_, score)) in self.curves.iter_mut().zip(scores.into_values()) {
            curve.readings.push(score);
        }
        true
    }

    /// The scores as rows of a table: by kind, measure and head, then over time.
    pub fn rows(&self) -> impl Iterator<Item = CurveRow<'_>> {
        let row = |(frame, score): (&Frame, _)| CurveRow { step: frame.step, score };
        self.curves.iter().flat_map(move |curve| self.frames.iter().zip(&curve.readings).map(row))
    }

    /// The curves of each kind and measure.
    pub fn groups(&self) -> impl Iterator<Item = &[Curve]> {
        self.curves.chunk_by(|a, b| (a.kind, a.measure) == (b.kind, b.measure))
    }

    /// The same with the curves of the measures of these names alone; all of them where there is no name.
    pub fn only<S: AsRef<str>>(mut self, names: &[S]) -> Curves {
        let is_asked = |curve: &Curve| names.iter().any(|name| name.as_ref() == curve.measure.name);
        self.curves.retain(|curve| names.is_empty() || is_asked(curve));
        self
    }
}

/// Sources with the model's translations.
fn translated(model: &Model, sources: &[String]) -> Result<Vec<(String, String)>, Error> {
    sources.iter().map(|source| Ok((source.clone(), translation(model, source)?))).collect()
}

/// Every head of a model measured on all pairs together; French words that the dictionary translates are held against it.
fn measured(model: &Model, pairs: &[(String, String)]) -> Result<Vec<HeadSums>, Error> {
    let mut all = Vec::new();
    for batch in pairs.chunks(BATCH) {
        let inputs = batch.iter().map(|(source, target)| model.input(source, Some(target)));
        let inputs: Vec<Input> = inputs.collect::<Result<_, _>>().map_err(model_error)?;
        let recording = model.run(&inputs, &RunOptions::default()).map_err(model_error)?.recording;
        for (index, item) in recording.items.iter().enumerate() {
            let annotations = Annotations { links: item_links(item), ..Annotations::default() };
            let heads = analysis::measure_with(&recording, index, &annotations).map_err(recording_error)?;
            all = analysis::merge(all.into_iter().chain(heads));
        }
    }
    Ok(all)
}

impl Emergence {
    /// Of the moments at which a head is named, in order.
    pub fn of(named: &[bool]) -> Emergence {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for (moment, _) in named.iter().enumerate().filter(|(_, named)| **named) {
            match stretches.last_mut() {
                Some(stretch) if stretch.end == moment => stretch.end += 1,
                _ => stretches.push(moment..moment + 1),
            }
        }
        let since = stretches.pop_if(|stretch| stretch.end == named.len()).map(|stretch| stretch.start);
        Emergence { since, lost: stretches }
    }

    /// Whether it was named at any moment.
    pub fn is_any(&self) -> bool {
        self.since.is_some() || !self.lost.is_empty()
    }

    /// Whether it was named at some moment and not at another.
    pub fn is_change(&self) -> bool {
        self.is_any() && self.since != Some(0)
    }
}

impl Curve {
    /// When the head did what the measure looks for.
    pub fn emergence(&self) -> Emergence {
        Emergence::of(&self.readings.iter().map(|reading| reading.named).collect::<Vec<_>>())
    }

    /// What a head with a high score is said to do.
    pub fn title(&self) -> &'static str {
        self.measure.title_for(self.kind)
    }

    /// The score at the last moment.
    pub fn last(&self) -> Option<f64> {
        self.readings.last()?.score
    }

    /// When the head did what the measure looks for, in a sentence without its kind; `None` when it never did.
    ///
    /// `L1H3 becomes previous token at step 4,000 (0.52, 0.71 at the end)`
    pub fn sentence(&self, frames: &[Frame]) -> Option<String> {
        let step = |moment: usize| grouped(frames.get(moment).map_or(0, |frame| frame.step));
        let score = |moment: usize| number(self.readings.get(moment).and_then(|reading| reading.score));
        let (head, title, last) = (self.head, self.title(), number(self.last()));
        let Emergence { since, lost } = self.emergence();
        let stretches: Vec<String> = lost.iter().map(|stretch| self.stretch(stretch, frames)).collect();
        let before = match stretches.as_slice() {
            [] => String::new(),
            some => format!("; it was so before {}, and lost it", some.join(" and ")),
        };
        let n = self.readings.len();
        match (since, stretches.as_slice()) {
            (Some(0), _) => Some(format!("{head} is {title} at every checkpoint ({}, {last} at the end)", score(0))),
            (Some(since), _) if since + 1 == n => {
                Some(format!("{head} becomes {title} at step {}, the last checkpoint ({last}){before}", step(since)))
            }
            (Some(since), _) => Some(format!(
                "{head} becomes {title} at step {} ({}, {last} at the end){before}",
                step(since),
                score(since)
            )),
            (None, []) => None,
            (None, some) => {
                let why = self.why_unnamed().map_or(String::new(), |why| format!(", {why}"));
                Some(format!("{head} is {title} {}, and loses it ({last} at the end{why})", some.join(" and ")))
            }
        }
    }

    /// Why the head is not named at the last moment although its score is that of one.
    fn why_unnamed(&self) -> Option<&'static str> {
        let last = self.readings.last().filter(|last| !last.named)?;
        last.threshold.zip(last.score).filter(|(threshold, score)| score >= threshold)?;
        let reaches = last.low.zip(last.baseline).is_some_and(|(low, baseline)| low <= baseline);
        Some(match reaches {
            true => "whose interval reaches the baseline",
            false => "of too few rows",
        })
    }

    /// A stretch of moments at which it was named, with the highest score.
    fn stretch(&self, moments: &Range<usize>, frames: &[Frame]) -> String {
        let step = |moment: usize| grouped(frames.get(moment).map_or(0, |frame| frame.step));
        let readings = self.readings.get(moments.clone()).unwrap_or_default();
        let most = number(readings.iter().filter_map(|reading| reading.score).reduce(f64::max));
        match moments.len() {
            1 => format!("at step {} ({most})", step(moments.start)),
            _ => format!("from step {} to {} (at most {most})", step(moments.start), step(moments.end - 1)),
        }
    }
}

/// A score with two decimals.
fn number(score: Option<f64>) -> String {
    score.map_or("no score".to_string(), |score| format!("{score:.2}"))
}

/// `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use attlas::analysis::Score;

    use super::*;

    /// Curves of encoder heads of layer 0 that look at the token before, with these scores at steps 0, 1,000, 2,000, …; the
    /// baseline is 0.1.
    pub fn curves_of(heads: &[&[f64]]) -> Curves {
        let measure = Measure::named("previous").expect("it is a measure");
        let curve = |(number, scores): (usize, &&[f64])| {
            let head = HeadId { layer: 0, head: number };
            let reading = |score: &f64| {
                let interval = Some((*score - 0.05, *score + 0.05));
                let score = Score { value: *score, baseline: Some(0.1), interval, n: 6, variant: None };
                ScoreRow::new(Kind::Encoder, head, measure, Ok(score))
            };
            Curve { kind: Kind::Encoder, head, measure, readings: scores.iter().map(reading).collect() }
        };
        let frame = |place: usize| Frame { step: 1000 * place as u64, tokens: 0 };
        Curves {
            frames: (0..heads[0].len()).map(frame).collect(),
            seams: Vec::new(),
            n_texts: 1,
            n_rows: vec![(Kind::Encoder, 6)],
            curves: heads.iter().enumerate().map(curve).collect(),
        }
    }

    fn sentences(scores: &[f64]) -> Option<String> {
        let curves = curves_of(&[scores]);
        curves.curves[0].sentence(&curves.frames)
    }

    #[test]
    fn a_head_becomes_something_at_the_first_checkpoint_from_which_it_stays_named() {
        let of = |named: &[u8]| Emergence::of(&named.iter().map(|named| *named == 1).collect::<Vec<_>>());
        let emergence = |since, lost: &[Range<usize>]| Emergence { since, lost: lost.to_vec() };
        assert_eq!(of(&[0, 0, 1, 1]), emergence(Some(2), &[]));
        assert_eq!(of(&[1, 1, 1]), emergence(Some(0), &[]));
        assert_eq!(of(&[0, 1, 1, 0, 1]), emergence(Some(4), &[1..3]));
        assert_eq!(of(&[1, 0, 1, 0, 0]), emergence(None, &[0..1, 2..3]));
        assert_eq!(of(&[0, 0]), emergence(None, &[]));
        assert_eq!(of(&[]), emergence(None, &[]));
        assert!(of(&[0, 1]).is_change() && of(&[1, 0]).is_change());
        assert!(!of(&[1, 1]).is_change() && !of(&[0, 0]).is_change() && !of(&[0, 0]).is_any());
    }

    #[test]
    fn when_a_head_becomes_something_or_loses_it_is_said_with_its_scores() {
        let said = |scores: &[f64]| sentences(scores).unwrap_or_default();
        assert_eq!(
            said(&[0.1, 0.2, 0.52, 0.6, 0.71]),
            "L0H0 becomes previous token at step 2,000 (0.52, 0.71 at the end)"
        );
        assert_eq!(said(&[0.1, 0.6]), "L0H0 becomes previous token at step 1,000, the last checkpoint (0.60)");
        assert_eq!(said(&[0.7, 0.6]), "L0H0 is previous token at every checkpoint (0.70, 0.60 at the end)");
        assert_eq!(
            said(&[0.1, 0.6, 0.8, 0.3]),
            "L0H0 is previous token from step 1,000 to 2,000 (at most 0.80), and loses it (0.30 at the end)"
        );
        assert_eq!(
            said(&[0.6, 0.1, 0.7, 0.8]),
            "L0H0 becomes previous token at step 2,000 (0.70, 0.80 at the end); it was so before at step 0 (0.60), and lost it"
        );
        assert_eq!(sentences(&[0.1, 0.4]), None);
        let mut curves = curves_of(&[&[0.7, 0.6]]);
        curves.curves[0].readings[1].named = false;
        curves.curves[0].readings[1].low = Some(0.05);
        let sentence = curves.curves[0].sentence(&curves.frames).unwrap_or_default();
        assert!(
            sentence.ends_with("and loses it (0.60 at the end, whose interval reaches the baseline)"),
            "{sentence}"
        );
    }

    /// A head of six tokens whose every row has the weight `previous` on the token before and the rest on the last token.
    fn heads(kind: Kind, previous: f32) -> Vec<HeadSums> {
        let n = 6;
        let mut weights = vec![0.0; n * n]; // [n, n]
        for query in 0..n {
            weights[query * n + query.saturating_sub(1)] += previous;
            weights[query * n + n - 1] += 1.0 - previous;
        }
        let tokens = || attlas::Tokens::from_labels((0..n).map(|place| format!("t{place}")));
        let shape =
            attlas::attention::Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
        let recording = attlas::Recording {
            items: vec![attlas::Item { source: tokens(), target: tokens(), ..attlas::Item::default() }],
            layers: vec![attlas::Layer::new(kind, 0, shape, attlas::Buffer::from(weights))],
            provenance: attlas::Provenance::default(),
        };
        analysis::measure_all(&recording).expect("one text")
    }

    fn empty() -> Curves {
        Curves { frames: vec![], seams: vec![], n_texts: 1, n_rows: vec![], curves: vec![] }
    }

    #[test]
    fn every_moment_gives_every_curve_its_measured_score() {
        let mut curves = empty();
        for (step, previous) in [(0, 0.3), (10, 0.9)] {
            assert!(curves.add(Frame { step, tokens: 0 }, &heads(Kind::Encoder, previous)));
        }
        let curves = curves.only(&["previous"]);
        assert_eq!((curves.curves.len(), &curves.n_rows), (1, &vec![(Kind::Encoder, 6)]));
        // the first of six rows has no token before; the last row's token before is not the last token
        let scores: Vec<f64> = curves.rows().filter_map(|row| row.score.score).collect();
        assert!((scores[0] - 0.25).abs() < 1e-6 && (scores[1] - 0.75).abs() < 1e-6, "{scores:?}");
        assert_eq!(curves.rows().map(|row| (row.step, row.score.named)).collect::<Vec<_>>(), [(0, false), (10, true)]);
        assert_eq!(curves.rows().next().map(|row| row.score.n_rows), Some(6));
    }

    #[test]
    fn a_model_with_other_heads_is_no_moment_of_the_training() {
        let mut curves = empty();
        assert!(curves.add(Frame { step: 0, tokens: 0 }, &heads(Kind::Encoder, 0.3)));
        assert!(!curves.add(Frame { step: 1, tokens: 0 }, &heads(Kind::Decoder, 0.3)));
    }

    #[test]
    fn a_score_that_is_absent_says_why() {
        // a text without punctuation
        let mut curves = empty();
        curves.add(Frame { step: 0, tokens: 0 }, &heads(Kind::Encoder, 0.3));
        let curves = curves.only(&["punctuation"]);
        let reading = &curves.curves[0].readings[0];
        assert!(reading.score.is_none() && reading.absent.is_some() && !reading.named, "{reading:?}");
    }

    #[test]
    fn large_steps_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
