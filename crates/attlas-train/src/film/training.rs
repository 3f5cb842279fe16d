//! What the folders of a training, and of the runs that went on from it, hold: models at moments, and the loss.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use attlas_model::Model;

use super::{Frame, Point};
use crate::Error;
use crate::evaluate::model_error;

/// What the folders of a training hold of it.
pub(super) struct Training {
    /// The models, in the order of time.
    pub frames: Vec<(Frame, PathBuf)>,
    /// The loss at every step.
    pub points: Vec<Point>,
    /// The steps after which a further run began.
    pub seams: Vec<u64>,
    /// Where the last run ended.
    end: Frame,
}

impl Training {
    /// The training in `folder` and the runs that followed it, of whose models `most` are chosen evenly.
    ///
    /// # Errors
    /// When there is no film in a folder, or a run did not begin with the weights that the one before ended with.
    pub fn of_runs(folder: &Path, then: &[PathBuf], most: Option<NonZeroUsize>) -> Result<Training, Error> {
        let mut training = Training::of(folder)?;
        let mut before = folder;
        for folder in then {
            let next = Training::of(folder)?;
            next.check_begins_with(before)?;
            training.append(next);
            before = folder;
        }
        if let Some(most) = most {
            training.frames = evenly(training.frames, most.get());
        }
        Ok(training)
    }

    fn of(folder: &Path) -> Result<Training, Error> {
        let mut frames = Vec::new();
        for folder in frame_folders(folder)? {
            frames.push((frame(&folder)?, folder));
        }
        frames.sort_by_key(|(frame, _)| frame.step);
        let (points, end) = curve(&folder.join("log.jsonl"))?;
        Ok(Training { frames, points, seams: Vec::new(), end })
    }

    /// Refuses a run whose first frame is not the model in `before`, as it is when it began with `--init`.
    fn check_begins_with(&self, before: &Path) -> Result<(), Error> {
        let Some((_, folder)) = self.frames.first().filter(|(frame, _)| frame.step == 0) else { return Ok(()) };
        let file = |folder: &Path| crate::weights::File::open(&folder.join("model.safetensors"));
        if file(folder)?.is_rounded(&file(before)?)? {
            return Ok(());
        }
        let before = before.join("model.safetensors");
        let problem = format!("it did not begin with the weights of {}", before.display());
        Err(Error::File { path: folder.clone(), problem })
    }

    /// Adds a run that began with this one's weights.
    fn append(&mut self, next: Training) {
        let Frame { step, tokens } = self.end;
        self.seams.push(step);
        let later =
            |frame: Frame| Frame { step: step.saturating_add(frame.step), tokens: tokens.saturating_add(frame.tokens) };
        // its first moment is the last one of this
        let moments = next.frames.into_iter().filter(|(frame, _)| frame.step > 0);
        self.frames.extend(moments.map(|(frame, folder)| (later(frame), folder)));
        self.points
            .extend(next.points.into_iter().map(|point| Point { step: step.saturating_add(point.step), ..point }));
        self.end = later(next.end);
    }
}

/// At most `most` of the items, evenly chosen, the first and the last among them; of one, the last.
fn evenly<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let n = items.len();
    if n <= most {
        return items;
    }
    let gaps = (most - 1).max(1);
    let chosen: Vec<usize> = (0..most).rev().map(|back| n - 1 - (back * (n - 1) + gaps / 2) / gaps).collect();
    items.into_iter().enumerate().filter(|(index, _)| chosen.contains(index)).map(|(_, item)| item).collect()
}

/// The model in a frame's folder.
pub(super) fn load(folder: &Path) -> Result<Model, Error> {
    Model::load(folder).map_err(model_error)
}

/// What is wrong with a training whose film holds nothing.
pub(super) fn no_frame(folder: &Path) -> Error {
    Error::File { path: folder.join("film"), problem: "holds no frame".to_string() }
}

/// The model folders of a film, in the order of their names.
fn frame_folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let film = folder.join("film");
    let entries = std::fs::read_dir(&film).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NoFilm { path: folder.to_path_buf() },
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

/// The loss over time out of `log.jsonl`, and where it ends; lines that are cut off, as a killed run leaves them, are passed
/// over.
fn curve(path: &Path) -> Result<(Vec<Point>, Frame), Error> {
    let bytes = crate::files::read_limited(path, 1 << 30)?;
    let mut end = Frame { step: 0, tokens: 0 };
    let mut points: Vec<Point> = Vec::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let (Some(step), Some(loss)) = (value["step"].as_u64(), value["loss"].as_f64()) else { continue };
        points.push(Point { step, loss, valid: value["validation"]["loss"].as_f64() });
        end = Frame { step, tokens: value["tokens"].as_u64().unwrap_or(end.tokens) };
    }
    // a resumed run repeats the steps since its checkpoint: the later line holds
    points.reverse();
    points.sort_by_key(|point| point.step);
    points.dedup_by_key(|point| point.step);
    Ok((points, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_chosen_evenly_with_both_ends() {
        assert_eq!(evenly((0..23).collect(), 12), (0..23).step_by(2).collect::<Vec<_>>());
        assert_eq!(evenly((0..5).collect(), 3), [0, 2, 4]);
        assert_eq!(evenly((0..5).collect(), 9), [0, 1, 2, 3, 4]);
        assert_eq!(evenly((0..5).collect(), 1), [4]);
        assert!(evenly(Vec::<u8>::new(), 2).is_empty());
        for most in 1..40 {
            assert_eq!(evenly((0..40).collect(), most).len(), most);
        }
    }

    #[test]
    fn a_run_that_went_on_follows_where_the_one_before_ended() {
        let at = |step: u64| Frame { step, tokens: 10 * step };
        let run = |frames: &[u64], end: u64| Training {
            frames: frames.iter().map(|step| (at(*step), PathBuf::from(step.to_string()))).collect(),
            points: vec![Point { step: end, loss: 1.0, valid: None }],
            seams: Vec::new(),
            end: at(end),
        };
        let mut training = run(&[0, 50, 100], 100);
        training.append(run(&[0, 20, 40], 45));
        training.append(run(&[0, 5], 5));
        let steps: Vec<u64> = training.frames.iter().map(|(frame, _)| frame.step).collect();
        assert_eq!(steps, [0, 50, 100, 120, 140, 150]);
        assert_eq!(training.frames[4].0, at(140));
        assert_eq!(training.points.iter().map(|point| point.step).collect::<Vec<_>>(), [100, 145, 150]);
        assert_eq!((training.seams, training.end), (vec![100, 145], at(150)));
    }
}
