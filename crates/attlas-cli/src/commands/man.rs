//! `attlas man [COMMAND]`.

use std::io::Write;

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

const EXAMPLES: &str = "\
Examples:
  attlas man > ~/.local/share/man/man1/attlas.1
  attlas man draw heads | man -l -";

/// `attlas man`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ManArguments {
    /// The command whose page is meant, such as: draw heads [default: attlas itself].
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Prints the page in roff.
pub fn run(arguments: &ManArguments, attlas: clap::Command, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let mut page = attlas;
    page.build();
    for name in &arguments.command {
        let found = page.find_subcommand(name).cloned();
        page =
            found.ok_or_else(|| Failure::Usage(format!("there is no command \"{name}\"; `attlas help` lists them")))?;
    }
    let name = page.get_bin_name().unwrap_or("attlas").replace(' ', "-");
    let mut roff = Vec::new();
    clap_mangen::Man::new(page.display_name(name.clone()).name(name)).render(&mut roff)?;
    terminal.write_all(&roff)?;
    Ok(Outcome::Done)
}
