//! Checks the stages around the model (normaliser, pre-tokenizer, post-processor, decoder) before the library sees them.
//!
//! The library panics, aborts or hangs on some values that JSON allows; each is refused here by name.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::pattern;
use super::shown::quoted;
use crate::Error;

/// Stages in one sequence; real files have up to eight.
const MAX_STAGES: usize = 32;
/// Sequences within sequences.
const MAX_DEPTH: usize = 4;
/// Pieces of a post-processor's template.
const MAX_TEMPLATE_PIECES: usize = 64;
/// Special tokens that a template describes.
const MAX_SPECIAL_TOKENS: usize = 4096;
/// The longest text a stage may put in place of another, in bytes.
const MAX_CONTENT_BYTES: usize = 4096;
/// The largest map of characters; SentencePiece's own is 240 kB.
const MAX_CHARSMAP_BYTES: usize = 4 << 20;

/// How much longer the stages can make a text: `n` bytes become at most `factor · n + constant`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// Bytes per byte.
    pub factor: f64,
    /// Bytes added whatever the text.
    pub constant: f64,
}

impl Growth {
    const NONE: Growth = Growth { factor: 1.0, constant: 0.0 };

    /// This growth, then another.
    pub(super) fn then(self, next: Growth) -> Growth {
        Growth { factor: self.factor * next.factor, constant: self.constant * next.factor + next.constant }
    }

    /// The most bytes that `n_bytes` can become.
    pub(super) fn bound(self, n_bytes: usize) -> f64 {
        self.factor * n_bytes as f64 + self.constant
    }
}

/// Where a stage stands, for messages, and how deep.
#[derive(Clone, Copy)]
struct Place<'a> {
    path: &'a Path,
    field: &'a str,
    depth: usize,
}

impl Place<'_> {
    fn refuse<T>(self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::config(self.path, self.field, message))
    }

    /// The object and its type.
    fn object(self, value: &Value) -> Result<(&Map<String, Value>, &str), Error> {
        let Some(object) = value.as_object() else {
            return self.refuse("is not an object");
        };
        match object.get("type").and_then(Value::as_str) {
            Some(kind) => Ok((object, kind)),
            None => self.refuse("has no type"),
        }
    }

    /// The stages of a sequence, one level down.
    fn sequence<'v>(self, object: &'v Map<String, Value>, list: &str) -> Result<(&'v [Value], Self), Error> {
        let Some(stages) = object.get(list).and_then(Value::as_array) else {
            return self.refuse(format!("is a Sequence without a list of {list}"));
        };
        if stages.len() > MAX_STAGES || self.depth >= MAX_DEPTH {
            return self.refuse(format!(
                "nests too much: {} stages at depth {}; {MAX_STAGES} at depth {MAX_DEPTH} are possible",
                stages.len(),
                self.depth
            ));
        }
        Ok((stages, Place { depth: self.depth + 1, ..self }))
    }

    fn unknown<T>(self, kind: &str) -> Result<T, Error> {
        self.refuse(format!("has the unknown type {}", quoted(kind)))
    }

    /// A text that a stage puts in place of another.
    fn content(self, object: &Map<String, Value>, field: &str) -> Result<usize, Error> {
        match object.get(field).and_then(Value::as_str) {
            Some(text) if text.len() <= MAX_CONTENT_BYTES => Ok(text.len()),
            Some(text) => {
                self.refuse(format!("has a {field} of {} bytes; {MAX_CONTENT_BYTES} are possible", text.len()))
            }
            None => self.refuse(format!("has no {field}")),
        }
    }

    /// A pattern, plain or regular expression; the length of a plain one.
    fn pattern(self, object: &Map<String, Value>) -> Result<Option<usize>, Error> {
        let entry = object.get("pattern").and_then(Value::as_object).and_then(|pattern| pattern.iter().next());
        match entry.map(|(kind, text)| (kind.as_str(), text.as_str())) {
            Some(("String", Some(""))) => self.refuse("has an empty pattern"),
            Some(("String", Some(text))) if text.len() <= MAX_CONTENT_BYTES => Ok(Some(text.len())),
            Some(("Regex", Some(text))) => match pattern::check(text) {
                Ok(()) => Ok(None),
                Err(reason) => self.refuse(format!("has the regular expression {}, which {reason}", quoted(text))),
            },
            _ => self.refuse("has no usable pattern: {\"String\": …} or {\"Regex\": …}"),
        }
    }
}

/// Checks a normaliser; returns how much it can lengthen a text.
pub(super) fn check_normalizer(value: &Value, path: &Path) -> Result<Growth, Error> {
    match value {
        Value::Null => Ok(Growth::NONE),
        value => normalizer(value, Place { path, field: "normalizer", depth: 0 }),
    }
}

fn normalizer(value: &Value, place: Place<'_>) -> Result<Growth, Error> {
    let (object, kind) = place.object(value)?;
    match kind {
        "Sequence" => {
            let (stages, place) = place.sequence(object, "normalizers")?;
            stages.iter().try_fold(Growth::NONE, |growth, stage| Ok(growth.then(normalizer(stage, place)?)))
        }
        // Unicode's own mappings: repeated, they do not grow further.
        "BertNormalizer" | "Strip" | "StripAccents" | "NFC" | "NFD" | "NFKC" | "NFKD" | "Lowercase" | "Nmt" => {
            Ok(Growth::NONE)
        }
        "ByteLevel" => Ok(Growth { factor: 2.0, constant: 0.0 }),
        "Prepend" => Ok(Growth { factor: 1.0, constant: place.content(object, "prepend")? as f64 }),
        "Replace" => {
            let content = place.content(object, "content")? as f64;
            Ok(match place.pattern(object)? {
                Some(n_bytes) => Growth { factor: (content / n_bytes as f64).max(1.0), constant: 0.0 },
                // An expression may match between any two bytes.
                None => Growth { factor: 1.0 + content, constant: content },
            })
        }
        "Precompiled" => {
            let Some(text) = object.get("precompiled_charsmap").and_then(Value::as_str) else {
                return place.refuse("has no precompiled_charsmap");
            };
            charsmap_growth(text, place)
        }
        kind => place.unknown(kind),
    }
}

/// Checks SentencePiece's compiled map of characters: a double array whose every step stays inside, then its strings.
fn charsmap_growth(base64: &str, place: Place<'_>) -> Result<Growth, Error> {
    if base64.len() / 4 * 3 > MAX_CHARSMAP_BYTES {
        return place.refuse(format!("has a precompiled_charsmap of {} characters", base64.len()));
    }
    let Ok(bytes) = STANDARD.decode(base64) else {
        return place.refuse("has a precompiled_charsmap that is not base64");
    };
    match super::charsmap::longest_replacement(&bytes) {
        // The longest of Unicode's own takes 33 bytes for 3.
        Ok(longest) => Ok(Growth { factor: (longest as f64 / 3.0).max(1.0), constant: 0.0 }),
        Err(reason) => place.refuse(format!("has a precompiled_charsmap that {reason}")),
    }
}

/// Checks a pre-tokenizer.
pub(super) fn check_pre_tokenizer(value: &Value, path: &Path) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        value => {
            let place = Place { path, field: "pre_tokenizer", depth: 0 };
            pre_tokenizer(value, place)?;
            match n_byte_levels(value) {
                0 | 1 => Ok(()),
                n => place.refuse(format!(
                    "has {n} ByteLevel stages; each would make bytes of the bytes before it, and one is read"
                )),
            }
        }
    }
}

/// How many stages of a checked pre-tokenizer write every byte as a letter of its own, which lengthens a text.
fn n_byte_levels(value: &Value) -> usize {
    match value.get("pretokenizers").and_then(Value::as_array) {
        Some(stages) => stages.iter().map(n_byte_levels).sum(),
        None => usize::from(value.get("type").is_some_and(|kind| kind == "ByteLevel")),
    }
}

fn pre_tokenizer(value: &Value, place: Place<'_>) -> Result<(), Error> {
    let (object, kind) = place.object(value)?;
    match kind {
        "Sequence" => {
            let (stages, place) = place.sequence(object, "pretokenizers")?;
            stages.iter().try_for_each(|stage| pre_tokenizer(stage, place))
        }
        "Split" => place.pattern(object).map(|_| ()),
        "FixedLength" => match object.get("length").map(Value::as_u64) {
            None | Some(Some(1..)) => Ok(()),
            _ => place.refuse("is a FixedLength whose length is not a positive number"),
        },
        "BertPreTokenizer" | "CharDelimiterSplit" | "Delimiter" | "Whitespace" | "WhitespaceSplit" | "Punctuation"
        | "Digits" | "UnicodeScripts" | "ByteLevel" | "Metaspace" => Ok(()),
        kind => place.unknown(kind),
    }
}

/// Checks a decoder.
pub(super) fn check_decoder(value: &Value, path: &Path) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        value => decoder(value, Place { path, field: "decoder", depth: 0 }),
    }
}

fn decoder(value: &Value, place: Place<'_>) -> Result<(), Error> {
    let (object, kind) = place.object(value)?;
    match kind {
        "Sequence" => {
            let (stages, place) = place.sequence(object, "decoders")?;
            stages.iter().try_for_each(|stage| decoder(stage, place))
        }
        "Replace" => place.content(object, "content").and(place.pattern(object)).map(|_| ()),
        "Strip" => match object.get("stop").and_then(Value::as_u64) {
            // The library counts back past the start of a shorter piece.
            Some(0) => Ok(()),
            _ => place.refuse("is a Strip whose stop is not 0"),
        },
        "BPEDecoder" => place.content(object, "suffix").map(|_| ()),
        "ByteLevel" | "WordPiece" | "Metaspace" | "CTC" | "Fuse" | "ByteFallback" => Ok(()),
        kind => place.unknown(kind),
    }
}

/// Checks a post-processor: what it adds must be known tokens.
pub(super) fn check_post_processor(value: &Value, is_known: &dyn Fn(u32) -> bool, path: &Path) -> Result<(), Error> {
    match value {
        Value::Null => Ok(()),
        value => post_processor(value, is_known, Place { path, field: "post_processor", depth: 0 }),
    }
}

fn post_processor(value: &Value, is_known: &dyn Fn(u32) -> bool, place: Place<'_>) -> Result<(), Error> {
    let (object, kind) = place.object(value)?;
    match kind {
        "Sequence" => {
            let (stages, place) = place.sequence(object, "processors")?;
            stages.iter().try_for_each(|stage| post_processor(stage, is_known, place))
        }
        "ByteLevel" => Ok(()),
        "BertProcessing" | "RobertaProcessing" => ["sep", "cls"].into_iter().try_for_each(|field| {
            let id = object.get(field).and_then(|pair| pair.get(1)).and_then(Value::as_u64);
            check_known(id, field, is_known, place)
        }),
        "TemplateProcessing" => template(object, is_known, place),
        kind => place.unknown(kind),
    }
}

fn check_known(id: Option<u64>, name: &str, is_known: &dyn Fn(u32) -> bool, place: Place<'_>) -> Result<(), Error> {
    match id.map(u32::try_from) {
        Some(Ok(id)) if is_known(id) => Ok(()),
        Some(id) => place.refuse(format!(
            "adds {} with the id {}, which no token has",
            quoted(name),
            id.map_or_else(|_| "beyond 32 bits".to_owned(), |id| id.to_string())
        )),
        None => place.refuse(format!("has no id for {}", quoted(name))),
    }
}

/// Each special token that a template names must be described, with as many ids as texts.
fn template(object: &Map<String, Value>, is_known: &dyn Fn(u32) -> bool, place: Place<'_>) -> Result<(), Error> {
    let tokens = object.get("special_tokens").and_then(Value::as_object);
    for (list, required) in [("single", ["A"].as_slice()), ("pair", &["A", "B"])] {
        let Some(pieces) = object.get(list).and_then(Value::as_array) else {
            return place.refuse(format!("has no template for {list}"));
        };
        if pieces.len() > MAX_TEMPLATE_PIECES {
            return place.refuse(format!("has {} pieces for {list}", pieces.len()));
        }
        let mut sequences = Vec::new();
        for piece in pieces {
            if let Some(id) = piece.pointer("/Sequence/id").and_then(Value::as_str) {
                sequences.push(id);
            } else if let Some(name) = piece.pointer("/SpecialToken/id").and_then(Value::as_str) {
                if tokens.is_none_or(|tokens| !tokens.contains_key(name)) {
                    return place.refuse(format!("uses {}, which special_tokens does not describe", quoted(name)));
                }
            } else {
                return place.refuse(format!("has a piece for {list} that is neither Sequence nor SpecialToken"));
            }
        }
        sequences.sort_unstable();
        if sequences != required {
            return place.refuse(format!("uses the texts {sequences:?} for {list}; {required:?} are needed"));
        }
    }
    if let Some(tokens) = tokens.filter(|tokens| tokens.len() > MAX_SPECIAL_TOKENS) {
        return place.refuse(format!("describes {} special_tokens; {MAX_SPECIAL_TOKENS} are possible", tokens.len()));
    }
    for (name, token) in tokens.into_iter().flatten() {
        let ids = token.get("ids").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
        let n_texts = token.get("tokens").and_then(Value::as_array).map_or(0, Vec::len);
        if ids.is_empty() || ids.len() > MAX_TEMPLATE_PIECES || ids.len() != n_texts {
            return place.refuse(format!("describes {} by {} ids and {n_texts} texts", quoted(name), ids.len()));
        }
        ids.iter().try_for_each(|id| check_known(id.as_u64(), name, is_known, place))?;
    }
    Ok(())
}
