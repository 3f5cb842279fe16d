//! `attlas describe RECORDING|TEXT`.

use std::io::Write;

use attlas::analysis::Annotations;
use attlas::analysis::describe::{CAPTION, Sentence, describe};
use attlas::recording::complaint;
use attlas::{Error, Item, Kind};
use clap::Args;

use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{RawText, RunArguments, parse_kind, pick_kind, run_of};
use crate::measures::{heads_of, measured_on, print_complaint};
use crate::terminal::{Terminal, print_json, printable, wrapped};

const EXAMPLES: &str = "\
Examples:
  attlas describe \"She gave him a red apple.\"
  attlas describe run.safetensors --kind cross
  attlas describe run.safetensors --text 2 --json | jq -r .[].sentence";

/// `attlas describe`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DescribeArguments {
    /// A recording's file, or a text to run a model on; - reads the text from standard input.
    #[arg(value_name = "RECORDING|TEXT")]
    pub input: RawText,
    #[command(flatten)]
    pub run: RunArguments,
    /// The text of a batch, counted from 0.
    #[arg(long = "text", id = "item", value_name = "N", default_value_t = 0)]
    pub item: usize,
    /// One kind of attention alone [default: every kind there is].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Print one JSON array of {sentence, kind, layer, head, measure, numbers}.
    #[arg(long)]
    pub json: bool,
}

/// Says what the heads do with a text.
pub fn run(arguments: &DescribeArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let run = run_of(&arguments.input, &arguments.run)?;
    let recording = &run.recording;
    let (item, n_items) = (arguments.item, recording.items.len());
    if item >= n_items {
        return Err(Error::NoItem { item, n_items }.into());
    }
    if arguments.kind.is_some() {
        pick_kind(recording, arguments.kind)?;
    }
    let complaint = complaint(&recording.check()?);
    run.say_notes();
    let mut heads = heads_of(recording, Some(item), &Annotations::NONE)?;
    heads.retain(|head| arguments.kind.is_none_or(|kind| head.kind == kind));
    let sentences = describe(recording, item, &heads)?;
    if arguments.json {
        print_json(&sentences, terminal)?;
        return Ok(checks::outcome(complaint.as_deref()));
    }
    print_texts(&recording.items[item], run.outputs.get(item), terminal)?;
    print_sentences(&sentences, terminal)?;
    terminal.notes([&format!("{}. {CAPTION}", measured_on(recording, Some(item)))])?;
    print_complaint(complaint.as_deref(), terminal)?;
    Ok(checks::outcome(complaint.as_deref()))
}

/// Prints the text that is described, as far as it is known, and what the model wrote or was given for it.
fn print_texts(item: &Item, output: Option<&String>, terminal: &mut Terminal) -> Result<(), Failure> {
    let texts = [&item.source.text, output.unwrap_or(&item.target.text)];
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        for line in wrapped(&printable(text), terminal.width) {
            writeln!(terminal, "{}", terminal.bold(&line))?;
        }
    }
    Ok(())
}

/// Prints each sentence on lines of its own; all but the first of them are set in.
pub fn print_sentences(sentences: &[Sentence], terminal: &mut Terminal) -> Result<(), Failure> {
    for sentence in sentences {
        for (index, line) in wrapped(&sentence.text, terminal.width.saturating_sub(2)).iter().enumerate() {
            writeln!(terminal, "{}{}", if index > 0 { "  " } else { "" }, printable(line))?;
        }
    }
    Ok(())
}
