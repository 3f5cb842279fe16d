//! Live runs: a text that is typed, a model that is chosen of those that were named, one run at a time on threads that give way.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use attlas::analysis::describe::describe;
use attlas::analysis::{measure, standouts};
use attlas::{Kind, Recording};
use attlas_model::{
    Decoding, Error as ModelError, Input, Model, Next, Progress, RunOptions, Side, sentences, sentences_note,
};
use attlas_viewer::Description;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::library::{Found, Library};
use crate::map::n_multiplications;
use crate::refusal::{Refusal, Sort};

/// Bytes of a text at most.
pub const MAX_TEXT: usize = 1 << 20;
/// Bytes of queries and keys that a run may record.
pub const MAX_RECORDED: u64 = 2 << 30;
/// Tokens that are generated at most, and where nothing is said.
pub const MAX_TOKENS: usize = 1024;
const USUAL_TOKENS: usize = 256;
/// Models that a folder gives at most.
const MAX_MODELS: usize = 200;
/// Multiplications of a run's maps up to which its heads are measured.
const MEASURED: u64 = 40_000_000_000;

/// How a model that can be chosen is loaded.
pub type Load = Box<dyn Fn() -> Result<Model, String> + Send + Sync>;

/// A model that can be chosen.
pub struct Choice {
    /// What a reader chooses by.
    pub name: String,
    /// How it is named where it is to be loaded again, a folder or a hub's name, for the commands that the page copies; `None` where
    /// clients are not told where models lie.
    pub place: Option<String>,
    /// Loads it; the error is a sentence.
    pub load: Load,
}

/// What a run is asked to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAsk {
    /// What the model reads.
    pub text: String,
    /// What its decoder reads, instead of what it generates; a model that has a decoder alone reads it after the text.
    #[serde(default)]
    pub target: Option<String>,
    /// The place of the model in the list of those that can be chosen.
    #[serde(default)]
    pub model: usize,
    /// Tokens that are generated at most; a model that has a decoder alone generates none where nothing is said.
    #[serde(default)]
    pub max_tokens: Option<usize>,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Phase {
    /// Nothing was run yet.
    Idle,
    /// Goes on: what it does, and which share of it is done, where that is known.
    Running { text: String, model: String, doing: String, done: usize, of: usize },
    /// Was recorded, under this id.
    Done { recording: String },
    /// Was stopped on request.
    Stopped,
    /// Came to nothing, and why.
    Failed { error: String },
}

/// The runs of a server.
pub struct Runs {
    models: Vec<Choice>,
    threads: ThreadPool,
    phase: Mutex<Phase>,
    is_going: AtomicBool,
    is_stopped: AtomicBool,
    /// The model of the last run.
    loaded: Mutex<Option<(usize, Arc<Model>)>>,
}

/// Why a run recorded nothing.
enum End {
    Stopped,
    Failed(String),
}

impl From<ModelError> for End {
    fn from(error: ModelError) -> End {
        match error {
            ModelError::Stopped => End::Stopped,
            other => End::Failed(other.to_string()),
        }
    }
}

impl From<attlas::Error> for End {
    fn from(error: attlas::Error) -> End {
        End::Failed(error.to_string())
    }
}

/// Sets a run's end, also where it panics.
struct Going(Arc<Runs>, Phase);

impl Going {
    fn ends(&mut self, phase: Phase) {
        self.1 = phase;
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        let Going(runs, phase) = self;
        *lock(&runs.phase) = phase.clone();
        runs.is_going.store(false, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Runs {
    /// Runs of these models, on as many threads, which give way to all others of the machine.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(models: Vec<Choice>, n_threads: usize) -> Result<Runs, Error> {
        let threads = ThreadPoolBuilder::new()
            .num_threads(n_threads.max(1))
            .thread_name(|index| format!("run-{index}"))
            .start_handler(|_| give_way())
            .panic_handler(|_| {}) // the run's end says it
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Runs {
            models,
            threads,
            phase: Mutex::new(Phase::Idle),
            is_going: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            loaded: Mutex::new(None),
        })
    }

    /// The models that can be chosen, by name.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|choice| choice.name.as_str())
    }

    /// How far the last run is.
    pub fn phase(&self) -> Phase {
        lock(&self.phase).clone()
    }

    /// Asks the run that goes on to stop; it does at the next layer or token.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Begins a run; what it records goes to `library`.
    ///
    /// # Errors
    /// When one goes on, the text is empty or too long, or there is no such model.
    pub fn start(self: &Arc<Runs>, ask: RunAsk, library: &Arc<Library>) -> Result<(), Refusal> {
        ask.check(self.models.len())?;
        if self.is_going.swap(true, Ordering::SeqCst) {
            return Err(Refusal::new(Sort::Run, "a run goes on; it can be stopped, or waited for"));
        }
        self.is_stopped.store(false, Ordering::Relaxed);
        let model = self.models[ask.model].name.clone();
        let doing = "loading the model".to_owned();
        *lock(&self.phase) = Phase::Running { text: ask.text.clone(), model, doing, done: 0, of: 0 };
        let broken = "the run broke off; this is a fault of attlas, and nothing else is touched by it".to_owned();
        let mut going = Going(Arc::clone(self), Phase::Failed { error: broken });
        let library = Arc::clone(library);
        self.threads.spawn(move || {
            let runs = Arc::clone(&going.0);
            let end = match runs.record(&ask) {
                Ok((recording, found)) => Phase::Done { recording: library.add_run(ask.text, recording, found) },
                Err(End::Stopped) => Phase::Stopped,
                Err(End::Failed(error)) => Phase::Failed { error },
            };
            going.ends(end);
        });
        Ok(())
    }

    /// Loads the model, unless it is the one of the last run.
    fn model(&self, place: usize) -> Result<Arc<Model>, End> {
        let mut loaded = lock(&self.loaded);
        if let Some((_, model)) = loaded.as_ref().filter(|(of, _)| *of == place) {
            return Ok(Arc::clone(model));
        }
        *loaded = None; // two models may not fit
        let model = Arc::new((self.models[place].load)().map_err(End::Failed)?);
        *loaded = Some((place, Arc::clone(&model)));
        Ok(model)
    }

    fn record(&self, ask: &RunAsk) -> Result<(Recording, Found), End> {
        let model = self.model(ask.model)?;
        if model.reads_images() || model.reads_sounds() {
            let message = format!(
                "{} reads images or sounds, and a text was given; a recording of one can be shown",
                model.name()
            );
            return Err(End::Failed(message));
        }
        let texts = ask.texts(&model);
        let inputs = texts.iter().map(|text| model.input(text, ask.target.as_deref()));
        let inputs: Vec<Input> = inputs.collect::<Result<_, _>>()?;
        let (decoding, n_more) = ask.decoding(&model);
        check_size(&model, &inputs, n_more)?;
        let mut run =
            model.run_watched(&inputs, &RunOptions { decoding, ..RunOptions::default() }, &mut |progress| {
                match progress {
                    Progress::Block { stack, layer, n_layers } => {
                        self.say(format!("{stack} layer {layer} of {n_layers}"), layer, n_layers);
                    }
                    Progress::Token { n_tokens, .. } => self.say(format!("token {n_tokens}"), n_tokens, n_more),
                }
                if self.is_stopped.load(Ordering::Relaxed) { Next::Stop } else { Next::Continue }
            })?;
        if texts.len() > 1 {
            run.recording.provenance.notes.push(sentences_note(1, texts.len()));
        }
        self.say("looking at the heads".to_owned(), 0, 0);
        let model_place = self.models[ask.model].place.clone();
        let found = Found { model_place, ..found(&run.recording, &model, &ask.text)? };
        Ok((run.recording, found))
    }

    fn say(&self, what: String, n_done: usize, n: usize) {
        if let Phase::Running { doing, done, of, .. } = &mut *lock(&self.phase) {
            (*doing, *done, *of) = (what, n_done, n);
        }
    }
}

/// What is known of a run beside its maps; of a long text nothing but which head aligns.
fn found(recording: &Recording, model: &Model, text: &str) -> Result<Found, End> {
    let open = model.alignment_heads().first().map(|head| (Kind::Cross, *head));
    let mut found = Found { title: Some(text.to_owned()), open, ..Found::default() };
    if n_multiplications(&recording.layers, 1) <= MEASURED {
        let heads = measure(recording, 0)?;
        found.standouts = Some(standouts(&heads));
        found.description = Some(Description { item: 0, sentences: describe(recording, 0, &heads)? });
    }
    Ok(found)
}

impl RunAsk {
    fn check(&self, n_models: usize) -> Result<(), Refusal> {
        if self.text.trim().is_empty() {
            return Err(Refusal::ask("the text is empty; attention needs at least one word"));
        }
        for (what, text) in [("text", Some(&self.text)), ("target", self.target.as_ref())] {
            if let Some(text) = text.filter(|text| text.len() > MAX_TEXT) {
                return Err(Refusal::limit(format!("the {what} has {} bytes, and {MAX_TEXT} are taken", text.len())));
            }
        }
        if self.model >= n_models {
            return Err(Refusal::absent(format!(
                "there is no model {}; there are {n_models}, counted from 0",
                self.model
            )));
        }
        match self.max_tokens {
            Some(n) if n == 0 || n > MAX_TOKENS => {
                Err(Refusal::ask(format!("{n} tokens were to be generated; 1 to {MAX_TOKENS} can be")))
            }
            _ => Ok(()),
        }
    }

    /// What the model reads: the text, or its sentences one by one where the model was trained on single ones.
    fn texts(&self, model: &Model) -> Vec<&str> {
        match self.target.is_none() && model.reads_single_sentences() {
            true => sentences(&self.text),
            false => vec![&self.text],
        }
    }

    /// How the decoder's tokens come about, and how many more there may be.
    fn decoding(&self, model: &Model) -> (Decoding, usize) {
        let generates = self.target.is_none() && model.has(Side::Target);
        if !generates || (!model.has(Side::Source) && self.max_tokens.is_none()) {
            return (Decoding::TeacherForcing, 0);
        }
        let max_tokens = self.max_tokens.unwrap_or(USUAL_TOKENS);
        (model.generating(None, max_tokens), max_tokens)
    }
}

/// Refuses texts whose recording would be too large, and says how long one may be; all are padded to the longest.
fn check_size(model: &Model, inputs: &[Input], n_more: usize) -> Result<(), End> {
    let longest = |length: fn(&Input) -> usize| inputs.iter().map(length).max().unwrap_or(0);
    let (n_source, n_target) = (longest(|input| input.source.len()), longest(|input| input.target.len()));
    let bytes = |part: f64| {
        let share = |n: usize| (n as f64 * part) as usize;
        model.recorded_bytes(share(n_source), share(n_target) + n_more).saturating_mul(inputs.len() as u64)
    };
    let needed = bytes(1.0);
    if needed <= MAX_RECORDED {
        return Ok(());
    }
    let (mut fits, mut is_too_much) = (0.0, 1.0);
    for _ in 0..20 {
        let middle = (fits + is_too_much) / 2.0;
        if bytes(middle) <= MAX_RECORDED { fits = middle } else { is_too_much = middle }
    }
    Err(End::Failed(format!(
        "{} {} tokens; recorded with {}, it would take {} MB of queries and keys, and {} MB may be taken: about {} tokens",
        if inputs.len() > 1 {
            format!("the text has {} sentences of up to", inputs.len())
        } else {
            "the text has".to_owned()
        },
        n_source.max(n_target),
        model.name(),
        needed >> 20,
        MAX_RECORDED >> 20,
        (n_source.max(n_target) as f64 * fits) as usize
    )))
}

/// The models in a folder: each of its folders that has a configuration, and each `.gguf` file.
pub fn models_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.take(10 * MAX_MODELS);
    let is_model = |path: &PathBuf| {
        let is_gguf = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf")) && path.is_file();
        is_gguf || path.join("config.json").is_file()
    };
    let mut models: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_model).collect();
    models.sort();
    models.truncate(MAX_MODELS);
    Ok(models)
}

/// Lets this thread wait wherever another wants to compute.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// The politest there is.
        const NICE: i32 = 19;
        // on Linux a thread has a priority of its own; one that cannot be lowered computes as others do
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
    }
}
