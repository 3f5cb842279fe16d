//! Trees and mentions held against a model's heads: read, run in batches, summed; then a table, JSON, a picture.

mod figure;
mod mentions;
mod table;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use attlas::Kind;
use attlas::analysis::coreference::{CoreferenceCase, CoreferenceCases, CoreferenceSums, measure_coreference};
use attlas::analysis::syntax::{ALL, Direction, TreeSums, measure_tree};
use attlas::conllu::{Sentence, Sentences};
use attlas_model::{Input, Keep, Model, Pass, RunOptions, Side, Site};

pub use figure::draw;
pub use table::{print, rows, table};

use self::mentions::TextWithMention;

use crate::failure::Failure;
use crate::inputs::read_lines;
use crate::progress::Progress;
use crate::terminal::remark;
use crate::words::counted;

/// Sentences per run of the model, at most.
const MAX_BATCH: usize = 32;
/// Tokens per run, padding included, unless a single sentence has more.
const MAX_BATCH_TOKENS: usize = 4096;
/// Relations of a file at most; Universal Dependencies has 37, with their subtypes under 200.
const MAX_RELATIONS: usize = 500;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub struct Material<'a> {
    /// Sentences with trees, in CoNLL-U.
    pub trees: Option<&'a Path>,
    /// What the encoder reads for each of them, where the trees are of what the decoder reads: CoNLL-U, or lines.
    pub sources: Option<&'a Path>,
    /// Whether the mentions of the trees' sentences are measured.
    pub has_mentions: bool,
    /// Mentions in a file of their own.
    pub mentions: Option<&'a Path>,
    /// The relation that is asked for, which the trees must have.
    pub relation: Option<&'a str>,
}

/// Which part of the scores is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Choice<'a> {
    /// One relation; all when `None`.
    pub relation: Option<&'a str>,
    /// One direction; both when `None`.
    pub direction: Option<Direction>,
}

impl Choice<'_> {
    /// Whether a relation is shown.
    fn has(&self, relation: &str, direction: Direction) -> bool {
        self.relation.is_none_or(|chosen| chosen == relation) && self.direction.is_none_or(|chosen| chosen == direction)
    }
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    /// The kind of attention.
    pub kind: Kind,
    /// The relations; `None` where no trees were given.
    pub trees: Option<TreeSums>,
    /// The mentions; `None` where none were asked for.
    pub mentions: Option<Mentions>,
    /// Sentences that were measured.
    pub n_sentences: usize,
    /// Sentences that were left out; each was named on standard error.
    pub n_skipped: usize,
}

/// The mentions that were measured, and why some are no case.
#[derive(Debug)]
pub struct Mentions {
    /// The heads' sums; `None` where no sentence had a case.
    pub sums: Option<CoreferenceSums>,
    /// Mentions whose thing is not named before.
    pub n_without_antecedent: u64,
    /// Mentions before which there is no other noun.
    pub n_without_distractor: u64,
}

/// Runs the model over the sentences and measures its heads.
///
/// # Errors
/// When a file cannot be used (it is read whole before the model runs), or the model cannot read its sentences.
pub fn measure(model: &Model, material: &Material<'_>) -> Result<Report, Failure> {
    let kind = kind_of(model, material)?;
    let sources = material.sources.map(SourceFile::open).transpose()?;
    let texts = material.mentions.map_or(Ok(Vec::new()), mentions::read)?;
    let n_sentences = count(material, sources.as_ref())?;
    let mut run = Run::new(model, kind, n_sentences + texts.len());
    for_each_sentence(material, sources.as_ref(), |sentence, source| {
        run.take_sentence(sentence, source, material.has_mentions)
    })?;
    for TextWithMention { name, text, case } in texts {
        run.take(Job { name, text, tree: None, cases: vec![case], source: None })?;
    }
    run.run_batch()?;
    let Run { trees, coreference, n_without_antecedent, n_without_distractor, n_measured, n_skipped, .. } = run;
    if n_measured == 0 {
        return Err(Failure::Input("no sentence is left to measure".into()));
    }
    let has_mentions = material.has_mentions || material.mentions.is_some();
    let mentions = has_mentions.then_some(Mentions { sums: coreference, n_without_antecedent, n_without_distractor });
    Ok(Report { kind, trees, mentions, n_sentences: n_measured, n_skipped })
}

/// The attention whose rows and columns are the words of the trees.
fn kind_of(model: &Model, material: &Material<'_>) -> Result<Kind, Failure> {
    match (material.sources, model.has(Side::Source), model.has(Side::Target)) {
        (Some(_), true, true) | (None, false, _) => Ok(Kind::Decoder),
        (None, true, _) => Ok(Kind::Encoder),
        (Some(_), ..) => Err(Failure::Usage(format!(
            "--sources is for models with encoder and decoder, and {} has one of them alone",
            model.name()
        ))),
    }
}

/// Reads the trees to their end, so that a fault in them is told before the model runs; how many sentences there are.
fn count(material: &Material<'_>, sources: Option<&SourceFile>) -> Result<usize, Failure> {
    let (mut n, mut relations) = (0, BTreeSet::from([ALL.to_owned()]));
    for_each_sentence(material, sources, |sentence, _| {
        n += 1;
        for word in sentence.words.iter().filter(|word| word.head.is_some()) {
            relations.extend([word.universal_relation().to_owned(), word.relation.clone()]);
        }
        if relations.len() > MAX_RELATIONS {
            return Err(Failure::Limit(format!(
                "the trees have more than {MAX_RELATIONS} different relations; Universal Dependencies has fewer than 200"
            )));
        }
        if material.has_mentions { cases_of(&sentence).map(|_| ()) } else { Ok(()) }
    })?;
    if let Some(relation) = material.relation.filter(|relation| !relations.contains(*relation)) {
        let known: Vec<String> = relations.into_iter().collect();
        let known = known.join(", ");
        return Err(Failure::Usage(format!(
            "--relation {relation}: the trees have no such relation; they have {known}"
        )));
    }
    match material.trees {
        Some(path) if n == 0 => Err(Failure::Input(format!("{}: there is no sentence in it", path.display()))),
        _ => Ok(n),
    }
}

fn cases_of(sentence: &Sentence) -> Result<CoreferenceCases, Failure> {
    Ok(CoreferenceCases::of(sentence)?)
}

/// Every sentence of the trees, each with its source where sources are given.
fn for_each_sentence(
    material: &Material<'_>,
    sources: Option<&SourceFile>,
    mut take: impl FnMut(Sentence, Option<String>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(path) = material.trees else { return Ok(()) };
    const RULE: &str = "it has to have a source for each sentence, in their order";
    let mut texts = sources.map(SourceFile::texts).transpose()?;
    let name = || material.sources.unwrap_or(path).display();
    for sentence in Sentences::open(path)? {
        let sentence = sentence?;
        let source = match &mut texts {
            None => None,
            Some(texts) => Some(texts.next().unwrap_or_else(|| {
                Err(Failure::Input(format!("{} ends before {}; {RULE}", name(), sentence.name())))
            })?),
        };
        take(sentence, source)?;
    }
    match texts.as_mut().and_then(Iterator::next) {
        None => Ok(()),
        Some(_) => Err(Failure::Input(format!("{} goes on after the last sentence; {RULE}", name()))),
    }
}

/// What the encoder reads for each sentence.
enum SourceFile {
    Conllu(PathBuf),
    Lines(Vec<String>),
}

impl SourceFile {
    fn open(path: &Path) -> Result<SourceFile, Failure> {
        match path.extension().is_some_and(|ending| ending == "conllu") {
            true => Ok(SourceFile::Conllu(path.to_path_buf())),
            false => Ok(SourceFile::Lines(read_lines(path)?.0)),
        }
    }

    fn texts(&self) -> Result<Box<dyn Iterator<Item = Result<String, Failure>> + '_>, Failure> {
        Ok(match self {
            SourceFile::Conllu(path) => Box::new(Sentences::open(path)?.map(|sentence| Ok(sentence?.text))),
            SourceFile::Lines(lines) => Box::new(lines.iter().cloned().map(Ok)),
        })
    }
}

/// A text to run the model on, and what is measured there.
struct Job {
    /// What to call it in messages.
    name: String,
    text: String,
    tree: Option<Sentence>,
    cases: Vec<CoreferenceCase>,
    source: Option<String>,
}

/// A model that is run over texts, and the sums so far.
struct Run<'a> {
    model: &'a Model,
    kind: Kind,
    /// What waits to be run together.
    batch: Vec<(Job, Input)>,
    progress: Progress,
    trees: Option<TreeSums>,
    coreference: Option<CoreferenceSums>,
    n_without_antecedent: u64,
    n_without_distractor: u64,
    n_measured: usize,
    n_skipped: usize,
}

impl<'a> Run<'a> {
    fn new(model: &'a Model, kind: Kind, n: usize) -> Run<'a> {
        Run {
            model,
            kind,
            batch: Vec::new(),
            progress: Progress::new("sentence", n),
            trees: None,
            coreference: None,
            n_without_antecedent: 0,
            n_without_distractor: 0,
            n_measured: 0,
            n_skipped: 0,
        }
    }

    fn take_sentence(&mut self, sentence: Sentence, source: Option<String>, has_mentions: bool) -> Result<(), Failure> {
        let found = if has_mentions { cases_of(&sentence)? } else { CoreferenceCases::default() };
        self.n_without_antecedent += found.n_without_antecedent;
        self.n_without_distractor += found.n_without_distractor;
        if !sentence.has_tree() && found.cases.is_empty() {
            self.skip(&format!("{} has no tree", sentence.name()));
            return Ok(());
        }
        let (name, text) = (sentence.name(), sentence.text.clone());
        let tree = sentence.has_tree().then_some(sentence);
        self.take(Job { name, text, tree, cases: found.cases, source })
    }

    /// Takes in a text, and runs the model when enough of them wait.
    fn take(&mut self, job: Job) -> Result<(), Failure> {
        let input = match &job.source {
            Some(source) => self.model.input(source, Some(&job.text)),
            None => self.model.input(&job.text, None),
        }?;
        if let Some(problem) = too_long(self.model, &input) {
            self.skip(&format!("{} has {problem}", job.name));
            return Ok(());
        }
        let longest = |inputs: &[(Job, Input)]| inputs.iter().map(|(_, input)| n_tokens(input)).max().unwrap_or(0);
        let n_padded = (self.batch.len() + 1) * longest(&self.batch).max(n_tokens(&input));
        if self.batch.len() == MAX_BATCH || n_padded > MAX_BATCH_TOKENS {
            self.run_batch()?;
        }
        self.batch.push((job, input));
        Ok(())
    }

    fn skip(&mut self, why: &str) {
        remark(&format!("skipped: {why}"));
        self.progress.step();
        self.n_skipped += 1;
    }

    /// Runs the model on what waits, and measures its heads.
    fn run_batch(&mut self) -> Result<(), Failure> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let (jobs, inputs): (Vec<Job>, Vec<Input>) = std::mem::take(&mut self.batch).into_iter().unzip();
        let keep = vec![Keep { site: Site::Attention, kind: Some(self.kind), layers: None }];
        let options = RunOptions { pass: Pass { keep, edits: Vec::new() }, ..RunOptions::default() };
        let recording = self.model.run(&inputs, &options)?.recording;
        for (item, job) in jobs.iter().enumerate() {
            if let Some(tree) = &job.tree {
                merge(&mut self.trees, measure_tree(&recording, item, self.kind, tree)?, TreeSums::merge)?;
            }
            if !job.cases.is_empty() {
                let sums = measure_coreference(&recording, item, self.kind, &job.text, &job.cases)?;
                merge(&mut self.coreference, sums, CoreferenceSums::merge)?;
            }
        }
        self.n_measured += jobs.len();
        self.progress.steps(jobs.len());
        Ok(())
    }
}

/// Adds to what there is, or begins with it.
fn merge<T>(
    all: &mut Option<T>,
    more: T,
    merge: impl Fn(&mut T, &T) -> Result<(), attlas::Error>,
) -> Result<(), attlas::Error> {
    match all {
        Some(all) => merge(all, &more),
        None => {
            *all = Some(more);
            Ok(())
        }
    }
}

fn n_tokens(input: &Input) -> usize {
    input.source.len().max(input.target.len())
}

/// What makes a text too long for a model; `None` where it fits.
fn too_long(model: &Model, input: &Input) -> Option<String> {
    let architecture = &model.transformer().architecture;
    let sides = [(&input.source, &architecture.encoder), (&input.target, &architecture.decoder)];
    sides.into_iter().find_map(|(tokens, stack)| {
        let limit = architecture.n_positions(stack.as_ref()?);
        let n = tokens.len();
        (n > limit).then(|| format!("{}, but {} has positions for {limit}", counted(n, "token"), model.name()))
    })
}
