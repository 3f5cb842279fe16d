//! Text into tokens: ids for the model; text, byte spans and words for the reader.
//!
//! Every format is read into one `Blueprint`, checked (a tokenizer file is not trusted), and built once.

mod allowance;
mod blueprint;
mod charsmap;
mod expression;
mod gguf;
mod json;
mod pattern;
pub(crate) mod pieces;
mod pipeline;
mod recognised;
mod remap;
pub(crate) mod sentencepiece;
pub(crate) mod settings;
mod shown;
mod stages;
mod table;
mod vocabularies;

use std::collections::HashSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use attlas::{Token, TokenRole, Tokens};

use crate::Error;
use crate::family::VocabularyRule;
use crate::weights::read_small_file;
use blueprint::{Blueprint, Library, PieceModel};
pub use recognised::recognise;
use remap::Remap;
use sentencepiece::SentencePiece;
use settings::Settings;
use shown::{PieceStyle, Words};

/// The largest tokenizer file; those in use have up to 35 MB.
const MAX_FILE_BYTES: u64 = 96 << 20;
/// The longest text, in bytes.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// Cuts text into the tokens of a model.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    library: Library,
    style: PieceStyle,
    unk_id: Option<u32>,
    special: HashSet<u32>,
    n_ids: usize,
    remap: Option<Remap>,
    path: PathBuf,
}

/// Which text of an encoder-decoder a tokenizer is for; only Marian cuts the two differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Target,
}

/// A text, or a pair of texts, as tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The tokens. Of a pair, [`Tokens::text`] is both texts with a line break between, and spans and words count on.
    pub tokens: Tokens,
    /// The segment id of each token (BERT's token types): 0 for the first text, mostly 1 for the second. Shape `[n_tokens]`.
    pub segments: Vec<u32>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model folder: tokenizer.json, or the older files (vocab.txt; vocab.json with merges.txt;
    /// a SentencePiece model).
    ///
    /// # Errors
    /// A folder without a tokenizer, and a file that is unreadable, contradicts itself or is larger than any in use.
    pub fn load(dir: &Path) -> Result<Tokenizer, Error> {
        Tokenizer::load_side(dir, Side::Source)
    }

    /// The tokenizer for the text that a decoder reads: the same as [`Tokenizer::load`] except where a model has two.
    ///
    /// # Errors
    /// Those of [`Tokenizer::load`].
    pub fn load_target(dir: &Path) -> Result<Tokenizer, Error> {
        Tokenizer::load_side(dir, Side::Target)
    }

    fn load_side(dir: &Path, side: Side) -> Result<Tokenizer, Error> {
        let read = |path: &Path| read_small_file(path, MAX_FILE_BYTES);
        let find = |names: &[&str]| names.iter().map(|name| dir.join(name)).find(|path| path.exists());
        let settings = || Settings::read(dir);
        if let Some(path) = find(&["tokenizer.json"]) {
            let mut blueprint = json::read(&read(&path)?, &path)?;
            pieces::put_language_first(&mut blueprint, &settings()?);
            return Tokenizer::build(blueprint, None);
        }
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        let spm = match side {
            Side::Source => {
                find(&["source.spm", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model"])
            }
            Side::Target => {
                find(&["target.spm", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "spm.model"])
            }
        };
        if let Some(path) = spm {
            let (model, settings) = (SentencePiece::read(&read(&path)?, &path)?, settings()?);
            if !vocab.exists() {
                return Tokenizer::build(pieces::blueprint(&model, &settings, &path)?, None);
            }
            let separate = find(&["target_vocab.json"]).filter(|_| side == Side::Target);
            let vocab = separate.unwrap_or(vocab);
            let vocab = vocabularies::ids(&read(&vocab)?, &vocab)?;
            let (blueprint, remap) = remap::blueprint(&model, vocab, &settings, &path)?;
            return Tokenizer::build(blueprint, Some(remap));
        }
        if vocab.exists() && merges.exists() {
            let paths = [vocab.as_path(), merges.as_path()];
            let blueprint = vocabularies::byte_level(&read(&vocab)?, &read(&merges)?, &settings()?, paths)?;
            return Tokenizer::build(blueprint, None);
        }
        if let Some(path) = find(&["vocab.txt"]) {
            let (bytes, settings) = (read(&path)?, settings()?);
            let blueprint = match settings.text_rules().vocabulary {
                VocabularyRule::WordPiece => vocabularies::vocab_txt(&bytes, &settings, &path)?,
                VocabularyRule::Whole => vocabularies::whole_pieces(&bytes, &settings, &path)?,
            };
            return Tokenizer::build(blueprint, None);
        }
        Err(Error::file(
            dir,
            "has no tokenizer; tokenizer.json, vocab.txt, vocab.json with merges.txt, and SentencePiece models \
             (spiece.model, tokenizer.model, sentencepiece.bpe.model, source.spm) are known",
        ))
    }

    /// The padding token that tokenizer_config.json names in the tokenizer's folder.
    pub(crate) fn padding(&self, dir: &Path) -> Result<Option<u32>, Error> {
        Ok(Settings::read(dir)?.token("pad_token").and_then(|piece| self.id(&piece)))
    }

    /// Reads a tokenizer.json.
    ///
    /// # Errors
    /// Bytes that are no tokenizer, contradict themselves, or ask for more than the limits allow.
    pub fn from_json(bytes: &[u8]) -> Result<Tokenizer, Error> {
        Tokenizer::build(json::read(bytes, Path::new("tokenizer.json"))?, None)
    }

    /// Reads tables that lie in the programme ([`table`]).
    pub(crate) fn from_table(bytes: &'static [u8]) -> Result<Tokenizer, Error> {
        Tokenizer::build(table::read(bytes, Path::new("tokenizer.table"))?, None)
    }

    fn build(blueprint: Blueprint, remap: Option<Remap>) -> Result<Tokenizer, Error> {
        let path = blueprint.path.clone();
        let style = style(&blueprint);
        let model_id = |id: u32| remap.as_ref().map_or(id, |remap| remap.id(id));
        let unk_id = unknown_id(&blueprint.model).map(model_id);
        let added = &blueprint.added_tokens;
        let special = added.iter().filter(|added| added.special).map(|added| model_id(added.id)).collect();
        let last_id = blueprint.model.ids().chain(added.iter().map(|added| added.id)).max();
        let n_ids = remap.as_ref().map_or_else(|| last_id.map_or(0, |id| id as usize + 1), Remap::n_ids);
        let n_bytes = added.iter().map(|added| added.content.len()).sum();
        let library = allowance::within(n_bytes, || guarded(&path, "building the tokenizer", || blueprint.build()))???;
        Ok(Tokenizer { library, style, unk_id, special, n_ids, remap, path })
    }

    /// Cuts a text, or a pair, into tokens; the tokenizer's own special tokens are added.
    ///
    /// - [`Token::span`] is the run of whole characters of the *original* text that the token covers, without the
    ///   white space around it. Pieces of one character all have the span of that character.
    /// - [`Token::text`] is that run; the piece itself where several tokens share the run; `⟨E4⟩` for a byte of a
    ///   character; `␣` for white space alone; where the text is unknown, that run with the unknown token's name: `猫 [UNK]`.
    /// - [`Token::word`] counts the segments between the word boundaries of Unicode (UAX #29) that are not white
    ///   space; a token that reaches over a boundary belongs to the word it starts in, and tokens that share a character
    ///   share a word.
    ///
    /// An empty second text is none, as in transformers.
    ///
    /// # Errors
    /// A text over the limits.
    pub fn encode(&self, text: &str, pair: Option<&str>) -> Result<Encoded, Error> {
        let pair = pair.filter(|pair| !pair.is_empty());
        let encoding = match pair {
            Some(pair) => self.cut(&[text, pair], |library| library.encode((text, pair), true))?,
            None => self.cut(&[text], |library| library.encode(text, true))?,
        };
        Ok(self.encoded(&encoding, text, pair))
    }

    /// The ids of a text's own tokens; nothing is added around them.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoding = self.cut(&[text], |library| library.encode_fast(text, false))?;
        let ids = encoding.get_ids().iter();
        Ok(ids.map(|id| self.remap.as_ref().map_or(*id, |remap| remap.id(*id))).collect())
    }

    /// The same ids word by word, as the text is cut before pieces are looked up: no piece reaches over the end of a word.
    ///
    /// # Errors
    /// Those of [`Tokenizer::encode`].
    pub fn words(&self, text: &str) -> Result<Vec<Vec<u32>>, Error> {
        let encoding = self.cut(&[text], |library| library.encode(text, false))?;
        let ids = encoding.get_ids().iter().map(|id| self.remap.as_ref().map_or(*id, |remap| remap.id(*id)));
        let tokens: Vec<(u32, Option<u32>)> = ids.zip(encoding.get_word_ids().iter().copied()).collect();
        let words = tokens.chunk_by(|(_, word), (_, next)| word == next);
        Ok(words.map(|word| word.iter().map(|(id, _)| *id).collect()).collect())
    }

    /// Lets the library cut texts, within what they may cost.
    fn cut(
        &self,
        texts: &[&str],
        work: impl FnOnce(&Library) -> tokenizers::Result<tokenizers::Encoding>,
    ) -> Result<tokenizers::Encoding, Error> {
        if let Some(text) = texts.iter().find(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(Error::Limit(format!("the text has {} bytes; {MAX_TEXT_BYTES} are possible", text.len())));
        }
        let n_bytes = texts.iter().map(|text| text.len()).sum();
        allowance::within(n_bytes, || guarded(&self.path, "cutting the text", || work(&self.library)))??
            .map_err(|error| Error::file(&self.path, format!("cannot cut the text: {error}")))
    }

    /// The text of token ids, special tokens left out.
    ///
    /// # Errors
    /// An id that no token has.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        let names = ids.iter().map(|id| self.name(*id)).collect::<Result<Vec<String>, Error>>()?;
        if self.remap.is_some() {
            let pieces = ids.iter().zip(&names).filter(|(id, _)| !self.special.contains(id));
            let bytes: Vec<u8> = pieces.flat_map(|(_, name)| self.style.bytes(name)).collect();
            let text = String::from_utf8_lossy(&bytes);
            return Ok(text.strip_prefix(' ').unwrap_or(&text).to_owned());
        }
        let n_bytes = names.iter().map(String::len).sum();
        allowance::within(n_bytes, || guarded(&self.path, "joining the tokens", || self.library.decode(ids, true)))??
            .map_err(|error| Error::file(&self.path, format!("cannot join the tokens: {error}")))
    }

    /// A token known by its id alone: no span, no word.
    ///
    /// # Errors
    /// An id that no token has.
    pub fn token(&self, id: u32) -> Result<Token, Error> {
        let piece = self.name(id)?;
        let special = self.special.contains(&id);
        let text = if special { piece } else { shown::show(&self.style.bytes(&piece)) };
        let role = if special { TokenRole::Special } else { TokenRole::Text };
        Ok(Token { id: Some(id), role, ..Token::labelled(text) })
    }

    /// The id of a piece, special or not, written as the vocabulary writes it.
    pub fn id(&self, piece: &str) -> Option<u32> {
        match &self.remap {
            Some(remap) => remap.id_of(piece),
            None => self.library.token_to_id(piece),
        }
    }

    /// The piece of an id, as the vocabulary writes it.
    fn name(&self, id: u32) -> Result<String, Error> {
        let name = match &self.remap {
            Some(remap) => remap.name(id).map(str::to_owned),
            None => self.library.id_to_token(id),
        };
        name.ok_or_else(|| Error::Input(format!("there is no token {id}; the vocabulary has {} ids", self.n_ids)))
    }

    /// One more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.n_ids
    }

    /// The ids of special tokens, rising.
    pub fn special_ids(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.special.iter().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// How many ids there are: the largest and one.
    pub fn n_ids(&self) -> usize {
        self.n_ids
    }

    fn encoded(&self, encoding: &tokenizers::Encoding, text: &str, pair: Option<&str>) -> Encoded {
        let texts: Vec<&str> = std::iter::once(text).chain(pair).collect();
        let words: Vec<Words> = texts.iter().map(|text| Words::of(text)).collect();
        let sequences = encoding.get_sequence_ids();
        let pieces: Vec<Piece> = (0..encoding.len())
            .map(|index| {
                let added = encoding.get_special_tokens_mask()[index] == 1;
                let text = sequences.get(index).copied().flatten().filter(|text| !added && *text < texts.len());
                let (start, end) = encoding.get_offsets()[index];
                let name = encoding.get_tokens()[index].as_str();
                let span = text.map(|text| self.span(texts[text], start..end.max(start), name));
                let id = encoding.get_ids()[index];
                Piece { id: self.remap.as_ref().map_or(id, |remap| remap.id(id)), name, text, span }
            })
            .collect();
        let mut tokens = Vec::with_capacity(pieces.len());
        for index in 0..pieces.len() {
            tokens.push(self.place(&pieces, index, &texts, &words));
        }
        shown::join_cut_characters(&mut tokens);
        let text = texts.join("\n");
        Encoded { tokens: Tokens { text, tokens }, segments: encoding.get_type_ids().to_vec() }
    }

    /// The whole characters that a piece covers; none for a mark of a space that the library puts on the next character.
    fn span(&self, text: &str, span: Range<usize>, name: &str) -> Range<usize> {
        let span = shown::whole_characters(text, span);
        let is_space = name.chars().all(|symbol| symbol == '▁') && self.style == PieceStyle::Metaspace;
        if is_space && !text[span.clone()].trim().is_empty() { span.start..span.start } else { span }
    }

    /// The token of one piece, with what its neighbours leave to it.
    fn place(&self, pieces: &[Piece<'_>], index: usize, texts: &[&str], words: &[Words]) -> Token {
        let piece = &pieces[index];
        let (Some(text), Some(span)) = (piece.text, piece.span.clone()) else {
            return Token { id: Some(piece.id), role: TokenRole::Special, ..Token::labelled(piece.name) };
        };
        let unknown = self.unk_id == Some(piece.id);
        let special = self.special.contains(&piece.id) && !unknown;
        let shared = [index.wrapping_sub(1), index + 1]
            .into_iter()
            .filter_map(|neighbour| pieces.get(neighbour))
            .any(|other| other.text == piece.text && overlaps(&other.span, &span));
        let bytes = self.style.bytes(piece.name);
        let name = || self.name(piece.id).unwrap_or_else(|_| piece.name.to_owned());
        let label = if special || (unknown && span.is_empty()) {
            name()
        } else if unknown {
            format!("{} {}", shown::visible(&texts[text][span.clone()]), name())
        } else if span.is_empty() || shared || std::str::from_utf8(&bytes).is_err() {
            shown::show(&bytes)
        } else {
            shown::visible(&texts[text][span.clone()])
        };
        // A mark of a space alone belongs to the word it introduces.
        let is_mark = self.style == PieceStyle::Metaspace && texts[text][span.clone()].trim().is_empty();
        let start = if is_mark { span.end } else { span.start };
        let before: usize = words[..text].iter().map(Words::len).sum();
        let word = if special { None } else { words[text].at(start).map(|word| before + word) };
        let offset: usize = texts[..text].iter().map(|text| text.len() + 1).sum();
        Token {
            id: Some(piece.id),
            text: label,
            span: Some(span.start + offset..span.end + offset),
            role: if special { TokenRole::Special } else { TokenRole::Text },
            word,
        }
    }
}

/// One token as the library gives it.
struct Piece<'a> {
    id: u32,
    name: &'a str,
    /// Which text it is cut from; `None` for added tokens.
    text: Option<usize>,
    span: Option<Range<usize>>,
}

fn overlaps(other: &Option<Range<usize>>, span: &Range<usize>) -> bool {
    other.as_ref().is_some_and(|other| other.start < span.end && span.start < other.end)
}

/// How pieces stand for text, from the stages around the model.
fn style(blueprint: &Blueprint) -> PieceStyle {
    let stages = [&blueprint.pre_tokenizer, &blueprint.normalizer, &blueprint.decoder];
    if stages.iter().any(|stage| mentions(stage, "ByteLevel")) {
        return PieceStyle::ByteLevel;
    }
    match &blueprint.model {
        PieceModel::WordPiece { prefix, .. } => PieceStyle::Prefix(prefix.clone()),
        PieceModel::Bpe { options, .. } if options.suffix.as_deref().is_some_and(|mark| !mark.is_empty()) => {
            PieceStyle::Suffix(options.suffix.clone().unwrap_or_default())
        }
        PieceModel::Bpe { options, .. } if options.prefix.as_deref().is_some_and(|mark| !mark.is_empty()) => {
            PieceStyle::Prefix(options.prefix.clone().unwrap_or_default())
        }
        PieceModel::WordLevel { .. } => PieceStyle::Plain,
        PieceModel::Bpe { .. } | PieceModel::Unigram { .. } | PieceModel::Table(_) => PieceStyle::Metaspace,
    }
}

/// Whether a stage, or a stage within it, has this type.
fn mentions(stage: &serde_json::Value, kind: &str) -> bool {
    stage.get("type").is_some_and(|value| value == kind)
        || ["pretokenizers", "normalizers", "decoders"]
            .iter()
            .filter_map(|list| stage.get(list)?.as_array())
            .flatten()
            .any(|inner| mentions(inner, kind))
}

/// The id that stands for what no piece covers.
fn unknown_id(model: &PieceModel) -> Option<u32> {
    let find = |vocab: &[(String, u32)], name: &str| vocab.iter().find(|(piece, _)| piece == name).map(|(_, id)| *id);
    match model {
        PieceModel::Bpe { vocab, options, .. } => find(vocab, options.unk_token.as_deref()?),
        PieceModel::WordPiece { vocab, unk_token, .. } | PieceModel::WordLevel { vocab, unk_token } => {
            find(vocab, unk_token)
        }
        PieceModel::Table(table) => Some(table.unknown()),
        PieceModel::Unigram { unk_id, .. } => unk_id.and_then(|id| u32::try_from(id).ok()),
    }
}

/// Runs library code on untrusted data: a panic in it becomes an error.
fn guarded<T>(path: &Path, doing: &str, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| Error::file(path, format!("{doing} failed inside the tokenizers library; the file is not usable")))
}
