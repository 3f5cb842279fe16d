//! What heads are measured on: a recording, texts, or the built-in set.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use attlas::analysis::{Annotations, HeadSums, merge};
use attlas::recording::complaint;
use attlas::{Kind, Recording, TokenRole};
use attlas_model::{Decoding, Input, Model, Side};
use attlas_train::data::{BadLines, read_pairs};

use super::super::record::without_advice;
use super::{HeadsArguments, counts, probe};
use crate::failure::Failure;
use crate::inputs::{
    ends_as_text, input_of, is_recording, load_model, read_lines, read_text, recording_of, run_inputs, say_sentences,
};
use crate::measures::{heads_of, measured_on};
use crate::terminal::remark;
use crate::words::counted;

/// Texts that are run together.
const BATCH: usize = 16;

/// Heads, measured.
pub struct Measured {
    /// By kind and head.
    pub heads: Vec<HeadSums>,
    /// The model's name.
    pub model: String,
    /// How much text the scores are about, as a sentence without its full stop.
    pub measured_on: String,
    /// What of the recordings fails its checks.
    pub complaint: Option<String>,
    /// Whether texts were left out.
    pub skipped: bool,
    /// Why measures of text have no score, where no text could be run.
    pub no_text: Option<&'static str>,
}

/// Measures what the command line names.
pub fn measured(arguments: &HeadsArguments) -> Result<Measured, Failure> {
    let run = &arguments.run;
    if let Some(path) = arguments.material.as_deref().map(Path::new) {
        refuse_other_files(path)?;
    }
    match arguments.material.as_deref() {
        None => probe::measured(&load_model(&run.model)?, run, arguments.counts.as_deref()),
        Some(raw) if is_recording(raw) => of_recording(raw, arguments),
        Some(raw) => of_texts(raw, arguments),
    }
}

/// Refuses files that other commands read, and names of texts that are no files.
fn refuse_other_files(path: &Path) -> Result<(), Failure> {
    let name = path.display();
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    if path.is_file() && ["jsonl", "ndjson", "parquet", "conllu"].contains(&ending.as_str()) {
        return Err(Failure::Usage(format!(
            "{name}: heads are measured on lines (.txt), pairs (.tsv) and recordings; `attlas survey {name}` reads .{ending}, and \
             --trees FILE.conllu sentences with trees"
        )));
    }
    let is_one_word = !path.to_string_lossy().contains(char::is_whitespace);
    if is_one_word && ends_as_text(path) && !path.exists() {
        return Err(Failure::Input(format!("{name}: there is no such file")));
    }
    Ok(())
}

fn of_recording(raw: &OsStr, arguments: &HeadsArguments) -> Result<Measured, Failure> {
    let recording = recording_of(raw, &arguments.run)?;
    if arguments.counts.is_some() {
        return Err(Failure::Usage(
            "--counts needs the model, whose tokenizer cuts the file, and a recording brings none; give the text and --model"
                .into(),
        ));
    }
    let annotations = Annotations { needle: needle(arguments, &recording)?, ..Annotations::default() };
    measured_in(&recording, arguments.text, &annotations)
}

/// A text, and the target that was given for it.
type Text = (String, Option<String>);

/// The text that was given, or those of a file; whether lines of it were left out.
fn texts_given(raw: &OsStr, targets: &[String]) -> Result<(Vec<Text>, bool), Failure> {
    let path = Path::new(raw);
    if raw == "-" || !ends_as_text(path) || !path.is_file() {
        return Ok((vec![(read_text(raw, "TEXT")?, targets.first().cloned())], false));
    }
    if !targets.is_empty() {
        return Err(Failure::Usage(format!(
            "--target goes with one text, and {} is a file of them; a .tsv file gives each its target",
            path.display()
        )));
    }
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv")) {
        let text = read_pairs(path, BadLines::Refuse).map_err(without_advice)?;
        return Ok((text.pairs.into_iter().map(|(source, target)| (source, Some(target))).collect(), false));
    }
    let (lines, skipped) = read_lines(path)?;
    Ok((lines.into_iter().map(|line| (line, None)).collect(), skipped))
}

fn of_texts(raw: &OsStr, arguments: &HeadsArguments) -> Result<Measured, Failure> {
    let run = &arguments.run;
    let (mut texts, skipped) = texts_given(raw, &run.target_texts()?)?;
    if arguments.needle.is_some() && arguments.text.is_none() && texts.len() > 1 {
        return Err(one_needle(texts.len()));
    }
    if let Some(item) = arguments.text {
        if item >= texts.len() {
            return Err(attlas::Error::NoItem { item, n_items: texts.len() }.into());
        }
        texts = texts.split_off(item);
        texts.truncate(1);
    }
    let model = load_model(&run.model)?;
    let counts = arguments.counts.as_deref().map(|path| counts::of_file(&model, path)).transpose()?;
    let mut annotations = Annotations { counts: counts.map(Arc::new), ..Annotations::default() };
    let mut all: Option<Measured> = None;
    for batch in texts.chunks(BATCH) {
        batch.iter().for_each(|(source, target)| say_sentences(&model, source, target.as_deref()));
        let input = |(source, target): &Text| input_of(&model, source, target.as_deref());
        let inputs: Vec<Input> = batch.iter().map(input).collect::<Result<_, _>>()?;
        let is_given = batch.iter().all(|(_, target)| target.is_some());
        let decoding = if is_given { Decoding::TeacherForcing } else { run.generation(&model) };
        let run = run_inputs(&model, &inputs, decoding, run)?;
        run.say_notes();
        if texts.len() == 1 {
            annotations.needle = needle(arguments, &run.recording)?;
        }
        let found = measured_in(&run.recording, None, &annotations)?;
        all = Some(match all {
            None => found,
            Some(before) => before.and(found),
        });
    }
    let mut all = all.ok_or_else(|| Failure::Input(format!("{} has no text", Path::new(raw).display())))?;
    if texts.len() > BATCH {
        all.measured_on = format!("Measured on {} together", counted(texts.len(), "text"));
    }
    all.skipped = skipped;
    Ok(all)
}

impl Measured {
    /// With what more texts of the same model say.
    fn and(self, other: Measured) -> Measured {
        let heads = merge(self.heads.into_iter().chain(other.heads));
        Measured { heads, complaint: self.complaint.or(other.complaint), ..self }
    }
}

/// The heads on all texts of a recording together, or on one.
fn measured_in(recording: &Recording, text: Option<usize>, annotations: &Annotations) -> Result<Measured, Failure> {
    Ok(Measured {
        heads: heads_of(recording, text, annotations)?,
        model: recording.provenance.model.clone(),
        measured_on: measured_on(recording, text),
        complaint: complaint(&recording.check()?),
        skipped: false,
        no_text: None,
    })
}

/// The keys of the needle, as places of the text that is measured; `--needle` counts its tokens without padding.
fn needle(arguments: &HeadsArguments, recording: &Recording) -> Result<Option<Range<usize>>, Failure> {
    let Some(span) = &arguments.needle else { return Ok(None) };
    let item = match (arguments.text, recording.items.as_slice()) {
        (_, [item]) => item,
        (Some(text), items) if text < items.len() => &items[text],
        (Some(item), items) => return Err(attlas::Error::NoItem { item, n_items: items.len() }.into()),
        (None, items) => return Err(one_needle(items.len())),
    };
    if recording.layers_of(Kind::Decoder).next().is_none() {
        return Err(Failure::Usage("--needle is for the measure of retrieval, which is looked for in decoders".into()));
    }
    let tokens = &item.target.tokens;
    let real: Vec<usize> = (0..tokens.len()).filter(|place| tokens[*place].role != TokenRole::Padding).collect();
    let end = span.end.unwrap_or(real.len());
    let (Some(first), Some(last)) = (real.get(span.start), end.checked_sub(1).and_then(|last| real.get(last))) else {
        return Err(Failure::Usage(format!(
            "--needle {}:{end} lies outside the text of {}, counted from 0",
            span.start,
            counted(real.len(), "token")
        )));
    };
    if item.n_prompt.is_none() {
        remark("--needle: nothing was generated after the text, so that retrieval cannot be measured (--max-tokens)");
    }
    Ok(Some(*first..last + 1))
}

fn one_needle(n_texts: usize) -> Failure {
    Failure::Usage(format!("--needle is in one text, and there are {n_texts}; --text N says which"))
}

/// Whether a model reads texts on this side and has a tokenizer for them.
pub fn reads_text(model: &Model, side: Side) -> bool {
    model.has(side) && model.tokenizer().is_some() && !model.reads_images() && !model.reads_sounds()
}
