//! What links are right, and how many of a head's links are.

use super::{Alignment, Pair};
use crate::analysis::{Sample, Sums};

/// The right links of a sentence pair: the sure ones, and those that are possible, too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reference {
    sure: Alignment,
    possible: Alignment,
}

impl Reference {
    /// Sure links, and others that are possible.
    pub fn new(sure: Alignment, others: &Alignment) -> Reference {
        Reference { possible: sure.pairs().chain(others.pairs()).collect(), sure }
    }

    /// The sure links.
    pub fn sure(&self) -> &Alignment {
        &self.sure
    }

    /// The possible links, the sure ones among them.
    pub fn possible(&self) -> &Alignment {
        &self.possible
    }

    /// What does not fit a sentence pair of so many words: the first link outside of it, in words; `None` where all fit.
    pub fn misfit(&self, n_source: usize, n_target: usize) -> Option<String> {
        let pair = self.possible.pairs().find(|pair| pair.source >= n_source || pair.target >= n_target)?;
        let (side, word, n) = match pair.source >= n_source {
            true => ("source", pair.source, n_source),
            false => ("target", pair.target, n_target),
        };
        let cause = if word == n { "; do its words count from 1, or are its sides changed over?" } else { "" };
        Some(format!(
            "the link of source word {} and target word {}, counted from 0, is outside the pair: the {side} has {n} words, 0 to {}{cause}",
            pair.source,
            pair.target,
            n as i64 - 1,
        ))
    }
}

/// Links held against references, over a corpus: counts that add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Links found: `|A|`.
    pub n_links: u64,
    /// Sure links of the references: `|S|`.
    pub n_sure: u64,
    /// Links found that are sure: `|A ∩ S|`.
    pub n_found_sure: u64,
    /// Links found that are possible: `|A ∩ P|`.
    pub n_found_possible: u64,
}

impl Tally {
    /// The counts of one sentence pair.
    pub fn of(links: &Alignment, reference: &Reference) -> Tally {
        Tally {
            n_links: links.len() as u64,
            n_sure: reference.sure.len() as u64,
            n_found_sure: links.n_shared(&reference.sure) as u64,
            n_found_possible: links.n_shared(&reference.possible) as u64,
        }
    }

    /// Adds another sentence pair's, or another part's, counts.
    pub fn merge(&mut self, other: &Tally) {
        self.n_links += other.n_links;
        self.n_sure += other.n_sure;
        self.n_found_sure += other.n_found_sure;
        self.n_found_possible += other.n_found_possible;
    }

    /// Alignment error rate, `1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|)`, in 0 ..= 1; `None` without links and sure links
    /// (Och & Ney 2003, §4.1).
    pub fn error_rate(&self) -> Option<f64> {
        let n = self.n_links + self.n_sure;
        (n > 0).then(|| 1.0 - (self.n_found_sure + self.n_found_possible) as f64 / n as f64)
    }

    /// `|A ∩ P| / |A|`, in 0 ..= 1; `None` without links.
    pub fn precision(&self) -> Option<f64> {
        (self.n_links > 0).then(|| self.n_found_possible as f64 / self.n_links as f64)
    }

    /// `|A ∩ S| / |S|`, in 0 ..= 1; `None` without sure links.
    pub fn recall(&self) -> Option<f64> {
        (self.n_sure > 0).then(|| self.n_found_sure as f64 / self.n_sure as f64)
    }
}

/// For each target word that the reference links surely, whether the source word that it looks at most is a possible link of
/// it: 1 or 0, and 0 where it looks at none. The baseline is the [diagonal](Alignment::diagonal)'s hit.
///
/// `links` are those of one direction: a source word, or none, for each target word. Sums of several texts merge.
pub fn hits(links: &Alignment, reference: &Reference, [n_source, n_target]: [usize; 2]) -> Sums {
    let diagonal = Alignment::diagonal(n_source, n_target);
    let hit = |links: &Alignment, target: usize| {
        let pairs = links.0.range(Pair::new(0, target)..=Pair::new(usize::MAX, target));
        f64::from(u8::from(pairs.into_iter().any(|pair| reference.possible.contains(*pair))))
    };
    let mut targets: Vec<usize> = reference.sure.pairs().map(|pair| pair.target).collect();
    targets.dedup(); // pairs are in order of the target words
    let mut sums = Sums::default();
    for target in targets {
        sums.add(Sample { score: hit(links, target), baseline: hit(&diagonal, target) });
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alignment(pairs: &[(usize, usize)]) -> Alignment {
        pairs.iter().map(|(source, target)| Pair::new(*source, *target)).collect()
    }

    #[test]
    fn the_error_rate_counts_sure_links_twice() {
        let reference = Reference::new(alignment(&[(0, 0), (1, 2)]), &alignment(&[(2, 1)]));
        let tally = Tally::of(&alignment(&[(0, 0), (2, 1), (1, 1)]), &reference);
        // |A| 3, |S| 2, |A ∩ S| 1, |A ∩ P| 2
        assert!((tally.error_rate().expect("there are links") - 0.4).abs() < 1e-12);
        assert_eq!((tally.precision(), tally.recall()), (Some(2.0 / 3.0), Some(0.5)));
        let mut both = tally;
        both.merge(&tally);
        assert_eq!((both.error_rate(), both.n_links), (tally.error_rate(), 6));
    }

    #[test]
    fn without_links_and_reference_there_is_no_rate() {
        let nothing = Tally::default();
        assert_eq!((nothing.error_rate(), nothing.precision(), nothing.recall()), (None, None, None));
    }

    #[test]
    fn hits_count_the_target_words_that_are_surely_linked() {
        let reference = Reference::new(alignment(&[(2, 0), (0, 2)]), &alignment(&[(1, 0), (1, 1)]));
        let sums = hits(&alignment(&[(1, 0), (0, 1)]), &reference, [3, 3]);
        // word 0: a possible link; word 1 has no sure one; word 2 looks at nothing. The diagonal hits neither.
        assert_eq!((sums.n, sums.mean(), sums.mean_baseline()), (2, Some(0.5), Some(0.0)));
    }

    #[test]
    fn a_link_outside_the_pair_is_named_and_one_past_the_end_is_asked_about() {
        let reference = |source, target| Reference::new(alignment(&[(0, 0), (source, target)]), &Alignment::default());
        assert_eq!(reference(2, 1).misfit(3, 2), None);
        let misfit = |source, target| reference(source, target).misfit(3, 2).expect("it does not fit");
        assert!(misfit(3, 1).contains("the source has 3 words, 0 to 2; do its words count from 1"), "{}", misfit(3, 1));
        assert!(misfit(1, 9).ends_with("the target has 2 words, 0 to 1"), "{}", misfit(1, 9));
    }
}
