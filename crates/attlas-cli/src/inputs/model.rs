//! A model and what it is run on.

use std::path::PathBuf;

use attlas::recording::{Edit, HeadOutput, Heads, TokenExpert};
use attlas::{HeadId, Kind, Recording};
use attlas_model::explain::knock_out::keeping_head_outputs;
use attlas_model::explain::{HeadPattern, traced};
use attlas_model::{
    ContactWeights, Decoding, Error, Input, LoadOptions, Loops, Model, Object, Pass, Precision, Run, RunOptions, Side,
    Site, Tower, UnknownWords, sentences, sentences_note,
};
use clap::{Args, ValueEnum};

#[cfg(feature = "download")]
pub use super::hub::model_path;
use super::notes::{say_items, say_provenance};
use super::numbers::{IdList, parse_beams, parse_ids, parse_max_tokens};
use super::text::RawText;
use super::{Material, input_of, read_text, run_seeing, run_towers, say_sentences};
use crate::failure::Failure;
use crate::quantities::Asked;
use crate::terminal::remark;
use crate::words::counted;

/// Tokens generated at most when `--max-tokens` does not say.
const MAX_TOKENS: usize = 256;

/// Which model.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArguments {
    /// A model folder (config.json, weights, tokenizer), a .gguf file, or ORG/NAME from the hub or its local cache
    /// [default: the embedded English to French translator].
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// The branch, tag or commit of a model of the hub [default: main].
    #[arg(long, value_name = "REVISION", requires = "model")]
    pub revision: Option<String>,
    /// Download a model from a hub (HF_ENDPOINT) whose address is http: anyone on the way can read and change it.
    #[arg(long, requires = "model")]
    pub allow_http: bool,
    /// A folder with a LoRA adapter (PEFT's adapter_config.json) that is added to the model's weights. The adapter's own
    /// word for its model is not followed: --model names it.
    #[arg(long, value_name = "DIR", requires = "model")]
    pub adapter: Option<PathBuf>,
    /// A folder with the tokenizer, for models without one (checkpoints in the midst of a training) or with another.
    #[arg(long, value_name = "DIR", requires = "model")]
    pub tokenizer: Option<PathBuf>,
    /// The tower that is run, or shown of a recording that holds both, of a model that has two, as CLIP and SigLIP have: vision or text
    /// [default: vision].
    #[arg(long, value_name = "TOWER")]
    pub tower: Option<Tower>,
    /// The language of the text or sound, for models with tags for languages: fr, fra_Latn, French [default: the
    /// model's own, or the one it hears].
    #[arg(long, value_name = "LANGUAGE", requires = "model")]
    pub from: Option<String>,
    /// The language that the model writes, for models with tags for languages.
    #[arg(long, value_name = "LANGUAGE", requires = "model")]
    pub to: Option<String>,
    /// Whether it is loaded with what images go through.
    #[arg(skip)]
    pub images: bool,
    /// How exact the products of the model's matrices are: exact (f32), or on a processor with AMX high (as exact as f32 sums in
    /// another order), fast (weights are usually within 1e-4) and fastest (bf16, within some hundredths), more where scores are
    /// large. They are for texts from about 128 tokens on; without AMX exact is used, and said [default: exact].
    #[arg(long, value_name = "PRECISION")]
    pub precision: Option<Precision>,
    /// What becomes of a generated text that repeats a span of tokens: cut, which the recording says (a beam search leaves such
    /// texts out), or keep [default: cut for the embedded translator, keep for other models].
    #[arg(long, value_name = "WHAT")]
    pub loops: Option<Loops>,
    /// What becomes of a generated text with a word that neither the model's training targets nor the source have: avoid puts the
    /// best text of known words in its place, which the recording says, or keep [default: avoid for the embedded translator, keep
    /// for other models].
    #[arg(long, value_name = "WHAT")]
    pub unknown_words: Option<UnknownWords>,
}

impl ModelArguments {
    /// The model as it was named, for a command that names it again; `None` of the embedded one, and of a name that is no text.
    pub fn named(&self) -> Option<String> {
        self.model.as_ref()?.to_str().map(str::to_owned)
    }
}

/// Megabytes of queries and keys that are recorded at most when `--max-mb` does not say.
pub const MAX_MB: u64 = 4096;

/// What a model reads for an explanation: one text, or ids.
#[derive(Debug, Clone, Default, Args)]
pub struct ReadArguments {
    /// The text to run the model on, or - for standard input.
    #[arg(value_name = "TEXT", required_unless_present_any = ["source_ids", "target_ids"])]
    pub text: Option<RawText>,
    /// Token ids of the source instead of a text; no tokenizer is needed.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["text", "target"])]
    pub source_ids: Option<IdList>,
    /// Token ids that the decoder reads, its start token included; all of a model that has a decoder alone.
    #[arg(long, value_name = "IDS", value_parser = parse_ids, conflicts_with_all = ["text", "target", "beam", "max_tokens"])]
    pub target_ids: Option<IdList>,
}

impl ReadArguments {
    /// The ids as the model reads them; an encoder-decoder without target ids begins with its start token.
    fn input_of_ids(&self, model: &Model) -> Result<Input, Failure> {
        let tokens = |side, ids: &Option<IdList>| match ids {
            Some(ids) => tokens_of_ids(model, side, ids),
            None => Ok(attlas::Tokens::default()),
        };
        let mut input = Input {
            source: tokens(Side::Source, &self.source_ids)?,
            target: tokens(Side::Target, &self.target_ids)?,
            ..Input::default()
        };
        if self.target_ids.is_none() && model.has(Side::Source) && model.has(Side::Target) {
            input.target = model.prompt_tokens("")?;
        }
        Ok(input)
    }
}

/// Ids as tokens of one side; the error of a side that the model does not have says which option takes them.
pub fn tokens_of_ids(model: &Model, side: Side, ids: &IdList) -> Result<attlas::Tokens, Failure> {
    model.tokens_from_ids(side, &ids.0).map_err(|error| match (error, side) {
        (Error::Unsupported(why), Side::Source) if !model.has(side) => Failure::Input(format!("{why} (--target-ids)")),
        (Error::Unsupported(why), Side::Target) if !model.has(side) => Failure::Input(format!("{why} (--source-ids)")),
        (error, _) => error.into(),
    })
}

/// How a model is run on a text.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct RunArguments {
    #[command(flatten)]
    pub model: ModelArguments,
    /// The target, instead of letting the model generate it (teacher forcing); once for each text. A model that has a
    /// decoder alone reads it after the text; of a model of two towers the text tower reads it, beside an image.
    #[arg(long, value_name = "TEXT")]
    pub target: Vec<RawText>,
    /// Generate by beam search with N beams; greedily with 1 [default: 5 for the embedded translator, 1 for other models].
    #[arg(long, value_name = "N", conflicts_with = "target", value_parser = parse_beams)]
    pub beam: Option<usize>,
    /// Generate N tokens at most; a text of the embedded translator's search has at most 50 more than its source, too [default: 256 for
    /// encoder-decoders; decoder-only models read the text alone].
    #[arg(long, value_name = "N", conflicts_with = "target", value_parser = parse_max_tokens)]
    pub max_tokens: Option<usize>,
    /// Knock a head out: its output is set to 0, the rest of the model goes on. Written L2H4, or with the kind of
    /// attention where several have that head: encoder:L2H4, decoder:L2H4, cross:L2H4. Repeat for several heads.
    #[arg(long, value_name = "HEAD", value_parser = parse_knock_out)]
    pub knock_out: Vec<KnockOut>,
    /// Images that the text has placeholders for.
    #[arg(skip)]
    pub images: Vec<PathBuf>,
    /// Whether values are recorded.
    #[arg(skip)]
    pub values: bool,
    /// Whether it is recorded which experts tokens go through.
    #[arg(skip)]
    pub router: bool,
    /// What is made beside weights.
    #[arg(skip)]
    pub quantities: Asked,
    /// Megabytes of queries and keys at most, when not those of `MAX_MB`.
    #[arg(skip)]
    pub max_mb: Option<u64>,
    /// Whether the sentences of a text are run apart.
    #[arg(skip)]
    pub sentences: Sentences,
}

/// Whether the sentences of a text are run apart, where a command asks.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct SentenceArguments {
    /// Whether the sentences of one text are run apart, each a text of the recording: auto, apart or together; auto is apart
    /// for the embedded translator, which was trained on single sentences.
    #[arg(long, value_enum, hide_possible_values = true, value_name = "HOW", default_value_t = Sentences::Auto)]
    pub sentences: Sentences,
}

/// Whether the sentences of a text are run apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Sentences {
    /// A text is one text where the command cannot run its sentences apart, and that is said.
    #[default]
    #[value(skip)]
    Unasked,
    /// A text is one text, whatever is in it.
    Together,
    /// Each sentence is a text of the recording.
    Apart,
    /// Apart where the model was trained on single sentences and writes the target itself.
    Auto,
}

impl RunArguments {
    /// The targets, read.
    pub fn target_texts(&self) -> Result<Vec<String>, Failure> {
        self.target.iter().map(|raw| read_text(raw, "--target")).collect()
    }

    /// The first of these options that was given, for messages.
    pub fn first_given(&self) -> Option<&'static str> {
        let given = [
            (self.model.model.is_some(), "--model"),
            (self.model.precision.is_some(), "--precision"),
            (self.model.loops.is_some(), "--loops"),
            (self.model.unknown_words.is_some(), "--unknown-words"),
            (!self.target.is_empty(), "--target"),
            (self.beam.is_some(), "--beam"),
            (self.max_tokens.is_some(), "--max-tokens"),
            (!self.knock_out.is_empty(), "--knock-out"),
        ];
        given.into_iter().find_map(|(is_given, name)| is_given.then_some(name))
    }

    /// Refuses the options of generation where nothing is generated; `why` is the end of the sentence.
    fn refuse_generation(&self, why: &str) -> Result<(), Failure> {
        let given = [(self.beam.is_some(), "--beam"), (self.max_tokens.is_some(), "--max-tokens")];
        match given.into_iter().find(|(is_given, _)| *is_given) {
            Some((_, option)) => Err(Failure::Usage(format!("{option} is for generating, but {why}"))),
            None => Ok(()),
        }
    }

    /// How the decoder's tokens come about when the target is not given.
    pub fn generation(&self, model: &Model) -> Decoding {
        let is_asked = self.beam.is_some() || self.max_tokens.is_some();
        if !model.has(Side::Target) || model.finds_objects() || (!model.has(Side::Source) && !is_asked) {
            return Decoding::TeacherForcing;
        }
        let max_tokens = self.max_tokens.unwrap_or(MAX_TOKENS);
        model.generating(self.beam, max_tokens)
    }
}

/// A head that is knocked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnockOut {
    pub kind: Option<Kind>,
    pub id: HeadId,
}

/// Reads `L2H4`, `2.4` and `cross:L1H3`: a [`HeadPattern`] of one head.
pub fn parse_knock_out(text: &str) -> Result<KnockOut, String> {
    let (kind, id) = text.parse::<HeadPattern>()?.one()?;
    Ok(KnockOut { kind, id })
}

impl KnockOut {
    /// The kind of attention that is meant: the one that was named, or the only one with such a head.
    pub fn kind_in(self, model: &Model) -> Result<Kind, Failure> {
        Ok(model.kind_of_head(self.kind, self.id)?)
    }
}

/// Texts to run a model on; no target, or one for each.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// What the model reads.
    pub sources: Vec<String>,
    /// What its decoder reads; empty to generate.
    pub targets: Vec<String>,
}

/// What came of running a model.
#[derive(Debug)]
pub struct TextRun {
    /// Every head.
    pub recording: Recording,
    /// The text generated for each input; empty when nothing was generated.
    pub outputs: Vec<String>,
    /// What each object query of each image found; empty where the model looks for no objects.
    pub objects: Vec<Vec<Object>>,
    /// Options that would say what was left open.
    pub hints: Vec<&'static str>,
    /// The head of cross-attention that is known to align best, in the row that predicts a word.
    pub aligns: Option<HeadId>,
    /// What reads contacts off the maps, where the model has it.
    pub contacts: Option<ContactWeights>,
    /// The experts of tokens, each with its text's place, in layers that the recording has no place for.
    pub experts: Vec<(usize, TokenExpert)>,
}

/// A recording that was opened: nothing was run.
impl From<Recording> for TextRun {
    fn from(recording: Recording) -> TextRun {
        TextRun {
            recording,
            outputs: Vec::new(),
            objects: Vec::new(),
            hints: Vec::new(),
            aligns: None,
            contacts: None,
            experts: Vec::new(),
        }
    }
}

impl TextRun {
    /// Puts the texts that were continued before what was generated: the two are read together.
    pub fn put_before(&mut self, texts: &[String]) {
        for ((output, text), item) in self.outputs.iter_mut().zip(texts).zip(&self.recording.items) {
            match item.target.text.starts_with(text) && item.target.text.ends_with(output.as_str()) {
                true => item.target.text.clone_into(output), // with the space between them
                false => output.insert_str(0, text),
            }
        }
    }

    /// Says on standard error what a reader of the recording must know.
    pub fn say_notes(&self) {
        self.say_notes_of(None);
    }

    /// The same of one of the texts, or of all.
    pub fn say_notes_of(&self, item: Option<usize>) {
        self.say_provenance();
        say_items(&self.recording, item);
    }

    /// The same, what is to be known of single texts left out.
    pub fn say_provenance(&self) {
        say_provenance(&self.recording);
        self.hints.iter().for_each(|hint| remark(hint));
    }
}

/// Loads the model that the command line names, or the embedded one.
pub fn load_model(arguments: &ModelArguments) -> Result<Model, Failure> {
    let mut model = match model_place(arguments)? {
        Some(path) => {
            let (adapter, tokenizer) = (arguments.adapter.clone(), arguments.tokenizer.clone());
            Model::load_with(
                &path,
                &LoadOptions { adapter, tokenizer, tower: arguments.tower, images: arguments.images },
            )?
        }
        None if arguments.tower.is_some() => {
            return Err(Failure::Usage("--tower is for a model of two towers, which --model names".into()));
        }
        None => Model::embedded()?,
    };
    model.set_languages(arguments.from.as_deref(), arguments.to.as_deref())?;
    if let Some(precision) = arguments.precision {
        model.set_precision(precision);
    }
    if let Some(loops) = arguments.loops {
        model.set_loops(loops);
    }
    if let Some(unknown_words) = arguments.unknown_words {
        model.set_unknown_words(unknown_words)?;
    }
    Ok(model)
}

/// The folder or file of the model that the command line names; `None` for the embedded one.
pub fn model_place(arguments: &ModelArguments) -> Result<Option<PathBuf>, Failure> {
    let Some(name) = &arguments.model else { return Ok(None) };
    if let Some(revision) = arguments.revision.as_ref().filter(|_| name.exists()) {
        let name = name.display();
        return Err(Failure::Usage(format!(
            "--revision {revision} is for models of the hub, but {name} is a file or folder of this machine"
        )));
    }
    // a folder's name may be no text; the hub's names are
    Ok(Some(match name.to_str() {
        Some(name) => model_path(name, arguments.revision.as_deref(), arguments.allow_http)?,
        None => name.clone(),
    }))
}

/// The model that a name means: a folder, a file, or what lies in the hub's cache. This build downloads nothing.
#[cfg(not(feature = "download"))]
pub fn model_path(name: &str, revision: Option<&str>, _: bool) -> Result<PathBuf, Failure> {
    attlas_model::hub::find_model(name, revision).map_err(|absent| {
        let problem = "this build of attlas downloads nothing: it was made without the feature download";
        Failure::Input(format!("{absent}; {problem}"))
    })
}

/// Runs the model on texts: with the targets given, or generating them.
pub fn run_texts(texts: &Texts, options: &RunArguments) -> Result<TextRun, Failure> {
    if texts.targets.len() > texts.sources.len() {
        return Err(Failure::Usage(format!("{} targets for {} text", texts.targets.len(), texts.sources.len())));
    }
    let images = !options.images.is_empty();
    let model = load_model(&ModelArguments { images, ..options.model.clone() })?;
    if images {
        return run_seeing(&model, texts, options);
    }
    if model.has_text_tower() && !texts.targets.is_empty() {
        return run_towers(&model, texts, options);
    }
    let apart = options.sentences.apart(&model, texts)?;
    let (n_texts, texts) = (texts.sources.len(), apart.as_ref().unwrap_or(texts));
    let input = |(index, text): (usize, &String)| input_of(&model, text, texts.targets.get(index).map(String::as_str));
    let inputs: Vec<Input> = texts.sources.iter().enumerate().map(input).collect::<Result<_, _>>()?;
    check_size(&model, &inputs, options.max_mb.unwrap_or(MAX_MB))?;
    let decoding = if texts.targets.is_empty() { options.generation(&model) } else { Decoding::TeacherForcing };
    if !model.has(Side::Target) {
        options.refuse_generation(&format!("{} has no decoder", model.name()))?;
    }
    if model.finds_objects() {
        options.refuse_generation(&format!("{} looks for objects and writes no text", model.name()))?;
    }
    let mut run = run_inputs(&model, &inputs, decoding, options)?;
    if apart.is_some() {
        run.recording.provenance.notes.push(sentences_note(n_texts, texts.sources.len()));
        run.hints.push("--sentences together runs them as one text");
    }
    if !model.has(Side::Source) {
        run.put_before(&texts.sources);
    }
    Ok(run)
}

impl Sentences {
    /// The sentences of texts, where they are run apart and some text has several; `None` where the texts are run as they are.
    fn apart(self, model: &Model, texts: &Texts) -> Result<Option<Texts>, Failure> {
        let is_wanted = match self {
            Sentences::Unasked => {
                let target = texts.targets.first().map(String::as_str);
                texts.sources.iter().for_each(|text| say_sentences(model, text, target));
                false
            }
            Sentences::Together => false,
            Sentences::Apart if !texts.targets.is_empty() => {
                return Err(Failure::Usage(
                    "--sentences apart is for texts whose target is generated, and --target gives one".into(),
                ));
            }
            Sentences::Apart => !model.reads_images() && !model.reads_sounds(),
            Sentences::Auto => texts.targets.is_empty() && model.reads_single_sentences(),
        };
        let sources: Vec<String> = match is_wanted {
            true => texts.sources.iter().flat_map(|text| sentences(text)).map(str::to_owned).collect(),
            false => Vec::new(),
        };
        let targets = Vec::new();
        Ok((sources.len() > texts.sources.len()).then_some(Texts { sources, targets }))
    }
}

/// Refuses several texts whose recording would not fit: a batch is padded to its longest text. A target that is to be generated is
/// taken for as long as the source.
fn check_size(model: &Model, inputs: &[Input], max_mb: u64) -> Result<(), Failure> {
    let longest = |length: fn(&Input) -> usize| inputs.iter().map(length).max().unwrap_or(0);
    let n_source = longest(|input| input.source.len());
    let n_target = longest(|input| input.target.len()).max(if model.has(Side::Target) { n_source } else { 0 });
    let needed = model.recorded_bytes(n_source, n_target).saturating_mul(inputs.len() as u64);
    if needed <= max_mb.saturating_mul(1 << 20) || inputs.len() == 1 {
        return Ok(());
    }
    let needed = needed.div_ceil(1 << 20);
    Err(Failure::Limit(format!(
        "{} padded to {} take about {needed} MB of queries and keys, and {max_mb} MB may be recorded at once; record fewer, \
         and texts of like length together (--max-mb)",
        counted(inputs.len(), "text"),
        counted(n_source.max(n_target), "token")
    )))
}

/// Runs the model on a text and keeps what explanations need: weights, values and the residual stream.
pub fn run_traced(read: &ReadArguments, options: &RunArguments) -> Result<(Model, Run), Failure> {
    let text = match read.text.as_deref().map(Material::read).transpose()? {
        None => None,
        Some(Material::Text(text)) => Some(text),
        Some(Material::Recording(path)) => {
            return Err(Failure::Usage(format!(
                "{} is a recording, and this needs the model: give the text, and --model where it is another than the embedded one",
                path.display()
            )));
        }
    };
    let model = load_model(&options.model)?;
    let targets = options.target_texts()?;
    let input = match &text {
        Some(text) => {
            let target = targets.first().map(String::as_str);
            say_sentences(&model, text, target);
            input_of(&model, text, target)?
        }
        None => read.input_of_ids(&model)?,
    };
    let is_given = !targets.is_empty() || read.target_ids.is_some();
    let decoding = if is_given { Decoding::TeacherForcing } else { options.generation(&model) };
    if !model.has(Side::Target) {
        options.refuse_generation(&format!("{} has no decoder", model.name()))?;
    }
    if let Some(option) = (!options.knock_out.is_empty()).then_some("--knock-out") {
        return Err(Failure::Usage(format!(
            "{option} changes head outputs, which leaves states that are no sum of what keys add"
        )));
    }
    let mut pass = traced();
    pass.keep.extend(keeping_head_outputs().keep); // a number that is none is told with its head
    let run = model.run(&[input], &RunOptions { decoding, pass })?;
    say_provenance(&run.recording);
    say_items(&run.recording, None);
    Ok((model, run))
}

/// Runs the model on token ids; a decoder without target ids generates from its start token.
pub fn run_ids(sources: &[IdList], targets: &[IdList], options: &RunArguments) -> Result<TextRun, Failure> {
    if !sources.is_empty() && !targets.is_empty() && sources.len() != targets.len() {
        return Err(Failure::Usage(format!(
            "--source-ids was given {} times and --target-ids {} times; give both once for each item",
            sources.len(),
            targets.len()
        )));
    }
    let model = load_model(&options.model)?;
    let generates = targets.is_empty() && model.has(Side::Source) && model.has(Side::Target);
    let mut inputs = vec![Input::default(); sources.len().max(targets.len())];
    for (input, ids) in inputs.iter_mut().zip(sources) {
        input.source = tokens_of_ids(&model, Side::Source, ids)?;
        if generates {
            input.target = model.prompt_tokens("")?;
        }
    }
    for (input, ids) in inputs.iter_mut().zip(targets) {
        input.target = tokens_of_ids(&model, Side::Target, ids)?;
    }
    if !generates {
        let all_given = "all that the model reads is given";
        options.refuse_generation(all_given)?;
    }
    let decoding = if generates { options.generation(&model) } else { Decoding::TeacherForcing };
    run_inputs(&model, &inputs, decoding, options)
}

/// Runs a model that is loaded on inputs whose targets are given, and keeps its attention.
pub fn run_given(model: &Model, inputs: &[Input], options: &RunArguments) -> Result<Recording, Failure> {
    Ok(run_inputs(model, inputs, Decoding::TeacherForcing, options)?.recording)
}

/// Runs a model that is loaded, with what the options change in it.
pub fn run_inputs(
    model: &Model,
    inputs: &[Input],
    decoding: Decoding,
    options: &RunArguments,
) -> Result<TextRun, Failure> {
    let mut pass = match options.values {
        true => Pass::keeping([Site::Attention, Site::Values]),
        false => Pass::default(),
    };
    if options.router {
        pass.keep.extend(Pass::keeping([Site::Router]).keep);
    }
    for head in &options.knock_out {
        let heads = Heads::one(head.kind_in(model)?, head.id);
        pass.edits.push(Edit::HeadOutput { heads, to: HeadOutput::Zero });
    }
    options.quantities.keep(&mut pass);
    let mut run = model.run(inputs, &RunOptions { decoding, pass })?;
    options.quantities.add(model, inputs, &mut run, options.values)?;
    let experts = run.experts_without_attention();
    let outputs = run.generated.into_iter().map(|generation| generation.text).collect();
    let hints =
        if model.leaves_language_open() { vec!["--to chooses the language that is written"] } else { Vec::new() };
    let aligns = model.alignment_heads().first().copied();
    let contacts = model.transformer().readout.contacts.clone();
    Ok(TextRun { recording: run.recording, outputs, objects: run.objects, hints, aligns, contacts, experts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_to_knock_out_may_have_a_kind() {
        let id = HeadId { layer: 1, head: 3 };
        assert_eq!(parse_knock_out("cross:L1H3"), Ok(KnockOut { kind: Some(Kind::Cross), id }));
        assert_eq!(parse_knock_out("L1H3"), Ok(KnockOut { kind: None, id }));
        assert!(parse_knock_out("crosses:L1H3").unwrap_err().contains("there are encoder, decoder and cross"));
        assert_eq!(parse_knock_out("1.3"), Ok(KnockOut { kind: None, id }));
        assert!(parse_knock_out("13").unwrap_err().contains("heads are written 4.11 or L4H11"));
        assert!(parse_knock_out("1.*").unwrap_err().contains("one is needed"));
    }

    #[test]
    fn ids_are_numbers_between_commas() {
        assert_eq!(parse_ids("10, 42,87"), Ok(IdList(vec![10, 42, 87])));
        assert!(parse_ids("10,x").unwrap_err().contains("\"x\" is no token id"));
        assert!(parse_ids("").is_err());
    }
}
