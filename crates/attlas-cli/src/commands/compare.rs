//! `attlas compare A B`: two recordings, models or texts, head by head.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{CellDifference, ComparedHead, Comparison, Matching, compare};
use attlas::figure::{Format, PanelScale};
use attlas::output::write_aside;
use attlas::recording::complaint;
use attlas::view::{self, DifferenceView, digits};
use attlas::{Error, HeadId, Kind, Recording, Token};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::compare_pair::{Pair, other_run};
use super::counted;
use super::draw::{StyleArguments, format_of, write_figure};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{RawText, RunArguments, check_output, model_files, parse_kind};
use crate::terminal::{Terminal, clip, pad, printable, remark, width, wrapped};
use crate::words::json_text;

const EXAMPLES: &str = "\
Examples:
  attlas compare a.safetensors b.safetensors                     two recordings
  attlas compare \"The cat sat.\" --model A --other-model B         one text through two models, or checkpoints
  attlas compare \"The cat sat.\" --knock-out encoder:L0H3          one model, as it is and without a head
  attlas compare \"The cat sat.\" \"The dog sat.\"                    two texts through one model
  attlas compare a.safetensors b.safetensors --match best -o heads.svg
  attlas compare a.safetensors b.safetensors --kind cross --layer 1 --head 3 -o L1H3.png
  attlas compare a.safetensors b.safetensors --json | jq '.heads[0]'";

/// `attlas compare`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct CompareArguments {
    /// A: a recording (a file, or a name that ends in .safetensors), a text, or - for a text from standard input.
    #[arg(value_name = "A")]
    pub first: RawText,
    /// B, as A; without it, A is a text that --other-model runs, too, or that runs once more with --knock-out.
    #[arg(value_name = "B")]
    pub second: Option<RawText>,
    /// The attention compared [default: every kind that both have; of the one head that --layer and --head draw cross, else
    /// decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// Which head of B goes with a head of A.
    #[arg(long = "match", value_enum, default_value_t = Match::Index, value_name = "HOW")]
    pub matching: Match,
    /// The text of each batch, counted from 0; 2,5 is text 2 of A and text 5 of B [default: all, in their order].
    #[arg(long = "text", value_name = "N", value_parser = parse_texts)]
    pub texts: Option<(usize, usize)>,
    /// Heads listed of each kind, those that are farthest apart.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// The picture of all heads, or with --layer and --head of one, to write: .svg, .pdf or .png; or what --json prints: .json.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Draw one head of A, its counterpart in B, and their difference: its layer, counted from 0.
    #[arg(long, value_name = "N", requires = "head", requires = "output")]
    pub layer: Option<usize>,
    /// The head's number, counted from 0.
    #[arg(long, value_name = "N", requires = "layer")]
    pub head: Option<usize>,
    #[command(flatten)]
    pub run: RunArguments,
    /// The model of B, as --model is that of A.
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub other_model: Option<PathBuf>,
    /// The revision of B's model, which is --model where --other-model does not say otherwise.
    #[arg(long, value_name = "REVISION", help_heading = "Model")]
    pub other_revision: Option<String>,
    /// The LoRA adapter of B's model.
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub other_adapter: Option<PathBuf>,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// How heads find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Match {
    /// By layer and number.
    Index,
    /// One to one across all layers, so that all divergences together are least.
    Best,
}

/// Reads `3` and `2,5`.
fn parse_texts(text: &str) -> Result<(usize, usize), String> {
    let number = |text: &str| text.trim().parse::<usize>().ok();
    let both = match text.split_once(',') {
        None => number(text).map(|item| (item, item)),
        Some((a, b)) => number(a).zip(number(b)),
    };
    both.ok_or_else(|| "the number of a text was expected, or two such as 2,5: of A and of B".to_owned())
}

/// What is written besides the table.
enum Target<'a> {
    Picture(Format, &'a Path),
    Json(&'a Path),
}

/// Compares, prints the heads that differ most, and writes what is asked for.
pub fn run(arguments: &CompareArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let target = target(arguments)?;
    let pair = Pair::read(arguments)?;
    let recordings = [&pair.first, &pair.second];
    let texts = texts(arguments, recordings)?;
    let comparisons = comparisons(arguments, recordings, &texts)?;
    let complaints = [complaint(&pair.first.check()?), complaint(&pair.second.check()?)];
    let [a, b] = &pair.names;
    let names = [a.as_str(), b.as_str()];
    if arguments.json || matches!(target, Some(Target::Json(_))) {
        let object = object(&comparisons, recordings, names);
        let text = json_text(&object)?;
        if let Some(Target::Json(path)) = target {
            write_aside(path, |file| writeln!(file, "{text}"))?;
        }
        if arguments.json {
            writeln!(terminal, "{text}")?;
        }
    }
    if let Some(Target::Picture(format, path)) = target {
        write_figure(format, &figure(arguments, &comparisons, recordings, names)?, path)?;
    }
    if !arguments.json {
        for (which, name) in ["A", "B"].into_iter().zip(names) {
            writeln!(terminal, "{which}: {}", terminal.bold(&printable(name)))?;
        }
        for one in &comparisons {
            print_comparison(one, recordings, arguments, terminal)?;
        }
        let legend = "JSD: Jensen–Shannon divergence of a head's rows, their mean in nats; 0 for the same weights, ln 2 = 0.693 for none \
                      in common";
        terminal.notes([legend])?;
        if let Some(output) = &arguments.output {
            writeln!(terminal, "\n{}", printable(&output.display().to_string()))?;
        }
    }
    let named = complaints.iter().zip(["A", "B"]).filter_map(|(complaint, which)| Some((which, complaint.as_ref()?)));
    let all: Vec<String> = named.map(|(which, complaint)| format!("{which}: {complaint}")).collect();
    Ok(checks::outcome((!all.is_empty()).then(|| all.join("; ")).as_deref()))
}

fn target(arguments: &CompareArguments) -> Result<Option<Target<'_>>, Failure> {
    let Some(output) = &arguments.output else { return Ok(None) };
    let models = [model_files(&arguments.run.model), model_files(&other_run(arguments).model)].concat();
    let inputs = [Some(&arguments.first), arguments.second.as_ref()].into_iter().flatten().map(Path::new);
    check_output(output, inputs.chain(models.iter().map(PathBuf::as_path)))?;
    if output.extension().is_some_and(|extension| extension == "json") {
        if arguments.layer.is_some() {
            let message = "--layer and --head choose the maps that are drawn, but -o is no picture";
            return Err(Failure::Usage(message.into()));
        }
        return Ok(Some(Target::Json(output)));
    }
    let format = format_of(output)
        .map_err(|_| Failure::Usage(format!("-o {}: .svg, .pdf, .png or .json was expected", output.display())))?;
    arguments.style.check(format, output)?;
    if arguments.style.panel_scale != PanelScale::default() {
        remark("--panel-scale does nothing here: A and B are on one scale, so that they compare");
    }
    Ok(Some(Target::Picture(format, output)))
}

/// Which texts are compared, by their numbers in A and B.
fn texts(arguments: &CompareArguments, [a, b]: [&Recording; 2]) -> Result<Vec<(usize, usize)>, Failure> {
    let n_items = [a.items.len(), b.items.len()];
    if let Some((first, second)) = arguments.texts {
        for (item, n_items) in [(first, n_items[0]), (second, n_items[1])] {
            if item >= n_items {
                return Err(Error::NoItem { item, n_items }.into());
            }
        }
        return Ok(vec![(first, second)]);
    }
    match n_items {
        [n, other] if n == other => Ok((0..n).map(|item| (item, item)).collect()),
        [n, other] => Err(Failure::Usage(format!(
            "A has {} and B {}, so nothing says which belong together; --text N, or --text N,M, chooses one of each",
            counted(n, "text"),
            counted(other, "text")
        ))),
    }
}

/// The comparison of each kind that is asked for.
fn comparisons(
    arguments: &CompareArguments,
    recordings: [&Recording; 2],
    texts: &[(usize, usize)],
) -> Result<Vec<Comparison>, Failure> {
    let [a, b] = recordings.map(Recording::kinds);
    let kinds = match arguments.kind {
        Some(kind) => vec![kind],
        None => {
            let mut kinds = a.clone();
            kinds.retain(|kind| b.contains(kind));
            kinds
        }
    };
    if kinds.is_empty() {
        let names = |kinds: &[Kind]| match kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ") {
            names if names.is_empty() => "none".to_owned(),
            names => names,
        };
        return Err(Failure::Input(format!(
            "the recordings have no kind of attention in common: A has {}, B has {}",
            names(&a),
            names(&b)
        )));
    }
    let left_out: Vec<&str> = match arguments.kind {
        Some(_) => Vec::new(),
        None => a.iter().chain(&b).filter(|kind| !kinds.contains(kind)).map(|kind| kind.name()).collect(),
    };
    if !left_out.is_empty() {
        remark(&format!("left out, since only one of the two has it: {}", left_out.join(", ")));
    }
    let matching = match arguments.matching {
        Match::Index => Matching::Index,
        Match::Best => Matching::Best,
    };
    kinds.into_iter().map(|kind| Ok(compare(recordings, kind, texts, matching)?)).collect()
}

/// The picture: of all heads, or of one.
fn figure(
    arguments: &CompareArguments,
    comparisons: &[Comparison],
    recordings: [&Recording; 2],
    names: [&str; 2],
) -> Result<attlas::figure::Figure, Failure> {
    let style = arguments.style.style();
    let (Some(layer), Some(head)) = (arguments.layer, arguments.head) else {
        return Ok(view::comparison(comparisons, names, &style)?);
    };
    let telling = [Kind::Cross, Kind::Decoder, Kind::Encoder];
    let of_kind = telling.into_iter().find_map(|kind| comparisons.iter().find(|one| one.kind == kind));
    let Some(of_kind) = of_kind else { return Err(Failure::Usage("there is nothing to draw".into())) };
    let id = HeadId { layer, head };
    let Some(compared) = of_kind.heads.iter().find(|one| one.first == id) else {
        recordings[0].map(of_kind.texts[0].items[0], of_kind.kind, layer, head)?; // says which heads there are
        return Err(Failure::Usage(format!(
            "{} {id} of A has no counterpart in B; --match best looks for one among all heads",
            of_kind.kind
        )));
    };
    let text = compared.largest.map_or(0, |largest| largest.text);
    if of_kind.texts.len() > 1 {
        remark(&format!("drawn is text {}, where these heads differ most; --text N", of_kind.texts[text].items[0]));
    }
    let view = DifferenceView::of(recordings, of_kind, compared, text)?;
    Ok(view.figure(names, arguments.style.scale(), &style))
}

/// The heads of one kind that are farthest apart, and how many changed little.
fn print_comparison(
    comparison: &Comparison,
    recordings: [&Recording; 2],
    arguments: &CompareArguments,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let heading = format!("{}, {} compared", comparison.kind.title(), counted(comparison.heads.len(), "head"));
    writeln!(terminal, "\n{}", terminal.bold(&heading))?;
    let cells = terminal.width;
    for line in comparison.remarks().iter().flat_map(|remark| wrapped(remark, cells)) {
        writeln!(terminal, "{}", printable(&line))?;
    }
    let mut heads: Vec<&ComparedHead> = comparison.heads.iter().collect();
    // no divergence comes first: that is news, too
    let size = |head: &ComparedHead| head.divergence().unwrap_or(f64::INFINITY);
    heads.sort_by(|a, b| size(b).total_cmp(&size(a)).then(a.first.cmp(&b.first)));
    let is_same = heads.iter().all(|head| head.divergence() == Some(0.0));
    let shown = if is_same { &[] } else { &heads[..heads.len().min(arguments.top)] };
    if !shown.is_empty() {
        print_heads(shown, comparison, recordings, terminal)?;
    }
    terminal.notes(closing(comparison, shown.len()))
}

/// A line for each head: columns as wide as what stands in them, of the last as much as there is room for.
fn print_heads(
    heads: &[&ComparedHead],
    comparison: &Comparison,
    recordings: [&Recording; 2],
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let cells = |head: &&ComparedHead| {
        let interval =
            head.interval().map_or("–".to_owned(), |(low, high)| format!("{} – {}", digits(low), digits(high)));
        let largest = match (head.divergence(), head.largest) {
            (None, _) => "a row has no weights".to_owned(),
            (_, None) => "none".to_owned(),
            (_, Some(largest)) => in_words(&largest, comparison, recordings),
        };
        let divergence = head.divergence().map_or("–".to_owned(), digits);
        let rows = head.sums.n.to_string();
        [head.first.to_string(), head.second.to_string(), divergence, interval, rows, printable(&largest)]
    };
    let headings = ["A", "B", "JSD", "95 % interval", "rows", "largest difference: A / B"].map(str::to_owned);
    let lines: Vec<[String; 6]> = [headings].into_iter().chain(heads.iter().map(cells)).collect();
    for (place, [columns @ .., largest]) in lines.iter().enumerate() {
        let widest = |column: usize| lines.iter().map(|line| width(&line[column])).max().unwrap_or(0);
        let padded = columns.iter().enumerate().map(|(column, cell)| pad(cell, widest(column)) + "  ");
        let line: String = padded.collect();
        let room = terminal.width.saturating_sub(width(&line)).max(20);
        let line = line + &clip(largest, room);
        writeln!(terminal, "{}", if place == 0 { terminal.bold(&line) } else { line })?;
    }
    Ok(())
}

/// What stands below the table.
fn closing(comparison: &Comparison, n_shown: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let n_more = comparison.heads.len() - n_shown;
    if n_more > 0 && n_shown > 0 {
        lines.push(format!("and {} that differ less (--top N)", counted(n_more, "head")));
    }
    if comparison.kind == Kind::Cross && n_shown > 0 {
        lines.push("a row is named after the token that it has read; it predicts the next one".to_owned());
    }
    lines.extend(comparison.changed_little());
    lines
}

/// `0.91 / 0.12 "it" → "animal"`: what is cut where there is no room is the end of a token, and no weight.
fn in_words(largest: &CellDifference, comparison: &Comparison, recordings: [&Recording; 2]) -> String {
    let [query, key] = tokens(largest, comparison, recordings);
    let name =
        |token: Option<&Token>, place: usize| token.map_or(place.to_string(), |token| format!("\"{}\"", token.text));
    let [a, b] = largest.weights;
    format!("{a:.2} / {b:.2} {} → {}", name(query, largest.queries.0), name(key, largest.keys.0))
}

/// The tokens of a query and key of A, where it has tokens.
fn tokens<'a>(
    largest: &CellDifference,
    comparison: &Comparison,
    recordings: [&'a Recording; 2],
) -> [Option<&'a Token>; 2] {
    let Some(text) = comparison.texts.get(largest.text) else { return [None; 2] };
    let item = &recordings[0].items[text.items[0]];
    let Some(layer) = recordings[0].layers_of(comparison.kind).next() else { return [None; 2] };
    [layer.query_tokens(item).tokens.get(largest.queries.0), layer.key_tokens(item).tokens.get(largest.keys.0)]
}

/// All as JSON: what was compared, of each kind what the numbers are to be held against, and a row for each head.
fn object(comparisons: &[Comparison], recordings: [&Recording; 2], names: [&str; 2]) -> Value {
    let side = |side: usize| json!({ "name": names[side], "model": recordings[side].provenance.model });
    let of_kind = |one: &Comparison| {
        let texts = one.texts.iter().map(|text| {
            json!({
                "items": text.items, "aligned_by": if text.by_text { "text" } else { "place" },
                "n_queries": text.n_queries, "n_keys": text.n_keys,
                "common_queries": text.queries.len(), "common_keys": text.keys.len(), "elsewhere": text.elsewhere,
            })
        });
        json!({
            "kind": one.kind, "between_heads": one.between_heads, "little": one.little(), "n_rows": one.n_rows,
            "n_queries": one.n_queries, "only_a": one.only_first, "only_b": one.only_second,
            "texts": texts.collect::<Vec<_>>(),
        })
    };
    let rows = comparisons.iter().flat_map(|one| one.heads.iter().map(|head| row(head, one, recordings)));
    json!({
        "a": side(0), "b": side(1), "unit": "nats", "range": [0.0, attlas::analysis::MAX_DIVERGENCE],
        "kinds": comparisons.iter().map(of_kind).collect::<Vec<_>>(), "heads": rows.collect::<Vec<_>>(),
    })
}

fn row(head: &ComparedHead, comparison: &Comparison, recordings: [&Recording; 2]) -> Value {
    let largest = head.largest.filter(|_| head.divergence().is_some()).map(|largest| {
        let [query, key] = tokens(&largest, comparison, recordings).map(|token| token.map(|token| &token.text));
        json!({
            "query": query, "key": key, "a": largest.weights[0], "b": largest.weights[1],
            "query_places": largest.queries, "key_places": largest.keys,
            "texts": comparison.texts.get(largest.text).map(|text| text.items),
        })
    });
    let interval = head.interval();
    let mut row = json!({
        "kind": comparison.kind, "layer": head.first.layer, "head": head.first.head,
        "other_layer": head.second.layer, "other_head": head.second.head,
        "jsd": head.divergence(), "low": interval.map(|interval| interval.0), "high": interval.map(|interval| interval.1),
        "n_rows": head.sums.n, "largest_difference": largest,
    });
    if head.divergence().is_none() {
        row["absent"] = json!("a row of a head has a number that is no weight, or no row of both sees a key");
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_number_for_both_or_one_for_each() {
        assert_eq!(parse_texts("3"), Ok((3, 3)));
        assert_eq!(parse_texts("2, 5"), Ok((2, 5)));
        assert!(parse_texts("a").is_err() && parse_texts("1,2,3").is_err() && parse_texts("").is_err());
    }
}
