//! `attlas ablate`: what the output loses with each head, beside how meaningful its map looks.

mod by_key;
mod edges;
mod given;
mod states;
mod table;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::figure::Figure;
use attlas::view::pictures::Looks;
use attlas_model::explain::effects::{Effects, Question, Receiver, effects};
use attlas_model::explain::knock_out::Removal;
use attlas_model::explain::pictures::effects_picture;
use attlas_model::explain::way::Way;
use attlas_model::{Error, Input, Model, Side};
use attlas_survey::table::effects_and_others_table;
use clap::{Args, ValueEnum};

use super::draw::{StyleArguments, write_figure};
use crate::failure::{Failure, Outcome};
use crate::inputs::{
    ChosenHeads, IdList, RawText, ScoreArguments, SubjectArguments, check_output, input_of, load_model, model_files,
    parse_ids, read_lines, read_text, row_of, tokens_of_ids, with_options,
};
use crate::progress::Progress;
use crate::table_file::{Table, TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json};

const EXAMPLES: &str = "\
Examples:
  attlas ablate \"The cat sat on the\" --model DIR        every head: how far the output moves
  attlas ablate \"The cat sat on the\" --model DIR --target \" mat\" --foil \" dog\" -o effects.svg
  attlas ablate texts.txt --model DIR --metric loss --method mean --json
  attlas ablate \"A red apple.\" --heads cross:2.*          heads of the embedded translator
  attlas ablate \"…\" --model DIR --heads 5.1,5.5,6.9 --together
  attlas ablate \"…\" --model DIR --heads 5.1 --edges -o edges.svg   each pair of tokens
  attlas ablate \"When Mary and John …\" --patch-from \"When Mary and Anna …\" --method patch
  attlas ablate \"…\" --patch-from \"…\" --method patch --states -o traced.svg   layers × positions
  attlas ablate \"The cat sat on the\" --model DIR --heads 5.1 --method direct --by-key
  attlas ablate texts.txt --model DIR --method gradient   a pass forwards and back a text

Methods: zero sets a head's output to 0, mean to its mean over rows; uniform and permute change
its weights; pattern-preserving is zero with the weights of all later layers kept. patch exchanges
a head's output for that on the text of --patch-from; with --receiver HEAD, or --receiver output,
only the way from it to there; with --states hidden states, a layer and a position at a time.
direct is no knock-out: what the head itself writes for the target, less for the foil, and where
all heads are asked for, what all else does: together they sum to the logit. --by-key says from
which tokens. gradient is none either: how steeply the metric (loss, or a logit) falls
with a factor on the head's output (Michel et al. 2019).

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
    #[command(flatten)]
    pub heads: ChosenHeads,
    /// How a head is taken away.
    #[arg(long, value_name = "METHOD", value_enum, default_value_t = MethodName::Zero)]
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
    /// With --method patch, exchange hidden states in place of heads: those that enter each layer, position by position.
    #[arg(long, requires = "patched", conflicts_with_all = ["heads", "kind", "edges", "together", "receiver"])]
    pub states: bool,
    /// With --method direct, what each head writes, by the token that it moves it from.
    #[arg(long, conflicts_with_all = ["edges", "together"])]
    pub by_key: bool,
    /// Weights for the one head of --heads in place of its own: a row for each query, a number for each key, as an array [queries,
    /// keys] (.npy) or lines of numbers between commas (.csv). No row above 1.
    #[arg(long, value_name = "FILE", requires = "heads", conflicts_with_all = ["method", "together", "edges", "states", "by_key", "patched"])]
    pub give: Option<PathBuf>,
    /// The text from whose run --method patch takes parts; as many tokens as the first.
    #[arg(long = "patch-from", value_name = "TEXT", group = "patched")]
    pub patch_from: Option<RawText>,
    /// Token ids in the place of the text of --patch-from; no tokenizer is needed.
    #[arg(long = "patch-from-ids", value_name = "IDS", group = "patched", value_parser = parse_ids)]
    pub patch_from_ids: Option<IdList>,
    /// With --method patch, the only head that may notice (5.1), or output.
    #[arg(long = "receiver", value_name = "HEAD | output", requires = "patched")]
    pub receiver: Option<String>,
    #[command(flatten)]
    pub score: ScoreArguments,
    /// The table (.parquet, .csv, .json) or picture (.svg, .pdf, .png) to write.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print an array of rows: kind, layer, head, method, metric, effect, mean_weight, and by model and text, of which weights
    /// and tokens they are; --edges, --states and --by-key say what else a row is of.
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// What `--method` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodName {
    /// Its output is set to 0.
    Zero,
    /// Its output becomes its mean over rows.
    Mean,
    /// Its weights become the same for all visible keys.
    Uniform,
    /// Each row of its weights is dealt out anew.
    Permute,
    /// Zero, and all later layers keep their weights.
    PatternPreserving,
    /// Its output becomes that of another text's run.
    Patch,
    /// No change: what it writes for the target.
    Direct,
    /// No change: how steeply the metric falls with a factor on its output.
    Gradient,
}

impl AblateArguments {
    /// What is done to each head.
    fn way(&self) -> Result<Way, Failure> {
        if self.give.is_some() {
            return Ok(Way::Given);
        }
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
        match (self.method, self.patch_from.is_some() || self.patch_from_ids.is_some()) {
            (MethodName::Patch, false) => {
                return Err(Failure::Usage(
                    "--method patch needs --patch-from, or --patch-from-ids: the text whose run parts are taken from"
                        .into(),
                ));
            }
            (MethodName::Patch, true) => {}
            (_, true) => return Err(refuse("--patch-from", "patch")),
            _ => {}
        }
        if self.together && self.method == MethodName::Patch {
            return Err(Failure::Usage(
                "--together is for knock-outs and direct; --method patch exchanges one head at a time".into(),
            ));
        }
        if self.by_key && self.method != MethodName::Direct {
            return Err(refuse("--by-key", "direct"));
        }
        Ok(match self.method {
            MethodName::Zero => Way::KnockOut(Removal::Zero),
            MethodName::Mean => Way::KnockOut(Removal::Mean),
            MethodName::Uniform => Way::KnockOut(Removal::Uniform),
            MethodName::Permute => Way::KnockOut(Removal::Permute { seed }),
            MethodName::PatternPreserving => Way::KnockOut(Removal::PatternPreserving),
            MethodName::Patch => Way::Patch,
            MethodName::Direct => Way::Direct,
            MethodName::Gradient => Way::Gradient,
        })
    }

    /// Refuses what cannot be written before anything is run.
    fn check(&self) -> Result<(), Failure> {
        TableOrPicture::asked(self.output.as_deref(), &self.style, "effects")?;
        let Some(output) = &self.output else { return Ok(()) };
        let model = model_files(&self.subject.model);
        let texts = [self.subject.material.as_deref().map(Path::new), self.mean_over.as_deref(), self.give.as_deref()];
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
    if arguments.states {
        return states::run(arguments, &model, terminal);
    }
    if arguments.by_key {
        return by_key::run(arguments, &model, terminal);
    }
    let (found, skipped) = arguments.measured(&model, way)?;
    let picture = |looks: &Looks| effects_picture(&found, looks);
    arguments.give(&effects_and_others_table(&found), picture, terminal, |terminal| table::print(&found, terminal))?;
    Ok(if skipped { Outcome::SomeSkipped } else { Outcome::Done })
}

impl AblateArguments {
    /// Writes the file that is asked for, and prints the rows as JSON or, as `print` does, in words.
    fn give(
        &self,
        table: &Table,
        picture: impl FnOnce(&Looks) -> Result<Figure, Error>,
        terminal: &mut Terminal,
        print: impl FnOnce(&mut Terminal) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if let Some(output) = &self.output {
            match TableOrPicture::of(output, "effects")? {
                TableOrPicture::Table => write_table(output, table)?,
                TableOrPicture::Picture(format) => write_figure(format, &picture(&self.style.looks())?, output)?,
            }
        }
        if self.json {
            return print_json(&table.json(), terminal);
        }
        print(terminal)?;
        self.output.iter().try_for_each(|output| terminal.written(output))
    }

    /// Measures what is asked, and says whether texts were left out.
    fn measured(&self, model: &Model, way: Way) -> Result<(Effects, bool), Failure> {
        let receiver = self.receiver(model)?;
        let mut heads = self.heads.of(model)?;
        if let (Receiver::Head(to), true) = (receiver, self.heads.heads.is_empty()) {
            heads.retain(|head| head.is_before(to)); // no way leads back from the others
            if heads.is_empty() {
                return Err(Failure::Usage(format!("no head comes before --receiver {to}: it is of the first layer")));
            }
        }
        let (inputs, skipped) = self.subject.inputs(model)?;
        inputs.iter().try_for_each(|input| match way {
            // a logit, where no metric is named
            Way::Direct | Way::Gradient if self.score.metric.is_none() => {
                row_of(model, input, self.score.position, "--position").map(|_| ())
            }
            _ => self.score.check_position(model, input),
        })?;
        let mean_over = self.mean_over.as_deref().map(|path| inputs_of_lines(model, path)).transpose()?;
        let other = self.other(model)?;
        let given = self.give.as_deref().map(given::weights).transpose()?;
        let n_sets = if self.together { 1 } else { heads.len() };
        let question = Question {
            heads,
            together: self.together,
            way,
            measured: self.score.asked(),
            mean_over: mean_over.as_deref(),
            other: other.as_ref(),
            receiver,
            given: given.as_ref(),
        };
        let mut progress = Progress::new("changed run", n_sets * inputs.len());
        let found = effects(model, &inputs, &question, &mut progress.watch()).map_err(with_options)?;
        Ok((found, skipped))
    }

    /// Who may notice what is patched.
    fn receiver(&self, model: &Model) -> Result<Receiver, Failure> {
        Ok(match self.receiver.as_deref() {
            None => Receiver::All,
            Some("output") => Receiver::Output,
            Some(name) => Receiver::Head(self.heads.one(model, name, "--receiver")?),
        })
    }

    /// The text of `--patch-from`, or the ids of `--patch-from-ids`.
    fn other(&self, model: &Model) -> Result<Option<Input>, Failure> {
        if let Some(ids) = &self.patch_from_ids {
            let (side, mut other) =
                (if model.has(Side::Source) { Side::Source } else { Side::Target }, Input::default());
            let tokens = tokens_of_ids(model, side, ids)?;
            if side == Side::Source {
                other.source = tokens
            } else {
                other.target = tokens
            }
            return Ok(Some(other));
        }
        let read = |raw: &OsStr| input_of(model, &read_text(raw, "--patch-from")?, None);
        self.patch_from.as_deref().map(read).transpose()
    }
}

/// Says how many rows are left out of a table that prints so many.
fn more(n: usize, most: usize, terminal: &mut Terminal) -> Result<(), Failure> {
    if n > most {
        let rest = format!("… {} more, in --json and -o all", n - most);
        writeln!(terminal, "{}", terminal.dim(&rest))?;
    }
    Ok(())
}

/// The texts of a file, one a line.
fn inputs_of_lines(model: &Model, path: &Path) -> Result<Vec<Input>, Failure> {
    let (lines, _) = read_lines(path)?;
    lines.iter().map(|line| input_of(model, line, None)).collect()
}
