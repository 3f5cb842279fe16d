//! Models that attlas runs itself: no PyTorch.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use attlas::recording::{Edit, HeadOutput, Heads};
use attlas::{HeadId, Kind};
use attlas_model::explain::asked::Predicted;
use attlas_model::explain::quantities::{Quantities, Shown};
use attlas_model::{Decoding, Input, LoadOptions, Next, Pass, Precision, RunOptions, Side, Site, Tower};
use pyo3::prelude::*;

use crate::errors::{Class, Raise, exception};
use crate::recording::Recording;
use crate::threads::{compute, compute_watched};

/// A Transformer that is ready to run.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Model {
    pub(crate) inner: attlas_model::Model,
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
    /// Kind, layer and head of each head whose output is 0.
    knock_out: Vec<(String, usize, usize)>,
    /// What is made beside weights.
    quantities: Vec<String>,
    /// What gradients are of: token or class, foil, position.
    explain: (Option<String>, Option<String>, Option<usize>),
    flow_tokens: Option<usize>,
}

/// Tokens generated at most where nothing is said.
pub const MAX_TOKENS: usize = 256;

#[pymethods]
impl Model {
    /// The model in a folder or a file; the embedded translator without one.
    #[staticmethod]
    #[pyo3(signature = (path, adapter, tokenizer, languages, precision=None, tower=None))]
    fn load(
        py: Python<'_>,
        path: Option<PathBuf>,
        adapter: Option<PathBuf>,
        tokenizer: Option<PathBuf>,
        languages: (Option<String>, Option<String>),
        precision: Option<String>,
        tower: Option<String>,
    ) -> PyResult<Model> {
        let (from, to) = languages;
        let precision = precision.map(|name| name.parse::<Precision>()).transpose();
        let precision = precision.map_err(|sentence| exception(Class::Error, sentence))?;
        let tower = tower.map(|name| name.parse::<Tower>()).transpose();
        let tower = tower.map_err(|sentence| exception(Class::Error, sentence))?;
        let model = compute(py, move || {
            let mut model = match path {
                Some(path) => attlas_model::Model::load_with(
                    &path,
                    &LoadOptions { adapter, tokenizer, tower, ..LoadOptions::default() },
                )?,
                None => attlas_model::Model::embedded()?,
            };
            model.set_languages(from.as_deref(), to.as_deref())?;
            model.set_precision(precision.unwrap_or_default());
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
        let mut options = RunOptions { decoding: self.decoding(targets.is_some(), &how), pass: pass(&how)? };
        let quantities = how.read_quantities().or_raise()?;
        quantities.check().or_raise()?; // before anything is run
        quantities.keep(&mut options.pass);
        let model = self.inner.clone();
        let run = compute_watched(py, move |stop| {
            let target = |index: usize| targets.as_ref().and_then(|targets| targets.get(index)).map(String::as_str);
            let inputs = texts.iter().enumerate().map(|(index, text)| input(&model, text, target(index)));
            let inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
            let mut run = model.run_watched(&inputs, &options, &mut |_| next(stop))?;
            let remarks = match how.quantities.is_empty() {
                true => Vec::new(),
                false => how.read_quantities()?.add(&model, &inputs, &mut run, how.values)?,
            };
            Ok::<_, attlas_model::Error>((run, remarks))
        })?;
        let (run, remarks) = run.or_raise()?;
        let generated = run.generated.into_iter().map(|generation| generation.text).collect();
        Ok((Recording::new(run.recording), generated, remarks))
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
    model.input(source, target)
}

impl Model {
    /// How the decoder's tokens come about.
    fn decoding(&self, is_given: bool, how: &RunKeys) -> Decoding {
        let is_asked = how.beams.is_some() || how.max_tokens.is_some();
        let reads_all =
            !self.inner.has(Side::Target) || self.inner.finds_objects() || (!self.inner.has(Side::Source) && !is_asked);
        let max_tokens = how.max_tokens.unwrap_or(MAX_TOKENS);
        match how.beams {
            _ if is_given || reads_all => Decoding::TeacherForcing,
            Some(width) => Decoding::Beam { width, max_tokens },
            None => Decoding::Greedy { max_tokens },
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

/// What is kept and what is changed.
fn pass(how: &RunKeys) -> PyResult<Pass> {
    let mut pass = match how.values {
        true => Pass::keeping([Site::Attention, Site::Values]),
        false => Pass::default(),
    };
    if how.router {
        pass.keep.extend(Pass::keeping([Site::Router]).keep);
    }
    for (kind, layer, head) in &how.knock_out {
        let kind: Kind = kind.parse().map_err(|sentence: String| exception(Class::Missing, sentence))?;
        let heads = Heads::one(kind, HeadId { layer: *layer, head: *head });
        pass.edits.push(Edit::HeadOutput { heads, to: HeadOutput::Zero });
    }
    Ok(pass)
}
