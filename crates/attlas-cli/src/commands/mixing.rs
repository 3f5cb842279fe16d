//! `attlas mixing TEXT`: how much of each token's state every layer mixes in from other tokens.

use std::io::Write;

use attlas::{Kind, Recording, Tokens};
use attlas_model::explain::{Mixing, Shares, mixing};
use attlas_survey::table::{mixing_table, row_tokens};
use clap::{Args, ValueEnum};

use crate::failure::{Failure, Outcome};
use crate::inputs::{ReadArguments, RunArguments, parse_kind, pick_kind, run_traced};
use crate::terminal::{Terminal, clip, pad, print_json, printable, width};

const EXAMPLES: &str = "\
Examples:
  attlas mixing \"She gave him a red apple.\" --kind encoder
  attlas mixing \"The cat sat.\" --model DIR --of attention
  attlas mixing \"The cat sat.\" --model DIR --json | jq .[0]";

/// `attlas mixing`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct MixingArguments {
    #[command(flatten)]
    pub read: ReadArguments,
    /// The kind of attention [default: cross, else decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Of what the ratio is.
    #[arg(long, value_enum, default_value_t = Of::Layernorm, value_name = "WHAT")]
    pub of: Of,
    /// Print one JSON array of {kind, layer, query, token, attention, residual, layer_norm}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Of what a mixing ratio is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// What attention adds, the token's own value preserved.
    Attention,
    /// That with the residual stream.
    Residual,
    /// That behind the layer norm, where one comes after the sublayer.
    Layernorm,
}

impl Of {
    fn share(self, shares: &Shares) -> f64 {
        match self {
            Of::Attention => shares.attention,
            Of::Residual => shares.residual,
            Of::Layernorm => shares.layer_norm,
        }
    }
}

/// Measures the ratios and prints them.
pub fn run(arguments: &MixingArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let (model, run) = run_traced(&arguments.read, &arguments.run)?;
    if let Some(kind) = arguments.kind.filter(|kind| model.heads().iter().all(|head| head.kind != *kind)) {
        return Err(Failure::Usage(format!("--kind {kind}: {} has {}", model.name(), model.heads_in_words())));
    }
    let kind = pick_kind(&run.recording, arguments.kind)?;
    let found = mixing(&model, &run, kind)?;
    match arguments.json {
        true => print_json(&mixing_table(&run.recording, &found).json(), terminal)?,
        false => print(&run.recording, kind, &found, arguments.of, terminal)?,
    }
    Ok(Outcome::Done)
}

fn token(names: Option<&Tokens>, query: usize) -> String {
    let token = names.and_then(|names| names.tokens.get(query));
    token.map_or(String::new(), |token| token.text.trim().to_owned())
}

fn print(recording: &Recording, kind: Kind, found: &[Mixing], of: Of, terminal: &mut Terminal) -> Result<(), Failure> {
    const LONGEST: usize = 16; // letters of a token
    let mut layers: Vec<usize> = found.iter().map(|one| one.layer).collect();
    layers.dedup();
    let n_queries = found.iter().map(|one| one.query + 1).max().unwrap_or(0);
    let names = row_tokens(recording, kind);
    let labels: Vec<String> = (0..n_queries).map(|query| clip(&printable(&token(names, query)), LONGEST)).collect();
    let wide = labels.iter().map(|label| width(label)).max().unwrap_or(0).max("mean".len());
    let heading = format!("{}: percent of a token's state that others bring", kind.title());
    writeln!(terminal, "{}", terminal.bold(&heading))?;
    let columns: String = layers.iter().map(|layer| format!("{:>5}", format!("L{layer}"))).collect();
    writeln!(terminal, "{}{columns}", pad("", wide))?;
    let percent = |share: f64| format!("{:>5.0}", 100.0 * share);
    let shares = |query: usize| found.iter().filter(move |one| one.query == query).map(|one| of.share(&one.mixing));
    for (query, label) in labels.iter().enumerate() {
        writeln!(terminal, "{}{}", pad(label, wide), shares(query).map(percent).collect::<String>())?;
    }
    let mean = |layer: &usize| {
        let of_layer: Vec<f64> =
            found.iter().filter(|one| one.layer == *layer).map(|one| of.share(&one.mixing)).collect();
        of_layer.iter().sum::<f64>() / of_layer.len().max(1) as f64
    };
    writeln!(terminal, "{}{}", pad("mean", wide), layers.iter().map(|layer| percent(mean(layer))).collect::<String>())?;
    let what = match of {
        Of::Attention => "attention alone",
        Of::Residual => "attention with the residual stream",
        Of::Layernorm => "attention with the residual stream, behind the layer norm where one follows",
    };
    let note = format!(
        "Lengths: mixed in ÷ (mixed in + preserved), of {what} (Kobayashi et al. 2021). A low number says that the layer's weights move \
         little of a token's state."
    );
    terminal.notes([note])
}
