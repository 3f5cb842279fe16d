//! `attlas heads --trees FILE.conllu`: which heads look along the relations of trees, and from mentions to what they stand for.

use std::io::Write;
use std::path::{Path, PathBuf};

use attlas::analysis::syntax::Direction;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;

use super::HeadsArguments;
use crate::commands::draw::write_figure;
use crate::failure::{Failure, Outcome};
use crate::inputs::{check_output, load_model, model_files};
use crate::table_file::{TableOrPicture, write_table};
use crate::terminal::{Terminal, print_json, printable};
use crate::trees::{self, Choice, Material};

/// What is asked of trees.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Trees")]
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
        if self.sources.is_some() && mentions.is_some() {
            return Err(Failure::Usage(
                "--sources gives what the encoder reads for the trees' sentences, and the texts of --coref=FILE have none; ask \
                 for one after the other"
                    .into(),
            ));
        }
        Ok(Material {
            trees: path,
            sources: self.sources.as_deref(),
            has_mentions: self.coref.is_some() && mentions.is_none(),
            mentions,
            relation: self.relation.as_deref(),
        })
    }

    pub fn first_of_trees(&self) -> Option<&'static str> {
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
pub fn run(arguments: &HeadsArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    let HeadsArguments { of_trees, run, .. } = arguments;
    refuse_idle(arguments)?;
    let material = of_trees.material(arguments.trees.as_deref())?;
    let output = form(arguments)?.zip(arguments.output.as_deref());
    if let Some((_, output)) = output {
        let model = model_files(&run.model);
        let files = [material.trees, material.sources, material.mentions].into_iter().flatten();
        check_output(output, files.chain(model.iter().map(PathBuf::as_path)))?;
    }
    let model = load_model(&run.model)?;
    let report = trees::measure(&model, &material)?;
    let choice = of_trees.choice();
    if arguments.json {
        print_json(&Value::Array(trees::rows(&report, choice)?), terminal)?;
    } else {
        trees::print(&report, choice, terminal)?;
    }
    if let Some((form, output)) = output {
        match form {
            TableOrPicture::Table => write_table(output, &trees::table(&trees::rows(&report, choice)?))?,
            TableOrPicture::Picture(format) => {
                write_figure(format, &trees::draw(&report, choice, &arguments.style)?, output)?
            }
        }
        if !arguments.json {
            writeln!(terminal, "{}", printable(&output.display().to_string()))?;
        }
    }
    Ok(if report.n_skipped > 0 { Outcome::SomeSkipped } else { Outcome::Done })
}

/// What is written: a table, or where there are trees a picture.
fn form(arguments: &HeadsArguments) -> Result<Option<TableOrPicture>, Failure> {
    let form = TableOrPicture::asked(arguments.output.as_deref(), &arguments.style, "numbers of trees")?;
    match (form, &arguments.trees) {
        (Some(TableOrPicture::Picture(_)), None) => Err(Failure::Usage(
            "a picture is drawn of relations, and no trees were given; -o FILE.parquet, .csv or .json writes the mentions' rows"
                .into(),
        )),
        _ => Ok(form),
    }
}

/// Refuses options that say nothing about trees.
fn refuse_idle(arguments: &HeadsArguments) -> Result<(), Failure> {
    let Some(option) = idle(arguments) else { return Ok(()) };
    let hint = match (option, &arguments.of_trees.coref, &arguments.material) {
        ("TEXT", Some(None), Some(file)) => {
            format!("; a file of mentions is given with an equals sign: --coref={}", Path::new(file).display())
        }
        _ => String::new(),
    };
    Err(Failure::Usage(format!("{option} does nothing here: trees are of the sentences as they are{hint}")))
}

/// The first option given that says nothing about trees.
fn idle(arguments: &HeadsArguments) -> Option<&'static str> {
    let run = &arguments.run;
    let given = [
        (arguments.material.is_some(), "TEXT"),
        (arguments.find.is_some(), "--find"),
        (arguments.query.is_some(), "--query"),
        (arguments.like.is_some(), "--like"),
        (arguments.kind.is_some(), "--kind"),
        (arguments.counts.is_some(), "--counts"),
        (arguments.needle.is_some(), "--needle"),
        (!run.target.is_empty(), "--target"),
        (run.beam.is_some(), "--beam"),
        (run.max_tokens.is_some(), "--max-tokens"),
        (!run.knock_out.is_empty(), "--knock-out"),
    ];
    given.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
}
