//! Coreference: does a mention look at what it stands for more than at a distractor?

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval_of_share;
use super::sums::refuse_other_heads;
use super::syntax::{MARGIN, MIN_WORDS};
use super::{Sample, Sums};
use crate::conllu::{Sentence, note};
use crate::{AttentionMap, Error, HeadId, Kind, Layer, Recording, Tokens};

/// Mentions of a sentence at most.
const MAX_MENTIONS: usize = 1000;

/// A mention, what it stands for, and what it might be mistaken for: bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreferenceCase {
    /// What looks.
    pub mention: Range<usize>,
    /// The earlier mention of the same thing.
    pub antecedent: Range<usize>,
    /// Another thing that was named before.
    pub distractor: Range<usize>,
}

/// The cases of a text, and why some mentions are none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoreferenceCases {
    /// Mentions with an antecedent and a distractor.
    pub cases: Vec<CoreferenceCase>,
    /// Mentions whose thing is named in no earlier place of the sentence.
    pub n_without_antecedent: u64,
    /// Mentions before which no other noun stands.
    pub n_without_distractor: u64,
}

/// A mention of a thing, as words of a sentence.
struct Mention {
    entity: String,
    /// Where it stands, in order: in one place, or in several with other words between.
    parts: Vec<Range<usize>>,
    /// The last part that was read, counted from 1, and how many there are.
    part: (usize, usize),
}

impl Mention {
    fn start(&self) -> usize {
        self.parts.first().map_or(0, |part| part.start)
    }

    fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.end)
    }

    fn words(&self) -> impl Iterator<Item = usize> {
        self.parts.iter().cloned().flatten()
    }

    /// The first of its words that depends on none of its other words.
    fn head_word(&self, sentence: &Sentence) -> usize {
        let is_within = |word: usize| self.parts.iter().any(|part| part.contains(&word));
        let hangs_outside = |word: &usize| sentence.words[*word].head.is_none_or(|head| !is_within(head));
        self.words().find(hangs_outside).unwrap_or(self.start())
    }
}

impl CoreferenceCases {
    /// The cases of a sentence whose words say `Entity=` in their notes, in the brackets of CorefUD and GUM: `(e1-person-1-`
    /// opens a mention of thing `e1`, `e1)` closes it, `(e1-person)` is one of a single word; `(e1[1/2]-person)` is the first of
    /// two parts of one mention.
    ///
    /// A mention is its head word: the first that depends on none of its other words. Its antecedent is the head word of the
    /// nearest mention of the same thing that ends before it begins; the distractor the nearest earlier noun (`NOUN` or
    /// `PROPN`) that is in no mention of that thing.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when a mention is closed that was not opened, or not closed at all, or there are more than a
    /// thousand; it names the sentence.
    pub fn of(sentence: &Sentence) -> Result<CoreferenceCases, Error> {
        let mentions = mentions(sentence)?;
        let mut of_entity: BTreeMap<&str, Vec<&Mention>> = BTreeMap::new();
        mentions.iter().for_each(|mention| of_entity.entry(&mention.entity).or_default().push(mention));
        let mut found = CoreferenceCases::default();
        for same in of_entity.values() {
            let mut is_own = vec![false; sentence.words.len()]; // [n_words]
            same.iter().flat_map(|mention| mention.words()).for_each(|word| is_own[word] = true);
            same.iter().for_each(|mention| found.add(sentence, mention, same, &is_own));
        }
        found.cases.sort_by_key(|case| (case.mention.start, case.mention.end));
        Ok(found)
    }

    /// Adds the case of a mention, given all mentions of the same thing and which words are in one of them.
    fn add(&mut self, sentence: &Sentence, mention: &Mention, same: &[&Mention], is_own: &[bool]) {
        let before = same.iter().filter(|other| other.end() <= mention.start());
        let Some(antecedent) = before.max_by_key(|other| (other.end(), other.start())) else {
            self.n_without_antecedent += 1;
            return;
        };
        let is_noun = |word: usize| ["NOUN", "PROPN"].contains(&sentence.words[word].upos.as_str());
        let Some(distractor) = (0..mention.start()).rev().find(|word| is_noun(*word) && !is_own[*word]) else {
            self.n_without_distractor += 1;
            return;
        };
        let span = |word: usize| sentence.words[word].span.clone();
        self.cases.push(CoreferenceCase {
            mention: span(mention.head_word(sentence)),
            antecedent: span(antecedent.head_word(sentence)),
            distractor: span(distractor),
        });
    }
}

/// The mentions that the notes of a sentence mark, in the order in which they end, or their first parts.
fn mentions(sentence: &Sentence) -> Result<Vec<Mention>, Error> {
    let problem = |what: String| Error::Inconsistent(format!("{}: {what}", sentence.name()));
    let (mut found, mut open) = (Vec::<Mention>::new(), Vec::<(Mark<'_>, usize)>::new());
    let mut empty = sentence.empty_words.iter().peekable();
    for word in 0..=sentence.words.len() {
        // what is not in the text may open and close mentions that go on in it
        let not_in_text = std::iter::from_fn(|| empty.next_if(|empty| empty.n_before <= word));
        let notes = not_in_text.map(|empty| (empty.notes.as_str(), word));
        let own = sentence.words.get(word).map(|own| (own.notes.as_str(), word + 1));
        for (notes, end) in notes.chain(own) {
            for mark in marks(note(notes, "Entity").unwrap_or_default()) {
                if open.len() + found.len() >= MAX_MENTIONS {
                    return Err(problem(format!("there are more than {MAX_MENTIONS} mentions")));
                }
                if mark.opens {
                    open.push((mark, word));
                }
                if mark.closes {
                    let last = open.iter().rposition(|(opened, _)| opened.is_of(&mark));
                    let not_open = || problem(format!("a mention of {} is closed that was not opened", mark.entity));
                    let (opened, start) = open.remove(last.ok_or_else(not_open)?);
                    // what is not in the text has no words there
                    if start < end {
                        add_part(&mut found, &opened, start..end);
                    }
                }
            }
        }
    }
    match open.first() {
        None => Ok(found),
        Some((mark, _)) => Err(problem(format!("a mention of {} is opened and not closed", mark.entity))),
    }
}

/// Adds what is a part of the last mention that waits for it, or a mention.
fn add_part(found: &mut Vec<Mention>, mark: &Mark<'_>, words: Range<usize>) {
    let (part, n_parts) = mark.part;
    let waits = |mention: &&mut Mention| {
        let is_later = mention.part.0 < part && mention.end() <= words.start;
        n_parts > 1 && mention.entity == mark.entity && mention.part.1 == n_parts && is_later
    };
    match found.iter_mut().rev().find(waits) {
        Some(mention) => {
            mention.part = mark.part;
            mention.parts.push(words);
        }
        None => found.push(Mention { entity: mark.entity.to_owned(), parts: vec![words], part: mark.part }),
    }
}

/// A bracket of an `Entity` note, or both brackets of a mention of one word.
#[derive(Clone, Copy)]
struct Mark<'a> {
    entity: &'a str,
    /// Which part of a mention in several places it is, counted from 1, and of how many.
    part: (usize, usize),
    opens: bool,
    closes: bool,
}

impl Mark<'_> {
    /// Whether both are brackets of one part of a mention.
    fn is_of(&self, other: &Mark<'_>) -> bool {
        (self.entity, self.part) == (other.entity, other.part)
    }
}

/// The brackets of an `Entity` note: `(e1-person(e2)` has two that open, of which the second closes, too.
fn marks(note: &str) -> Vec<Mark<'_>> {
    let mut marks = Vec::new();
    let mut rest = note;
    while !rest.is_empty() {
        let opens = rest.starts_with('(');
        let body = &rest[usize::from(opens)..];
        let end = body.find(['(', ')']).unwrap_or(body.len());
        let closes = body[end..].starts_with(')');
        // after the name come its class and more; [1/2] numbers the parts of a mention in several places
        let name = body[..end].split('-').next().unwrap_or_default();
        let (entity, part) = name.split_once('[').unwrap_or((name, ""));
        let numbers = part.strip_suffix(']').and_then(|part| part.split_once('/'));
        let part = numbers.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?))).unwrap_or((1, 1));
        marks.push(Mark { entity, part, opens, closes });
        rest = &body[end + usize::from(closes)..];
    }
    marks
}

/// What the heads of one kind of attention do at mentions. Merges in any order to the same numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CoreferenceSums {
    /// The kind of attention.
    pub kind: Kind,
    /// For each head, 1 for a mention that looks at its antecedent more than at the distractor, ½ for a tie, 0 otherwise;
    /// as baseline, 1 where the antecedent is the nearer of the two.
    pub heads: Vec<(HeadId, Sums)>,
    /// Cases that were left out: no token covers the mention, the antecedent or the distractor alone, or the mention cannot
    /// see one of them.
    pub n_left_out: u64,
}

/// How often a head's mentions look at their antecedent more than at the distractor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CoreferenceScore {
    /// The head.
    pub head: HeadId,
    /// The share of mentions, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % interval; see [`interval_of_share`].
    pub interval: (f64, f64),
    /// What a head gets that always looks at the nearer of the two, or always at the farther: the better of these.
    pub baseline: f64,
    /// Mentions.
    pub n: u64,
}

impl CoreferenceSums {
    /// Takes in what other texts say of the same heads.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the heads are others; nothing is taken in then.
    pub fn merge(&mut self, other: &CoreferenceSums) -> Result<(), Error> {
        let ids = |sums: &CoreferenceSums| sums.heads.iter().map(|(head, _)| *head).collect::<Vec<_>>();
        refuse_other_heads("mentions", (self.kind, &ids(self)), (other.kind, &ids(other)))?;
        self.heads.iter_mut().zip(&other.heads).for_each(|((_, sums), (_, others))| sums.merge(others));
        self.n_left_out = self.n_left_out.saturating_add(other.n_left_out);
        Ok(())
    }

    /// The heads that have no score because some of their weights are no finite numbers.
    pub fn not_finite(&self) -> impl Iterator<Item = HeadId> {
        self.heads.iter().filter(|(_, sums)| sums.n_not_finite > 0).map(|(head, _)| *head)
    }

    /// The score of each head that had a case.
    pub fn scores(&self) -> impl Iterator<Item = CoreferenceScore> {
        self.heads.iter().filter_map(|(head, sums)| {
            let nearer = sums.mean_baseline()?;
            let (accuracy, baseline) = (sums.mean()?, nearer.max(1.0 - nearer));
            let interval = interval_of_share(accuracy, sums.n);
            Some(CoreferenceScore { head: *head, accuracy, interval, baseline, n: sums.n })
        })
    }
}

impl CoreferenceScore {
    /// Whether the head is named: ten points over the baseline on twenty mentions or more, and its interval over it, too.
    pub fn is_named(&self) -> bool {
        let is_far = self.accuracy - self.baseline >= MARGIN;
        self.n >= MIN_WORDS && is_far && self.interval.0 > self.baseline
    }
}

/// Measures the heads of self-attention of one kind on the cases of text `item`, whose text is `text`.
///
/// What a mention looks at is the mean over its tokens' rows of the weight summed over the tokens of the antecedent, and of
/// the distractor.
///
/// # Errors
/// [`Error::NoItem`]; [`Error::Inconsistent`] when the recording is of another text, and for cross-attention.
pub fn measure_coreference(
    recording: &Recording,
    item: usize,
    kind: Kind,
    text: &str,
    cases: &[CoreferenceCase],
) -> Result<CoreferenceSums, Error> {
    let n_items = recording.items.len();
    let texts = recording.items.get(item).ok_or(Error::NoItem { item, n_items })?;
    let tokens = match kind {
        Kind::Encoder => &texts.source,
        Kind::Decoder => &texts.target,
        Kind::Cross => return Err(Error::Inconsistent("mentions say nothing of cross-attention".into())),
    };
    if tokens.text != text {
        return Err(Error::Inconsistent(format!(
            "text {item}: the mentions are not of this text, which has {} bytes; theirs has {}",
            tokens.text.len(),
            text.len()
        )));
    }
    let placed: Vec<Placed> = cases.iter().filter_map(|case| Placed::of(case, tokens, kind)).collect();
    let heads: Vec<(&Layer, usize)> =
        recording.layers_of(kind).flat_map(|layer| (0..layer.shape.n_heads).map(move |head| (layer, head))).collect();
    let of_head = |(layer, head): &(&Layer, usize)| {
        let map = recording.map_of(layer, item, *head)?;
        let end = placed.iter().map(|case| case.antecedent.end.max(case.distractor.end)).max().unwrap_or(0);
        match end <= map.n_keys() {
            true => Ok((map.id(), of_map(&map, &placed))),
            false => Err(Error::Inconsistent(format!(
                "text {item}: a mention has token {}, but {} of the {kind} has {} keys",
                end - 1,
                map.id(),
                map.n_keys()
            ))),
        }
    };
    let heads = heads.par_iter().map(of_head).collect::<Result<_, Error>>()?;
    Ok(CoreferenceSums { kind, heads, n_left_out: (cases.len() - placed.len()) as u64 })
}

/// A case on the tokens of a text.
struct Placed {
    mention: Range<usize>,
    antecedent: Range<usize>,
    distractor: Range<usize>,
    /// Whether the antecedent stands nearer to the mention than the distractor.
    is_nearer: bool,
}

impl Placed {
    /// `None` where the three are not told apart by tokens, or the mention cannot see the others.
    fn of(case: &CoreferenceCase, tokens: &Tokens, kind: Kind) -> Option<Placed> {
        let [mention, antecedent, distractor] =
            [&case.mention, &case.antecedent, &case.distractor].map(|span| tokens_of(span, tokens));
        let (mention, antecedent, distractor) = (mention?, antecedent?, distractor?);
        let is_apart = |a: &Range<usize>, b: &Range<usize>| a.end <= b.start || b.end <= a.start;
        let all_apart =
            is_apart(&mention, &antecedent) && is_apart(&mention, &distractor) && is_apart(&antecedent, &distractor);
        let is_seen = kind != Kind::Decoder || (antecedent.end <= mention.start && distractor.end <= mention.start);
        if !(all_apart && is_seen) {
            return None;
        }
        let distance = |other: &Range<usize>| {
            if other.start < mention.start { mention.start - other.end } else { other.start - mention.end }
        };
        let is_nearer = distance(&antecedent) < distance(&distractor);
        Some(Placed { mention, antecedent, distractor, is_nearer })
    }
}

/// The tokens that cover some bytes of the text.
fn tokens_of(span: &Range<usize>, tokens: &Tokens) -> Option<Range<usize>> {
    let covers = |index: &usize| {
        let token = &tokens.tokens[*index];
        let is_over = |own: &Range<usize>| own.start < span.end && span.start < own.end;
        token.is_text() && token.span.as_ref().is_some_and(is_over)
    };
    let mut found = (0..tokens.len()).filter(covers);
    let first = found.next()?;
    Some(first..found.next_back().unwrap_or(first) + 1)
}

/// What one head's mentions look at; of a map of some rows alone, those that have one.
fn of_map(map: &AttentionMap<'_>, cases: &[Placed]) -> Sums {
    let mut sums = Sums::default();
    let mut weights = vec![0.0; map.n_keys()]; // [n_keys]
    let rows = map.query_offset()..map.query_offset() + map.n_queries();
    for case in cases {
        let (first, end) = (case.mention.start.max(rows.start), case.mention.end.min(rows.end));
        if first >= end {
            continue;
        }
        let (mut antecedent, mut distractor) = (0.0, 0.0);
        for query in first - rows.start..end - rows.start {
            map.fill_row(query, 0..map.n_keys(), &mut weights);
            let mass = |keys: &Range<usize>| weights[keys.clone()].iter().map(|weight| f64::from(*weight)).sum::<f64>();
            antecedent += mass(&case.antecedent);
            distractor += mass(&case.distractor);
        }
        let score = match antecedent.total_cmp(&distractor) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 1.0,
        };
        let score = if (antecedent + distractor).is_finite() { score } else { f64::NAN };
        sums.add(Sample { score, baseline: f64::from(u8::from(case.is_nearer)) });
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::rows::tests::recording;
    use super::super::tree_words::tests::tokens;
    use super::*;
    use crate::conllu::Sentences;

    /// A sentence of `form UPOS head notes`.
    fn sentence(words: &[(&str, &str, &str, &str)]) -> Sentence {
        let line = |(index, (form, upos, head, notes)): (usize, &(&str, &str, &str, &str))| {
            format!("{}\t{form}\t_\t{upos}\t_\t_\t{head}\tdep\t_\t{notes}\n", index + 1)
        };
        let file: String = words.iter().enumerate().map(line).collect();
        let mut sentences = Sentences::read(file.as_bytes(), Path::new("test"));
        sentences.next().expect("a sentence").expect("it is one")
    }

    /// `The old cat saw a dog and it ran`: `it` is the cat, the dog the distractor.
    fn cat_and_dog() -> Sentence {
        sentence(&[
            ("The", "DET", "3", "Entity=(e1-animal-1-"),
            ("old", "ADJ", "3", "_"),
            ("cat", "NOUN", "4", "Entity=e1)"),
            ("saw", "VERB", "0", "_"),
            ("a", "DET", "6", "Entity=(e2-animal"),
            ("dog", "NOUN", "4", "Entity=e2)"),
            ("and", "CCONJ", "9", "_"),
            ("it", "PRON", "9", "Entity=(e1-animal-1-)|A=b"),
            ("ran", "VERB", "4", "_"),
        ])
    }

    #[test]
    fn a_mention_has_the_nearest_mention_of_its_thing_and_the_nearest_other_noun() {
        let sentence = cat_and_dog();
        let found = CoreferenceCases::of(&sentence).expect("brackets match");
        let texts: Vec<_> = found
            .cases
            .iter()
            .map(|case| [&case.mention, &case.antecedent, &case.distractor].map(|span| &sentence.text[span.clone()]))
            .collect();
        assert_eq!(texts, [["it", "cat", "dog"]]);
        assert_eq!((found.n_without_antecedent, found.n_without_distractor), (2, 0));
    }

    #[test]
    fn brackets_nest_touch_and_stand_on_words_that_are_not_in_the_text() {
        let mut sentence = sentence(&[
            ("Ann", "PROPN", "2", "Entity=(e1-person(e2)"),
            ("'s", "PART", "0", "Entity=e1)"),
            ("self", "NOUN", "2", "Entity=(e1[1/2]-person)"),
        ]);
        let words = |sentence: &Sentence| {
            let mentions = mentions(sentence).expect("brackets match");
            mentions.into_iter().map(|mention| (mention.entity, mention.parts)).collect::<Vec<_>>()
        };
        let one = |entity: &str, words| (entity.to_owned(), vec![words]);
        let plain = [one("e2", 0..1), one("e1", 0..2), one("e1", 2..3)];
        assert_eq!(words(&sentence), plain);
        let empty = |n_before, notes: &str| crate::conllu::EmptyWord { n_before, notes: notes.into() };
        sentence.empty_words = vec![empty(0, "Entity=(e9)"), empty(2, "Entity=(e8"), empty(3, "Entity=e8)(e7)")];
        let mut with_empty = plain.to_vec();
        with_empty.push(one("e8", 2..3));
        assert_eq!(words(&sentence), with_empty, "what is not in the text has no words there");
    }

    #[test]
    fn the_parts_of_a_mention_are_one_mention_and_no_antecedent_of_each_other() {
        // Ann saw cats and big old dogs: `cats … dogs` is one thing, named again by `them`
        let sentence = sentence(&[
            ("cats", "NOUN", "6", "Entity=(e1[1/2]-animal)"),
            ("and", "CCONJ", "5", "_"),
            ("Ann", "PROPN", "6", "Entity=(e2)"),
            ("with", "ADP", "5", "_"),
            ("dogs", "NOUN", "1", "Entity=(e1[2/2]-animal)"),
            ("ran", "VERB", "0", "_"),
            ("after", "ADP", "8", "_"),
            ("them", "PRON", "6", "Entity=(e1)"),
        ]);
        let found = CoreferenceCases::of(&sentence).expect("brackets match");
        let texts: Vec<_> = found
            .cases
            .iter()
            .map(|case| [&case.mention, &case.antecedent, &case.distractor].map(|span| &sentence.text[span.clone()]))
            .collect();
        assert_eq!(texts, [["them", "cats", "Ann"]]);
        assert_eq!(found.n_without_antecedent, 2);
    }

    #[test]
    fn sums_of_other_heads_do_not_merge() {
        let mut sums = looking(Kind::Encoder, 8, &[(3, 0.3)]);
        let others = looking(Kind::Decoder, 8, &[(3, 0.3)]);
        let before = sums.clone();
        assert!(sums.merge(&others).unwrap_err().to_string().contains("do not add up"));
        assert_eq!(sums, before);
    }

    #[test]
    fn a_mention_outside_of_a_map_is_an_error() {
        let sentence = cat_and_dog();
        let mut recording = recording(Kind::Encoder, vec![0.2; 25], 5, 5); // ten tokens, five keys
        let spans: Vec<Range<usize>> = sentence.words.iter().map(|word| word.span.clone()).collect();
        recording.items[0].source = tokens(&sentence.text, &spans);
        let cases = CoreferenceCases::of(&sentence).expect("brackets match").cases;
        let error = measure_coreference(&recording, 0, Kind::Encoder, &sentence.text, &cases).unwrap_err();
        assert_eq!(error.to_string(), "text 0: a mention has token 6, but L0H0 of the encoder has 5 keys");
    }

    #[test]
    fn a_mention_without_a_row_is_no_tie() {
        let sentence = cat_and_dog();
        let mut recording = recording(Kind::Encoder, vec![0.1; 80], 8, 10); // "it" is token 8
        let spans: Vec<Range<usize>> = sentence.words.iter().map(|word| word.span.clone()).collect();
        recording.items[0].source = tokens(&sentence.text, &spans);
        let cases = CoreferenceCases::of(&sentence).expect("brackets match").cases;
        let sums = measure_coreference(&recording, 0, Kind::Encoder, &sentence.text, &cases).expect("the same text");
        assert_eq!((sums.heads[0].1.n, sums.scores().count()), (0, 0));
    }

    #[test]
    fn brackets_that_do_not_match_are_refused_by_sentence() {
        let problem = |notes: &str| {
            let sentence = sentence(&[("cat", "NOUN", "0", notes)]);
            CoreferenceCases::of(&sentence).unwrap_err().to_string()
        };
        assert_eq!(problem("Entity=e1)"), "the sentence of line 1: a mention of e1 is closed that was not opened");
        assert_eq!(problem("Entity=(e1-x"), "the sentence of line 1: a mention of e1 is opened and not closed");
        assert_eq!(
            problem(&format!("Entity={}", "(e1)".repeat(1001))),
            "the sentence of line 1: there are more than 1000 mentions"
        );
    }

    /// The sums of a head whose token `query` looks at `keys` with the weights given.
    fn looking(kind: Kind, query: usize, keys: &[(usize, f32)]) -> CoreferenceSums {
        let sentence = cat_and_dog();
        let mut weights = vec![0.0; 100]; // [10, 10]
        keys.iter().for_each(|(key, weight)| weights[query * 10 + key] = *weight);
        let mut recording = recording(kind, weights, 10, 10);
        let spans: Vec<Range<usize>> = sentence.words.iter().map(|word| word.span.clone()).collect();
        let text_tokens = tokens(&sentence.text, &spans);
        match kind {
            Kind::Encoder => recording.items[0].source = text_tokens,
            _ => recording.items[0].target = text_tokens,
        }
        let cases = CoreferenceCases::of(&sentence).expect("brackets match").cases;
        measure_coreference(&recording, 0, kind, &sentence.text, &cases).expect("it is the same text")
    }

    #[test]
    fn more_weight_on_the_antecedent_than_on_the_distractor_is_a_hit_and_as_much_half_of_one() {
        for (keys, score) in [
            (vec![(3, 0.3), (6, 0.2)], 1.0),
            (vec![(3, 0.2), (6, 0.3)], 0.0),
            (vec![(3, 0.2), (6, 0.2)], 0.5),
            (vec![(2, 0.9)], 0.5),
        ] {
            for kind in [Kind::Encoder, Kind::Decoder] {
                let sums = looking(kind, 8, &keys);
                let scores: Vec<_> = sums.scores().collect();
                assert_eq!((scores.len(), scores[0].accuracy, scores[0].n), (1, score, 1), "{keys:?}");
                // the dog is nearer: a head that looks at the farther of two is right
                assert_eq!(scores[0].baseline, 1.0);
                assert!(!scores[0].is_named());
            }
        }
    }

    #[test]
    fn mentions_that_share_a_token_or_come_later_are_left_out() {
        let text = "it saw the cat and dog";
        let case = |mention, antecedent, distractor| CoreferenceCase { mention, antecedent, distractor };
        let tokens = tokens(text, &[0..2, 3..6, 7..10, 11..14, 15..22]);
        let later = case(0..2, 11..14, 19..22);
        assert!(Placed::of(&later, &tokens, Kind::Encoder).is_some());
        assert!(Placed::of(&later, &tokens, Kind::Decoder).is_none());
        assert!(Placed::of(&case(19..22, 15..18, 0..2), &tokens, Kind::Encoder).is_none());
    }
}
