//! `attlas heads`: what every head does, by score, with baseline and interval.

mod asked;
mod cell;
pub mod counts;
mod like;
mod probe;
mod sources;
mod syntax;
mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::{MEASURES, Measure, ScoreRow, score_rows};
use attlas::figure::Style;
use attlas::output::write_aside;
use attlas::{Kind, view};
use clap::Args;
use serde_json::json;

use self::sources::{Measured, measured};
use self::syntax::TreeArguments;
use super::draw::{StyleArguments, format_of, write_figure};
use crate::checks;
use crate::failure::{Failure, Outcome};
use crate::inputs::{RawText, RunArguments, Span, check_output, model_files, parse_kind, parse_span};
use crate::measures::print_measures;
use crate::table_file::{TableFormat, scores_table, table_format, write_table};
use crate::terminal::{Terminal, print_json, printable};

const EXAMPLES: &str = "\
Examples:
  attlas heads                                     the embedded model, on a built-in set of texts
  attlas heads --model DIR -o heads.html           the same of another model, as a page
  attlas heads \"The cat sat on the mat.\" --json    one text; rows of kind, layer, head, measure, score, baseline …
  attlas heads sentences.txt -o heads.parquet      each line a text, measured together; pairs.tsv: source, tab, target
  attlas heads --find induction --model DIR        all heads by one measure; attlas heads --measures lists them
  attlas heads \"The animal slept because it was tired.\" --query it --key animal
  attlas heads run.safetensors --like pattern.csv  which head looks like this pattern?
  attlas heads --trees en.conllu                   each relation of Universal Dependencies, beside the best fixed offset
  attlas heads --trees gum.conllu --coref          do mentions look at what they stand for? --coref=mentions.jsonl

Of trees, a head finds a word's relation when the largest weight of the word's row, special tokens and the word itself left
out, lies on the word it depends on (child-to-head); or when that word's row has, of all rows, the largest weight on it
(head-to-child). A line of mentions.jsonl:
  {\"text\": \"The cat saw a dog and it ran.\", \"mention\": \"it\", \"antecedent\": \"cat\", \"distractor\": \"dog\"}

A head is named where its score reaches the measure's threshold on five rows or more and the low end of the score's 95 %
interval lies over the baseline, also if each row were all or nothing (docs/measures.md). A name is a hint: attention weights are not importance.

Without a text a built-in set is run: random tokens repeated twice, on which duplicate and induction heads are scored, and for
all else a page of prose, or sentence pairs for a translator.";

/// `attlas heads`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HeadsArguments {
    /// A text, - for a text from standard input, a file of texts (.txt: one a line; .tsv: source, tab, target), or a
    /// recording [default: the built-in set of texts].
    #[arg(value_name = "TEXT | FILE | RECORDING")]
    pub material: Option<RawText>,
    /// The table (.parquet, .csv, .json), page (.html) or picture (.svg, .pdf, .png) to write; of --query and --like a table, of
    /// --trees a table or picture.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print an array of rows: kind, layer, head, measure, variant, score, baseline, low, high, n_rows, threshold, named.
    #[arg(long)]
    pub json: bool,
    /// Say what the measures are: formula, range, threshold, baseline, paper. Nothing is run.
    #[arg(long, conflicts_with_all = ["material", "output", "find", "query", "key", "like", "text"])]
    pub measures: bool,
    /// One text of a batch, counted from 0 [default: all texts together].
    #[arg(long, value_name = "N", requires = "material")]
    pub text: Option<usize>,
    /// One kind of attention alone.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// List all heads by this measure, the highest first.
    #[arg(long, value_name = "MEASURE", value_parser = parse_measure, conflicts_with_all = ["query", "like"])]
    #[arg(help_heading = "Questions")]
    pub find: Option<&'static Measure>,
    /// Rank the heads by how much this query looks at --key: a token or word, the second of several as it#2, or a place
    /// counted from 0.
    #[arg(long, value_name = "TOKEN | N", requires_all = ["key", "material"], help_heading = "Questions")]
    pub query: Option<String>,
    /// The key that --query looks at.
    #[arg(long, value_name = "TOKEN | N", requires = "query", help_heading = "Questions")]
    pub key: Option<String>,
    /// Rank the heads by how much their map is like this pattern: a .csv or .npy of queries × keys. Of zeros and ones it
    /// marks cells, and the score is the weight on them; of other numbers each row is a distribution.
    #[arg(long, value_name = "FILE", requires = "material", conflicts_with = "query", help_heading = "Questions")]
    pub like: Option<PathBuf>,
    /// A file of texts whose tokens are counted, for the measure of rare tokens: lines, .tsv, .conllu, .jsonl with a field text, or
    /// .parquet with a column text.
    #[arg(long, value_name = "FILE", help_heading = "What is known of the text")]
    pub counts: Option<PathBuf>,
    /// The keys that a model is to find and repeat, for the measure of retrieval: 5:9 for 5 to 8.
    #[arg(long, value_name = "A:B", value_parser = parse_span, requires = "material")]
    #[arg(help_heading = "What is known of the text")]
    pub needle: Option<Span>,
    /// Hold the heads against the trees of these sentences, relation by relation; -o writes the rows, or draws how far heads are
    /// over the best fixed offset.
    #[arg(long, value_name = "FILE.conllu", help_heading = "Trees", conflicts_with_all = ["material", "find"])]
    pub trees: Option<PathBuf>,
    #[command(flatten)]
    pub of_trees: TreeArguments,
    #[command(flatten)]
    pub style: StyleArguments,
    #[command(flatten)]
    pub run: RunArguments,
}

/// Reads `--find`.
fn parse_measure(name: &str) -> Result<&'static Measure, String> {
    Measure::named(name).ok_or_else(|| {
        let nearest = MEASURES.iter().min_by_key(|measure| strsim::osa_distance(measure.name, name));
        let nearest = nearest.map_or("", |measure| measure.name);
        format!("there is no measure \"{name}\"; did you mean \"{nearest}\"? `attlas heads --measures` lists them")
    })
}

/// Measures the heads and says what they do.
pub fn run(arguments: &HeadsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    if arguments.measures {
        match arguments.json {
            true => print_json(&json!(MEASURES.as_slice()), terminal)?,
            false => print_measures(terminal)?,
        }
        return Ok(Outcome::Done);
    }
    if arguments.trees.is_some() || arguments.of_trees.coref.is_some() {
        return syntax::run(arguments, terminal);
    }
    refuse_idle(arguments)?;
    check(arguments)?;
    if let (Some(material), Some(query), Some(key)) = (&arguments.material, &arguments.query, &arguments.key) {
        return cell::run(arguments, material, [query, key], terminal);
    }
    if let (Some(material), Some(pattern)) = (&arguments.material, &arguments.like) {
        return like::run(arguments, material, pattern, terminal);
    }
    let mut found = measured(arguments)?;
    if let Some(kind) = arguments.kind {
        found.heads.retain(|head| head.kind == kind);
        if found.heads.is_empty() {
            return Err(Failure::Input(format!("{} has no {}", found.model, kind.title())));
        }
    }
    if let Some(measure) = arguments.find {
        found.heads.iter_mut().for_each(|head| head.sums.retain(|(other, _)| *other == measure));
    }
    if let Some(output) = &arguments.output {
        write(output, &found, arguments)?;
    }
    match (arguments.json, arguments.find) {
        (true, find) => print_rows(&rows(&found, find), terminal)?,
        (false, Some(measure)) => table::print_ranking(&found, measure, terminal)?,
        (false, None) => table::print_heads(&found, terminal)?,
    }
    if let Some(output) = arguments.output.as_ref().filter(|_| !arguments.json) {
        writeln!(terminal, "\n{}", terminal.bold(&printable(&output.display().to_string())))?;
    }
    let skipped = if found.skipped { Outcome::SomeSkipped } else { Outcome::Done };
    Ok(checks::outcome(found.complaint.as_deref()).or(skipped))
}

/// Refuses options that would do nothing.
fn refuse_idle(arguments: &HeadsArguments) -> Result<(), Failure> {
    if let Some(option) = arguments.of_trees.first_of_trees() {
        return Err(Failure::Usage(format!("{option} is about trees; --trees FILE.conllu gives them")));
    }
    if let (Some(measure), Some(kind)) = (arguments.find, arguments.kind)
        && !measure.kinds.contains(&kind)
    {
        let kinds: Vec<&str> = measure.kinds.iter().map(|kind| kind.name()).collect();
        let name = measure.name;
        return Err(Failure::Usage(format!(
            "\"{name}\" is looked for in {}, and --kind {kind} leaves that out",
            kinds.join(" and ")
        )));
    }
    let draws = arguments.output.as_deref().and_then(Form::of).is_some_and(|form| form != Form::Table);
    match arguments.style.first_given().filter(|_| !draws) {
        Some(option) => Err(Failure::Usage(format!("{option} is for a picture or page, and -o names none"))),
        None => Ok(()),
    }
}

/// Refuses what cannot be written before anything is run.
fn check(arguments: &HeadsArguments) -> Result<(), Failure> {
    let Some(output) = &arguments.output else { return Ok(()) };
    if arguments.query.is_some() || arguments.like.is_some() {
        table_format(output)?;
    } else if Form::of(output).is_none() {
        return Err(Failure::Usage(format!(
            "-o {}: heads are written as .parquet, .csv, .json, .html, .svg, .pdf or .png; give it one of these endings",
            output.display()
        )));
    }
    if Form::of(output) == Some(Form::Picture) {
        arguments.style.check(format_of(output)?, output)?;
    }
    let model = model_files(&arguments.run.model);
    let inputs = [arguments.material.as_deref().map(Path::new), arguments.counts.as_deref(), arguments.like.as_deref()];
    check_output(output, inputs.into_iter().flatten().chain(model.iter().map(PathBuf::as_path)))
}

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Page,
    Picture,
}

impl Form {
    /// What a file's name ends in.
    fn of(path: &Path) -> Option<Form> {
        if TableFormat::named_by(path).is_some() {
            return Some(Form::Table);
        }
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "html" | "htm" => Some(Form::Page),
            "svg" | "pdf" | "png" => Some(Form::Picture),
            _ => None,
        }
    }
}

fn write(output: &Path, found: &Measured, arguments: &HeadsArguments) -> Result<(), Failure> {
    let title = arguments.style.title.clone().unwrap_or_else(|| format!("What the heads of {} do", found.model));
    let measured_on = found.measured_on.strip_prefix("Measured on ").unwrap_or(&found.measured_on);
    match Form::of(output) {
        Some(Form::Page) => {
            let page = attlas_viewer::heads_page(&found.heads, &title, measured_on)?;
            Ok(write_aside(output, |file| file.write_all(page.as_bytes()))?)
        }
        Some(Form::Picture) => {
            let style = Style { title, ..arguments.style.style() };
            let figure = view::head_classes(&found.heads, measured_on, &style);
            write_figure(format_of(output)?, &figure, output)
        }
        Some(Form::Table) | None => write_table(output, &scores_table(&rows(found, arguments.find))),
    }
}

/// The rows of the table: in the order of the heads, or, of one measure, the highest score first.
fn rows(found: &Measured, find: Option<&'static Measure>) -> Vec<ScoreRow> {
    let mut rows = score_rows(&found.heads);
    for row in rows.iter_mut().filter(|row| row.absent.is_some()) {
        if let Some(reason) = found.no_text.filter(|_| is_of_text(&row.measure)) {
            row.absent = Some(reason.to_owned());
        }
    }
    if find.is_some() {
        sort_by_score(&mut rows);
    }
    rows
}

/// Whether the built-in set scores a measure on text, not on random tokens.
fn is_of_text(name: &str) -> bool {
    Measure::named(name).is_some_and(|measure| !measure.on_repeats)
}

/// The highest score first; heads without one last.
fn sort_by_score(rows: &mut [ScoreRow]) {
    rows.sort_by(|a, b| b.score.unwrap_or(f64::MIN).total_cmp(&a.score.unwrap_or(f64::MIN)));
}

/// Prints rows as a JSON array.
pub(super) fn print_rows(rows: &[ScoreRow], terminal: &mut Terminal) -> Result<(), Failure> {
    print_json(&scores_table(rows).json(), terminal)
}
