//! `attlas draw received`: what each token and each span of tokens receives, as a table, JSON or a picture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use attlas::Kind;
use attlas::analysis::{Question, Received};
use attlas::figure::PanelScale;
use clap::Args;
use rayon::prelude::*;

use super::draw::{StyleArguments, format_of, write_figure};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    NamedSpan, RawText, RunArguments, Span, check_output, model_files, parse_kind, parse_named_span, parse_span,
    pick_kind, pick_layer, recording_of,
};
use crate::progress::Progress;
use crate::received::{OfText, figure, no_two_alike, print_json, print_table, spans_of};
use crate::terminal::{Terminal, printable, remark};
use crate::view::Special;

pub const EXAMPLES: &str = "\
Examples:
  attlas draw received \"The cat sat on the mat.\" --kind encoder                     a table, layer by layer
  attlas draw received run.safetensors --span system=0:12 --span 12: -o received.svg
  attlas draw received run.safetensors --layer 1 --head 0 --span 0:4 --json

Every query is read. Beside what is named with --span stand the special tokens, the patches of an image, and the turns of a
chat whose marks are tokens (<|im_start|>, <|start_header_id|>, <start_of_turn>, [INST], …): system, user 1, assistant 1.";

/// What `attlas draw received` takes.
#[derive(Debug, Args)]
pub struct ReceivedArguments {
    /// A recording (a file, or a name that ends in .safetensors), a text, or - for a text from standard input; an image or
    /// a sound for a model that reads such.
    #[arg(value_name = "RECORDING | TEXT")]
    pub material: RawText,
    /// The picture to write: .svg, .pdf or .png [default: none; the numbers are printed as a table].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print the numbers as a JSON array of rows, one for each map and token or span.
    #[arg(long)]
    pub json: bool,
    /// The attention [default: cross, else decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// One layer, counted from 0 [default: every layer].
    #[arg(long, value_name = "N")]
    pub layer: Option<usize>,
    /// The head of each layer, counted from 0; "mean" for all heads of a layer together, "each" for each of them.
    #[arg(long, value_name = "N", default_value = "mean", value_parser = parse_heads)]
    pub head: Heads,
    /// Tokens whose share is wanted together, by position: 0:4 for 0 to 3, counted from 0, padding left out; system=0:12 names
    /// them. Repeat for several, which may overlap.
    #[arg(long = "span", value_name = "[NAME=]A:B", value_parser = parse_named_span)]
    pub spans: Vec<NamedSpan>,
    /// Only what these queries look at, by position, as --span [default: all].
    #[arg(long, value_name = "A:B", value_parser = parse_span)]
    pub rows: Option<Span>,
    /// One text of a batch, counted from 0 [default: of a picture 0, else every text by itself].
    #[arg(long = "text", value_name = "N")]
    pub item: Option<usize>,
    /// The silence that a model adds after a short sound, in the picture; what it receives is said in either case.
    #[arg(long, value_enum, default_value_t = Special::Hide, value_name = "HOW")]
    pub silence: Special,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// The heads of a layer that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// One.
    One(usize),
    /// All of them, averaged.
    Mean,
    /// All of them, each by itself.
    Each,
}

fn parse_heads(text: &str) -> Result<Heads, String> {
    match text {
        "mean" => Ok(Heads::Mean),
        "each" => Ok(Heads::Each),
        _ => text.parse().map(Heads::One).map_err(|_| "a head's number, counted from 0, \"mean\" or \"each\"".into()),
    }
}

/// Measures, then prints or draws.
pub fn run(arguments: &ReceivedArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    no_two_alike(&arguments.spans)?;
    match (arguments.style.first_given(), &arguments.output) {
        (Some(option), None) => {
            return Err(Failure::Usage(format!("{option} is for a picture, but none is asked for: -o FILE.svg")));
        }
        _ if arguments.style.panel_scale != PanelScale::default() => {
            remark("--panel-scale does nothing here: the picture has one strip");
        }
        _ => {}
    }
    let format = arguments.output.as_deref().map(format_of).transpose()?;
    if let Some((format, path)) = format.zip(arguments.output.as_deref()) {
        arguments.style.check(format, path)?;
    }
    if let Some(output) = &arguments.output {
        let model = model_files(&arguments.run.model);
        check_output(output, [Path::new(&arguments.material)].into_iter().chain(model.iter().map(PathBuf::as_path)))?;
    }
    let recording = recording_of(&arguments.material, &arguments.run)?;
    recording.provenance.remarks().iter().for_each(|text| remark(text));
    let kind = pick_kind(&recording, arguments.kind)?;
    let items = match (arguments.item, &arguments.output) {
        (Some(item), _) => item..item.saturating_add(1),
        (None, Some(_)) => 0..1,
        (None, None) => 0..recording.items.len(),
    };
    let texts =
        items.map(|item| measured(&recording, kind, item, arguments)).collect::<Result<Vec<OfText<'_>>, _>>()?;
    texts.iter().filter_map(OfText::untold_turns).for_each(|text| remark(&text));
    if let (Some(format), Some(output), [text]) = (format, &arguments.output, texts.as_slice()) {
        write_figure(format, &figure(text, &arguments.style, arguments.silence)?, output)?;
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    match (arguments.json, &arguments.output) {
        (true, _) => print_json(&texts, terminal)?,
        (false, None) => print_table(&texts, terminal)?,
        (false, Some(_)) => {}
    }
    Ok(checks::outcome(texts.iter().find_map(OfText::complaint).as_deref()))
}

/// What the tokens of one text receive in every map that was asked for.
fn measured<'a>(
    recording: &'a attlas::Recording,
    kind: Kind,
    item: usize,
    arguments: &ReceivedArguments,
) -> Result<OfText<'a>, Failure> {
    let n_items = recording.items.len();
    let tokens = recording.items.get(item).ok_or(attlas::Error::NoItem { item, n_items })?;
    let layers = match arguments.layer {
        Some(layer) => vec![recording.layer(kind, pick_layer(recording, kind, Some(layer))?)?],
        None => recording.layers_of(kind).collect(),
    };
    let first = recording.layer(kind, layers.first().map_or(0, |layer| layer.index))?;
    let has_other_keys =
        |layer: &&attlas::Layer| (layer.shape.n_keys, &layer.key_axis) != (first.shape.n_keys, &first.key_axis);
    if let Some(other) = layers.iter().copied().find(has_other_keys) {
        let (one, other) = (first.index, other.index);
        return Err(Failure::Usage(format!("layers {one} and {other} have other keys; choose one with --layer")));
    }
    let spans = spans_of(&arguments.spans, tokens, first, (n_items > 1).then_some(item))?;
    let n_queries = first.query_tokens(tokens).unpadded(first.shape.n_queries).len();
    let queries = arguments.rows.as_ref().map(|rows| rows.range(n_queries));
    let first_query = queries.as_ref().map_or(0, |queries| queries.start);
    let question = Question { item, spans: &spans, n_by_row: arguments.spans.len(), queries };
    let heads = |n_heads: usize| match arguments.head {
        Heads::One(head) => vec![Some(head)],
        Heads::Mean => vec![None],
        Heads::Each => (0..n_heads).map(Some).collect(),
    };
    let maps: Vec<_> = layers
        .iter()
        .flat_map(|layer| heads(layer.shape.n_heads).into_iter().map(move |head| (*layer, head)))
        .collect();
    let progress = Mutex::new(Progress::new("map", maps.len()));
    let of_map = |(layer, head): &(&attlas::Layer, Option<usize>)| {
        let received = Received::of(recording, layer, *head, &question);
        progress.lock().unwrap_or_else(PoisonError::into_inner).step();
        received
    };
    let maps = maps.par_iter().map(of_map).collect::<Result<Vec<Received>, _>>()?;
    drop(progress);
    Ok(OfText { recording, item, layer: first, spans, first_query, maps })
}
