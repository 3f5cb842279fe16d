//! How a command ends: what went wrong in one sentence, and the exit code that says of which sort it is.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// A command that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything asked for was done.
    Done,
    /// Done, but some items were left out; each was named on standard error.
    SomeSkipped,
}

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
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Usage(_) => ExitCode::from(2),
            Failure::Input(_) => ExitCode::from(3),
            Failure::Output(_) => ExitCode::from(4),
            Failure::Limit(_) => ExitCode::from(5),
            Failure::ReaderLeft => ExitCode::SUCCESS,
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
    crate::terminal::printable(message)
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

impl From<attlas::Error> for Failure {
    fn from(error: attlas::Error) -> Failure {
        use attlas::Error;
        let message = error.to_string();
        match error {
            Error::Output { .. } => Failure::Output(message),
            Error::Limit { .. } => Failure::Limit(message),
            Error::NoKind { .. }
            | Error::NoLayer { .. }
            | Error::NoHead { .. }
            | Error::NoItem { .. }
            | Error::NoRange { .. }
            | Error::NeedsWholeMap { .. } => Failure::Usage(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<attlas_model::Error> for Failure {
    fn from(error: attlas_model::Error) -> Failure {
        match error {
            attlas_model::Error::Limit(message) => Failure::Limit(message),
            other => Failure::Input(other.to_string()),
        }
    }
}

impl From<attlas_train::Error> for Failure {
    fn from(error: attlas_train::Error) -> Failure {
        use attlas_train::Error;
        let message = error.to_string();
        match error {
            Error::Write { .. } => Failure::Output(message),
            Error::Limit(_) => Failure::Limit(message),
            Error::Setting(_) => Failure::Usage(message),
            _ => Failure::Input(message),
        }
    }
}

impl From<attlas_viewer::Error> for Failure {
    fn from(error: attlas_viewer::Error) -> Failure {
        if error.is_limit() { Failure::Limit(error.to_string()) } else { Failure::Input(error.to_string()) }
    }
}
