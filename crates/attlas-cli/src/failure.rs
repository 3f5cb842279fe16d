//! How a command ends: what went wrong in one sentence, and the exit code that says of which sort it is.

use std::fmt;
use std::io;

/// A command that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Done, but some items were left out; each was named on standard error.
    SomeSkipped,
    /// Done, but numbers that were made or shown fail their checks; which, was said on standard error.
    ChecksFailed,
    /// A signal asked for the end, and what was done so far is kept.
    Stopped(Signal),
}

impl Outcome {
    /// This end, or where all was done the other: how a command ends of which two things may be said.
    pub fn or(self, other: Outcome) -> Outcome {
        if self == Outcome::Done { other } else { self }
    }
}

/// The number of a signal: 2 for Ctrl-C, 15 for a request to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub u8);

/// A command that could not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Called wrongly: an option, a layer or a head that does not exist.
    Usage(String),
    /// A text, file or model that cannot be used.
    Input(String),
    /// A result that could not be written.
    Output(String),
    /// More than a limit allows; the message names the option that raises it.
    Limit(String),
    /// Whoever read the output has enough, as in `attlas … | head`.
    ReaderLeft,
}

impl Failure {
    /// 2 usage, 3 bad input, 4 output, 5 limit.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => 2,
            Failure::Input(_) => 3,
            Failure::Output(_) => 4,
            Failure::Limit(_) => 5,
            Failure::ReaderLeft => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) | Failure::Input(message) | Failure::Output(message) | Failure::Limit(message) => {
                f.write_str(&one_line(message))
            }
            Failure::ReaderLeft => f.write_str("the output was closed"),
        }
    }
}

/// The message without line breaks or control characters, which a file name or a token may bring in.
fn one_line(message: &str) -> String {
    crate::words::printable(message)
}

/// Failures while printing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
            _ => Failure::Output(format!("standard output: could not be written: {error}")),
        }
    }
}

/// An error of a library with the options or commands that help: a library's text knows neither.
fn with_hint(error: &dyn fmt::Display, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

impl From<attlas::Error> for Failure {
    fn from(error: attlas::Error) -> Failure {
        use attlas::arrays::Cause;
        use attlas::{Error, Remedy};
        let hint = match &error {
            Error::Limit { remedy: Remedy::DrawSmaller, .. } => Some("--width, --dpi"),
            Error::Limit { remedy: Remedy::ChooseFewer, .. } => {
                Some("--kind, --layer, --head, --rows, --columns; --max-bytes")
            }
            Error::Limit { remedy: Remedy::RaiseLimit, .. } => Some("--max-bytes"),
            Error::NoRecording { .. } => Some("`attlas import` does that"),
            Error::KindUnknown { .. } => Some("--kind says it"),
            Error::TooMany { what, .. } if what.starts_with("flow") => Some("--flow-tokens"),
            Error::NeedsWholeMap { .. } => Some("leave out --words and --special hide; --rows, --columns"),
            Error::PredictedUnknown => Some("--rows read"),
            Error::Placeless { .. } => Some("--words model, --tokens"),
            Error::NothingShown(_) => Some("--special show; --rows, --columns"),
            Error::Unnormalised { cause: Some(Cause::Swapped), .. } => {
                Some("--axes names the axes in their order: let queries and keys change places in it")
            }
            Error::Unnormalised { .. } => {
                Some("--allow-unnormalised takes it all the same, and says so on the picture")
            }
            _ => None,
        };
        let message = with_hint(&error, hint);
        match error {
            Error::Output { .. } => Failure::Output(message),
            Error::Limit { .. } | Error::TooMany { .. } => Failure::Limit(message),
            Error::NoKind { .. }
            | Error::NoLayer { .. }
            | Error::NoHead { .. }
            | Error::NoItem { .. }
            | Error::OutsideMap { .. }
            | Error::NeedsWholeMap { .. }
            | Error::NothingShown(_) => Failure::Usage(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<attlas_model::Error> for Failure {
    fn from(error: attlas_model::Error) -> Failure {
        use attlas_model::Error;
        let hint = match &error {
            Error::NoTokenizer(_) => Some(
                "`attlas record --target-ids …` (of a model with an encoder --source-ids …) takes ids; --tokenizer names a tokenizer",
            ),
            Error::Adapter { .. } => Some("--model BASE --adapter DIR"),
            Error::UnknownFamily { .. } => Some("maps computed elsewhere can be brought with `attlas import MAPS.npz`"),
            _ => None,
        };
        let message = with_hint(&error, hint);
        match error {
            Error::Maps(error) => error.into(),
            Error::Limit(_) => Failure::Limit(message),
            Error::Plan(_) | Error::NoHeads(_) => Failure::Usage(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<attlas_train::Error> for Failure {
    fn from(error: attlas_train::Error) -> Failure {
        use attlas_train::Error;
        let hint = match &error {
            // advice that would leave nothing is none
            Error::Pairs { n_bad, n_lines, .. } if n_bad < n_lines => Some("--skip-bad leaves them out"),
            Error::Diverged { .. } | Error::ValidationDiverged { .. } | Error::NotFinite { .. } => {
                Some("--learning-rate")
            }
            Error::AllTooLong { .. } => Some("--max-len"),
            Error::Memory { .. } => Some("--part-tokens, --max-len; --memory-limit"),
            Error::HasCheckpoint { .. } => Some("--resume goes on"),
            Error::NoCheckpoint { .. } => Some("without --resume"),
            Error::FilmTooLong { .. } => Some("--film"),
            Error::NoFilm { .. } => Some("train with --film 12"),
            _ => None,
        };
        let message = with_hint(&error, hint);
        match error {
            Error::Write { .. } | Error::FolderInUse { .. } => Failure::Output(message),
            Error::Limit(_) | Error::AllTooLong { .. } | Error::Memory { .. } | Error::FilmTooLong { .. } => {
                Failure::Limit(message)
            }
            Error::Setting(_) => Failure::Usage(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<attlas_survey::Error> for Failure {
    fn from(error: attlas_survey::Error) -> Failure {
        use attlas_survey::Error;
        match error {
            Error::Maps(error) => Failure::from(error),
            Error::Model(error) => Failure::from(error),
            Error::NoField { .. } => Failure::Input(with_hint(&error, Some("--field says which"))),
            Error::NoColumn { .. } => Failure::Input(with_hint(&error, Some("--column says which"))),
            Error::ReadsNoTargets { .. } => {
                Failure::Usage(with_hint(&error, Some("--format lines takes each line as a text")))
            }
            Error::Twice { .. } => Failure::Usage(error.to_string()),
            _ => Failure::Input(error.to_string()),
        }
    }
}

impl From<attlas_viewer::Error> for Failure {
    fn from(error: attlas_viewer::Error) -> Failure {
        use attlas_viewer::Error;
        let hint = match error {
            Error::TooLarge { .. } => "--max-page-mb",
            Error::MapTooLarge { .. } => "attlas draw overview",
            Error::Recording(error) => return Failure::from(error),
        };
        Failure::Limit(with_hint(&error, Some(hint)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_without_a_tokenizer_is_advised_with_the_command_that_takes_ids() {
        let failure = Failure::from(attlas_model::Error::NoTokenizer("tiny".into()));
        assert!(failure.to_string().contains("`attlas record --target-ids"), "{failure}");
    }
}
