//! Words that look at words: which one each looks at most, and how many are looked at.

use std::ops::Range;

use super::alignment::on_diagonal;
use super::{Grid, Row, Rows, Sample, Sums, argmax, largest_weight};
use crate::{AttentionMap, RowTokens, Tokens};

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
    /// What each word read so far looks at. Shape `[words read]`.
    words: Vec<Option<WordLook>>,
    /// Which word looks at each column with the largest mass, and with how much. Shape `[n_columns]`.
    from: Vec<Option<(usize, f64)>>,
    largest: f64,
    n_rows: usize,
    /// Whether a weight was no finite number: then nothing can be said of any word.
    is_broken: bool,
}

/// What one word looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
struct WordLook {
    /// The column with the largest mass.
    column: usize,
    /// Whether another column has half as much or more.
    is_shared: bool,
}

impl WordLinks {
    /// Links of a map of which no row is read yet; `row_tokens` says which word a row belongs to.
    pub fn new(map: &AttentionMap<'_>, row_tokens: RowTokens) -> WordLinks {
        let columns = text_words(map.key_tokens());
        let mut to_come = text_words(row_tokens.of(map));
        to_come.reverse();
        WordLinks {
            to_come,
            masses: vec![0.0; columns.len()],
            from: vec![None; columns.len()],
            columns,
            words: Vec::new(),
            largest: 0.0,
            n_rows: 0,
            is_broken: false,
        }
    }

    /// Takes a row in; rows come in rising order, and none is left out.
    pub fn add(&mut self, row: &Row<'_>) {
        self.largest += largest_weight(row);
        self.n_rows += 1;
        self.is_broken |= row.weights.iter().any(|weight| !weight.is_finite());
        let Some(word) = self.to_come.last().filter(|word| word.contains(&row.query)).cloned() else { return };
        for (mass, keys) in self.masses.iter_mut().zip(&self.columns) {
            row.weights[keys.clone()].iter().for_each(|weight| *mass += f64::from(*weight));
        }
        if row.query + 1 == word.end {
            self.close(word.len());
        }
    }

    /// Ends the word that is being read.
    fn close(&mut self, n_pieces: usize) {
        let weights: Vec<f32> = self.masses.iter().map(|mass| (mass / n_pieces as f64) as f32).collect(); // [n_columns]
        let look = argmax(&weights).map(|column| {
            let half = 0.5 * weights[column];
            let is_shared = weights.iter().enumerate().any(|(other, weight)| other != column && *weight >= half);
            WordLook { column, is_shared }
        });
        for (from, weight) in self.from.iter_mut().zip(weights) {
            let weight = f64::from(weight);
            if weight > from.map_or(0.0, |(_, largest)| largest) {
                *from = Some((self.words.len(), weight));
            }
        }
        self.words.push(look);
        self.masses.fill(0.0);
        self.to_come.pop();
    }

    /// Which column each word looks at most, the first of equals; `None` for a word without mass. Shape `[words]`.
    pub fn links(&self) -> impl ExactSizeIterator<Item = Option<usize>> + '_ {
        self.words.iter().map(|look| look.map(|look| look.column))
    }

    /// Which word each column is looked at most by, the first of equals. Shape `[columns]`.
    pub fn links_back(&self) -> impl ExactSizeIterator<Item = Option<usize>> + '_ {
        self.from.iter().map(|from| from.map(|(word, _)| word))
    }

    /// Whether the largest weights average ½ or more: the largest of many small weights means little.
    fn is_pointed(&self) -> bool {
        self.n_rows > 0 && self.largest >= 0.5 * self.n_rows as f64
    }

    /// Whether each source word is one that some target word looks at most, 1 or 0; the baseline is what target words that
    /// each look at a random source word would give, `1 − (1 − 1/S)^T`.
    ///
    /// Nothing for a head whose largest weights average below ½.
    pub fn coverage(&self) -> Sums {
        let n_links = self.links().flatten().count();
        let baseline = 1.0 - self.miss(n_links);
        let covered = self.fertilities().into_iter().map(|n| Sample { score: f64::from(u8::from(n > 0)), baseline });
        self.sums(covered.filter(|_| self.is_pointed()))
    }

    /// Whether two or more target words look most at a source word, 1 or 0, for the source words that are looked at most at all;
    /// the baseline is that of links to random source words, how many of them are expected to have two or more over how many one or
    /// more: `1 − T/S (1 − 1/S)^(T−1) / (1 − (1 − 1/S)^T)`. Nothing for a head whose largest weights average below ½.
    pub fn many_to_one(&self) -> Sums {
        let n_links = self.links().flatten().count();
        let one = n_links as f64 / self.columns.len().max(1) as f64 * self.miss(n_links.saturating_sub(1));
        let covered = 1.0 - self.miss(n_links);
        let baseline = if covered > 0.0 { 1.0 - one / covered } else { 0.0 };
        let several = self.fertilities().into_iter().filter(|n| *n > 0 && self.is_pointed());
        self.sums(several.map(|n| Sample { score: f64::from(u8::from(n > 1)), baseline }))
    }

    /// How many target words look most at each source word that is looked at most at all (Brown et al. 1993 call it fertility);
    /// the baseline is that of links to random source words, `T / (S · (1 − (1 − 1/S)^T))`. Nothing for a head whose largest weights
    /// average below ½.
    pub fn fertility(&self) -> Sums {
        let n_links = self.links().flatten().count();
        let covered = self.columns.len() as f64 * (1.0 - self.miss(n_links));
        let baseline = if covered > 0.0 { n_links as f64 / covered } else { 0.0 };
        let linked = self.fertilities().into_iter().filter(|n| *n > 0 && self.is_pointed());
        self.sums(linked.map(|n| Sample { score: n as f64, baseline }))
    }

    /// Whether a target word looks at two or more source words alike, 1 or 0: a second one has half the largest weight or more.
    pub fn one_to_many(&self) -> Sums {
        let looks = self.words.iter().flatten();
        self.sums(looks.map(|look| Sample { score: f64::from(u8::from(look.is_shared)), baseline: 0.0 }))
    }

    /// For each target word after the first, the share of the earlier ones whose link lies before its own, ties counted half: 1
    /// where the links rise, 0 where they fall. The baseline ½ is that of links to random words, and of links to one word alone.
    pub fn monotone(&self) -> Sums {
        self.sums(self.orders().map(|(before, same, _, n)| Sample { score: (before + 0.5 * same) / n, baseline: 0.5 }))
    }

    /// For each target word after the first, the share of the earlier ones whose link crosses its own: lies after it. The baseline is
    /// that of links to random words, `(1 − 1/S) / 2`.
    pub fn crossings(&self) -> Sums {
        let baseline = 0.5 * (1.0 - 1.0 / self.columns.len().max(1) as f64);
        self.sums(self.orders().map(|(_, _, after, n)| Sample { score: after / n, baseline }))
    }

    /// Whether a target word and the source word it looks at most are each other's: no other target word looks at that source word
    /// more, 1 or 0. Of texts of two target words or more.
    ///
    /// Both directions come from one map: of the target words that look at one source word most, the one that looks at it most
    /// agrees. So of links to random source words as many agree as source words are looked at, `S (1 − (1 − 1/S)^T)` of the T, which is
    /// the baseline; rows that are not sharp agree less.
    ///
    /// Two directions that agree are what alignments are made of where nothing else is known (Och & Ney 2003, §4.1); it is
    /// no proof that they are right.
    pub fn agreement(&self) -> Sums {
        let n_words = self.words.len();
        let n_links = self.links().flatten().count();
        let baseline = self.columns.len() as f64 * (1.0 - self.miss(n_links)) / n_links.max(1) as f64;
        let agrees = |(word, column): (usize, usize)| self.from[column].is_some_and(|(back, _)| back == word);
        let links = self.links().enumerate().filter_map(|(word, column)| Some((word, column?))).filter(|_| n_words > 1);
        self.sums(links.map(|link| Sample { score: f64::from(u8::from(agrees(link))), baseline }))
    }

    /// Whether the source word that a target word looks at most is the one that a reference gives it, 1 or 0, for the target words
    /// of the reference; pairs of target and source word. The baseline is the diagonal, scaled to the two lengths.
    pub fn alignment(&self, reference: &[(usize, usize)]) -> Sums {
        let n_words = self.words.len();
        let mut targets: Vec<usize> =
            reference.iter().map(|(target, _)| *target).filter(|word| *word < n_words).collect();
        targets.sort_unstable();
        targets.dedup();
        let is_right = |word: usize, column: usize| f64::from(u8::from(reference.contains(&(word, column))));
        let diagonal = |word: usize| on_diagonal(word, self.columns.len(), n_words);
        let sample = |word: usize| Sample {
            score: self.words[word].map_or(0.0, |look| is_right(word, look.column)),
            baseline: diagonal(word).map_or(0.0, |column| is_right(word, column)),
        };
        self.sums(targets.into_iter().map(sample))
    }

    /// The chance that `n` links to random source words all miss one of them.
    fn miss(&self, n: usize) -> f64 {
        (1.0 - 1.0 / self.columns.len().max(1) as f64).powf(n as f64)
    }

    /// The sums of scores; a broken map has none that is a number.
    fn sums(&self, samples: impl Iterator<Item = Sample>) -> Sums {
        match self.is_broken {
            true => Sums::of([Sample { score: f64::NAN, baseline: 0.0 }]),
            false => Sums::of(samples),
        }
    }

    /// How many target words look most at each source word. Shape `[n_columns]`.
    fn fertilities(&self) -> Vec<usize> {
        let mut n_links = vec![0; self.columns.len()]; // [n_columns]
        self.links().flatten().for_each(|column| n_links[column] += 1);
        n_links
    }

    /// For each linked target word after the first, how many of the earlier links lie before its own, at the same word and after
    /// it, and how many there are.
    fn orders(&self) -> impl Iterator<Item = (f64, f64, f64, f64)> + '_ {
        let mut seen = vec![0_u32; self.columns.len()]; // [n_columns]
        let mut n_seen = 0_u32;
        self.links().flatten().filter_map(move |column| {
            let before: u32 = seen[..column].iter().sum();
            let same = seen[column];
            let order = (f64::from(before), f64::from(same), f64::from(n_seen - before - same), f64::from(n_seen));
            seen[column] += 1;
            n_seen += 1;
            (n_seen > 1).then_some(order)
        })
    }
}

/// The token indices of each word that is no special token and no padding.
fn text_words(tokens: &Tokens) -> Vec<Range<usize>> {
    tokens.words().into_iter().filter(|word| tokens.tokens[word.start].is_text()).collect()
}

/// The links of a map read whole.
pub fn word_links(map: &AttentionMap<'_>, row_tokens: RowTokens) -> WordLinks {
    let mut links = WordLinks::new(map, row_tokens);
    Rows::of(map).for_each(|row| links.add(row));
    links
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::analysis::measure;
    use crate::attention::Shape;
    use crate::recording::Factored;
    use crate::{Buffer, Kind, Layer, Scoring, Token, TokenRole, Visibility};

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
        let sums =
            word_links(&recording.map(0, Kind::Cross, 0, 0).expect("the head exists"), RowTokens::Read).coverage();
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
        let links = word_links(&map, RowTokens::Read);
        assert!(links.links().eq(whole.iter().map(|link| Some(link.column))));
    }

    /// The links of target words to source words `columns` out of six, each with weight 0.9 on its own.
    fn linked(columns: &[usize]) -> WordLinks {
        let mut weights = vec![0.02; columns.len() * 6]; // [columns.len(), 6]
        columns.iter().enumerate().for_each(|(row, column)| weights[row * 6 + column] = 0.9);
        let recording = recording(Kind::Cross, weights, columns.len(), 6);
        word_links(&recording.map(0, Kind::Cross, 0, 0).expect("the head exists"), RowTokens::Read)
    }

    fn mean(sums: Sums) -> (f64, u64) {
        ((sums.mean().expect("there are words") * 1e6).round() / 1e6, sums.n)
    }

    #[test]
    fn links_that_rise_are_monotone_and_those_that_fall_cross() {
        assert_eq!(mean(linked(&[0, 1, 3, 5]).monotone()), (1.0, 3));
        assert_eq!(mean(linked(&[5, 3, 1, 0]).monotone()), (0.0, 3));
        assert_eq!(mean(linked(&[2, 2, 2, 2]).monotone()), (0.5, 3), "one word alone has no order");
        // a, pomme, rouge: 0, 2, 1; the third lies after one of two
        assert_eq!(mean(linked(&[0, 2, 1]).monotone()), (0.75, 2));
        assert_eq!(mean(linked(&[0, 2, 1]).crossings()), (0.25, 2));
    }

    #[test]
    fn several_target_words_to_one_source_word_are_counted() {
        let links = linked(&[0, 0, 1, 2]);
        assert_eq!(mean(links.many_to_one()), (0.333_333, 3));
        assert_eq!(mean(links.fertility()), (1.333_333, 3));
        let baseline = links.fertility().mean_baseline().expect("three words");
        assert!((baseline - 4.0 / (6.0 * (1.0 - (5.0_f64 / 6.0).powi(4)))).abs() < 1e-9);
        let baseline = links.many_to_one().mean_baseline().expect("three words");
        assert!(
            (baseline - (1.0 - 4.0 / 6.0 * (5.0_f64 / 6.0).powi(3) / (1.0 - (5.0_f64 / 6.0).powi(4)))).abs() < 1e-9
        );
        assert_eq!(mean(links.agreement()), (0.75, 4), "the second word's source is the first's");
        assert_eq!(mean(links.one_to_many()), (0.0, 4));
    }

    #[test]
    fn padding_that_has_the_number_of_a_word_is_no_piece_of_it() {
        // a map made of queries and keys is read up to the last key that is no padding
        let mut recording = recording(Kind::Cross, Vec::new(), 2, 3);
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 3, d_head: 1, d_value: 0 };
        let zeros = |n: usize| Buffer::from(vec![0.0_f32; n]).into();
        let lse = vec![2.0_f64.ln(); 2].into();
        let scoring = Scoring::scaled_dot_product(1, Visibility::FULL);
        let weights = Factored { scoring, queries: zeros(2), keys: zeros(3), lse, mask: None, key_bias: None };
        recording.layers = vec![Layer::new(Kind::Cross, 0, shape, weights)];
        let source = &mut recording.items[0].source.tokens;
        source[2] = Token { role: TokenRole::Padding, word: source[1].word, ..Token::labelled("<pad>") };
        let heads = measure(&recording, 0).expect("the text exists");
        assert_eq!(heads[0].score("one-to-many").map(|score| score.n), Some(2), "two target words");
    }

    /// Calls `see` with every way to link `n_targets` target words to six source words.
    fn every_way(n_targets: usize, mut see: impl FnMut(&WordLinks)) {
        for number in 0..6_usize.pow(n_targets as u32) {
            let columns: Vec<usize> = (0..n_targets).map(|word| number / 6_usize.pow(word as u32) % 6).collect();
            see(&linked(&columns));
        }
    }

    #[test]
    fn baselines_of_chance_are_the_means_over_every_way_to_link_the_words() {
        for of in [WordLinks::agreement, WordLinks::many_to_one, WordLinks::fertility, WordLinks::coverage] {
            let (mut sums, mut baseline) = (Sums::default(), 0.0);
            every_way(4, |links| {
                sums.merge(&of(links));
                baseline = of(links).mean_baseline().expect("there are links");
            });
            assert!((sums.mean().expect("there are links") - baseline).abs() < 1e-6, "{sums:?} {baseline}");
        }
    }

    #[test]
    fn links_are_held_against_a_reference_and_the_diagonal() {
        let sums = linked(&[0, 2, 1]).alignment(&[(0, 0), (1, 2), (1, 3), (2, 2), (9, 9)]);
        assert_eq!(mean(sums), (0.666_667, 3), "a target word may have several");
        // the diagonal of 3 × 6 words is at 1, 3, 5
        assert!((sums.mean_baseline().expect("three words") - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_word_with_two_large_weights_looks_at_both() {
        let recording = recording(Kind::Cross, vec![0.5, 0.3, 0.1, 0.6, 0.2, 0.2], 2, 3);
        let links = word_links(&recording.map(0, Kind::Cross, 0, 0).expect("the head exists"), RowTokens::Read);
        assert_eq!(mean(links.one_to_many()), (0.5, 2));
    }
}
