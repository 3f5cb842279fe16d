//! `attlas film --curves`: when heads come to do what they do, as a picture, a table of rows, and in words.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{MEASURES, ScoreRow};
use attlas::figure::Style;
use attlas_survey::table::Cells;
use attlas_train::data::{BadLines, read_pairs};
use attlas_train::film::{Choice, Curve, Curves, Options, Texts};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::film::FilmArguments;
use super::pair_lines::say_wider_lines;
use super::record::without_advice;
use super::{counted, draw};
use crate::failure::{Failure, Outcome};
use crate::inputs::{check_output, read_lines, read_text};
use crate::progress::Progress;
use crate::table_file::{Table, TableOrPicture, scores_table, write_table};
use crate::terminal::{Terminal, print_json, printable, remark, wrapped};

/// Sentences of a kind and measure that are said; the others are counted.
const MOST_SENTENCES: usize = 4;

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
    #[arg(long = "measure", value_name = "NAME", requires = "curves", value_parser = PossibleValuesParser::new(MEASURES.iter().map(|measure| measure.name)))]
    pub measures: Vec<String>,
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

/// Measures, and writes and tells what was asked for.
pub fn run(arguments: &FilmArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if let (Some(_), Some(file)) = (&arguments.text, arguments.curves.files().next()) {
        let message = "heads are measured on the texts of a file or on TEXT, and both are given:";
        return Err(Failure::Usage(format!("{message} leave out TEXT or {}", file.display())));
    }
    if let Some(path) = &arguments.output {
        check_output(path, arguments.text.iter().map(Path::new).chain(arguments.curves.files()))?;
    }
    let form = arguments.output.as_deref().map(|path| TableOrPicture::of(path, "curves")).transpose()?;
    let output = form.zip(arguments.output.as_deref());
    let text = arguments.text.as_ref().map(|raw| read_text(raw, "TEXT")).transpose()?;
    let (curves, outcome) = measured(arguments, text, &arguments.options()?)?;
    let choice = if arguments.curves.measures.is_empty() { Choice::Changing } else { Choice::All };
    let curves = curves.only(&arguments.curves.measures);
    let (missing, n_missing) = without_scores(&curves);
    if !arguments.curves.measures.is_empty() {
        if n_missing == curves.groups().count() && matches!(form, Some(TableOrPicture::Picture(_))) {
            return Err(Failure::Input(format!("there is nothing to draw: {}", missing.join("; "))));
        }
        missing.iter().for_each(|text| remark(text));
    }
    if let Some((form, path)) = output {
        match form {
            TableOrPicture::Table => write_table(path, &curves_table(&curves))?,
            TableOrPicture::Picture(format) => {
                let style = Style { size: arguments.curves.width, ..Style::default() };
                draw::write_figure(format, &curves.figure(choice, &style), path)?;
            }
        }
    }
    if arguments.curves.json {
        print_json(&curves_table(&curves).json(), terminal)?;
        return Ok(outcome);
    }
    if let Some((_, path)) = output {
        let n_checkpoints = counted(curves.frames.len(), "checkpoint");
        writeln!(terminal, "{}: curves over {n_checkpoints}", printable(&path.display().to_string()))?;
    }
    say_emergence(&curves, terminal)?;
    Ok(outcome)
}

/// The measures that have no score at all for some kinds of attention, with the reason; how many groups of curves these are.
fn without_scores(curves: &Curves) -> (Vec<String>, usize) {
    let mut missing: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new(); // measure and reason, kinds
    for group in curves.groups() {
        if group.iter().flat_map(|curve| &curve.readings).all(|reading| reading.score.is_none()) {
            let reason = group[0].readings.first().and_then(|reading| reading.absent.as_deref());
            let reason = reason.unwrap_or("nothing was read");
            missing.entry((group[0].measure.name, reason)).or_default().push(group[0].kind.name());
        }
    }
    let n_groups = missing.values().map(Vec::len).sum();
    let sentence = |((measure, reason), kinds): (&(&str, &str), &Vec<&str>)| {
        format!("{measure} has no score ({}): {reason}", kinds.join(", "))
    };
    (missing.iter().map(sentence).collect(), n_groups)
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

/// Says what heads become, and lose; of those that are named at every checkpoint how many there are.
pub fn say_emergence(curves: &Curves, terminal: &mut Terminal) -> Result<(), Failure> {
    let mut groups: Vec<&[Curve]> = curves.groups().collect();
    // what says more comes first: alignment, other names, and last those that hold of many heads
    groups.sort_by_key(|group| (group[0].measure.is_general, group[0].measure.name != "alignment"));
    for group in groups {
        say_group(group, curves, terminal)?;
    }
    if !curves.curves.iter().any(|curve| curve.emergence().is_change()) {
        writeln!(terminal, "No head becomes anything on these texts, or loses it.")?;
    }
    let how = format!(
        "Measured on {}, at {}; between them nothing is known. A head becomes what it does at the first one from which on \
         it is named to the end. Weights are not importance.",
        curves.measured_on(),
        counted(curves.frames.len(), "checkpoint")
    );
    terminal.notes([how])
}

/// The sentences about the heads of a kind under a measure: what is gained before what is lost, the highest scores first.
fn say_group(group: &[Curve], curves: &Curves, terminal: &mut Terminal) -> Result<(), Failure> {
    let (kind, title) = (group[0].kind.name(), group[0].title());
    let (mut changing, others): (Vec<&Curve>, Vec<&Curve>) =
        group.iter().partition(|curve| curve.emergence().is_change());
    let highest =
        |curve: &Curve| curve.readings.iter().filter(|one| one.named).filter_map(|one| one.score).fold(0.0, f64::max);
    changing.sort_by(|a, b| {
        let is_lost = |curve: &Curve| curve.emergence().since.is_none();
        is_lost(a).cmp(&is_lost(b)).then(highest(b).total_cmp(&highest(a))).then(a.head.cmp(&b.head))
    });
    for curve in changing.iter().take(MOST_SENTENCES) {
        say(kind, &curve.sentence(&curves.frames).unwrap_or_default(), terminal)?;
    }
    let rest: Vec<&&Curve> = changing.iter().skip(MOST_SENTENCES).collect();
    if !rest.is_empty() {
        let n_gain = rest.iter().filter(|curve| curve.emergence().since.is_some()).count();
        let n_lose = rest.len() - n_gain;
        let parts = [(n_gain, "become"), (n_lose, "lose it, once")].into_iter().filter(|(n, _)| *n > 0);
        let parts: Vec<String> = parts.map(|(n, verb)| format!("{n} more {verb} {title}")).collect();
        say(kind, &format!("{} (--json has all)", parts.join(", ")), terminal)?;
    }
    let n_always = others.iter().filter(|curve| curve.emergence().is_any()).count();
    if n_always > 0 {
        let verb = if n_always == 1 { "is" } else { "are" };
        say(kind, &format!("{} {verb} {title} at every checkpoint", counted(n_always, "head")), terminal)?;
    }
    Ok(())
}

/// A line about heads of a kind, continued under itself where it is longer than the terminal is wide.
fn say(kind: &str, line: &str, terminal: &mut Terminal) -> Result<(), Failure> {
    let lines = wrapped(line, terminal.width.saturating_sub(8).max(20));
    for (kind, line) in std::iter::once(kind).chain(std::iter::repeat("")).zip(lines) {
        writeln!(terminal, "{kind:<8}{line}")?;
    }
    Ok(())
}

/// The curves as a table: a row for each step, head and measure.
fn curves_table(curves: &Curves) -> Table {
    let steps = curves.rows().map(|row| i64::try_from(row.step).ok()).collect();
    let scores: Vec<ScoreRow> = curves.rows().map(|row| row.score.clone()).collect();
    let mut table = scores_table(&scores);
    table.columns.insert(0, ("step", Cells::Whole(steps)));
    table
}
