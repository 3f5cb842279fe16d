//! The words of a tree on the tokens of a text, and a map's rows between such words, gathered without the map.

use std::ops::Range;

use super::{Row, Rows};
use crate::conllu::Sentence;
use crate::{Error, Tokens};

/// The words of a sentence as the tokens that cover them.
///
/// Words that share a token, or that are written as one, cannot be told apart: together they are one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeWords {
    /// The tokens of each unit, in the order of the text. Shape `[n_units]`.
    tokens: Vec<Range<usize>>,
    /// The unit of each token, `None` for special tokens and padding. Shape `[n_tokens]`.
    unit_of_token: Vec<Option<usize>>,
    /// The unit of each word of the sentence; `None` for one that no token covers. Shape `[n_words]`.
    unit_of_word: Vec<Option<usize>>,
}

impl TreeWords {
    /// Finds the tokens of each word by the bytes of the text that they cover.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the tokens are of another text than the sentence, or do not follow its order; the message
    /// names the sentence.
    pub fn of(sentence: &Sentence, tokens: &Tokens) -> Result<TreeWords, Error> {
        check_text(sentence, &tokens.text)?;
        let spans: Vec<&Range<usize>> = sentence.words.iter().map(|word| &word.span).collect();
        let mut words_of_token = vec![None; tokens.len()]; // [n_tokens]
        for (token, words) in tokens.tokens.iter().zip(&mut words_of_token) {
            let Some(span) = token.span.as_ref().filter(|_| token.is_text()) else { continue };
            // spans rise, and neighbours may be equal
            let first = spans.partition_point(|word| word.end <= span.start);
            let end = spans.partition_point(|word| word.start < span.end);
            *words = (first < end && !span.is_empty()).then_some(first..end);
        }
        let starts = unit_starts(&spans, &words_of_token);
        let unit_of = |word: usize| starts.partition_point(|start| *start <= word) - 1;
        let mut words = TreeWords {
            tokens: vec![0..0; starts.len()],
            unit_of_token: words_of_token
                .iter()
                .map(|words| words.as_ref().map(|words| unit_of(words.start)))
                .collect(),
            unit_of_word: Vec::new(),
        };
        words.gather(sentence)?;
        words.number(unit_of, sentence.words.len());
        Ok(words)
    }

    /// How many units there are, each of one token or more.
    pub fn n_units(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of a unit.
    pub fn tokens(&self, unit: usize) -> Range<usize> {
        self.tokens[unit].clone()
    }

    /// The unit of a word of the sentence; `None` for a word that no token covers.
    pub fn unit(&self, word: usize) -> Option<usize> {
        self.unit_of_word[word]
    }

    /// The phrase around each token; see [`phrases`](super::syntax::phrases).
    pub(super) fn phrases(&self, sentence: &Sentence, n_tokens: usize) -> Vec<Option<Range<usize>>> {
        let n = self.n_units();
        // a unit hangs where the first of its words hangs whose head is another unit
        let mut heads = vec![None; n]; // [n_units]
        for (index, word) in sentence.words.iter().enumerate() {
            let units = self.unit(index).zip(word.head.and_then(|head| self.unit(head)));
            if let Some((unit, head)) = units.filter(|(unit, head)| unit != head) {
                heads[unit] = heads[unit].or(Some(head));
            }
        }
        let subtrees = subtrees(&heads);
        let mut phrases = vec![None; n_tokens]; // [n_tokens]
        for unit in 0..n {
            let is_phrase = |units: &&Range<usize>| units.len() > 1;
            let own = Some(&subtrees[unit]).filter(is_phrase);
            let phrase = own.or_else(|| Some(&subtrees[heads[unit]?]).filter(is_phrase));
            if let Some(units) = phrase.filter(|units| units.len() < n) {
                let tokens = self.tokens(units.start).start..self.tokens(units.end - 1).end;
                phrases[self.tokens(unit)].fill(Some(tokens));
            }
        }
        phrases
    }

    /// Finds the tokens of each unit.
    fn gather(&mut self, sentence: &Sentence) -> Result<(), Error> {
        let mut last = 0;
        for (token, unit) in self.unit_of_token.iter().enumerate() {
            let Some(unit) = *unit else { continue };
            if unit < last {
                let message = format!("{}: token {token} stands before the tokens before it", sentence.name());
                return Err(Error::Inconsistent(message));
            }
            last = unit;
            let tokens = &mut self.tokens[unit];
            *tokens = if tokens.start == tokens.end { token..token + 1 } else { tokens.start..token + 1 };
        }
        Ok(())
    }

    /// Leaves out the units that no token covers, and says which unit each word is in.
    fn number(&mut self, unit_of: impl Fn(usize) -> usize, n_words: usize) {
        let mut n_units = 0;
        let mut number = |tokens: &Range<usize>| {
            let is_covered = !tokens.is_empty();
            n_units += usize::from(is_covered);
            is_covered.then(|| n_units - 1)
        };
        let numbers: Vec<Option<usize>> = self.tokens.iter().map(&mut number).collect();
        self.unit_of_word = (0..n_words).map(|word| numbers[unit_of(word)]).collect();
        self.unit_of_token.iter_mut().flatten().for_each(|unit| *unit = numbers[*unit].unwrap_or(*unit));
        self.tokens.retain(|tokens| !tokens.is_empty());
    }
}

/// The subtree of each node that hangs on one of `heads`, from its first node to its last. Nodes that hang on each other in a
/// circle, which words written as one can make, are no part of another's. Shape `[heads.len()]`.
fn subtrees(heads: &[Option<usize>]) -> Vec<Range<usize>> {
    let mut subtrees: Vec<Range<usize>> = (0..heads.len()).map(|node| node..node + 1).collect();
    let mut n_waiting = vec![0; heads.len()]; // children whose subtree is not known
    heads.iter().flatten().for_each(|head| n_waiting[*head] += 1);
    let mut known: Vec<usize> = (0..heads.len()).filter(|node| n_waiting[*node] == 0).collect();
    while let Some(node) = known.pop() {
        let Some(head) = heads[node] else { continue };
        let own = subtrees[node].clone();
        let subtree = &mut subtrees[head];
        *subtree = subtree.start.min(own.start)..subtree.end.max(own.end);
        n_waiting[head] -= 1;
        if n_waiting[head] == 0 {
            known.push(head);
        }
    }
    subtrees
}

/// The first word of each unit: a word begins one unless it shares its place, or a token, with the word before it.
fn unit_starts(spans: &[&Range<usize>], words_of_token: &[Option<Range<usize>>]) -> Vec<usize> {
    let mut continues: Vec<bool> = (0..spans.len()).map(|word| word > 0 && spans[word] == spans[word - 1]).collect(); // [n_words]
    for words in words_of_token.iter().flatten() {
        continues[words.start + 1..words.end].fill(true);
    }
    (0..spans.len()).filter(|word| !continues[*word]).collect()
}

/// Refuses tokens of another text.
fn check_text(sentence: &Sentence, text: &str) -> Result<(), Error> {
    if sentence.text == text {
        return Ok(());
    }
    let n_common = sentence.text.chars().zip(text.chars()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str| match text.chars().skip(n_common).take(20).collect::<String>() {
        rest if rest.is_empty() => "ends".to_owned(),
        rest => format!("goes on \"{rest}\""),
    };
    Err(Error::Inconsistent(format!(
        "{}: the tree is not of this text: after {n_common} characters the tree's text {}, the other {}",
        sentence.name(),
        rest(&sentence.text),
        rest(text)
    )))
}

/// What a unit looks at.
#[derive(Debug)]
pub struct WordRow<'a> {
    /// The unit.
    pub unit: usize,
    /// The weight on each unit: the sum over its tokens, the mean over the tokens of this one (Clark et al. 2019, §4.1). What
    /// is missing to 1 lies on special tokens. Shape `[n_units]`.
    pub weights: &'a [f64],
    /// Whether all weights of its tokens' rows are finite numbers, those on special tokens included.
    pub is_finite: bool,
}

/// Reads the rows of a map between the units of a text, in rising order: each unit's when all its tokens are read. `also` sees
/// the row of every token. Holds a row, whatever the length of the text.
pub fn for_each_word_row(
    rows: &Rows<'_>,
    words: &TreeWords,
    mut also: impl FnMut(&Row<'_>),
    mut read: impl FnMut(&WordRow<'_>),
) {
    let mut weights = vec![0.0; words.n_units()]; // [n_units]
    let (mut n_rows, mut is_finite) = (0, true);
    rows.for_each(|row| {
        also(row);
        let Some(unit) = words.unit_of_token.get(row.position).copied().flatten() else { return };
        for (key_unit, weight) in words.unit_of_token.iter().zip(row.weights) {
            key_unit.iter().for_each(|key_unit| weights[*key_unit] += f64::from(*weight));
        }
        n_rows += 1;
        is_finite &= row.weights.iter().all(|weight| weight.is_finite());
        if row.position + 1 == words.tokens[unit].end {
            weights.iter_mut().for_each(|weight| *weight /= f64::from(n_rows));
            read(&WordRow { unit, weights: &weights, is_finite });
            weights.fill(0.0);
            (n_rows, is_finite) = (0, true);
        }
    });
}

/// The unit with the largest weight but for one, the first of equals; `None` where all weights are 0.
pub(super) fn argmax_but(weights: &[f64], but: usize) -> Option<usize> {
    let mut best = None;
    let mut largest = 0.0;
    for (unit, weight) in weights.iter().enumerate() {
        if unit != but && *weight > largest {
            (best, largest) = (Some(unit), *weight);
        }
    }
    best
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::super::rows::tests::recording;
    use super::*;
    use crate::conllu::Sentences;
    use crate::{Kind, Token, TokenRole};

    /// A sentence of words given as `form head relation`, separated by spaces in its text.
    pub fn sentence(words: &[(&str, &str, &str)]) -> Sentence {
        let line = |(index, (form, head, relation)): (usize, &(&str, &str, &str))| {
            format!("{}\t{form}\t_\tNOUN\t_\t_\t{head}\t{relation}\t_\t_\n", index + 1)
        };
        let file: String = words.iter().enumerate().map(line).collect();
        let mut sentences = Sentences::read(file.as_bytes(), Path::new("test"));
        sentences.next().expect("a sentence").expect("it is one")
    }

    /// Tokens of a text by their spans, the special `[CLS]` before them.
    pub fn tokens(text: &str, spans: &[Range<usize>]) -> Tokens {
        let special = Token { role: TokenRole::Special, ..Token::labelled("[CLS]") };
        let token = |span: &Range<usize>| Token { span: Some(span.clone()), ..Token::labelled(&text[span.clone()]) };
        Tokens { text: text.into(), tokens: [special].into_iter().chain(spans.iter().map(token)).collect() }
    }

    #[test]
    fn a_subtree_reaches_from_its_first_word_to_its_last() {
        // 0 ← 1, 1 ← 4, 2 and 3 on each other, 5 alone
        let found = subtrees(&[None, Some(0), Some(3), Some(2), Some(1), None]);
        assert_eq!(found, [0..5, 1..5, 2..3, 3..4, 4..5, 5..6]);
    }

    #[test]
    fn words_that_share_a_token_are_one_unit_and_pieces_of_a_word_too() {
        let sentence = sentence(&[("I", "2", "nsubj"), ("can't", "0", "root"), ("go", "2", "x"), ("é", "3", "x")]);
        // "I can" is one token, "'t" the rest of the second word; the last word has none
        let tokens = tokens("I can't go é", &[0..5, 5..7, 7..10]);
        let words = TreeWords::of(&sentence, &tokens).expect("they are of the sentence");
        assert_eq!((words.n_units(), words.tokens(0), words.tokens(1)), (2, 1..3, 3..4));
        assert_eq!([0, 1, 2, 3].map(|word| words.unit(word)), [Some(0), Some(0), Some(1), None]);
    }

    #[test]
    fn tokens_of_another_text_are_refused_with_sentence_and_place() {
        let mut tree = sentence(&[("Good", "2", "amod"), ("morning", "0", "root")]);
        tree.id = "s7".into();
        let message = |text: &str| TreeWords::of(&tree, &tokens(text, &[])).unwrap_err().to_string();
        let start = "sentence s7: the tree is not of this text: after 5 characters the tree's text goes on \"morning\", the other";
        assert_eq!(message("Good evening"), format!("{start} goes on \"evening\""));
        assert_eq!(message("Good "), format!("{start} ends"));
        let backwards = TreeWords::of(&tree, &tokens("Good morning", &[5..12, 0..4])).unwrap_err().to_string();
        assert_eq!(backwards, "sentence s7: token 2 stands before the tokens before it");
    }

    #[test]
    fn weights_are_summed_over_a_words_keys_and_averaged_over_its_queries() {
        let sentence = sentence(&[("un", "2", "det"), ("chaton", "0", "root")]);
        let mut recording = recording(
            Kind::Encoder,
            vec![
                0.7, 0.1, 0.1, 0.1, //
                0.4, 0.1, 0.2, 0.3, //
                0.2, 0.4, 0.3, 0.1, //
                0.0, 0.2, 0.2, 0.6,
            ],
            4,
            4,
        );
        recording.items[0].source = tokens("un chaton", &[0..2, 3..6, 6..9]);
        let words = TreeWords::of(&sentence, &recording.items[0].source).expect("they are of the sentence");
        let map = recording.map(0, Kind::Encoder, 0, 0).expect("the head exists");
        let mut rows = Vec::new();
        for_each_word_row(&Rows::of(&map), &words, |_| (), |row| rows.push((row.unit, row.weights.to_vec())));
        let expected = [(0, [0.1, 0.5]), (1, [0.3, 0.6])];
        for ((unit, weights), (expected_unit, expected)) in rows.iter().zip(expected) {
            assert_eq!(*unit, expected_unit);
            assert!(weights.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{weights:?}");
        }
        assert_eq!(rows.len(), 2);
    }
}
