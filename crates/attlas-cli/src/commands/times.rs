//! `attlas times`: when each word of a transcript is spoken.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::spoken::{MEDIAN_WIDTH, Spoken, SpokenUnit, SpokenWord, spoken};
use attlas::figure::{self, Axis, ColorScale, Format, Loudness, Panel, Timeline};
use attlas::view::heads_title;
use attlas::{AttentionMap, HeadId, Kind, Quantity, Recording};
use attlas_model::{Decoding, Model, Spectrogram};
use clap::Args;
use serde::Serialize;

use super::draw::{StyleArguments, format_of, write_figure};
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    Material, RawText, RunArguments, check_output, input_of, is_sound_name, load_model, model_files, run_inputs,
};
use crate::terminal::{Terminal, print_json, printable, remark};
use crate::words::counted;

const EXAMPLES: &str = "\
Examples:
  attlas times speech.wav --model DIR                                  a table: start, end, word
  attlas times speech.wav --model DIR --target \"The cat sat.\" --json
  attlas times speech.wav --model DIR -o times.svg                     beside the spectrogram
  attlas times run.safetensors --head L2H4 --head L3H1 --sound speech.wav -o times.png

The heads of cross-attention that the model's files name as aligning (alignment_heads), else all of the upper half of its layers; of
each the weights of a frame are normalised over the words, a median is taken over some frames, and the mean of the heads gives the
cheapest way from the first word to the last (dynamic time warping), as transformers does.";

/// `attlas times`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TimesArguments {
    /// A sound (WAV), which the model transcribes unless --target is given; or a recording of one.
    #[arg(value_name = "SOUND | RECORDING")]
    pub material: RawText,
    /// A head of cross-attention that aligns, L2H4; once for each [default: those that the model's files name].
    #[arg(long, value_name = "HEAD")]
    pub head: Vec<HeadId>,
    /// Times of tokens, not of words between white space: for languages that are written without it.
    #[arg(long)]
    pub tokens: bool,
    /// The text of a recording, counted from 0.
    #[arg(long = "text", id = "item", default_value_t = 0, value_name = "N")]
    pub item: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Draw the words beside the spectrogram: .svg, .pdf or .png.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The sound that was recorded, for the picture of a recording.
    #[arg(long, value_name = "FILE", requires = "output")]
    pub sound: Option<PathBuf>,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// What is read, and which heads.
struct Read {
    recording: Recording,
    heads: Vec<HeadId>,
    median_width: usize,
    /// The sound's file, where it is known.
    sound: Option<PathBuf>,
}

/// One JSON object.
#[derive(Serialize)]
struct Times<'a> {
    heads: Vec<String>,
    text: usize,
    seconds: f64,
    words: &'a [SpokenWord],
}

/// Finds the times, prints them, and draws them where that was asked for.
pub fn run(arguments: &TimesArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let format = arguments.output.as_deref().map(format_of).transpose()?;
    if let (Some(format), Some(output)) = (format, &arguments.output) {
        arguments.style.check(format, output)?;
        let model = model_files(&arguments.run.model);
        let files = arguments.sound.iter().chain(&model).map(PathBuf::as_path);
        check_output(output, std::iter::once(Path::new(&arguments.material)).chain(files))?;
    }
    let read = arguments.read()?;
    let maps = read.maps(arguments.item)?;
    let unit = if arguments.tokens { SpokenUnit::Tokens } else { SpokenUnit::Words };
    let found = spoken(&maps, read.median_width, unit)?;
    if let Some(path) = &arguments.sound {
        check_length(path, maps[0].item().n_sound, &found)?;
    }
    remark(&format!("{}, medians over {} frames", heads_title(&read.recording, &read.heads), read.median_width));
    let n_empty = found.words.iter().filter(|word| word.start == word.end).count();
    if n_empty > 0 {
        remark(&format!("no frame of its own (start = end): {} of {}", n_empty, counted(found.words.len(), "word")));
    }
    if arguments.json {
        let heads = read.heads.iter().map(HeadId::to_string).collect();
        let seconds = found.n_frames as f64 * found.frame_seconds;
        print_json(&Times { heads, text: arguments.item, seconds, words: &found.words }, terminal)?;
    } else {
        print(&found.words, terminal)?;
    }
    if let (Some(format), Some(output)) = (format, &arguments.output) {
        arguments.draw(&read, &maps, &found, format, output)?;
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    Ok(Outcome::Done)
}

fn print(words: &[SpokenWord], terminal: &mut Terminal) -> Result<(), Failure> {
    writeln!(terminal, "{}", terminal.bold(&format!("{:>8}  {:>8}  word", "start", "end")))?;
    for SpokenWord { word, start, end, .. } in words {
        writeln!(terminal, "{start:>6.2} s  {end:>6.2} s  {}", printable(word))?;
    }
    Ok(())
}

impl TimesArguments {
    /// Opens the recording, or transcribes the sound.
    fn read(&self) -> Result<Read, Failure> {
        match Material::read(&self.material)? {
            Material::Recording(path) => {
                if let Some(option) = self.run.first_given() {
                    let path = path.display();
                    return Err(Failure::Usage(format!("{option} is for running a model, but {path} is a recording")));
                }
                let recording = Recording::open(&path)?;
                let heads = self.heads(&recording, &[]);
                Ok(Read { recording, heads, median_width: MEDIAN_WIDTH, sound: self.sound.clone() })
            }
            Material::Text(source) => {
                let model = load_model(&self.run.model)?;
                if !model.reads_sounds() {
                    let name = model.name();
                    return Err(Failure::Input(format!("{name} reads no sounds; name a speech model with --model")));
                }
                let recording = self.transcribed(&model, &source)?;
                let heads = self.heads(&recording, model.alignment_heads());
                let sound = self.sound.clone().or_else(|| is_sound_name(Path::new(&source)).then(|| source.into()));
                Ok(Read { recording, heads, median_width: model.median_width(), sound })
            }
        }
    }

    fn transcribed(&self, model: &Model, source: &str) -> Result<Recording, Failure> {
        let targets = self.run.target_texts()?;
        if let [_, _, ..] = targets[..] {
            return Err(Failure::Usage(format!("{} targets for one sound", targets.len())));
        }
        let input = input_of(model, source, targets.first().map(String::as_str))?;
        let decoding = if targets.is_empty() { self.run.generation(model) } else { Decoding::TeacherForcing };
        let run = run_inputs(model, &[input], decoding, &self.run)?;
        run.say_notes();
        Ok(run.recording)
    }

    /// The heads that were named, else those that are known to align, else all of the upper half of the layers.
    fn heads(&self, recording: &Recording, known: &[HeadId]) -> Vec<HeadId> {
        let named = if self.head.is_empty() { known } else { &self.head };
        if !named.is_empty() {
            return named.to_vec();
        }
        let layers: Vec<_> = recording.layers_of(Kind::Cross).collect();
        let upper = layers[layers.len() / 2..].iter();
        upper.flat_map(|layer| (0..layer.shape.n_heads).map(|head| HeadId { layer: layer.index, head })).collect()
    }

    /// Draws the words with the mean of the heads, beside the sound where its file is known.
    fn draw(
        &self,
        read: &Read,
        maps: &[AttentionMap<'_>],
        found: &Spoken,
        format: Format,
        output: &Path,
    ) -> Result<(), Failure> {
        let item = maps[0].item();
        let labels = found.rows.clone().map(|row| item.predicted.tokens[row].text.clone());
        let title = heads_title(&read.recording, &read.heads);
        let rows = Axis::labelled("predicted token", labels);
        let columns = Axis::counted("time", found.n_frames);
        let panel = Panel::new(title, mean_weights(maps, found), rows, columns)?;
        let seconds = found.n_frames as f64 * found.frame_seconds;
        let sound = match &read.sound {
            Some(path) => Some(loudness(path, seconds)?),
            None => None,
        };
        let columns_of = |word: &SpokenWord| {
            let column = |seconds: f64| (seconds / found.frame_seconds).round() as usize;
            (word.word.clone(), column(word.start)..column(word.end))
        };
        let timeline = Timeline {
            panel,
            starts: found.starts.clone(),
            words: found.words.iter().map(columns_of).collect(),
            column_seconds: found.frame_seconds as f32,
            sound,
        };
        let mut style = self.style.style();
        if style.title.is_empty() {
            style.title = format!("{}: when each word is spoken", timeline.panel.title());
        }
        let scale = ColorScale::over(timeline.panel.weights(), Quantity::Weight, self.style.scale());
        write_figure(format, &figure::timeline(&timeline, &scale, &style), output)
    }
}

impl Read {
    /// The maps of the heads for one text.
    fn maps(&self, item: usize) -> Result<Vec<AttentionMap<'_>>, Failure> {
        let maps = self.heads.iter().map(|id| self.recording.map(item, Kind::Cross, id.layer, id.head));
        Ok(maps.collect::<Result<_, _>>()?)
    }
}

/// The mean of the heads where the way goes through. Shape `[rows, n_frames]`.
fn mean_weights(maps: &[AttentionMap<'_>], found: &Spoken) -> Vec<f32> {
    let mut mean = vec![0.0; found.rows.len() * found.n_frames]; // [rows, n_frames]
    for map in maps {
        let weights = map.tile(found.rows.clone(), 0..found.n_frames);
        mean.iter_mut().zip(weights).for_each(|(mean, weight)| *mean += weight / maps.len() as f32);
    }
    mean
}

/// Refuses a `--sound` that is longer or shorter than what was recorded. A recording that says no length has all of the frames filled,
/// and the sound may go on behind them; or it is not attlas's own, and the silence that fills it may stand in it.
fn check_length(path: &Path, n_sound: Option<usize>, found: &Spoken) -> Result<(), Failure> {
    let recorded = found.n_frames as f64 * found.frame_seconds;
    let seconds = Spectrogram::open(path, recorded + 4.0 * found.frame_seconds)?.seconds;
    let n_frames = (seconds / found.frame_seconds).round() as usize;
    if n_frames.abs_diff(found.n_frames) <= 1 {
        return Ok(());
    }
    let lasts = if n_frames > found.n_frames { "more than".to_owned() } else { format!("{seconds:.2} s, not") };
    let message = format!("{} lasts {lasts} the {recorded:.2} s that were recorded: another sound?", path.display());
    match n_sound {
        Some(_) => Err(Failure::Input(message)),
        None if n_frames > found.n_frames => Ok(()),
        None => {
            remark(&message);
            Ok(())
        }
    }
}

/// How loud a file is.
fn loudness(path: &Path, seconds: f64) -> Result<Loudness, Failure> {
    let Spectrogram { n_mels, loudness, frame_seconds, .. } = Spectrogram::open(path, seconds)?;
    Ok(Loudness { n_bands: n_mels, loudness, seconds: frame_seconds as f32 })
}
