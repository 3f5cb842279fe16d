//! Reads tokenizer.json, the format of the tokenizers library, into a [`Blueprint`].

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::blueprint::{AddedEntry, Blueprint, BpeOptions, PieceModel};
use crate::Error;
use crate::weights::parse_json;

/// The parts of a tokenizer.json. `truncation` and `padding` are left out on purpose: a map shows the text it was given.
#[derive(Deserialize)]
struct TokenizerFile {
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: ModelFile,
}

/// The union of what the four kinds of model say.
#[derive(Deserialize)]
struct ModelFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Vocabulary,
    merges: Option<Vec<Merge>>,
    dropout: Option<f64>,
    unk_token: Option<String>,
    unk_id: Option<usize>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    max_input_chars_per_word: Option<usize>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

/// A vocabulary: pieces with ids, or pieces with scores.
enum Vocabulary {
    Ids(Vec<(String, u32)>),
    Scores(Vec<(String, f64)>),
}

/// Two pieces to merge, written `"a b"` or `["a", "b"]`.
struct Merge(String, String);

/// Reads a tokenizer.json; `path` is the name that errors carry.
pub(super) fn read(bytes: &[u8], path: &Path) -> Result<Blueprint, Error> {
    let file: TokenizerFile = parse_json(path, bytes, "is not a tokenizer in JSON")?;
    if let Some(version) = file.version.as_deref().filter(|version| *version != "1.0") {
        return Err(Error::config(path, "version", format!("is {version:?}; \"1.0\" is known")));
    }
    Ok(Blueprint {
        path: path.to_owned(),
        model: piece_model(file.model, path)?,
        added_tokens: file.added_tokens,
        normalizer: file.normalizer,
        pre_tokenizer: file.pre_tokenizer,
        post_processor: file.post_processor,
        decoder: file.decoder,
    })
}

/// Decides what kind of model the file means; files of before 2020 do not say.
fn piece_model(model: ModelFile, path: &Path) -> Result<PieceModel, Error> {
    let kind = match (model.kind.as_deref(), &model.vocab) {
        (Some(kind), _) => kind,
        (None, Vocabulary::Scores(_)) => "Unigram",
        (None, _) if model.merges.is_some() => "BPE",
        (None, _) if model.continuing_subword_prefix.is_some() => "WordPiece",
        (None, _) => "WordLevel",
    };
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(Error::config(path, "model.dropout", "is not 0; the same text would be cut differently each time"));
    }
    let missing = |field: &str| Error::config(path, format!("model.{field}"), format!("is missing in a {kind} model"));
    match (kind, model.vocab) {
        ("BPE", Vocabulary::Ids(vocab)) => Ok(PieceModel::Bpe {
            vocab,
            merges: merges(model.merges.ok_or_else(|| missing("merges"))?),
            options: BpeOptions {
                unk_token: model.unk_token,
                prefix: model.continuing_subword_prefix,
                suffix: model.end_of_word_suffix,
                fuse_unk: model.fuse_unk.unwrap_or(false),
                byte_fallback: model.byte_fallback.unwrap_or(false),
                ignore_merges: model.ignore_merges.unwrap_or(false),
            },
        }),
        ("WordPiece", Vocabulary::Ids(vocab)) => Ok(PieceModel::WordPiece {
            vocab,
            unk_token: model.unk_token.ok_or_else(|| missing("unk_token"))?,
            prefix: model.continuing_subword_prefix.unwrap_or_else(|| "##".to_owned()),
            max_word_chars: model.max_input_chars_per_word.unwrap_or(100).min(10_000),
        }),
        ("WordLevel", Vocabulary::Ids(vocab)) => {
            Ok(PieceModel::WordLevel { vocab, unk_token: model.unk_token.ok_or_else(|| missing("unk_token"))? })
        }
        ("Unigram", Vocabulary::Scores(pieces)) => Ok(PieceModel::Unigram {
            pieces,
            unk_id: model.unk_id,
            byte_fallback: model.byte_fallback.unwrap_or(false),
        }),
        ("BPE" | "WordPiece" | "WordLevel" | "Unigram", _) => {
            Err(Error::config(path, "model.vocab", format!("has not the form that a {kind} model needs")))
        }
        (kind, _) => Err(Error::config(
            path,
            "model.type",
            format!("is {}; BPE, WordPiece, WordLevel and Unigram are known", super::shown::quoted(kind)),
        )),
    }
}

/// The pairs; older files carry the first line of merges.txt along.
fn merges(merges: Vec<Merge>) -> Vec<(String, String)> {
    merges.into_iter().filter(|Merge(left, _)| left != "#version:").map(|Merge(left, right)| (left, right)).collect()
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Vocabulary, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pieces with their ids, or a list of pieces with their scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Vocabulary::Ids(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    entries.push(entry);
                }
                Ok(Vocabulary::Scores(entries))
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Merge, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("two pieces to merge: \"a b\" or [\"a\", \"b\"]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => Ok(Merge(left.to_owned(), right.to_owned())),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merge, A::Error> {
                let missing = |index| serde::de::Error::invalid_length(index, &"two pieces to merge");
                let left = list.next_element()?.ok_or_else(|| missing(0))?;
                let right = list.next_element()?.ok_or_else(|| missing(1))?;
                match list.next_element::<String>()? {
                    None => Ok(Merge(left, right)),
                    Some(_) => Err(missing(3)),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}
