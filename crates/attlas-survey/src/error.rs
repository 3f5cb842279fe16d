//! What can go wrong in a survey, one sentence each.

use std::fmt::Display;
use std::path::{Path, PathBuf};

/// An error of this crate; its text says what was needed, what came and where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was expected and what came.
        problem: String,
    },
    /// The first JSON object of a corpus has no field of this name.
    #[error("{}, line {line}: there is no field \"{field}\", but {there_are}", path.display())]
    NoField {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The field that was asked for.
        field: String,
        /// The fields it has.
        there_are: String,
    },
    /// A Parquet file has no column of texts of this name.
    #[error("{}: has no column \"{column}\" of texts, but {there_are}", path.display())]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// The column that was asked for.
        column: String,
        /// The columns of texts it has.
        there_are: String,
    },
    /// A file of a corpus that is named twice.
    #[error("{} and {} are the same file; its texts would count twice", first.display(), again.display())]
    Twice {
        /// Its first name.
        first: PathBuf,
        /// The other one.
        again: PathBuf,
    },
    /// Two surveys that do not belong together.
    #[error("{name} {why} as {first}; surveys of one model merge")]
    Differs {
        /// The one that is to be taken in.
        name: String,
        /// What is other about it.
        why: String,
        /// The one that it differs from.
        first: String,
    },
    /// A survey that lacks texts that are still to be measured.
    #[error("{0} is a survey that is not done; what began it goes on with it")]
    Unfinished(String),
    /// A model of images or sounds.
    #[error("{0} reads no texts, and a corpus is made of texts")]
    ReadsNoTexts(String),
    /// Pairs for a model that has no use for their second sides.
    #[error("{pairs} has pairs, but {model} has no decoder and reads no targets")]
    ReadsNoTargets {
        /// The file, or the texts.
        pairs: String,
        /// The model's name.
        model: String,
    },
    /// A map cannot be read, or a file not be written.
    #[error(transparent)]
    Maps(#[from] attlas::Error),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] attlas_model::Error),
}

impl Error {
    /// A file that cannot be used.
    pub(crate) fn file(path: &Path, problem: impl Display) -> Error {
        Error::File { path: path.to_owned(), problem: problem.to_string() }
    }
}
