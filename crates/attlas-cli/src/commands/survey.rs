//! `attlas survey FILES… -o SURVEY.parquet` and `attlas survey merge A B … -o C.parquet`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use attlas::analysis::Annotations;
use attlas::survey::{N_SHARDS, Resamples, Survey};
use attlas_model::{Model, Side};
use attlas_survey::corpus::{CorpusFile, CorpusFormat, TextNames, refuse_twice};
use attlas_survey::{
    About, Decoding, End, Keeper, ModelIdentity, Part, Settings, SurveyFile, Work, read_survey, state_of,
    survey_corpus, survey_table,
};
use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};

use super::heads::counts;
use crate::failure::{Failure, Outcome};
use crate::inputs::{ModelArguments, check_output, load_model, model_files, model_place, refuse_inputs};
use crate::progress::ShareProgress;
use crate::signals::Watch;
use crate::survey_report::print_survey;
use crate::table_file::{table_format, write_table};
use crate::terminal::{Terminal, printable, remark};
use crate::words::{counted, inert_json};

const EXAMPLES: &str = "\
Examples:
  attlas survey sentences.txt -o survey.parquet
  attlas survey pairs.tsv -o survey.parquet                   source, tab, target: nothing is generated
  attlas survey corpus.jsonl --field text --model DIR -o survey.parquet
  attlas survey train.parquet --column text --model DIR --limit 10000 -o survey.parquet
  attlas survey corpus.txt --model DIR --shards 1/4 -o part1.parquet      on one of four machines
  attlas survey merge part1.parquet part2.parquet part3.parquet part4.parquet -o survey.parquet

A survey that was broken off goes on where it was when the same command is given again. Empty lines are no texts.
docs/survey.md says what the file holds.";

/// `attlas survey`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct SurveyArguments {
    /// Merge surveys of parts of a corpus, or of several corpora, in any order to the same bytes.
    #[command(subcommand)]
    pub merge: Option<SurveyCommand>,
    /// The files of the corpus: .jsonl, .parquet, .conllu, .tsv (pairs); others have a text on each line.
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub model: ModelArguments,
    /// The survey to write: .parquet, which merges; .csv and .json hold the scores alone.
    #[arg(short, long, value_name = "SURVEY.parquet", required = true)]
    pub output: Option<PathBuf>,
    /// How the files hold their texts [default: as their names end].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<FormatArgument>,
    /// The field of a JSON object that is the text [default: text].
    #[arg(long, value_name = "NAME")]
    pub field: Option<String>,
    /// The column of a Parquet file that holds the texts [default: text].
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// This part of the corpus alone, such as 1/4: the parts do not overlap, whatever machine they are surveyed on.
    #[arg(long, value_name = "I/N", value_parser = parse_part)]
    pub shards: Option<Part>,
    /// The first N texts of the corpus alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    /// Skip texts of more than N tokens [default: those that the model has no positions for, and over 4096].
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub longest: Option<usize>,
    /// Generate N tokens at most, where an encoder-decoder is given no target.
    #[arg(long, value_name = "N", default_value = "256", value_parser = parse_count)]
    pub max_tokens: usize,
    /// Tokens of a batch at most, padding included [default: few at first, then as many as take about a second, up to 4096].
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub batch_tokens: Option<usize>,
    /// Texts that are sorted by length together.
    #[arg(long, value_name = "N", default_value = "2048", value_parser = parse_count)]
    pub window: usize,
    /// Seconds between two savings of the state after the first batch's, which lies beside the output until the survey is done.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub save_every: u64,
    /// A file of texts whose tokens are counted, for the measure of rare tokens: lines, .tsv, .conllu, .jsonl with a field text, or
    /// .parquet with a column text; the same one for all parts.
    #[arg(long, value_name = "FILE")]
    pub counts: Option<PathBuf>,
    /// Begin anew where a survey was broken off.
    #[arg(long)]
    pub restart: bool,
    /// Print the scores as JSON.
    #[arg(long)]
    pub json: bool,
}

/// How the files hold their texts, as a word of the command line.
#[derive(Debug, Clone, Copy)]
pub struct FormatArgument(CorpusFormat);

impl ValueEnum for FormatArgument {
    fn value_variants<'a>() -> &'a [FormatArgument] {
        const ALL: [FormatArgument; 5] = [
            FormatArgument(CorpusFormat::Lines),
            FormatArgument(CorpusFormat::Tsv),
            FormatArgument(CorpusFormat::Jsonl),
            FormatArgument(CorpusFormat::Parquet),
            FormatArgument(CorpusFormat::Conllu),
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self.0 {
            CorpusFormat::Lines => PossibleValue::new("lines").help("A text on each line"),
            CorpusFormat::Tsv => PossibleValue::new("tsv").help("A pair on each line: source, tab, target"),
            CorpusFormat::Jsonl => {
                PossibleValue::new("jsonl").help("A JSON object on each line; --field names the text")
            }
            CorpusFormat::Parquet => PossibleValue::new("parquet").help("Parquet; --column names the texts"),
            CorpusFormat::Conllu => PossibleValue::new("conllu").help("CoNLL-U: the text of each sentence"),
        })
    }
}

/// What else is done with surveys.
#[derive(Debug, Subcommand)]
pub enum SurveyCommand {
    /// Merge surveys of one model: the bytes do not depend on the order.
    Merge(MergeArguments),
}

/// `attlas survey merge`.
#[derive(Debug, Args)]
pub struct MergeArguments {
    /// The surveys. A text that is in two of them counts twice.
    #[arg(value_name = "SURVEY.parquet", required = true)]
    pub surveys: Vec<PathBuf>,
    /// The survey to write: .parquet, which merges; .csv and .json hold the scores alone.
    #[arg(short, long, value_name = "SURVEY.parquet")]
    pub output: PathBuf,
    /// Print the scores as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Surveys a corpus, or merges surveys.
pub fn run(arguments: &SurveyArguments, signals: &Watch, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    match (&arguments.merge, &arguments.output) {
        (Some(SurveyCommand::Merge(merge)), _) => run_merge(merge, terminal),
        (None, Some(output)) => run_survey(arguments, output, signals, terminal),
        (None, None) => Err(Failure::Usage("-o SURVEY.parquet says where the survey is to be written".into())),
    }
}

fn run_survey(
    arguments: &SurveyArguments,
    output: &Path,
    signals: &Watch,
    terminal: &mut Terminal,
) -> Result<Outcome, Failure> {
    table_format(output)?;
    let state = state_of(output);
    let model_files = model_files(&arguments.model);
    let inputs = || arguments.files.iter().chain(&arguments.counts).chain(&model_files).map(PathBuf::as_path);
    check_output(output, inputs())?;
    check_output(&state, inputs())?;
    let files: Vec<CorpusFile> = arguments.files.iter().map(|path| arguments.find(path)).collect::<Result<_, _>>()?;
    refuse_twice(&files)?;
    arguments.refuse_idle(&files)?;
    let model = load_model(&arguments.model)?;
    model.precision_note().into_iter().for_each(remark);
    check_model(&model, &files)?;
    let counts = arguments.counts.as_ref().map(|path| counts::of_file(&model, path)).transpose()?;
    let about = arguments.about(&model, &files, counts.as_deref())?;
    let annotations = Annotations { counts: counts.map(Arc::new), ..Annotations::NONE };
    let mut file = begin_or_go_on(about, &state, arguments.restart)?;
    let name = |given: &Option<String>| given.clone().unwrap_or_else(|| "text".to_owned());
    let names = TextNames { field: name(&arguments.field), column: name(&arguments.column) };
    let mut keeper = Keeper::new(state, Duration::from_secs(arguments.save_every));
    signals.keep();
    let stop = || signals.noted().is_some();
    let work = Work { model: &model, files: &files, names: &names, annotations: &annotations, stop: &stop };
    let mut progress = ShareProgress::new();
    let mut say = |share, n_texts| progress.at(share, || texts(n_texts));
    let end = survey_corpus(&work, &mut file, &mut keeper, &mut say)?;
    drop(progress);
    if let (End::Stopped, Some(signal)) = (end, signals.noted()) {
        let n_texts = texts(file.survey.n_all_texts());
        remark(&format!("stopped after {n_texts}; the same command goes on from there"));
        return Ok(Outcome::Stopped(signal));
    }
    refuse_empty(&file, &files)?;
    let mut done = file.clone();
    done.about.finish();
    if let Err(failure) = finish(&done, output, arguments.json, terminal) {
        keeper.save(&file)?; // nothing needs to be measured again: with its place and settings the state is gone on with
        return Err(failure);
    }
    keeper.remove();
    Ok(if done.about.n_skipped > 0 { Outcome::SomeSkipped } else { Outcome::Done })
}

fn run_merge(arguments: &MergeArguments, terminal: &mut Terminal) -> Result<Outcome, Failure> {
    table_format(&arguments.output)?;
    check_output(&arguments.output, arguments.surveys.iter().map(PathBuf::as_path))?;
    let mut merged: Option<(&Path, SurveyFile)> = None;
    for (index, path) in arguments.surveys.iter().enumerate() {
        // a survey that is given twice would count twice, and nobody means that
        if refuse_inputs(path, arguments.surveys[..index].iter().map(PathBuf::as_path)).is_err() {
            return Err(Failure::Usage(format!("{} is given twice; its texts would count twice", path.display())));
        }
        let file = read_survey(path)?;
        match &mut merged {
            Some((first, all)) => add_survey(all, first, file, path)?,
            None => merged = Some((path, file)),
        }
    }
    let Some((path, mut file)) = merged else { return Ok(Outcome::Done) };
    if file.about.position.is_some() {
        return Err(attlas_survey::Error::Unfinished(path.display().to_string()).into());
    }
    file.about.finish();
    finish(&file, &arguments.output, arguments.json, terminal)?;
    Ok(Outcome::Done)
}

/// Takes the survey at `path` into those before it, of which `first` is the first.
fn add_survey(all: &mut SurveyFile, first: &Path, file: SurveyFile, path: &Path) -> Result<(), Failure> {
    let name = path.display().to_string();
    for twice in all.add(&first.display().to_string(), file, &name)? {
        remark(&format!("{name} has texts of {twice} that an earlier survey has, too: they count twice"));
    }
    Ok(())
}

/// Writes the survey and prints what it found.
fn finish(file: &SurveyFile, output: &Path, is_json: bool, terminal: &mut Terminal) -> Result<(), Failure> {
    let resamples = Resamples::of(file.survey.n_texts());
    let table = survey_table(file, Some(&resamples));
    write_table(output, &table)?;
    if is_json {
        writeln!(terminal, "{}", inert_json(&table.json().to_string()))?;
        return Ok(());
    }
    print_survey(file, &resamples, terminal)?;
    writeln!(terminal, "{}", printable(&output.display().to_string()))?;
    Ok(())
}

/// `3 texts`.
fn texts(n_texts: u64) -> String {
    counted(usize::try_from(n_texts).unwrap_or(usize::MAX), "text")
}

impl SurveyArguments {
    /// A file of the corpus.
    fn find(&self, path: &Path) -> Result<CorpusFile, Failure> {
        if path.as_os_str() == "-" {
            let why = "a survey reads files, since it must be able to begin again; save standard input to one";
            return Err(Failure::Usage(why.into()));
        }
        Ok(CorpusFile::find(path, self.format.map(|format| format.0))?)
    }

    /// Refuses names of what no file of the corpus has.
    fn refuse_idle(&self, files: &[CorpusFile]) -> Result<(), Failure> {
        let has = |format: CorpusFormat| files.iter().any(|file| file.format == format);
        let named = [
            (&self.column, "--column", CorpusFormat::Parquet, "columns of Parquet files"),
            (&self.field, "--field", CorpusFormat::Jsonl, "fields of JSON lines"),
        ];
        match named.into_iter().find(|(name, _, format, _)| name.is_some() && !has(*format)) {
            Some((_, option, _, what)) => Err(Failure::Usage(format!(
                "{option} is for {what}, and no file of the corpus has any; --format says how they are read"
            ))),
            None => Ok(()),
        }
    }

    /// What the survey is about when it begins.
    fn about(&self, model: &Model, files: &[CorpusFile], counts: Option<&[u64]>) -> Result<About, Failure> {
        let languages = [self.model.from.clone(), self.model.to.clone()];
        let place = model_place(&self.model)?;
        let places = [&place, &self.model.adapter, &self.model.tokenizer];
        let places: Vec<&Path> = places.into_iter().flatten().map(PathBuf::as_path).collect();
        let identity = ModelIdentity::of(model, &places, languages)?;
        let has_pairs = files.iter().all(|file| file.format == CorpusFormat::Tsv);
        let longest = self.longest.unwrap_or(Decoding::LONGEST);
        let counts = counts.map(attlas_survey::digest_of_counts);
        let decoding = Decoding { counts, ..Decoding::of(model, has_pairs, longest, self.max_tokens) };
        let settings = Settings {
            window: self.window,
            batch_tokens: self.batch_tokens,
            limit: self.limit,
            part: self.shards.unwrap_or(Part::WHOLE),
        };
        Ok(About::new(identity, decoding, files.iter().map(|file| file.identity.clone()).collect(), settings))
    }
}

/// The state of a survey that was broken off, if it is of the same model, corpus and settings; else one that begins.
fn begin_or_go_on(about: About, state: &Path, restart: bool) -> Result<SurveyFile, Failure> {
    if restart || !state.exists() {
        return Ok(SurveyFile { about, survey: Survey::default() });
    }
    let file = read_survey(state)?;
    let identities = |about: &About| about.files.iter().map(|file| file.identity.clone()).collect::<Vec<_>>();
    let why = match file.about.differs_from(&about) {
        Some(why) => Some(why),
        None if identities(&file.about) != identities(&about) => Some("is of another corpus".to_owned()),
        None if file.about.settings != about.settings => {
            Some("was begun with another --window, --batch-tokens, --limit or --shards".to_owned())
        }
        None => None,
    };
    match why {
        Some(why) => Err(Failure::Input(format!(
            "{}: what was broken off here {why}; --restart begins anew, another -o leaves it alone",
            state.display()
        ))),
        None => {
            remark(&format!("going on after {}", texts(file.survey.n_all_texts())));
            Ok(file)
        }
    }
}

/// Refuses pairs for models that have one side.
fn check_model(model: &Model, files: &[CorpusFile]) -> Result<(), Failure> {
    match files.iter().find(|file| file.format == CorpusFormat::Tsv && !model.has(Side::Target)) {
        Some(file) => {
            let (pairs, model) = (file.path.display().to_string(), model.name().to_owned());
            Err(attlas_survey::Error::ReadsNoTargets { pairs, model }.into())
        }
        None => Ok(()),
    }
}

/// Refuses a corpus without a text; a part may have none.
fn refuse_empty(file: &SurveyFile, files: &[CorpusFile]) -> Result<(), Failure> {
    let is_part = file.about.settings.is_some_and(|settings| settings.part != Part::WHOLE);
    if file.survey.n_all_texts() > 0 || is_part {
        return Ok(());
    }
    let names: Vec<String> = files.iter().map(|file| file.path.display().to_string()).collect();
    let why = file
        .about
        .skipped
        .first()
        .map_or("they are empty".to_owned(), |skipped| format!("{}: {}", skipped.place(), skipped.reason));
    Err(Failure::Input(format!("there is no text to survey in {}: {why}", names.join(", "))))
}

fn parse_part(text: &str) -> Result<Part, String> {
    let number = |text: &str| text.parse::<usize>().ok();
    let part = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
    match part {
        Some((index @ 1.., of)) if index <= of && of <= N_SHARDS => Ok(Part { index: index - 1, of }),
        _ => Err(format!("a part is written I/N, from 1/N to N/N, with N up to {N_SHARDS}")),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("a number from 1 to 1000000 was expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_count_from_one() {
        assert_eq!(parse_part("1/4"), Ok(Part { index: 0, of: 4 }));
        assert_eq!(parse_part("64/64"), Ok(Part { index: 63, of: 64 }));
        for wrong in ["0/4", "5/4", "1/65", "1", "a/b", "/", "1/0"] {
            assert!(parse_part(wrong).is_err(), "{wrong}");
        }
    }
}
