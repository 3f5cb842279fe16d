//! The `attlas` command.

mod arguments;
mod commands;
mod failure;
mod inputs;
mod measures;
mod terminal;
mod view;

use std::io::{Write, stderr};
use std::process::ExitCode;

use crate::arguments::Arguments;
use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit()); // help is 0, wrong usage 2
    let result = Terminal::open(arguments.color).and_then(|mut terminal| {
        set_threads(arguments.threads)?;
        let outcome = commands::run(arguments, &mut terminal)?;
        terminal.flush()?;
        Ok(outcome)
    });
    match result {
        Ok(outcome) => outcome.exit_code(),
        Err(Failure::ReaderLeft) => ExitCode::SUCCESS, // `attlas … | head` got what it wanted
        Err(failure) => {
            // nothing is left to do when standard error is closed too
            let _ = writeln!(stderr(), "attlas: {failure}");
            failure.exit_code()
        }
    }
}

/// Limits the threads of everything that computes, when asked.
fn set_threads(threads: Option<usize>) -> Result<(), Failure> {
    let Some(n_threads) = threads else { return Ok(()) };
    rayon::ThreadPoolBuilder::new()
        .num_threads(n_threads)
        .build_global()
        .map_err(|error| Failure::Limit(format!("--threads {n_threads}: {error}")))
}

impl Outcome {
    fn exit_code(self) -> ExitCode {
        match self {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::SomeSkipped => ExitCode::from(1),
        }
    }
}
