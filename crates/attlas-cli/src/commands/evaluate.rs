//! `attlas evaluate`: how good a translator is, and whether its attention points at the right words.

use std::io::Write;
use std::path::PathBuf;

use attlas::analysis::alignment::ALIGNING_ROWS;
use attlas::{HeadId, RowTokens};
use attlas_train::alignment::Accuracy;
use attlas_train::data::BadLines;
use attlas_train::evaluate::{Evaluation, LONG, MAX_TOKENS, Options};
use clap::Args;

use super::pair_lines::{left_out_lines, say_wider_lines};
use crate::failure::{Failure, Outcome};
use crate::inputs::{ModelArguments, load_model, parse_beams};
use crate::terminal::{Terminal, print_json, printable, remark};
use crate::words::counted;

const EXAMPLES: &str = "\
Examples:
  attlas evaluate --pairs test.tsv                       the embedded translator
  attlas evaluate --pairs test.tsv --model translator --json

Loss, perplexity and token accuracy are those of the target given (teacher forcing), its end token included. BLEU and exact
matches are those of the translations (--beam) against every target that the file has for the same source. An unknown word of a
translation is in neither the training targets nor the source (target_words.filter of the model's folder). The alignment probe
looks at cross-attention, at each head and at each layer's mean: does the row of a French word have its largest weight at the
English word that a dictionary gives? A word has two rows: the one that predicts it, and the one that has read it (in JSON
predicting and shifted of a layer's mean, predicted and read of a head).";

/// `attlas evaluate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct EvaluateArguments {
    /// Sentence pairs: one a line, source, tab, target, UTF-8; further columns are left out.
    #[arg(long, value_name = "TSV")]
    pub pairs: PathBuf,
    #[command(flatten)]
    pub model: ModelArguments,
    /// Leave out lines that are no pairs, and count them, instead of refusing the file.
    #[arg(long)]
    pub skip_bad: bool,
    /// Translate by beam search with N beams; greedily with 1 [default: 5 for the embedded translator, 1 for other models].
    #[arg(long, value_name = "N", value_parser = parse_beams)]
    pub beam: Option<usize>,
    /// Tokens of a translation at most.
    #[arg(long, value_name = "N", default_value_t = MAX_TOKENS)]
    pub max_tokens: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Evaluates and prints the figures.
pub fn run(arguments: &EvaluateArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let model = load_model(&arguments.model)?;
    model.precision_note().into_iter().for_each(remark);
    let options = Options {
        bad_lines: if arguments.skip_bad { BadLines::Skip } else { BadLines::Refuse },
        decoding: model.generating(arguments.beam, arguments.max_tokens),
    };
    let evaluation = attlas_train::evaluate(&model, &arguments.pairs, options, &mut |_| {})?;
    if arguments.json {
        print_json(&evaluation, terminal)?;
    } else {
        print(&evaluation, terminal)?;
    }
    say_wider_lines(evaluation.n_wider);
    if evaluation.n_bad > 0 {
        remark(&format!("{}: {}", arguments.pairs.display(), left_out_lines(evaluation.n_bad)));
        return Ok(Outcome::SomeSkipped);
    }
    Ok(Outcome::Done)
}

fn print(evaluation: &Evaluation, terminal: &mut Terminal) -> Result<(), Failure> {
    let long = evaluation
        .bleu_long
        .map_or("–".to_owned(), |bleu| format!("{bleu:.1}  ({})", counted(evaluation.n_long_sources, "source")));
    let lines = [
        ("pairs", evaluation.n_pairs.to_string()),
        ("target tokens", evaluation.n_tokens.to_string()),
        ("loss", format!("{:.4} nats per token", evaluation.loss_per_token)),
        ("perplexity", format!("{:.3}", evaluation.perplexity)),
        ("token accuracy", percent(evaluation.token_accuracy)),
        ("BLEU", format!("{:.1}  ({})", evaluation.bleu, printable(evaluation.bleu_signature))),
        (&*format!("BLEU, {LONG}+ words"), long),
        ("exact translations", percent(evaluation.exact)),
    ];
    let of_words = evaluation.with_unknown_word.map(|share| ("with unknown word", percent(share)));
    let of_loops = (evaluation.cut > 0.0).then(|| ("cut at a loop", percent(evaluation.cut)));
    for (name, value) in lines.into_iter().chain(of_words).chain(of_loops) {
        writeln!(terminal, "{name:<20}{value}")?;
    }
    print_probe(&evaluation.alignment_accuracy, terminal)
}

/// Heads of the table; the others are in the JSON.
const MOST_HEADS: usize = 12;

/// The alignment probe: each layer's mean, the best heads in the better of their two rows, and the diagonal.
fn print_probe(accuracy: &Accuracy, terminal: &mut Terminal) -> Result<(), Failure> {
    let heading = format!("alignment probe, {}", counted(accuracy.n_cases, "case"));
    writeln!(
        terminal,
        "\n{}",
        terminal.bold(&format!("{heading:<32}{:>18}{:>20}", "row that predicts", "row that has read"))
    )?;
    let row = |name: &str, shares: [Option<f64>; 2]| {
        let [predicting, shifted] = shares.map(|share| share.map_or("–".to_owned(), percent));
        format!("{name:<32}{predicting:>18}{shifted:>20}")
    };
    for (layer, shares) in accuracy.layers.iter().enumerate() {
        let name = format!("cross-attention L{layer}, mean");
        writeln!(terminal, "{}", row(&name, [shares.predicting, shares.shifted]))?;
    }
    writeln!(terminal, "{}", row("diagonal (baseline)", [accuracy.diagonal; 2]))?;
    let mut heads: Vec<HeadId> = Vec::new(); // the better of its two rows places a head
    for score in &accuracy.heads {
        if !heads.contains(&score.id()) {
            heads.push(score.id());
        }
    }
    let share = |id: HeadId, rows: RowTokens| {
        accuracy.heads.iter().find(|score| score.id() == id && score.rows == rows).and_then(|score| score.score)
    };
    let n_more = heads.len().saturating_sub(MOST_HEADS);
    for id in heads.into_iter().take(MOST_HEADS) {
        writeln!(terminal, "{}", row(&id.to_string(), ALIGNING_ROWS.map(|rows| share(id, rows))))?;
    }
    if n_more > 0 {
        writeln!(terminal, "{}", terminal.dim(&format!("and {}; --json has all", counted(n_more, "more head"))))?;
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
