//! The `attlas` command, as a library: whoever hands it the words of a command line gets the exit code.
//!
//! The program `attlas` is this and nothing else (`main.rs`); the Python package calls it, too.

mod arguments;
mod checks;
mod commands;
mod failure;
mod inputs;
mod measures;
mod pages;
mod progress;
mod quantities;
mod received;
mod signals;
mod survey_report;
mod table_file;
mod terminal;
mod threads;
mod trees;
mod view;
mod words;
mod wrong_call;

use std::ffi::OsString;
use std::io::{Write, stderr};
use std::path::PathBuf;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
#[cfg(not(all(feature = "train", feature = "serve")))]
use crate::commands::absent;
#[cfg(feature = "serve")]
use crate::commands::view as view_command;
use crate::commands::{
    ablate, align, check, circuits, compare, completions, describe, draw, evaluate, experts, explain, export, heads,
    import, info, lens, man, mixing, models, page, record, show, survey as survey_command, times, tokens, why,
};
#[cfg(feature = "train")]
use crate::commands::{film, train};
use crate::failure::{Failure, Outcome};
use crate::signals::Watch;
use crate::terminal::Terminal;

/// Does what a command line says and returns the exit code: 0 done; 1 done, but some items were left out or fail their
/// checks; 2 called wrongly; 3 bad input; 4 an output could not be written; 5 refused by a limit; 128 and the signal's number
/// when a signal asked for the end.
///
/// `words` begin with the program's own name. Prints to standard output and error, which are flushed when it returns. From
/// then on this process answers Ctrl-C and SIGTERM as the command does: half-written files go, and the process ends. The
/// threads that compute are started for the whole process, so a process does this once.
pub fn main_with(words: &[OsString]) -> u8 {
    match start(words) {
        Ok(outcome) => outcome.exit_code(),
        Err(Failure::ReaderLeft) => 0, // `attlas … | head` got what it wanted
        Err(failure) => {
            // nothing is left to do when standard error is closed too
            let _ = writeln!(stderr(), "attlas: {failure}");
            failure.exit_code()
        }
    }
}

/// The folder or file of a model by its name: a path that exists, else `ORG/NAME` in the hub's cache, else downloaded into it.
///
/// `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` are heeded; how far a download is, is said on standard error.
///
/// # Errors
/// A sentence that says why there is no such model, and how to get it.
pub fn model_named(name: &str, revision: Option<&str>) -> Result<PathBuf, String> {
    inputs::model_path(name, revision, false).map_err(|failure| failure.to_string())
}

/// Reads the command line and does what it says; help is printed and done.
fn start(words: &[OsString]) -> Result<Outcome, Failure> {
    let arguments = match Arguments::read(words) {
        Ok(arguments) => arguments,
        Err(error) => return wrong_call::help_or_failure(&error, words),
    };
    let mut terminal = Terminal::open(arguments.color);
    threads::start(arguments.threads)?;
    let outcome = run(arguments, &Watch::start(), &mut terminal)?;
    terminal.flush()?;
    Ok(outcome)
}

/// Does what the command line says.
fn run(arguments: Arguments, signals: &Watch, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    match arguments.command {
        None => show::run(&arguments.show, terminal),
        Some(Command::Draw(draw)) => draw::run(&draw, terminal),
        Some(Command::Compare(compare)) => compare::run(&compare, terminal),
        Some(Command::Record(record)) => record::run(&record, terminal),
        Some(Command::Heads(arguments)) => heads::run(&arguments, terminal),
        Some(Command::Explain(explain)) => explain::run(&explain, terminal),
        Some(Command::Ablate(ablate)) => ablate::run(&ablate, terminal),
        Some(Command::Check(check)) => check::run(&check, terminal),
        Some(Command::Lens(lens)) => lens::run(&lens, terminal),
        Some(Command::Align(align)) => align::run(&align, terminal),
        Some(Command::Times(arguments)) => times::run(&arguments, terminal),
        Some(Command::Why(arguments)) => why::run(&arguments, terminal),
        Some(Command::Circuits(arguments)) => circuits::run(&arguments, terminal),
        Some(Command::Mixing(arguments)) => mixing::run(&arguments, terminal),
        Some(Command::Experts(arguments)) => experts::run(&arguments, terminal),
        Some(Command::Export(export)) => export::run(&export, terminal),
        Some(Command::Import(import)) => import::run(&import, terminal),
        Some(Command::Info(info)) => info::run(&info, terminal),
        Some(Command::Page(page)) => page::run(&page, terminal),
        Some(Command::Describe(describe)) => describe::run(&describe, terminal),
        Some(Command::Survey(survey)) => survey_command::run(&survey, signals, terminal),
        Some(Command::Tokens(tokens)) => tokens::run(&tokens, terminal),
        Some(Command::Models(models)) => models::run(&models, terminal),
        #[cfg(not(feature = "train"))]
        Some(Command::Train(_)) => absent::run("train", "train"),
        #[cfg(not(feature = "train"))]
        Some(Command::Film(_)) => absent::run("film", "train"),
        #[cfg(feature = "train")]
        Some(Command::Train(train)) => train::run(&train, arguments.threads, signals, terminal),
        Some(Command::Evaluate(evaluate)) => evaluate::run(&evaluate, terminal),
        #[cfg(feature = "train")]
        Some(Command::Film(film)) => film::run(&film, terminal),
        #[cfg(feature = "serve")]
        Some(Command::View(view)) => view_command::run(&view, signals, terminal),
        #[cfg(not(feature = "serve"))]
        Some(Command::View(_)) => absent::run("view", "serve"),
        Some(Command::Completions(completions)) => completions::run(&completions, Arguments::command(), terminal),
        Some(Command::Man(man)) => man::run(&man, Arguments::command(), terminal),
    }
}

impl Outcome {
    fn exit_code(self) -> u8 {
        match self {
            Outcome::Done => 0,
            Outcome::SomeSkipped | Outcome::ChecksFailed => 1,
            Outcome::Stopped(signal) => 128u8.saturating_add(signal.0), // as a shell has it
        }
    }
}
