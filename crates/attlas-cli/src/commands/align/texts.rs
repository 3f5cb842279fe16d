//! The texts that are aligned: of a recording, or run through a model a few at a time.

use std::path::Path;

use attlas::recording::complaint;
use attlas::{Kind, Recording};
use attlas_model::{Decoding, Input, Model};
use attlas_train::data::{BadLines, read_pairs};

use super::{AlignArguments, Text};
use crate::commands::pair_lines::say_wider_lines;
use crate::commands::record::without_advice;
use crate::failure::Failure;
use crate::inputs::{RunArguments, is_recording, load_model, recording_of, run_given, which_text};
use crate::progress::Progress;
use crate::terminal::remark;

/// Pairs that a model runs on at once.
const BATCH: usize = 16;

/// Where the maps come from.
pub enum Texts {
    /// A recording, or one made of the source text: these of its texts.
    Recorded(Box<Recording>, Vec<usize>),
    /// Pairs that a model is run on, and the file they come from.
    Pairs(Box<Model>, Vec<(String, String)>, String),
}

impl Texts {
    /// Those that the command line names; a model that has no cross-attention is refused before it runs.
    pub fn of(arguments: &AlignArguments) -> Result<Texts, Failure> {
        if let Some(path) = &arguments.pairs {
            let text = read_pairs(path, BadLines::Refuse).map_err(without_advice)?;
            say_wider_lines(text.n_wider);
            let model = load_model(&arguments.run.model)?;
            has_cross_attention(&model)?;
            return Ok(Texts::Pairs(Box::new(model), text.pairs, path.display().to_string()));
        }
        let Some(source) = &arguments.source else {
            return Err(Failure::Usage("no SOURCE, RECORDING or --pairs was given".into()));
        };
        let recording = recording_of(source, &arguments.run)?;
        if recording.layers_of(Kind::Cross).next().is_none() {
            let there_are: Vec<String> = recording.kinds().iter().map(Kind::to_string).collect();
            return Err(Failure::Input(format!(
                "{} has no cross-attention, which is what aligns words of two texts; it has {}",
                match is_recording(source) {
                    true => Path::new(source).display().to_string(),
                    false => recording.provenance.model.clone(),
                },
                if there_are.is_empty() { "no attention weights".to_owned() } else { there_are.join(" and ") }
            )));
        }
        recording.provenance.remarks().iter().for_each(|note| remark(note));
        let items = match arguments.item {
            Some(item) if item >= recording.items.len() => {
                return Err(attlas::Error::NoItem { item, n_items: recording.items.len() }.into());
            }
            Some(item) => vec![item],
            None => (0..recording.items.len()).collect(),
        };
        for item in &items {
            let which = which_text(*item, recording.items.len());
            recording.items[*item].remarks().iter().for_each(|text| remark(&format!("{which}{text}")));
        }
        Ok(Texts::Recorded(Box::new(recording), items))
    }

    /// Which are aligned, rising; counted from 0.
    pub fn indices(&self) -> Vec<usize> {
        match self {
            Texts::Recorded(_, items) => items.clone(),
            Texts::Pairs(_, pairs, _) => (0..pairs.len()).collect(),
        }
    }

    /// What of the maps that are aligned fails its checks; those of pairs were just made, and are not looked at once more.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn complaint(&self) -> Result<Option<String>, Failure> {
        let Texts::Recorded(recording, items) = self else { return Ok(None) };
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Ok(None) };
        let found = recording.check_heads(*first..*last + 1, |layer, _| layer.kind == Kind::Cross)?;
        Ok(complaint(&found))
    }

    /// How many there are, aligned or not.
    pub fn n_all(&self) -> usize {
        match self {
            Texts::Recorded(recording, _) => recording.items.len(),
            Texts::Pairs(_, pairs, _) => pairs.len(),
        }
    }
}

fn has_cross_attention(model: &Model) -> Result<(), Failure> {
    if model.transformer().architecture.attention(Kind::Cross).is_empty() {
        return Err(Failure::Input(format!(
            "{} has no cross-attention, which is what aligns words of two texts; a translator (encoder-decoder) has",
            model.name()
        )));
    }
    Ok(())
}

/// Gives every text to `align`, with the other direction where there is a model for it. Of several texts, those that cannot be
/// used are named on standard error; how many that were is returned.
///
/// # Errors
/// When none can be used, or an error is not the text's own ([`Fault::OfAll`]).
pub fn each(
    texts: &Texts,
    reverse: Option<&Model>,
    options: &RunArguments,
    align: &mut dyn FnMut(&Text<'_>) -> Result<(), Fault>,
) -> Result<usize, Failure> {
    reverse.map_or(Ok(()), has_cross_attention)?;
    let mut skipped = Skipped { n: 0, n_all: texts.indices().len(), first: None };
    let mut with_reverse = |index: usize, recording: &Recording, item: usize| -> Result<(), Fault> {
        let turned = match reverse {
            Some(model) => {
                let tokens = &recording.items[item];
                Some(run_pair(model, (&tokens.target.text, &tokens.source.text), &RunArguments::default())?)
            }
            None => None,
        };
        align(&Text { index, recording, item, reverse: turned.as_ref() })
    };
    match texts {
        Texts::Recorded(recording, items) => {
            for &item in items {
                skipped.unless(with_reverse(item, recording, item), || format!("text {item}"))?;
            }
        }
        Texts::Pairs(model, pairs, name) => {
            let mut progress = Progress::new("pair", pairs.len());
            for (batch, start) in pairs.chunks(BATCH).zip((0..).step_by(BATCH)) {
                let whole = run_pairs(model, batch, options);
                for (item, pair) in batch.iter().enumerate() {
                    let index = start + item;
                    let done = match &whole {
                        Ok(recording) => with_reverse(index, recording, item),
                        // one of them does not fit the model: each on its own
                        Err(_) => run_pair(model, (&pair.0, &pair.1), options)
                            .map_err(Fault::from)
                            .and_then(|recording| with_reverse(index, &recording, 0)),
                    };
                    skipped.unless(done, || format!("{name}: line {}", index + 1))?;
                    progress.step();
                }
            }
        }
    }
    match skipped.first {
        Some(first) if skipped.n == skipped.n_all => Err(Failure::Input(first)),
        _ => Ok(skipped.n),
    }
}

fn run_pairs(model: &Model, pairs: &[(String, String)], options: &RunArguments) -> Result<Recording, Failure> {
    let inputs = pairs.iter().map(|(source, target)| model.input(source, Some(target)));
    let inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
    run_given(model, &inputs, options)
}

/// Runs a model on one pair; of what does not fit the model the message says that it is the pair's.
fn run_pair(model: &Model, (source, target): (&str, &str), options: &RunArguments) -> Result<Recording, Failure> {
    let input = model.input(source, Some(target))?;
    if let Err(attlas_model::Error::Text { problem, .. }) = model.check_input(&input, 0, Decoding::TeacherForcing) {
        return Err(Failure::Input(format!("the pair has {problem}")));
    }
    run_given(model, &[input], options)
}

/// What is wrong: with one text, which may be left out, or with the whole call.
pub enum Fault {
    OfText(Failure),
    OfAll(Failure),
}

impl<E: Into<Failure>> From<E> for Fault {
    fn from(error: E) -> Fault {
        match error.into() {
            input @ Failure::Input(_) => Fault::OfText(input),
            other => Fault::OfAll(other),
        }
    }
}

/// Texts that are left out.
struct Skipped {
    n: usize,
    n_all: usize,
    first: Option<String>,
}

impl Skipped {
    /// Takes note of a text that cannot be used.
    fn unless(&mut self, done: Result<(), Fault>, place: impl Fn() -> String) -> Result<(), Failure> {
        let message = match done {
            Ok(()) => return Ok(()),
            Err(Fault::OfAll(failure)) => return Err(failure),
            Err(Fault::OfText(failure)) => failure.to_string(),
        };
        let message = format!("{}: {message}", place());
        if self.n_all == 1 {
            return Err(Failure::Input(message));
        }
        remark(&format!("left out: {message}"));
        self.n += 1;
        self.first.get_or_insert(message);
        Ok(())
    }
}
