//! A model: weights, tokenizer and where they come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attlas::analysis::spoken::MEDIAN_WIDTH;
use attlas::{HeadId, Item, TokenRole, Tokens};
use attlas_kernels::Precision;

use crate::block::weights::Transformer;
use crate::config::file::ConfigFile;
use crate::config::{Architecture, Filling, Length, Reads, alignment_heads, median_width};
use crate::family::{self, Family, Tower};
use crate::folder::{Folder, name_of, revision};
use crate::known_words::{FILE, KnownWords};
use crate::modules::{Sentences, transformer_of};
use crate::run::capitals::small_letters;
use crate::run::generate::Decoding;
use crate::run::input::Side;
use crate::run::languages::Languages;
use crate::run::loops::Loops;
use crate::run::objects::labels;
use crate::run::words::UnknownWords;
use crate::senses::audio::{Listening, tags};
use crate::senses::image::Preparation;
use crate::sight::Sight;
use crate::tokenizer::Tokenizer;
use crate::weights::Checkpoint;
use crate::weights::adapter::Adapter;
use crate::weights::gguf::Gguf;
use crate::{Error, load};

/// A Transformer that is ready to run.
#[derive(Debug, Clone)]
pub struct Model {
    name: String,
    family: &'static str,
    /// The generic Transformer with its weights.
    pub(crate) transformer: Arc<Transformer>,
    pub(crate) tokenizer: Option<Arc<Tokenizer>>,
    /// The tokenizer for target texts, where it is another (Marian).
    pub(crate) target_tokenizer: Option<Arc<Tokenizer>>,
    pub(crate) revision: String,
    pub(crate) dtype: &'static str,
    notes: Vec<String>,
    /// What a reader must know about how its products are computed.
    precision: Option<(Precision, String)>,
    /// What the model was trained on, where that is known.
    pub(crate) training: Option<Training>,
    /// The words that it was taught to write, where that is known.
    pub(crate) known_words: Option<Arc<KnownWords>>,
    /// What becomes of a generated text that repeats itself.
    pub(crate) loops: Loops,
    /// What becomes of one with a word that the model does not know.
    pub(crate) unknown_words: UnknownWords,
    /// How many beams a search has where nothing is said; greedily when `None`.
    beams: Option<usize>,
    /// The bytes of queries and keys from which on a recording goes into files while it is made.
    pub(crate) aside_from: u64,
    /// The languages that were chosen, and those that can be.
    pub(crate) languages: Languages,
    /// Heads of cross-attention that are known to align.
    alignment_heads: Vec<HeadId>,
    /// Frames over which a median is taken before words get their times.
    median_width: usize,
    /// The names of its classes, by their numbers.
    pub(crate) labels: Vec<String>,
    /// Whether the folder has a text tower beside the vision tower that was loaded.
    pub(crate) has_text_tower: bool,
    /// How images are prepared, where the folder says so.
    pub(crate) preparation: Option<Preparation>,
    /// The token in whose place images stand among words, where it can see any.
    image_token: Option<u32>,
    /// How it sees images among words, where it was loaded to.
    pub(crate) sight: Option<Arc<Sight>>,
    /// How sounds become spectrograms, where the folder says so.
    pub(crate) listening: Option<Listening>,
    /// What sentence-transformers does to texts, where the folder is one of it.
    sentences: Sentences,
}

/// Beams of the embedded model's search: of 2 to 6, the fewest that reach BLEU 53, and 46 on long sentences (embedded/README.md).
const BEAMS: usize = 5;

/// Queries and keys beyond this leave memory: a laptop has room for a few times as much.
const ASIDE_FROM: u64 = 1 << 30;

/// What a model was trained on, so that a recording can say when a text is something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Training {
    /// The longest source text, in tokens.
    pub longest_source: usize,
    /// The language of its source texts.
    pub language: &'static str,
}

/// What a model is loaded with that does not lie in its own folder.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// A folder with a LoRA adapter (adapter_config.json), which is added to the weights.
    pub adapter: Option<PathBuf>,
    /// A folder with the tokenizer, in the place of the model's own.
    pub tokenizer: Option<PathBuf>,
    /// The tower that is loaded of a model that has two; the vision tower where nothing is said.
    pub tower: Option<Tower>,
    /// Whether a model that reads texts with images in them is loaded with what images go through. Without it, it reads texts alone.
    pub images: bool,
}

impl Model {
    /// Loads a model folder: config.json, weights, and a tokenizer if there is one; or a `.gguf` file, which holds all three. Of
    /// a folder of sentence-transformers, the Transformer that its modules.json names is loaded.
    ///
    /// # Errors
    /// When the folder is no model, its family is unknown, or a file in it is malformed or does not fit the others.
    pub fn load(folder: &Path) -> Result<Model, Error> {
        Model::load_with(folder, &LoadOptions::default())
    }

    /// Loads a model folder or `.gguf` file as [`Model::load`] does, with an adapter or a tokenizer that lie elsewhere.
    ///
    /// # Errors
    /// As [`Model::load`], and when the adapter is none, is of another kind, or was made for another model.
    pub fn load_with(folder: &Path, options: &LoadOptions) -> Result<Model, Error> {
        let io = |source| Error::Io { path: folder.to_owned(), source };
        let metadata = std::fs::metadata(folder).map_err(io)?;
        if folder.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) && !metadata.is_dir() {
            return Model::load_gguf(folder, options);
        }
        if !metadata.is_dir() {
            return Err(Error::file(
                folder,
                "is not a folder; a model is a folder with config.json and model.safetensors",
            ));
        }
        let home = transformer_of(folder)?;
        let mut found = Folder::open(&home)?;
        found.notes.extend(options.add_adapter(&mut found.checkpoint)?);
        if let Some(tower) = options.tower {
            found.config = family::of_tower(&found.config, tower)?;
        }
        let has_text_tower = family::text_tower(&found.config)?.is_some();
        let sight = if options.images { Sight::of_folder(&found)? } else { None };
        let texts = options.tokenizer.as_deref().unwrap_or(&home);
        let (weights, tokenizer) = rayon::join(
            || Model::from_parts(&found.config, found.generation.as_ref(), &found.checkpoint),
            || has_tokenizer(texts).then(|| Tokenizer::load(texts)).transpose(),
        );
        let mut model = weights?;
        model.notes.append(&mut found.notes);
        options.set_tokenizer(&mut model, tokenizer?)?;
        model.fill_with_padding(texts)?;
        if texts.join("target.spm").exists() && !texts.join("tokenizer.json").exists() {
            model.target_tokenizer = Some(Arc::new(Tokenizer::load_target(texts)?));
        }
        model.prepare_as(&found)?;
        model.sentences = Sentences::read(&home)?;
        model.known_words = KnownWords::in_folder(&home)?.map(Arc::new);
        model.has_text_tower = has_text_tower;
        model.name = name_of(folder, found.config.text("_name_or_path").ok().flatten());
        model.revision = revision(folder, &found.checkpoint);
        model.image_token = family::sight(&found.config).ok().flatten().map(|plan| plan.image_token);
        model.sight = sight.map(|sight| Arc::new(sight.named(&model.name)));
        Ok(model)
    }

    /// Loads a GGUF file.
    fn load_gguf(path: &Path, options: &LoadOptions) -> Result<Model, Error> {
        let gguf = Gguf::open(path)?;
        let config = ConfigFile::parse(path, gguf.config()?.to_string().as_bytes())?.with_names(gguf.field_names());
        let mut checkpoint = Checkpoint::from_tensors(path, gguf.hugging_face_tensors()?);
        let note = options.add_adapter(&mut checkpoint)?;
        let mut model = Model::from_parts(&config, None, &checkpoint)?;
        model.notes.extend(note);
        if let Some(texts) = &options.tokenizer {
            options.set_tokenizer(&mut model, has_tokenizer(texts).then(|| Tokenizer::load(texts)).transpose()?)?;
        } else if gguf.text("tokenizer.ggml.model").is_some_and(|kind| kind != "no_vocab") {
            model.set_tokenizer(Some(Tokenizer::from_gguf(&gguf)?));
        }
        model.name = name_of(path, None);
        model.revision = revision(path, &checkpoint);
        Ok(model)
    }

    /// A model without a tokenizer, from its configuration and weights.
    ///
    /// # Errors
    /// When the two do not fit.
    pub fn from_parts(
        config: &ConfigFile,
        generation: Option<&ConfigFile>,
        checkpoint: &Checkpoint,
    ) -> Result<Model, Error> {
        let config = &family::with_type(config)?;
        let family: &Family = family::of(config)?;
        let (mut architecture, names) = (family.read)(config)?;
        if let Some(generation) = generation {
            read_generation(&mut architecture, generation)?;
        }
        let alignment_heads = alignment_heads(&architecture, config, generation);
        let median_width = median_width(config)?.unwrap_or(MEDIAN_WIDTH);
        let (transformer, notes) = load::load(architecture, &names, checkpoint)
            .map_err(|error| load::explained(error, config, family.read, checkpoint))?;
        Ok(Model {
            name: family.name.to_owned(),
            family: family.name,
            transformer: Arc::new(transformer),
            tokenizer: None,
            target_tokenizer: None,
            revision: String::new(),
            dtype: checkpoint.main_dtype(),
            notes,
            precision: None,
            training: None,
            known_words: None,
            loops: Loops::Keep,
            beams: None,
            aside_from: ASIDE_FROM,
            unknown_words: UnknownWords::Keep,
            languages: Languages::default(),
            alignment_heads,
            median_width,
            labels: labels(config),
            has_text_tower: false,
            preparation: None,
            listening: None,
            image_token: None,
            sight: None,
            sentences: Sentences::default(),
        })
    }

    /// Prepares images and sounds as the folder says, where the model reads any.
    fn prepare_as(&mut self, folder: &Folder) -> Result<(), Error> {
        if self.reads_images() {
            self.preparation = folder.preprocessor()?.as_ref().map(Preparation::read).transpose()?;
        }
        if self.reads_sounds() {
            self.listening = folder.preprocessor()?.as_ref().map(Listening::read).transpose()?;
        }
        Ok(())
    }

    /// Fills texts of one length with the padding token that the tokenizer's folder names, where the configuration names none.
    fn fill_with_padding(&mut self, texts: &Path) -> Result<(), Error> {
        let architecture = &self.transformer.architecture;
        let n_tokens = architecture.encoder.as_ref().map_or(0, |stack| stack.embedding.n_tokens);
        if let (Some(filling), Some(tokenizer)) = (architecture.ids.filling, &self.tokenizer)
            && filling.is_assumed
            && let Some(id) = tokenizer.padding(texts)?.filter(|id| (*id as usize) < n_tokens)
        {
            let ids = &mut Arc::make_mut(&mut self.transformer).architecture.ids;
            ids.filling = Some(Filling { id, ..filling });
        }
        Ok(())
    }

    /// Gives the model its tokenizer. One with more ids than the model has embeddings is noted: its texts may need none of
    /// them, and one that does is refused by its token.
    pub(crate) fn set_tokenizer(&mut self, tokenizer: Option<Tokenizer>) {
        let architecture = &self.transformer.architecture;
        let stacks = [&architecture.encoder, &architecture.decoder].into_iter().flatten();
        let reader = stacks.into_iter().find(|stack| stack.embedding.reads == Reads::Tokens);
        if let (Some(tokenizer), Some(stack)) = (&tokenizer, reader)
            && tokenizer.n_ids() > stack.embedding.n_tokens
        {
            self.notes.push(format!(
                "the tokenizer has ids up to {}, but the model has {} embeddings: texts with others are refused",
                tokenizer.n_ids() - 1,
                stack.embedding.n_tokens
            ));
        }
        self.tokenizer = tokenizer.map(Arc::new);
        self.languages = Languages::of(self);
    }

    /// Names the model.
    pub(crate) fn set_name(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Names the model and what it was trained on.
    pub(crate) fn described(self, name: &str, revision: String, training: Training, words: KnownWords) -> Model {
        let known_words = Some(Arc::new(words));
        let (loops, unknown_words, beams) = (Loops::Cut, UnknownWords::Avoid, Some(BEAMS));
        let (name, training) = (name.to_owned(), Some(training));
        Model { name, revision, training, known_words, loops, unknown_words, beams, ..self }
    }

    /// How a text is generated: with `beams` beams, or as the model does where nobody says. The embedded one searches with 5, all
    /// others take the likeliest token each time.
    pub fn generating(&self, beams: Option<usize>, max_tokens: usize) -> Decoding {
        Decoding::generating(beams.or(self.beams), max_tokens)
    }

    /// How many beams a search has where nobody says; none where the likeliest token is taken each time.
    pub fn beams(&self) -> Option<usize> {
        self.beams
    }

    /// Chooses what becomes of a generated text that repeats itself. It goes on, as that of other programs does, unless
    /// the model is the embedded one.
    pub fn set_loops(&mut self, loops: Loops) {
        self.loops = loops;
    }

    /// Sets from how many bytes on the queries and keys of one kind of attention leave memory as soon as their layer is computed, where
    /// texts and targets are given: they then lie in files without a name, in the folder that `TMPDIR` names, else in `/var/tmp`, and
    /// the recording reads them there; where nothing can be written they stay in memory. 1 GiB where nothing is said.
    pub fn set_aside_from(&mut self, n_bytes: u64) {
        self.aside_from = n_bytes;
    }

    /// What becomes of a generated text that repeats itself.
    pub fn loops(&self) -> Loops {
        self.loops
    }

    /// What becomes of a generated text with a word that the model does not know.
    pub fn unknown_words(&self) -> UnknownWords {
        self.unknown_words
    }

    /// Chooses what becomes of a generated text with a word that the model does not know. It stays, as with other programs,
    /// unless the model is the embedded one.
    ///
    /// # Errors
    /// When such words are to be avoided, and the words of the model's training targets are not known.
    pub fn set_unknown_words(&mut self, unknown_words: UnknownWords) -> Result<(), Error> {
        if unknown_words == UnknownWords::Avoid && self.known_words.is_none() {
            let name = self.name();
            return Err(Error::Unsupported(format!(
                "{name} has no {FILE} that says which words it was taught to write, so that none can be avoided"
            )));
        }
        self.unknown_words = unknown_words;
        Ok(())
    }

    /// Whether the model was trained on single sentences, so that those of a longer text are best run one by one.
    pub fn reads_single_sentences(&self) -> bool {
        self.training.is_some()
    }

    /// The words that the model was taught to write, where its folder says so.
    pub fn known_words(&self) -> Option<&KnownWords> {
        self.known_words.as_deref()
    }

    /// Chooses how exact the products of the model's matrices are; all that are not done in f32 need a processor with AMX, and are
    /// done in f32 where there is none. What is computed in another way than f32, or is not although it was asked for, stands in
    /// the notes of every recording.
    ///
    /// The way is one for all texts: a text has the same numbers in every batch. Scores and weights of attention are
    /// computed in f32 or better whatever is chosen here.
    pub fn set_precision(&mut self, precision: Precision) {
        let chosen = precision.or_exact();
        if chosen != self.precision() {
            Arc::make_mut(&mut self.transformer).set_precision(chosen);
        }
        let note = match (precision, precision.available()) {
            (Precision::Exact, _) => None,
            (_, Ok(())) => Some(format!("precision {}: {}", precision.name(), explanation(precision))),
            (_, Err(reason)) => {
                Some(format!("{reason}, so products were computed in f32, not with precision {}", precision.name()))
            }
        };
        self.precision = note.map(|note| (chosen, note));
    }

    /// How exact the products of the model's matrices are.
    pub fn precision(&self) -> Precision {
        self.precision.as_ref().map_or(Precision::Exact, |(precision, _)| *precision)
    }

    /// What a reader must know about the precision; `None` where products are exact because nothing else was asked for.
    pub fn precision_note(&self) -> Option<&str> {
        self.precision.as_ref().map(|(_, note)| note.as_str())
    }

    /// The model's name: its folder's, or the hub's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Heads of cross-attention whose row that predicts a word is known to point at the word of the source, the best first;
    /// empty where the model's files name none.
    pub fn alignment_heads(&self) -> &[HeadId] {
        &self.alignment_heads
    }

    /// Over how many frames of sound a median is taken before the words of a transcript get their times.
    pub fn median_width(&self) -> usize {
        self.median_width
    }

    /// Whether the folder has a text tower beside the vision tower that was loaded ([`LoadOptions::tower`]).
    pub fn has_text_tower(&self) -> bool {
        self.has_text_tower
    }

    /// The token in whose place images stand among words, of a model that can be loaded to see them ([`LoadOptions::images`]).
    pub fn image_token(&self) -> Option<u32> {
        self.image_token
    }

    /// The family, such as `vaswani` or `bert`.
    pub fn family(&self) -> &str {
        self.family
    }

    /// The hub's revision, or the SHA-256 of the weights' file; empty where neither is known.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The generic Transformer: configuration and weights.
    pub fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    /// The tokenizer, if the folder has one.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_deref()
    }

    /// Whether there is this side: an encoder-only model has no target, a decoder-only model no source.
    pub fn has(&self, side: Side) -> bool {
        let architecture = &self.transformer.architecture;
        match side {
            Side::Source => architecture.encoder.is_some(),
            Side::Target => architecture.decoder.is_some(),
        }
    }

    /// What a reader must know about a recording of these items.
    pub(crate) fn notes_on(&self, items: &[Item]) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.extend(self.precision.iter().map(|(_, note)| note.clone()));
        let longest = |side: fn(&Item) -> &Tokens| {
            let real = |tokens: &Tokens| tokens.tokens.iter().filter(|t| t.role != TokenRole::Padding).count();
            items.iter().map(|item| real(side(item))).max().unwrap_or(0)
        };
        let source = longest(|item| &item.source);
        let encoder = self.transformer.architecture.encoder.as_ref();
        let why = encoder.and_then(|stack| stack.own_attention().find_map(|(_, attention)| attention.why_dense()));
        notes.extend(why.map(|why| {
            format!("{} {why}, which queries and keys alone do not give: its weights are recorded dense", self.name)
        }));
        notes.extend(self.without_attention().map(|layers| {
            let experts = match self.has_experts_without_attention() {
                true => ", and which experts they use is not in a recording",
                false => "",
            };
            format!(
                "{} has no attention in {layers}: they were computed, but there are no maps of them{experts}; the other layers keep \
                 their numbers",
                self.name
            )
        }));
        notes.extend(self.languages.note(self));
        let architecture = &self.transformer.architecture;
        let n_target = longest(|item| &item.target);
        if let Some(stack) = &architecture.decoder
            && n_target + 1 >= architecture.n_positions(stack)
        {
            let n = architecture.n_positions(stack);
            notes.push(format!("a text takes up the {n} positions of {}: it cannot go on", self.name));
        }
        notes.extend(self.sentences.notes(source.max(n_target)));
        if let Length::Noted(limit) = self.transformer.architecture.length {
            let n = source.max(n_target);
            if n > limit {
                notes.push(format!("a text has {n} tokens; {} was made for {limit}", self.name));
            }
        }
        if let Some(training) = self.training {
            if source > training.longest_source {
                notes.push(format!(
                    "a text has {source} tokens; {} was trained on texts of up to {}, its heads may do anything here",
                    self.name, training.longest_source
                ));
            }
            notes.extend(items.iter().find_map(|item| self.note_on_capitals(&item.source.text)));
            if let Some(note) = self.note_on_language(items, training) {
                notes.push(note);
            }
        }
        notes
    }

    /// That a text in capitals is read in small letters, where the model was taught hardly any capitals.
    pub fn note_on_capitals(&self, text: &str) -> Option<String> {
        let small = self.training.and_then(|_| small_letters(text));
        small.map(|_| {
            let name = &self.name;
            format!(
                "a text is in capitals, of which {name} was taught hardly any: it read small letters, of names, too"
            )
        })
    }
}

impl LoadOptions {
    /// Adds the adapter to the weights, where there is one; returns what a reader must know.
    fn add_adapter(&self, checkpoint: &mut Checkpoint) -> Result<Option<String>, Error> {
        self.adapter.as_ref().map(|folder| Adapter::open(folder)?.add_to(checkpoint)).transpose()
    }

    /// Gives the model its tokenizer; a folder that was named for one must hold one.
    fn set_tokenizer(&self, model: &mut Model, tokenizer: Option<Tokenizer>) -> Result<(), Error> {
        match (&self.tokenizer, &tokenizer) {
            (Some(folder), None) => Err(Error::file(
                folder,
                "holds no tokenizer; attlas looks for tokenizer.json, vocab.txt, vocab.json or a SentencePiece model",
            )),
            _ => {
                model.set_tokenizer(tokenizer);
                Ok(())
            }
        }
    }
}

/// What a precision does to numbers, for a reader of what was computed with it.
fn explanation(precision: Precision) -> &'static str {
    match precision {
        Precision::Exact => "products were computed in f32",
        Precision::High => {
            "products were computed of three bf16 parts of each number, six for one; they are as exact as f32 sums in another order"
        }
        Precision::Fast => {
            "products were computed of two bf16 parts of each number, three for one; weights of attention may be off by 1e-4, more where scores are beyond ±16"
        }
        Precision::Fastest => {
            "products were computed of numbers rounded to bf16; weights of attention may be off by some hundredths, or more"
        }
    }
}

/// Whether a folder holds a tokenizer in any of the forms that hubs use.
fn has_tokenizer(folder: &Path) -> bool {
    const FILES: [&str; 8] = [
        "tokenizer.json",
        "tokenizer.model",
        "spiece.model",
        "sentencepiece.bpe.model",
        "source.spm",
        "spm.model",
        "vocab.txt",
        "vocab.json",
    ];
    FILES.iter().any(|name| folder.join(name).exists())
}

/// Generation settings that a folder keeps apart from the configuration.
fn read_generation(architecture: &mut Architecture, generation: &ConfigFile) -> Result<(), Error> {
    let Some(decoder) = &architecture.decoder else { return Ok(()) };
    let n_tokens = decoder.embedding.n_tokens;
    let ids = &mut architecture.ids;
    if generation.has("eos_token_id") {
        ids.ends = generation.ids("eos_token_id", n_tokens)?;
    }
    let replace = |slot: &mut Option<u32>, field: &str| -> Result<(), Error> {
        if let Some(id) = generation.id(field, n_tokens)? {
            *slot = Some(id);
        }
        Ok(())
    };
    if generation.has("suppress_tokens") {
        ids.suppressed = generation.ids("suppress_tokens", n_tokens)?;
    }
    if generation.has("begin_suppress_tokens") {
        ids.suppressed_first = generation.ids("begin_suppress_tokens", n_tokens)?;
    }
    tags::read(ids, generation, n_tokens)?;
    replace(&mut ids.start, "decoder_start_token_id")?;
    replace(&mut ids.padding, "pad_token_id")?;
    replace(&mut ids.forced_start, "forced_bos_token_id")?;
    replace(&mut ids.forced_end, "forced_eos_token_id")?;
    if let Some(words) = generation.get("bad_words_ids").and_then(|value| value.as_array()) {
        // words of several tokens are left: only what is never allowed is taken over
        for word in words.iter().filter_map(|word| word.as_array()).filter(|word| word.len() == 1) {
            if let Some(id) = word[0].as_u64().filter(|id| (*id as usize) < n_tokens) {
                ids.suppressed.push(id as u32);
            }
        }
    }
    Ok(())
}
