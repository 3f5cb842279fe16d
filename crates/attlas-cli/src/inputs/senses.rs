//! Images and sounds as inputs, by the names of their files.

use std::path::Path;
use std::sync::Once;

use attlas_model::{Input, Model, Side, sentences};

use super::seeing::refuse_placeholders;
use crate::failure::Failure;
use crate::terminal::remark;

/// Whether a file's name is that of an image.
pub fn is_image_name(path: &Path) -> bool {
    ends_in(path, &["png", "jpg", "jpeg"])
}

/// Whether a file's name is that of a sound.
pub fn is_sound_name(path: &Path) -> bool {
    ends_in(path, &["wav", "wave"])
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let is_one = |extension: &std::ffi::OsStr| endings.iter().any(|ending| extension.eq_ignore_ascii_case(ending));
    path.extension().is_some_and(is_one)
}

/// Says once that several sentences are run as one text, by a model that was trained on single ones and writes the target itself.
pub fn say_sentences(model: &Model, text: &str, target: Option<&str>) {
    static SAID: Once = Once::new();
    let n = sentences(text).len();
    if n > 1 && target.is_none() && model.reads_single_sentences() {
        SAID.call_once(|| {
            remark(&format!(
                "{n} sentences are run as one text here, and the model was trained on single ones; `attlas TEXT`, record and page run them \
                 one by one (--sentences)"
            ));
        });
    }
}

/// What the model reads of an argument: a text, or the path of an image or a sound, as the model's family wants it.
pub fn input_of(model: &Model, source: &str, target: Option<&str>) -> Result<Input, Failure> {
    let path = Path::new(source);
    if model.reads_images() && model.has(Side::Target) {
        let input = model.image_input(path)?;
        if target.is_some() && model.finds_objects() {
            return Err(Failure::Usage(format!(
                "{} looks for objects and writes no text: leave out --target",
                model.name()
            )));
        }
        return Ok(match target {
            Some(target) => Input { target: model.target_tokens(target)?, ..input },
            None => input,
        });
    }
    if model.reads_images() {
        return match target {
            Some(_) => {
                Err(Failure::Usage(format!("{} reads images and has no decoder: leave out --target", model.name())))
            }
            None if model.has_text_tower() && !path.is_file() => Err(Failure::Input(format!(
                "{source} is no file, and this tower of {} reads images (PNG, JPEG); --tower text chooses the one that \
                 reads texts",
                model.name()
            ))),
            None => Ok(model.image_input(path)?),
        };
    }
    if model.reads_sounds() {
        return Ok(model.sound_input(path, target)?);
    }
    if path.is_file() && (is_image_name(path) || is_sound_name(path)) {
        let (what, reader) = if is_image_name(path) { ("an image", "vision") } else { ("a sound", "speech") };
        return Err(Failure::Input(format!(
            "{source} is {what}, but {} reads texts; name a {reader} model with --model",
            model.name()
        )));
    }
    let input = model.input(source, target)?;
    refuse_placeholders(model, &input)?;
    Ok(input)
}
