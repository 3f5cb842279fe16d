//! Measures in the terminal: what stands out, and what each measure is.

use std::io::Write;

use attlas::analysis::{Annotations, HeadSums, MEASURES, Measure, Standout, measure_with, merge};
use attlas::{Item, Layer, Recording};
use attlas_train::alignment::with_dictionary;

use crate::failure::Failure;
use crate::terminal::{Terminal, printable, width, wrapped};

/// Heads named in a line of the table.
const MAX_HEADS: usize = 4;
/// Columns for the titles of a table at least.
const MIN_TITLE: usize = 18;

/// Measures the heads on one text of a recording, or on all together. Target words that a dictionary translates are held
/// against it.
pub fn heads_of(
    recording: &Recording,
    item: Option<usize>,
    annotations: &Annotations,
) -> Result<Vec<HeadSums>, attlas::Error> {
    let items = item.map_or(0..recording.items.len(), |item| item..item + 1);
    let mut heads: Vec<HeadSums> = Vec::new();
    for index in items {
        let annotations = with_dictionary(recording, index, annotations);
        heads = merge(heads.into_iter().chain(measure_with(recording, index, &annotations)?));
    }
    Ok(heads)
}

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
    let titles = titles_width(found.iter().map(Standout::title));
    writeln!(terminal)?;
    if groups.is_empty() {
        let texts = if item.is_some() || recording.items.len() == 1 { "this text" } else { "these texts" };
        writeln!(terminal, "No head stands out over its baseline on {texts}.")?;
    } else {
        let line = format!("{:<8}{:<titles$}baseline threshold heads and their scores", "kind", "what stands out");
        writeln!(terminal, "{}", terminal.bold(&line))?;
    }
    let mut last = None;
    for group in groups {
        let kind = if last == Some(group[0].kind) { "" } else { group[0].kind.name() };
        last = Some(group[0].kind);
        let (baseline, threshold) = (baseline(group), number(group[0].measure.threshold));
        let head = format!("{kind:<8}{:<titles$}{baseline:<9}{threshold:<10}", group[0].title());
        let names = group.iter().map(|standout| format!("{} {:.2}", standout.head, standout.score.value));
        let room = terminal.width.saturating_sub(width(&head)).max(20);
        writeln!(terminal, "{head}{}", in_room(names, room))?;
    }
    let how = format!(
        "{}: a hint, not a law. Named are means of five rows or more that reach the threshold and lie over the baseline \
         by more than chance would have it. Weights are not importance.",
        measured_on(recording, item)
    );
    terminal.notes([&how])?;
    print_complaint(complaint, terminal)
}

/// Says what of the numbers above fails its checks.
pub fn print_complaint(complaint: Option<&str>, terminal: &mut Terminal) -> Result<(), Failure> {
    let lines = complaint.map(|complaint| wrapped(&format!("Not sound: {complaint}."), terminal.width));
    for line in lines.into_iter().flatten() {
        writeln!(terminal, "{}", terminal.bold(&printable(&line)))?;
    }
    Ok(())
}

/// Columns that the titles take, with a space after the longest.
pub fn titles_width<'a>(titles: impl IntoIterator<Item = &'a str>) -> usize {
    titles.into_iter().map(width).fold(MIN_TITLE, usize::max) + 1
}

/// How much text the scores are about: `Measured on 3 texts together (each up to encoder 8 × 8 tokens; --text N: one alone)`.
pub fn measured_on(recording: &Recording, item: Option<usize>) -> String {
    let n_items = recording.items.len();
    let items = item.map_or(0..n_items, |item| item..item + 1);
    let longest = |tokens: fn(&Item, &Layer) -> usize, layer: &Layer| {
        recording.items[items.clone()].iter().map(|item| tokens(item, layer)).max().unwrap_or(0)
    };
    let sizes = recording.kinds().into_iter().filter_map(|kind| {
        let layer = recording.layers_of(kind).next()?;
        let n_queries = longest(|item, layer| layer.query_tokens(item).unpadded(layer.shape.n_queries).len(), layer);
        let n_keys = longest(|item, layer| layer.key_tokens(item).unpadded(layer.shape.n_keys).len(), layer);
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

/// The largest baseline of the group; for a measure that needs none, a dash.
fn baseline(group: &[Standout]) -> String {
    number(group.iter().filter_map(|standout| standout.score.baseline).reduce(f64::max))
}

/// `L0H3 0.93, L1H2 0.71 and 2 more`: as many of these heads as there is room for, at least one and four at most.
pub fn in_room(heads: impl ExactSizeIterator<Item = String>, room: usize) -> String {
    let (n_heads, mut n_named) = (heads.len(), 0);
    let mut line = String::new();
    for head in heads.take(MAX_HEADS) {
        let named = if n_named > 0 { format!(", {head}") } else { head };
        if n_named > 0 && width(&line) + width(&named) + " and 99 more".len() > room {
            break;
        }
        line.push_str(&named);
        n_named += 1;
    }
    if n_heads > n_named {
        line.push_str(&format!(" and {} more", n_heads - n_named));
    }
    line
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
    let high = if high == f64::MAX { "any".to_owned() } else { high.to_string() };
    let variants = match measure.variants {
        [] => String::new(),
        variants => format!("; the best of {}", variants.join(", ")),
    };
    vec![
        ("title", format!("{}{cross}", measure.title)),
        ("formula", measure.formula.to_owned()),
        ("score", format!("{}, {low} to {high}; a mean over {}{variants}", measure.unit, measure.over)),
        ("threshold", measure.threshold.map_or("none: a high score is no name".to_owned(), |score| score.to_string())),
        ("baseline", measure.baseline.map_or("none", |baseline| baseline.says).to_owned()),
        ("needs", measure.needs.to_owned()),
        ("kinds", kinds.join(", ")),
        ("paper", measure.paper.to_owned()),
    ]
}

/// A number of a table, or a dash.
pub fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_of_titles_is_wider_than_the_longest_title() {
        for title in MEASURES.map(|measure| measure.title) {
            assert!(titles_width([title]) > width(title), "{title}");
        }
        assert_eq!(titles_width(["copies of what comes", "sink"]), 21);
    }

    #[test]
    fn heads_are_listed_as_far_as_there_is_room_and_the_others_counted() {
        let heads = || ["L0H0 0.9", "L0H1 0.8", "L0H2 0.7", "L0H3 0.6", "L0H4 0.5"].map(str::to_owned).into_iter();
        assert_eq!(in_room(heads(), 99), "L0H0 0.9, L0H1 0.8, L0H2 0.7, L0H3 0.6 and 1 more");
        assert_eq!(in_room(heads(), 30), "L0H0 0.9, L0H1 0.8 and 3 more");
        assert_eq!(in_room(heads(), 0), "L0H0 0.9 and 4 more");
        assert_eq!(in_room(heads().skip(4), 20), "L0H4 0.5");
    }
}
