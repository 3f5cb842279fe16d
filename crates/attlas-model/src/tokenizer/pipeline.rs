//! The stages before and after the model, as the library runs them; those that search or lengthen a text count what they do.
//!
//! The library's own `Split`, `Replace` and `ByteLevel` take a search that reaches its limit for one that found nothing, and
//! cut the text otherwise without a word.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenizers::pattern::Pattern;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{
    DecoderWrapper, NormalizedString, NormalizerWrapper, PreTokenizedString, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use super::allowance;
use super::expression::Expression;
use super::shown::quoted;
use super::stages::{self, Growth};
use crate::Error;

/// The expression by which the library's `ByteLevel` cuts words (Radford et al. 2019).
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Changes a text before it is cut.
#[derive(Debug, Clone)]
pub(super) enum Normalizer {
    Sequence(Vec<Normalizer>),
    Replace(Replace),
    /// Any other, and how much it can lengthen a text.
    Library(Box<NormalizerWrapper>, Growth, Origin),
}

/// Cuts a text into words.
#[derive(Debug, Clone)]
pub(super) enum PreTokenizer {
    Sequence(Vec<PreTokenizer>),
    Split { finder: Finder, behavior: SplitDelimiterBehavior, invert: bool },
    ByteLevel { add_prefix_space: bool, words: Option<Finder>, bytes: ByteLevel },
    Library(Box<PreTokenizerWrapper>),
}

/// Makes text of pieces.
#[derive(Debug, Clone)]
pub(super) enum Decoder {
    Sequence(Vec<Decoder>),
    Replace(Replace),
    Library(Box<DecoderWrapper>),
}

/// Where a stage comes from, for messages.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    path: PathBuf,
    field: &'static str,
}

/// Puts a text in place of what is found.
#[derive(Debug, Clone)]
pub(super) struct Replace {
    finder: Finder,
    content: String,
}

/// Finds a text, or what an expression matches.
#[derive(Debug, Clone)]
pub(super) struct Finder {
    what: What,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum What {
    Text(String),
    Expression(Expression),
}

/// Stretches of a text, one after the other, and whether each is a match.
type Stretches = Vec<((usize, usize), bool)>;

#[derive(Deserialize)]
enum PatternValue {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
struct SplitValue {
    pattern: PatternValue,
    behavior: SplitDelimiterBehavior,
    invert: bool,
}

#[derive(Deserialize)]
struct ReplaceValue {
    pattern: PatternValue,
    content: String,
}

impl Origin {
    fn error(&self, message: impl Into<String>) -> Error {
        Error::config(&self.path, self.field, message)
    }

    fn read<T: DeserializeOwned>(&self, value: &Value) -> Result<T, Error> {
        T::deserialize(value).map_err(|error| self.error(error.to_string()))
    }

    /// Counts bytes that are added.
    fn add(&self, n: usize) -> Result<(), tokenizers::Error> {
        allowance::add(n, || self.name())
    }

    /// Refuses what a stage does to a text.
    fn refuse(&self, message: &str) -> Result<(), tokenizers::Error> {
        allowance::refuse(|| self.error(message))
    }

    /// Refuses a stage that could add more than is left.
    fn foresee(&self, n: usize) -> Result<(), tokenizers::Error> {
        allowance::foresee(n, || self.name())
    }

    fn name(&self) -> String {
        format!("{}: {}", self.path.display(), self.field)
    }
}

fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The stages of a sequence.
fn inner<'v>(value: &'v Value, list: &str) -> &'v [Value] {
    value.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Builds a normaliser that was checked; `null` is none.
pub(super) fn normalizer(value: &Value, path: &Path) -> Result<Option<Normalizer>, Error> {
    let origin = Origin { path: path.to_owned(), field: "normalizer" };
    if value.is_null() { Ok(None) } else { Normalizer::build(value, &origin).map(Some) }
}

/// Builds a pre-tokenizer that was checked; `null` is none.
pub(super) fn pre_tokenizer(value: &Value, path: &Path) -> Result<Option<PreTokenizer>, Error> {
    let origin = Origin { path: path.to_owned(), field: "pre_tokenizer" };
    if value.is_null() { Ok(None) } else { PreTokenizer::build(value, &origin).map(Some) }
}

/// Builds a decoder that was checked; `null` is none.
pub(super) fn decoder(value: &Value, path: &Path) -> Result<Option<Decoder>, Error> {
    let origin = Origin { path: path.to_owned(), field: "decoder" };
    if value.is_null() { Ok(None) } else { Decoder::build(value, &origin).map(Some) }
}

impl Normalizer {
    fn build(value: &Value, origin: &Origin) -> Result<Normalizer, Error> {
        match kind(value) {
            "Sequence" => {
                let stages = inner(value, "normalizers").iter().map(|stage| Normalizer::build(stage, origin));
                stages.collect::<Result<_, _>>().map(Normalizer::Sequence)
            }
            "Replace" => Replace::build(value, origin).map(Normalizer::Replace),
            _ => {
                let growth = stages::check_normalizer(value, &origin.path)?;
                Ok(Normalizer::Library(Box::new(origin.read(value)?), growth, origin.clone()))
            }
        }
    }
}

impl tokenizers::Normalizer for Normalizer {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        match self {
            Normalizer::Sequence(stages) => stages.iter().try_for_each(|stage| stage.normalize(text)),
            Normalizer::Replace(replace) => {
                let stretches = replace.stretches(text.get())?;
                if stretches.iter().any(|((start, end), is_match)| *is_match && start == end) {
                    replace.finder.origin.refuse("has a Replace that matches where there is nothing to replace, after which the places of letters are lost")?;
                }
                text.replace(Found::new(stretches), &replace.content)
            }
            Normalizer::Library(stage, growth, origin) => {
                let n_bytes = text.get().len();
                let most = growth.bound(n_bytes) as usize;
                origin.foresee(most.saturating_sub(n_bytes))?;
                stage.normalize(text)?;
                origin.add(text.get().len().saturating_sub(n_bytes))
            }
        }
    }
}

impl PreTokenizer {
    fn build(value: &Value, origin: &Origin) -> Result<PreTokenizer, Error> {
        match kind(value) {
            "Sequence" => {
                let stages = inner(value, "pretokenizers").iter().map(|stage| PreTokenizer::build(stage, origin));
                stages.collect::<Result<_, _>>().map(PreTokenizer::Sequence)
            }
            "Split" => {
                let SplitValue { pattern, behavior, invert } = origin.read(value)?;
                Ok(PreTokenizer::Split { finder: Finder::new(pattern, origin)?, behavior, invert })
            }
            "ByteLevel" => {
                let stage: ByteLevel = origin.read(value)?;
                Ok(PreTokenizer::ByteLevel {
                    add_prefix_space: stage.add_prefix_space,
                    words: if stage.use_regex { Some(Finder::gpt2(origin)?) } else { None },
                    bytes: stage.add_prefix_space(false).use_regex(false),
                })
            }
            _ => Ok(PreTokenizer::Library(Box::new(origin.read(value)?))),
        }
    }
}

impl tokenizers::PreTokenizer for PreTokenizer {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        match self {
            PreTokenizer::Sequence(stages) => stages.iter().try_for_each(|stage| stage.pre_tokenize(text)),
            PreTokenizer::Split { finder, behavior, invert } => text.split(|_, word| {
                let mut stretches = finder.stretches(word.get())?;
                stretches.iter_mut().for_each(|(_, is_match)| *is_match ^= *invert);
                word.split(Found::new(stretches), *behavior)
            }),
            PreTokenizer::ByteLevel { add_prefix_space, words, bytes } => {
                if *add_prefix_space || words.is_some() {
                    text.split(|_, mut word| {
                        if *add_prefix_space && !word.get().starts_with(' ') {
                            word.prepend(" ");
                        }
                        match words {
                            Some(words) => {
                                word.split(Found::new(words.stretches(word.get())?), SplitDelimiterBehavior::Isolated)
                            }
                            None => Ok(vec![word]),
                        }
                    })?;
                }
                bytes.pre_tokenize(text)
            }
            PreTokenizer::Library(stage) => stage.pre_tokenize(text),
        }
    }
}

impl Decoder {
    fn build(value: &Value, origin: &Origin) -> Result<Decoder, Error> {
        match kind(value) {
            "Sequence" => {
                let stages = inner(value, "decoders").iter().map(|stage| Decoder::build(stage, origin));
                stages.collect::<Result<_, _>>().map(Decoder::Sequence)
            }
            "Replace" => Replace::build(value, origin).map(Decoder::Replace),
            _ => Ok(Decoder::Library(Box::new(origin.read(value)?))),
        }
    }
}

impl tokenizers::Decoder for Decoder {
    fn decode_chain(&self, pieces: Vec<String>) -> tokenizers::Result<Vec<String>> {
        match self {
            Decoder::Sequence(stages) => stages.iter().try_fold(pieces, |pieces, stage| stage.decode_chain(pieces)),
            Decoder::Replace(replace) => pieces.iter().map(|piece| replace.replaced(piece)).collect(),
            Decoder::Library(stage) => stage.decode_chain(pieces),
        }
    }
}

impl Replace {
    fn build(value: &Value, origin: &Origin) -> Result<Replace, Error> {
        let ReplaceValue { pattern, content } = origin.read(value)?;
        Ok(Replace { finder: Finder::new(pattern, origin)?, content })
    }

    /// What is to be replaced, once the bytes for it are counted.
    fn stretches(&self, text: &str) -> Result<Stretches, tokenizers::Error> {
        let stretches = self.finder.stretches(text)?;
        let matches = stretches.iter().filter(|(_, is_match)| *is_match);
        let (n_matches, n_removed) =
            matches.fold((0_usize, 0), |(n, removed), ((start, end), _)| (n + 1, removed + (end - start)));
        self.finder.origin.add(n_matches.saturating_mul(self.content.len()).saturating_sub(n_removed))?;
        Ok(stretches)
    }

    fn replaced(&self, text: &str) -> tokenizers::Result<String> {
        let part = |((start, end), is_match)| if is_match { self.content.as_str() } else { &text[start..end] };
        Ok(self.stretches(text)?.into_iter().map(part).collect())
    }
}

impl Finder {
    fn new(pattern: PatternValue, origin: &Origin) -> Result<Finder, Error> {
        let what = match pattern {
            PatternValue::String(text) => What::Text(text),
            PatternValue::Regex(text) => What::Expression(Expression::new(&text).map_err(|reason| {
                origin.error(format!("has the regular expression {}, which cannot be used: {reason}", quoted(&text)))
            })?),
        };
        Ok(Finder { what, origin: origin.clone() })
    }

    fn gpt2(origin: &Origin) -> Result<Finder, Error> {
        static EXPRESSION: OnceLock<Result<Expression, String>> = OnceLock::new();
        let expression = EXPRESSION.get_or_init(|| Expression::new(GPT2)).clone();
        Ok(Finder {
            what: What::Expression(expression.map_err(|reason| origin.error(reason))?),
            origin: origin.clone(),
        })
    }

    /// The whole text as matches and what lies between them.
    fn stretches(&self, text: &str) -> Result<Stretches, tokenizers::Error> {
        if text.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let matches = match &self.what {
            What::Text(wanted) => {
                text.match_indices(wanted).map(|(start, found)| (start, start + found.len())).collect()
            }
            What::Expression(expression) => allowance::search(
                |steps| expression.find_all(text, steps),
                |n_bytes| {
                    self.origin.error(format!(
                        "has the regular expression {}, which takes more steps on this text of {n_bytes} bytes than \
                         attlas allows; it goes back too often, or reads too far at too many places; shorter texts may pass",
                        quoted(expression.text())
                    ))
                },
            )?,
        };
        let mut stretches = Vec::with_capacity(2 * matches.len() + 1);
        let mut last = 0;
        for (start, end) in matches {
            if last != start {
                stretches.push(((last, start), false));
            }
            stretches.push(((start, end), true));
            last = end;
        }
        if last != text.len() {
            stretches.push(((last, text.len()), false));
        }
        Ok(stretches)
    }
}

/// Hands the library what was found.
struct Found(Cell<Stretches>);

impl Found {
    fn new(stretches: Stretches) -> Found {
        Found(Cell::new(stretches))
    }
}

impl Pattern for Found {
    fn find_matches(&self, _text: &str) -> tokenizers::Result<Stretches> {
        Ok(self.0.take())
    }
}
