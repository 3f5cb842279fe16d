//! The texts and tokens where a head does its thing most.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::TextId;
use crate::AttentionMap;
use crate::analysis::{Annotations, Columns, MAX_WEIGHTS, MIN_SCORES, Measure, Reads, Rows, Sums};

/// Examples kept of each head and measure.
pub const MAX_EXAMPLES: usize = 5;
/// Characters of a text that are kept.
const MAX_CHARACTERS: usize = 200;

/// A text in which a head scores high.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The head's mean score over the text, to nine digits.
    pub score: f64,
    /// The text, or its beginning.
    pub text: String,
    /// The hash of all of it, in hexadecimal.
    pub id: String,
    /// Where in it the score is highest, for measures that score each row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A row with a high score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The row's score.
    pub score: f64,
    /// Which query, counted from 0.
    pub query: usize,
    /// Its token.
    pub query_token: String,
    /// The key it looks at most.
    pub key: usize,
    /// That key's token.
    pub key_token: String,
}

/// The examples with the highest scores: of equals those whose hash is smaller, each text once. Merging is commutative and
/// associative.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples(Vec<Example>);

impl Example {
    /// A text with its score; its place is still to be found.
    pub(super) fn new(id: TextId, text: &str, score: f64) -> Example {
        Example { score, text: excerpt(text), id: id.hex(), place: None }
    }
}

impl Place {
    /// The row of a map that scores highest, the first of equals; `None` where no row scores.
    pub fn of(map: &AttentionMap<'_>, measure: &Measure, variant: usize, annotations: &Annotations) -> Option<Place> {
        let mut best: Option<(f64, usize, usize)> = None;
        let columns = Arc::new(Columns::of(map, annotations));
        Rows::with_columns(map, columns, MAX_WEIGHTS).for_each(|row| {
            let Some(sample) = measure.sample(row, variant) else { return };
            let Some(key) = crate::analysis::argmax(row.weights) else { return };
            if best.is_none_or(|(highest, ..)| sample.score > highest) {
                best = Some((sample.score, row.query, key));
            }
        });
        let (score, query, key) = best.filter(|(score, ..)| score.is_finite())?;
        let label = |tokens: &crate::Tokens, at: usize| tokens.tokens.get(at).map_or(String::new(), |t| t.text.clone());
        let (query_token, key_token) = (label(map.query_tokens(), query), label(map.key_tokens(), key));
        Some(Place { score: rounded(score), query, query_token, key, key_token })
    }
}

impl Examples {
    /// The examples, best first.
    pub fn as_slice(&self) -> &[Example] {
        &self.0
    }

    /// Examples that were kept, such as those read from a file.
    pub fn from_kept(kept: Vec<Example>) -> Examples {
        let mut examples = Examples::default();
        examples.merge(Examples(kept));
        examples
    }

    /// The score of a text, if it is among the highest.
    pub(super) fn wants(&self, id: TextId, sums: &Sums, measure: &Measure) -> Option<f64> {
        let is_enough = sums.n >= MIN_SCORES || matches!(measure.reads, Reads::Whole(_));
        let score = sums.mean().filter(|_| is_enough).map(rounded)?;
        // the last of a full list is the one to beat
        let last = if self.0.len() < MAX_EXAMPLES { None } else { self.0.last() };
        if last.is_some_and(|last| score < last.score) {
            return None;
        }
        let id = id.hex();
        let is_behind = last.is_some_and(|last| score == last.score && id >= last.id);
        let is_known = self.0.iter().any(|known| known.id == id && known.score >= score);
        (!is_behind && !is_known).then_some(score)
    }

    /// Takes in an example.
    pub(super) fn add(&mut self, example: Example) {
        self.merge(Examples(vec![example]));
    }

    /// The example of a text, if it is among them.
    pub(super) fn get_mut(&mut self, id: TextId) -> Option<&mut Example> {
        let id = id.hex();
        self.0.iter_mut().find(|example| example.id == id)
    }

    /// Takes in other examples.
    pub(super) fn merge(&mut self, other: Examples) {
        self.0.extend(other.0);
        self.0.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        let mut seen: Vec<String> = Vec::new();
        self.0.retain(|example| {
            let is_new = seen.len() < MAX_EXAMPLES && !seen.contains(&example.id);
            if is_new {
                seen.push(example.id.clone());
            }
            is_new
        });
    }
}

/// A score to nine digits after the point: read from decimal text, it is the same number again.
fn rounded(score: f64) -> f64 {
    (score * 1e9).round() / 1e9
}

/// The beginning of a text.
fn excerpt(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples(kept: &[(f64, &str)]) -> Examples {
        let example =
            |(score, id): &(f64, &str)| Example { score: *score, text: (*id).into(), id: (*id).into(), place: None };
        Examples::from_kept(kept.iter().map(example).collect())
    }

    fn ids(examples: &Examples) -> Vec<&str> {
        examples.as_slice().iter().map(|example| example.id.as_str()).collect()
    }

    #[test]
    fn the_highest_five_are_kept_each_text_once_and_equals_by_their_hash() {
        let kept = examples(&[(0.5, "c"), (0.9, "f"), (0.5, "a"), (0.7, "b"), (0.5, "d"), (0.1, "e"), (0.7, "b")]);
        assert_eq!(ids(&kept), ["f", "b", "a", "c", "d"]);
    }

    #[test]
    fn parts_merge_to_the_same_examples_in_any_order() {
        let all: Vec<(f64, String)> =
            (0..40).map(|n| (f64::from(n * 7 % 5) / 5.0, format!("{:02}", n * 3 % 31))).collect();
        let part = |range: std::ops::Range<usize>| {
            examples(&all[range].iter().map(|(score, id)| (*score, id.as_str())).collect::<Vec<_>>())
        };
        let whole = part(0..40);
        for cuts in [[0, 13, 20, 40], [0, 1, 39, 40]] {
            let mut parts: Vec<Examples> = cuts.windows(2).map(|cut| part(cut[0]..cut[1])).collect();
            for _ in 0..3 {
                parts.rotate_left(1);
                let mut merged = Examples::default();
                parts.iter().for_each(|part| merged.merge(part.clone()));
                assert_eq!(merged, whole);
            }
        }
    }

    #[test]
    fn a_long_text_is_kept_by_its_beginning() {
        let kept = excerpt(&"é".repeat(300));
        assert_eq!((kept.chars().count(), kept.ends_with('…')), (201, true));
    }
}
