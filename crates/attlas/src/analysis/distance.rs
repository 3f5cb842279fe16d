//! Which heads look alike: the distance of every two heads of a kind.

use rayon::prelude::*;

use super::divergence::Maps;
use super::rows::evenly;
use super::sums::refuse_other_heads;
use super::{Plane, Sums, plane};
use crate::{Error, HeadId, Kind, Recording};

/// How far every two heads of a kind are apart on one text, or on several.
///
/// The distance of two heads is the mean over queries of the Jensen–Shannon divergence of their rows (see
/// [`divergence()`](super::divergence())), in nats, 0 to ln 2 = 0.693 (Clark et al. 2019, §6, who add it up over the tokens
/// and smooth the rows first: neither is done here). What a learned sink takes of a row counts as a place of its own. Rows
/// that see no key are left out; a row with a number that is no weight leaves its head without distances.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadDistances {
    /// The kind of attention.
    pub kind: Kind,
    /// The heads, layer by layer.
    pub heads: Vec<HeadId>,
    /// Rows that were read of each head: of long texts evenly spaced ones.
    pub n_rows: u64,
    /// Rows that the texts have.
    pub n_queries: u64,
    /// Of each pair, in the order of [`pairs`].
    sums: Vec<Sums>,
}

impl HeadDistances {
    /// The distances on text `item`.
    ///
    /// Memory is linear in the length of the text: rows of all heads are read together, some at a time (128 MB, or one row), and of
    /// texts that are too long to read whole evenly spaced ones.
    ///
    /// # Errors
    /// When there is no such kind or text, the maps of the kind are not of the same tokens, or the file cannot be read;
    /// [`Error::TooMany`] of more than 2048 heads, or of more than 2²⁷ weights in a row of all of them.
    pub fn of(recording: &Recording, kind: Kind, item: usize) -> Result<HeadDistances, Error> {
        let mut maps = Maps::of(recording, kind, item)?;
        maps.check_paired()?;
        let heads = maps.ids();
        let pairs: Vec<(usize, usize)> = pairs(heads.len()).collect();
        let n_queries = maps.queries.len();
        let n_rows = Maps::n_sampled(n_queries, maps.keys.len(), pairs.len());
        maps.queries = evenly(n_queries, n_rows).map(|row| maps.queries[row]).collect();
        let mut sums = vec![Sums::default(); pairs.len()];
        for band in maps.bands(0)? {
            let rows = maps.read(band)?;
            sums.par_iter_mut().zip(&pairs).for_each(|(sums, &(a, b))| sums.merge(&rows.between(a, &rows, b)));
        }
        Ok(HeadDistances { kind, heads, n_rows: n_rows as u64, n_queries: n_queries as u64, sums })
    }

    /// The distances on all texts of a recording together.
    ///
    /// # Errors
    /// As [`HeadDistances::of`]; also when the recording has no text.
    pub fn of_all(recording: &Recording, kind: Kind) -> Result<HeadDistances, Error> {
        let mut all = HeadDistances::of(recording, kind, 0)?;
        for item in 1..recording.items.len() {
            all.merge(&HeadDistances::of(recording, kind, item)?)?;
        }
        Ok(all)
    }

    /// Takes in what another text says of the same heads; any order of the texts gives the same.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the heads are others.
    pub fn merge(&mut self, other: &HeadDistances) -> Result<(), Error> {
        refuse_other_heads("distances", (self.kind, &self.heads), (other.kind, &other.heads))?;
        self.sums.iter_mut().zip(&other.sums).for_each(|(sums, others)| sums.merge(others));
        self.n_rows += other.n_rows;
        self.n_queries += other.n_queries;
        Ok(())
    }

    /// The distance of the heads at two places of [`heads`](Self::heads), in nats; 0 of a head from itself. `None` where a row of
    /// either has a number that is no weight, or no row of both sees a key.
    pub fn between(&self, a: usize, b: usize) -> Option<f64> {
        let (first, second, n) = (a.min(b), a.max(b), self.heads.len());
        match second < n {
            false => None,
            true if first == second => Some(0.0),
            true => self.sums[first * (2 * n - first - 1) / 2 + second - first - 1].mean(),
        }
    }

    /// The distance in the middle of those of all pairs of heads: how far two heads of this kind are apart.
    pub fn median(&self) -> Option<f64> {
        median(self.sums.iter().filter_map(Sums::mean).collect())
    }

    /// The heads in a plane, those that are alike near each other, and the places of those heads in [`heads`](Self::heads);
    /// heads without distances are left out.
    ///
    /// What is drawn is √JSD: a metric, also after averaging over queries, that some points of a space have as their
    /// distances without a rest (Fuglede and Topsøe 2004), so the plane's share of their variance is a true one. See [`plane()`].
    pub fn plane(&self) -> (Vec<usize>, Plane) {
        let n = self.heads.len();
        let has_any = |&a: &usize| n == 1 || (0..n).any(|b| a != b && self.between(a, b).is_some());
        let mut shown: Vec<usize> = (0..n).filter(has_any).collect();
        // heads whose rows see keys nowhere together have no distance: the later of two goes
        while let Some(&later) = shown.iter().find(|&&b| shown.iter().any(|&a| a < b && self.between(a, b).is_none())) {
            shown.retain(|&head| head != later);
        }
        let square = |a: usize, b: usize| self.between(a, b).unwrap_or(0.0);
        let squares: Vec<f64> = shown.iter().flat_map(|&a| shown.iter().map(move |&b| square(a, b))).collect();
        let plane = plane(&squares, shown.len());
        (shown, plane)
    }
}

/// Every two of `n`, the first before the second: (0, 1), (0, 2), … (1, 2), …
pub(super) fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |a| (a + 1..n).map(move |b| (a, b)))
}

/// The number in the middle, or the mean of the two there.
pub(super) fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    let (n, half) = (numbers.len(), numbers.len() / 2);
    let upper = *numbers.get(half)?;
    Some(if n % 2 == 1 { upper } else { numbers[half - 1].midpoint(upper) })
}
