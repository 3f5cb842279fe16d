//! `attlas ablate`: what the output loses with each head, beside how meaningful its map looks.

mod edges;
mod figure;
mod measured;
mod table;

use std::path::{Path, PathBuf};

use attlas::Kind;
use attlas_model::explain::knock_out::Removal;
use clap::Args;
use serde_json::json;

use self::measured::{Found, Way};
use super::draw::{Format, StyleArguments};
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    HeadPattern, RawText, ScoreArguments, SubjectArguments, check_output, load_model, model_files, parse_kind,
};
use crate::table_file::{TableFormat, write_table};
use crate::terminal::{Terminal, print_json};

const EXAMPLES: &str = "\
Examples:
  attlas ablate \"The cat sat on the\" --model DIR        every head: how far the output moves
  attlas ablate \"The cat sat on the\" --model DIR --target \" mat\" --foil \" dog\" -o effects.svg
  attlas ablate texts.txt --model DIR --metric loss --method mean --json
  attlas ablate \"A red apple.\" --heads cross:2.*          heads of the embedded translator
  attlas ablate \"…\" --model DIR --heads 5.1,5.5,6.9 --together
  attlas ablate \"…\" --model DIR --heads 5.1 --edges -o edges.svg   each pair of tokens
  attlas ablate \"Mary and John …\" --patch-from \"Mary and Anna …\" --method patch --target \" Mary\"

Methods: zero sets a head's output to 0, mean to its mean over rows; uniform and permute change
its weights; pattern-preserving is zero with the weights of all later layers kept. patch exchanges
a head's output for that on the text of --patch-from; with --receiver HEAD, or --receiver output,
only the way from it to there. direct is no knock-out: what the head itself writes for the target,
less for the foil.

An effect is the metric with the change less without: a head whose loss of effect is large matters
*for this text and metric*. Heads that stand in for each other have small effects alone;
--together takes all --heads away at once. mean_weight is the mean over rows of the row's largest
weight: how meaningful the head's map looks, used or not.";

/// `attlas ablate`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AblateArguments {
    #[command(flatten)]
    pub subject: SubjectArguments,
    /// Which heads: 4.11 or L4H11, 5.* for a layer, cross:2.* with their kind; separated by commas [default: all].
    #[arg(long, value_name = "HEADS", value_delimiter = ',')]
    pub heads: Vec<HeadPattern>,
    /// One kind of attention alone.
    #[arg(long, value_parser = parse_kind())]
    pub kind: Option<Kind>,
    /// How a head is taken away.
    #[arg(long, value_name = "METHOD", default_value = "zero", value_parser = MethodName::parse)]
    pub method: MethodName,
    /// Texts, one a line, over which --method mean takes the mean [default: the rows of the text itself].
    #[arg(long, value_name = "FILE")]
    pub mean_over: Option<PathBuf>,
    /// The seed of --method permute [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Take all the heads away at once.
    #[arg(long, conflicts_with = "edges")]
    pub together: bool,
    /// Of one head, hide each key from each query, one pair at a time; the rest of the row shares the weight.
    #[arg(long, requires = "heads")]
    pub edges: bool,
    /// The text from whose run --method patch takes parts; as many tokens as the first.
    #[arg(long = "patch-from", value_name = "TEXT")]
    pub patch_from: Option<RawText>,
    /// With --method patch, the only head that may notice (5.1), or output.
    #[arg(long = "receiver", value_name = "HEAD | output", requires = "patch_from")]
    pub receiver: Option<String>,
    #[command(flatten)]
    pub score: ScoreArguments,
    /// The table (.parquet, .csv, .json) or picture (.svg, .pdf, .png) to write.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print an array of rows: kind, layer, head, method, metric, effect, mean_weight.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// What `--method` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodName {
    Zero,
    Mean,
    Uniform,
    Permute,
    PatternPreserving,
    Patch,
    Direct,
}

impl MethodName {
    const ALL: [(&'static str, MethodName); 7] = [
        ("zero", MethodName::Zero),
        ("mean", MethodName::Mean),
        ("uniform", MethodName::Uniform),
        ("permute", MethodName::Permute),
        ("pattern-preserving", MethodName::PatternPreserving),
        ("patch", MethodName::Patch),
        ("direct", MethodName::Direct),
    ];

    fn parse(name: &str) -> Result<MethodName, String> {
        let found = MethodName::ALL.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, method)| method).ok_or_else(|| {
            format!("there is no such method; there are {}", MethodName::ALL.map(|(name, _)| name).join(", "))
        })
    }
}

impl AblateArguments {
    /// What is done to each head.
    fn way(&self) -> Result<Way, Failure> {
        let seed = self.seed.unwrap_or(0);
        let refuse = |option: &str, method: &str| Failure::Usage(format!("{option} is for --method {method}"));
        match self.method {
            MethodName::Permute => {}
            _ if self.seed.is_some() => return Err(refuse("--seed", "permute")),
            _ => {}
        }
        if self.mean_over.is_some() && self.method != MethodName::Mean {
            return Err(refuse("--mean-over", "mean"));
        }
        match (self.method, &self.patch_from) {
            (MethodName::Patch, None) => {
                return Err(Failure::Usage(
                    "--method patch needs --patch-from: the text whose run parts are taken from".into(),
                ));
            }
            (MethodName::Patch, Some(_)) => {}
            (_, Some(_)) => return Err(refuse("--patch-from", "patch")),
            _ => {}
        }
        Ok(match self.method {
            MethodName::Zero => Way::KnockOut(Removal::Zero),
            MethodName::Mean => Way::KnockOut(Removal::Mean),
            MethodName::Uniform => Way::KnockOut(Removal::Uniform),
            MethodName::Permute => Way::KnockOut(Removal::Permute { seed }),
            MethodName::PatternPreserving => Way::KnockOut(Removal::PatternPreserving),
            MethodName::Patch => Way::Patch,
            MethodName::Direct => Way::Direct,
        })
    }

    /// Refuses what cannot be written before anything is run.
    fn check(&self) -> Result<(), Failure> {
        let Some(output) = &self.output else {
            return match self.style.first_given() {
                Some(option) => Err(Failure::Usage(format!("{option} is for a picture, and -o names none"))),
                None => Ok(()),
            };
        };
        if TableFormat::named_by(output).is_none() {
            let format = Format::of(output).map_err(|_| {
                let name = output.display();
                Failure::Usage(format!("-o {name}: effects are written as .parquet, .csv, .json, .svg, .pdf or .png"))
            })?;
            self.style.check(format, output)?;
        }
        let model = model_files(&self.subject.model);
        let texts = [self.subject.material.as_deref().map(Path::new), self.mean_over.as_deref()];
        check_output(output, texts.into_iter().flatten().chain(model.iter().map(PathBuf::as_path)))
    }
}

/// Measures and says what came out.
pub fn run(arguments: &AblateArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let way = arguments.way()?;
    arguments.check()?;
    let model = load_model(&arguments.subject.model)?;
    if arguments.edges {
        return edges::run(arguments, &model, terminal);
    }
    let found = measured::measured(arguments, &model, way)?;
    if let Some(output) = &arguments.output {
        match TableFormat::named_by(output) {
            Some(_) => write_table(output, &found.table())?,
            None => Format::of(output)?.write(&figure::figure(&found, &arguments.style)?, output)?,
        }
    }
    match arguments.json {
        true => print_json(&json!(found.rows()), terminal)?,
        false => table::print(&found, arguments.output.as_deref(), terminal)?,
    }
    Ok(if found.skipped { Outcome::SomeSkipped } else { Outcome::Done })
}

impl Found {
    /// The rows of the JSON form.
    fn rows(&self) -> serde_json::Value {
        self.table().json()
    }
}
