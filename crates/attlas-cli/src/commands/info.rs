//! `attlas info RUN.safetensors`.

use std::io::Write;
use std::path::PathBuf;

use attlas::analysis::{HeadSummary, MEASURES, summarise, summarise_all};
use attlas::recording::{LayerCheck, LseCheck, Method, Mode, complaint};
use attlas::{Error, Layer, Numbers, Quantity, Recording, TokenRole, Tokens};
use clap::Args;
use serde_json::{Value, json};

use super::counted;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::measures::{heads_json, measured_on, print_heads, print_measures};
use crate::terminal::{Terminal, clip, printable};
use crate::words::inert_json;

const EXAMPLES: &str = "\
Examples:
  attlas info run.safetensors
  attlas info run.safetensors --heads          numbers of every head
  attlas info --measures                       what each of these numbers is
  attlas info run.safetensors --verify         log-sum-exps against queries and keys
  attlas info run.safetensors --json | jq .checks";

/// `attlas info`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct InfoArguments {
    /// The recording.
    #[arg(value_name = "RECORDING", required_unless_present = "measures")]
    pub recording: Option<PathBuf>,
    /// List what every head scores under each measure.
    #[arg(long)]
    pub heads: bool,
    /// Say what the measures are, of any head: formula, range, threshold, baseline, paper. Needs no recording.
    #[arg(long, conflicts_with_all = ["recording", "heads", "text", "verify"])]
    pub measures: bool,
    /// One text of a batch, counted from 0: it alone is listed, and --heads is about it [default: all texts together].
    #[arg(long, value_name = "N")]
    pub text: Option<usize>,
    /// Compute log-sum-exps again from queries and keys, on some rows of each map, and say how far the recorded ones are off.
    #[arg(long)]
    pub verify: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Prints what is in a recording, its provenance and its checks.
pub fn run(arguments: &InfoArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let Some(recording) = &arguments.recording else {
        match arguments.json {
            true => print_object(&json!(MEASURES), terminal)?,
            false => print_measures(terminal)?,
        }
        return Ok(Outcome::Done);
    };
    let recording = Recording::open(recording)?;
    let checks = recording.check()?;
    let n_items = recording.items.len();
    if let Some(item) = arguments.text.filter(|item| *item >= n_items) {
        return Err(Error::NoItem { item, n_items }.into());
    }
    let heads = match (arguments.heads, arguments.text) {
        (false, _) => None,
        (true, Some(item)) => Some(summarise(&recording, item)?),
        (true, None) => Some(summarise_all(&recording)?),
    };
    let verified = if arguments.verify { Some(recording.verify()?) } else { None };
    if arguments.json {
        print_json(&recording, &checks, heads.as_deref(), verified.as_deref(), terminal)?;
    } else {
        print_provenance(&recording, terminal)?;
        print_contents(&recording, arguments.text, terminal)?;
        print_checks(&checks, terminal)?;
        if let Some(verified) = &verified {
            print_verified(verified, terminal)?;
        }
        if let Some(heads) = &heads {
            print_heads(&measured_on(&recording, arguments.text), heads, terminal)?;
        }
    }
    Ok(checks::outcome(complaint(&checks).as_deref()))
}

fn print_json(
    recording: &Recording,
    checks: &[LayerCheck],
    heads: Option<&[HeadSummary]>,
    verified: Option<&[LseCheck]>,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let layers: Vec<_> = recording
        .layers
        .iter()
        .map(|layer| {
            let Layer { kind, stack, index, quantity, shape, .. } = layer;
            let (dense, traces) = (layer.factored().is_none(), layer.traces.iter().map(|(trace, _)| trace));
            json!({
                "kind": kind, "stack": stack, "index": index, "quantity": quantity, "shape": shape, "dense": dense,
                "traces": traces.collect::<Vec<_>>(), "query_offset": layer.first_position(),
            })
        })
        .collect();
    let mut object = json!({
        "provenance": recording.provenance, "items": recording.items, "layers": layers, "checks": checks,
    });
    if let Some(heads) = heads {
        object["heads"] = heads_json(heads);
    }
    if let Some(verified) = verified {
        object["verified"] = json!(verified);
    }
    print_object(&object, terminal)
}

fn print_object(object: &Value, terminal: &mut Terminal) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(object).map_err(|error| Failure::Input(error.to_string()))?;
    Ok(writeln!(terminal, "{}", inert_json(&text))?)
}

fn print_provenance(recording: &Recording, terminal: &mut Terminal) -> Result<(), Failure> {
    let provenance = &recording.provenance;
    let method = match provenance.method {
        Method::Forward => "one forward pass (the target was given, or there is none)",
        Method::Greedy => "generated greedily",
        Method::Beam => "generated by beam search; maps of the best beam",
        Method::Sample => "generated by drawing tokens at random",
        Method::Imported => "arrays computed elsewhere",
    };
    let mode = match provenance.mode {
        Mode::Eval => "eval (dropout off)",
        Mode::Train => "train (dropout on: weights are scaled and partly 0)",
        Mode::Unknown => "unknown",
    };
    let writer = format!("{} {}", provenance.writer.name, provenance.writer.version);
    let lines = [
        ("model", provenance.model.as_str()),
        ("family", &provenance.family),
        ("revision", &provenance.revision),
        ("dtype", &provenance.dtype),
        ("mode", mode),
        ("obtained", method),
        ("written by", writer.trim()),
    ];
    for (name, value) in lines.into_iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(terminal, "{name:<10} {}", printable(value))?;
    }
    for note in provenance.remarks() {
        writeln!(terminal, "{:<10} {}", "note", printable(&note))?;
    }
    Ok(())
}

fn print_contents(recording: &Recording, asked: Option<usize>, terminal: &mut Terminal) -> Result<(), Failure> {
    let width = terminal.width.saturating_sub(32).max(20);
    let is_asked = |index: &usize| asked.is_none_or(|asked| asked == *index);
    for (index, item) in recording.items.iter().enumerate().filter(|(index, _)| is_asked(index)) {
        for (side, tokens) in [("source", &item.source), ("target", &item.target)] {
            if !tokens.is_empty() {
                let (n_padding, text) = (padding(tokens), clip(&printable(&in_words(tokens)), width));
                let padded = if n_padding > 0 { format!(" + {n_padding} padding") } else { String::new() };
                let n_tokens = counted(tokens.len() - n_padding, "token");
                writeln!(terminal, "{:<10} {side}: {n_tokens}{padded}: {text}", format!("text {index}"))?;
            }
        }
    }
    for layers in groups(recording) {
        let heads: Vec<usize> = layers.iter().map(|layer| layer.shape.n_heads).collect();
        let heads = match heads.iter().all(|n| *n == heads[0]) {
            true => format!("{} each", counted(heads[0], "head")),
            false => format!("heads by layer: {}", heads.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
        };
        let indices: Vec<String> = layers.iter().map(|layer| layer.index.to_string()).collect();
        let shape = layers[0].shape;
        let first = match layers[0].first_position() {
            0 => String::new(),
            position => format!(" (from position {position} on)"),
        };
        writeln!(
            terminal,
            "{:<10} layers {}; {heads}; {} queries{first} × {} keys; {}",
            layers[0].stack.as_ref().map_or(layers[0].kind.to_string(), |stack| format!("{stack} {}", layers[0].kind)),
            indices.join(", "),
            shape.n_queries,
            shape.n_keys,
            form(&layers)
        )?;
    }
    Ok(())
}

/// The layers by kind, stack and quantity, each group in the recording's order.
fn groups(recording: &Recording) -> Vec<Vec<&Layer>> {
    let key = |layer: &Layer| (layer.kind, layer.stack.clone(), layer.quantity);
    let mut groups: Vec<Vec<&Layer>> = Vec::new();
    for layer in &recording.layers {
        match groups.iter_mut().find(|layers| key(layers[0]) == key(layer)) {
            Some(layers) => layers.push(layer),
            None => groups.push(vec![layer]),
        }
    }
    groups
}

/// What of the layers was recorded.
fn form(layers: &[&Layer]) -> String {
    let first = layers[0];
    let traces: String =
        first.traces.iter().map(|(trace, _)| format!(", {}", trace.name().replace('_', " "))).collect();
    let Some(factored) = first.factored() else {
        return match first.quantity {
            Quantity::Weight => format!("dense weights{traces}"),
            quantity => format!("dense: {quantity}"),
        };
    };
    let dtype = match factored.keys {
        Numbers::F32(_) => "",
        Numbers::F16(_) => " in F16",
        Numbers::Bf16(_) => " in BF16",
    };
    let all = || layers.iter().filter_map(|layer| layer.factored());
    let mask = if all().any(|factored| factored.mask.is_some()) { ", masks" } else { "" };
    let bias = if all().any(|factored| factored.key_bias.is_some()) { ", a bias per key" } else { "" };
    format!("queries, keys{dtype}{traces}{mask}{bias} and log-sum-exp, d_head {}", first.shape.d_head)
}

/// The tokens' text, or their labels where there is none.
fn in_words(tokens: &Tokens) -> String {
    if tokens.text.is_empty() { tokens.labels().collect::<Vec<_>>().join(" ") } else { tokens.text.clone() }
}

fn padding(tokens: &Tokens) -> usize {
    tokens.tokens.iter().filter(|token| token.role == TokenRole::Padding).count()
}

fn print_checks(checks: &[LayerCheck], terminal: &mut Terminal) -> Result<(), Failure> {
    let failed: Vec<_> = checks.iter().filter_map(|check| Some((check, check.problem()?))).collect();
    let (looked_at, there_are) =
        checks.iter().fold((0, 0), |sum, check| (sum.0 + check.n_rows.0, sum.1 + check.n_rows.1));
    let sums = checks.iter().filter(|check| check.quantity.rows_sum_to_one());
    let worst = sums.map(|check| check.max_row_error).reduce(f32::max);
    let sums = worst.map_or(String::new(), |worst| format!(", rows + sink = 1 within {worst:.0e}"));
    if failed.is_empty() {
        return Ok(writeln!(
            terminal,
            "{:<10} passed: finite, in range, padding 0{sums} ({looked_at} of {there_are} rows)",
            "checks"
        )?);
    }
    for (check, problem) in failed {
        let stack = check.stack.as_ref().map_or(String::new(), |stack| format!("{stack} "));
        let (kind, layer, n_heads) = (check.kind, check.layer, counted(check.failed_heads.len(), "head"));
        writeln!(terminal, "{:<10} FAILED in {stack}{kind} layer {layer}, {n_heads}: {problem}", "checks")?;
    }
    Ok(())
}

fn print_verified(verified: &[LseCheck], terminal: &mut Terminal) -> Result<(), Failure> {
    let n_rows: usize = verified.iter().map(|check| check.n_rows).sum();
    let Some(worst) = verified.iter().max_by(|a, b| a.max_difference.total_cmp(&b.max_difference)) else {
        return Ok(writeln!(terminal, "{:<10} dense weights have no queries and keys to be held against", "verified")?);
    };
    let place = worst.worst_row.map_or(String::new(), |(text, head, row)| {
        let stack = worst.stack.as_ref().map_or(String::new(), |stack| format!("{stack} "));
        format!(" (worst: {stack}{}, text {text}, {head}, row {row})", worst.kind)
    });
    writeln!(
        terminal,
        "{:<10} log-sum-exps differ from those of queries and keys by up to {:.1e}{place} ({n_rows} rows)",
        "verified", worst.max_difference
    )?;
    let outputs = verified.iter().filter_map(|check| check.max_output_difference).reduce(f64::max);
    if let Some(difference) = outputs {
        writeln!(terminal, "{:<10} head outputs differ from weights × values by up to {difference:.1e}", "")?;
    }
    Ok(())
}
