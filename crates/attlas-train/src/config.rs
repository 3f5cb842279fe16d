//! What a training run is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::architecture::Architecture;
use crate::data::BadLines;
use crate::optimizer::{Decay, Schedule};
use crate::variation::Variation;

/// When training ends and the learning rate reaches 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// After that many target tokens: the same result on any machine.
    Tokens(u64),
    /// After that many minutes of training, resumed runs added up: the result depends on the machine's speed.
    Minutes(f64),
}

/// Everything that decides the result of a run, besides the data. Stored in checkpoints; `--resume` needs the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// The sizes.
    pub architecture: Architecture,
    /// Target tokens per step.
    pub batch_tokens: usize,
    /// Target tokens that one thread works on at a time: less memory, better use of caches.
    pub part_tokens: usize,
    /// The end.
    pub budget: Budget,
    /// The learning rate.
    pub schedule: Schedule,
    /// Label smoothing ε, in `[0, 1)`.
    pub smoothing: f32,
    /// Share of values set to 0, in `[0, 1)`.
    pub dropout: f32,
    /// Largest norm of all gradients together; larger ones are scaled down to it.
    pub clip: f64,
    /// Decides first weights, order of the data, dropout and variations.
    pub seed: u64,
    /// Decay of the average of the weights, which is what is validated and kept; 0 keeps the weights themselves.
    pub average: f64,
    /// How the training text is varied; checkpoints of before have none.
    #[serde(default)]
    pub variation: Variation,
}

impl Default for Recipe {
    fn default() -> Recipe {
        Recipe {
            architecture: Architecture::default(),
            batch_tokens: 4096,
            part_tokens: 192,
            budget: Budget::Tokens(50_000_000),
            schedule: Schedule { peak: 1.5e-3, warm_up: 1000, decay: Decay::Cosine },
            smoothing: 0.1,
            dropout: 0.1,
            clip: 1.0,
            seed: 1,
            average: 0.999,
            variation: Variation::default(),
        }
    }
}

impl Recipe {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names it and its range.
    pub fn check(&self) -> Result<(), Error> {
        self.architecture.check()?;
        let unit = |name: &str, value: f64| {
            if (0.0..1.0).contains(&value) {
                return Ok(());
            }
            Err(Error::Setting(format!("{name} is {value}; it must be at least 0 and below 1")))
        };
        unit("label smoothing", f64::from(self.smoothing))?;
        unit("dropout", f64::from(self.dropout))?;
        unit("the average's decay", self.average)?;
        self.variation.check()?;
        let positive = |name: &str, value: f64| {
            if value > 0.0 && value.is_finite() {
                return Ok(());
            }
            Err(Error::Setting(format!("{name} is {value}; it must be above 0")))
        };
        positive("the learning rate", self.schedule.peak)?;
        positive("gradient clipping", self.clip)?;
        positive("tokens per batch", self.batch_tokens as f64)?;
        positive("tokens per part", self.part_tokens as f64)?;
        match self.budget {
            Budget::Tokens(tokens) => positive("the token budget", tokens as f64),
            Budget::Minutes(minutes) => positive("the time budget", minutes),
        }
    }
}

/// A training run: the recipe, the files and how often it reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What decides the result.
    pub recipe: Recipe,
    /// Sentence pairs to learn from.
    pub pairs: PathBuf,
    /// Sentence pairs to validate on.
    pub valid: PathBuf,
    /// The folder that gets `model.safetensors`, `config.json`, `tokenizer.json`, `checkpoint.safetensors`, `log.jsonl`.
    pub output: PathBuf,
    /// The tokenizer; learnt from `pairs` when there is none.
    pub tokenizer: Option<PathBuf>,
    /// Weights to begin with instead of random ones.
    pub init: Option<PathBuf>,
    /// Whether to go on from `output`'s checkpoint.
    pub resume: Resume,
    /// What to do with lines that are no pairs.
    pub bad_lines: BadLines,
    /// Threads; 1 makes runs repeat bit for bit.
    pub threads: usize,
    /// Steps between validations.
    pub validate_every: u64,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// Validations without a better loss after which training stops early.
    pub patience: Option<u64>,
    /// How many small checkpoints to keep for the film, at most [`MAX_FILM`].
    pub film: usize,
    /// A sentence that is translated at every validation.
    pub sample: String,
    /// The most memory that activations may take, in bytes.
    pub memory_limit: u64,
}

/// Whether a run goes on from a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Begin anew; an existing checkpoint is refused rather than overwritten.
    No,
    /// Go on from the checkpoint.
    Yes,
}

/// Moments of a film at most: their folders have names of three digits.
pub const MAX_FILM: usize = 1000;

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// [`Error::Setting`] names it and its range; [`Error::FilmTooLong`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.film > MAX_FILM {
            return Err(Error::FilmTooLong { asked: self.film, most: MAX_FILM });
        }
        self.recipe.check()
    }

    /// The defaults, for these files.
    pub fn new(pairs: PathBuf, valid: PathBuf, output: PathBuf) -> Config {
        Config {
            recipe: Recipe::default(),
            pairs,
            valid,
            output,
            tokenizer: None,
            init: None,
            resume: Resume::No,
            bad_lines: BadLines::Refuse,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            validate_every: 500,
            checkpoint_seconds: 300.0,
            patience: None,
            film: 0,
            sample: "The cat sat on the mat.".to_string(),
            memory_limit: 8 << 30,
        }
    }
}
