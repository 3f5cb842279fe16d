//! Standard output, and what it can show.

mod color;
mod heatmap;
mod label;
mod objects;

use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;

pub use color::{ColorChoice, ColorDepth};
pub use heatmap::draw_heatmap;
pub use label::{clip, pad, width, wrapped};
pub use objects::print_objects;

use serde::Serialize;

use crate::failure::Failure;
use crate::words::json_text;
pub use crate::words::printable;

/// The width taken where there is no terminal to ask.
const DEFAULT_WIDTH: usize = 80;

/// Standard output with what is known about it.
#[derive(Debug)]
pub struct Terminal {
    out: BufWriter<Stdout>,
    /// Cells per line.
    pub width: usize,
    /// How many colours may be used.
    pub colors: ColorDepth,
}

impl Terminal {
    /// Standard output as it is: its width, and its colours unless `choice` or `NO_COLOR` say otherwise.
    pub fn open(choice: ColorChoice) -> Terminal {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let colors = color::depth(choice, is_terminal, &variable);
        let asked = variable("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        let measured = || terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        let width = asked.or_else(measured).unwrap_or(DEFAULT_WIDTH).clamp(20, 1000);
        Terminal { out: BufWriter::new(stdout), width, colors }
    }

    /// Emphasises `text` where there are colours; `text` must be printable.
    pub fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// Makes `text` recede where there are colours.
    pub fn dim(&self, text: &str) -> String {
        self.styled("2", text)
    }

    /// Prints sentences that recede, each from a line of its own on and no wider than the terminal.
    ///
    /// # Errors
    /// [`Failure::Output`] when they cannot be written.
    pub fn notes<S: AsRef<str>>(&mut self, sentences: impl IntoIterator<Item = S>) -> Result<(), Failure> {
        for sentence in sentences {
            for line in wrapped(sentence.as_ref(), self.width) {
                let line = self.dim(&printable(&line));
                writeln!(self, "{line}")?;
            }
        }
        Ok(())
    }

    /// Prints the name of a file that was written.
    ///
    /// # Errors
    /// [`Failure::Output`] when it cannot be written.
    pub fn written(&mut self, path: &Path) -> Result<(), Failure> {
        let name = self.bold(&printable(&path.display().to_string()));
        Ok(writeln!(self, "{name}")?)
    }

    fn styled(&self, code: &str, text: &str) -> String {
        match self.colors {
            ColorDepth::None => text.to_owned(),
            _ => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Prints a value as JSON.
///
/// # Errors
/// [`Failure::Output`] when it cannot be written.
pub fn print_json(value: &impl Serialize, terminal: &mut Terminal) -> Result<(), Failure> {
    Ok(writeln!(terminal, "{}", json_text(value)?)?)
}

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line to standard error: a remark that is no error. Lost when standard error is closed.
pub fn remark(message: &str) {
    let _ = writeln!(io::stderr(), "attlas: {}", printable(message));
}
