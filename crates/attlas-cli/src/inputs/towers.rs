//! Both towers of a model, one on an image and one on a text, in one recording.

use attlas::Recording;
use attlas_model::{Decoding, Input, Model, Tower};

use super::seeing::VISION;
use super::{ModelArguments, RunArguments, TextRun, Texts, input_of, load_model, run_inputs};
use crate::failure::Failure;
use crate::terminal::remark;

/// The name of the text tower's stack in a recording, and of its tokens' axis.
const TEXT: &str = "text";

/// Runs the vision tower on images and the text tower on the texts that were given as targets, one for each image.
pub fn run_towers(vision: &Model, texts: &Texts, options: &RunArguments) -> Result<TextRun, Failure> {
    if texts.targets.len() != texts.sources.len() {
        let (n, n_texts) = (texts.sources.len(), texts.targets.len());
        return Err(Failure::Usage(format!(
            "{n_texts} times --target for {n} images; the text tower reads one for each"
        )));
    }
    if let Some(head) = options.knock_out.first() {
        let message = format!("--knock-out {}: name the tower whose head it is, and run it alone (--tower)", head.id);
        return Err(Failure::Usage(message));
    }
    let reader = load_model(&ModelArguments { tower: Some(Tower::Text), ..options.model.clone() })?;
    let images: Vec<Input> =
        texts.sources.iter().map(|image| input_of(vision, image, None)).collect::<Result<_, _>>()?;
    let captions: Vec<Input> =
        texts.targets.iter().map(|text| Ok(reader.input(text, None)?)).collect::<Result<_, Failure>>()?;
    let seen = run_inputs(vision, &images, Decoding::TeacherForcing, options)?;
    let read = run_inputs(&reader, &captions, Decoding::TeacherForcing, options)?;
    Ok(TextRun { recording: seen.recording.beside(TEXT, read.recording)?, ..seen })
}

/// The tower that is asked for of a recording that holds several: where nothing is said, the vision tower of two that stand apart, and the
/// text of a model that sees images; then it is said what is not shown.
pub fn of_tower(mut recording: Recording, tower: Option<Tower>) -> Result<Recording, Failure> {
    let asked = match tower {
        Some(Tower::Text) => Some(TEXT),
        Some(Tower::Vision) => Some(VISION),
        None => None,
    };
    if let Some(own) = asked.and_then(|name| recording.stack_alone(name)) {
        return Ok(own);
    }
    let others = recording.drop_stacks();
    if tower == Some(Tower::Text) && !others.iter().any(|name| name == VISION) {
        return Err(Failure::Usage(
            "--tower text: the recording has not the maps of a text tower beside those of another".into(),
        ));
    }
    for name in others {
        let shown = if [TEXT, VISION].contains(&name.as_str()) {
            format!("; --tower {name} shows them")
        } else {
            String::new()
        };
        remark(&format!("the {name} tower's maps are in the recording, too{shown}"));
    }
    Ok(recording)
}
