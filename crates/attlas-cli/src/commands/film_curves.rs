//! `attlas film --curves`: when heads come to do what they do, as a picture, a table of rows, and in words.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{MEASURES, Measure, Score};
use attlas::figure::Style;
use attlas::output::write_aside;
use attlas_train::data::{BadLines, read_pairs};
use attlas_train::film::{Curve, Curves, Frame, Options, Reading, Texts};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Value, json};

use super::draw;
use super::film::FilmArguments;
use super::record::without_advice;
use super::train::say_wider_lines;
use crate::failure::{Failure, Outcome};
use crate::inputs::{check_output, read_lines, read_text};
use crate::progress::Progress;
use crate::terminal::{Terminal, printable, wrapped};
use crate::words::inert_json;

/// Sentences of a kind and measure that are said; the others are counted.
const MOST_SENTENCES: usize = 4;

/// The columns of a table of curves.
const COLUMNS: &str = "step,kind,layer,head,measure,score,baseline,low,high,n_rows,threshold,named,absent";

/// What `attlas film` takes for curves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Curves")]
pub struct CurvesArguments {
    /// Draw the scores of all heads over the checkpoints instead of the maps of some.
    #[arg(long)]
    pub curves: bool,
    /// Measure heads on these pairs instead of TEXT: source, tab, target on each line.
    #[arg(long, value_name = "FILE.tsv", conflicts_with_all = ["lines", "target"])]
    pub pairs: Option<PathBuf>,
    /// Measure heads on these texts instead of TEXT, one on each line; the decoder reads the last checkpoint's translations.
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub lines: Option<PathBuf>,
    /// A measure whose curves are drawn and told; repeat for several [default: those under which some head changes].
    #[arg(long = "measure", value_name = "NAME", requires = "curves", value_parser = parse_measure())]
    pub measures: Vec<&'static Measure>,
    /// Width of the picture: 16cm, 160mm, 6in, or points [default: by content].
    #[arg(long, value_name = "WIDTH", requires = "curves", value_parser = draw::parse_width)]
    pub width: Option<f32>,
    /// Print the scores as a JSON array: one row for each step, head and measure.
    #[arg(long, requires = "curves")]
    pub json: bool,
}

impl CurvesArguments {
    /// The files of texts.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.pairs.iter().chain(&self.lines).map(PathBuf::as_path)
    }
}

/// A measure, by its name.
fn parse_measure() -> impl TypedValueParser<Value = &'static Measure> {
    PossibleValuesParser::new(MEASURES.iter().map(|measure| measure.name)).try_map(|name| {
        let found = Measure::named(&name);
        found.ok_or_else(|| format!("there is no measure {name}"))
    })
}

/// Measures, and writes and tells what was asked for.
pub fn run(arguments: &FilmArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let measures = &arguments.curves.measures;
    let output = arguments.output.as_ref().map(|path| Ok::<_, Failure>((Format::of(path)?, path))).transpose()?;
    if let Some((_, path)) = output {
        check_output(path, arguments.text.iter().map(Path::new).chain(arguments.curves.files()))?;
    }
    let text = arguments.text.as_ref().map(|raw| read_text(raw, "TEXT")).transpose()?;
    let (curves, outcome) = measured(arguments, text, &arguments.options()?)?;
    if let Some((format, path)) = output {
        match format {
            Format::Csv => write_aside(path, |file| write_csv(file, &curves, measures))?,
            Format::Picture(format) => {
                let style = Style { size: arguments.curves.width, ..Style::default() };
                format.write(&curves.figure(measures, &style), path)?;
            }
        }
    }
    if arguments.curves.json {
        let rows: Value = rows(&curves, measures).map(|row| row.to_json()).collect();
        writeln!(terminal, "{}", inert_json(&rows.to_string()))?;
        return Ok(outcome);
    }
    if let Some((_, path)) = output {
        let n = curves.frames.len();
        writeln!(terminal, "{}: curves over {n} checkpoints", printable(&path.display().to_string()))?;
    }
    say_emergence(&curves, measures, terminal)?;
    Ok(outcome)
}

/// What curves can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Picture(draw::Format),
}

impl Format {
    fn of(path: &Path) -> Result<Format, Failure> {
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
            return Ok(Format::Csv);
        }
        let other = |_| Failure::Usage(format!("-o {}: curves are .svg, .pdf, .png or .csv files", path.display()));
        Ok(Format::Picture(draw::Format::of(path).map_err(other)?))
    }
}

/// The curves of the texts that were given, and whether some were left out.
pub fn measured(
    arguments: &FilmArguments,
    text: Option<String>,
    options: &Options,
) -> Result<(Curves, Outcome), Failure> {
    let (texts, outcome) = texts(&arguments.curves, text, options.target.as_deref())?;
    let mut progress: Option<Progress> = None;
    let curves = Curves::of(&arguments.folder, &texts, options, &mut |_, all| {
        progress.get_or_insert_with(|| Progress::new("checkpoint", all)).step();
    })?;
    Ok((curves, outcome))
}

/// What heads are measured on.
fn texts(arguments: &CurvesArguments, text: Option<String>, target: Option<&str>) -> Result<(Texts, Outcome), Failure> {
    if let Some(path) = &arguments.pairs {
        let text = read_pairs(path, BadLines::Refuse).map_err(without_advice)?;
        say_wider_lines(text.n_wider);
        return Ok((Texts::Pairs(text.pairs), Outcome::Done));
    }
    if let Some(path) = &arguments.lines {
        let (sources, some_skipped) = read_lines(path)?;
        let outcome = if some_skipped { Outcome::SomeSkipped } else { Outcome::Done };
        return Ok((Texts::Sources(sources), outcome));
    }
    let Some(text) = text else {
        return Err(Failure::Usage("heads are measured on a text: give TEXT, --pairs FILE.tsv or --lines FILE".into()));
    };
    let texts = match target {
        Some(target) => Texts::Pairs(vec![(text, target.to_owned())]),
        None => Texts::Sources(vec![text]),
    };
    Ok((texts, Outcome::Done))
}

/// Whether a curve is among those asked for.
fn is_asked(curve: &Curve, measures: &[&'static Measure]) -> bool {
    measures.is_empty() || measures.contains(&curve.measure)
}

/// Says what heads become, and lose; of those that are named at every checkpoint, or at none, how many.
pub fn say_emergence(curves: &Curves, measures: &[&'static Measure], terminal: &mut Terminal) -> Result<(), Failure> {
    let asked: Vec<&Curve> = curves.curves.iter().filter(|curve| is_asked(curve, measures)).collect();
    let mut n_changing = 0;
    for group in asked.chunk_by(|a, b| (a.kind, a.measure) == (b.kind, b.measure)) {
        let (changing, others): (Vec<&Curve>, Vec<&Curve>) =
            group.iter().copied().partition(|curve| curve.emergence().is_change());
        n_changing += changing.len();
        let mut changing = changing;
        changing.sort_by_key(|curve| {
            let emergence = curve.emergence();
            (emergence.since.is_none(), emergence.since, curve.head)
        });
        for curve in changing.iter().take(MOST_SENTENCES) {
            let sentence = curve.sentence(&curves.frames).unwrap_or_default();
            say(&format!("{:<8}{sentence}", curve.kind), terminal)?;
        }
        let n_more = changing.len().saturating_sub(MOST_SENTENCES);
        if n_more > 0 {
            let is_or_was = format!("{n_more} more become {} or lose it (--json has all)", group[0].title());
            say(&format!("{:<8}{is_or_was}", group[0].kind), terminal)?;
        }
        let n_always = others.iter().filter(|curve| curve.emergence().is_any()).count();
        if n_always > 0 {
            let heads = super::counted(n_always, "head");
            let verb = if n_always == 1 { "is" } else { "are" };
            let line = format!("{:<8}{heads} {verb} {} at every checkpoint", group[0].kind, group[0].title());
            say(&line, terminal)?;
        }
    }
    if n_changing == 0 {
        writeln!(terminal, "No head becomes anything on these texts, or loses it.")?;
    }
    let how = format!(
        "Measured on {}, at {} checkpoints; between them nothing is known. A head becomes what it does at the first one from which on \
         it is named to the end. Weights are not importance.",
        curves.measured_on(),
        curves.frames.len()
    );
    for line in wrapped(&how, terminal.width) {
        writeln!(terminal, "{}", terminal.dim(&line))?;
    }
    Ok(())
}

/// A line, continued under its second column where it is longer than the terminal is wide.
fn say(line: &str, terminal: &mut Terminal) -> Result<(), Failure> {
    let (kind, rest) = line.split_at(8);
    let lines = wrapped(rest, terminal.width.saturating_sub(8).max(20));
    for (kind, line) in std::iter::once(kind).chain(std::iter::repeat("        ")).zip(lines) {
        writeln!(terminal, "{kind}{line}")?;
    }
    Ok(())
}

/// A score of a head at a moment.
struct TableRow<'a> {
    frame: Frame,
    curve: &'a Curve,
    reading: &'a Reading,
}

/// The rows of the table: by kind, measure and head, then over time.
fn rows<'a>(curves: &'a Curves, measures: &'a [&'static Measure]) -> impl Iterator<Item = TableRow<'a>> {
    let asked = curves.curves.iter().filter(|curve| is_asked(curve, measures));
    asked.flat_map(|curve| {
        let at = curves.frames.iter().zip(&curve.readings);
        at.map(move |(frame, reading)| TableRow { frame: *frame, curve, reading })
    })
}

impl TableRow<'_> {
    fn to_json(&self) -> Value {
        let TableRow { frame, curve, reading } = self;
        let mut row = json!({
            "step": frame.step,
            "kind": curve.kind,
            "layer": curve.head.layer,
            "head": curve.head.head,
            "measure": curve.measure.name,
            "score": null,
            "baseline": null,
            "low": null,
            "high": null,
            "n_rows": 0,
            "threshold": curve.measure.threshold,
            "named": reading.named,
        });
        match reading.score {
            Ok(Score { value, interval, baseline, n }) => {
                row["score"] = value.into();
                row["baseline"] = baseline.into();
                row["low"] = interval.map(|(low, _)| low).into();
                row["high"] = interval.map(|(_, high)| high).into();
                row["n_rows"] = n.into();
            }
            Err(absence) => row["absent"] = absence.says().into(),
        }
        row
    }

    /// The same in the order of [`COLUMNS`]; what is absent is empty.
    fn to_csv(&self) -> String {
        let row = self.to_json();
        let cell = |column: &str| match &row[column] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        COLUMNS.split(',').map(cell).collect::<Vec<_>>().join(",")
    }
}

fn write_csv(file: &mut impl Write, curves: &Curves, measures: &[&'static Measure]) -> std::io::Result<()> {
    writeln!(file, "{COLUMNS}")?;
    rows(curves, measures).try_for_each(|row| writeln!(file, "{}", row.to_csv()))
}
