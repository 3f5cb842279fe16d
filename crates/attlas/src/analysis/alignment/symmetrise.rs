//! Two alignments of one sentence pair, made in either direction, combined to one.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Alignment, Pair};

/// The neighbours of a pair, in the order in which they are tried: (source, target).
const NEIGHBOURS: [(isize, isize); 8] = [(-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1)];

/// How the alignments of two directions become one (Och & Ney 2003, §3.3; Koehn et al. 2003, §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symmetrise {
    /// Pairs that both directions have: precise.
    Intersection,
    /// Pairs that either direction has: complete.
    Union,
    /// The intersection, and again and again a neighbour of a pair, diagonals among them, that is in the union and both of whose
    /// words have no pair yet.
    GrowDiag,
    /// The same, and then any pair of either direction one of whose words has no pair yet.
    GrowDiagFinal,
    /// The same, and then any pair of either direction both of whose words have no pair yet.
    GrowDiagFinalAnd,
}

impl Symmetrise {
    /// All ways.
    pub const ALL: [Symmetrise; 5] = [
        Symmetrise::Intersection,
        Symmetrise::Union,
        Symmetrise::GrowDiag,
        Symmetrise::GrowDiagFinal,
        Symmetrise::GrowDiagFinalAnd,
    ];

    /// The usual name.
    pub fn name(self) -> &'static str {
        match self {
            Symmetrise::Intersection => "intersection",
            Symmetrise::Union => "union",
            Symmetrise::GrowDiag => "grow-diag",
            Symmetrise::GrowDiagFinal => "grow-diag-final",
            Symmetrise::GrowDiagFinalAnd => "grow-diag-final-and",
        }
    }

    /// One alignment of two; both are pairs of the same source and target words.
    ///
    /// A neighbour must bring two new words, as in the pseudo-code that evaluations of neural aligners follow (Zenkel et al. 2019);
    /// Moses' own program asks for one, and so adds more.
    pub fn of(self, forward: &Alignment, backward: &Alignment) -> Alignment {
        let union: Alignment = forward.pairs().chain(backward.pairs()).collect();
        let intersection = || forward.pairs().filter(|pair| backward.contains(*pair)).collect();
        let grown = || Growing::new(&intersection()).grow(&union);
        match self {
            Symmetrise::Intersection => intersection(),
            Symmetrise::Union => union,
            Symmetrise::GrowDiag => grown().alignment(),
            Symmetrise::GrowDiagFinal => grown().finish(forward, 1).finish(backward, 1).alignment(),
            Symmetrise::GrowDiagFinalAnd => grown().finish(forward, 2).finish(backward, 2).alignment(),
        }
    }
}

impl FromStr for Symmetrise {
    type Err = String;

    fn from_str(text: &str) -> Result<Symmetrise, String> {
        Symmetrise::ALL.into_iter().find(|way| way.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Symmetrise::ALL.iter().map(|way| way.name()).collect();
            format!("unknown way \"{text}\"; there are {}", names.join(", "))
        })
    }
}

/// An alignment to which pairs are added.
struct Growing {
    /// In order of the source words: (source, target).
    pairs: BTreeSet<(usize, usize)>,
    sources: BTreeSet<usize>,
    targets: BTreeSet<usize>,
}

impl Growing {
    fn new(alignment: &Alignment) -> Growing {
        let mut growing = Growing { pairs: BTreeSet::new(), sources: BTreeSet::new(), targets: BTreeSet::new() };
        alignment.pairs().for_each(|pair| growing.add(pair.source, pair.target));
        growing
    }

    fn add(&mut self, source: usize, target: usize) {
        self.pairs.insert((source, target));
        self.sources.insert(source);
        self.targets.insert(target);
    }

    /// How many of two words have no pair yet.
    fn n_new(&self, source: usize, target: usize) -> usize {
        usize::from(!self.sources.contains(&source)) + usize::from(!self.targets.contains(&target))
    }

    /// Sweeps over the pairs, those just added among them, until a sweep adds none.
    fn grow(mut self, union: &Alignment) -> Growing {
        loop {
            let n_before = self.pairs.len();
            let mut next = self.pairs.first().copied();
            while let Some(pair) = next {
                for (down, right) in NEIGHBOURS {
                    let Some(source) = pair.0.checked_add_signed(down) else { continue };
                    let Some(target) = pair.1.checked_add_signed(right) else { continue };
                    if self.n_new(source, target) == 2 && union.contains(Pair::new(source, target)) {
                        self.add(source, target);
                    }
                }
                next = self.pairs.range((pair.0, pair.1 + 1)..).next().copied();
            }
            if self.pairs.len() == n_before {
                return self;
            }
        }
    }

    /// Adds the pairs of one direction that bring at least so many new words, in order of the source words.
    fn finish(mut self, direction: &Alignment, n_new: usize) -> Growing {
        let candidates: BTreeSet<(usize, usize)> = direction.pairs().map(|pair| (pair.source, pair.target)).collect();
        for (source, target) in candidates {
            if self.n_new(source, target) >= n_new {
                self.add(source, target);
            }
        }
        self
    }

    fn alignment(self) -> Alignment {
        self.pairs.into_iter().map(|(source, target)| Pair::new(source, target)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alignment(pairs: &[(usize, usize)]) -> Alignment {
        pairs.iter().map(|(source, target)| Pair::new(*source, *target)).collect()
    }

    #[test]
    fn growing_goes_along_neighbours_and_finishing_takes_the_others() {
        let forward = alignment(&[(0, 0), (1, 1), (5, 5), (0, 7)]);
        let backward = alignment(&[(0, 0), (2, 2), (6, 3)]);
        let by = |way: Symmetrise| way.of(&forward, &backward);
        assert_eq!(by(Symmetrise::Intersection), alignment(&[(0, 0)]));
        assert_eq!(by(Symmetrise::Union).len(), 6);
        // (1, 1) is next to (0, 0), and (2, 2) to that
        assert_eq!(by(Symmetrise::GrowDiag), alignment(&[(0, 0), (1, 1), (2, 2)]));
        let and = alignment(&[(0, 0), (1, 1), (2, 2), (5, 5), (6, 3)]);
        assert_eq!(by(Symmetrise::GrowDiagFinalAnd), and, "of (0, 7) the source word has a pair");
        assert_eq!(by(Symmetrise::GrowDiagFinal).len(), 6);
    }

    #[test]
    fn two_alignments_without_a_common_pair_grow_to_nothing() {
        let (forward, backward) = (alignment(&[(0, 1)]), alignment(&[(1, 0)]));
        assert!(Symmetrise::GrowDiag.of(&forward, &backward).is_empty());
        assert!(Symmetrise::Union.of(&Alignment::default(), &Alignment::default()).is_empty());
    }

    #[test]
    fn every_way_is_found_by_its_name() {
        for way in Symmetrise::ALL {
            assert_eq!(way.name().parse(), Ok(way));
        }
        assert!("grow".parse::<Symmetrise>().unwrap_err().contains("there are intersection, union, grow-diag"));
    }
}
