//! The tokens along an axis of a map, and where each stands in the text.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a token is to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenRole {
    /// A piece of the text.
    #[default]
    Text,
    /// Added by the tokenizer or the model: `[CLS]`, `</s>`, a language tag.
    Special,
    /// Fills a batch; no query of the model may look at it.
    Padding,
}

/// One token: its id, how it is shown, and the bytes of the text it covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The id in the vocabulary; `None` for arrays that came without ids.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The text to show: never a byte-level or word-boundary alias such as `Ġ` or `▁`.
    pub text: String,
    /// The bytes of [`Tokens::text`] that the token covers; `None` for tokens that are not in the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Range<usize>>,
    /// What the token is to the model.
    #[serde(default)]
    pub role: TokenRole,
    /// The index of the word the token belongs to; pieces of one word share it. `None` for tokens outside words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<usize>,
}

impl Token {
    /// A token with a label and nothing else known.
    pub fn labelled(text: impl Into<String>) -> Token {
        Token { id: None, text: text.into(), span: None, role: TokenRole::Text, word: None }
    }

    /// Whether the token is a piece of the text.
    pub fn is_text(&self) -> bool {
        self.role == TokenRole::Text
    }
}

/// A sequence of tokens and the text they were cut from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tokens {
    /// The text before tokenization; empty where only ids or labels are known.
    #[serde(default)]
    pub text: String,
    /// The tokens, in order, padding included.
    pub tokens: Vec<Token>,
}

impl Tokens {
    /// Tokens that are labels only; each is a word of its own.
    pub fn from_labels<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Tokens {
        let tokens = labels
            .into_iter()
            .enumerate()
            .map(|(index, label)| Token { word: Some(index), ..Token::labelled(label) })
            .collect();
        Tokens { text: String::new(), tokens }
    }

    /// The places along an axis of `n` places that are not padding, rising; all of them where there are no tokens.
    pub fn unpadded(&self, n: usize) -> Vec<usize> {
        let is_padding = |place: &usize| self.tokens.get(*place).is_some_and(|token| token.role == TokenRole::Padding);
        (0..n).filter(|place| !is_padding(place)).collect()
    }

    /// How many tokens there are, padding included.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The numbers of the tokens that are not padding; all, where there are no tokens.
    pub(crate) fn without_padding<T: Copy>(&self, numbers: &[T]) -> Vec<T> {
        let is_real = |at: usize| self.tokens.get(at).is_none_or(|token| token.role != TokenRole::Padding);
        numbers.iter().enumerate().filter(|(at, _)| is_real(*at)).map(|(_, number)| *number).collect()
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The labels to show.
    pub fn labels(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tokens.iter().map(|token| token.text.as_str())
    }

    /// The token indices of each word, and of each token outside words on its own; in order of appearance. A word ends where a
    /// token of another role begins, whatever number that has.
    pub fn words(&self) -> Vec<Range<usize>> {
        let mut words: Vec<Range<usize>> = Vec::new();
        for (index, token) in self.tokens.iter().enumerate() {
            let is_next_piece =
                |last: &Token| token.word.is_some() && (token.word, token.role) == (last.word, last.role);
            let continues = index.checked_sub(1).is_some_and(|last| is_next_piece(&self.tokens[last]));
            match words.last_mut() {
                Some(word) if continues => word.end = index + 1,
                _ => words.push(index..index + 1),
            }
        }
        words
    }
}

/// How the patches of an image lie in it, where tokens are patches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchGrid {
    /// The token of the top left patch; the others follow row by row. Tokens before it stand for no place (`CLS`).
    pub first: usize,
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub columns: usize,
    /// Width and height of the image file, upright, in pixels; `None` where no image is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// The part of the image that the patches cover: left, top, width, height, in pixels of the file; the whole image where
    /// it is not known. It begins before the image and ends behind it where black was put around one that was too small.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<[i64; 4]>,
}

impl PatchGrid {
    /// How many patches there are.
    pub fn n_patches(&self) -> usize {
        self.rows.saturating_mul(self.columns)
    }

    /// The tokens that are patches.
    pub fn tokens(&self) -> Range<usize> {
        self.first..self.first.saturating_add(self.n_patches())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_one_word_are_grouped_and_special_tokens_stand_alone() {
        let mut tokens = Tokens::from_labels(["un", "believ", "able", "</s>"]);
        for token in &mut tokens.tokens[..3] {
            token.word = Some(0);
        }
        tokens.tokens[3].word = None;
        assert_eq!(tokens.words(), vec![0..3, 3..4]);
        tokens.tokens[2].role = TokenRole::Padding;
        assert_eq!(tokens.words(), vec![0..2, 2..3, 3..4], "padding is no piece of a word, though it has its number");
    }
}
