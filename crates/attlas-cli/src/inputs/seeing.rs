//! A text with images in it: what a vision tower makes of them, and the text that is read with them.

use std::path::Path;

use attlas_model::{Decoding, Input, Look, Model, Pass};

use super::{RunArguments, TextRun, Texts, run_inputs};
use crate::failure::Failure;
use crate::words::counted;

/// The name of the vision tower's stack in a recording, and of its patches' axis; those of further images are numbered from 2.
pub const VISION: &str = "vision";

/// Runs a model on a text with images in it; beside its maps stand those of the vision tower, a stack for each image.
pub fn run_seeing(model: &Model, texts: &Texts, options: &RunArguments) -> Result<TextRun, Failure> {
    let tower = tower_of(model)?;
    let [text] = texts.sources.as_slice() else {
        let n = counted(texts.sources.len(), "text");
        return Err(Failure::Usage(format!("--image is for one text at a time, and there are {n}")));
    };
    let looks: Vec<Look> = options.images.iter().map(|path| look(model, tower, path)).collect::<Result<_, _>>()?;
    let target = texts.targets.first().map(String::as_str);
    let input = model.input_with_images(text, target, &looks)?;
    let decoding = if target.is_none() { options.generation(model) } else { Decoding::TeacherForcing };
    let mut run = run_inputs(model, &[input], decoding, options)?;
    run.put_before(&texts.sources);
    for (place, look) in looks.into_iter().enumerate() {
        let name = if place == 0 { VISION.to_owned() } else { format!("{VISION}-{}", place + 1) };
        run.recording = run.recording.beside(&name, look.run.recording)?;
    }
    Ok(run)
}

/// What the model sees of an image file.
fn look(model: &Model, tower: &Model, path: &Path) -> Result<Look, Failure> {
    if !path.exists() {
        return Err(Failure::Input(format!("{}: there is no such file (--image)", path.display())));
    }
    Ok(model.look(tower.image_input(path)?, &Pass::default())?)
}

/// What images go through.
fn tower_of(model: &Model) -> Result<&Model, Failure> {
    let name = model.name();
    model.vision_tower().ok_or_else(|| match model.reads_images() {
        true => Failure::Usage(format!(
            "{name} reads images alone: give the file in the place of the text, without --image"
        )),
        false => Failure::Input(format!(
            "{name} reads texts alone here, and --image gives it an image; `attlas models` says which models read both"
        )),
    })
}

/// Refuses a text with placeholders for images where none is given: a model would read the row that its table has for the placeholder,
/// which was never taught.
pub fn refuse_placeholders(model: &Model, input: &Input) -> Result<(), Failure> {
    let is_placeholder = |id: Option<u32>| id.is_some() && id == model.image_token();
    match input.target.tokens.iter().filter(|token| is_placeholder(token.id)).count() {
        0 => Ok(()),
        n => Err(Failure::Usage(format!(
            "the text has {} for images, and no image was given; `record` and `draw patches` take some (--image FILE)",
            counted(n, "placeholder")
        ))),
    }
}
