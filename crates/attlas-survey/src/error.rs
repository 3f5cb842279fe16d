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
