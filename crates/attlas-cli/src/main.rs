//! The `attlas` command.

mod arguments;
mod commands;
mod failure;
mod inputs;
mod measures;
mod progress;
mod signals;
mod terminal;
mod threads;
mod view;
mod words;

use std::io::{Write, stderr};
use std::process::ExitCode;

use clap::CommandFactory;

use crate::arguments::{Arguments, Command};
use crate::commands::{
    completions, draw, evaluate, export, film, import, info, man, models, record, show, tokens, train,
};
use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

fn main() -> ExitCode {
    let arguments = Arguments::read(std::env::args_os()).unwrap_or_else(|error| error.exit()); // help is 0, wrong usage 2
    let result = Terminal::open(arguments.color).and_then(|mut terminal| {
        threads::start(arguments.threads)?;
        let outcome = run(arguments, &mut terminal)?;
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

/// Does what the command line says.
fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    match arguments.command {
        None => show::run(&arguments.show, terminal),
        Some(Command::Draw(draw)) => draw::run(&draw, terminal),
        Some(Command::Record(record)) => record::run(&record, terminal),
        Some(Command::Export(export)) => export::run(&export, terminal),
        Some(Command::Import(import)) => import::run(&import, terminal),
        Some(Command::Info(info)) => info::run(&info, terminal),
        Some(Command::Tokens(tokens)) => tokens::run(&tokens, terminal),
        Some(Command::Models(models)) => models::run(&models, terminal),
        Some(Command::Train(train)) => train::run(&train, arguments.threads, terminal),
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
            Outcome::SomeSkipped => ExitCode::from(1),
            Outcome::Stopped(signal) => ExitCode::from(128u8.saturating_add(signal.0)), // as a shell has it
        }
    }
}
