//! Measures in the terminal: what stands out, the numbers of every head, and what each measure is.

use std::io::Write;

use attlas::analysis::{HeadSummary, MEASURES, Measure, Score, Standout};
use attlas::{Item, Layer, Recording, TokenRole, Tokens};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::terminal::{Terminal, printable, width, wrapped};

/// Heads named in a line of the table.
const MAX_HEADS: usize = 4;

/// The table of what stands out: one line for each measure of each kind, its best heads first.
///
/// It is about text `item`, or all texts together. `complaint` says what of the recording fails its checks.
pub fn print_standouts(
    recording: &Recording,
    item: Option<usize>,
    found: &[Standout],
    complaint: Option<&str>,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let groups: Vec<&[Standout]> = found.chunk_by(|a, b| (a.kind, a.measure) == (b.kind, b.measure)).collect();
    writeln!(terminal)?;
    if groups.is_empty() {
        let texts = if item.is_some() || recording.items.len() == 1 { "this text" } else { "these texts" };
        writeln!(terminal, "No head stands out over its baseline on {texts}.")?;
    } else {
        let line = format!("{:<8}{:<19}baseline threshold heads and their scores", "kind", "what stands out");
        writeln!(terminal, "{}", terminal.bold(&line))?;
    }
    let mut last = None;
    for group in groups {
        let kind = if last == Some(group[0].kind) { "" } else { group[0].kind.name() };
        last = Some(group[0].kind);
        let (baseline, threshold) = (baseline(group), group[0].measure.threshold);
        let head = format!("{kind:<8}{:<19}{baseline:<9}{threshold:<10.2}", group[0].title());
        let room = terminal.width.saturating_sub(width(&head)).max(20);
        writeln!(terminal, "{head}{}", heads(group, room))?;
    }
    let how = format!(
        "{}: a hint, not a law. Named are means of five rows or more that reach the threshold and whose 95 % interval lies \
         over the baseline. Weights are not importance.",
        measured_on(recording, item)
    );
    for line in wrapped(&how, terminal.width) {
        writeln!(terminal, "{}", terminal.dim(&line))?;
    }
    if let Some(complaint) = complaint {
        for line in wrapped(&format!("Not sound: {complaint}."), terminal.width) {
            writeln!(terminal, "{}", terminal.bold(&printable(&line)))?;
        }
    }
    Ok(())
}

/// How much text the scores are about: `Measured on these 3 texts together (encoder up to 8 × 8 tokens; --text N: one alone)`.
pub fn measured_on(recording: &Recording, item: Option<usize>) -> String {
    let n_items = recording.items.len();
    let items = item.map_or(0..n_items, |item| item..item + 1);
    let longest = |tokens: fn(&Item, &Layer) -> usize, layer: &Layer| {
        recording.items[items.clone()].iter().map(|item| tokens(item, layer)).max().unwrap_or(0)
    };
    let sizes = recording.kinds().into_iter().filter_map(|kind| {
        let layer = recording.layers_of(kind).next()?;
        let n_queries = longest(|item, layer| n_real(layer.query_tokens(item), layer.shape.n_queries), layer);
        let n_keys = longest(|item, layer| n_real(layer.key_tokens(item), layer.shape.n_keys), layer);
        Some(format!("{kind} {n_queries} × {n_keys}"))
    });
    let sizes: Vec<String> = sizes.collect();
    let sizes = sizes.join(", ");
    match item {
        _ if n_items == 1 => format!("Measured on this text alone ({sizes} tokens)"),
        Some(item) => format!("Measured on text {item} of {n_items} alone, counted from 0 ({sizes} tokens)"),
        None => format!("Measured on {n_items} texts together (each up to {sizes} tokens; --text N: one alone)"),
    }
}

/// How many of an axis's places are not padding.
fn n_real(tokens: &Tokens, n: usize) -> usize {
    n - tokens.tokens.iter().filter(|token| token.role == TokenRole::Padding).count().min(n)
}

/// The largest baseline of the group; for a measure that needs none, a dash.
fn baseline(group: &[Standout]) -> String {
    let largest = group.iter().filter_map(|standout| standout.score.baseline).reduce(f64::max);
    largest.map_or("–".to_owned(), |baseline| format!("{baseline:.2}"))
}

/// `L0H3 0.93, L1H2 0.71 and 2 more`, as many as there is room for.
fn heads(group: &[Standout], room: usize) -> String {
    let mut line = String::new();
    let mut n_named = 0;
    for standout in group.iter().take(MAX_HEADS) {
        let named = format!("{}{} {:.2}", if n_named > 0 { ", " } else { "" }, standout.head, standout.score.value);
        if n_named > 0 && line.len() + named.len() + " and 99 more".len() > room {
            break;
        }
        line.push_str(&named);
        n_named += 1;
    }
    if group.len() > n_named {
        line.push_str(&format!(" and {} more", group.len() - n_named));
    }
    line
}

/// The table of every head: a column for each measure, and under the heads of a kind what each column is compared with.
pub fn print_heads(measured_on: &str, heads: &[HeadSummary], terminal: &mut Terminal) -> Result<(), Failure> {
    writeln!(terminal)?;
    let names: String = MEASURES.iter().map(|measure| format!("{:>1$}", measure.name, room(measure))).collect();
    writeln!(terminal, "{}", terminal.bold(&format!("kind     head    {names}  largest  column       diagonal")))?;
    for of_kind in heads.chunk_by(|a, b| a.sums.kind == b.sums.kind) {
        for head in of_kind {
            let numbers = numbers(|measure| head.sums.score(measure.name).map(|score| score.value));
            let peak =
                |peak: Option<(String, f64)>| peak.map_or(String::new(), |(at, share)| format!("{at}: {share:.2}"));
            let column = peak(head.geometry.vertical.map(|peak| (peak.at.to_string(), peak.share)));
            let diagonal = peak(head.geometry.diagonal.map(|peak| (format!("{:+}", peak.at), peak.share)));
            let line = format!(
                "{:<8} {:<8}{numbers}{:>9}  {column:<12} {diagonal}",
                head.sums.kind.name(),
                head.sums.head.to_string(),
                number(head.confidence)
            );
            writeln!(terminal, "{}", line.trim_end())?;
        }
        let baselines = numbers(|measure| mean_baseline(of_kind, measure));
        let is_looked_for = |measure: &Measure| measure.kinds.contains(&of_kind[0].sums.kind);
        let thresholds = numbers(|measure| is_looked_for(measure).then_some(measure.threshold));
        for (what, numbers) in [("baseline", baselines), ("threshold", thresholds)] {
            writeln!(terminal, "{}", terminal.dim(&format!("{what:<17}{numbers}")))?;
        }
    }
    let legend = format!(
        "{measured_on}. baseline: the mean over the heads; threshold: the score from which a head is named; largest: mean of \
         each row's largest weight, an end token left out; column, diagonal: the key, and the offset, with the largest share \
         of all weight"
    );
    for line in wrapped(&legend, terminal.width) {
        writeln!(terminal, "{}", terminal.dim(&line))?;
    }
    Ok(())
}

/// The same as JSON.
pub fn heads_json(heads: &[HeadSummary]) -> Value {
    let score = |(measure, score): (&'static Measure, Score)| {
        let Score { value, interval, baseline, n } = score;
        let threshold = measure.threshold;
        let fields =
            json!({ "value": value, "interval": interval, "baseline": baseline, "threshold": threshold, "n": n });
        (measure.name.to_owned(), fields)
    };
    let head = |head: &HeadSummary| {
        json!({
            "kind": head.sums.kind,
            "head": head.sums.head,
            "scores": head.sums.scores().map(score).collect::<serde_json::Map<_, _>>(),
            "confidence": head.confidence,
            "vertical": head.geometry.vertical.map(|peak| (peak.at, peak.share)),
            "diagonal": head.geometry.diagonal.map(|peak| (peak.at, peak.share)),
            "n_rows": head.sums.n_rows,
            "n_queries": head.sums.n_queries,
        })
    };
    heads.iter().map(head).collect()
}

/// What each measure is.
pub fn print_measures(terminal: &mut Terminal) -> Result<(), Failure> {
    for (index, measure) in MEASURES.iter().enumerate() {
        if index > 0 {
            writeln!(terminal)?;
        }
        writeln!(terminal, "{}", terminal.bold(&format!("{}: {}", measure.name, measure.says)))?;
        for (what, text) in definition(measure) {
            let lines = wrapped(&text, terminal.width.saturating_sub(13).max(20));
            for (line, what) in lines.iter().zip([what].into_iter().chain(std::iter::repeat(""))) {
                writeln!(terminal, "  {what:<11}{line}")?;
            }
        }
    }
    Ok(())
}

/// A measure's definition: what, and in which words.
fn definition(measure: &Measure) -> Vec<(&'static str, String)> {
    let kinds: Vec<&str> = measure.kinds.iter().map(|kind| kind.name()).collect();
    let cross = measure.cross_title.map_or(String::new(), |title| format!("; in cross-attention: {title}"));
    let (low, high) = measure.range;
    vec![
        ("title", format!("{}{cross}", measure.title)),
        ("formula", measure.formula.to_owned()),
        ("score", format!("{}, {low} to {high}; a mean over {}", measure.unit, measure.over)),
        ("threshold", measure.threshold.to_string()),
        (
            "baseline",
            measure
                .baseline
                .map_or("none: the score is already relative to looking at all keys alike", |baseline| baseline.says)
                .to_owned(),
        ),
        ("kinds", kinds.join(", ")),
        ("paper", measure.paper.to_owned()),
    ]
}

/// The numbers of a line, under the names of the measures.
fn numbers(of: impl Fn(&Measure) -> Option<f64>) -> String {
    MEASURES.iter().map(|measure| format!("{:>1$}", number(of(measure)), room(measure))).collect()
}

/// The cells of a measure's column.
fn room(measure: &Measure) -> usize {
    measure.name.len().max(4) + 2
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.2}"))
}

/// A measure's baseline over the heads of a kind that have one.
fn mean_baseline(heads: &[HeadSummary], measure: &Measure) -> Option<f64> {
    let baselines: Vec<f64> = heads.iter().filter_map(|head| head.sums.score(measure.name)?.baseline).collect();
    (!baselines.is_empty()).then(|| baselines.iter().sum::<f64>() / baselines.len() as f64)
}
