//! The alignment probe: does cross-attention, a head or the mean of a layer, point at the word that a dictionary names?
//!
//! A case is a dictionary pair whose English word occurs once in the source and whose French word occurs once in the
//! target. It is right when the largest weight of the French word's row, special tokens dropped and pieces merged into
//! words, lies in the column of the English word. Of `l'eau`, the row is that of `eau`: the article looks at `the`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use attlas::analysis::alignment::{ALIGNING_ROWS, on_diagonal};
use attlas::analysis::{Annotations, Sample, Sums, links};
use attlas::{AttentionMap, Grid, HeadId, Item, Kind, Recording, RowTokens, Token, Tokens};
use serde::Serialize;

use crate::Error;

/// The word pairs that ship with attlas.
const DICTIONARY: &str = include_str!("../data/dictionary.tsv");

/// How often the probe was right in the mean of one layer's heads.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LayerAccuracy {
    /// The row that predicts the French word: share of right cases, 0 to 1; `None` without cases.
    pub predicting: Option<f64>,
    /// The row that has just read it.
    pub shifted: Option<f64>,
}

/// How often the probe was right in one head, in one of the two rows that may align.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct HeadAccuracy {
    /// Cross-attention.
    pub kind: Kind,
    /// Counted from 0.
    pub layer: usize,
    /// Counted from 0.
    pub head: usize,
    /// `dictionary-probe`: not quite the measure `alignment`, which counts words as the tokenizer parts them; of `l'eau` the probe takes the
    /// row of `eau`.
    pub measure: &'static str,
    /// The row that was looked at: that which predicts the French word, or that which has just read it.
    pub rows: RowTokens,
    /// Share of right cases, 0 to 1; `None` without cases.
    pub score: Option<f64>,
    /// What the diagonal of the word map would get.
    pub baseline: Option<f64>,
    /// The low end of the score's 95 % interval (Wilson's, cases taken as independent).
    pub low: Option<f64>,
    /// The high end.
    pub high: Option<f64>,
    /// Cases.
    pub n_rows: u64,
    /// Why there is no score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absent: Option<&'static str>,
}

impl HeadAccuracy {
    /// The head.
    pub fn id(&self) -> HeadId {
        HeadId { layer: self.layer, head: self.head }
    }
}

/// The probe over a corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Accuracy {
    /// Per cross-attention layer, in the model's order.
    pub layers: Vec<LayerAccuracy>,
    /// Each head twice, once for either row; the highest score first.
    pub heads: Vec<HeadAccuracy>,
    /// What the diagonal of the word map would get; `None` without cases.
    pub diagonal: Option<f64>,
    /// Cases.
    pub n_cases: usize,
}

/// Counts while a corpus is read.
#[derive(Debug, Clone)]
pub struct Probe {
    dictionary: Vec<(String, String)>,
    /// Cases and right ones of each layer's mean (no head) and of each head: predicting row, shifted row.
    right: BTreeMap<(usize, Option<usize>), [Sums; 2]>,
    diagonal: Sums,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe::new(dictionary().to_vec())
    }
}

/// The word pairs that ship with attlas, lower case.
pub fn dictionary() -> &'static [(String, String)] {
    static PAIRS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let pair =
            |line: &str| line.split_once('\t').map(|(english, french)| (english.to_string(), french.to_string()));
        DICTIONARY.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
    });
    &PAIRS
}

/// Which source word each target word translates, by the word pairs that ship with attlas: pairs of target and source word,
/// counted among the words of the text (special tokens are none). For `Annotations::links` of `attlas::analysis`.
///
/// A pair counts where each of its words occurs once; of `l'eau` the elided article is left out.
pub fn dictionary_links(target: &Tokens, source: &Tokens) -> Vec<(usize, usize)> {
    let text = |tokens: &Tokens| {
        let mut merged = tokens.merged();
        merged.tokens.retain(Token::is_text);
        words(&merged)
    };
    let (target, source) = (text(target), text(source));
    let pair = |(english, french): &(String, String)| Some((only(&target, french)?, only(&source, english)?));
    dictionary().iter().filter_map(pair).collect()
}

/// Which source word each target word of a text translates, of the words that its rows predict where they are known: see
/// [`dictionary_links`].
pub fn item_links(item: &Item) -> Vec<(usize, usize)> {
    let target = if item.predicted.is_empty() { &item.target } else { &item.predicted };
    dictionary_links(target, &item.source)
}

/// What is known of a text of a recording, and where there is cross-attention which of its words a dictionary translates.
pub fn with_dictionary(recording: &Recording, item: usize, annotations: &Annotations) -> Annotations {
    let mut annotations = annotations.clone();
    if let Some(item) = recording.items.get(item).filter(|_| recording.layers_of(Kind::Cross).next().is_some()) {
        annotations.links = item_links(item);
    }
    annotations
}

impl Probe {
    /// A probe with these word pairs.
    pub fn new(dictionary: Vec<(String, String)>) -> Probe {
        Probe { dictionary, right: BTreeMap::new(), diagonal: Sums::default() }
    }

    /// Counts the cases of one sentence pair of a teacher-forced recording.
    ///
    /// # Errors
    /// When the recording has no such item.
    pub fn add(&mut self, recording: &Recording, item: usize) -> Result<(), Error> {
        let mut cases: Option<Vec<Case>> = None;
        for layer in recording.layers_of(Kind::Cross) {
            let maps = (0..layer.shape.n_heads).map(|head| recording.map(item, Kind::Cross, layer.index, head));
            let maps = maps.collect::<Result<Vec<AttentionMap<'_>>, _>>().map_err(recording_error)?;
            let heads = maps.iter().enumerate().map(|(head, map)| (Some(head), std::slice::from_ref(map)));
            for (head, maps) in std::iter::once((None, maps.as_slice())).chain(heads) {
                for (row, row_tokens) in ALIGNING_ROWS.into_iter().enumerate() {
                    let Some(grid) = word_grid(maps, row_tokens) else { continue };
                    let cases = cases.get_or_insert_with(|| self.cases(&grid.rows, &grid.columns));
                    self.right.entry((layer.index, head)).or_default()[row].merge(&scores(&grid, cases));
                }
            }
        }
        for case in cases.iter().flatten() {
            self.diagonal.add(sample(case.diagonal == case.column, case));
        }
        Ok(())
    }

    /// The cases of a sentence pair, given its words.
    fn cases(&self, target: &Tokens, source: &Tokens) -> Vec<Case> {
        let (target, source) = (words(target), words(source));
        let case = |(english, french): &(String, String)| {
            let column = only(&source, english)?;
            let row = only(&target, french)?;
            let diagonal = on_diagonal(row, source.len(), target.len())?;
            Some(Case { row_word: french.clone(), column, diagonal })
        };
        self.dictionary.iter().filter_map(case).collect()
    }

    /// The shares.
    pub fn accuracy(&self) -> Accuracy {
        let means = self.right.iter().filter(|((_, head), _)| head.is_none());
        let layer = |sums: &[Sums; 2]| LayerAccuracy { predicting: sums[0].mean(), shifted: sums[1].mean() };
        let of_head = |(&(layer, head), sums): (&(usize, Option<usize>), &[Sums; 2])| {
            let id = head.map(|head| HeadId { layer, head });
            id.map(|id| [0, 1].map(|row| head_accuracy(id, ALIGNING_ROWS[row], &sums[row])))
        };
        let mut heads: Vec<HeadAccuracy> = self.right.iter().filter_map(of_head).flatten().collect();
        heads.sort_by(|a, b| b.score.unwrap_or(0.0).total_cmp(&a.score.unwrap_or(0.0)).then(a.id().cmp(&b.id())));
        Accuracy {
            layers: means.map(|(_, sums)| layer(sums)).collect(),
            heads,
            diagonal: self.diagonal.mean(),
            n_cases: self.diagonal.n as usize,
        }
    }
}

/// The mean of some heads between words, elided articles apart, special tokens left out.
fn word_grid(maps: &[AttentionMap<'_>], row_tokens: RowTokens) -> Option<Grid> {
    let mut mean = Grid::of_heads(maps, row_tokens)?;
    part_elisions(&mut mean.rows);
    Some(mean.words().hide_special().0)
}

fn head_accuracy(id: HeadId, rows: RowTokens, sums: &Sums) -> HeadAccuracy {
    let interval = sums.interval_of_shares();
    HeadAccuracy {
        kind: Kind::Cross,
        layer: id.layer,
        head: id.head,
        measure: "dictionary-probe",
        rows,
        score: sums.mean(),
        baseline: sums.mean_baseline(),
        low: interval.map(|interval| interval.0),
        high: interval.map(|interval| interval.1),
        n_rows: sums.n,
        absent: match sums {
            Sums { n_not_finite: 1.., .. } => Some("some weights are no finite numbers"),
            Sums { n: 0, .. } => Some("no sentence pair has a word pair of the dictionary"),
            _ => None,
        },
    }
}

/// A dictionary pair found in a sentence pair.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    row_word: String,
    column: usize,
    diagonal: usize,
}

/// Which cases the arg-max of a word map gets right; the row is found by its word, since rows are named differently
/// when read and when predicted. A row with a weight that is no finite number is neither right nor wrong.
fn scores(grid: &Grid, cases: &[Case]) -> Sums {
    let rows = words(&grid.rows);
    let links = links(grid);
    let mut sums = Sums::default();
    for case in cases {
        let row = only(&rows, &case.row_word);
        let found = sample(links.iter().any(|link| Some(link.row) == row && link.column == case.column), case);
        let is_sound = row.is_none_or(|row| grid.row(row).iter().all(|weight| weight.is_finite()));
        sums.add(if is_sound { found } else { Sample { score: f64::NAN, ..found } });
    }
    sums
}

/// A right or wrong case, beside what the diagonal gets.
fn sample(is_right: bool, case: &Case) -> Sample {
    let one_if = |is_right: bool| f64::from(u8::from(is_right));
    Sample { score: one_if(is_right), baseline: one_if(case.diagonal == case.column) }
}

/// Words that French elides before a vowel.
const ELIDED: [&str; 9] = ["l'", "d'", "j'", "m'", "t'", "s'", "n'", "c'", "qu'"];

/// Lower case, with the straight apostrophe.
fn lower_case(text: &str) -> String {
    text.trim().to_lowercase().replace('’', "'")
}

/// Makes a piece that is an elided word a word of its own; what follows stays together.
fn part_elisions(tokens: &mut Tokens) {
    for token in &mut tokens.tokens {
        if ELIDED.contains(&lower_case(&token.text).as_str()) {
            token.word = None;
        }
    }
}

/// The words along an axis of a word map: lower case, without punctuation and elided articles (`l'eau` → `eau`).
fn words(tokens: &Tokens) -> Vec<String> {
    let word = |text: &str| {
        let lower = lower_case(text);
        let bare = ELIDED.iter().find_map(|prefix| lower.strip_prefix(prefix)).unwrap_or(&lower);
        bare.trim_matches(|character: char| !character.is_alphanumeric()).to_string()
    };
    tokens.tokens.iter().map(|token| word(&token.text)).collect()
}

/// The place of a word that occurs exactly once.
fn only(words: &[String], word: &str) -> Option<usize> {
    let mut places = words.iter().enumerate().filter(|(_, other)| *other == word).map(|(place, _)| place);
    let place = places.next()?;
    places.next().is_none().then_some(place)
}

/// An error of a recording, as this crate says it.
pub(crate) fn recording_error(error: attlas::Error) -> Error {
    Error::Model(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionary_words_that_occur_once_are_linked() {
        let source = Tokens::from_labels(["the", "cat", "drinks", "water", "</s>"]);
        let target = Tokens::from_labels(["le", "chat", "boit", "de", "l'eau"]);
        let links = dictionary_links(&target, &source);
        assert!(links.contains(&(1, 1)) && links.contains(&(4, 3)), "{links:?}");
    }

    #[test]
    fn the_dictionary_has_at_least_70_pairs_and_no_line_twice() {
        let pairs = dictionary();
        assert!(pairs.len() >= 70, "{} pairs", pairs.len());
        let mut sorted = pairs.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), pairs.len());
    }

    #[test]
    fn une_pomme_rouge_crosses() {
        let probe = Probe::default();
        let source = Tokens::from_labels(["a", "red", "apple"]);
        let target = Tokens::from_labels(["une", "pomme", "rouge"]);
        let cases = probe.cases(&target, &source);
        assert_eq!(cases.iter().map(|case| (case.column, case.diagonal)).collect::<Vec<_>>(), [(2, 1), (1, 2)]);
        let grid = Grid { weights: vec![0.8, 0.1, 0.1, 0.1, 0.2, 0.7, 0.5, 0.3, 0.2], rows: target, columns: source };
        let right = scores(&grid, &cases);
        assert_eq!((right.n, right.mean()), (2, Some(0.5)), "pomme looks at apple, rouge at a");
    }

    #[test]
    fn a_head_with_a_weight_that_is_no_number_has_no_score_and_a_reason() {
        let (source, target) = (Tokens::from_labels(["a", "red"]), Tokens::from_labels(["un", "rouge"]));
        let cases = Probe::default().cases(&target, &source);
        let grid = Grid { weights: vec![0.8, 0.2, f32::NAN, 0.9], rows: target, columns: source };
        let found = head_accuracy(HeadId { layer: 0, head: 0 }, RowTokens::Read, &scores(&grid, &cases));
        assert_eq!((found.score, found.absent), (None, Some("some weights are no finite numbers")));
        let without = head_accuracy(HeadId { layer: 0, head: 0 }, RowTokens::Read, &Sums::default());
        assert_eq!(without.absent, Some("no sentence pair has a word pair of the dictionary"));
    }

    #[test]
    fn an_elided_article_is_no_part_of_the_word() {
        let mut target = Tokens::from_labels(["je", "veux", "L’", "ea", "u"]);
        for (token, word) in target.tokens.iter_mut().zip([0, 1, 2, 2, 2]) {
            token.word = Some(word);
        }
        part_elisions(&mut target);
        assert_eq!(target.words(), [0..1, 1..2, 2..3, 3..5]);
    }

    #[test]
    fn words_that_occur_twice_are_no_case() {
        assert_eq!(only(&["chat".into(), "chat".into()], "chat"), None);
        assert_eq!(words(&Tokens::from_labels(["L'eau", "«", "Tom,"])), ["eau", "", "tom"]);
    }
}
