//! What the heads do with a text, in a few sentences, each with its number.
//!
//! Rules choose the sentences; docs/describe.md lists them with their thresholds. A number is one that a measure gives, or a count
//! of heads or words by such numbers.

mod absent;
mod heads;
mod layers;
mod targets;
mod word_order;

use serde::Serialize;

use super::{HeadSums, MIN_SCORES, Measure, Score};
use crate::printable::printable;
use crate::{Error, HeadId, Kind, Recording, Token};

/// Stands under the sentences wherever they are shown.
pub const CAPTION: &str = "Attention is where a head looks, not why the model answers as it does.";

/// Sentences at most; the last is the one on what could not be measured.
pub const MAX_SENTENCES: usize = 10;

/// Characters of a token that are quoted at most.
const MAX_QUOTED: usize = 24;

/// One sentence, what it is about, and its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sentence {
    /// The sentence. Tokens in it are quoted, and safe to show.
    #[serde(rename = "sentence")]
    pub text: String,
    /// The kind of attention it is about; `None` of all together.
    pub kind: Option<Kind>,
    /// The layer to look at.
    pub layer: Option<usize>,
    /// The head to look at.
    pub head: Option<usize>,
    /// The measure that its first number is of.
    pub measure: Option<&'static str>,
    /// The numbers in it, unrounded, in their order.
    pub numbers: Vec<Number>,
}

/// A number of a sentence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Number {
    /// What it is: `score`, `baseline`, `low`, `high` and `n_rows` are the fields of the row that tables of scores have for the
    /// sentence's head and measure; others say what they are: `layer 0`, `heads`, `crossing words`.
    pub name: String,
    /// The number. A share stands in the sentence as a percentage, or as "5 of 7".
    pub value: f64,
}

/// How much a sentence tells: the smaller comes first, and the largest are left out where there are too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Broken,
    WordOrder,
    Words,
    Classes,
    Copies,
    Sink,
    Distance,
    End,
    Recency,
    Local,
    NoCopies,
    Absent,
}

/// A sentence and how much it tells.
type Ranked = (Rank, Sentence);

/// The heads of one kind of attention, those whose weights are all numbers.
struct OfKind<'a> {
    recording: &'a Recording,
    item: usize,
    kind: Kind,
    heads: Vec<&'a HeadSums>,
}

/// Says what `heads` do with text `item` in at most [`MAX_SENTENCES`] sentences, the most telling first. Each has a number.
///
/// `heads` are those that [`measure_with`](super::measure_with) finds on the same text; fewer of them, such as those of one kind, are described
/// alone.
///
/// # Errors
/// [`Error::NoItem`] when the recording has no such text.
pub fn describe(recording: &Recording, item: usize, heads: &[HeadSums]) -> Result<Vec<Sentence>, Error> {
    if item >= recording.items.len() {
        return Err(Error::NoItem { item, n_items: recording.items.len() });
    }
    if heads.is_empty() {
        return Ok(vec![absent::no_heads()]);
    }
    let mut found: Vec<Ranked> = Vec::new();
    for kind in [Kind::Cross, Kind::Encoder, Kind::Decoder] {
        let all: Vec<&HeadSums> = heads.iter().filter(|head| head.kind == kind).collect();
        found.extend(absent::broken(kind, &all));
        let sound = all.into_iter().filter(|head| !head.is_broken()).collect();
        found.extend(OfKind { recording, item, kind, heads: sound }.sentences()?);
    }
    let last = absent::not_measured(heads);
    found.sort_by_key(|(rank, _)| *rank);
    found.truncate(MAX_SENTENCES - last.iter().len());
    found.extend(last);
    Ok(found.into_iter().map(|(_, sentence)| sentence).collect())
}

impl OfKind<'_> {
    fn sentences(&self) -> Result<Vec<Ranked>, Error> {
        if self.heads.is_empty() {
            return Ok(Vec::new());
        }
        let mut sentences = word_order::sentences(self)?;
        let classes = heads::classes(self);
        let is_news = |(_, one): &Ranked| {
            let about = |one: &Sentence| (one.layer, one.head, one.measure);
            classes.as_ref().is_none_or(|(_, classes)| about(classes) != about(one))
        };
        sentences.extend(
            [heads::local(self), targets::copies(self), targets::sink(self)].into_iter().flatten().filter(is_news),
        );
        sentences.extend(classes);
        sentences.extend(heads::recency(self));
        sentences.extend(targets::end(self));
        sentences.extend(layers::distance(self)?);
        Ok(sentences)
    }

    /// How a sentence about this kind begins.
    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Encoder => "Encoder",
            Kind::Decoder => "Decoder",
            Kind::Cross => "Cross-attention",
        }
    }

    /// The keys' tokens, padding included.
    fn key_tokens(&self) -> &[Token] {
        let item = &self.recording.items[self.item];
        self.recording.layers_of(self.kind).next().map_or(&[], |layer| &layer.key_tokens(item).tokens)
    }

    /// The head with the highest score under a measure, the first of equals.
    fn best(&self, measure: &str) -> Option<(HeadId, Score)> {
        let scores = self.heads.iter().filter_map(|head| Some((head.head, head.score(measure)?)));
        scores.reduce(|best, next| if next.1.value > best.1.value { next } else { best })
    }

    /// How many heads are named by a measure.
    fn n_named(&self, measure: &Measure) -> usize {
        self.heads.iter().filter(|head| head.score(measure.name).is_some_and(|score| measure.names(&score))).count()
    }

    /// A sentence about this kind, and about a head of it.
    fn sentence(&self, text: String, head: Option<HeadId>, measure: &'static str, numbers: Vec<Number>) -> Sentence {
        let (layer, head) = (head.map(|head| head.layer), head.map(|head| head.head));
        Sentence { text, kind: Some(self.kind), layer, head, measure: Some(measure), numbers }
    }
}

impl Number {
    fn new(name: impl Into<String>, value: f64) -> Number {
        Number { name: name.into(), value }
    }

    fn count(name: impl Into<String>, n: usize) -> Number {
        Number::new(name, n as f64)
    }

    /// The fields that tables of scores have, of what there is.
    fn of(score: &Score) -> Vec<Number> {
        let interval = score.interval;
        let fields = [
            ("score", Some(score.value)),
            ("baseline", score.baseline),
            ("low", interval.map(|(low, _)| low)),
            ("high", interval.map(|(_, high)| high)),
            ("n_rows", Some(score.n as f64)),
        ];
        fields.into_iter().filter_map(|(name, value)| Some(Number::new(name, value?))).collect()
    }
}

/// `41 %`.
fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A token's text in quotes, harmless and not too long; the end of a longer one is left out.
fn quoted(text: &str) -> String {
    let shown = printable(text.trim());
    let clipped: String = shown.chars().take(MAX_QUOTED).collect();
    let rest = if clipped.len() < shown.len() { "…" } else { "" };
    format!("“{clipped}{rest}”")
}

/// `a`, `a and b`, `a, b and c`; of more than `n` the first, and how many more there are.
fn listed(names: &[String], n: usize) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        all if all.len() > n => format!("{} and {} more", all[..n].join(", "), all.len() - n),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::analysis::measure;

    /// What is said of the one text of a recording.
    pub fn said(recording: &Recording) -> Vec<Sentence> {
        let heads = measure(recording, 0).expect("the text exists");
        describe(recording, 0, &heads).expect("the text exists")
    }

    #[test]
    fn every_sentence_has_a_number_and_there_are_ten_at_most() {
        let weights: Vec<f32> = (0..2 * 144).map(|cell| (cell * 31 % 12) as f32 / 66.0).collect();
        for kind in Kind::ALL {
            let mut recording = recording(kind, weights.clone(), 12, 12);
            (recording.layers[0].shape.n_heads, recording.layers[0].shape.n_kv_heads) = (2, 2);
            let sentences = said(&recording);
            assert!((2..=MAX_SENTENCES).contains(&sentences.len()), "{sentences:#?}");
            for Sentence { text, numbers, .. } in &sentences {
                assert!(!numbers.is_empty() && text.contains(|sign: char| sign.is_ascii_digit()), "{text}");
                assert!(numbers.iter().all(|number| number.value.is_finite()), "{numbers:?}");
            }
        }
    }

    #[test]
    fn a_token_is_quoted_without_what_a_terminal_obeys_and_a_long_one_is_clipped() {
        assert_eq!(quoted(" red"), "“red”");
        assert_eq!(quoted("\u{1b}[31m\u{202e}"), "“␛[31m⟨U+202E⟩”");
        assert_eq!(quoted(&"é".repeat(40)), format!("“{}…”", "é".repeat(24)));
    }

    #[test]
    fn a_list_says_how_many_it_leaves_out() {
        let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!([1, 2, 3, 4].map(|n| listed(&names[..n], 3)), ["a", "a and b", "a, b and c", "a, b, c and 1 more"]);
    }

    #[test]
    fn a_text_that_does_not_exist_is_refused() {
        let recording = recording(Kind::Encoder, vec![1.0], 1, 1);
        assert!(matches!(describe(&recording, 1, &[]), Err(Error::NoItem { item: 1, n_items: 1 })));
    }
}
