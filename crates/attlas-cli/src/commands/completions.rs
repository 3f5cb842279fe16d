//! `attlas completions SHELL`.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

const EXAMPLES: &str = "\
Examples:
  attlas completions bash > ~/.local/share/bash-completion/completions/attlas
  attlas completions zsh > ~/.zfunc/_attlas
  attlas completions fish > ~/.config/fish/completions/attlas.fish";

/// `attlas completions`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Prints the completion script.
pub fn run(
    arguments: &CompletionsArguments,
    mut attlas: clap::Command,
    terminal: &mut Terminal,
) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut attlas, "attlas", &mut script);
    terminal.write_all(&script)?;
    Ok(Outcome::Done)
}
