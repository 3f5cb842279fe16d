//! `attlas TEXT`, `attlas RECORDING`: the main job. Runs the model, prints its output, a map and what stands out, and writes the page.

use std::io::Write;
use std::path::PathBuf;

use attlas::analysis::{Finding, Standout, standouts};
use attlas::output::write_aside;
use attlas::{Head, Kind, Recording};
use attlas_viewer::{HeadRemark, PageOptions};
use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::inputs::RawText;
use crate::inputs::{
    RunArguments, TextRun, Texts, names_recording, parse_head, parse_kind, pick_kind, pick_layer, read_text,
    recording_of, run_texts,
};
use crate::terminal::{Terminal, draw_heatmap, printable, remark, width};
use crate::view::ViewArguments;

/// Heads named in a line of the table.
const MAX_HEADS: usize = 4;

/// `attlas TEXT`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The text to translate and show; - reads it from standard input. A name that ends in .safetensors is a recording,
    /// which is shown as it is.
    #[arg(value_name = "TEXT")]
    pub text: Option<RawText>,
    #[command(flatten)]
    pub run: RunArguments,
    /// The page to write; it opens in any browser, with no network.
    #[arg(short, long, value_name = "FILE.html", default_value = "atlas.html", help_heading = "Output")]
    pub output: PathBuf,
    /// Write no page.
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    pub no_page: bool,
    /// Megabytes of attention data in the page at most.
    #[arg(long, value_name = "N", default_value_t = PageOptions::DEFAULT_MAX_BYTES >> 20, help_heading = "Output")]
    pub max_page_mb: u64,
    /// The attention of the map in the terminal [default: cross, else decoder, else encoder].
    #[arg(long, value_parser = parse_kind(), help_heading = "Map in the terminal")]
    pub kind: Option<Kind>,
    /// Its layer, counted from 0 [default: the last].
    #[arg(long, value_name = "N", help_heading = "Map in the terminal")]
    pub layer: Option<usize>,
    /// Its head, counted from 0, or "mean" for all heads of the layer together.
    #[arg(long, value_name = "N", default_value = "mean", value_parser = parse_head)]
    #[arg(help_heading = "Map in the terminal")]
    pub head: Head,
    #[command(flatten, next_help_heading = "Map in the terminal")]
    pub view: ViewArguments,
}

/// Shows what the heads do with a text.
pub fn run(arguments: &ShowArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let Some(raw) = &arguments.text else {
        return Err(Failure::Usage("no TEXT was given; `attlas help` shows how to call it".into()));
    };
    let (run, title) = if names_recording(raw) {
        (TextRun { recording: recording_of(raw, &arguments.run)?, outputs: Vec::new() }, None)
    } else {
        let text = read_text(raw, "TEXT")?;
        let texts = Texts { sources: vec![text.clone()], targets: arguments.run.target_texts()? };
        (run_texts(&texts, &arguments.run)?, Some(text))
    };
    run.say_notes();
    for output in &run.outputs {
        writeln!(terminal, "{}", terminal.bold(&printable(output)))?;
    }
    print_map(&run.recording, arguments, terminal)?;
    let found = standouts(&run.recording, 0)?;
    print_standouts(&run.recording, &found, terminal)?;
    if !arguments.no_page {
        write_page(&run.recording, &found, title, arguments)?;
        let name = printable(&arguments.output.display().to_string());
        writeln!(terminal, "\n{}: every head, in any browser, offline", terminal.bold(&name))?;
    }
    Ok(Outcome::Done)
}

fn print_map(recording: &Recording, arguments: &ShowArguments, terminal: &mut Terminal) -> Result<(), Failure> {
    let kind = pick_kind(recording, arguments.kind)?;
    let layer = pick_layer(recording, kind, arguments.layer)?;
    let view = arguments.view.view(recording, 0, kind, layer, arguments.head)?;
    writeln!(terminal, "\n{}", terminal.bold(&format!("{}, {}", kind.title(), view.title())))?;
    draw_heatmap(terminal, &view)?;
    for remark in view.remarks() {
        writeln!(terminal, "{}", terminal.dim(remark))?;
    }
    Ok(())
}

/// The table of what stands out: one line for each finding of each kind, its best heads first.
fn print_standouts(recording: &Recording, found: &[Standout], terminal: &mut Terminal) -> Result<(), Failure> {
    let groups: Vec<&[Standout]> = found.chunk_by(|a, b| (a.kind, a.finding) == (b.kind, b.finding)).collect();
    writeln!(terminal)?;
    if groups.is_empty() {
        writeln!(terminal, "No head stands out over its baseline on this text.")?;
    } else {
        let line = format!("{:<9}{:<21}{:<10}{}", "kind", "what stands out", "baseline", "heads and their scores");
        writeln!(terminal, "{}", terminal.bold(&line))?;
    }
    let mut last = None;
    for group in groups {
        let kind = if last == Some(group[0].kind) { "" } else { group[0].kind.name() };
        last = Some(group[0].kind);
        let baseline = baseline(group);
        let head = format!("{kind:<9}{:<21}{baseline:<10}", group[0].name());
        let room = terminal.width.saturating_sub(width(&head)).max(20);
        writeln!(terminal, "{head}{}", heads(group, room))?;
    }
    let rows: Vec<String> = recording
        .kinds()
        .into_iter()
        .filter_map(|kind| recording.layers_of(kind).next().map(|layer| (kind, layer.shape)))
        .map(|(kind, shape)| format!("{kind} {} × {}", shape.n_queries, shape.n_keys))
        .collect();
    let measured = format!(
        "Measured on this text alone ({} tokens): a hint, not a law. Weights are not importance.",
        rows.join(", ")
    );
    for line in wrapped(&measured, terminal.width) {
        writeln!(terminal, "{}", terminal.dim(&line))?;
    }
    Ok(())
}

/// The baseline of the group; for broad heads, whose baseline is the top of the scale, the threshold.
fn baseline(group: &[Standout]) -> String {
    match group[0].finding {
        Finding::Broad => format!("> {:.2}", group[0].threshold),
        _ => {
            let largest = group.iter().map(|standout| standout.baseline).fold(0.0, f64::max);
            format!("{largest:.2}")
        }
    }
}

/// `L0H3 0.93, L1H2 0.71 and 2 more`, as many as there is room for.
fn heads(group: &[Standout], room: usize) -> String {
    let mut line = String::new();
    let mut n_named = 0;
    for standout in group.iter().take(MAX_HEADS) {
        let named = format!("{}{} {:.2}", if n_named > 0 { ", " } else { "" }, standout.head, standout.score);
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

/// `text` in lines of at most `cells`, broken at spaces.
fn wrapped(text: &str, cells: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full = lines.last().is_some_and(|line| !line.is_empty() && width(line) + 1 + width(word) > cells);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

fn write_page(
    recording: &Recording,
    found: &[Standout],
    title: Option<String>,
    arguments: &ShowArguments,
) -> Result<(), Failure> {
    let of_head = |standout: &Standout| HeadRemark {
        kind: standout.kind,
        head: standout.head,
        text: format!("{} {:.2}", standout.name(), standout.score),
    };
    let options = PageOptions {
        title,
        remarks: found.iter().map(of_head).collect(),
        max_bytes: arguments.max_page_mb.saturating_mul(1 << 20),
        ..PageOptions::default()
    };
    let page = attlas_viewer::page(recording, &options)?;
    if !attlas_viewer::fits(recording, &options)? {
        remark("the maps are too large for a page of every weight: each cell of it is the largest weight of a tile");
    }
    Ok(write_aside(&arguments.output, |file| file.write_all(page.as_bytes()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
    }
}
