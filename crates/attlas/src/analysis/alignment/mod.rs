//! Word alignment read from cross-attention: which source word each target word looks at most, and how right that is.
//!
//! A [`WordMap`] reads heads as weights between words; [`WordMap::links`] are an [`Alignment`], which [`Symmetrise`] combines with
//! one of the other direction and [`Tally`] holds against a [`Reference`]. Whether the links of a head are right takes such a
//! reference: gold, a dictionary, or, weaker, that both directions of the head agree ([`Links::overlap`]). Coverage, how many
//! source words some target word looks at, says nothing about it.

mod pharaoh;
mod reference;
mod scores;
mod symmetrise;
mod word_map;

use std::collections::BTreeSet;
use std::fmt;

pub use pharaoh::{LinkOrder, parse_references};
pub use reference::{Reference, Tally, hits};
pub use scores::{ALIGNING_ROWS, Aligner, HeadScores, Score};
pub use symmetrise::Symmetrise;
pub use word_map::{Links, Unit, WordMap};

use serde::Serialize;

/// A source word and a target word that belong together, both counted from 0.
///
/// In order of the target words, and of the source words of one target word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Pair {
    /// The target word.
    pub target: usize,
    /// The source word.
    pub source: usize,
}

impl Pair {
    /// The pair of a source and a target word.
    pub fn new(source: usize, target: usize) -> Pair {
        Pair { target, source }
    }
}

/// Which words of a sentence pair belong together. Shown in the Pharaoh format, source before target: `0-0 2-1`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Alignment(BTreeSet<Pair>);

impl Alignment {
    /// The pairs, in order of the target words.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> + '_ {
        self.0.iter().copied()
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pair is one of them.
    pub fn contains(&self, pair: Pair) -> bool {
        self.0.contains(&pair)
    }

    /// Adds a pair.
    pub fn insert(&mut self, pair: Pair) {
        self.0.insert(pair);
    }

    /// How many pairs are also in `other`.
    pub fn n_shared(&self, other: &Alignment) -> usize {
        self.0.intersection(&other.0).count()
    }

    /// The same pairs with source and target changed over.
    pub fn transposed(&self) -> Alignment {
        self.pairs().map(|pair| Pair::new(pair.target, pair.source)).collect()
    }

    /// What knowing nothing but the lengths would link: each target word with the source word as far along its sentence.
    /// Nothing where there is no source word.
    pub fn diagonal(n_source: usize, n_target: usize) -> Alignment {
        (0..n_target).filter_map(|target| Some(Pair::new(on_diagonal(target, n_source, n_target)?, target))).collect()
    }
}

/// The source word as far along its sentence as a target word is along its own; `None` where there is no source word.
pub fn on_diagonal(target: usize, n_source: usize, n_target: usize) -> Option<usize> {
    let source = ((target as f64 + 0.5) * n_source as f64 / n_target as f64) as usize;
    Some(source.min(n_source.checked_sub(1)?))
}

impl FromIterator<Pair> for Alignment {
    fn from_iter<I: IntoIterator<Item = Pair>>(pairs: I) -> Alignment {
        Alignment(pairs.into_iter().collect())
    }
}

impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pair) in self.pairs().enumerate() {
            let gap = if index == 0 { "" } else { " " };
            write!(f, "{gap}{}-{}", pair.source, pair.target)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_written_source_first_in_order_of_the_target() {
        let alignment: Alignment = [Pair::new(2, 0), Pair::new(0, 1), Pair::new(2, 0)].into_iter().collect();
        assert_eq!(alignment.to_string(), "2-0 0-1");
        assert_eq!(alignment.transposed().to_string(), "1-0 0-2");
        assert_eq!(Alignment::default().to_string(), "");
    }

    #[test]
    fn the_diagonal_goes_as_far_along_the_source_as_along_the_target() {
        assert_eq!(Alignment::diagonal(2, 4).to_string(), "0-0 0-1 1-2 1-3");
        assert_eq!(Alignment::diagonal(5, 2).to_string(), "1-0 3-1");
        assert_eq!(Alignment::diagonal(0, 2).to_string(), "");
        assert_eq!(Alignment::diagonal(2, 0).to_string(), "");
    }
}
