//! Surveys: texts in, sums out, which merge exactly.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use attlas::analysis::Annotations;
use attlas::survey::{Resamples, Survey as Sums};
use attlas_survey::corpus::{CorpusFile, CorpusItem, CorpusText, TextNames, refuse_twice};
use attlas_survey::table::{Cells, Table, TableFormat, write_table_as};
use attlas_survey::{
    About, Decoding, Error, Keeper, ModelIdentity, Part, Settings, SurveyFile, Work, examples_table, failures_table,
    read_survey, survey_bytes, survey_corpus, survey_of_bytes, survey_table, survey_texts,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use crate::errors::{Class, Raise, exception};
use crate::model::Model;
use crate::threads::{finish, finish_watched};

/// Texts of a file that are sorted by length together, as the command line has it.
const WINDOW: usize = 2048;

/// A model that is ready to measure texts.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Surveyor {
    model: attlas_model::Model,
    identity: ModelIdentity,
    decoding: Decoding,
    /// Whether texts are pairs of source and target.
    pairs: bool,
    /// Threads that measure; all of the machine's where nothing is said.
    threads: Option<usize>,
}

/// A survey in memory. Native: the class that people use is `attlas.Survey`.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Survey {
    /// Locked by threads that let go of the interpreter alone.
    file: Mutex<SurveyFile>,
}

/// How a surveyor measures, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct SurveyKeys {
    languages: [Option<String>; 2],
    pairs: bool,
    longest: Option<usize>,
    max_tokens: Option<usize>,
    threads: Option<usize>,
}

/// A table: its columns by name, each with the letter of what it holds: `w`ords, `i`ntegers, `f`loats or `b`ooleans.
type Columns = Vec<(&'static str, char, Column)>;

/// One column of a table.
#[derive(IntoPyObject)]
pub enum Column {
    /// Words; none where there is none.
    Words(Vec<Option<String>>),
    /// Integers; −1 where there is none.
    Integers(Vec<i64>),
    /// Floats; NaN where there is none.
    Floats(Vec<f64>),
    /// True or false.
    Booleans(Vec<bool>),
}

/// Registers what is here.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Surveyor>()?;
    module.add_class::<Survey>()
}

#[pymethods]
impl Surveyor {
    /// A surveyor with a model that was read from `places`.
    #[new]
    fn new(py: Python<'_>, model: &Model, places: Vec<PathBuf>, how: SurveyKeys) -> PyResult<Surveyor> {
        let model = model.inner.clone();
        let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        let identity = finish(py, || ModelIdentity::of(&model, &places, how.languages))?.or_raise()?;
        if how.pairs && !model.has(attlas_model::Side::Target) {
            let (pairs, model) = ("the corpus".to_owned(), model.name().to_owned());
            return Err(Error::ReadsNoTargets { pairs, model }).or_raise();
        }
        let longest = how.longest.unwrap_or(Decoding::LONGEST);
        let decoding = Decoding::of(&model, how.pairs, longest, how.max_tokens.unwrap_or(Decoding::MAX_TOKENS));
        Ok(Surveyor { model, identity, decoding, pairs: how.pairs, threads: how.threads })
    }

    /// SHA-256 of the model's files.
    #[getter]
    fn sha256(&self) -> &str {
        &self.identity.sha256
    }

    /// A survey of no texts yet.
    fn begin(&self) -> Survey {
        let about = About::of_texts(self.identity.clone(), self.decoding.clone());
        Survey::new(SurveyFile { about, survey: Sums::default() })
    }

    /// Takes texts into a survey. The first has the number `first` in failures, where it is said; `progress` is told how many are done.
    #[pyo3(signature = (survey, texts, first, progress))]
    fn take(
        &self,
        py: Python<'_>,
        survey: &Survey,
        texts: &Bound<'_, PyList>,
        first: Option<u64>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let item = |(index, text): (usize, Bound<'_, PyAny>)| CorpusItem {
            number: first.map(|first| first.saturating_add(index as u64)),
            text: if self.pairs {
                pair_of(&text)
            } else {
                text_of(&text).map(|source| CorpusText { source, target: None })
            }
            .and_then(|text| match text.source.trim().is_empty() {
                true => Err("is blank: there is nothing but white space".to_owned()),
                false => Ok(text),
            }),
        };
        let texts: Vec<CorpusItem> = texts.iter().enumerate().map(item).collect();
        self.watched(py, progress, |work, say| {
            let mut file = survey.lock();
            survey_texts(work, texts, None, &mut file, &mut |n_done| say((n_done,))).map(drop)
        })
    }

    /// Surveys files; `progress` is told which share is done, and how many texts.
    fn files(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        column: String,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Survey> {
        let find = |path: &PathBuf| CorpusFile::find(path, None);
        let files: Vec<CorpusFile> = paths.iter().map(find).collect::<Result<_, _>>().or_raise()?;
        refuse_twice(&files).or_raise()?;
        let identities = files.iter().map(|file| file.identity.clone()).collect();
        let settings = Settings { window: WINDOW, batch_tokens: None, limit: None, part: Part::WHOLE };
        let about = About::new(self.identity.clone(), self.decoding.clone(), identities, settings);
        let mut file = SurveyFile { about, survey: Sums::default() };
        let names = TextNames { field: column.clone(), column };
        self.watched(py, progress, |work, say| {
            let work = Work { files: &files, names: &names, ..*work };
            survey_corpus(&work, &mut file, &mut Keeper::nowhere(), &mut |share, n_texts| say((share, n_texts)))
                .map(drop)
        })?;
        file.about.finish();
        Ok(Survey::new(file))
    }
}

impl Surveyor {
    /// Does `work` while other Python threads run, until it is done or Ctrl-C or an error in `progress` breaks it off.
    fn watched<A>(
        &self,
        py: Python<'_>,
        progress: Option<Py<PyAny>>,
        work: impl FnOnce(&Work<'_>, &mut dyn FnMut(A)) -> Result<(), Error> + Send,
    ) -> PyResult<()>
    where
        A: for<'py> pyo3::call::PyCallArgs<'py>,
    {
        let (broken, failure) = (AtomicBool::new(false), Mutex::new(None));
        let names = TextNames::default();
        let done = finish_watched(py, self.threads, |stop| {
            let mut say = |arguments: A| {
                let Some(progress) = &progress else { return };
                if let Err(error) = Python::attach(|py| progress.call1(py, arguments).map(drop)) {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    broken.store(true, Ordering::SeqCst);
                }
            };
            let stop = || stop.load(Ordering::SeqCst) || broken.load(Ordering::SeqCst);
            let (model, annotations) = (&self.model, const { &Annotations::NONE });
            work(&Work { model, files: &[], names: &names, annotations, stop: &stop }, &mut say)
        })?;
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => done.or_raise(),
        }
    }
}

/// A text; why it is none, to follow on its place.
fn text_of(text: &Bound<'_, PyAny>) -> Result<String, String> {
    if text.is_none() {
        return Err("is None, not a text".to_owned());
    }
    match text.cast::<PyString>() {
        Ok(text) => {
            text.to_cow().map(Into::into).map_err(|_| "is not Unicode: it has half of a surrogate pair".to_owned())
        }
        Err(_) => Err(format!("is of type {}, not a text", type_name(text))),
    }
}

/// A pair of texts.
fn pair_of(pair: &Bound<'_, PyAny>) -> Result<CorpusText, String> {
    let sides = pair.cast::<PyTuple>().ok().filter(|sides| sides.len() == 2);
    let Some(sides) = sides else { return Err(format!("is of type {}, not a pair of texts", type_name(pair))) };
    let side = |index: usize, name: &str| {
        let side = sides.get_item(index).map_err(|error| error.to_string())?;
        text_of(&side).map_err(|why| format!("has a {name} that {why}"))
    };
    Ok(CorpusText { source: side(0, "source")?, target: Some(side(1, "target")?) })
}

fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "unknown".to_owned(), |name| name.to_string())
}

#[pymethods]
impl Survey {
    /// The survey in a file, or those in a column `state` of it, merged.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Survey> {
        Ok(Survey::new(finish(py, || read_survey(&path))?.or_raise()?))
    }

    /// The survey whose file has these bytes; `name` says in errors which it is.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, bytes: Vec<u8>, name: &str) -> PyResult<Survey> {
        Ok(Survey::new(finish(py, || survey_of_bytes(bytes, name))?.or_raise()?))
    }

    /// The bytes of its file, without intervals.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = finish(py, || survey_bytes(&self.lock()))?.or_raise()?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Writes its file, with intervals, in the format that the name ends in.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let Some(format) = TableFormat::named_by(&path) else {
            let why = format!("{}: a survey is saved as .parquet, which merges, .csv or .json", path.display());
            return Err(exception(Class::Error, why));
        };
        finish(py, || write_table_as(format, &path, &self.table()))?.or_raise()
    }

    /// A survey of its own with the same content.
    fn copy(&self, py: Python<'_>) -> Survey {
        Survey::new(py.detach(|| self.lock().clone()))
    }

    /// Takes in another survey; `own` and `name` say in errors which the two are. Returns the files whose texts count twice.
    fn add(&self, py: Python<'_>, own: &str, other: &Survey, name: &str) -> PyResult<Vec<String>> {
        py.detach(|| {
            let other = other.lock().clone(); // which may be this one
            self.lock().add(own, other, name)
        })
        .or_raise()
    }

    /// SHA-256 of what was found.
    fn digest(&self, py: Python<'_>) -> String {
        py.detach(|| self.lock().digest())
    }

    /// The model's name, family and SHA-256, texts that were measured and that could not be, shards with texts.
    fn about(&self, py: Python<'_>) -> (String, String, String, u64, u64, usize) {
        py.detach(|| {
            let file = self.lock();
            let model = file.about.model.clone();
            let (n_texts, n_shards) = (file.survey.n_all_texts(), file.survey.n_shards());
            (model.name, model.family, model.sha256, n_texts, file.about.n_skipped, n_shards)
        })
    }

    /// The score of each head under each measure.
    fn heads(&self, py: Python<'_>) -> PyResult<Columns> {
        finish(py, || columns(self.table()))
    }

    /// The texts where each head scores highest.
    fn examples(&self, py: Python<'_>) -> PyResult<Columns> {
        finish(py, || columns(examples_table(&self.lock().survey)))
    }

    /// The texts that could not be used.
    fn failures(&self, py: Python<'_>) -> Columns {
        py.detach(|| columns(failures_table(&self.lock().about)))
    }
}

impl Survey {
    fn new(file: SurveyFile) -> Survey {
        Survey { file: Mutex::new(file) }
    }

    fn lock(&self) -> MutexGuard<'_, SurveyFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table of scores, with intervals.
    fn table(&self) -> Table {
        let file = self.lock();
        survey_table(&file, Some(&Resamples::of(file.survey.n_texts())))
    }
}

/// A table as Python has it; columns of bytes and of JSON are left out.
fn columns(table: Table) -> Columns {
    let column = |(name, cells)| {
        let (letter, column) = match cells {
            Cells::Text(cells) => ('w', Column::Words(cells)),
            Cells::Whole(cells) => ('i', Column::Integers(cells.into_iter().map(|cell| cell.unwrap_or(-1)).collect())),
            Cells::Number(cells) => {
                ('f', Column::Floats(cells.into_iter().map(|cell| cell.unwrap_or(f64::NAN)).collect()))
            }
            Cells::Flag(cells) => ('b', Column::Booleans(cells.into_iter().map(Option::unwrap_or_default).collect())),
            Cells::Json(_) | Cells::Bytes(_) => return None,
        };
        Some((name, letter, column))
    };
    table.columns.into_iter().filter_map(column).collect()
}
