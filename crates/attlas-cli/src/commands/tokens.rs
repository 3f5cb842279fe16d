//! `attlas tokens TEXT`.

use std::io::Write;

use attlas::{TokenRole, Tokens};
use attlas_model::Side;
use clap::{Args, ValueEnum};

use crate::failure::{Failure, Outcome};
use crate::inputs::RawText;
use crate::inputs::{ModelArguments, load_model, read_text};
use crate::terminal::{Terminal, print_json, printable, remark};

const EXAMPLES: &str = "\
Examples:
  attlas tokens \"The cat sat on the mat.\"
  attlas tokens \"Le chat dort.\" --side target
  attlas tokens \"Hello\" --model DIR --json | jq .tokens[].id";

/// `attlas tokens`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TokensArguments {
    /// The text; - reads it from standard input.
    #[arg(value_name = "TEXT")]
    pub text: RawText,
    #[command(flatten)]
    pub model: ModelArguments,
    /// As the encoder reads it, or as the decoder does [default: source, or target for decoder-only models].
    #[arg(long, value_enum)]
    pub side: Option<SideArgument>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `--side`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SideArgument {
    /// The encoder's.
    Source,
    /// The decoder's.
    Target,
}

/// Prints the tokens of a text.
pub fn run(arguments: &TokensArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let text = read_text(&arguments.text, "TEXT")?;
    let model = load_model(&arguments.model)?;
    let default = if model.has(Side::Source) { SideArgument::Source } else { SideArgument::Target };
    let tokens = match arguments.side.unwrap_or(default) {
        SideArgument::Source => {
            model.note_on_capitals(&text).iter().for_each(|note| remark(note));
            model.source_tokens(&text)?
        }
        SideArgument::Target => model.target_tokens(&text)?,
    };
    if arguments.json {
        print_json(&tokens, terminal)?;
    } else {
        print_table(&tokens, terminal)?;
    }
    Ok(Outcome::Done)
}

fn print_table(tokens: &Tokens, terminal: &mut Terminal) -> Result<(), Failure> {
    let header = format!("{:>5}  {:>7}  {:<9}  {:<9}  {}", "place", "id", "bytes", "word", "text");
    writeln!(terminal, "{}", terminal.bold(&header))?;
    for (place, token) in tokens.tokens.iter().enumerate() {
        let id = token.id.map_or_else(|| "–".to_owned(), |id| id.to_string());
        let span = token.span.as_ref().map_or_else(|| "–".to_owned(), |span| format!("{}–{}", span.start, span.end));
        let word = match (token.role, token.word) {
            (TokenRole::Special, _) => "special".to_owned(),
            (TokenRole::Padding, _) => "padding".to_owned(),
            (TokenRole::Text, word) => word.map_or_else(|| "–".to_owned(), |word| word.to_string()),
        };
        writeln!(terminal, "{place:>5}  {id:>7}  {span:<9}  {word:<9}  {}", printable(&token.text))?;
    }
    Ok(())
}
