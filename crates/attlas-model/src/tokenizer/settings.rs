//! What the small files beside a vocabulary say: tokenizer_config.json, config.json.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::blueprint::AddedEntry;
use crate::Error;
use crate::family::{self, TextRules};
use crate::weights::{parse_json, read_small_file};

/// The largest of these files.
const MAX_BYTES: u64 = 16 << 20;

/// The settings of a tokenizer; absent files are empty.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    tokenizer: Value,
    model: Value,
}

impl Settings {
    /// Reads the files of a model folder.
    pub fn read(dir: &Path) -> Result<Settings, Error> {
        Ok(Settings {
            tokenizer: object(&dir.join("tokenizer_config.json"))?,
            model: object(&dir.join("config.json"))?,
        })
    }

    /// Settings that lie elsewhere than in files.
    pub fn of(tokenizer: Value) -> Settings {
        Settings { tokenizer, model: Value::Null }
    }

    /// The model type of config.json.
    pub fn model_type(&self) -> Option<&str> {
        self.model.get("model_type").and_then(Value::as_str)
    }

    /// What the vocabulary files leave unsaid, by the model type, or else by the tokenizer's class.
    pub fn text_rules(&self) -> &'static TextRules {
        family::text_rules(self.model_type(), self.class())
    }

    /// The tokenizer's class; may be empty.
    pub fn class(&self) -> &str {
        self.text("tokenizer_class").unwrap_or("")
    }

    /// A text of tokenizer_config.json.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.tokenizer.get(field).and_then(Value::as_str)
    }

    /// A yes or no of tokenizer_config.json.
    pub fn flag(&self, field: &str) -> Option<bool> {
        self.tokenizer.get(field).and_then(Value::as_bool)
    }

    /// A number of tokenizer_config.json.
    pub fn number(&self, field: &str) -> Option<usize> {
        self.tokenizer.get(field).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
    }

    /// A special token of tokenizer_config.json, written as a text or as an object with a `content`.
    pub fn token(&self, field: &str) -> Option<String> {
        let value = self.tokenizer.get(field)?;
        value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned)
    }

    /// Adds the tokens that `added_tokens_decoder` names and the vocabulary of `n_pieces` pieces lacks.
    pub(super) fn add_tokens(&self, added: &mut Vec<AddedEntry>, n_pieces: usize) {
        let known: HashSet<String> = added.iter().map(|entry| entry.content.clone()).collect();
        let entries = self.tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
        let mut more: Vec<AddedEntry> = entries
            .into_iter()
            .flatten()
            .filter_map(|(id, entry)| {
                let mut entry = entry.clone();
                entry.as_object_mut()?.insert("id".to_owned(), id.parse::<u32>().ok()?.into());
                serde_json::from_value(entry).ok()
            })
            .filter(|entry: &AddedEntry| !known.contains(&entry.content))
            .filter(|entry| entry.id as usize >= n_pieces)
            .collect();
        more.sort_by_key(|entry| entry.id);
        added.extend(more);
    }
}

/// A JSON object; absent is empty.
fn object(path: &Path) -> Result<Value, Error> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    let value: Value = parse_json(path, &read_small_file(path, MAX_BYTES)?, "is not JSON")?;
    if value.is_object() { Ok(value) } else { Err(Error::file(path, "is not a JSON object")) }
}
