//! `attlas import MAPS.npz -o RUN.safetensors`.

use std::io::Write;
use std::path::PathBuf;

use attlas::Kind;
use attlas::arrays::{self, ImportOptions};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::inputs::{parse_kind, refuse_inputs};
use crate::terminal::{Terminal, printable, remark};

const EXAMPLES: &str = "\
Examples:
  attlas import maps.npz -o run.safetensors
  attlas import head.npy --kind cross --source-tokens \"The cat sat\" --target-tokens \"Le chat\" -o run.safetensors
  attlas import maps.npz --source-tokens '[\"New York\", \"is\", \"big\"]' -o run.safetensors

Arrays are named encoder, decoder_self and decoder_cross: [layers, heads, queries, keys], [heads, queries, keys] or
[queries, keys]; or encoder.0, encoder.1, … for a batch: [batch, heads, queries, keys]. Tokens may also stand in the
file, as source_tokens and target_tokens. What is no attention is refused with its layer, head, row and value.";

/// `attlas import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArguments {
    /// The arrays: .npz, .npy or .safetensors.
    #[arg(value_name = "MAPS")]
    pub maps: PathBuf,
    /// Tokens of the source, separated by spaces, or as a JSON list.
    #[arg(long, value_name = "TOKENS", value_parser = parse_labels)]
    pub source_tokens: Option<Labels>,
    /// Tokens of the target.
    #[arg(long, value_name = "TOKENS", value_parser = parse_labels)]
    pub target_tokens: Option<Labels>,
    /// The kind of arrays whose name does not say it: the only one of a file, or arr_0, arr_1, …
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Take rows that sum to more than 1 all the same; pictures say so.
    #[arg(long)]
    pub allow_unnormalised: bool,
    /// Bytes of arrays read at most.
    #[arg(long, value_name = "N", default_value_t = arrays::DEFAULT_MAX_BYTES)]
    pub max_bytes: u64,
    /// The recording to write.
    #[arg(short, long, value_name = "RUN.safetensors")]
    pub output: PathBuf,
}

/// Token labels of one axis.
#[derive(Debug, Clone)]
pub struct Labels(pub Vec<String>);

/// Reads labels separated by white space, or a JSON list of texts.
fn parse_labels(text: &str) -> Result<Labels, String> {
    if text.trim_start().starts_with('[') && text.trim_end().ends_with(']') && text.contains('"') {
        return serde_json::from_str(text).map(Labels).map_err(|error| format!("not a JSON list of texts: {error}"));
    }
    let labels: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if labels.is_empty() { Err("no token is given".into()) } else { Ok(Labels(labels)) }
}

/// Checks the arrays and writes the recording.
pub fn run(arguments: &ImportArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    refuse_inputs(&arguments.output, [arguments.maps.as_path()])?;
    let options = ImportOptions {
        kind: arguments.kind,
        source_tokens: arguments.source_tokens.clone().map(|labels| labels.0),
        target_tokens: arguments.target_tokens.clone().map(|labels| labels.0),
        allow_unnormalised: arguments.allow_unnormalised,
        origin: arguments.maps.display().to_string(),
    };
    let arrays = arrays::read(&arguments.maps, arguments.max_bytes)?;
    // the library knows the array, the command knows the file
    let in_file = |message: String| format!("{}: {message}", arguments.maps.display());
    let recording = arrays::import(arrays, &options).map_err(|error| match Failure::from(error) {
        Failure::Input(message) => Failure::Input(in_file(message)),
        Failure::Limit(message) => Failure::Limit(in_file(message)),
        other => other,
    })?;
    recording.save(&arguments.output)?;
    for note in &recording.provenance.remarks() {
        remark(note);
    }
    writeln!(
        terminal,
        "{}: {}",
        printable(&arguments.output.display().to_string()),
        super::record::contents(&recording)
    )?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_or_a_json_list() {
        assert_eq!(parse_labels("The cat").expect("words").0, ["The", "cat"]);
        assert_eq!(parse_labels("[CLS] cat [SEP]").expect("words").0, ["[CLS]", "cat", "[SEP]"]);
        assert_eq!(parse_labels("[\"New York\", \"is\"]").expect("a list").0, ["New York", "is"]);
        assert!(parse_labels("  ").is_err());
    }
}
