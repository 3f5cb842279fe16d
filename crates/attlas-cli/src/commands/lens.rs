//! `attlas lens`: what the model would predict if it stopped after each layer.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas_model::explain::knock_out::Baseline;
use attlas_model::explain::lens::{Depth, Lens};
use attlas_survey::table::lens_table;
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::inputs::{ONE_TEXT, SubjectArguments, check_output, load_model, model_files, row_of};
use crate::table_file::{table_format, write_table};
use crate::terminal::{Terminal, clip, pad, print_json, printable, width};

const EXAMPLES: &str = "\
Examples:
  attlas lens \"The cat sat on the\" --model DIR               the last position, layer by layer
  attlas lens \"The cat sat on the\" --model DIR --all         every position
  attlas lens \"The cat sat on the\" --model DIR --target \" mat\" --json
  attlas lens \"The cat sat on the\" --model DIR --after-attention

The hidden states that enter a layer go through the final norm and the output matrix at once (the
logit lens, Nostalgebraist 2020). A model is trained to be read after its last layer alone: early
layers may write what the last one's terms do not show.";

/// `attlas lens`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("material", |arg| arg.help(ONE_TEXT)))]
pub struct LensArguments {
    #[command(flatten)]
    pub subject: SubjectArguments,
    /// The position whose output is read, counted from 0 [default: the last of a decoder, the masked one].
    #[arg(long, value_name = "N", conflicts_with = "all")]
    pub position: Option<usize>,
    /// Every position.
    #[arg(long)]
    pub all: bool,
    /// Read hidden states between attention and feed-forward, too.
    #[arg(long)]
    pub after_attention: bool,
    /// Tokens or classes whose probability is shown besides; repeat for several.
    #[arg(long, value_name = "TOKEN | CLASS")]
    pub target: Vec<String>,
    /// How many of the likeliest are shown.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub top: u8,
    /// The table (.parquet, .csv, .json) to write.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print an array of rows: layer, depth (entering or after_attention), position, rank, token, id, probability; rank 0 for a
    /// --target.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

/// Reads every layer's hidden states and says what they would predict.
pub fn run(arguments: &LensArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if let Some(output) = &arguments.output {
        table_format(output)?;
        let model = model_files(&arguments.subject.model);
        let text = arguments.subject.material.as_deref().map(Path::new);
        check_output(output, text.into_iter().chain(model.iter().map(PathBuf::as_path)))?;
    }
    let model = load_model(&arguments.subject.model)?;
    let (input, outcome) = arguments.subject.one_input(&model, "the lens reads one text")?;
    let baseline = Baseline::of(&model, &input)?;
    let rows = match arguments.all {
        true => baseline.unchanged.rows.clone(),
        false => vec![row_of(&model, &input, arguments.position, "--position, or --all")?],
    };
    let targets = arguments.target.iter().map(|name| model.target_named(name)).collect::<Result<Vec<u32>, _>>()?;
    let depths =
        if arguments.after_attention { &[Depth::Entering, Depth::AfterAttention][..] } else { &[Depth::Entering] };
    let lenses = baseline.lens(&rows, depths, usize::from(arguments.top), &targets)?;
    let table = lens_table(&model, &lenses, &targets);
    if let Some(output) = &arguments.output {
        write_table(output, &table)?;
    }
    match arguments.json {
        true => print_json(&table.json(), terminal)?,
        false => print(&baseline, &lenses, &targets, arguments, terminal)?,
    }
    Ok(outcome)
}

/// A table of layers for each position, the likeliest token first.
fn print(
    baseline: &Baseline<'_>,
    lenses: &[Lens],
    targets: &[u32],
    arguments: &LensArguments,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let model = baseline.model();
    let n_layers = baseline.n_layers();
    let tokens = model.predicted_at(&baseline.input);
    let mut positions: Vec<Option<usize>> = lenses.iter().map(|lens| lens.position).collect();
    positions.sort_unstable();
    positions.dedup();
    for position in positions {
        if let Some(position) = position {
            let token = tokens.tokens.get(position).map_or("", |token| token.text.as_str());
            writeln!(terminal, "{}", terminal.bold(&format!("position {position} (\"{}\")", printable(token.trim()))))?;
        }
        for lens in lenses.iter().filter(|lens| lens.position == position) {
            let name = match lens.depth {
                Depth::Entering if lens.layer == n_layers => "output".to_owned(),
                Depth::Entering => format!("before {}", lens.layer),
                Depth::AfterAttention => format!("within {}", lens.layer),
            };
            let shown = |id: u32, p: f64| format!("{} {p:.3}", printable(&model.target_text(position, id)));
            let top: Vec<String> = lens.top.iter().map(|(id, p)| pad(&clip(&shown(*id, *p), 18), 18)).collect();
            let asked: Vec<String> = targets.iter().zip(&lens.asked).map(|(id, p)| shown(*id, *p)).collect();
            let asked = if asked.is_empty() { String::new() } else { format!("  | {}", asked.join("  ")) };
            let room = terminal.width.saturating_sub(11 + width(&asked)).max(18);
            let n = (room / 19).clamp(1, top.len().max(1)).min(top.len());
            let line = format!("{name:<10} {}{asked}", top[..n].join(" "));
            writeln!(terminal, "{}", line.trim_end())?;
        }
    }
    let within = if arguments.after_attention { " (before), or lie behind its attention (within)" } else { "" };
    let legend = format!(
        "Hidden states that enter a layer{within}, read through the final norm and the output matrix at once: what is there in the last \
         layer's terms. Early layers may hold what those do not show."
    );
    terminal.notes([legend])?;
    if let Some(output) = &arguments.output {
        terminal.written(output)?;
    }
    Ok(())
}
