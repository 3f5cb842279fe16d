//! A recording: opened from a file, or made of a text; and which of its maps are meant.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use attlas::regular_file::RegularFile;
use attlas::{Head, Kind, Quantity, Recording};

use super::{RunArguments, TextRun, Texts, ends_as_text, is_image_name, is_sound_name, of_tower, read_text, run_texts};
use crate::failure::Failure;

/// What `RECORDING | TEXT` on the command line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Material {
    /// A recording's file.
    Recording(PathBuf),
    /// A text to run a model on.
    Text(String),
}

impl Material {
    /// A name that ends in `.safetensors`, or of a file that exists, is a recording; anything else is a text, and so is the
    /// name of an image or a sound, which a model that reads such opens.
    pub fn read(raw: &OsStr) -> Result<Material, Failure> {
        if is_recording(raw) {
            refuse_page(Path::new(raw), "a recording (.safetensors) or a text is wanted here")?;
            return Ok(Material::Recording(raw.into()));
        }
        read_text(raw, "TEXT").map(Material::Text)
    }
}

/// Whether a word is a recording: by its ending, or as a file that is neither text, image nor sound.
pub fn is_recording(raw: &OsStr) -> bool {
    let path = Path::new(raw);
    let is_other = is_image_name(path) || is_sound_name(path) || ends_as_text(path);
    names_recording(raw) || (raw != "-" && !is_other && path.is_file())
}

/// Refuses a page where a recording is wanted: its maps can be seen, and nothing else read of them. `wanted` says what is taken.
pub fn refuse_page(path: &Path, wanted: &str) -> Result<(), Failure> {
    let mut start = [0; 15];
    let is_page = RegularFile::open(path).is_ok_and(|file| {
        file.read_at(0, &mut start).is_ok()
            && (start.eq_ignore_ascii_case(b"<!doctype html>") || start[..5].eq_ignore_ascii_case(b"<html"))
    });
    if !is_page {
        return Ok(());
    }
    Err(Failure::Input(format!("{}: is a page, which a browser opens; {wanted}", path.display())))
}

/// Whether a word is the name of a recording: it ends in `.safetensors`.
pub fn names_recording(raw: &OsStr) -> bool {
    Path::new(raw).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// The recording: opened, or made by running the model on the text.
pub fn recording_of(raw: &OsStr, options: &RunArguments) -> Result<Recording, Failure> {
    Ok(run_of(raw, options)?.recording)
}

/// The recording, with what else came of running the model: nothing, where it was opened.
pub fn run_of(raw: &OsStr, options: &RunArguments) -> Result<TextRun, Failure> {
    match Material::read(raw)? {
        Material::Text(text) => {
            let texts = Texts { sources: vec![text], targets: options.target_texts()? };
            let run = run_texts(&texts, options)?;
            Ok(TextRun { recording: of_tower(run.recording, None)?, ..run })
        }
        Material::Recording(path) => match options.first_given() {
            Some(option) => Err(Failure::Usage(format!(
                "{option} is for running a model on a text, but {} is a recording",
                path.display()
            ))),
            None => {
                let mut recording = of_tower(Recording::open(&path)?, options.model.tower)?;
                options.quantities.add_to_opened(&mut recording)?;
                Ok(TextRun::from(recording))
            }
        },
    }
}

/// Reads `--head`: one, or all of the layer together.
pub fn parse_head(text: &str) -> Result<Head, String> {
    match text {
        "mean" => Ok(Head::Mean),
        _ => text.parse().map(Head::One).map_err(|_| "a head's number, counted from 0, or \"mean\"".into()),
    }
}

/// Reads `--kind`.
pub fn parse_kind() -> impl clap::builder::TypedValueParser<Value = Kind> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Kind::ALL.map(Kind::name)).try_map(|name| name.parse::<Kind>())
}

/// The kind asked for, or the most telling there is.
pub fn pick_kind(recording: &Recording, asked: Option<Kind>) -> Result<Kind, Failure> {
    pick_kind_in(recording, Quantity::Weight, asked)
}

/// The kind asked for, or the most telling of those that have maps of `quantity`.
pub fn pick_kind_in(recording: &Recording, quantity: Quantity, asked: Option<Kind>) -> Result<Kind, Failure> {
    let kind = asked.map_or_else(|| recording.default_kind_in(quantity), Ok)?;
    recording.last_layer_in(quantity, kind)?;
    Ok(kind)
}

/// The layer asked for, or the last of this kind.
pub fn pick_layer(recording: &Recording, kind: Kind, asked: Option<usize>) -> Result<usize, Failure> {
    pick_layer_in(recording, Quantity::Weight, kind, asked)
}

/// The layer asked for, or the last of this kind that has a map of `quantity`.
pub fn pick_layer_in(
    recording: &Recording,
    quantity: Quantity,
    kind: Kind,
    asked: Option<usize>,
) -> Result<usize, Failure> {
    let layer = asked.map_or_else(|| recording.last_layer_in(quantity, kind), Ok)?;
    Ok(recording.layer_in(quantity, kind, layer)?.index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_ends_in_safetensors_is_a_recording_also_when_it_is_missing() {
        let read = |raw: &str| Material::read(OsStr::new(raw)).expect("it is one or the other");
        assert_eq!(read("missing.safetensors"), Material::Recording("missing.safetensors".into()));
        assert_eq!(read("The cat sat."), Material::Text("The cat sat.".into()));
    }

    #[test]
    fn a_head_is_a_number_or_the_mean() {
        assert_eq!(parse_head("3"), Ok(Head::One(3)));
        assert_eq!(parse_head("mean"), Ok(Head::Mean));
        assert!(parse_head("L3H7").is_err());
    }
}
