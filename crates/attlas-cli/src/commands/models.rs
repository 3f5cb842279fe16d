//! `attlas models`.

use std::io::Write;

use attlas_model::family::FAMILIES;
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

const EXAMPLES: &str = "\
Example:
  attlas models

Tested means: attention of every head, logits and generated text equal what transformers computes; each line says with what.
A model folder holds config.json, whose model_type names the family, model.safetensors, and a tokenizer.
Arrays of any other model come in through `attlas import`.";

/// `attlas models`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ModelsArguments {}

/// Prints the families.
pub fn run(_arguments: &ModelsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let longest = FAMILIES.iter().map(|family| family.name.len()).max().unwrap_or(0).max("family".len());
    writeln!(
        terminal,
        "{}",
        terminal.bold(&format!("{:<longest$}  what it is (model_type in config.json)", "family"))
    )?;
    for family in FAMILIES {
        writeln!(terminal, "{:<longest$}  {} ({})", family.name, family.about, family.model_types.join(", "))?;
        writeln!(terminal, "{:<longest$}    tested: {}", "", family.tested_in_words())?;
    }
    Ok(Outcome::Done)
}
