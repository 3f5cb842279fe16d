//! The `attlas` command.

mod arguments;
mod checks;
mod commands;
mod failure;
mod inputs;
mod measures;
mod progress;
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
use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::commands::{
    align, compare, completions, describe, draw, evaluate, export, film, heads, import, info, man, models, record,
    show, survey as survey_command, tokens, train,
};
use crate::failure::{Failure, Outcome};
use crate::signals::Watch;
use crate::terminal::Terminal;

fn main() -> ExitCode {
    match start() {
        Ok(outcome) => outcome.exit_code(),
        Err(Failure::ReaderLeft) => ExitCode::SUCCESS, // `attlas … | head` got what it wanted
        Err(failure) => {
            // nothing is left to do when standard error is closed too
            let _ = writeln!(stderr(), "attlas: {failure}");
            failure.exit_code()
        }
    }
}

/// Reads the command line and does what it says; help is printed and done.
fn start() -> Result<Outcome, Failure> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let arguments = match Arguments::read(&words) {
        Ok(arguments) => arguments,
        Err(error) => return wrong_call::help_or_failure(&error, &words),
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
        Some(Command::Align(align)) => align::run(&align, terminal),
        Some(Command::Export(export)) => export::run(&export, terminal),
        Some(Command::Import(import)) => import::run(&import, terminal),
        Some(Command::Info(info)) => info::run(&info, terminal),
        Some(Command::Describe(describe)) => describe::run(&describe, terminal),
        Some(Command::Survey(survey)) => survey_command::run(&survey, signals, terminal),
        Some(Command::Tokens(tokens)) => tokens::run(&tokens, terminal),
        Some(Command::Models(models)) => models::run(&models, terminal),
        Some(Command::Train(train)) => train::run(&train, arguments.threads, signals, terminal),
        Some(Command::Evaluate(evaluate)) => evaluate::run(&evaluate, terminal),
        Some(Command::Film(film)) => film::run(&film, terminal),
        Some(Command::Completions(completions)) => completions::run(&completions, Arguments::command(), terminal),
        Some(Command::Man(man)) => man::run(&man, Arguments::command(), terminal),
    }
}

impl Outcome {
    fn exit_code(self) -> ExitCode {
        match self {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::SomeSkipped | Outcome::ChecksFailed => ExitCode::from(1),
            Outcome::Stopped(signal) => ExitCode::from(128u8.saturating_add(signal.0)), // as a shell has it
        }
    }
}
