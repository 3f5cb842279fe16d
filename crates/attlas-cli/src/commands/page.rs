//! `attlas page RECORDING… -o FILE.html`.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::Annotations;
use attlas::recording::complaint;
use attlas::{Error, HeadId, Kind, Recording};
use attlas_model::explain::HeadPattern;
use attlas_viewer::PageOptions;
use clap::Args;

use super::record::contents;
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    Material, RawText, RunArguments, SentenceArguments, TextRun, check_output, head_effects, is_recording, model_files,
    read_text, run_of,
};
use crate::measures::heads_of;
use crate::pages::{PageContent, refuse_no_page, write_page};
use crate::quantities::MapsArguments;
use crate::terminal::{Terminal, printable};

const EXAMPLES: &str = "\
Examples:
  attlas page run.safetensors -o page.html
  attlas page \"The cat sat on the mat.\" -o page.html
  attlas page before.safetensors after.safetensors -o both.html      compared, head by head
  attlas page run.safetensors --open cross:L2H4 --title \"The red apple\" -o page.html
  attlas page run.safetensors --quantity rollout -o page.html        and attention rollout beside the weights
  attlas page run.safetensors --effects ablate.json -o page.html     what `attlas ablate -o ablate.json` measured, head by head
  attlas page run.safetensors --trees en.conllu -o page.html
  attlas page run.safetensors --image photo.jpg -o page.html

One file that opens in any browser, with no network: every head, and what else the recording keeps, such as norms (`attlas
record --quantity norm`).";

/// `attlas page`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PageArguments {
    /// The recordings, or texts to run the model on; of several, the page opens with the first, and compares.
    #[arg(value_name = "RECORDING | TEXT", required = true)]
    pub materials: Vec<RawText>,
    /// The page to write.
    #[arg(short, long, value_name = "FILE.html")]
    pub output: PathBuf,
    /// The page's title [default: the text, or the model].
    #[arg(long, value_name = "TEXT")]
    pub title: Option<RawText>,
    /// The head that the page opens with, L2H4 or with the kind of attention where several have that head: cross:L2H4
    /// [default: the one that stands out most].
    #[arg(long, value_name = "HEAD", value_parser = parse_open)]
    pub open: Option<Open>,
    /// What the output loses with each head, as `attlas ablate TEXT -o FILE.json` measured it: an order of the heads, beside their
    /// weights. Of several recordings, the first one's.
    #[arg(long, value_name = "FILE.json")]
    pub effects: Option<PathBuf>,
    #[command(flatten)]
    pub maps: MapsArguments,
    #[command(flatten)]
    pub content: PageContent,
    #[command(flatten)]
    pub run: RunArguments,
    #[command(flatten)]
    pub sentences: SentenceArguments,
}

/// A head that a page opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    kind: Option<Kind>,
    id: HeadId,
}

fn parse_open(text: &str) -> Result<Open, String> {
    let (kind, id) = text.parse::<HeadPattern>()?.one()?;
    Ok(Open { kind, id })
}

/// Writes the page.
pub fn run(arguments: &PageArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let model = model_files(&arguments.run.model);
    let inputs = arguments.materials.iter().map(Path::new).chain(arguments.content.files());
    let inputs = inputs.chain(arguments.effects.as_deref());
    check_output(&arguments.output, inputs.chain(model.iter().map(PathBuf::as_path)))?;
    refuse_no_page(&arguments.output)?;
    let title = arguments.title.as_deref().map(|title| read_text(title, "--title")).transpose()?;
    let runs = arguments.materials.iter().map(|raw| made(raw, arguments)).collect::<Result<Vec<_>, Failure>>()?;
    runs.iter().for_each(TextRun::say_notes);
    let named: Vec<(&OsStr, &Recording)> =
        arguments.materials.iter().zip(&runs).map(|(raw, run)| (raw.as_os_str(), &run.recording)).collect();
    let options = options_of_all(arguments, title, &named, &runs)?;
    let complaint = options.iter().find_map(|options| complaint(options.checks.as_deref().unwrap_or_default()));
    let all: Vec<(&Recording, &PageOptions)> = runs.iter().map(|run| &run.recording).zip(&options).collect();
    if let [first, others @ ..] = &all[..] {
        write_page(*first, others, &arguments.output)?;
    }
    let name = printable(&arguments.output.display().to_string());
    let of_each: Vec<String> = all.iter().map(|(recording, _)| contents(recording)).collect();
    writeln!(terminal, "{name}: {}", of_each.join(" | "))?;
    Ok(checks::outcome(complaint.as_deref()))
}

/// What the page says of each recording; of the first also which head it opens with, and what was measured of its heads.
fn options_of_all(
    arguments: &PageArguments,
    title: Option<String>,
    named: &[(&OsStr, &Recording)],
    runs: &[TextRun],
) -> Result<Vec<PageOptions>, Failure> {
    let beside = arguments.content.beside(named)?;
    let max_bytes = arguments.content.max_bytes(runs.len());
    let mut all: Vec<PageOptions> = Vec::new();
    for (((raw, _), run), beside) in named.iter().zip(runs).zip(beside) {
        let title = match &title {
            Some(title) if all.is_empty() => Some(title.clone()),
            _ => title_of(raw, runs.len() > 1)?,
        };
        let model_place = arguments.run.model.named();
        let recording_place = raw.to_str().filter(|_| is_recording(raw)).map(str::to_owned);
        all.push(PageOptions { title, beside, max_bytes, model_place, recording_place, ..options_of(run)? });
    }
    if let (Some(options), Some((_, recording))) = (all.first_mut(), named.first()) {
        if let Some(open) = arguments.open {
            options.open = Some((open.kind_in(recording)?, open.id));
        }
        if let Some(path) = &arguments.effects {
            options.effects = Some(head_effects(path, recording)?);
        }
    }
    Ok(all)
}

/// The recording: opened, or made of the text.
fn made(raw: &OsStr, arguments: &PageArguments) -> Result<TextRun, Failure> {
    let mut options = arguments.run.clone();
    options.quantities = arguments.maps.asked()?;
    options.sentences = arguments.sentences.sentences;
    run_of(raw, &options)
}

/// The title of a text's page: the text. Of a recording the model's name says enough, unless there are several.
fn title_of(raw: &OsStr, several: bool) -> Result<Option<String>, Failure> {
    Ok(match Material::read(raw)? {
        Material::Text(text) => Some(text),
        Material::Recording(path) if several => {
            Some(path.file_stem().unwrap_or_default().to_string_lossy().into_owned())
        }
        Material::Recording(_) => None,
    })
}

/// What the page says of a recording, of its first text in words.
fn options_of(run: &TextRun) -> Result<PageOptions, Failure> {
    let recording = &run.recording;
    let all = heads_of(recording, None, &Annotations::NONE)?;
    let of_first = match recording.items.len() {
        0 | 1 => None,
        _ => Some(heads_of(recording, Some(0), &Annotations::NONE)?),
    };
    let about = PageOptions::about(recording, 0, &all, of_first.as_deref().unwrap_or(&all))?;
    Ok(PageOptions { open: run.aligns.map(|head| (Kind::Cross, head)), ..about })
}

impl Open {
    /// The kind of attention that is meant: the one that was named, or the only one with such a head.
    fn kind_in(self, recording: &Recording) -> Result<Kind, Failure> {
        let Open { kind, id } = self;
        let map = |kind: Kind| recording.map(0, kind, id.layer, id.head);
        if let Some(kind) = kind {
            return map(kind).map(|_| kind).map_err(asked);
        }
        let there_are = recording.kinds();
        let having: Vec<Kind> = there_are.iter().copied().filter(|kind| map(*kind).is_ok()).collect();
        match (&having[..], &there_are[..]) {
            (&[kind], _) => Ok(kind),
            ([], &[.., last]) => map(last).map(|_| last).map_err(asked),
            ([], []) => Err(Failure::Usage(format!("--open {id}: the recording has no attention weights"))),
            (several, _) => {
                let names: Vec<String> = several.iter().map(|kind| format!("{kind}:{id}")).collect();
                let names = names.join(" or ");
                Err(Failure::Usage(format!("--open {id}: the recording has several such heads; say which: {names}")))
            }
        }
    }
}

fn asked(error: Error) -> Failure {
    match Failure::from(error) {
        Failure::Usage(message) => Failure::Usage(format!("--open: {message}")),
        other => other,
    }
}
