//! Syntax: does a head look along the relations of a tree, more than at a fixed distance; and does it stay within a phrase?

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::interval_of_share;
use super::sums::refuse_other_heads;
use super::tree_words::{TreeWords, argmax_but, for_each_word_row};
use super::{Annotations, Columns, Measure, Row, Rows, Sample, Sums};
use crate::conllu::Sentence;
use crate::{Error, HeadId, Kind, Layer, Recording, Tokens};

/// The farthest fixed offset that is tried as a baseline, in words.
const MAX_OFFSET: i64 = 10;
/// Fewer words say nothing of a relation.
pub const MIN_WORDS: u64 = 20;
/// How far over the baseline a head must be to be named: ten points.
pub const MARGIN: f64 = 0.10;
/// The name under which all relations are counted together.
pub const ALL: &str = "all";

/// Which way a head looks along a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// The dependent word looks at the word it depends on.
    ChildToHead,
    /// That word looks at its dependent.
    HeadToChild,
}

impl Direction {
    /// Both directions.
    pub const BOTH: [Direction; 2] = [Direction::ChildToHead, Direction::HeadToChild];

    /// The name in tables, options and files.
    pub fn name(self) -> &'static str {
        match self {
            Direction::ChildToHead => "child-to-head",
            Direction::HeadToChild => "head-to-child",
        }
    }

    /// Written short: `child → head`.
    pub fn arrow(self) -> &'static str {
        match self {
            Direction::ChildToHead => "child → head",
            Direction::HeadToChild => "head → child",
        }
    }
}

impl std::str::FromStr for Direction {
    type Err = String;

    fn from_str(name: &str) -> Result<Direction, String> {
        let known = Direction::BOTH.into_iter().find(|direction| direction.name() == name);
        known.ok_or_else(|| format!("\"{name}\" is no direction; there are child-to-head and head-to-child"))
    }
}

/// What the heads of one kind of attention do along the relations of trees. Merges with what other sentences say, in any
/// order, to the same numbers.
///
/// Relations stand under their names with the subtype (`nsubj:pass`), without it, where all subtypes count together
/// (`nsubj`), and all together under [`ALL`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TreeSums {
    /// The kind of attention.
    pub kind: Kind,
    /// How far the head is from the child, for the words of each relation that can be seen in either direction.
    pub offsets: BTreeMap<String, [Offsets; 2]>,
    /// The heads, in the order of the recording.
    pub heads: Vec<HeadTrees>,
    /// Sentences that were measured.
    pub n_sentences: u64,
    /// Words that were left out: no token covers them or the word they depend on, or both stand in the same token.
    pub n_left_out: u64,
}

/// What one head does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadTrees {
    /// Layer and head, counted from 0.
    pub head: HeadId,
    /// For each relation and [`Direction`]: 1 for every word of which the head finds the other end, 0 for every other.
    pub relations: BTreeMap<String, [Sums; 2]>,
    /// The scores of the measure `phrase`, whose constituents are those of [`phrases`].
    pub phrase: Sums,
}

/// How often the head of a word stands at each offset from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Offsets {
    /// Words.
    pub n: u64,
    /// Of those, how many have their head at each offset, from −10 to 10. Shape `[21]`.
    pub hits: [u64; 2 * MAX_OFFSET as usize + 1],
}

impl Offsets {
    fn add(&mut self, offset: i64) {
        self.n += 1;
        if let Some(hits) = usize::try_from(offset + MAX_OFFSET).ok().and_then(|place| self.hits.get_mut(place)) {
            *hits += 1;
        }
    }

    fn merge(&mut self, other: &Offsets) {
        self.n = self.n.saturating_add(other.n);
        self.hits.iter_mut().zip(other.hits).for_each(|(hits, others)| *hits = hits.saturating_add(others));
    }

    /// The share of words whose head stands at `offset`; `None` of no word, and for offsets beyond ±10.
    pub fn share(&self, offset: i64) -> Option<f64> {
        let hits = self.hits.get(usize::try_from(offset + MAX_OFFSET).ok()?)?;
        (self.n > 0).then(|| *hits as f64 / self.n as f64)
    }

    /// The best fixed offset and its share, the nearest of equals: what a head gets that knows positions alone. `None` of no
    /// word.
    pub fn best(&self) -> Option<(i64, f64)> {
        let nearest_first = (1..=MAX_OFFSET).flat_map(|distance| [-distance, distance]);
        let best = nearest_first.reduce(|best, offset| {
            let hits = |offset: i64| self.hits[(offset + MAX_OFFSET) as usize];
            if hits(offset) > hits(best) { offset } else { best }
        })?;
        Some((best, self.share(best)?))
    }
}

/// How well a head finds the other end of a relation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelationScore<'a> {
    /// The head.
    pub head: HeadId,
    /// The relation.
    pub relation: &'a str,
    /// Which way the head looks.
    pub direction: Direction,
    /// The share of words of which it finds the other end, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % interval; see [`interval_of_share`].
    pub interval: (f64, f64),
    /// What the best fixed offset gets on the same words.
    pub baseline: f64,
    /// That offset, from the child to the head, in words.
    pub offset: i64,
    /// Words.
    pub n: u64,
}

impl RelationScore<'_> {
    /// How far over the baseline the head is.
    pub fn excess(&self) -> f64 {
        self.accuracy - self.baseline
    }

    /// Whether the head is named after the relation: ten points over the best fixed offset, and its interval over it, too.
    pub fn is_named(&self) -> bool {
        self.n >= MIN_WORDS && self.excess() >= MARGIN && self.interval.0 > self.baseline
    }
}

impl TreeSums {
    /// Takes in what other sentences say of the same heads.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the heads are others; nothing is taken in then.
    pub fn merge(&mut self, other: &TreeSums) -> Result<(), Error> {
        let ids = |sums: &TreeSums| sums.heads.iter().map(|head| head.head).collect::<Vec<_>>();
        refuse_other_heads("trees", (self.kind, &ids(self)), (other.kind, &ids(other)))?;
        for (relation, others) in &other.offsets {
            let offsets = self.offsets.entry(relation.clone()).or_default();
            offsets.iter_mut().zip(others).for_each(|(offsets, others)| offsets.merge(others));
        }
        for (head, others) in self.heads.iter_mut().zip(&other.heads) {
            for (relation, others) in &others.relations {
                let sums = head.relations.entry(relation.clone()).or_default();
                sums.iter_mut().zip(others).for_each(|(sums, others)| sums.merge(others));
            }
            head.phrase.merge(&others.phrase);
        }
        self.n_sentences = self.n_sentences.saturating_add(other.n_sentences);
        self.n_left_out = self.n_left_out.saturating_add(other.n_left_out);
        Ok(())
    }

    /// How well each head finds each relation that has [`MIN_WORDS`] or more, by relation, direction, and head.
    pub fn scores(&self) -> Vec<RelationScore<'_>> {
        let mut scores = Vec::new();
        for (relation, offsets) in &self.offsets {
            for direction in Direction::BOTH {
                let offsets = &offsets[direction as usize];
                let best = offsets.best().filter(|_| offsets.n >= MIN_WORDS);
                let Some((offset, baseline)) = best else { continue };
                scores.extend(self.heads.iter().filter_map(|head| {
                    let sums = head.relations.get(relation)?[direction as usize];
                    let (head, accuracy, n) = (head.head, sums.mean()?, sums.n);
                    let interval = interval_of_share(accuracy, n);
                    Some(RelationScore { head, relation, direction, accuracy, interval, baseline, offset, n })
                }));
            }
        }
        scores
    }

    /// The heads that have no score of a relation because some of their weights are no finite numbers.
    pub fn not_finite(&self) -> Vec<(&str, Direction, HeadId)> {
        let mut found = Vec::new();
        for head in &self.heads {
            for (relation, sums) in &head.relations {
                let is_silent = |direction: &Direction| sums[*direction as usize].n_not_finite > 0;
                let silent = Direction::BOTH.into_iter().filter(is_silent);
                found.extend(silent.map(|direction| (relation.as_str(), direction, head.head)));
            }
        }
        found
    }

    /// The relations that have too few words to say anything, and how many they have.
    pub fn too_few(&self) -> Vec<(&str, Direction, u64)> {
        let mut found = Vec::new();
        for (relation, offsets) in &self.offsets {
            for direction in Direction::BOTH {
                let n = offsets[direction as usize].n;
                if n < MIN_WORDS {
                    found.push((relation.as_str(), direction, n));
                }
            }
        }
        found
    }
}

/// Measures the heads of self-attention of one kind on text `item`, whose tree is `sentence`.
///
/// Every word with a head in the tree is a case. Child to head: it is right when the largest weight of the word's row lies
/// on its head, the word itself and special tokens left out. Head to child: it is right when, of all words, the head is the
/// one whose row has the largest weight on the word (Clark et al. 2019, §4.2). A decoder's word sees those before it alone:
/// cases that it cannot see are none, for the baseline too.
///
/// # Errors
/// [`Error::NoItem`], [`Error::Inconsistent`] when the tree is of another text; also for cross-attention, which has no tree.
pub fn measure_tree(recording: &Recording, item: usize, kind: Kind, sentence: &Sentence) -> Result<TreeSums, Error> {
    let n_items = recording.items.len();
    let texts = recording.items.get(item).ok_or(Error::NoItem { item, n_items })?;
    let tokens = match kind {
        Kind::Encoder => &texts.source,
        Kind::Decoder => &texts.target,
        Kind::Cross => return Err(Error::Inconsistent("a tree says nothing of cross-attention".into())),
    };
    let words = TreeWords::of(sentence, tokens)?;
    let cases = Cases::of(sentence, &words, kind);
    let phrases = words.phrases(sentence, tokens.len());
    let annotations = match kind {
        Kind::Encoder => Annotations { source_phrases: phrases, ..Annotations::NONE },
        _ => Annotations { target_phrases: phrases, ..Annotations::NONE },
    };
    let heads: Vec<(&Layer, usize)> =
        recording.layers_of(kind).flat_map(|layer| (0..layer.shape.n_heads).map(move |head| (layer, head))).collect();
    let of_head = |(layer, head): &(&Layer, usize)| {
        let map = recording.map_of(layer, item, *head)?;
        let columns = Arc::new(Columns::of(&map, &annotations));
        Ok(of_rows(map.id(), &Rows::with_columns(&map, columns, usize::MAX), &words, &cases))
    };
    let heads = heads.par_iter().map(of_head).collect::<Result<_, Error>>()?;
    Ok(TreeSums { kind, offsets: cases.offsets(), heads, n_sentences: 1, n_left_out: cases.n_left_out })
}

/// The phrase around each token, as tokens: what the measure `phrase` takes. Shape `[tokens.len()]`.
///
/// The phrase of a word is the smallest subtree of two words or more that holds it: the word with all that depends on it, or,
/// for a word on which nothing depends, that of the word it depends on; from its first token to its last. `None` for tokens of
/// no word, and for a word whose phrase is the whole sentence, which says nothing.
///
/// # Errors
/// As [`TreeWords::of`].
pub fn phrases(sentence: &Sentence, tokens: &Tokens) -> Result<Vec<Option<Range<usize>>>, Error> {
    Ok(TreeWords::of(sentence, tokens)?.phrases(sentence, tokens.len()))
}

/// The words of a sentence that have a head.
struct Cases {
    cases: Vec<Case>,
    n_left_out: u64,
}

/// A word, the word it depends on, and how.
struct Case {
    child: usize,
    head: usize,
    /// The names it counts under: all, without its subtype, and with it.
    names: Vec<String>,
    /// Whether the one end can see the other, for each direction.
    is_seen: [bool; 2],
}

impl Cases {
    fn of(sentence: &Sentence, words: &TreeWords, kind: Kind) -> Cases {
        let (mut cases, mut n_left_out) = (Vec::new(), 0);
        for (index, word) in sentence.words.iter().enumerate() {
            let Some(head) = word.head else { continue };
            let (Some(child), Some(head)) = (words.unit(index), words.unit(head)) else {
                n_left_out += 1;
                continue;
            };
            if child == head {
                n_left_out += 1;
                continue;
            }
            let mut names = vec![ALL.to_owned(), word.universal_relation().to_owned(), word.relation.clone()];
            names.dedup();
            let sees_all = kind != Kind::Decoder;
            cases.push(Case { child, head, names, is_seen: [sees_all || head < child, sees_all || child < head] });
        }
        Cases { cases, n_left_out }
    }

    fn offsets(&self) -> BTreeMap<String, [Offsets; 2]> {
        let mut offsets = BTreeMap::new();
        for case in &self.cases {
            for name in &case.names {
                let offsets: &mut [Offsets; 2] = offsets.entry(name.clone()).or_default();
                for (offsets, is_seen) in offsets.iter_mut().zip(case.is_seen) {
                    if is_seen {
                        offsets.add(case.head as i64 - case.child as i64);
                    }
                }
            }
        }
        offsets
    }

    /// What a head finds, given the unit that each unit looks at most, and the one that looks at it most; `None` where that
    /// cannot be said.
    fn sums(&self, looks_at: &[Found], looked_at_by: &[Found]) -> BTreeMap<String, [Sums; 2]> {
        let mut relations = BTreeMap::new();
        for case in &self.cases {
            let found = [looks_at[case.child], looked_at_by[case.child]];
            for name in &case.names {
                let sums: &mut [Sums; 2] = relations.entry(name.clone()).or_default();
                for (sums, (found, is_seen)) in sums.iter_mut().zip(found.into_iter().zip(case.is_seen)) {
                    if is_seen {
                        let score = |found| f64::from(u8::from(found == Some(case.head)));
                        sums.add(Sample { score: found.map_or(f64::NAN, score), baseline: 0.0 });
                    }
                }
            }
        }
        relations
    }
}

/// The unit that was found, if there is one; `None` where a weight that decides it is no finite number.
type Found = Option<Option<usize>>;

/// Reads a head's map once.
fn of_rows(head: HeadId, rows: &Rows<'_>, words: &TreeWords, cases: &Cases) -> HeadTrees {
    let n = words.n_units();
    let mut looks_at: Vec<Found> = vec![Some(None); n]; // [n_units]
    let mut is_finite = true;
    let mut looked_at_by: Vec<(Option<usize>, f64)> = vec![(None, 0.0); n]; // [n_units]
    let mut phrase = Sums::default();
    let add_phrase = |row: &Row<'_>| {
        let sample = Measure::named("phrase").and_then(|measure| measure.sample(row, 0));
        sample.into_iter().for_each(|sample| phrase.add(sample));
    };
    for_each_word_row(rows, words, add_phrase, |row| {
        is_finite &= row.is_finite;
        looks_at[row.unit] = row.is_finite.then(|| argmax_but(row.weights, row.unit));
        for (unit, (by, largest)) in looked_at_by.iter_mut().enumerate() {
            if unit != row.unit && row.weights[unit] > *largest {
                (*by, *largest) = (Some(row.unit), row.weights[unit]);
            }
        }
    });
    // who looks at a word most is asked of all rows
    let looked_at_by: Vec<Found> = looked_at_by.into_iter().map(|(by, _)| is_finite.then_some(by)).collect();
    HeadTrees { head, relations: cases.sums(&looks_at, &looked_at_by), phrase }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::super::tree_words::tests::{sentence, tokens};
    use super::*;
    use crate::Buffer;

    /// `The cat saw a dog .` with a special token before it: words 1 to 6.
    fn tree() -> Sentence {
        sentence(&[
            ("The", "2", "det"),
            ("cat", "3", "nsubj:pass"),
            ("saw", "0", "root"),
            ("a", "5", "det"),
            ("dog", "3", "obj"),
            (".", "3", "punct"),
        ])
    }

    /// A recording of one head on that sentence which looks from each word at the place that `looks` gives, 0 the special one.
    fn looking(kind: Kind, looks: [usize; 7]) -> Recording {
        let mut weights = vec![0.0; 49]; // [7, 7]
        looks.iter().enumerate().for_each(|(query, key)| weights[query * 7 + key] = 1.0);
        let mut recording = recording(kind, weights, 7, 7);
        let spans = [0..3, 4..7, 8..11, 12..13, 14..17, 18..19];
        let tokens = tokens("The cat saw a dog .", &spans);
        match kind {
            Kind::Encoder => recording.items[0].source = tokens,
            _ => recording.items[0].target = tokens,
        }
        recording
    }

    fn measured(recording: &Recording, kind: Kind) -> TreeSums {
        measure_tree(recording, 0, kind, &tree()).expect("the tree is of the text")
    }

    /// Mean and number of a relation's words in each direction.
    fn of(sums: &TreeSums, relation: &str) -> [(Option<f64>, u64); 2] {
        sums.heads[0].relations[relation].map(|sums| (sums.mean(), sums.n))
    }

    #[test]
    fn a_head_that_looks_at_each_words_head_finds_every_relation() {
        // each word at its head, the root at the special token
        let sums = measured(&looking(Kind::Encoder, [0, 2, 3, 0, 5, 3, 3]), Kind::Encoder);
        for (relation, n) in [("all", 5), ("det", 2), ("nsubj", 1), ("nsubj:pass", 1), ("obj", 1), ("punct", 1)] {
            assert_eq!(of(&sums, relation)[0], (Some(1.0), n), "{relation}");
        }
        assert!(!sums.offsets.contains_key("root"));
        // of all words, none looks at what depends on it
        assert_eq!(of(&sums, "all")[1], (Some(0.0), 5));
    }

    #[test]
    fn head_to_child_asks_who_looks_at_the_child_most() {
        // saw at dog, dog at a, cat at The, the others at themselves
        let sums = measured(&looking(Kind::Encoder, [0, 1, 1, 5, 4, 4, 6]), Kind::Encoder);
        assert_eq!(of(&sums, "det")[1], (Some(1.0), 2), "what a word gives itself does not count");
        assert_eq!(of(&sums, "obj")[1], (Some(1.0), 1));
        assert_eq!(of(&sums, "nsubj")[1], (Some(0.0), 1));
        assert_eq!(of(&sums, "det")[0], (Some(0.0), 2));
    }

    #[test]
    fn a_decoders_word_is_asked_only_for_what_stands_before_it() {
        let sums = measured(&looking(Kind::Decoder, [0, 0, 1, 2, 0, 3, 3]), Kind::Decoder);
        // obj and punct have their head before them, det and nsubj after them
        assert_eq!(of(&sums, "all"), [(Some(1.0), 2), (Some(2.0 / 3.0), 3)].map(|(mean, n)| (mean.map(near), n)));
        assert_eq!(sums.offsets["det"].map(|offsets| offsets.n), [0, 2]);
    }

    /// A number as sums in steps of 2⁻³² have it.
    fn near(number: f64) -> f64 {
        let mut sums = Sums::default();
        [0.0, 1.0, 1.0].iter().for_each(|score| sums.add(Sample { score: *score, baseline: 0.0 }));
        if number == 2.0 / 3.0 { sums.mean().expect("three scores") } else { number }
    }

    #[test]
    fn the_baseline_is_the_best_fixed_offset_and_the_nearest_of_equals() {
        let sums = measured(&looking(Kind::Encoder, [0; 7]), Kind::Encoder);
        assert_eq!(sums.offsets["det"][0].best(), Some((1, 1.0)));
        assert_eq!(sums.offsets["obj"][0].best(), Some((-2, 1.0)));
        let all = sums.offsets["all"][0];
        assert_eq!((all.n, all.share(1), all.share(-2), all.share(-3)), (5, Some(0.6), Some(0.2), Some(0.2)));
        assert_eq!(Offsets::default().best(), None);
    }

    #[test]
    fn a_phrase_is_the_smallest_subtree_of_two_words_and_the_whole_sentence_says_nothing() {
        let recording = looking(Kind::Encoder, [0, 2, 1, 1, 5, 3, 3]);
        let found = phrases(&tree(), &recording.items[0].source).expect("the tree is of the text");
        assert_eq!(found, [None, Some(1..3), Some(1..3), None, Some(4..6), Some(4..6), None]);
        // The at cat, cat at The, a at dog, but dog at saw
        let phrase = measured(&recording, Kind::Encoder).heads[0].phrase;
        assert_eq!((phrase.n, phrase.mean()), (4, Some(0.75)));
        assert!((phrase.mean_baseline().expect("four words") - 1.0 / 7.0).abs() < 1e-9, "the other token, of seven");
    }

    #[test]
    fn a_head_is_named_ten_points_over_the_baseline_on_twenty_words() {
        let one = measured(&looking(Kind::Encoder, [0, 2, 3, 0, 5, 3, 3]), Kind::Encoder);
        let mut sums = one.clone();
        assert_eq!(sums.scores().len(), 0, "five words say nothing");
        assert!(sums.too_few().contains(&("all", Direction::ChildToHead, 5)));
        (0..9).for_each(|_| sums.merge(&one).expect("the same heads"));
        let scores = sums.scores();
        let named: Vec<_> = scores.iter().filter(|score| score.is_named()).map(|score| score.relation).collect();
        // det stands at +1 always: nothing is over that; all has 0.6 at +1
        assert_eq!(named, ["all"]);
        let score = scores.iter().find(|score| score.is_named()).expect("all");
        assert_eq!((score.n, score.offset, score.baseline, score.accuracy), (50, 1, 0.6, 1.0));
        assert_eq!((sums.n_sentences, sums.n_left_out), (10, 0));
    }

    #[test]
    fn sums_of_sentences_merge_in_any_order() {
        let [a, b] = [[0, 2, 3, 0, 5, 3, 3], [0, 1, 1, 5, 4, 4, 6]]
            .map(|looks| measured(&looking(Kind::Encoder, looks), Kind::Encoder));
        let (mut ab, mut ba) = (a.clone(), b.clone());
        ab.merge(&b).expect("the same heads");
        ba.merge(&a).expect("the same heads");
        assert_eq!(ab, ba);
        let json = serde_json::to_string(&ab).expect("sums are JSON");
        assert_eq!(serde_json::from_str::<TreeSums>(&json).expect("they come back"), ab);
    }

    #[test]
    fn sums_of_other_heads_do_not_merge() {
        let mut sums = measured(&looking(Kind::Encoder, [0, 2, 3, 0, 5, 3, 3]), Kind::Encoder);
        let mut others = sums.clone();
        others.heads[0].head.head = 7;
        let before = sums.clone();
        assert!(sums.merge(&others).unwrap_err().to_string().contains("do not add up"));
        assert_eq!(sums, before);
    }

    #[test]
    fn a_row_that_is_no_number_makes_no_miss_but_no_score() {
        let mut recording = looking(Kind::Encoder, [0, 2, 3, 0, 5, 3, 3]);
        let mut weights = vec![0.0; 49]; // [7, 7]
        [0, 2, 3, 0, 5, 3, 3].iter().enumerate().for_each(|(query, key)| weights[query * 7 + key] = 1.0);
        weights[7..14].fill(f32::NAN); // The
        recording.layers[0] = Layer::new(Kind::Encoder, 0, recording.layers[0].shape, Buffer::from(weights));
        let sums = measured(&recording, Kind::Encoder);
        assert_eq!(of(&sums, "obj")[0], (Some(1.0), 1), "dog at saw");
        assert_eq!(of(&sums, "det")[0], (None, 1), "The is a determiner");
        assert_eq!(of(&sums, "obj")[1].0, None, "that row may look at dog most");
        let silent: Vec<_> = sums.not_finite().into_iter().filter(|(relation, ..)| *relation == "obj").collect();
        assert_eq!(silent, [("obj", Direction::HeadToChild, sums.heads[0].head)]);
    }

    #[test]
    fn words_written_as_one_that_hang_on_each_other_make_no_endless_tree() {
        // a and b are one token, c another; a hangs on c, c on b
        let tree = sentence(&[("a", "3", "x"), ("b", "0", "root"), ("c", "2", "x")]);
        let mut recording = recording(Kind::Encoder, vec![0.2; 9], 3, 3);
        recording.items[0].source = tokens("a b c", &[0..3, 3..5]);
        let sums = measure_tree(&recording, 0, Kind::Encoder, &tree).expect("the tree is of the text");
        assert_eq!(sums.heads[0].phrase.n, 0);
        assert_eq!(of(&sums, "all")[0].1, 2);
    }
}
