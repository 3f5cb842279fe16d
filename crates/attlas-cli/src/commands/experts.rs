//! `attlas experts TEXT`: which experts each token goes through, layer by layer.

use std::io::Write;

use attlas::recording::TokenExpert;
use attlas::{Kind, Recording};
use attlas_survey::table::experts_table;
use clap::Args;

use super::counted;
use crate::failure::{Failure, Outcome};
use crate::inputs::{Material, ReadArguments, RunArguments, run_ids, run_of};
use crate::terminal::{Terminal, clip, pad, print_json, printable, width};

const EXAMPLES: &str = "\
Examples:
  attlas experts \"The cat sat on the mat.\" --model DIR
  attlas experts \"The cat sat.\" --model DIR --layer 3 --json | jq .[0]
  attlas record \"The cat sat.\" --model DIR --router -o run.safetensors
  attlas experts run.safetensors";

/// `attlas experts`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("text", |arg| arg.help("The text to run the model on, - for standard input, or a recording that keeps the router")))]
pub struct ExpertsArguments {
    #[command(flatten)]
    pub read: ReadArguments,
    /// The text of a recording of several, counted from 0.
    #[arg(long = "text", id = "item", value_name = "N", default_value_t = 0)]
    pub item: usize,
    /// The layer [default: all that have experts].
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// Print one JSON array of {kind, layer, query, token, expert, share}.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Runs the model, or reads the recording, and prints the experts.
pub fn run(arguments: &ExpertsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let ExpertsArguments { read, run: options, .. } = arguments;
    let options = RunArguments { router: true, ..options.clone() };
    let run = match &read.text {
        Some(raw) => run_of(raw, &options)?,
        None => run_ids(read.source_ids.as_slice(), read.target_ids.as_slice(), &options)?,
    };
    run.say_notes();
    let recording = run.recording;
    let mut found = recording.experts(arguments.item)?;
    found.extend(run.experts.iter().filter(|(item, _)| *item == arguments.item).map(|(_, one)| one));
    found.retain(|one| arguments.layer.is_none_or(|layer| one.layer == layer));
    found.sort_by_key(|one| (one.kind, one.layer)); // tokens of a layer stay in order
    if found.is_empty() {
        return Err(nothing(arguments)?);
    }
    match arguments.json {
        true => print_json(&experts_table(&recording, arguments.item, &found).json(), terminal)?,
        false => print(&recording, arguments.item, &found, terminal)?,
    }
    Ok(Outcome::Done)
}

/// Why there is nothing to print.
fn nothing(arguments: &ExpertsArguments) -> Result<Failure, Failure> {
    let of_layer = arguments.layer.map_or(String::new(), |layer| format!(" of layer {layer}"));
    let material = arguments.read.text.as_deref().map(Material::read).transpose()?;
    Ok(Failure::Input(match material {
        Some(Material::Recording(path)) => format!(
            "{}: no experts{of_layer} are recorded; `attlas record --router` keeps those of a mixture",
            printable(&path.display().to_string())
        ),
        _ => format!("the model has no experts{of_layer}: its tokens all go the same way there"),
    }))
}

/// One table for each kind: tokens by layers, as many of these side by side as there is room for.
fn print(recording: &Recording, item: usize, found: &[TokenExpert], terminal: &mut Terminal) -> Result<(), Failure> {
    for kind in Kind::ALL {
        let of_kind: Vec<&TokenExpert> = found.iter().filter(|one| one.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let heading = format!("{kind}: the experts that each token goes through, and their shares in percent");
        writeln!(terminal, "{}", terminal.bold(&heading))?;
        Columns::of(recording, item, kind, &of_kind).print(terminal)?;
    }
    terminal.notes([
        "A share is what the router gives an expert's output in the token's feed-forward; where a model says so they are of all experts, \
         and need not sum to 100. An expert that every token goes through is not listed.",
    ])
}

/// A table of one kind.
struct Columns {
    labels: Vec<String>,
    layers: Vec<(String, Vec<String>)>,
}

impl Columns {
    fn of(recording: &Recording, item: usize, kind: Kind, found: &[&TokenExpert]) -> Columns {
        const LONGEST: usize = 16; // letters of a token
        let mut layers: Vec<usize> = found.iter().map(|one| one.layer).collect();
        layers.dedup();
        let n = found.iter().map(|one| one.query + 1).max().unwrap_or(0);
        let tokens = recording.items.get(item).map(|item| item.queries(kind).tokens.as_slice()).unwrap_or_default();
        let label = |query: usize| tokens.get(query).map_or(String::new(), |token| printable(token.text.trim()));
        let cell = |layer: usize, query: usize| {
            let own = found.iter().filter(|one| (one.layer, one.query) == (layer, query));
            let words = own.map(|one| format!("{}:{:.0}", one.expert, 100.0 * one.share));
            words.collect::<Vec<_>>().join(" ")
        };
        let column = |layer: usize| {
            let mut cells: Vec<String> = (0..n).map(|query| cell(layer, query)).collect();
            let mut used: Vec<usize> = found.iter().filter(|one| one.layer == layer).map(|one| one.expert).collect();
            used.sort_unstable();
            used.dedup();
            cells.push(counted(used.len(), "expert"));
            (format!("L{layer}"), cells)
        };
        let mut labels: Vec<String> = (0..n).map(|query| clip(&label(query), LONGEST)).collect();
        labels.push("all".to_owned());
        Columns { labels, layers: layers.into_iter().map(column).collect() }
    }

    fn print(&self, terminal: &mut Terminal) -> Result<(), Failure> {
        let wide = self.labels.iter().map(|label| width(label)).max().unwrap_or(0);
        let widths: Vec<usize> = self
            .layers
            .iter()
            .map(|(name, cells)| cells.iter().chain([name]).map(|cell| width(cell)).max().unwrap_or(0))
            .collect();
        let mut start = 0;
        while start < self.layers.len() {
            let mut end = start + 1;
            let room = |end: usize| wide + widths[start..end].iter().map(|width| width + 2).sum::<usize>();
            while end < self.layers.len() && room(end + 1) <= terminal.width {
                end += 1;
            }
            let line = |label: &str, cell: &dyn Fn(usize) -> String| {
                let cells: String =
                    (start..end).map(|layer| format!("  {}", pad(&cell(layer), widths[layer]))).collect();
                format!("{}{cells}", pad(label, wide)).trim_end().to_owned()
            };
            writeln!(terminal, "{}", line("", &|layer| self.layers[layer].0.clone()))?;
            for (row, label) in self.labels.iter().enumerate() {
                writeln!(terminal, "{}", line(label, &|layer| self.layers[layer].1[row].clone()))?;
            }
            start = end;
        }
        Ok(())
    }
}
