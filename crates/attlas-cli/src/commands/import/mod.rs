//! `attlas import MAPS.npz -o RUN.safetensors`.

mod grid;
mod labels;
mod torch;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::arrays::{self, Array, Axes, ImageGrid, ImportOptions, Reading};
use attlas::printable::counted;
use attlas::recording::complaint;
use attlas::{Kind, Recording, TokenRole};
use attlas_model::Tokenizer;
use clap::Args;

use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{check_output, files_in, parse_kind};
use crate::terminal::{Terminal, printable, remark};
use labels::{Labels, parse_labels};

const EXAMPLES: &str = "\
Examples:
  attlas import maps.npz -o run.safetensors
  attlas import attentions.pt --kind encoder --source-tokens \"[CLS] the cat [SEP]\" -o run.safetensors
  attlas import head.npy --kind cross --source-tokens \"The cat sat\" --target-tokens \"Le chat\" -o run.safetensors
  attlas import mha.npy --kind encoder --axes batch,heads,queries,keys -o run.safetensors
  attlas import image.npy --kind encoder --image-grid 14x14+1 -o run.safetensors

Arrays are named encoder, decoder_self and decoder_cross, or as transformers names them: attentions, encoder_attentions,
decoder_attentions, cross_attentions; --kind says it for others. Their axes are [layers, batch, heads, queries, keys],
[layers, heads, queries, keys], [heads, queries, keys] or [queries, keys]. Several layers may be arrays of their own, numbered
(encoder.0, encoder.1, ...): [batch, heads, queries, keys]. --axes says otherwise. A .pt file holds a tensor, the tuple
outputs.attentions, what generate(..., output_attentions=True) gives, or a dictionary of these.
Tokens may also stand in the file, as source_tokens and target_tokens. Pieces of WordPiece (##), of byte-level BPE and of
SentencePiece are joined to words; [CLS], </s> and the like are special tokens, [PAD] and <pad> padding where no query looks.
What is no attention is refused with its layer, head, row and value.";

/// `attlas import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ImportArguments {
    /// The arrays: .npz, .npy or .safetensors, or .pt, .pth or .bin of torch.save.
    #[arg(value_name = "MAPS")]
    pub maps: PathBuf,
    /// Tokens of the source, separated by spaces, or as a JSON list. Once for all texts, or once for each.
    #[arg(long, value_name = "TOKENS", value_parser = parse_labels)]
    pub source_tokens: Vec<Labels>,
    /// Tokens of the target, likewise.
    #[arg(long, value_name = "TOKENS", value_parser = parse_labels)]
    pub target_tokens: Vec<Labels>,
    /// A folder with the tokenizer that cut the tokens: which are special, and which make a word.
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// The kind of arrays whose name does not say it.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// What the axes are, outermost first: layers, batch, heads, queries, keys, in any order; queries and keys are needed.
    #[arg(long, value_name = "AXES")]
    pub axes: Option<Axes>,
    /// The rows are the tokens from the one numbered N on (decoder self-attention of generated tokens) [default: the last ones].
    #[arg(long, value_name = "N")]
    pub query_offset: Option<usize>,
    /// The source's tokens are patches of an image, ROWSxCOLUMNS, after +N tokens that are none (CLS).
    #[arg(long, value_name = "RxC+N", value_parser = grid::parse)]
    pub image_grid: Option<ImageGrid>,
    /// Take rows that sum to more than 1 all the same; pictures say so.
    #[arg(long)]
    pub allow_unnormalised: bool,
    /// Bytes of arrays read at most.
    #[arg(long, value_name = "N", default_value_t = arrays::DEFAULT_MAX_BYTES)]
    pub max_bytes: u64,
    /// The recording to write.
    #[arg(short, long, value_name = "RUN.safetensors")]
    pub output: PathBuf,
}

/// Checks the arrays and writes the recording.
pub fn run(arguments: &ImportArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let of_tokenizer = arguments.tokenizer.as_deref().map(files_in).unwrap_or_default();
    let inputs = [arguments.maps.as_path()].into_iter().chain(of_tokenizer.iter().map(PathBuf::as_path));
    check_output(&arguments.output, inputs)?;
    let tokenizer = arguments.tokenizer.as_deref().map(Tokenizer::load).transpose()?;
    let mut arrays = read(&arguments.maps, arguments)?;
    let in_file = ["source_tokens", "target_tokens"].map(|name| arrays::take_labels(&mut arrays, name));
    let given = [&arguments.source_tokens, &arguments.target_tokens].map(|labels| labels::rows(labels));
    let [source, target] = given.map(Some).map(|rows| rows.filter(|rows| !rows.is_empty()));
    let [source_in_file, target_in_file] = in_file;
    let [source, target] = [source.or(source_in_file), target.or(target_in_file)];
    if let Some(dir) = arguments.tokenizer.as_ref().filter(|_| source.is_none() && target.is_none()) {
        return Err(Failure::Usage(format!(
            "--tokenizer {}: there are no tokens for it; --source-tokens or --target-tokens gives them",
            dir.display()
        )));
    }
    if let Some(tokenizer) = &tokenizer {
        labels::say_unknown([&source, &target], tokenizer);
    }
    let tokens =
        |rows: Option<Vec<Vec<String>>>| rows.map(|rows| attlas_model::tokenizer::recognise(&rows, tokenizer.as_ref()));
    let options = ImportOptions {
        kind: arguments.kind,
        axes: arguments.axes.clone(),
        query_offset: arguments.query_offset,
        source_tokens: tokens(source),
        target_tokens: tokens(target),
        image: arguments.image_grid,
        allow_unnormalised: arguments.allow_unnormalised,
        origin: arguments.maps.display().to_string(),
    };
    let imported = arrays::import_telling(arrays, &options).map_err(|error| in_maps(&arguments.maps, error))?;
    let recording = &imported.recording;
    say_idle(&recording.kinds(), arguments)?;
    let found = recording.save(&arguments.output)?;
    for note in &recording.provenance.remarks() {
        remark(note);
    }
    let output = printable(&arguments.output.display().to_string());
    writeln!(terminal, "{output}: {}", super::record::contents(recording))?;
    for reading in &imported.readings {
        writeln!(terminal, "{}", printable(&told(reading, arguments)))?;
    }
    if let Some(recognised) = recognised(recording) {
        writeln!(terminal, "{recognised}")?;
    }
    // whoever allows it knows it
    let complaint = if arguments.allow_unnormalised { None } else { complaint(&found) };
    Ok(checks::outcome(complaint.as_deref()))
}

/// Tokens of a side that no map of the file has are refused.
fn say_idle(kinds: &[Kind], arguments: &ImportArguments) -> Result<(), Failure> {
    let [has_source, has_target] = [kinds != [Kind::Decoder], kinds != [Kind::Encoder]];
    let given = [&arguments.source_tokens, &arguments.target_tokens].map(|labels| !labels.is_empty());
    let message = match ([has_source, has_target], given) {
        ([false, _], [true, _]) => "--source-tokens does nothing here: a decoder's own tokens are --target-tokens",
        ([_, false], [_, true]) => "--target-tokens does nothing here: an encoder's tokens are --source-tokens",
        _ => return Ok(()),
    };
    Err(Failure::Usage(message.to_owned()))
}

/// The arrays of the file, by what its name says it is.
fn read(maps: &Path, arguments: &ImportArguments) -> Result<BTreeMap<String, Array>, Failure> {
    let extension = maps.extension().map(|extension| extension.to_string_lossy().to_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "pt" | "pth" | "bin" => torch::read(maps, arguments.max_bytes, arguments.kind),
        "npy" | "npz" | "safetensors" => Ok(arrays::read(maps, arguments.max_bytes)?),
        other => Err(Failure::Input(format!(
            "{}: arrays are read from .npy, .npz and .safetensors files, and from .pt, .pth and .bin of torch.save, not from \
             \".{other}\"",
            maps.display()
        ))),
    }
}

/// The library knows the array, the command knows the file.
fn in_maps(maps: &Path, error: attlas::Error) -> Failure {
    let in_file = |message: String| format!("{}: {message}", maps.display());
    match Failure::from(error) {
        Failure::Input(message) => Failure::Input(in_file(message)),
        Failure::Limit(message) => Failure::Limit(in_file(message)),
        other => other,
    }
}

/// How something was read, and the option that says otherwise where none was given.
fn told(reading: &Reading, arguments: &ImportArguments) -> String {
    let (sentence, option, is_given) = match reading {
        Reading::Axes(sentence) => (sentence, "--axes", arguments.axes.is_some()),
        Reading::Kind(sentence) => (sentence, "--kind", arguments.kind.is_some()),
        Reading::Rows(sentence) => (sentence, "--query-offset", arguments.query_offset.is_some()),
    };
    if is_given { sentence.clone() } else { format!("{sentence}; {option} says otherwise") }
}

/// How many special and padding tokens all texts have; `None` without any.
fn recognised(recording: &Recording) -> Option<String> {
    let count = |role: TokenRole| {
        let sides = recording.items.iter().flat_map(|item| [&item.source, &item.target]);
        sides.flat_map(|tokens| &tokens.tokens).filter(|token| token.role == role).count()
    };
    match (count(TokenRole::Special), count(TokenRole::Padding)) {
        (0, 0) => None,
        (special, 0) => Some(format!("{} recognised", counted(special, "special token"))),
        (special, padding) => Some(format!("{}, {padding} of padding recognised", counted(special, "special token"))),
    }
}
