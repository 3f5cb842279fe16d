//! The film of a training: how heads change on one sentence, from random to specialised.
//!
//! `attlas train --film N` keeps N model folders under `film/`; [`Film::of`] runs each over the same sentence pair and keeps
//! the maps of the heads that changed most.

mod html;
mod picture;

use std::path::{Path, PathBuf};

use attlas::analysis::{Grid, RowTokens};
use attlas::{HeadId, Kind};
use attlas_model::{Decoding, Model, RunOptions};
use serde::Serialize;

use crate::Error;
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
    /// The film of the training in `folder` on `text`.
    ///
    /// # Errors
    /// When there is no film in the folder, a model in it is damaged, or a head does not exist.
    pub fn of(folder: &Path, text: &str, options: &Options) -> Result<Film, Error> {
        let folders = frame_folders(folder)?;
        let mut models = Vec::with_capacity(folders.len());
        for folder in &folders {
            models.push((frame(folder)?, Model::load(folder).map_err(model_error)?));
        }
        models.sort_by_key(|(frame, _)| frame.step);
        let Some((_, last)) = models.last() else {
            return Err(Error::File { path: folder.join("film"), problem: "holds no frame".to_string() });
        };
        let target_text = match &options.target {
            Some(target) => target.clone(),
            None => translation(last, text)?,
        };
        let input = last.input(text, Some(&target_text)).map_err(model_error)?;
        if input.source.len().max(input.target.len()).pow(2) > MAX_CELLS {
            return Err(Error::Limit("the sentence is too long for a film; 256 tokens are the most".to_string()));
        }
        let mut heads: Vec<(HeadId, HeadFilm)> = Vec::new();
        for (index, (_, model)) in models.iter().enumerate() {
            let input = model.input(text, Some(&target_text)).map_err(model_error)?;
            let run = model.run(&[input], &RunOptions::default()).map_err(model_error)?;
            for (place, (kind, id, grid)) in grids(&run.recording)?.into_iter().enumerate() {
                if index == 0 {
                    heads.push((id, HeadFilm::new(kind, id, &grid)));
                }
                if let Some((_, head)) = heads.get_mut(place) {
                    head.maps.push(grid.weights);
                }
            }
        }
        for (_, head) in &mut heads {
            head.change = change(head);
        }
        let frames = models.iter().map(|(frame, _)| *frame).collect();
        let heads = chosen(heads, &options.heads)?;
        let curve = thinned(curve(&folder.join("log.jsonl"))?);
        Ok(Film { source_text: text.to_string(), target_text, heads, frames, curve })
    }
}

impl HeadFilm {
    fn new(kind: Kind, id: HeadId, grid: &Grid) -> HeadFilm {
        let labels = |tokens: &attlas::Tokens| tokens.tokens.iter().map(|token| token.text.clone()).collect();
        HeadFilm {
            kind,
            name: id.to_string(),
            rows: labels(&grid.rows),
            columns: labels(&grid.columns),
            change: 0.0,
            maps: Vec::new(),
        }
    }
}

/// The model folders of a film, in the order of their names.
fn frame_folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let film = folder.join("film");
    let entries = std::fs::read_dir(&film).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::File {
            path: folder.to_path_buf(),
            problem: "there is no film in it; train with --film 12".to_string(),
        },
        _ => Error::Read { path: film.clone(), source },
    })?;
    let mut folders: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("config.json").is_file()).collect();
    folders.sort();
    Ok(folders)
}

/// When the model in a frame's folder was.
fn frame(folder: &Path) -> Result<Frame, Error> {
    let file = crate::weights::File::open(&folder.join("model.safetensors"))?;
    let number = |key: &str| -> Result<u64, Error> {
        let text = file.metadata(key)?;
        text.parse().map_err(|_| Error::File {
            path: folder.join("model.safetensors"),
            problem: format!("its metadata says {key} {text:?}, which is no number"),
        })
    };
    Ok(Frame { step: number("step")?, tokens: number("tokens")? })
}

/// The model's greedy translation.
fn translation(model: &Model, text: &str) -> Result<String, Error> {
    let input = model.input(text, None).map_err(model_error)?;
    let decoding = Decoding::Greedy { max_tokens: 2 * input.source.len() + 10 };
    let run =
        model.run(&[input], &RunOptions { decoding, record: false, ..RunOptions::default() }).map_err(model_error)?;
    Ok(run.generated.first().map(|generation| generation.text.clone()).unwrap_or_default())
}

/// Every head's map of a recording of one text.
fn grids(recording: &attlas::Recording) -> Result<Vec<(Kind, HeadId, Grid)>, Error> {
    let mut grids = Vec::new();
    for layer in &recording.layers {
        let rows = if layer.kind == Kind::Cross { RowTokens::Predicted } else { RowTokens::Read };
        for head in 0..layer.shape.n_heads {
            let map =
                recording.map(0, layer.kind, layer.index, head).map_err(|error| Error::Model(error.to_string()))?;
            grids.push((layer.kind, HeadId { layer: layer.index, head }, Grid::of(&map, rows)));
        }
    }
    Ok(grids)
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

/// The loss over time out of `log.jsonl`; lines that are cut off, as a killed run leaves them, are passed over.
fn curve(path: &Path) -> Result<Vec<Point>, Error> {
    let bytes = crate::files::read_limited(path, 1 << 30)?;
    let point = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(Point {
            step: value["step"].as_u64()?,
            loss: value["loss"].as_f64()?,
            valid: value["validation"]["loss"].as_f64(),
        })
    };
    let mut points: Vec<Point> = String::from_utf8_lossy(&bytes).lines().filter_map(point).collect();
    // a resumed run repeats the steps since its checkpoint: the later line holds
    points.reverse();
    points.sort_by_key(|point| point.step);
    points.dedup_by_key(|point| point.step);
    Ok(points)
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
