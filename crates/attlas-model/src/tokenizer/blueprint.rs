//! A tokenizer before it is built: every file format is read into this one form, checked here, then built once.

use std::collections::HashSet;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{AddedToken, ModelWrapper, PostProcessorWrapper, TokenizerImpl};

use super::pipeline::{self, Decoder, Normalizer, PreTokenizer};
use super::shown::quoted;
use super::stages::{self, Growth};
use super::table::{PieceTable, Pieces};
use crate::Error;

/// No vocabulary in use is larger; ids are kept below it.
const MAX_ID: u32 = 1 << 24;
/// The longest piece of a vocabulary, in bytes.
const MAX_PIECE_BYTES: usize = 4096;
/// The longest Unigram piece, in bytes: the library's trie is freed by recursion over a piece's bytes.
const MAX_UNIGRAM_PIECE_BYTES: usize = 1024;
/// All Unigram pieces together, in bytes: the library keeps about 200 bytes for each.
const MAX_UNIGRAM_BYTES: usize = 16 << 20;
/// Tokens added beside the model's vocabulary.
const MAX_ADDED_TOKENS: usize = 200_000;

/// The most that an added token may become in the normaliser, in bytes.
const MAX_GROWN_BYTES: f64 = (1u32 << 20) as f64;

/// The library's tokenizer, with stages that count what they do.
pub(super) type Library = TokenizerImpl<Pieces, Normalizer, PreTokenizer, PostProcessorWrapper, Decoder>;

/// What a tokenizer file says, before it is checked and built.
#[derive(Debug)]
pub(super) struct Blueprint {
    /// The file that errors name.
    pub path: PathBuf,
    /// Cuts words into pieces.
    pub model: PieceModel,
    /// Special tokens, and others matched before the model is asked.
    pub added_tokens: Vec<AddedEntry>,
    /// As in tokenizer.json; `null` for none.
    pub normalizer: Value,
    /// As in tokenizer.json; `null` for none.
    pub pre_tokenizer: Value,
    /// As in tokenizer.json; `null` for none.
    pub post_processor: Value,
    /// As in tokenizer.json; `null` for none.
    pub decoder: Value,
}

/// One token matched as a whole before the model is asked.
#[derive(Debug, Clone, serde::Deserialize)]
pub(super) struct AddedEntry {
    /// The id that the file gives it.
    pub id: u32,
    /// The text it stands for.
    pub content: String,
    /// Matches only between word boundaries.
    #[serde(default)]
    pub single_word: bool,
    /// Takes the white space before it.
    #[serde(default)]
    pub lstrip: bool,
    /// Takes the white space after it.
    #[serde(default)]
    pub rstrip: bool,
    /// Matched in the normalised text instead of the text itself.
    #[serde(default)]
    pub normalized: bool,
    /// Not part of the text: `[CLS]`, `</s>`.
    #[serde(default)]
    pub special: bool,
}

impl AddedEntry {
    /// A special token, matched exactly.
    pub fn special(id: u32, content: impl Into<String>) -> AddedEntry {
        AddedEntry {
            id,
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true,
        }
    }
}

/// The model that cuts words into pieces, with its vocabulary.
#[derive(Debug)]
pub(super) enum PieceModel {
    /// Byte-pair encoding (Sennrich et al. 2016).
    Bpe {
        /// Pieces and their ids.
        vocab: Vec<(String, u32)>,
        /// Pairs to merge, the earliest first.
        merges: Vec<(String, String)>,
        /// The options.
        options: BpeOptions,
    },
    /// Longest match first (Wu et al. 2016).
    WordPiece {
        /// Pieces and their ids.
        vocab: Vec<(String, u32)>,
        /// Stands for a word that cannot be cut.
        unk_token: String,
        /// Marks a piece that does not start a word.
        prefix: String,
        /// Longer words become `unk_token`.
        max_word_chars: usize,
    },
    /// One id per word.
    WordLevel {
        /// Words and their ids.
        vocab: Vec<(String, u32)>,
        /// Stands for a word that is not there.
        unk_token: String,
    },
    /// The most probable cut (Kudo 2018).
    Unigram {
        /// Pieces and their log-probabilities; the index is the id.
        pieces: Vec<(String, f64)>,
        /// The id for what no piece covers.
        unk_id: Option<usize>,
        /// Whether what no piece covers is spelled in bytes.
        byte_fallback: bool,
    },
    /// Byte-pair encoding, from tables that lie in the programme.
    Table(PieceTable),
}

/// The options of byte-pair encoding.
#[derive(Debug, Default)]
pub(super) struct BpeOptions {
    /// Stands for a character that no piece covers.
    pub unk_token: Option<String>,
    /// Marks a piece that does not start a word.
    pub prefix: Option<String>,
    /// Marks a piece that ends a word.
    pub suffix: Option<String>,
    /// Whether unknown neighbours become one.
    pub fuse_unk: bool,
    /// Whether what no piece covers is spelled in bytes.
    pub byte_fallback: bool,
    /// Whether a word that is in the vocabulary is taken as it is.
    pub ignore_merges: bool,
}

impl Blueprint {
    /// The id of a piece of the model, or of an added token.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        let added = || self.added_tokens.iter().find(|added| added.content == name).map(|added| added.id);
        self.model.id_of(name).or_else(added)
    }

    /// Checks everything, then builds the library's tokenizer.
    pub fn build(self) -> Result<Library, Error> {
        let path = self.path;
        let growth = stages::check_normalizer(&self.normalizer, &path)?;
        check_added(&self.added_tokens, growth, &path)?;
        stages::check_pre_tokenizer(&self.pre_tokenizer, &path)?;
        stages::check_decoder(&self.decoder, &path)?;
        // Compiling expressions takes about as long as building the vocabulary.
        let (model, normalizer, pre_tokenizer) = (self.model, self.normalizer, self.pre_tokenizer);
        let (model, stages) = rayon::join(
            || model.build(&path),
            || -> Result<_, Error> {
                let normalizer = pipeline::normalizer(&normalizer, &path)?;
                Ok((normalizer, pipeline::pre_tokenizer(&pre_tokenizer, &path)?))
            },
        );
        let ((model, mut ids), (normalizer, pre_tokenizer)) = (model?, stages?);
        self.added_tokens.iter().for_each(|added| ids.insert(added.id));
        stages::check_post_processor(&self.post_processor, &|id| ids.contains(id), &path)?;

        let mut tokenizer = Library::new(model);
        // Normaliser before added tokens: the library matches some of them in normalised text.
        let library = |error: tokenizers::Error| Error::file(&path, error.to_string());
        tokenizer.with_normalizer(normalizer).map_err(library)?;
        tokenizer.with_pre_tokenizer(pre_tokenizer);
        tokenizer.with_post_processor(post_processor(self.post_processor, &path)?);
        tokenizer.with_decoder(pipeline::decoder(&self.decoder, &path)?);
        tokenizer.add_tokens(self.added_tokens.iter().map(added_token)).map_err(library)?;
        check_assigned(&tokenizer, &self.added_tokens, &path)?;
        Ok(tokenizer)
    }
}

/// The ids that are taken.
struct Ids(Vec<bool>);

impl Ids {
    fn contains(&self, id: u32) -> bool {
        self.0.get(id as usize).copied().unwrap_or(false)
    }

    fn insert(&mut self, id: u32) {
        if self.0.len() <= id as usize {
            self.0.resize(id as usize + 1, false);
        }
        self.0[id as usize] = true;
    }
}

impl PieceModel {
    /// All pieces with their ids.
    pub fn pieces(&self) -> Box<dyn Iterator<Item = (&str, u32)> + '_> {
        match self {
            PieceModel::Bpe { vocab, .. }
            | PieceModel::WordPiece { vocab, .. }
            | PieceModel::WordLevel { vocab, .. } => Box::new(vocab.iter().map(|(piece, id)| (piece.as_str(), *id))),
            PieceModel::Unigram { pieces, .. } => Box::new(pieces.iter().map(|(piece, _)| piece.as_str()).zip(0u32..)),
            PieceModel::Table(table) => Box::new(table.pieces()),
        }
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        self.pieces().map(|(_, id)| id)
    }

    /// The id of a piece.
    pub fn id_of(&self, name: &str) -> Option<u32> {
        self.pieces().find(|(piece, _)| *piece == name).map(|(_, id)| id)
    }

    /// Checks the vocabulary and what refers to it, and builds the library's model; with it, the ids it has.
    fn build(self, path: &Path) -> Result<(Pieces, Ids), Error> {
        let library = |error: tokenizers::Error| Error::file(path, format!("model: {error}"));
        let (model, ids) = match self {
            PieceModel::Bpe { vocab, merges, options } => {
                let (vocab, ids) = vocabulary(vocab, path)?;
                check_unknown(&vocab, options.unk_token.as_deref(), path)?;
                check_merges(&vocab, &merges, options.prefix.as_deref().unwrap_or(""), path)?;
                let mut builder = BPE::builder()
                    .vocab_and_merges(vocab, merges)
                    .fuse_unk(options.fuse_unk)
                    .byte_fallback(options.byte_fallback)
                    .ignore_merges(options.ignore_merges);
                if let Some(unk_token) = options.unk_token {
                    builder = builder.unk_token(unk_token);
                }
                if let Some(prefix) = options.prefix {
                    builder = builder.continuing_subword_prefix(prefix);
                }
                if let Some(suffix) = options.suffix {
                    builder = builder.end_of_word_suffix(suffix);
                }
                let merges = |error: tokenizers::Error| Error::config(path, "model.merges", error.to_string());
                (ModelWrapper::BPE(builder.build().map_err(merges)?), ids)
            }
            PieceModel::WordPiece { vocab, unk_token, prefix, max_word_chars } => {
                let (vocab, ids) = vocabulary(vocab, path)?;
                check_unknown(&vocab, Some(&unk_token), path)?;
                let builder = WordPiece::builder().vocab(vocab).unk_token(unk_token).continuing_subword_prefix(prefix);
                let model = builder.max_input_chars_per_word(max_word_chars).build().map_err(library)?;
                (ModelWrapper::WordPiece(model), ids)
            }
            PieceModel::WordLevel { vocab, unk_token } => {
                let (vocab, ids) = vocabulary(vocab, path)?;
                check_unknown(&vocab, Some(&unk_token), path)?;
                let model = WordLevel::builder().vocab(vocab).unk_token(unk_token).build().map_err(library)?;
                (ModelWrapper::WordLevel(model), ids)
            }
            PieceModel::Unigram { pieces, unk_id, byte_fallback } => {
                check_pieces(&pieces, unk_id, path)?;
                let ids = Ids(vec![true; pieces.len()]);
                (ModelWrapper::Unigram(Unigram::from(pieces, unk_id, byte_fallback).map_err(library)?), ids)
            }
            PieceModel::Table(table) => return Ok((Pieces::Table(table), Ids(vec![true; table.n_pieces()]))),
        };
        Ok((Pieces::Library(Box::new(model)), ids))
    }
}

/// Reads a post-processor; `null` is none.
fn post_processor(value: Value, path: &Path) -> Result<Option<PostProcessorWrapper>, Error> {
    serde_json::from_value(value).map_err(|error| Error::config(path, "post_processor", error.to_string()))
}

fn added_token(entry: &AddedEntry) -> AddedToken {
    AddedToken {
        content: entry.content.clone(),
        single_word: entry.single_word,
        lstrip: entry.lstrip,
        rstrip: entry.rstrip,
        normalized: entry.normalized,
        special: entry.special,
    }
}

/// Pieces that are too long, said twice, or share an id are refused.
fn vocabulary(entries: Vec<(String, u32)>, path: &Path) -> Result<(Vocab, Ids), Error> {
    if entries.is_empty() {
        return Err(Error::config(path, "model.vocab", "is empty"));
    }
    let mut ids = Ids(Vec::with_capacity(entries.len()));
    let mut vocab = Vocab::with_capacity(entries.len());
    for (piece, id) in entries {
        check_length(&piece, MAX_PIECE_BYTES, path)?;
        if id >= MAX_ID {
            return Err(Error::config(
                path,
                "model.vocab",
                format!("gives {} the id {id}; ids up to {} are possible", quoted(&piece), MAX_ID - 1),
            ));
        }
        if ids.contains(id) {
            return Err(Error::config(path, "model.vocab", format!("gives the id {id} twice, to {}", quoted(&piece))));
        }
        ids.insert(id);
        match vocab.entry(piece) {
            Entry::Vacant(place) => place.insert(id),
            Entry::Occupied(place) => {
                return Err(Error::config(
                    path,
                    "model.vocab",
                    format!("names the piece {} twice", quoted(place.key())),
                ));
            }
        };
    }
    Ok((vocab, ids))
}

fn check_length(piece: &str, limit: usize, path: &Path) -> Result<(), Error> {
    if piece.len() > limit {
        return Err(Error::config(
            path,
            "model.vocab",
            format!("has a piece of {} bytes, starting {}; {limit} are possible", piece.len(), quoted(piece)),
        ));
    }
    Ok(())
}

fn check_unknown(vocab: &Vocab, unk_token: Option<&str>, path: &Path) -> Result<(), Error> {
    match unk_token {
        Some(token) if !vocab.contains_key(token) => {
            Err(Error::config(path, "model.unk_token", format!("is {}, which is not in model.vocab", quoted(token))))
        }
        _ => Ok(()),
    }
}

/// The library checks that both halves of a merge and what they make are pieces; what it panics on is refused here.
fn check_merges(vocab: &Vocab, merges: &[(String, String)], prefix: &str, path: &Path) -> Result<(), Error> {
    let longest = vocab.keys().map(String::len).max().unwrap_or(0);
    for (index, (left, right)) in merges.iter().enumerate() {
        let refuse = |what: String| Err(Error::config(path, format!("model.merges[{index}]"), what));
        if left.is_empty() || right.is_empty() {
            return refuse("merges an empty piece".to_owned());
        }
        let Some(rest) = right.strip_prefix(prefix) else {
            return refuse(format!("merges {}, which does not start with {}", quoted(right), quoted(prefix)));
        };
        if left.len() + rest.len() > longest {
            return refuse(format!("makes {}, which is longer than any piece", quoted(&format!("{left}{rest}"))));
        }
    }
    Ok(())
}

/// Unigram pieces: finite scores, unique, bounded.
fn check_pieces(pieces: &[(String, f64)], unk_id: Option<usize>, path: &Path) -> Result<(), Error> {
    if pieces.is_empty() || pieces.len() > MAX_ID as usize {
        return Err(Error::config(path, "model.vocab", format!("has {} pieces", pieces.len())));
    }
    if unk_id.is_some_and(|id| id >= pieces.len()) {
        return Err(Error::config(
            path,
            "model.unk_id",
            format!("is {}, but model.vocab has {} pieces", unk_id.unwrap_or_default(), pieces.len()),
        ));
    }
    let mut seen = HashSet::with_capacity(pieces.len());
    let mut n_bytes = 0;
    for (piece, score) in pieces {
        check_length(piece, MAX_UNIGRAM_PIECE_BYTES, path)?;
        n_bytes += piece.len();
        if !score.is_finite() {
            return Err(Error::config(path, "model.vocab", format!("gives {} the score {score}", quoted(piece))));
        }
        if !seen.insert(piece.as_str()) {
            return Err(Error::config(path, "model.vocab", format!("names the piece {} twice", quoted(piece))));
        }
    }
    if n_bytes > MAX_UNIGRAM_BYTES {
        return Err(Error::config(
            path,
            "model.vocab",
            format!("holds {n_bytes} bytes of pieces; {MAX_UNIGRAM_BYTES} are possible"),
        ));
    }
    Ok(())
}

fn check_added(added: &[AddedEntry], growth: Growth, path: &Path) -> Result<(), Error> {
    if added.len() > MAX_ADDED_TOKENS {
        return Err(Error::config(
            path,
            "added_tokens",
            format!("has {} entries; {MAX_ADDED_TOKENS} are possible", added.len()),
        ));
    }
    for (index, entry) in added.iter().enumerate() {
        let field = || format!("added_tokens[{index}]");
        if entry.content.is_empty() {
            return Err(Error::config(path, field(), "has an empty content"));
        }
        if entry.content.len() > MAX_PIECE_BYTES {
            return Err(Error::config(
                path,
                field(),
                format!("has a content of {} bytes; {MAX_PIECE_BYTES} are possible", entry.content.len()),
            ));
        }
        if entry.id >= MAX_ID {
            return Err(Error::config(path, field(), format!("has the id {}", entry.id)));
        }
        if entry.normalized && growth.bound(entry.content.len()) > MAX_GROWN_BYTES {
            return Err(Error::config(path, field(), "could grow past all memory in the normalizer"));
        }
    }
    Ok(())
}

/// The library numbers added tokens itself; a file that means other ids would be misread silently.
fn check_assigned(tokenizer: &Library, added: &[AddedEntry], path: &Path) -> Result<(), Error> {
    for entry in added {
        let assigned = tokenizer.token_to_id(&entry.content);
        if assigned != Some(entry.id) {
            return Err(Error::config(
                path,
                "added_tokens",
                format!(
                    "gives {} the id {}, but by its place in the vocabulary it is {}",
                    quoted(&entry.content),
                    entry.id,
                    assigned.map_or_else(|| "unknown".to_owned(), |id| id.to_string())
                ),
            ));
        }
    }
    Ok(())
}
