//! `attlas syntax FILE.conllu`: which heads look along the relations of trees, and from mentions to what they stand for.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::syntax::Direction;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::draw::{Format, StyleArguments};
use crate::failure::{Failure, Outcome};
use crate::inputs::{ModelArguments, check_output, load_model, model_files};
use crate::terminal::{Terminal, printable};
use crate::trees::{self, Choice, Material};
use crate::words::inert_json;

const EXAMPLES: &str = "\
Examples:
  attlas syntax en.conllu                                     the encoder of the embedded translator
  attlas syntax en.conllu --model DIR --relation nsubj
  attlas syntax en.conllu --relation amod -o amod.svg         layers × heads
  attlas syntax en.conllu -o relations.png                    relations × heads
  attlas syntax fr.conllu --sources en.conllu                 the decoder, which reads the French sentences
  attlas syntax gum.conllu --coref --json
  attlas syntax --coref=mentions.jsonl

FILE.conllu is a treebank of Universal Dependencies. A head finds a word's relation when the largest weight of the word's row,
special tokens and the word itself left out, lies on the word it depends on (child-to-head); or when that word's row has, of
all rows, the largest weight on it (head-to-child). Weights are summed over the pieces of a key's word and averaged over
those of a query's. A line of mentions.jsonl:
  {\"text\": \"The cat saw a dog and it ran.\", \"mention\": \"it\", \"antecedent\": \"cat\", \"distractor\": \"dog\"}";

/// `attlas syntax`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SyntaxArguments {
    /// Sentences with trees, in CoNLL-U.
    #[arg(value_name = "FILE.conllu", required_unless_present = "coref")]
    pub trees: Option<PathBuf>,
    #[command(flatten)]
    pub what: TreeArguments,
    #[command(flatten)]
    pub model: ModelArguments,
    /// Print an array of rows as JSON.
    #[arg(long)]
    pub json: bool,
    /// Draw how far the heads are over the best fixed offset: .svg, .pdf or .png.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub style: StyleArguments,
}

/// What is asked of trees.
#[derive(Debug, Clone, Default, Args)]
pub struct TreeArguments {
    /// What the encoder reads for each sentence, in their order: another .conllu, or a file of lines. The trees are then those
    /// of what the decoder reads.
    #[arg(long, value_name = "FILE")]
    pub sources: Option<PathBuf>,
    /// Do mentions look at their antecedents? Mentions are the Entity= notes of the trees, or in a file of their own.
    #[arg(long, value_name = "FILE.jsonl", num_args = 0..=1, require_equals = true)]
    pub coref: Option<Option<PathBuf>>,
    /// One relation: nsubj with all its subtypes, nsubj:pass, or "all" [default: every one].
    #[arg(long, value_name = "NAME")]
    pub relation: Option<String>,
    /// One direction [default: both].
    #[arg(long, value_name = "WAY", value_parser = directions())]
    pub direction: Option<Direction>,
}

fn directions() -> impl TypedValueParser<Value = Direction> {
    PossibleValuesParser::new(Direction::BOTH.map(Direction::name)).try_map(|name| name.parse::<Direction>())
}

impl TreeArguments {
    /// What is measured, with the trees of `path`.
    pub fn material<'a>(&'a self, path: Option<&'a Path>) -> Result<Material<'a>, Failure> {
        let mentions = self.coref.as_ref().and_then(Option::as_deref);
        if let (None, Some(None)) = (path, &self.coref) {
            return Err(Failure::Usage(
                "--coref without a file takes the mentions of the trees, and no trees were given; --coref=FILE.jsonl"
                    .into(),
            ));
        }
        if let (None, Some(option)) = (path, self.first_of_trees()) {
            return Err(Failure::Usage(format!("{option} is about trees, and none were given")));
        }
        Ok(Material {
            trees: path,
            sources: self.sources.as_deref(),
            has_mentions: self.coref.is_some() && mentions.is_none(),
            mentions,
        })
    }

    fn first_of_trees(&self) -> Option<&'static str> {
        let given = [
            (self.sources.is_some(), "--sources"),
            (self.relation.is_some(), "--relation"),
            (self.direction.is_some(), "--direction"),
        ];
        given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// Which part is shown.
    pub fn choice(&self) -> Choice<'_> {
        Choice { relation: self.relation.as_deref(), direction: self.direction }
    }
}

/// Runs the model over the sentences and says what its heads do.
pub fn run(arguments: &SyntaxArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let material = arguments.what.material(arguments.trees.as_deref())?;
    let format = arguments.output.as_deref().map(Format::of).transpose()?;
    if let Some(output) = &arguments.output {
        let model = model_files(&arguments.model);
        let files = [material.trees, material.sources, material.mentions].into_iter().flatten();
        check_output(output, files.chain(model.iter().map(PathBuf::as_path)))?;
    }
    let model = load_model(&arguments.model)?;
    let report = trees::measure(&model, &material)?;
    let choice = arguments.what.choice();
    if arguments.json {
        writeln!(terminal, "{}", inert_json(&trees::json(&report, choice)?.to_string()))?;
    } else {
        trees::print(&report, choice, terminal)?;
    }
    if let (Some(format), Some(output)) = (format, &arguments.output) {
        format.write(&trees::draw(&report, choice, &arguments.style)?, output)?;
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    Ok(if report.n_skipped > 0 { Outcome::SomeSkipped } else { Outcome::Done })
}
