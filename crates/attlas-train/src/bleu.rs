//! BLEU of a corpus (Papineni et al. 2002), with the tokenisation and smoothing that sacrebleu uses by default.
//!
//! Signature: `case:mixed|eff:no|tok:13a|smooth:exp` (Post 2018). Several references per sentence: n-gram counts are clipped
//! by the largest count in any of them, the brevity penalty takes the reference length that is closest.

use std::collections::BTreeMap;

/// How sacrebleu would describe these scores.
pub const SIGNATURE: &str = "case:mixed|eff:no|tok:13a|smooth:exp";

/// The longest n-gram.
const MAX_ORDER: usize = 4;

/// A hypothesis and its references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// What the model wrote.
    pub hypothesis: String,
    /// What people wrote; one or more.
    pub references: Vec<String>,
}

/// BLEU of a corpus, 0 to 100; 0 for a corpus without a common word.
pub fn corpus(sentences: &[Sentence]) -> f64 {
    let mut matches = [0usize; MAX_ORDER];
    let mut totals = [0usize; MAX_ORDER];
    let (mut hypothesis_length, mut reference_length) = (0usize, 0usize);
    for sentence in sentences {
        let hypothesis = tokens(&sentence.hypothesis);
        let references: Vec<Vec<String>> = sentence.references.iter().map(|text| tokens(text)).collect();
        hypothesis_length += hypothesis.len();
        // the closest length, the shorter of two equally close ones
        let closest = references.iter().map(Vec::len).min_by_key(|length| (length.abs_diff(hypothesis.len()), *length));
        reference_length += closest.unwrap_or(0);
        for order in 1..=MAX_ORDER {
            let mut limits: BTreeMap<&[String], usize> = BTreeMap::new();
            for reference in &references {
                for (gram, count) in n_grams(reference, order) {
                    let limit = limits.entry(gram).or_default();
                    *limit = count.max(*limit);
                }
            }
            for (gram, count) in n_grams(&hypothesis, order) {
                matches[order - 1] += count.min(limits.get(gram).copied().unwrap_or(0));
                totals[order - 1] += count;
            }
        }
    }
    score(matches, totals, hypothesis_length, reference_length)
}

/// The geometric mean of the precisions times the brevity penalty.
fn score(
    matches: [usize; MAX_ORDER],
    totals: [usize; MAX_ORDER],
    hypothesis_length: usize,
    reference_length: usize,
) -> f64 {
    if matches[0] == 0 || totals.contains(&0) {
        return 0.0;
    }
    let mut smoothing = 1.0;
    let mut sum_of_logs = 0.0;
    for (matches, total) in matches.into_iter().zip(totals) {
        let precision = if matches > 0 {
            100.0 * matches as f64 / total as f64
        } else {
            smoothing *= 2.0;
            100.0 / (smoothing * total as f64)
        };
        sum_of_logs += precision.ln();
    }
    let brevity = if hypothesis_length >= reference_length {
        1.0
    } else {
        (1.0 - reference_length as f64 / hypothesis_length as f64).exp()
    };
    brevity * (sum_of_logs / MAX_ORDER as f64).exp()
}

/// How often each n-gram occurs.
fn n_grams(tokens: &[String], order: usize) -> BTreeMap<&[String], usize> {
    let mut counts = BTreeMap::new();
    for gram in tokens.windows(order) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

/// The tokenisation of NIST's mteval-v13a: ASCII punctuation apart, but `.` and `,` stay inside numbers, and `-` is
/// cut off only after a digit.
pub fn tokens(text: &str) -> Vec<String> {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let characters: Vec<char> = format!(" {text} ").chars().collect();
    let mut spaced = String::with_capacity(2 * text.len());
    for (index, character) in characters.iter().copied().enumerate() {
        let before = index.checked_sub(1).map(|before| characters[before]);
        let after = characters.get(index + 1).copied();
        let digit = |neighbour: Option<char>| neighbour.is_some_and(|neighbour| neighbour.is_ascii_digit());
        let (space_before, space_after) = match character {
            '.' | ',' => (!digit(before), !digit(before) || !digit(after)),
            '-' => (digit(before), digit(before)),
            '\'' => (false, false),
            other if other.is_ascii_punctuation() => (true, true),
            _ => (false, false),
        };
        // a point between a digit and something else is cut on both sides
        let space_before = space_before || (matches!(character, '.' | ',') && !digit(after));
        if space_before {
            spaced.push(' ');
        }
        spaced.push(character);
        if space_after {
            spaced.push(' ');
        }
    }
    spaced.split_whitespace().map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(hypothesis: &str, references: &[&str]) -> Sentence {
        Sentence { hypothesis: hypothesis.to_string(), references: references.iter().map(|r| r.to_string()).collect() }
    }

    #[test]
    fn the_same_words_score_100_and_none_in_common_0() {
        assert!(
            (corpus(&[sentence("le chat est sur la table .", &["le chat est sur la table ."])]) - 100.0).abs() < 1e-9
        );
        assert_eq!(corpus(&[sentence("un deux trois quatre", &["le chat est là"])]), 0.0);
        assert_eq!(corpus(&[]), 0.0);
    }

    #[test]
    fn a_score_by_hand() {
        // 4 of 5 words, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples; same length
        let by_hand = 100.0 * (4.0 / 5.0 * 3.0 / 4.0 * 2.0 / 3.0 * 1.0 / 2.0f64).powf(0.25);
        let score = corpus(&[sentence("a b c d x", &["a b c d e"])]);
        assert!((score - by_hand).abs() < 1e-9, "{score} for {by_hand}");
    }

    #[test]
    fn a_second_reference_helps_and_a_short_hypothesis_pays() {
        let one = corpus(&[sentence("a b c d e", &["a b c d x"])]);
        let two = corpus(&[sentence("a b c d e", &["a b c d x", "x b c d e"])]);
        assert!(two > one);
        let short = corpus(&[sentence("a b c d", &["a b c d e f g h"])]);
        assert!((short - 100.0 * (-1.0f64).exp()).abs() < 1e-9);
    }

    #[test]
    fn punctuation_stands_apart_but_numbers_stay_whole() {
        assert_eq!(tokens("Qu'est-ce que c'est ?"), ["Qu'est-ce", "que", "c'est", "?"]);
        assert_eq!(tokens("Il a 3.5 km, non."), ["Il", "a", "3.5", "km", ",", "non", "."]);
        assert_eq!(tokens("de 1990-2000!"), ["de", "1990", "-", "2000", "!"]);
    }
}
