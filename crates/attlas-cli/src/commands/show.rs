//! `attlas TEXT`, `attlas RECORDING`: the main job. Runs the model, prints its output, a map and what stands out, and writes the page.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{Annotations, score_rows, standouts};
use attlas::recording::complaint;
use attlas::{Head, Kind, Recording};
use attlas_viewer::{Description, PageOptions};
use clap::Args;

use super::describe::print_sentences;
use super::heads::print_rows;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::RawText;
use crate::inputs::{
    RunArguments, SentenceArguments, TextRun, Texts, check_output, model_files, names_recording, parse_head,
    parse_kind, pick_kind, pick_layer, read_text, run_of, run_texts, which_text,
};
use crate::measures::{heads_of, print_standouts};
use crate::pages::{PageContent, refuse_no_page, write_page};
use crate::terminal::{Terminal, draw_heatmap, print_objects, printable};
use crate::view::ViewArguments;

/// Sentences in the terminal; the page has them all, and so has `attlas describe`.
const N_SENTENCES: usize = 3;

/// `attlas TEXT`.
#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The text to translate and show; - reads it from standard input. A name that ends in .safetensors is a recording,
    /// which is shown as it is.
    #[arg(value_name = "TEXT")]
    pub text: Option<RawText>,
    #[command(flatten)]
    pub run: RunArguments,
    #[command(flatten)]
    pub sentences: SentenceArguments,
    /// The page to write; it opens in any browser, with no network.
    #[arg(short, long, value_name = "FILE.html", default_value = "atlas.html", help_heading = "Output")]
    pub output: PathBuf,
    /// Print what every head scores as an array of rows, as `attlas heads --json` does, in place of the map and the tables.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// Write no page.
    #[arg(long, conflicts_with = "output", help_heading = "Output")]
    pub no_page: bool,
    #[command(flatten)]
    pub content: PageContent,
    /// The text of a batch, counted from 0 [default: the map is text 0's, and the table is about all texts together].
    #[arg(long = "text", id = "item", value_name = "N", help_heading = "Map in the terminal")]
    pub item: Option<usize>,
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
    if !arguments.no_page {
        let model = model_files(&arguments.run.model);
        let inputs = [Path::new(raw)].into_iter().chain(arguments.content.files());
        check_output(&arguments.output, inputs.chain(model.iter().map(PathBuf::as_path)))?;
        refuse_no_page(&arguments.output)?;
    } else if let Some(option) = arguments.content.first_given() {
        return Err(Failure::Usage(format!("{option} is about the page, and --no-page leaves it out")));
    }
    let (run, title) = if names_recording(raw) {
        (run_of(raw, &arguments.run)?, None)
    } else {
        let text = read_text(raw, "TEXT")?;
        let texts = Texts { sources: vec![text.clone()], targets: arguments.run.target_texts()? };
        let options = RunArguments { sentences: arguments.sentences.sentences, ..arguments.run.clone() };
        (run_texts(&texts, &options)?, Some(text))
    };
    if arguments.json {
        run.say_notes()
    } else {
        run.say_provenance()
    }
    let recording = &run.recording;
    let mut beside = arguments.content.beside(&[(raw, recording)])?;
    if !arguments.json {
        print_outputs(&run, terminal)?;
        for (objects, item) in run.objects.iter().zip(&recording.items) {
            print_objects(objects, item, terminal)?;
        }
        print_map(recording, arguments, terminal)?;
    }
    let (all, item) = (heads_of(recording, None, &Annotations::NONE)?, arguments.item.unwrap_or(0));
    let of_item =
        if recording.items.len() > 1 { Some(heads_of(recording, Some(item), &Annotations::NONE)?) } else { None };
    let of_item = of_item.as_deref().unwrap_or(&all);
    let about = PageOptions::about(recording, item, &all, of_item)?;
    let complaint = complaint(about.checks.as_deref().unwrap_or_default());
    let of_text = if arguments.item.is_some() { of_item } else { &all };
    if arguments.json {
        print_rows(&score_rows(of_text), terminal)?;
    } else {
        if let Some(description) = &about.description {
            print_reading(recording, description, terminal)?;
        }
        print_standouts(recording, arguments.item, &standouts(of_text), complaint.as_deref(), terminal)?;
    }
    if !arguments.no_page {
        let options = PageOptions {
            title,
            // the page names a row of cross-attention after what it predicts
            open: run.aligns.map(|head| (Kind::Cross, head)),
            beside: beside.pop().unwrap_or_default(),
            max_bytes: arguments.content.max_bytes(1),
            model_place: arguments.run.model.named(),
            recording_place: raw.to_str().filter(|_| names_recording(raw)).map(str::to_owned),
            ..about
        };
        write_page((recording, &options), &[], &arguments.output)?;
        if !arguments.json {
            let name = printable(&arguments.output.display().to_string());
            writeln!(terminal, "\n{}: every head, in any browser, offline", terminal.bold(&name))?;
        }
    }
    Ok(checks::outcome(complaint.as_deref()))
}

/// What the model wrote for each text, and below it what is to be known of that; of texts that were recorded before, which one it is of.
fn print_outputs(run: &TextRun, terminal: &mut Terminal) -> Result<(), Failure> {
    let outputs = run.outputs.iter().map(Some).chain(std::iter::repeat(None));
    for (place, (item, output)) in run.recording.items.iter().zip(outputs).enumerate() {
        let which = match output {
            Some(output) => {
                writeln!(terminal, "{}", terminal.bold(&printable(output)))?;
                String::new()
            }
            None => which_text(place, run.recording.items.len()),
        };
        terminal.notes(item.remarks().into_iter().map(|remark| format!("{which}{remark}")))?;
    }
    Ok(())
}

fn print_map(recording: &Recording, arguments: &ShowArguments, terminal: &mut Terminal) -> Result<(), Failure> {
    let kind = pick_kind(recording, arguments.kind)?;
    let layer = pick_layer(recording, kind, arguments.layer)?;
    let item = arguments.item.unwrap_or(0);
    let view = arguments.view.view(recording, item, kind, layer, arguments.head)?;
    arguments.view.say_idle(recording, item, &[kind])?;
    let which = match recording.items.len() {
        0 | 1 => String::new(),
        n => format!(", text {item} of {n}, counted from 0"),
    };
    writeln!(terminal, "\n{}", terminal.bold(&format!("{}, {}{which}", kind.title(), view.title())))?;
    draw_heatmap(terminal, &view)?;
    terminal.notes(view.remarks())
}

/// The first sentences of the text's description.
fn print_reading(recording: &Recording, description: &Description, terminal: &mut Terminal) -> Result<(), Failure> {
    let Description { item, sentences } = description;
    writeln!(terminal)?;
    if recording.items.len() > 1 {
        writeln!(terminal, "{}", terminal.bold(&format!("text {item} alone")))?;
    }
    print_sentences(&sentences[..sentences.len().min(N_SENTENCES)], terminal)
}
