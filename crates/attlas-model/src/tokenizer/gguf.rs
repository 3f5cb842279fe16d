//! The tokenizer inside a GGUF file.

use serde_json::{Value as Json, json};

use super::Tokenizer;
use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use super::pieces;
use super::sentencepiece::{Algorithm, Piece, PieceKind, SentencePiece};
use super::settings::Settings;
use super::vocabularies;
use crate::Error;
use crate::family::gguf::{TOKENIZERS, TokenizerKind, WORD_RULES, WordRule};
use crate::weights::gguf::{Gguf, Value};

impl Tokenizer {
    /// The tokenizer that a GGUF file carries: SentencePiece's, byte-level BPE or WordPiece.
    ///
    /// # Errors
    /// A file without one, with one of another kind, or with one that contradicts itself.
    pub(crate) fn from_gguf(gguf: &Gguf) -> Result<Tokenizer, Error> {
        let pieces = texts(gguf, "tokenizer.ggml.tokens")?;
        let named = gguf.text("tokenizer.ggml.model");
        match TOKENIZERS.iter().find(|(name, _)| named == Some(*name)) {
            Some((_, TokenizerKind::SentencePiece)) => sentencepiece(gguf, pieces),
            Some((_, TokenizerKind::ByteLevel)) => byte_level(gguf, pieces),
            Some((_, TokenizerKind::WordPiece)) => wordpiece(gguf, pieces),
            None => {
                let found = named.map_or("missing".to_owned(), |name| format!("{name:?}"));
                let known = TOKENIZERS.map(|(name, _)| name).join(", ");
                Err(Error::config(&gguf.path, "tokenizer.ggml.model", format!("is {found}; {known} are read")))
            }
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
    Tokenizer::build(pieces::blueprint(&model, &settings, &gguf.path)?, None)
}

/// BERT's, whose pieces GGUF writes as SentencePiece would: `▁the` and `s` for `the` and `##s`.
fn wordpiece(gguf: &Gguf, pieces: Vec<String>) -> Result<Tokenizer, Error> {
    let kinds = gguf.list("tokenizer.ggml.token_type").unwrap_or_default();
    let is_control = |id: usize| kind(kinds.get(id)) == PieceKind::Control;
    // no file says whether texts are lowercased first: they are where no piece has a capital letter
    let is_capital = |(id, piece): (usize, &String)| {
        !is_control(id) && !piece.ends_with(']') && piece.contains(|letter: char| letter.is_ascii_uppercase())
    };
    let is_lower = !pieces.iter().enumerate().any(is_capital);
    let restored = |(id, piece): (usize, String)| match piece.strip_prefix('▁') {
        _ if is_control(id) => piece,
        Some(start) => start.to_owned(),
        None => format!("##{piece}"),
    };
    let vocab: Vec<(String, u32)> = pieces.into_iter().enumerate().map(restored).zip(0..).collect();
    let mut settings = json!({"do_lower_case": is_lower});
    // later files have [CLS] as the marker of a text's beginning
    let names = [
        ("cls", "bos"),
        ("cls", "cls"),
        ("sep", "seperator"),
        ("mask", "mask"),
        ("unk", "unknown"),
        ("pad", "padding"),
    ];
    for (field, name) in names {
        if let Some((piece, _)) = id(gguf, name).and_then(|id| vocab.get(id as usize)) {
            settings[format!("{field}_token").as_str()] = json!(piece);
        }
    }
    Tokenizer::build(vocabularies::wordpiece(vocab, &Settings::of(settings), &gguf.path)?, None)
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
    let split = |expression: &&str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
    let rule = word_rule(gguf)?;
    let pre_tokenizer = match rule.expressions {
        [] => stage(true),
        expressions => {
            let stages: Vec<Json> = expressions.iter().map(split).chain([stage(false)]).collect();
            json!({"type": "Sequence", "pretokenizers": stages})
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
    let post_processor = template(mark("bos", rule.marks_beginning), mark("eos", false));
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
                options: BpeOptions { ignore_merges: rule.ignore_merges, ..BpeOptions::default() },
            },
            added_tokens,
        },
        None,
    )
}

/// How the file says that words are cut.
fn word_rule(gguf: &Gguf) -> Result<&'static WordRule, Error> {
    let Some(name) = gguf.text("tokenizer.ggml.pre") else { return Ok(&WORD_RULES[0]) };
    WORD_RULES.iter().find(|rule| rule.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = WORD_RULES.iter().flat_map(|rule| rule.names).copied().collect();
        let message = format!("is {name:?}; known are {}", known.join(", "));
        Error::config(&gguf.path, "tokenizer.ggml.pre", message)
    })
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
