//! `attlas record TEXT… -o RUN.safetensors`.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::Recording;
use attlas::recording::complaint;
use attlas_train::data::{BadLines, read_pairs};
use clap::Args;

use super::counted;
use super::pair_lines::say_wider_lines;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::RawText;
use crate::inputs::{
    IdList, MAX_MB, RunArguments, SentenceArguments, Sentences, Texts, check_output, model_files, parse_ids,
    read_lines, read_texts, run_ids, run_texts,
};
use crate::quantities::MapsArguments;
use crate::terminal::{Terminal, print_objects, printable};

const EXAMPLES: &str = "\
Examples:
  attlas record \"The cat sat on the mat.\" -o run.safetensors
  attlas record \"A red apple.\" --target \"Une pomme rouge.\" -o run.safetensors
  attlas record \"I am here.\" \"The woman who lives next door is a doctor.\" -o batch.safetensors
  attlas record --lines sentences.txt -o batch.safetensors
  attlas record --pairs pairs.tsv -o batch.safetensors
  attlas record \"The cat sat.\" --quantity norm,rollout -o run.safetensors
  attlas record photo.jpg --model VISION-DIR -o run.safetensors
  attlas record speech.wav --model WHISPER-DIR -o run.safetensors
  attlas record \"USER: <image> What is this? ASSISTANT:\" --image photo.jpg --model LLAVA-DIR -o run.safetensors
  attlas record --model DIR --source-ids 10,42,87 --target-ids 1,23 -o run.safetensors

Several texts make one padded batch. Without --target the model generates the target, token by token.";

/// `attlas record`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct RecordArguments {
    /// The texts; - reads one from standard input. A vision model takes images (PNG, JPEG), a speech model sounds (WAV).
    #[arg(value_name = "TEXT", required_unless_present_any = ["source_ids", "target_ids", "lines", "pairs"])]
    pub texts: Vec<RawText>,
    /// A file with a text on each line; - reads standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["texts", "pairs", "source_ids", "target_ids"])]
    pub lines: Option<PathBuf>,
    /// A file with a pair on each line: source, tab, target; further columns are left out.
    #[arg(long, value_name = "FILE.tsv")]
    #[arg(conflicts_with_all = ["texts", "source_ids", "target_ids", "target", "beam", "max_tokens"])]
    pub pairs: Option<PathBuf>,
    /// An image (PNG, JPEG) that the text has a placeholder for, of a model that reads images among words: `<image>` of LLaVA. Repeat
    /// for several, in the order of their placeholders.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "pairs", "source_ids", "target_ids"])]
    pub image: Vec<PathBuf>,
    #[command(flatten)]
    pub run: RunArguments,
    #[command(flatten)]
    pub sentences: SentenceArguments,
    /// Token ids of the source instead of a text; no tokenizer is needed. Repeat for a batch.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["texts", "target", "from"])]
    pub source_ids: Vec<IdList>,
    /// Token ids the decoder reads, its start token included. Repeat for a batch.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["texts", "target", "from"])]
    pub target_ids: Vec<IdList>,
    /// Keep the values too, for analyses that weigh them.
    #[arg(long)]
    pub values: bool,
    /// Keep the shares of the experts that each token goes through, of a model that is a mixture.
    #[arg(long)]
    pub router: bool,
    #[command(flatten)]
    pub maps: MapsArguments,
    /// Megabytes of queries and keys of several texts at most; each is padded to the longest.
    #[arg(long, value_name = "N", default_value_t = MAX_MB, conflicts_with_all = ["source_ids", "target_ids"])]
    pub max_mb: u64,
    /// The recording to write.
    #[arg(short, long, value_name = "RUN.safetensors")]
    pub output: PathBuf,
}

/// Runs the model and saves the recording.
pub fn run(arguments: &RecordArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let model = model_files(&arguments.run.model);
    let files =
        arguments.lines.iter().chain(&arguments.pairs).chain(&arguments.image).chain(&model).map(PathBuf::as_path);
    let inputs = arguments.texts.iter().map(Path::new).chain(files);
    check_output(&arguments.output, inputs)?;
    let mut options = arguments.run.clone();
    options.values = arguments.values;
    options.images.clone_from(&arguments.image);
    options.router = arguments.router;
    options.quantities = arguments.maps.asked()?;
    options.max_mb = Some(arguments.max_mb);
    // of several texts each stays one, as a reader of their numbers expects
    options.sentences = match arguments.sentences.sentences {
        Sentences::Auto if arguments.texts.len() != 1 => Sentences::Unasked,
        sentences => sentences,
    };
    let is_of_ids = !arguments.source_ids.is_empty() || !arguments.target_ids.is_empty();
    let (run, some_skipped) = if is_of_ids {
        (run_ids(&arguments.source_ids, &arguments.target_ids, &options)?, false)
    } else {
        let (texts, some_skipped) = texts_of(arguments)?;
        (run_texts(&texts, &options)?, some_skipped)
    };
    let checks = run.recording.save(&arguments.output)?;
    run.say_notes();
    for text in &run.outputs {
        writeln!(terminal, "{}", printable(text))?;
    }
    for (objects, item) in run.objects.iter().zip(&run.recording.items) {
        print_objects(objects, item, terminal)?;
    }
    writeln!(terminal, "{}: {}", printable(&arguments.output.display().to_string()), contents(&run.recording))?;
    let outcome = checks::outcome(complaint(&checks).as_deref());
    Ok(if some_skipped { Outcome::SomeSkipped } else { outcome })
}

/// The texts, wherever they come from, and whether some were left out.
fn texts_of(arguments: &RecordArguments) -> Result<(Texts, bool), Failure> {
    if let Some(path) = &arguments.pairs {
        let text = read_pairs(path, BadLines::Refuse).map_err(without_advice)?;
        say_wider_lines(text.n_wider);
        let (sources, targets) = text.pairs.into_iter().unzip();
        return Ok((Texts { sources, targets }, false));
    }
    let (texts, n_given, some_skipped) = match &arguments.lines {
        Some(path) => {
            let (lines, some_skipped) = read_lines(path)?;
            let n_lines = lines.len();
            (lines.into_iter().enumerate().collect(), n_lines, some_skipped)
        }
        None => {
            let (texts, some_skipped) = read_texts(&arguments.texts)?;
            (texts, arguments.texts.len(), some_skipped)
        }
    };
    let targets = arguments.run.target_texts()?;
    if !targets.is_empty() && targets.len() != n_given {
        return Err(Failure::Usage(format!(
            "{} for {}; give --target once for each text",
            counted(targets.len(), "target"),
            counted(n_given, "text")
        )));
    }
    let targets = texts.iter().filter_map(|(index, _)| targets.get(*index).cloned()).collect();
    let sources = texts.into_iter().map(|(_, text)| text).collect();
    Ok((Texts { sources, targets }, some_skipped))
}

/// What is wrong with a file of pairs, without the options of training that would help there.
pub fn without_advice(error: attlas_train::Error) -> Failure {
    match error {
        attlas_train::Error::Pairs { .. } => Failure::Input(error.to_string()),
        error => error.into(),
    }
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
