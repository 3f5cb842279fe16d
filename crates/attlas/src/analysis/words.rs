//! Words that look at words: which one each looks at most, and how many are looked at.

use std::ops::Range;

use super::{Grid, Row, Rows, Sample, Sums, argmax, largest_weight};
use crate::{AttentionMap, Tokens};

/// A row looks most at this column.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// The target word.
    pub row: usize,
    /// The source word it looks at most.
    pub column: usize,
    /// The weight of the row on that column, in 0 ..= 1.
    pub weight: f32,
}

/// The column that each row looks at most, the first of equals; rows without mass have no link.
///
/// For words: merge pieces ([`Grid::words`]) and drop the special columns ([`Grid::hide_special`]) first. Whether the
/// link of a target word lies in the row that *predicts* it or in the row that *reads* it depends on the model
/// (Kobayashi et al. 2020, §5: AER 29.8 when read, 47.7 when predicted); [`RowTokens`](super::RowTokens) gives either.
/// A link is no translation yet: whether it is right takes a reference.
pub fn links(grid: &Grid) -> Vec<Link> {
    let link = |row: usize| {
        let column = argmax(grid.row(row))?;
        Some(Link { row, column, weight: grid.row(row)[column] })
    };
    (0..grid.rows.len()).filter_map(link).collect()
}

/// What the words of a text look at most, gathered row by row: the [`links`] of the whole map without the map.
///
/// Weights are summed over the pieces of a key's word and averaged over those of a query's (Clark et al. 2019, §4.1);
/// special tokens are no words.
#[derive(Debug, Clone)]
pub struct WordLinks {
    /// The queries of each word that are still to come, the next one last.
    to_come: Vec<Range<usize>>,
    /// The keys of each word. Shape `[n_columns]`.
    columns: Vec<Range<usize>>,
    /// The mass of the pieces read so far of the word that is being read. Shape `[n_columns]`.
    masses: Vec<f64>,
    /// The column that each word read so far looks at most, where it looks at any. Shape `[words read]`.
    links: Vec<Option<usize>>,
    largest: f64,
    n_rows: usize,
}

impl WordLinks {
    /// Links of a map of which no row is read yet.
    pub fn new(map: &AttentionMap<'_>) -> WordLinks {
        let columns = text_words(map.key_tokens());
        let mut to_come = text_words(map.query_tokens());
        to_come.reverse();
        WordLinks { to_come, masses: vec![0.0; columns.len()], columns, links: Vec::new(), largest: 0.0, n_rows: 0 }
    }

    /// Takes a row in; rows come in rising order, and none is left out.
    pub fn add(&mut self, row: &Row<'_>) {
        self.largest += largest_weight(row);
        self.n_rows += 1;
        let Some(word) = self.to_come.last().filter(|word| word.contains(&row.query)).cloned() else { return };
        for (mass, keys) in self.masses.iter_mut().zip(&self.columns) {
            row.weights[keys.clone()].iter().for_each(|weight| *mass += f64::from(*weight));
        }
        if row.query + 1 == word.end {
            let weights: Vec<f32> = self.masses.iter().map(|mass| (mass / word.len() as f64) as f32).collect(); // [n_columns]
            self.links.push(argmax(&weights));
            self.masses.fill(0.0);
            self.to_come.pop();
        }
    }

    /// Whether each source word is one that some target word looks at most, 1 or 0; the baseline is what target words that
    /// each look at a random source word would give, `1 − (1 − 1/n_columns)^n_links`.
    ///
    /// Nothing for a head whose largest weights average below ½: the largest of many small weights means little.
    pub fn coverage(&self) -> Sums {
        let mut covered = vec![false; self.columns.len()]; // [n_columns]
        self.links.iter().flatten().for_each(|column| covered[*column] = true);
        let n_links = self.links.iter().flatten().count();
        let baseline = 1.0 - (1.0 - 1.0 / covered.len().max(1) as f64).powf(n_links as f64);
        let mut sums = Sums::default();
        if self.largest >= 0.5 * self.n_rows as f64 {
            covered
                .iter()
                .for_each(|is_covered| sums.add(Sample { score: f64::from(u8::from(*is_covered)), baseline }));
        }
        sums
    }
}

/// The token indices of each word that is no special token and no padding.
fn text_words(tokens: &Tokens) -> Vec<Range<usize>> {
    tokens.words().into_iter().filter(|word| tokens.tokens[word.start].is_text()).collect()
}

/// The links of a map read whole.
pub fn word_links(map: &AttentionMap<'_>) -> WordLinks {
    let mut links = WordLinks::new(map);
    Rows::of(map).for_each(|row| links.add(row));
    links
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::analysis::RowTokens;
    use crate::{Kind, Token, TokenRole};

    #[test]
    fn each_target_word_is_linked_to_the_source_word_it_looks_at_most() {
        let grid = Grid {
            weights: vec![0.7, 0.2, 0.1, 0.1, 0.3, 0.6, 0.0, 0.0, 0.0],
            rows: Tokens::from_labels(["une", "pomme", "rouge"]),
            columns: Tokens::from_labels(["a", "red", "apple"]),
        };
        let links: Vec<_> = links(&grid).iter().map(|link| (link.row, link.column)).collect();
        assert_eq!(links, [(0, 0), (1, 2)], "a row without mass has no link");
    }

    #[test]
    fn two_of_three_source_words_are_covered() {
        let weights = vec![0.7, 0.2, 0.1, 0.1, 0.1, 0.8, 0.8, 0.0, 0.0];
        let recording = recording(Kind::Cross, weights, 3, 3);
        let sums = word_links(&recording.map(0, Kind::Cross, 0, 0).expect("the head exists")).coverage();
        assert!((sums.mean().expect("three words") - 2.0 / 3.0).abs() < 1e-9);
        assert!((sums.mean_baseline().expect("three words") - 19.0 / 27.0).abs() < 1e-9);
    }

    #[test]
    fn links_gathered_row_by_row_are_those_of_the_word_map() {
        let weights: Vec<f32> = (0..42).map(|cell| (cell * 29 % 42) as f32 / 42.0).collect();
        let mut recording = recording(Kind::Cross, weights, 6, 7);
        let item = &mut recording.items[0];
        for (tokens, words) in
            [(&mut item.source, [0, 0, 1, 2, 2, 2, 3].as_slice()), (&mut item.target, &[0, 1, 1, 2, 3, 3])]
        {
            tokens.tokens.iter_mut().zip(words).for_each(|(token, word)| token.word = Some(*word));
        }
        item.source.tokens[6] = Token { role: TokenRole::Special, word: None, ..Token::labelled("</s>") };
        item.target.tokens[3] = Token { role: TokenRole::Special, word: None, ..Token::labelled("<s>") };
        let map = recording.map(0, Kind::Cross, 0, 0).expect("the head exists");
        let whole = links(&Grid::of(&map, RowTokens::Read).words().hide_special().0);
        assert_eq!(word_links(&map).links, whole.iter().map(|link| Some(link.column)).collect::<Vec<_>>());
    }
}
