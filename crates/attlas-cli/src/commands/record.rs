//! `attlas record TEXT… -o RUN.safetensors`.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::Recording;
use attlas::recording::complaint;
use clap::Args;

use super::counted;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::RawText;
use crate::inputs::{
    IdList, RunArguments, Texts, check_output, model_files, parse_ids, read_texts, run_ids, run_texts,
};
use crate::terminal::{Terminal, printable};

const EXAMPLES: &str = "\
Examples:
  attlas record \"The cat sat on the mat.\" -o run.safetensors
  attlas record \"A red apple.\" --target \"Une pomme rouge.\" -o run.safetensors
  attlas record \"I am here.\" \"The woman who lives next door is a doctor.\" -o batch.safetensors
  attlas record photo.jpg --model VISION-DIR -o run.safetensors
  attlas record speech.wav --model WHISPER-DIR -o run.safetensors
  attlas record --model DIR --source-ids 10,42,87 --target-ids 1,23 -o run.safetensors

Several texts make one padded batch. Without --target the model generates the target, token by token.";

/// `attlas record`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArguments {
    /// The texts; - reads one from standard input. A vision model takes images (PNG, JPEG), a speech model sounds (WAV).
    #[arg(value_name = "TEXT", required_unless_present_any = ["source_ids", "target_ids"])]
    pub texts: Vec<RawText>,
    #[command(flatten)]
    pub run: RunArguments,
    /// Token ids of the source instead of a text; no tokenizer is needed. Repeat for a batch.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with = "texts")]
    pub source_ids: Vec<IdList>,
    /// Token ids the decoder reads, its start token included. Repeat for a batch.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["texts", "target"])]
    pub target_ids: Vec<IdList>,
    /// Keep the values too, for analyses that weigh them.
    #[arg(long)]
    pub values: bool,
    /// The recording to write.
    #[arg(short, long, value_name = "RUN.safetensors")]
    pub output: PathBuf,
}

/// Runs the model and saves the recording.
pub fn run(arguments: &RecordArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let model = model_files(&arguments.run.model);
    let inputs = arguments.texts.iter().map(Path::new).chain(model.iter().map(PathBuf::as_path));
    check_output(&arguments.output, inputs)?;
    let mut options = arguments.run.clone();
    options.values = arguments.values;
    let (run, some_skipped) = if arguments.texts.is_empty() {
        (run_ids(&arguments.source_ids, &arguments.target_ids, &options)?, false)
    } else {
        let (texts, some_skipped) = read_texts(&arguments.texts)?;
        let targets = options.target_texts()?;
        if !targets.is_empty() && targets.len() != arguments.texts.len() {
            return Err(Failure::Usage(format!(
                "{} for {}; give --target once for each text",
                counted(targets.len(), "target"),
                counted(arguments.texts.len(), "text")
            )));
        }
        let targets = texts.iter().filter_map(|(index, _)| targets.get(*index).cloned()).collect();
        let sources = texts.into_iter().map(|(_, text)| text).collect();
        (run_texts(&Texts { sources, targets }, &options)?, some_skipped)
    };
    run.recording.save(&arguments.output)?;
    run.say_notes();
    for text in &run.outputs {
        writeln!(terminal, "{}", printable(text))?;
    }
    writeln!(terminal, "{}: {}", printable(&arguments.output.display().to_string()), contents(&run.recording))?;
    let outcome = checks::outcome(complaint(&run.recording.check()?).as_deref());
    Ok(if some_skipped { Outcome::SomeSkipped } else { outcome })
}

/// What a recording holds, in a line.
pub fn contents(recording: &Recording) -> String {
    let kinds = recording.kinds().into_iter().map(|kind| {
        let layers: Vec<_> = recording.layers_of(kind).collect();
        let n_heads: usize = layers.iter().map(|layer| layer.shape.n_heads).sum();
        format!("{kind} {} and {}", counted(layers.len(), "layer"), counted(n_heads, "head"))
    });
    format!("{}; {}", counted(recording.items.len(), "text"), kinds.collect::<Vec<_>>().join(", "))
}
