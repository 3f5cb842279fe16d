//! `attlas models`.

use std::io::Write;

use attlas_model::family::FAMILIES;
use clap::Args;
use serde::Serialize;

use crate::failure::{Failure, Outcome};
use crate::terminal::{Terminal, print_json};

const EXAMPLES: &str = "\
Examples:
  attlas models
  attlas models --json

Tested means: attention of every head, logits and generated text equal what transformers computes; each line says with what.
A model folder holds config.json, whose model_type names the family, model.safetensors, and a tokenizer.
Arrays of any other model come in through `attlas import`.";

/// `attlas models`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ModelsArguments {
    /// Print one JSON array of {family, model_types, about, tested}.
    #[arg(long)]
    pub json: bool,
}

/// A family as JSON.
#[derive(Serialize)]
struct Row {
    family: &'static str,
    model_types: &'static [&'static str],
    about: &'static str,
    tested: String,
}

/// Prints the families.
pub fn run(arguments: &ModelsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.json {
        let rows = FAMILIES.iter().map(|family| Row {
            family: family.name,
            model_types: family.model_types,
            about: family.about,
            tested: family.tested_in_words(),
        });
        print_json(&rows.collect::<Vec<_>>(), terminal)?;
        return Ok(Outcome::Done);
    }
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
