//! Errors of the library as the exceptions of `attlas.errors`.

use attlas::Error;
use pyo3::prelude::*;

/// Which exception, by its name in `attlas.errors`.
#[derive(Debug, Clone, Copy)]
pub enum Class {
    /// What was given does not fit.
    Error,
    /// A file could not be read or written.
    File,
    /// A file or an array is not what it should be.
    Format,
    /// More than a limit allows.
    Limit,
    /// There is no such kind, layer, head or text.
    Missing,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Class::Error => "Error",
            Class::File => "FileError",
            Class::Format => "FormatError",
            Class::Limit => "LimitError",
            Class::Missing => "MissingError",
        }
    }
}

/// The exception of this class, with this sentence.
pub fn exception(class: Class, sentence: impl Into<String>) -> PyErr {
    let sentence = sentence.into();
    Python::attach(|py| {
        let class = py.import("attlas.errors").and_then(|errors| errors.getattr(class.name()));
        match class.and_then(|class| class.call1((sentence,))) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    })
}

/// A problem of the library as an exception.
pub trait Raise<T> {
    /// The value, or the exception that says why there is none.
    fn or_raise(self) -> PyResult<T>;
}

impl<T> Raise<T> for Result<T, Error> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| of_maps(&error))
    }
}

/// A problem of maps.
fn of_maps(error: &Error) -> PyErr {
    let class = match error {
        Error::Io { .. } | Error::Output { .. } => Class::File,
        Error::File { .. } | Error::NoRecording { .. } | Error::Inconsistent(_) => Class::Format,
        Error::BadWeights(_) | Error::KindUnknown { .. } | Error::Unnormalised { .. } => Class::Format,
        Error::Limit { .. } | Error::TooMany { .. } | Error::NeedsWholeMap { .. } => Class::Limit,
        Error::NoKind { .. } | Error::NoLayer { .. } | Error::NoHead { .. } | Error::NoItem { .. } => Class::Missing,
        Error::OutsideMap { .. } => Class::Missing,
        _ => Class::Error,
    };
    exception(class, error.to_string())
}

impl<T> Raise<T> for Result<T, attlas_model::Error> {
    fn or_raise(self) -> PyResult<T> {
        use attlas_model::Error;
        self.map_err(|error| {
            let class = match &error {
                Error::Maps(error) => return of_maps(error),
                Error::Io { .. } => Class::File,
                Error::File { .. } | Error::Config { .. } | Error::Tensor { .. } | Error::Misfit { .. } => {
                    Class::Format
                }
                Error::Limit(_) => Class::Limit,
                Error::NoHeads(_) => Class::Missing,
                _ => Class::Error,
            };
            exception(class, error.to_string())
        })
    }
}

impl<T> Raise<T> for Result<T, attlas_survey::Error> {
    fn or_raise(self) -> PyResult<T> {
        use attlas_survey::Error;
        let (class, sentence) = match self {
            Ok(value) => return Ok(value),
            Err(Error::Maps(error)) => return Err(error).or_raise(),
            Err(Error::Model(error)) => return Err(error).or_raise(),
            Err(error @ Error::File { .. }) => (Class::Format, error.to_string()),
            Err(error @ (Error::NoField { .. } | Error::NoColumn { .. })) => (Class::Missing, error.to_string()),
            Err(error) => (Class::Error, error.to_string()),
        };
        Err(exception(class, sentence))
    }
}

impl<T> Raise<T> for Result<T, attlas_viewer::Error> {
    fn or_raise(self) -> PyResult<T> {
        use attlas_viewer::Error;
        match self {
            Ok(value) => Ok(value),
            Err(Error::Recording(error)) => Err(error).or_raise(),
            Err(error) => Err(exception(Class::Limit, error.to_string())),
        }
    }
}
