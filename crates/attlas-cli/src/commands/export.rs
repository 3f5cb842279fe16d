//! `attlas export RUN.safetensors -o OUT.npz`.

use std::io::Write;
use std::path::PathBuf;

use attlas::arrays::{self, Selection};
use attlas::recording::complaint;
use attlas::{Kind, Layer, Quantity, Recording};
use attlas_model::explain::quantities::Shown;
use clap::Args;

use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{Span, check_output, parse_kind, parse_span};
use crate::quantities::{Asked, parse_flow_tokens, parse_shown};
use crate::terminal::{Terminal, printable, remark};

const EXAMPLES: &str = "\
Examples:
  attlas export run.safetensors -o weights.npz
  attlas export run.safetensors --kind cross --layer 2 --head 0 -o L2H0.csv
  attlas export run.safetensors --kind encoder --rows 0:8 --columns 0:8 -o corner.json
  attlas export run.safetensors --quantity rollout -o rollout.npz

Arrays are named encoder, decoder_self and decoder_cross, of another quantity than weights encoder_rollout and so on. For one text
(--text N of a batch) each is [layers, heads, queries, keys]; for a batch there is one array per layer, encoder.0, …, of shape
[batch, heads, queries, keys]. In CSV an apostrophe stands before a token that a spreadsheet would take for a formula.";

/// `attlas export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExportArguments {
    /// The recording.
    #[arg(value_name = "RECORDING")]
    pub recording: PathBuf,
    /// What the maps are of: weight, another quantity that the recording keeps (`attlas record --quantity`), or rollout and flow, which
    /// its weights give.
    #[arg(long, value_name = "QUANTITY", default_value = "weight", value_parser = parse_shown())]
    pub quantity: Shown,
    /// The most tokens that flow is computed for; the time grows with the fourth power of their number.
    #[arg(long, value_name = "N", value_parser = parse_flow_tokens)]
    pub flow_tokens: Option<usize>,
    /// The file to write: .npz, .safetensors, .csv or .json.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// One kind of attention only.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// One text of a batch only, counted from 0.
    #[arg(long = "text", value_name = "N")]
    pub item: Option<usize>,
    /// One layer only, counted from 0.
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// One head only, counted from 0.
    #[arg(long, value_name = "N")]
    pub head: Option<usize>,
    /// Some queries only: 3:8 is 3 to 7.
    #[arg(long, value_name = "A:B", value_parser = parse_span)]
    pub rows: Option<Span>,
    /// Some keys only.
    #[arg(long, value_name = "A:B", value_parser = parse_span)]
    pub columns: Option<Span>,
    /// Bytes of maps written at most.
    #[arg(long, value_name = "N", default_value_t = arrays::DEFAULT_MAX_BYTES)]
    pub max_bytes: u64,
}

/// Writes the dense maps.
pub fn run(arguments: &ExportArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    arrays::Format::of(&arguments.output).map_err(|error| Failure::Usage(error.to_string()))?;
    check_output(&arguments.output, [arguments.recording.as_path()])?;
    let asked = Asked::one(arguments.quantity, arguments.kind, arguments.flow_tokens)?;
    let mut recording = Recording::open(&arguments.recording)?;
    asked.add_to_opened(&mut recording)?;
    let quantity = arguments.quantity.quantity();
    let end = |size: fn(&Layer) -> usize| {
        let chosen = recording.layers.iter().filter(|layer| arguments.kind.is_none_or(|kind| layer.kind == kind));
        chosen.map(size).max().unwrap_or(0)
    };
    let selection = Selection {
        quantity,
        kind: arguments.kind,
        item: arguments.item,
        layer: arguments.layer,
        head: arguments.head,
        rows: arguments.rows.as_ref().map(|span| span.range(end(|layer| layer.shape.n_queries))),
        columns: arguments.columns.as_ref().map(|span| span.range(end(|layer| layer.shape.n_keys))),
        max_bytes: arguments.max_bytes,
    };
    arrays::export(&recording, &selection, &arguments.output)?;
    say_not_written(&recording, quantity);
    writeln!(terminal, "{}", printable(&arguments.output.display().to_string()))?;
    let is_chosen = |layer: &Layer, head: usize| {
        let is_one = |asked: Option<usize>, this: usize| asked.is_none_or(|asked| asked == this);
        let is_kind = layer.quantity == quantity && arguments.kind.is_none_or(|kind| layer.kind == kind);
        is_kind && is_one(arguments.layer, layer.index) && is_one(arguments.head, head)
    };
    let items = arguments.item.map_or(0..recording.items.len(), |item| item..item + 1);
    let behind = checks::complaint_of_weights_behind(&recording, quantity, items.clone())?;
    let found = behind.or(complaint(&recording.check_heads(items, is_chosen)?));
    Ok(checks::outcome(found.as_deref()))
}

/// Says which other maps the recording keeps beside weights.
fn say_not_written(recording: &Recording, written: Quantity) {
    let is_kept = |quantity: &Quantity| {
        ![Quantity::Weight, written].contains(quantity) && !recording.kinds_in(*quantity).is_empty()
    };
    let kept: Vec<&str> = Quantity::ALL
        .into_iter()
        .filter(is_kept)
        .map(|quantity| quantity.words_in(&recording.provenance.notes))
        .collect();
    if !kept.is_empty() {
        let what = match written {
            Quantity::Weight => "weights are written",
            _ => "one quantity is written",
        };
        remark(&format!("{what}; the recording's maps of {} stay in it", kept.join(", ")));
    }
}
