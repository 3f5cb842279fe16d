//! The measures of every head over a training: when does a head become what it is?

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use attlas::analysis::{self, HeadSums, MEASURES, Measure, Score, Sums};
use attlas::{HeadId, Kind};
use attlas_model::{Input, Model, RunOptions};
use serde::Serialize;

use super::training::{Training, load, no_frame};
use super::{Frame, Options, translation};
use crate::Error;
use crate::alignment::recording_error;
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
    /// By kind, then in the order of [`MEASURES`], then by head.
    pub curves: Vec<Curve>,
}

/// The scores of one head under one measure, over a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head, counted from 0.
    pub head: HeadId,
    /// What is measured.
    pub measure: &'static Measure,
    /// One per moment.
    pub readings: Vec<Reading>,
}

/// What a head scored at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The score, or why there is none.
    pub score: Result<Score, Absence>,
    /// Whether the measure names a head with this score; see [`Measure::names`].
    pub named: bool,
}

/// Why there is no score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Absence {
    /// The texts have nothing that the measure counts.
    Nothing,
    /// Some weights are no finite numbers.
    NotFinite,
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
        let mut moments: Vec<Vec<HeadSums>> = Vec::new();
        for (_, folder) in &frames {
            let heads = measured(&load(folder)?, &pairs)?;
            if moments.first().is_some_and(|first| !are_same(first, &heads)) {
                let problem = "its heads are not those of the film's first model".to_string();
                return Err(Error::File { path: folder.clone(), problem });
            }
            moments.push(heads);
            report(moments.len(), frames.len());
        }
        let mut n_rows: Vec<(Kind, u64)> = moments[0].iter().map(|head| (head.kind, head.n_rows)).collect();
        n_rows.dedup_by_key(|(kind, _)| *kind);
        let frames = frames.into_iter().map(|(frame, _)| frame).collect();
        Ok(Curves { frames, seams, n_texts: pairs.len(), n_rows, curves: curves(&moments) })
    }
}

/// Sources with the model's translations.
fn translated(model: &Model, sources: &[String]) -> Result<Vec<(String, String)>, Error> {
    sources.iter().map(|source| Ok((source.clone(), translation(model, source)?))).collect()
}

/// Every head of a model measured on all pairs together.
fn measured(model: &Model, pairs: &[(String, String)]) -> Result<Vec<HeadSums>, Error> {
    let mut all = Vec::new();
    for batch in pairs.chunks(BATCH) {
        let inputs = batch.iter().map(|(source, target)| model.input(source, Some(target)));
        let inputs: Vec<Input> = inputs.collect::<Result<_, _>>().map_err(model_error)?;
        let run = model.run(&inputs, &RunOptions::default()).map_err(model_error)?;
        let heads = analysis::measure_all(&run.recording).map_err(recording_error)?;
        all = analysis::merge(all.into_iter().chain(heads));
    }
    Ok(all)
}

/// Whether two models have the same heads.
fn are_same(heads: &[HeadSums], others: &[HeadSums]) -> bool {
    let names = |heads: &[HeadSums]| heads.iter().map(|head| (head.kind, head.head)).collect::<Vec<_>>();
    names(heads) == names(others)
}

/// The curves of all heads, each of whom every moment has in the same place.
fn curves(moments: &[Vec<HeadSums>]) -> Vec<Curve> {
    let mut readings: BTreeMap<(Kind, usize, HeadId), (&'static Measure, Vec<Reading>)> = BTreeMap::new();
    for head in moments.iter().flatten() {
        for (measure, sums) in &head.sums {
            let place = MEASURES.iter().position(|other| other == *measure).unwrap_or(MEASURES.len());
            let of_head = readings.entry((head.kind, place, head.head)).or_insert_with(|| (measure, Vec::new()));
            of_head.1.push(Reading::of(measure, sums));
        }
    }
    let curve = |((kind, _, head), (measure, readings))| Curve { kind, head, measure, readings };
    readings.into_iter().map(curve).collect()
}

impl Reading {
    fn of(measure: &Measure, sums: &Sums) -> Reading {
        let absence = if sums.n_not_finite > 0 { Absence::NotFinite } else { Absence::Nothing };
        let score = measure.score(sums).ok_or(absence);
        Reading { score, named: score.is_ok_and(|score| measure.names(&score)) }
    }

    /// The score, where there is one.
    pub fn value(&self) -> Option<f64> {
        self.score.ok().map(|score| score.value)
    }
}

impl Absence {
    /// Why there is no score, in a sentence.
    pub fn says(self) -> &'static str {
        match self {
            Absence::Nothing => "the texts have nothing that the measure counts",
            Absence::NotFinite => "some weights are no finite numbers",
        }
    }
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
        self.readings.last()?.value()
    }

    /// When the head did what the measure looks for, in a sentence without its kind; `None` when it never did.
    ///
    /// `L1H3 becomes previous token at step 4,000 (0.52, 0.71 at the end)`
    pub fn sentence(&self, frames: &[Frame]) -> Option<String> {
        let step = |moment: usize| grouped(frames.get(moment).map_or(0, |frame| frame.step));
        let score = |moment: usize| number(self.readings.get(moment).and_then(Reading::value));
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
            (None, some) => Some(format!("{head} is {title} {}, and loses it ({last} at the end)", some.join(" and "))),
        }
    }

    /// A stretch of moments at which it was named, with the highest score.
    fn stretch(&self, moments: &Range<usize>, frames: &[Frame]) -> String {
        let step = |moment: usize| grouped(frames.get(moment).map_or(0, |frame| frame.step));
        let readings = self.readings.get(moments.clone()).unwrap_or_default();
        let most = number(readings.iter().filter_map(Reading::value).reduce(f64::max));
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
    use attlas::analysis::Sample;

    use super::*;

    /// Curves of encoder heads of layer 0 under the measure, with these scores at steps 0, 1,000, 2,000, …; the baseline is 0.1.
    pub fn curves_of(measure: &'static Measure, heads: &[&[f64]]) -> Curves {
        let moment = |place: usize| -> Vec<HeadSums> {
            let head = |(number, scores): (usize, &&[f64])| {
                let mut sums = Sums::default();
                (0..6).for_each(|_| sums.add(Sample { score: scores[place], baseline: 0.1 }));
                let head = HeadId { layer: 0, head: number };
                HeadSums { kind: Kind::Encoder, head, sums: vec![(measure, sums)], n_rows: 6, n_queries: 6 }
            };
            heads.iter().enumerate().map(head).collect()
        };
        let moments: Vec<Vec<HeadSums>> = (0..heads[0].len()).map(moment).collect();
        let frame = |place: usize| Frame { step: 1000 * place as u64, tokens: 0 };
        Curves {
            frames: (0..moments.len()).map(frame).collect(),
            seams: Vec::new(),
            n_texts: 1,
            n_rows: vec![(Kind::Encoder, 6)],
            curves: curves(&moments),
        }
    }

    fn sentences(scores: &[f64]) -> Option<String> {
        let curves = curves_of(Measure::named("previous").expect("it is a measure"), &[scores]);
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
    }

    #[test]
    fn a_score_that_is_absent_says_why_and_names_nobody() {
        let measure = Measure::named("previous").expect("it is a measure");
        let mut sums = Sums::default();
        let reading = Reading::of(measure, &sums);
        assert_eq!((reading.score, reading.named), (Err(Absence::Nothing), false));
        sums.add(Sample { score: f64::NAN, baseline: 0.0 });
        assert_eq!(Reading::of(measure, &sums).score, Err(Absence::NotFinite));
    }

    #[test]
    fn curves_stand_by_measure_and_then_by_head() {
        let curves = curves_of(Measure::named("previous").expect("it is a measure"), &[&[0.1, 0.2], &[0.3, 0.4]]);
        let values = |curve: &Curve| curve.readings.iter().filter_map(Reading::value).collect::<Vec<_>>();
        assert_eq!(curves.curves.iter().map(|curve| curve.head.head).collect::<Vec<_>>(), [0, 1]);
        assert!((values(&curves.curves[1])[1] - 0.4).abs() < 1e-9);
    }

    #[test]
    fn large_steps_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
