//! `attlas explain`: which tokens a prediction rests on, by every method side by side, and how far the methods agree.

mod agreement;
mod table;

use std::path::{Path, PathBuf};

use attlas_model::explain::agreement::Agreement;
use attlas_model::explain::pictures::explained_picture;
use attlas_model::explain::side_by_side::{Explained, Undefined};
use attlas_model::explain::{Definition, IntegrationPath, METHODS, Method};
use attlas_model::{Input, Model};
use attlas_survey::table::{agreement_table, explained_table};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, RangedU64ValueParser, TypedValueParser};

use super::draw::{StyleArguments, write_figure};
use crate::failure::{Failure, Outcome};
use crate::inputs::{ONE_TEXT, ScoreArguments, SubjectArguments, check_output, load_model, model_files};
use crate::progress::Progress;
use crate::table_file::{TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json, printable, remark};

const EXAMPLES: &str = "\
Examples:
  attlas explain \"A red apple.\" --position 1   the embedded translator, after position 1
  attlas explain \"The cat sat on the\" --model DIR --target \" mat\" --foil \" dog\"
  attlas explain \"A dull film.\" --model CLASSIFIER --target 0 --method relevance,leave-out
  attlas explain \"A red apple.\" --position 1 --method all,head-effect
  attlas explain \"The cat sat on the\" --model DIR -o explained.svg
  attlas explain \"The cat sat on the\" --model DIR --json | jq '.[] | select(.method==\"saliency\")'
  attlas explain \"The cat sat on the\" --model DIR --agreement --json

A number in the table is the token's share of the method's scores, in per cent of the sum of
their sizes; --json and tables have the scores themselves. Methods answer different questions:
where they disagree is the point, and the matrix below the table says where. hide and leave-out
are measured, the others are computed from the unchanged run; head-effect measures heads and
deals what it finds out by their weights.

All methods but head-effect take, of a text of n tokens, 60 passes forwards and back (up to 460
where integrated gradients need them) and 2 n forwards; head-effect takes one for each head, and
is left out of all. docs/methods has a page on each.";

/// Help of `--metric`, which explains one number and nothing about all of the output.
const METRIC: &str = "What is explained of one token or class: logit, logit-diff, probability or log-probability \
                      [default: logit; with --foil, less that of the foil]";

/// `attlas explain`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, mut_arg("metric", |arg| arg.help(METRIC)), mut_arg("material", |arg| arg.help(ONE_TEXT)))]
pub struct ExplainArguments {
    #[command(flatten)]
    pub subject: SubjectArguments,
    #[command(flatten)]
    pub score: ScoreArguments,
    /// The methods, between commas, or all but head-effect, which is named besides; of all, those that the model has no use
    /// for are left out and said.
    #[arg(long, value_name = "METHOD", value_delimiter = ',', default_value = "all", value_parser = asked())]
    pub method: Vec<Asked>,
    /// Places at which integrated gradients compute the gradient; where tokens do not sum to what they should, up to eight
    /// times as many follow.
    #[arg(long, value_name = "N", default_value_t = IntegrationPath::default().n_steps, value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    pub steps: usize,
    /// In --json and tables, rows of each two methods in place of tokens: method, other, rank_correlation, n_tokens.
    #[arg(long, help_heading = "Output")]
    pub agreement: bool,
    /// The table (.parquet, .csv, .json) or picture (.svg, .pdf, .png) to write.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print an array of rows: method, side, position, token, score (null of tokens after the explained position of a
    /// decoder, and where a method says nothing), complete (false where the scores of integrated gradients do not sum to
    /// what they should, null of methods that have no such sum).
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// What `--method` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Every method there is.
    All,
    /// One.
    One(Method),
}

/// Reads one of `--method`.
fn asked() -> impl TypedValueParser<Value = Asked> {
    let all = PossibleValue::new("all").help("every method but head-effect");
    let help = |method: &Definition| format!("{}; {}", method.says, method.cost.words());
    let each = METHODS.iter().map(|method| PossibleValue::new(method.name).help(help(method)));
    PossibleValuesParser::new(std::iter::once(all).chain(each))
        .map(|name| Method::named(&name).map_or(Asked::All, Asked::One))
}

impl ExplainArguments {
    /// The methods, each once, in the order of the table; and what becomes of those that are not defined for the model.
    fn methods(&self) -> (Vec<Method>, Undefined) {
        let is_all = self.method.contains(&Asked::All);
        let is_asked = |method: &Method| (is_all && method.is_of_all()) || self.method.contains(&Asked::One(*method));
        let undefined = if is_all { Undefined::LeftOut } else { Undefined::Refused };
        (Method::ALL.into_iter().filter(is_asked).collect(), undefined)
    }

    /// Computes what the methods say, and says which were left out.
    fn explained(
        &self,
        model: &Model,
        input: &Input,
        methods: &[Method],
        undefined: Undefined,
    ) -> Result<Explained, Failure> {
        let score = self.score.explained_score(model, input, &model.text_logits(input)?)?;
        let n_tokens = input.source.len() + input.target.len();
        let passes = |method: &Method| method.definition().cost.n_passes(self.steps, n_tokens, model.heads().len());
        let mut progress = Progress::weighed("method", methods.iter().map(passes).collect());
        let found = Explained::of(model, input, &score, methods, undefined, self.steps, &mut progress.watch())?;
        drop(progress);
        say_left_out(&found.left_out);
        Ok(found)
    }

    /// Refuses what cannot be written before anything is run.
    fn check(&self) -> Result<(), Failure> {
        let form = TableOrPicture::asked(self.output.as_deref(), &self.style, "explanations")?;
        if self.agreement && !self.json && form != Some(TableOrPicture::Table) {
            return Err(Failure::Usage(
                "--agreement is for --json and tables; what is printed and drawn has the matrix anyway".into(),
            ));
        }
        let Some(output) = &self.output else { return Ok(()) };
        let model = model_files(&self.subject.model);
        let text = self.subject.material.as_deref().map(Path::new);
        check_output(output, text.into_iter().chain(model.iter().map(PathBuf::as_path)))
    }
}

/// Explains one prediction.
pub fn run(arguments: &ExplainArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    arguments.check()?;
    let (methods, undefined) = arguments.methods();
    let model = load_model(&arguments.subject.model)?;
    let (input, outcome) = arguments.subject.one_input(&model, "one text is explained at a time")?;
    let explained = arguments.explained(&model, &input, &methods, undefined)?;
    let table = match arguments.agreement {
        false => explained_table(&explained),
        true => agreement_table(&Agreement::of(&explained).ok_or_else(too_few)?),
    };
    if let Some(output) = &arguments.output {
        match TableOrPicture::of(output, "explanations")? {
            TableOrPicture::Table => write_table(output, &table)?,
            TableOrPicture::Picture(format) => {
                write_figure(format, &explained_picture(&explained, &arguments.style.looks())?, output)?;
            }
        }
    }
    match arguments.json {
        true => print_json(&table.json(), terminal)?,
        false => table::print(&explained, arguments.output.as_deref(), terminal)?,
    }
    Ok(outcome)
}

/// Says which methods are not defined for the model, and why; each reason once.
fn say_left_out(left_out: &[(Method, String)]) {
    for group in left_out.chunk_by(|a, b| a.1 == b.1) {
        let names: Vec<&str> = group.iter().map(|(method, _)| method.name()).collect();
        remark(&format!("left out: {} ({})", names.join(", "), printable(&group[0].1)));
    }
}

/// Why there is nothing to rank.
fn too_few() -> Failure {
    Failure::Input("ranks of methods are compared of two methods or more, over four tokens or more".into())
}
