//! What can go wrong with a model, with the file, the field and the numbers.

use std::fmt;
use std::path::{Path, PathBuf};

use attlas::regular_file::Problem;

use crate::block::pass::Stopped;

/// An error of this crate; its text names the file, the field or tensor, what came and what was expected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what its name says, or the folder is no model.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected and what came.
        message: String,
    },
    /// A folder holds an adapter, which is no model without another one.
    #[error("{}: is no model but {about}; load that model and have the adapter added to it", path.display())]
    Adapter {
        /// The folder.
        path: PathBuf,
        /// What it is: kind, sizes, and of which model.
        about: String,
    },
    /// A value of the configuration is absent, of the wrong type or out of range.
    #[error("{}: {field} {message}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What was expected and what came.
        message: String,
    },
    /// A tensor is missing, superfluous, of the wrong shape or type, or not finite.
    #[error("{}: tensor {tensor} {message}", path.display())]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What was expected and what came.
        message: String,
    },
    /// A tensor and the configuration contradict each other.
    #[error("{}: tensor {tensor} {misfit}", path.display())]
    Misfit {
        /// The weights file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// How they do, and which fields of the configuration ask for what is not there.
        misfit: Box<Misfit>,
    },
    /// The model's family is not supported.
    #[error("{}: model_type {model_type:?} is not supported{}", path.display(), nearest_in_words(*nearest))]
    UnknownFamily {
        /// The configuration file.
        path: PathBuf,
        /// What the file says.
        model_type: String,
        /// A supported name that may have been meant.
        nearest: Option<&'static str>,
    },
    /// The text or the ids do not fit the model.
    #[error("{0}")]
    Input(String),
    /// One of several texts does not fit the model.
    #[error("text {index} has {problem}")]
    Text {
        /// Which one, as the caller counts them.
        index: usize,
        /// What it has, in words that go on with the sentence: `no source tokens`.
        problem: String,
    },
    /// A text was given to a model without a tokenizer.
    #[error("{0} has no tokenizer (tokenizer.json): give ids instead of text, or a tokenizer")]
    NoTokenizer(String),
    /// The model lacks what was asked of it.
    #[error("{0}")]
    Unsupported(String),
    /// A plan keeps or changes what is not there.
    #[error("{0}")]
    Plan(String),
    /// Heads are named that the model does not have.
    #[error("{0}")]
    NoHeads(String),
    /// The callback stopped the run.
    #[error("the run was stopped")]
    Stopped,
    /// A limit refuses the work; the message says which.
    #[error("{0}")]
    Limit(String),
    /// Maps could not be made of others.
    #[error(transparent)]
    Maps(attlas::Error),
}

/// How a tensor and the configuration contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What was found and what is asked for.
    pub clash: Clash,
    /// The configuration's file; empty where it is not known.
    pub config: String,
    /// Which fields ask for it, each with its value: `vocab_size is 1000`.
    pub reasons: Vec<String>,
}

/// What was found of a tensor, and what the configuration asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// Another shape.
    Shape {
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that is asked for.
        asked: Vec<usize>,
    },
    /// Nothing.
    Missing {
        /// The shape that is asked for.
        asked: Vec<usize>,
    },
    /// A tensor that is not asked for.
    Superfluous,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = if self.config.is_empty() { "the configuration" } else { &self.config };
        match &self.clash {
            Clash::Shape { found, asked } => write!(f, "has shape {found:?}, but {config} asks for {asked:?}")?,
            Clash::Missing { asked } => write!(f, "is missing; {config} asks for it with shape {asked:?}")?,
            Clash::Superfluous => {
                write!(f, "is not part of the model that {config} describes; do the two belong together?")?;
            }
        }
        match self.reasons.as_slice() {
            [] => Ok(()),
            reasons => write!(f, " ({})", reasons.join("; ")),
        }
    }
}

fn nearest_in_words(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; was {nearest:?} meant?"))
}

impl Error {
    pub(crate) fn regular_file(path: &Path, problem: Problem) -> Error {
        match problem {
            Problem::Io(source) => Error::Io { path: path.to_owned(), source },
            Problem::NotRegular => Error::file(path, problem.to_string()),
            Problem::TooLong { .. } | Problem::Grew { .. } => Error::Limit(format!("{}: {problem}", path.display())),
        }
    }

    pub(crate) fn file(path: &Path, message: impl Into<String>) -> Error {
        Error::File { path: path.to_owned(), message: brief(message) }
    }

    pub(crate) fn config(path: &Path, field: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Config { path: path.to_owned(), field: brief(field), message: brief(message) }
    }

    pub(crate) fn misfit(path: &Path, tensor: impl Into<String>, clash: Clash) -> Error {
        let misfit = Box::new(Misfit { clash, config: String::new(), reasons: Vec::new() });
        Error::Misfit { path: path.to_owned(), tensor: tensor.into(), misfit }
    }

    pub(crate) fn tensor(path: &Path, tensor: impl Into<String>, message: impl Into<String>) -> Error {
        Error::Tensor { path: path.to_owned(), tensor: brief(tensor), message: brief(message) }
    }
}

/// Words that may quote a file: one line, without its middle where it is longer than anyone reads.
pub(crate) fn brief(words: impl Into<String>) -> String {
    const MOST: usize = 800; // characters
    let line = words.into().trim_end().replace(['\n', '\r'], " ");
    let n_chars = line.chars().count();
    if n_chars <= MOST {
        return line;
    }
    let (start, end): (String, String) =
        (line.chars().take(MOST / 2).collect(), line.chars().skip(n_chars - MOST / 2).collect());
    format!("{start} … {end}")
}

impl From<attlas::Error> for Error {
    /// What a recording says of itself.
    fn from(error: attlas::Error) -> Error {
        Error::Input(error.to_string())
    }
}

impl From<Stopped> for Error {
    fn from(_: Stopped) -> Error {
        Error::Stopped
    }
}
