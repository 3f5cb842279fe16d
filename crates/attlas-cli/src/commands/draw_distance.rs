//! `attlas draw distance`: which heads look alike.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::HeadDistances;
use attlas::recording::complaint;
use attlas::{Error, Kind, view};
use clap::Args;
use serde_json::{Value, json};

use super::draw::{StyleArguments, format_of, write_figure};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{RawText, RunArguments, check_output, model_files, parse_kind, pick_kind, run_of};
use crate::terminal::{Terminal, print_json, printable, remark};

/// `attlas draw distance`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  attlas draw distance \"The cat sat on the mat.\" --kind encoder -o alike.svg
  attlas draw distance batch.safetensors --kind cross -o alike.png      all texts of a batch together
  attlas draw distance run.safetensors --json | jq .median")]
pub struct DistanceArguments {
    /// A recording (a file, or a name that ends in .safetensors), a text, or - for a text from standard input.
    #[arg(value_name = "RECORDING | TEXT")]
    pub material: RawText,
    /// The picture to write: .svg, .pdf or .png.
    #[arg(short, long, value_name = "FILE", required_unless_present = "json")]
    pub output: Option<PathBuf>,
    /// Print one JSON object: the heads, the matrix of their distances, their places in the plane.
    #[arg(long)]
    pub json: bool,
    /// The attention whose heads are compared [default: cross, else decoder, else encoder].
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// One text of a batch, counted from 0 [default: all texts together].
    #[arg(long = "text", value_name = "N")]
    pub item: Option<usize>,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Measures the distances, draws them and writes them.
pub fn run(arguments: &DistanceArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let format = arguments.output.as_deref().map(format_of).transpose()?;
    if let (Some(output), Some(format)) = (&arguments.output, format) {
        arguments.style.check(format, output)?;
        let model = model_files(&arguments.run.model);
        check_output(output, [Path::new(&arguments.material)].into_iter().chain(model.iter().map(PathBuf::as_path)))?;
    }
    arguments.style.say_no_scale();
    let run = run_of(&arguments.material, &arguments.run)?;
    let recording = &run.recording;
    let kind = pick_kind(recording, arguments.kind)?;
    let n_items = recording.items.len();
    if let Some(item) = arguments.item.filter(|item| *item >= n_items) {
        return Err(Error::NoItem { item, n_items }.into());
    }
    run.say_notes_of(arguments.item);
    let distances = match arguments.item {
        Some(item) => HeadDistances::of(recording, kind, item)?,
        None => HeadDistances::of_all(recording, kind)?,
    };
    if let (Some(output), Some(format)) = (&arguments.output, format) {
        let figure = view::distances(recording, &distances, arguments.item, &arguments.style.style());
        write_figure(format, &figure, output)?;
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    if arguments.json {
        print_json(&distances_json(&distances), terminal)?;
    }
    Ok(checks::outcome(complaint(&recording.check()?).as_deref()))
}

/// The distances: of each head its layer, number and place in the plane, and the matrix of all of them; what cannot be said is
/// `null`.
pub fn distances_json(distances: &HeadDistances) -> Value {
    let n = distances.heads.len();
    let (shown, plane) = distances.plane();
    let place = |head: usize| shown.iter().position(|one| *one == head).map(|place| plane.points[place]);
    let head = |place_of: usize| {
        let id = distances.heads[place_of];
        let mut row = json!({ "kind": distances.kind, "layer": id.layer, "head": id.head, "plane": place(place_of) });
        if place(place_of).is_none() {
            row["absent"] = json!("a row of this head has a number that is no weight, or it sees no key");
        }
        row
    };
    let row = |a: usize| (0..n).map(|b| distances.between(a, b)).collect::<Vec<_>>();
    json!({
        "kind": distances.kind,
        "heads": (0..n).map(head).collect::<Vec<_>>(),
        "distances": (0..n).map(row).collect::<Vec<_>>(),
        "median": distances.median(),
        "plane_share": plane.share,
        "n_rows": distances.n_rows,
        "n_queries": distances.n_queries,
    })
}

impl StyleArguments {
    /// Says that options of a colour scale do nothing in a picture that has none.
    fn say_no_scale(&self) {
        for (is_given, option) in
            [(self.scale.is_some(), "--scale"), (self.panel_scale != Default::default(), "--panel-scale")]
        {
            if is_given {
                remark(&format!("{option} does nothing here: the picture has no colour scale"));
            }
        }
    }
}
