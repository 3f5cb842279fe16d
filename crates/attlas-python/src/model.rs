//! Models that attlas runs itself: no PyTorch.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use attlas::printable::counted;
use attlas::recording::{Edit, HeadOutput};
use attlas_model::explain::HeadPattern;
use attlas_model::explain::asked::Predicted;
use attlas_model::explain::quantities::{Quantities, Shown};
use attlas_model::{
    Decoding, Input, LoadOptions, Look, Loops, Next, Pass, Precision, RunOptions, Side, Site, Tower, UnknownWords,
};
use pyo3::prelude::*;

use crate::errors::{Class, Raise, exception};
use crate::recording::Recording;
use crate::threads::{compute, compute_watched};

/// A Transformer that is ready to run.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Model {
    pub(crate) inner: attlas_model::Model,
}

/// How a model is loaded, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct LoadKeys {
    adapter: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
    /// From which language to which, of models with tags for languages.
    languages: (Option<String>, Option<String>),
    precision: Option<String>,
    tower: Option<String>,
    /// What becomes of a generation that repeats itself, and of one with a word that the model does not know.
    loops: Option<String>,
    unknown_words: Option<String>,
    /// Whether a model that reads texts with images in them is loaded with what images go through.
    images: bool,
}

/// How a model is run, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct RunKeys {
    beams: Option<usize>,
    max_tokens: Option<usize>,
    values: bool,
    /// Whether the router's shares of a mixture of experts are kept.
    router: bool,
    /// Heads whose output is 0, each with its kind: `cross:2.4`, or all of a layer, `cross:2.*`.
    knock_out: Vec<String>,
    /// Image files that the text reads, in the order of its placeholders.
    images: Vec<PathBuf>,
    /// What is made beside weights.
    quantities: Vec<String>,
    /// What gradients are of: token or class, foil, position.
    explain: (Option<String>, Option<String>, Option<usize>),
    flow_tokens: Option<usize>,
}

/// One of few, by its name; the argument is named where there is no such one.
fn chosen<T: FromStr<Err = String>>(argument: &str, name: Option<String>) -> PyResult<Option<T>> {
    let read = name.map(|name| name.parse::<T>()).transpose();
    read.map_err(|sentence| exception(Class::Error, format!("{argument}: {sentence}")))
}

/// Tokens generated at most where nothing is said.
pub const MAX_TOKENS: usize = 256;

#[pymethods]
impl Model {
    /// The model in a folder or a file; the embedded translator without one.
    #[staticmethod]
    fn load(py: Python<'_>, path: Option<PathBuf>, how: LoadKeys) -> PyResult<Model> {
        let LoadKeys { adapter, tokenizer, languages: (from, to), precision, tower, loops, unknown_words, images } =
            how;
        let precision = chosen::<Precision>("precision", precision)?;
        let tower = chosen::<Tower>("tower", tower)?;
        let loops = chosen::<Loops>("loops", loops)?;
        let unknown_words = chosen::<UnknownWords>("unknown_words", unknown_words)?;
        let model = compute(py, move || {
            let options = LoadOptions { adapter, tokenizer, tower, images };
            let mut model = match path {
                Some(path) => attlas_model::Model::load_with(&path, &options)?,
                None => attlas_model::Model::embedded()?,
            };
            model.set_languages(from.as_deref(), to.as_deref())?;
            model.set_precision(precision.unwrap_or_default());
            loops.into_iter().for_each(|loops| model.set_loops(loops));
            unknown_words.map_or(Ok(()), |unknown_words| model.set_unknown_words(unknown_words))?;
            Ok::<_, attlas_model::Error>(model)
        })?;
        Ok(Model { inner: model.or_raise()? })
    }

    /// The folder of a model by its name on the hub: in the local cache, else downloaded into it.
    #[staticmethod]
    fn find(py: Python<'_>, name: String, revision: Option<String>) -> PyResult<PathBuf> {
        let found = compute(py, move || attlas_cli::model_named(&name, revision.as_deref()))?;
        found.map_err(|sentence| exception(Class::File, sentence))
    }

    #[getter]
    fn name(&self) -> &str {
        self.inner.name()
    }

    #[getter]
    fn family(&self) -> &str {
        self.inner.family()
    }

    /// Runs the model over texts, and returns the recording with the texts that were generated, and what a reader should be told.
    fn record(
        &self,
        py: Python<'_>,
        texts: Vec<String>,
        targets: Option<Vec<String>>,
        how: RunKeys,
    ) -> PyResult<(Recording, Vec<String>, Vec<String>)> {
        let mut options = RunOptions { decoding: self.decoding(targets.is_some(), &how), pass: self.pass(&how)? };
        let quantities = how.read_quantities().or_raise()?;
        quantities.check().or_raise()?; // before anything is run
        quantities.keep(&mut options.pass);
        let model = self.inner.clone();
        let run = compute_watched(py, move |stop| {
            let target = |index: usize| targets.as_ref().and_then(|targets| targets.get(index)).map(String::as_str);
            let looks = looks(&model, &how.images)?;
            let inputs = texts.iter().enumerate().map(|(index, text)| match looks.is_empty() {
                true => input(&model, text, target(index)),
                false => model.input_with_images(text, target(index), &looks),
            });
            let inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
            let mut run = model.run_watched(&inputs, &options, &mut |_| next(stop))?;
            let remarks = match how.quantities.is_empty() {
                true => Vec::new(),
                false => how.read_quantities()?.add(&model, &inputs, &mut run, how.values)?,
            };
            for (place, look) in looks.into_iter().enumerate() {
                let name = if place == 0 { VISION.to_owned() } else { format!("{VISION}-{}", place + 1) };
                run.recording = run.recording.beside(&name, look.run.recording)?;
            }
            Ok::<_, attlas_model::Error>((run, remarks))
        })?;
        let (run, remarks) = run.or_raise()?;
        let generated = run.generated.into_iter().map(|generation| generation.text).collect();
        Ok((Recording::new(run.recording), generated, remarks))
    }
}

/// The name of the vision tower's stack in a recording; those of further images are numbered from 2.
const VISION: &str = "vision";

/// What the model sees of images that stand among the words of a text.
fn looks(model: &attlas_model::Model, images: &[PathBuf]) -> Result<Vec<Look>, attlas_model::Error> {
    let look = |image: &PathBuf| model.look(tower_of(model, image)?.image_input(image)?, &Pass::default());
    images.iter().map(look).collect()
}

/// What an image goes through before it stands among words.
fn tower_of<'model>(
    model: &'model attlas_model::Model,
    image: &Path,
) -> Result<&'model attlas_model::Model, attlas_model::Error> {
    model.vision_tower().ok_or_else(|| {
        let (name, image) = (model.name(), image.display());
        attlas_model::Error::Input(match model.reads_images() {
            true => format!("image {image}: {name} reads images alone; give the file in the place of the text"),
            false if model.image_token().is_some() => {
                format!("image {image}: {name} was loaded to read texts alone; load it with images=True")
            }
            false => format!("image {image}: {name} reads texts alone"),
        })
    })
}

/// Refuses a text with placeholders for images where none is given: a model would read the row that its table has for the placeholder,
/// which was never taught.
fn refuse_placeholders(model: &attlas_model::Model, input: &Input) -> Result<(), attlas_model::Error> {
    let is_placeholder = |id: Option<u32>| id.is_some() && id == model.image_token();
    match input.target.tokens.iter().filter(|token| is_placeholder(token.id)).count() {
        0 => Ok(()),
        n => {
            let placeholders = counted(n, "placeholder");
            Err(attlas_model::Error::Input(format!("the text has {placeholders} for images, and no image was given")))
        }
    }
}

/// Whether the run goes on.
pub fn next(stop: &AtomicBool) -> Next {
    if stop.load(Ordering::SeqCst) { Next::Stop } else { Next::Continue }
}

/// What the model reads: a text, or the path of an image or a sound.
pub fn input(model: &attlas_model::Model, source: &str, target: Option<&str>) -> Result<Input, attlas_model::Error> {
    if model.reads_images() {
        let input = model.image_input(source.as_ref())?;
        let target =
            target.filter(|_| model.has(Side::Target)).map(|target| model.target_tokens(target)).transpose()?;
        return Ok(match target {
            Some(target) => Input { target, ..input },
            None => input,
        });
    }
    if model.reads_sounds() {
        return model.sound_input(source.as_ref(), target);
    }
    let input = model.input(source, target)?;
    refuse_placeholders(model, &input)?;
    Ok(input)
}

impl Model {
    /// What is kept and what is changed.
    fn pass(&self, how: &RunKeys) -> PyResult<Pass> {
        let mut pass = match how.values {
            true => Pass::keeping([Site::Attention, Site::Values]),
            false => Pass::default(),
        };
        if how.router {
            pass.keep.extend(Pass::keeping([Site::Router]).keep);
        }
        if how.knock_out.is_empty() {
            return Ok(pass); // no pattern means all heads
        }
        let patterns = how.knock_out.iter().map(|pattern| pattern.parse::<HeadPattern>());
        let patterns =
            patterns.collect::<Result<Vec<_>, _>>().map_err(|sentence| exception(Class::Missing, sentence))?;
        for head in self.inner.heads_named(&patterns, None).or_raise()? {
            pass.edits.push(Edit::HeadOutput { heads: head.heads(), to: HeadOutput::Zero });
        }
        Ok(pass)
    }

    /// How the decoder's tokens come about.
    fn decoding(&self, is_given: bool, how: &RunKeys) -> Decoding {
        let is_asked = how.beams.is_some() || how.max_tokens.is_some();
        let reads_all =
            !self.inner.has(Side::Target) || self.inner.finds_objects() || (!self.inner.has(Side::Source) && !is_asked);
        let max_tokens = how.max_tokens.unwrap_or(MAX_TOKENS);
        match is_given || reads_all {
            true => Decoding::TeacherForcing,
            false => self.inner.generating(how.beams, max_tokens),
        }
    }
}

impl RunKeys {
    /// What is made beside weights.
    fn read_quantities(&self) -> Result<Quantities<'_>, attlas_model::Error> {
        let shown = self.quantities.iter().map(|name| name.parse::<Shown>().map_err(attlas_model::Error::Plan));
        let (target, foil, position) = &self.explain;
        let prediction = Predicted { target: target.as_deref(), foil: foil.as_deref(), position: *position };
        let shown = shown.collect::<Result<Vec<_>, _>>()?;
        Ok(Quantities { shown, prediction, flow_tokens: self.flow_tokens, ..Quantities::default() })
    }
}
