//! `attlas film`: how heads came to be, over a training that kept checkpoints.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use attlas::output::write_aside;
use attlas::{HeadId, Kind};
use attlas_train::film::{Curves, Film, Options};
use clap::Args;

use super::counted;
use super::film_curves::{self, CurvesArguments, say_emergence};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{RawText, check_output, read_text};
use crate::terminal::{Terminal, printable};

const EXAMPLES: &str = "\
Examples:
  attlas film translator \"The cat sat on the mat.\" -o film.html
  attlas film translator \"The cat sat on the mat.\" --then longer --frames 12 -o film.svg
  attlas film translator \"A red apple.\" --target \"Une pomme rouge.\" --head cross:L1H3 --head encoder:L0H0 -o film.gif
  attlas film translator --curves --pairs valid.tsv -o curves.svg      when heads become what they are
  attlas film translator --curves --pairs valid.tsv --measure previous --json

FOLDER is one that `attlas train --film N` wrote. Without --head the film shows the heads of each kind that changed most.
A page also has the curves of --curves: of TEXT, or of the texts of --pairs or --lines, which say more: a score is a mean over
rows, and a sentence has few. Among curves are those of measures under which some head changes, unless --measure names others.
A head becomes what it does at the first checkpoint from which on it is named to the end (`attlas heads --measures`).";

/// `attlas film`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct FilmArguments {
    /// The folder of the training.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The sentence that the heads are shown on; - reads it from standard input.
    #[arg(value_name = "TEXT", required_unless_present = "curves")]
    pub text: Option<RawText>,
    /// The target that the decoder reads [default: the last checkpoint's translation].
    #[arg(long, value_name = "TEXT")]
    pub target: Option<RawText>,
    /// A head to show, as cross:L1H3; repeat for several.
    #[arg(long = "head", value_name = "KIND:HEAD", value_parser = parse_head, conflicts_with = "curves")]
    pub heads: Vec<(Kind, HeadId)>,
    /// The folder of a run that went on from it (`attlas train --init FOLDER/model.safetensors`); repeat for several.
    #[arg(long, value_name = "FOLDER")]
    pub then: Vec<PathBuf>,
    /// At most N frames, evenly chosen, the first and the last among them [default: all].
    #[arg(long, value_name = "N")]
    pub frames: Option<NonZeroUsize>,
    /// The film to write: .html, .svg or .gif; curves: .svg, .pdf, .png, .parquet, .csv or .json.
    #[arg(short, long, value_name = "FILE", required_unless_present = "json")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub curves: CurvesArguments,
}

impl FilmArguments {
    /// What of the training is looked at.
    pub fn options(&self) -> Result<Options, Failure> {
        let target = self.target.as_ref().map(|raw| read_text(raw, "--target")).transpose()?;
        Ok(Options { target, heads: self.heads.clone(), then: self.then.clone(), frames: self.frames })
    }
}

/// What a film can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Svg,
    Gif,
}

impl Format {
    fn of(path: &Path) -> Result<Format, Failure> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("html") => Ok(Format::Html),
            Some("svg") => Ok(Format::Svg),
            Some("gif") => Ok(Format::Gif),
            _ => Err(Failure::Usage(format!("{}: a film is written as .html, .svg or .gif", path.display()))),
        }
    }
}

/// Draws the film, or its curves.
pub fn run(arguments: &FilmArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.curves.curves {
        return film_curves::run(arguments, terminal);
    }
    // without --curves clap asks for both
    let (Some(output), Some(text)) = (&arguments.output, &arguments.text) else {
        return Err(Failure::Usage("TEXT and -o FILE are needed".into()));
    };
    let format = Format::of(output)?;
    check_output(output, [Path::new(text)].into_iter().chain(arguments.curves.files()))?;
    if format != Format::Html && arguments.curves.files().next().is_some() {
        return Err(Failure::Usage("--pairs and --lines are for curves: add --curves, or write a page (.html)".into()));
    }
    let text = read_text(text, "TEXT")?;
    let options = arguments.options()?;
    let film = Film::of(&arguments.folder, &text, &options)?;
    let mut curves: Option<Curves> = None;
    let mut outcome = Outcome::Done;
    let bytes = match format {
        Format::Html => {
            let target = Some(film.target_text.clone());
            let options = Options { target, ..options };
            let (measured, of_texts) = film_curves::measured(arguments, Some(text), &options)?;
            outcome = of_texts;
            let page = film.to_html(Some(&measured)).into_bytes();
            curves = Some(measured);
            page
        }
        Format::Svg => film.to_svg()?.into_bytes(),
        Format::Gif => film.to_gif()?,
    };
    write_aside(output, |file| file.write_all(&bytes))?;
    let name = printable(&output.display().to_string());
    writeln!(
        terminal,
        "{name}: {} of {}; {} → {}",
        counted(film.frames.len(), "frame"),
        counted(film.heads.len(), "head"),
        printable(&film.source_text),
        printable(&film.target_text)
    )?;
    if let Some(curves) = curves {
        say_emergence(&curves, terminal)?;
    }
    Ok(checks::outcome(film.complaint().as_deref()).or(outcome))
}

/// Reads `cross:L1H3`.
fn parse_head(text: &str) -> Result<(Kind, HeadId), String> {
    let explain =
        || format!("\"{text}\" is no head; write one as cross:L1H3, the kind being encoder, decoder or cross");
    let (kind, head) = text.split_once(':').ok_or_else(explain)?;
    Ok((kind.parse().map_err(|_| explain())?, head.parse().map_err(|_| explain())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_kind_a_layer_and_a_number() {
        assert_eq!(parse_head("cross:L1H3"), Ok((Kind::Cross, HeadId { layer: 1, head: 3 })));
        assert!(parse_head("L1H3").unwrap_err().contains("write one as cross:L1H3"));
        assert!(parse_head("sideways:L1H3").is_err());
    }
}
