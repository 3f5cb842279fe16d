//! The film of a training: how heads change on one sentence, from random to specialised.
//!
//! `attlas train --film N` keeps N model folders under `film/`; [`Film::of`] runs each over the same sentence pair and keeps
//! the maps of the heads that changed most. A training may have gone on in further runs, each begun with the weights of
//! the one before: then the film does, too. [`Curves`] are the scores of all heads over the same models.

mod charts;
mod curves;
mod html;
mod picture;
mod training;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use attlas::figure::Axis;
use attlas::{Head, HeadId, Kind, View};
use attlas_model::{Decoding, Model, Pass, RunOptions};
use serde::Serialize;

pub use self::charts::{Charts, Choice};
pub use self::curves::{Curve, CurveRow, Curves, Emergence, Texts};
use self::training::Training;
use crate::Error;
use crate::alignment::recording_error;
use crate::evaluate::model_error;

/// Heads that are shown unless others are asked for.
pub const DEFAULT_HEADS: usize = 9;

/// A sentence whose maps have more cells are refused: 12 frames of 9 such maps are 6 MB.
const MAX_CELLS: usize = 1 << 16;

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// The target; the last frame's own translation when there is none.
    pub target: Option<String>,
    /// The heads; those that changed most when there are none.
    pub heads: Vec<(Kind, HeadId)>,
    /// The folders of the runs that went on from the first one's weights, in order.
    pub then: Vec<PathBuf>,
    /// At most so many frames, evenly chosen, the first and the last among them.
    pub frames: Option<NonZeroUsize>,
}

/// A film, ready to be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Film {
    /// The source text.
    pub source_text: String,
    /// The target text that the decoder read.
    pub target_text: String,
    /// The maps over time, one per head.
    pub heads: Vec<HeadFilm>,
    /// When each frame was.
    pub frames: Vec<Frame>,
    /// The loss over the whole training.
    pub curve: Vec<Point>,
    /// The steps after which a further run began.
    pub seams: Vec<u64>,
}

/// One head over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadFilm {
    /// The kind of attention.
    pub kind: Kind,
    /// Layer and head, as `L1H3`.
    pub name: String,
    /// Labels of the queries.
    pub rows: Vec<String>,
    /// Labels of the keys.
    pub columns: Vec<String>,
    /// How far the last map is from the first: mean over rows of half the sum of absolute differences, 0 to 1.
    pub change: f64,
    /// What is wrong with its first map that fails its checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// One map per frame. Shape of each `[rows, columns]`.
    #[serde(skip)]
    pub maps: Vec<Vec<f32>>,
}

/// When a frame was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Steps done.
    pub step: u64,
    /// Target tokens seen.
    pub tokens: u64,
}

/// A point of the loss curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Steps done.
    pub step: u64,
    /// Training loss, in nats per token.
    pub loss: f64,
    /// Validation loss at that step, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<f64>,
}

impl Film {
    /// The film of the training in `folder`, and of the runs that followed it, on `text`.
    ///
    /// # Errors
    /// When there is no film in a folder, a run did not begin with the weights that the one before ended with, a model
    /// is damaged or has other heads or tokens than the first, or a head does not exist.
    pub fn of(folder: &Path, text: &str, options: &Options) -> Result<Film, Error> {
        let Training { frames, points, seams, .. } = Training::of_runs(folder, &options.then, options.frames)?;
        let Some(((_, last), earlier)) = frames.split_last() else {
            return Err(training::no_frame(folder));
        };
        let last = training::load(last)?;
        let target_text = match &options.target {
            Some(target) => target.clone(),
            None => translation(&last, text)?,
        };
        let input = last.input(text, Some(&target_text)).map_err(model_error)?;
        if input.source.len().max(input.target.len()).pow(2) > MAX_CELLS {
            return Err(Error::Limit("the sentence is too long for a film; 256 tokens are the most".to_string()));
        }
        let mut heads: Vec<(HeadId, HeadFilm)> = Vec::new();
        let models = earlier.iter().map(|(_, folder)| training::load(folder)).chain([Ok(last)]);
        for (model, (_, folder)) in models.zip(&frames) {
            let model = model?;
            let input = model.input(text, Some(&target_text)).map_err(model_error)?;
            let run = model.run(&[input], &RunOptions::default()).map_err(model_error)?;
            let these = films(&run.recording)?;
            if heads.is_empty() {
                heads = these;
                continue;
            }
            let is_same = |((_, a), (_, b)): (&(HeadId, HeadFilm), &(HeadId, HeadFilm))| a.has_axes_of(b);
            if heads.len() != these.len() || !heads.iter().zip(&these).all(is_same) {
                return Err(Error::File {
                    path: folder.clone(),
                    problem: "its heads, or the sentence's tokens, are not those of the film's first model".to_string(),
                });
            }
            for ((_, head), (_, this)) in heads.iter_mut().zip(these) {
                head.maps.extend(this.maps);
                head.problem = head.problem.take().or(this.problem);
            }
        }
        for (_, head) in &mut heads {
            head.change = change(head);
        }
        let heads = chosen(heads, &options.heads)?;
        let frames = frames.into_iter().map(|(frame, _)| frame).collect();
        Ok(Film { source_text: text.to_string(), target_text, heads, frames, curve: thinned(points), seams })
    }
}

impl Film {
    /// What of the heads that are shown fails its checks, in a sentence.
    pub fn complaint(&self) -> Option<String> {
        let mut failed = self.heads.iter().filter_map(|head| Some((head, head.problem.as_ref()?)));
        let (first, problem) = failed.next()?;
        let others = match failed.count() {
            0 => String::new(),
            n => format!(" (and {n} more)"),
        };
        Some(format!("{} {}{others} fails its checks, and the film says so: {problem}", first.kind, first.name))
    }
}

impl HeadFilm {
    /// A film of one frame.
    fn new(view: &View) -> HeadFilm {
        let labels = |axis: &Axis| (0..axis.len()).map(|place| axis.label(place)).collect();
        let panel = view.panel();
        HeadFilm {
            kind: view.kind(),
            name: view.title().to_string(),
            rows: labels(panel.rows()),
            columns: labels(panel.columns()),
            change: 0.0,
            problem: view.problem().map(str::to_owned),
            maps: vec![panel.weights().to_vec()],
        }
    }

    /// Whether the other is of the same head and the same tokens.
    fn has_axes_of(&self, other: &HeadFilm) -> bool {
        (self.kind, &self.name, &self.rows, &self.columns) == (other.kind, &other.name, &other.rows, &other.columns)
    }
}

/// The model's greedy translation.
fn translation(model: &Model, text: &str) -> Result<String, Error> {
    let input = model.input(text, None).map_err(model_error)?;
    let decoding = Decoding::Greedy { max_tokens: 2 * input.source.len() + 10 };
    let run = model.run(&[input], &RunOptions { decoding, pass: Pass::keeping([]) }).map_err(model_error)?;
    let written = run.generated.first().map(|generation| generation.text.clone()).unwrap_or_default();
    match written.trim().is_empty() {
        false => Ok(written),
        true => Err(Error::Model(format!("the last checkpoint writes nothing for {text:?}; give the film a target"))),
    }
}

/// Every head of a recording of one text, as a film of one frame.
fn films(recording: &attlas::Recording) -> Result<Vec<(HeadId, HeadFilm)>, Error> {
    let mut films = Vec::new();
    for layer in &recording.layers {
        for head in 0..layer.shape.n_heads {
            let view = View::of(recording, layer.kind, layer.index, Head::One(head)).map_err(recording_error)?;
            films.push((HeadId { layer: layer.index, head }, HeadFilm::new(&view)));
        }
    }
    Ok(films)
}

/// How far the last map is from the first: the mean total variation of its rows, 0 to 1.
fn change(head: &HeadFilm) -> f64 {
    let (Some(first), Some(last)) = (head.maps.first(), head.maps.last()) else { return 0.0 };
    let sum: f64 = first.iter().zip(last).map(|(a, b)| f64::from((a - b).abs())).sum();
    0.5 * sum / head.rows.len().max(1) as f64
}

/// The heads asked for; or those that changed most, as many of each kind of attention, in the order of kind, layer and head.
fn chosen(heads: Vec<(HeadId, HeadFilm)>, asked: &[(Kind, HeadId)]) -> Result<Vec<HeadFilm>, Error> {
    if asked.is_empty() {
        let by_change = |a: &usize, b: &usize| heads[*b].1.change.total_cmp(&heads[*a].1.change);
        let mut order: Vec<usize> = (0..heads.len()).collect();
        order.sort_by(by_change);
        // the first of each kind, then the second of each, and so on
        let rank = |place: usize| {
            order[..place].iter().filter(|other| heads[**other].1.kind == heads[order[place]].1.kind).count()
        };
        let mut ranked: Vec<(usize, usize)> = (0..order.len()).map(|place| (rank(place), order[place])).collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut shown: Vec<usize> = ranked.into_iter().take(DEFAULT_HEADS).map(|(_, head)| head).collect();
        shown.sort_unstable();
        return Ok(shown.into_iter().map(|head| heads[head].1.clone()).collect());
    }
    let find = |(kind, id): &(Kind, HeadId)| {
        let head = heads.iter().find(|(other, head)| other == id && head.kind == *kind);
        head.map(|(_, head)| head.clone())
            .ok_or_else(|| Error::Setting(format!("there is no {kind} head {id}; there are {} heads", heads.len())))
    };
    asked.iter().map(find).collect()
}

/// At most about 400 points: means of equal stretches, validations kept.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    let stretch = points.len().div_ceil(400).max(1);
    let mean = |points: &[Point]| Point {
        step: points[points.len() - 1].step,
        loss: points.iter().map(|point| point.loss).sum::<f64>() / points.len() as f64,
        valid: points.iter().rev().find_map(|point| point.valid),
    };
    points.chunks(stretch).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(layer: usize, first: Vec<f32>, last: Vec<f32>) -> (HeadId, HeadFilm) {
        let id = HeadId { layer, head: 0 };
        let labels = || vec!["a".to_string(), "b".to_string()];
        let mut head = HeadFilm {
            kind: Kind::Cross,
            name: id.to_string(),
            rows: labels(),
            columns: labels(),
            change: 0.0,
            problem: None,
            maps: vec![first, last],
        };
        head.change = change(&head);
        (id, head)
    }

    #[test]
    fn a_head_that_turns_around_has_changed_by_1() {
        let (_, head) = head(0, vec![1.0, 0.0, 0.0, 1.0], vec![0.0, 1.0, 1.0, 0.0]);
        assert_eq!(head.change, 1.0);
    }

    #[test]
    fn the_heads_that_changed_most_are_shown_in_the_models_order() {
        let still = vec![0.5, 0.5, 0.5, 0.5];
        let mut heads = vec![head(0, still.clone(), still.clone())];
        heads.extend((1..=9).map(|layer| head(layer, still.clone(), vec![1.0, 0.0, 0.5, 0.5])));
        let names = |heads: &[(HeadId, HeadFilm)]| -> Vec<String> {
            chosen(heads.to_vec(), &[]).unwrap().into_iter().map(|head| head.name).collect()
        };
        assert_eq!(names(&heads), ["L1H0", "L2H0", "L3H0", "L4H0", "L5H0", "L6H0", "L7H0", "L8H0", "L9H0"]);
        // a kind that changed less is not left out
        heads[0].1.kind = Kind::Encoder;
        assert_eq!(names(&heads), ["L0H0", "L1H0", "L2H0", "L3H0", "L4H0", "L5H0", "L6H0", "L7H0", "L8H0"]);
        let asked = [(Kind::Cross, HeadId { layer: 10, head: 0 })];
        assert!(chosen(heads, &asked).unwrap_err().to_string().contains("no cross head L10H0"));
    }
}
