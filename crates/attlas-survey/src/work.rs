//! The survey itself: windows of the corpus, batches of texts of like length, sums.

use attlas::Recording;
use attlas::analysis::{Annotations, HeadSums, measure_with};
use attlas::survey::Measured;
use attlas_model::{Decoding as ModelDecoding, Error as ModelError, Input, Model, Next, RunOptions, Side};
use attlas_train::alignment::with_dictionary;
use rayon::prelude::*;

use super::pace::Pace;
use super::windows::{Window, WindowText, Windows, beginning, no_text, skipped};
use crate::corpus::{CorpusFile, CorpusItem, CorpusText, TextNames};
use crate::{Decoding, Error, Keeper, Position, Skipped, SurveyFile, Targets};

/// Tokens of a part of a batch at most, padding included.
const PART_TOKENS: usize = 512;

/// Texts that are sorted by length together, of those that come from no file.
const WINDOW: usize = 2048;

/// What a survey works with.
pub struct Work<'a> {
    /// The model.
    pub model: &'a Model,
    /// The corpus; empty for texts that come from no file.
    pub files: &'a [CorpusFile],
    /// Which part of a row is the text.
    pub names: &'a TextNames,
    /// What is known of every text.
    pub annotations: &'a Annotations,
    /// Whether to stop, asked often.
    pub stop: Stop<'a>,
}

/// Says whether to stop.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// How a survey ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All texts were read.
    Done,
    /// It was to stop; the state is saved, and can be gone on with.
    Stopped,
}

/// A text that is ready to be run.
struct Ready<'a> {
    text: &'a WindowText,
    input: Input,
    decoding: ModelDecoding,
}

impl Ready<'_> {
    /// Tokens of both sides; a target that is to be generated is taken for as long as the source.
    fn n_tokens(&self) -> [usize; 2] {
        let n_source = self.input.source.len();
        match self.decoding {
            ModelDecoding::TeacherForcing => [n_source, self.input.target.len()],
            _ => [n_source, n_source.max(self.input.target.len())],
        }
    }
}

/// Surveys the corpus from where `file` is on. `progress` is told which share of the corpus is done, in 0 ..= 1, and how many
/// texts were measured.
///
/// # Errors
/// When a file cannot be read, the model cannot be run, or the state cannot be saved.
pub fn survey_corpus(
    work: &Work<'_>,
    file: &mut SurveyFile,
    keeper: &mut Keeper,
    progress: &mut dyn FnMut(f64, u64),
) -> Result<End, Error> {
    let (Some(position), Some(settings)) = (file.about.position, file.about.settings) else { return Ok(End::Done) };
    let Some(mut windows) = Windows::from(work, settings, position)? else { return stopped(file, keeper) };
    let mut n_done = position.n_done;
    let mut pace = Pace::new(settings.batch_tokens, work.model);
    let mut share = windows.share();
    loop {
        let window = match windows.next() {
            Ok(Some(window)) => window,
            Ok(None) => return stopped(file, keeper),
            Err(error) => {
                if file.survey.n_all_texts() > 0 {
                    keeper.save(file)?; // what was measured before is not lost
                }
                return Err(error);
            }
        };
        let (ready, unfit) = work.prepare(&window.texts, &file.about.decoding);
        let mut after = |file: &mut SurveyFile, n_done: usize| {
            file.about.position = file.about.position.map(|position| Position { n_done, ..position });
            keeper.save_if_due(file)?;
            let within = n_done as f64 / ready.len() as f64;
            progress(share + (window.share - share) * within, file.survey.n_all_texts());
            Ok(())
        };
        if work.take_all(&ready, n_done, &mut pace, file, &mut after)? == End::Stopped {
            return stopped(file, keeper);
        }
        n_done = 0;
        share = window.share;
        let Window { skipped, end, is_last, .. } = window;
        file.about.skip(skipped.into_iter().chain(unfit));
        file.about.position = Some(end);
        if is_last {
            return Ok(End::Done);
        }
        keeper.save_if_due(file)?; // a window may have had no batch
    }
}

/// Surveys texts that come from no file. `progress` is told how many of `texts` are done.
///
/// The survey is the same however texts are dealt out to calls, and to surveys that are merged.
///
/// # Errors
/// When a map of the model cannot be read.
pub fn survey_texts(
    work: &Work<'_>,
    texts: Vec<CorpusItem>,
    batch_tokens: Option<usize>,
    file: &mut SurveyFile,
    progress: &mut dyn FnMut(usize),
) -> Result<End, Error> {
    let mut pace = Pace::new(batch_tokens, work.model);
    let mut n_done = 0;
    let mut texts = texts.into_iter().peekable();
    while texts.peek().is_some() {
        let (mut window, mut unfit) = (Vec::new(), Vec::new());
        for CorpusItem { number, text } in texts.by_ref().take(WINDOW) {
            let begins = text.as_ref().ok().map(|text| beginning(&text.source));
            match text.and_then(CorpusText::checked) {
                Ok(text) if text.source.trim().is_empty() => {}
                Ok(text) => window.push(WindowText::new(None, number, text)),
                Err(reason) => unfit.push(Skipped { text: begins, ..no_text(None, number, reason) }),
            }
        }
        file.about.skip(unfit);
        let (ready, unfit) = work.prepare(&window, &file.about.decoding);
        file.about.skip(unfit);
        let mut after = |_: &mut SurveyFile, n_ready: usize| {
            progress(n_done + n_ready);
            Ok(())
        };
        if work.take_all(&ready, 0, &mut pace, file, &mut after)? == End::Stopped {
            return Ok(End::Stopped);
        }
        n_done += WINDOW;
    }
    Ok(End::Done)
}

/// Saves the state.
fn stopped(file: &SurveyFile, keeper: &mut Keeper) -> Result<End, Error> {
    keeper.save(file)?;
    Ok(End::Stopped)
}

impl Work<'_> {
    /// The texts as the model reads them, by length; and those that it cannot read.
    fn prepare<'t>(&self, texts: &'t [WindowText], decoding: &Decoding) -> (Vec<Ready<'t>>, Vec<Skipped>) {
        let inputs: Vec<Result<Ready<'t>, String>> = texts.par_iter().map(|text| self.ready(text, decoding)).collect();
        let (mut ready, mut unfit) = (Vec::new(), Vec::new());
        for (text, input) in texts.iter().zip(inputs) {
            match input {
                Ok(one) => ready.push(one),
                Err(reason) => unfit.push(skipped(self.files, text, reason)),
            }
        }
        ready.sort_by_key(|ready| (ready.text.text.target.is_some(), ready.n_tokens()));
        (ready, unfit)
    }

    /// A text as the model reads it; why it cannot otherwise, to follow on its place.
    fn ready<'t>(&self, text: &'t WindowText, decoding: &Decoding) -> Result<Ready<'t>, String> {
        let model = self.model;
        let said = |error: ModelError| format!("cannot be read by {}: {error}", model.name());
        let input = model.input(&text.text.source, text.text.target.as_deref()).map_err(said)?;
        for (side, n_tokens) in [(Side::Source, input.source.len()), (Side::Target, input.target.len())] {
            let limit = model.n_positions(side).min(decoding.longest);
            if n_tokens > limit {
                return Err(format!("has {n_tokens} tokens, and texts of up to {limit} are surveyed"));
            }
        }
        let generates = text.text.target.is_none() && model.has(Side::Source) && model.has(Side::Target);
        let decoding = match decoding.targets {
            Targets::Generated(max_tokens) if generates => ModelDecoding::generating(decoding.beams, max_tokens),
            _ => ModelDecoding::TeacherForcing,
        };
        model.check_input(&input, 0, decoding).map_err(said)?;
        Ok(Ready { text, input, decoding })
    }

    /// Takes in the texts from `n_done` on, batch by batch; `after` each is told how many are done.
    fn take_all(
        &self,
        ready: &[Ready<'_>],
        mut n_done: usize,
        pace: &mut Pace,
        file: &mut SurveyFile,
        after: &mut dyn FnMut(&mut SurveyFile, usize) -> Result<(), Error>,
    ) -> Result<End, Error> {
        while n_done < ready.len() {
            let batch = next_batch(&ready[n_done..], pace.batch_tokens());
            if pace.timed(|| self.take_batch(batch, file))? {
                n_done += batch.len();
                after(file, n_done)?;
            }
            if (self.stop)() {
                return Ok(End::Stopped);
            }
        }
        Ok(End::Done)
    }

    /// Runs a batch and takes its texts in, but for those that the model cannot run; whether it was run to its end.
    fn take_batch(&self, batch: &[Ready<'_>], file: &mut SurveyFile) -> Result<bool, Error> {
        let run = |texts: &[Ready<'_>]| self.run(texts);
        // each part on a thread of its own: no thread waits for another between two layers
        let runs: Option<Vec<_>> = parts(batch).into_par_iter().map(|part| together_or_alone(part, run)).collect();
        let Some(runs) = runs else { return Ok(false) };
        let mut all: Vec<Measured<'_>> = Vec::with_capacity(batch.len());
        for (texts, run) in runs.iter().flatten() {
            match run {
                Ok(run) => {
                    all.extend(texts.iter().zip(&run.texts).enumerate().map(|(item, (ready, (heads, annotations)))| {
                        if let Some(of) = ready.text.file.and_then(|of| file.about.files.get_mut(of)) {
                            of.n_texts = of.n_texts.saturating_add(1);
                        }
                        let (id, text) = (ready.text.id, ready.text.whole());
                        Measured { id, text, recording: &run.recording, item, heads, annotations }
                    }))
                }
                Err(error) => file.about.skip(texts.iter().map(|ready| {
                    let reason = format!("cannot be run by {}: {error}", self.model.name());
                    skipped(self.files, ready.text, reason)
                })),
            }
        }
        file.survey.take(&all)?;
        Ok(true)
    }

    /// Runs the model on some texts and measures its heads on each; nothing when it is to stop.
    fn run(&self, texts: &[Ready<'_>]) -> Result<Option<MeasuredRun>, String> {
        let options = RunOptions { decoding: texts[0].decoding, ..RunOptions::default() };
        let inputs: Vec<Input> = texts.iter().map(|ready| ready.input.clone()).collect();
        let mut watch = |_| if (self.stop)() { Next::Stop } else { Next::Continue };
        let recording = match self.model.run_watched(&inputs, &options, &mut watch) {
            Err(ModelError::Stopped) => return Ok(None),
            run => run.map_err(|error| error.to_string())?.recording,
        };
        let measure = |item| {
            let annotations = with_dictionary(&recording, item, self.annotations);
            let heads = measure_with(&recording, item, &annotations).map_err(|error| error.to_string())?;
            Ok::<_, String>((heads, annotations))
        };
        let texts = (0..texts.len()).into_par_iter().map(measure).collect::<Result<_, _>>()?;
        Ok(Some(MeasuredRun { recording, texts }))
    }
}

/// What the model did on some texts.
struct MeasuredRun {
    recording: Recording,
    /// What was measured of each, and what was known of it.
    texts: Vec<(Vec<HeadSums>, Annotations)>,
}

/// Some items, and what became of them when they were run.
type RunOf<'i, T, R> = (&'i [T], Result<R, String>);

/// What `run` makes of the items together or, where that is an error, of each alone; `None` as soon as `run` gives nothing,
/// since it was stopped.
fn together_or_alone<T, R>(
    items: &[T],
    run: impl Fn(&[T]) -> Result<Option<R>, String>,
) -> Option<Vec<RunOf<'_, T, R>>> {
    match run(items).transpose()? {
        Err(_) if items.len() > 1 => items.chunks(1).map(|one| Some((one, run(one).transpose()?))).collect(),
        run => Some(vec![(items, run)]),
    }
}

/// A batch cut into parts that are run at the same time: fewer tokens make worse products of matrices, more do not stay in a
/// processor's cache between two layers.
fn parts<'r, 't>(mut batch: &'r [Ready<'t>]) -> Vec<&'r [Ready<'t>]> {
    let mut parts = Vec::new();
    while !batch.is_empty() {
        let part = next_batch(batch, PART_TOKENS);
        parts.push(part);
        batch = &batch[part.len()..];
    }
    parts
}

/// The first texts, of at most so many tokens, padding included; a longer text is a batch of its own.
fn next_batch<'r, 't>(ready: &'r [Ready<'t>], batch_tokens: usize) -> &'r [Ready<'t>] {
    let mut longest = [0, 0];
    let is_over = |(index, one): (usize, &Ready<'t>)| {
        let [n_source, n_target] = one.n_tokens();
        longest = [longest[0].max(n_source), longest[1].max(n_target)];
        let n_tokens = (longest[0] + longest[1]).saturating_mul(index + 1);
        index > 0 && (n_tokens > batch_tokens || ready[0].decoding != one.decoding)
    };
    let end = ready.iter().enumerate().position(is_over).unwrap_or(ready.len());
    &ready[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_batch_that_fails_the_items_that_can_be_run_are_run_alone() {
        let run = |items: &[i32]| match items.contains(&2) {
            true => Err("two is too much".to_owned()),
            false => Ok(Some(items.to_vec())),
        };
        let said = |items: &[i32]| {
            let runs = together_or_alone(items, run).expect("nothing stops it");
            runs.into_iter().map(|(_, run)| run).collect::<Vec<_>>()
        };
        assert_eq!(said(&[1, 3]), [Ok(vec![1, 3])]);
        assert_eq!(said(&[1, 2, 3]), [Ok(vec![1]), Err("two is too much".into()), Ok(vec![3])]);
        let stops = |items: &[i32]| if items.len() > 1 { run(items) } else { Ok(None) };
        assert!(together_or_alone(&[1, 2], stops).is_none(), "what was run before a stop is not taken in by half");
    }
}
