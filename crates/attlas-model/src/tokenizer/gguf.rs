//! The tokenizer inside a GGUF file.

use serde_json::{Value as Json, json};

use super::Tokenizer;
use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use super::families;
use super::sentencepiece::{Algorithm, Piece, PieceKind, SentencePiece};
use super::settings::Settings;
use crate::Error;
use crate::weights::gguf::{Gguf, Value};

/// Llama 3's expression for words.
const LLAMA3_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2's expression for words.
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Tokenizer {
    /// The tokenizer that a GGUF file carries: SentencePiece's (`llama`) or byte-level BPE (`gpt2`).
    ///
    /// # Errors
    /// A file without one, with one of another kind, or with one that contradicts itself.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, Error> {
        let pieces = texts(gguf, "tokenizer.ggml.tokens")?;
        match gguf.text("tokenizer.ggml.model") {
            Some("llama") => sentencepiece(gguf, pieces),
            Some("gpt2") => byte_level(gguf, pieces),
            found => Err(Error::config(
                &gguf.path,
                "tokenizer.ggml.model",
                format!(
                    "is {}; llama and gpt2 are read",
                    found.map_or("missing".to_owned(), |name| format!("{name:?}"))
                ),
            )),
        }
    }
}

fn sentencepiece(gguf: &Gguf, pieces: Vec<String>) -> Result<Tokenizer, Error> {
    let scores = gguf.list("tokenizer.ggml.scores").unwrap_or_default();
    if scores.len() != pieces.len() {
        return Err(Error::config(
            &gguf.path,
            "tokenizer.ggml.scores",
            format!("has {} numbers for {} tokens", scores.len(), pieces.len()),
        ));
    }
    let kinds = gguf.list("tokenizer.ggml.token_type").unwrap_or_default();
    let pieces: Vec<Piece> = pieces
        .into_iter()
        .zip(scores)
        .enumerate()
        .map(|(id, (text, score))| Piece {
            text,
            score: if let Value::Float(score) = score { *score as f32 } else { 0.0 },
            kind: kind(kinds.get(id)),
        })
        .collect();
    let model = SentencePiece {
        byte_fallback: pieces.iter().any(|piece| piece.kind == PieceKind::Byte),
        unk_id: id(gguf, "unknown").unwrap_or(0),
        algorithm: Algorithm::Bpe,
        charsmap: Vec::new(),
        add_dummy_prefix: gguf.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true),
        remove_extra_whitespaces: gguf.flag("tokenizer.ggml.remove_extra_whitespaces").unwrap_or(false),
        pieces,
    };
    if model.unk_id as usize >= model.pieces.len() {
        return Err(Error::config(&gguf.path, "tokenizer.ggml.unknown_token_id", format!("is {}", model.unk_id)));
    }
    let name =
        |field: &str| id(gguf, field).and_then(|id| model.pieces.get(id as usize)).map(|piece| piece.text.clone());
    let settings = Settings::of(json!({
        "add_bos_token": gguf.flag("tokenizer.ggml.add_bos_token").unwrap_or(true),
        "add_eos_token": gguf.flag("tokenizer.ggml.add_eos_token").unwrap_or(false),
        "bos_token": name("bos"),
        "eos_token": name("eos"),
    }));
    Tokenizer::build(families::blueprint(&model, &settings, &gguf.path)?, None)
}

fn byte_level(gguf: &Gguf, pieces: Vec<String>) -> Result<Tokenizer, Error> {
    let merges = texts(gguf, "tokenizer.ggml.merges")?
        .into_iter()
        .map(|line| match line.split_once(' ') {
            Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
            None => Err(Error::config(&gguf.path, "tokenizer.ggml.merges", format!("has {line:?}, which is no pair"))),
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let stage = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let words = |expression: &str| {
        let split = json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
        json!({"type": "Sequence", "pretokenizers": [split, stage(false)]})
    };
    let (pre_tokenizer, ignore_merges) = match gguf.text("tokenizer.ggml.pre") {
        None | Some("gpt-2" | "default") => (stage(true), false),
        Some("llama-bpe" | "llama3" | "llama-v3") => (words(LLAMA3_WORDS), true),
        Some("qwen2") => (words(QWEN2_WORDS), false),
        Some(other) => {
            return Err(Error::config(
                &gguf.path,
                "tokenizer.ggml.pre",
                format!("is {other:?}; gpt-2, llama-bpe and qwen2 are read"),
            ));
        }
    };
    let kinds = gguf.list("tokenizer.ggml.token_type").unwrap_or_default();
    let added_tokens = (0u32..)
        .zip(&pieces)
        .filter_map(|(id, piece)| match kind(kinds.get(id as usize)) {
            PieceKind::Control => Some(AddedEntry::special(id, piece.clone())),
            PieceKind::UserDefined => Some(AddedEntry { special: false, ..AddedEntry::special(id, piece.clone()) }),
            _ => None,
        })
        .collect();
    let mark = |field: &str, by_default: bool| {
        let wanted = gguf.flag(&format!("tokenizer.ggml.add_{field}_token")).unwrap_or(by_default);
        id(gguf, field).filter(|_| wanted).and_then(|id| Some((id, pieces.get(id as usize)?.clone())))
    };
    let post_processor =
        template(mark("bos", gguf.text("tokenizer.ggml.pre") == Some("llama-bpe")), mark("eos", false));
    Tokenizer::build(
        Blueprint {
            path: gguf.path.clone(),
            normalizer: Json::Null,
            pre_tokenizer,
            post_processor,
            decoder: stage(true),
            model: PieceModel::Bpe {
                vocab: pieces.into_iter().zip(0..).collect(),
                merges,
                options: BpeOptions { ignore_merges, ..BpeOptions::default() },
            },
            added_tokens,
        },
        None,
    )
}

/// The marks around each text.
fn template(before: Option<(u32, String)>, after: Option<(u32, String)>) -> Json {
    if before.is_none() && after.is_none() {
        return Json::Null;
    }
    let text = |name: &str, type_id: u32| {
        let mark = |mark: &Option<(u32, String)>| {
            mark.iter().map(|(_, name)| json!({"SpecialToken": {"id": name, "type_id": type_id}})).collect::<Vec<_>>()
        };
        [mark(&before), vec![json!({"Sequence": {"id": name, "type_id": type_id}})], mark(&after)].concat()
    };
    let special: serde_json::Map<String, Json> = before
        .iter()
        .chain(&after)
        .map(|(id, name)| (name.clone(), json!({"id": name, "ids": [id], "tokens": [name]})))
        .collect();
    let pair = [text("A", 0), text("B", 1)].concat();
    json!({
        "type": "TemplateProcessing",
        "single": text("A", 0),
        "pair": pair,
        "special_tokens": special,
    })
}

fn texts(gguf: &Gguf, key: &str) -> Result<Vec<String>, Error> {
    let items = gguf.list(key).ok_or_else(|| Error::config(&gguf.path, key, "is missing or no list"))?;
    items
        .iter()
        .map(|item| match item {
            Value::Text(text) => Ok(text.clone()),
            other => Err(Error::config(&gguf.path, key, format!("holds {other:?}, which is no text"))),
        })
        .collect()
}

fn id(gguf: &Gguf, name: &str) -> Option<u32> {
    gguf.number(&format!("tokenizer.ggml.{name}_token_id")).and_then(|id| u32::try_from(id).ok())
}

/// llama.cpp numbers the kinds as SentencePiece does.
fn kind(value: Option<&Value>) -> PieceKind {
    match value {
        Some(Value::Signed(2) | Value::Unsigned(2)) => PieceKind::Unknown,
        Some(Value::Signed(3) | Value::Unsigned(3)) => PieceKind::Control,
        Some(Value::Signed(4) | Value::Unsigned(4)) => PieceKind::UserDefined,
        Some(Value::Signed(5) | Value::Unsigned(5)) => PieceKind::Unused,
        Some(Value::Signed(6) | Value::Unsigned(6)) => PieceKind::Byte,
        _ => PieceKind::Normal,
    }
}
