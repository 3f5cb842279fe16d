//! One file per command.

pub mod completions;
pub mod draw;
pub mod evaluate;
pub mod export;
pub mod film;
pub mod import;
pub mod info;
pub mod man;
pub mod models;
pub mod record;
pub mod show;
pub mod tokens;
pub mod train;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

/// Does what the command line says.
pub fn run(arguments: Arguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
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
        Some(Command::Completions(completions)) => completions::run(&completions, terminal),
        Some(Command::Man(man)) => man::run(&man, terminal),
    }
}

/// `3 layers`, `1 layer`.
pub fn counted(n: usize, singular: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {singular}{plural}")
}
