//! The alignment probe: does the layer-mean cross-attention point at the word that a dictionary names?
//!
//! A case is a dictionary pair whose English word occurs once in the source and whose French word occurs once in the
//! target. It is right when the largest weight of the French word's row, special tokens dropped and pieces merged into
//! words, lies in the column of the English word. Of `l'eau`, the row is that of `eau`: the article looks at `the`.

use std::collections::BTreeMap;

use attlas::analysis::links;
use attlas::{AttentionMap, Grid, Kind, Recording, RowTokens, Tokens};
use serde::Serialize;

use crate::Error;

/// The word pairs that ship with attlas.
const DICTIONARY: &str = include_str!("../data/dictionary.tsv");

/// How often the probe was right in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LayerAccuracy {
    /// The row that predicts the French word: share of right cases, 0 to 1.
    pub predicting: f64,
    /// The row that has just read it.
    pub shifted: f64,
}

/// The probe over a corpus.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Accuracy {
    /// Per cross-attention layer, in the model's order.
    pub layers: Vec<LayerAccuracy>,
    /// What the diagonal of the word map would get.
    pub diagonal: f64,
    /// Cases.
    pub n_cases: usize,
}

/// Counts while a corpus is read.
#[derive(Debug, Clone)]
pub struct Probe {
    dictionary: Vec<(String, String)>,
    /// Right cases of each layer: predicting row, shifted row.
    right: BTreeMap<usize, [usize; 2]>,
    right_diagonal: usize,
    n_cases: usize,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe::new(dictionary())
    }
}

/// The word pairs that ship with attlas, lower case.
pub fn dictionary() -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once('\t').map(|(english, french)| (english.to_string(), french.to_string()));
    DICTIONARY.lines().filter(|line| !line.starts_with('#')).filter_map(pair).collect()
}

impl Probe {
    /// A probe with these word pairs.
    pub fn new(dictionary: Vec<(String, String)>) -> Probe {
        Probe { dictionary, right: BTreeMap::new(), right_diagonal: 0, n_cases: 0 }
    }

    /// Counts the cases of one sentence pair of a teacher-forced recording.
    ///
    /// # Errors
    /// When the recording has no such item.
    pub fn add(&mut self, recording: &Recording, item: usize) -> Result<(), Error> {
        let mut cases: Option<Vec<Case>> = None;
        for layer in recording.layers_of(Kind::Cross) {
            let grids = |row_tokens| -> Result<Option<Grid>, Error> {
                let maps = (0..layer.shape.n_heads).map(|head| recording.map(item, Kind::Cross, layer.index, head));
                let maps = maps.collect::<Result<Vec<AttentionMap<'_>>, _>>().map_err(recording_error)?;
                Ok(Grid::of_heads(&maps, row_tokens).map(|mut mean| {
                    part_elisions(&mut mean.rows);
                    mean.words().hide_special().0
                }))
            };
            let (Some(predicting), Some(shifted)) = (grids(RowTokens::Predicted)?, grids(RowTokens::Read)?) else {
                continue;
            };
            let cases = cases.get_or_insert_with(|| self.cases(&predicting.rows, &predicting.columns));
            let right = self.right.entry(layer.index).or_default();
            right[0] += n_right(&predicting, cases);
            right[1] += n_right(&shifted, cases);
        }
        let cases = cases.unwrap_or_default();
        self.n_cases += cases.len();
        self.right_diagonal += cases.iter().filter(|case| case.diagonal == case.column).count();
        Ok(())
    }

    /// The cases of a sentence pair, given its words.
    fn cases(&self, target: &Tokens, source: &Tokens) -> Vec<Case> {
        let (target, source) = (words(target), words(source));
        let case = |(english, french): &(String, String)| {
            let column = only(&source, english)?;
            let row = only(&target, french)?;
            let diagonal = ((row as f64 + 0.5) * source.len() as f64 / target.len() as f64) as usize;
            Some(Case { row_word: french.clone(), column, diagonal: diagonal.min(source.len() - 1) })
        };
        self.dictionary.iter().filter_map(case).collect()
    }

    /// The shares.
    pub fn accuracy(&self) -> Accuracy {
        let share = |right: usize| if self.n_cases == 0 { 0.0 } else { right as f64 / self.n_cases as f64 };
        let layer = |right: &[usize; 2]| LayerAccuracy { predicting: share(right[0]), shifted: share(right[1]) };
        Accuracy {
            layers: self.right.values().map(layer).collect(),
            diagonal: share(self.right_diagonal),
            n_cases: self.n_cases,
        }
    }
}

/// A dictionary pair found in a sentence pair.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    row_word: String,
    column: usize,
    diagonal: usize,
}

/// How many cases the arg-max of a word map gets right; the row is found by its word, since rows are named differently
/// when read and when predicted.
fn n_right(grid: &Grid, cases: &[Case]) -> usize {
    let rows = words(&grid.rows);
    let links = links(grid);
    let right = |case: &&Case| {
        let row = only(&rows, &case.row_word);
        links.iter().any(|link| Some(link.row) == row && link.column == case.column)
    };
    cases.iter().filter(right).count()
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
    fn the_dictionary_has_at_least_70_pairs_and_no_line_twice() {
        let pairs = dictionary();
        assert!(pairs.len() >= 70, "{} pairs", pairs.len());
        let mut sorted = pairs.clone();
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
        assert_eq!(n_right(&grid, &cases), 1, "pomme looks at apple, rouge at a");
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
