//! What becomes of a generated text that spells a word which the model was never taught to write.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::input::Input;
use crate::known_words::KnownWords;
use crate::model::Model;

/// What becomes of a generated text with a word that neither the model's training targets nor the source have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownWords {
    /// It stays; where the words of the targets are known, the recording marks it.
    #[default]
    Keep,
    /// The best text of a beam search whose words are known takes its place, where there is one; the recording says so.
    Avoid,
}

/// How many beams a search for known words has at least.
pub(crate) const N_BEAMS: usize = 8;

impl FromStr for UnknownWords {
    type Err = String;

    fn from_str(text: &str) -> Result<UnknownWords, String> {
        match text {
            "keep" => Ok(UnknownWords::Keep),
            "avoid" => Ok(UnknownWords::Avoid),
            _ => Err("\"keep\" or \"avoid\" was expected".to_owned()),
        }
    }
}

impl fmt::Display for UnknownWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            UnknownWords::Keep => "keep",
            UnknownWords::Avoid => "avoid",
        })
    }
}

/// Looks for words that are not known in what is generated for one text.
pub(crate) struct WordWatch<'a> {
    model: &'a Model,
    words: &'a KnownWords,
    source: &'a str,
}

impl<'a> WordWatch<'a> {
    /// One for the text, where this model avoids words that it does not know.
    pub fn new(model: &'a Model, input: &'a Input) -> Option<WordWatch<'a>> {
        let words = model.known_words().filter(|_| model.unknown_words == UnknownWords::Avoid)?;
        Some(WordWatch { model, words, source: &input.source.text })
    }

    /// The words of a whole generated text that are not known.
    pub fn unknown(&self, ids: &[u32]) -> Vec<String> {
        self.unknown_in(&self.model.text_of_generated(ids))
    }

    /// The same of a text that goes on: its last word may still grow.
    pub fn unknown_so_far(&self, ids: &[u32]) -> Vec<String> {
        self.unknown_in(whole_words(&self.model.text_of_generated(ids)))
    }

    fn unknown_in(&self, text: &str) -> Vec<String> {
        self.words.unknown_in(text, self.source).into_iter().map(|span| text[span].to_owned()).collect()
    }
}

/// A text that goes on, without the letters and digits at its end: they may be the beginning of a word.
pub(crate) fn whole_words(text: &str) -> &str {
    text.trim_end_matches(|char: char| char.is_alphanumeric() || char == char::REPLACEMENT_CHARACTER)
}
