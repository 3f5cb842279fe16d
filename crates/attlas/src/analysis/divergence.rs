//! How far the rows of two heads are apart: the Jensen–Shannon divergence, for many pairs of heads at once.

use std::ops::Range;

use rayon::prelude::*;

use super::heads::MAX_WEIGHTS;
use super::{Sample, Sums};
use crate::{AttentionMap, Error, HeadId, Kind, Layer, Recording};

/// The largest divergence, `ln 2`: two rows that look at nothing in common.
pub const MAX_DIVERGENCE: f64 = std::f64::consts::LN_2;

/// Numbers of all heads held at a time, but never fewer than a row of each.
const BAND: usize = 1 << 24;
/// Numbers in a row of all heads together at most: 1 GB.
const MAX_ROW: usize = 1 << 27;
/// Heads of which all pairs are compared at most: of 2048 these are two million.
const MAX_PAIRED: usize = 2048;
/// Weights of all pairs together; where they are more, rows are sampled, but never fewer than [`LEAST_ROWS`].
const MAX_PAIR_WEIGHTS: usize = 1 << 30;
const LEAST_ROWS: usize = 16;

/// The Jensen–Shannon divergence of two distributions over the same places, in nats.
///
/// `JSD(p, q) = H((p + q)/2) − (H(p) + H(q))/2`, `H(p) = −Σ p ln p`: 0 exactly when they are equal, `ln 2` when no place has
/// a share of both; the same from either side. Its square root is a metric (Endres and Schindelin 2003). NaN where a share
/// is none.
pub fn divergence(p: &[f64], q: &[f64]) -> f64 {
    less_entropies(entropy_of_mean(p, q), entropy_of_mean(p, p), entropy_of_mean(q, q))
}

/// The total variation distance of two distributions over the same places: `½ Σ |p − q|`, 0 when they are equal, 1 when no place has
/// a share of both.
pub fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0
}

/// The divergence, from the entropies of the mean and of both; cut to its range, which rounding may leave.
fn less_entropies(of_mean: f64, of_p: f64, of_q: f64) -> f64 {
    let divergence = of_mean - (of_p + of_q) / 2.0;
    if divergence.is_nan() { divergence } else { divergence.clamp(0.0, MAX_DIVERGENCE) }
}

/// `−Σ m ln m` of `m = (p + q)/2`, in nats; the entropy of `p` where both are `p`, to the same last digit.
fn entropy_of_mean(p: &[f64], q: &[f64]) -> f64 {
    let ((p_chunks, p_rest), (q_chunks, q_rest)) = (p.as_chunks::<8>(), q.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (p, q) in p_chunks.iter().zip(q_chunks) {
        for lane in 0..8 {
            let mean = (p[lane] + q[lane]) * 0.5;
            sums[lane] -= mean * ln(mean);
        }
    }
    for (p, q) in p_rest.iter().zip(q_rest) {
        let mean = (p + q) * 0.5;
        sums[0] -= mean * ln(mean);
    }
    sums.iter().sum()
}

/// The natural logarithm of a positive normal number, within 10⁻¹² of it; some number at 0.
///
/// `x = 2^e · m` with m in √½ .. √2, and `ln m = 2 (s + s³/3 + s⁵/5 + … + s¹³/13)` with `s = (m − 1)/(m + 1)`. Without a branch,
/// so that the compiler takes several at once (twice as fast as the library's on the plainest x86-64), and without
/// the library, so that every machine gives the same bytes.
#[inline]
fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3FE6_A09E_667F_3BCD;
    const ONE: u64 = 0x3FF0_0000_0000_0000;
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    // the bits of x over those of √½: exponent above, what is left of the mantissa below
    let bits = x.to_bits().wrapping_add(ONE - SQRT_HALF);
    let exponent = f64::from_bits((bits >> 52) | TWO_52) - (f64::from_bits(TWO_52) + 1023.0);
    let m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) + SQRT_HALF);
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 1.0 / 7.0 + square * (1.0 / 9.0 + square * (1.0 / 11.0 + square * (1.0 / 13.0)));
    exponent * std::f64::consts::LN_2 + 2.0 * s * (1.0 + square * (1.0 / 3.0 + square * (0.2 + square * series)))
}

/// The heads of one kind on one text, and which rows and columns of their maps are read.
#[derive(Debug, Clone)]
pub(super) struct Maps<'a> {
    recording: &'a Recording,
    item: usize,
    /// Layer and head of each map.
    pub heads: Vec<(&'a Layer, usize)>,
    /// The rows read, rising.
    pub queries: Vec<usize>,
    /// The columns that count as a place of their own, rising; the weight of all others is one more place.
    pub keys: Vec<usize>,
}

impl<'a> Maps<'a> {
    /// All heads of a kind, all rows and columns of a text but padding.
    ///
    /// # Errors
    /// When there is no such kind or text, or the maps are of different tokens.
    pub fn of(recording: &'a Recording, kind: Kind, item: usize) -> Result<Maps<'a>, Error> {
        let n_items = recording.items.len();
        let tokens = recording.items.get(item).ok_or(Error::NoItem { item, n_items })?;
        let layers: Vec<&Layer> = recording.layers_of(kind).collect();
        let Some(first) = layers.first() else {
            return Err(Error::NoKind { kind, available: recording.available() });
        };
        let axes = |layer: &'a Layer| {
            let shape = layer.shape;
            (shape.n_queries, shape.n_keys, &layer.query_axis, &layer.key_axis)
        };
        if let Some(other) = layers.iter().find(|layer| axes(layer) != axes(first)) {
            let sizes = |layer: &Layer| format!("{} × {}", layer.shape.n_queries, layer.shape.n_keys);
            return Err(Error::Inconsistent(format!(
                "{first} has maps of {} tokens and {other} of {}, or of other tokens: heads are compared on the same tokens",
                sizes(first),
                sizes(other)
            )));
        }
        let heads = layers.iter().flat_map(|&layer| (0..layer.shape.n_heads).map(move |head| (layer, head))).collect();
        let queries = first.query_tokens(tokens).unpadded(first.shape.n_queries);
        let keys = first.key_tokens(tokens).unpadded(first.shape.n_keys);
        Ok(Maps { recording, item, heads, queries, keys })
    }

    /// Which heads these are.
    pub fn ids(&self) -> Vec<HeadId> {
        self.heads.iter().map(|&(layer, head)| HeadId { layer: layer.index, head }).collect()
    }

    /// How many rows of `n_keys` weights are read where `n_pairs` pairs of heads are compared on `n_rows`.
    pub fn n_sampled(n_rows: usize, n_keys: usize, n_pairs: usize) -> usize {
        let of_pairs = (MAX_PAIR_WEIGHTS / n_keys.max(1) / n_pairs.max(1)).max(LEAST_ROWS);
        n_rows.min(of_pairs).min((MAX_WEIGHTS / n_keys.max(1)).max(1))
    }

    /// Refuses more heads than all pairs of can be compared.
    ///
    /// # Errors
    /// [`Error::TooMany`] of more than 2048.
    pub fn check_paired(&self) -> Result<(), Error> {
        match self.heads.len() {
            n if n > MAX_PAIRED => Err(Error::TooMany {
                what: self.kind_in_words(),
                n,
                things: "heads to compare each with each",
                limit: MAX_PAIRED,
            }),
            _ => Ok(()),
        }
    }

    fn kind_in_words(&self) -> String {
        self.heads.first().map_or_else(String::new, |(layer, _)| format!("{} attention", layer.kind))
    }

    /// Stretches of rows that are held at a time, together with `n_others` heads of another recording.
    ///
    /// # Errors
    /// [`Error::TooMany`] when one row of all of them has more than 2²⁷ numbers.
    pub fn bands(&self, n_others: usize) -> Result<impl Iterator<Item = Range<usize>> + use<>, Error> {
        let n_heads = (self.heads.len() + n_others).max(1);
        let n_numbers = n_heads.saturating_mul(self.keys.len() + 1);
        if n_numbers > MAX_ROW {
            let what = format!("a row of {n_heads} heads of {}", self.kind_in_words());
            return Err(Error::TooMany { what, n: n_numbers, things: "weights together", limit: MAX_ROW });
        }
        let (n_rows, step) = (self.queries.len(), (BAND / n_numbers).max(1));
        Ok((0..n_rows).step_by(step).map(move |start| start..(start + step).min(n_rows)))
    }

    /// The rows of all heads, as distributions.
    ///
    /// # Errors
    /// When a map's numbers lie in a file that cannot be read.
    pub fn read(&self, rows: Range<usize>) -> Result<Distributions, Error> {
        let (n_rows, n_places) = (rows.len(), self.keys.len() + 1);
        let queries = &self.queries[rows];
        let of_head = |&(layer, head): &(&'a Layer, usize)| -> Result<_, Error> {
            let map = self.recording.map_of(layer, self.item, head)?;
            Ok(self.of_map(&map, queries))
        };
        let heads: Vec<(Vec<f64>, Vec<Option<f64>>)> =
            self.heads.par_iter().map(of_head).collect::<Result<_, Error>>()?;
        let (shares, entropies) = heads.into_iter().unzip();
        Ok(Distributions { n_rows, n_places, shares, entropies })
    }

    /// Shares and entropies of some rows of a map; see [`Distributions`].
    fn of_map(&self, map: &AttentionMap<'_>, queries: &[usize]) -> (Vec<f64>, Vec<Option<f64>>) {
        let n_keys = map.n_keys();
        let others: Vec<usize> = (0..n_keys).filter(|key| self.keys.binary_search(key).is_err()).collect();
        let band = map.rows(queries, 0..map.n_keys()); // [queries, n_keys]
        let mut shares = Vec::with_capacity(queries.len() * (self.keys.len() + 1)); // [queries, places]
        let mut entropies = Vec::with_capacity(queries.len()); // [queries]
        for (row, &query) in band.chunks(n_keys.max(1)).zip(queries) {
            let start = shares.len();
            let elsewhere: f64 = others.iter().map(|&key| f64::from(row[key])).sum();
            shares.extend(self.keys.iter().map(|&key| f64::from(row[key])));
            shares.push(elsewhere + f64::from(map.sink_mass(query)));
            entropies.push(normalise(&mut shares[start..]));
        }
        (shares, entropies)
    }
}

/// Makes shares of weights, and gives their entropy: NaN where one is no weight, `None` where there is nothing to share.
fn normalise(row: &mut [f64]) -> Option<f64> {
    if row.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
        return Some(f64::NAN);
    }
    let total: f64 = row.iter().sum();
    if total <= 0.0 {
        return None;
    }
    row.iter_mut().for_each(|weight| *weight /= total);
    Some(entropy_of_mean(row, row))
}

/// Some rows of several heads, as distributions over the same places: each key that counts, and one place for what is left:
/// other keys, and a learned sink.
#[derive(Debug, Clone)]
pub(super) struct Distributions {
    pub n_rows: usize,
    /// Keys that count, and one.
    pub n_places: usize,
    /// Of each head. Shape `[n_rows, n_places]`.
    shares: Vec<Vec<f64>>,
    /// Of each head, in nats: NaN for a row with a number that is no weight, `None` for one that sees no key. Shape `[n_rows]`.
    entropies: Vec<Vec<Option<f64>>>,
}

impl Distributions {
    /// A row of a head; `None` for one that sees no key, or has a number that is no weight. Shape `[n_places]`.
    pub fn row(&self, head: usize, row: usize) -> Option<&[f64]> {
        self.entropies[head][row].filter(|entropy| !entropy.is_nan())?;
        Some(&self.shares[head][row * self.n_places..][..self.n_places])
    }

    /// The divergences of the rows of head `a` from those of head `b` of `other`; rows that see no key in either are left out.
    pub fn between(&self, a: usize, other: &Distributions, b: usize) -> Sums {
        let mut sums = Sums::default();
        for row in 0..self.n_rows {
            let (Some(of_a), Some(of_b)) = (self.entropies[a][row], other.entropies[b][row]) else { continue };
            let score = match (self.row(a, row), other.row(b, row)) {
                (Some(p), Some(q)) => less_entropies(entropy_of_mean(p, q), of_a, of_b),
                _ => f64::NAN,
            };
            sums.add(Sample { score, baseline: 0.0 });
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;

    #[test]
    fn a_band_holds_so_many_numbers_but_a_row_at_least_and_too_large_a_row_is_refused() {
        let recording = recording(Kind::Encoder, vec![0.5; 4], 2, 2);
        let mut maps = Maps::of(&recording, Kind::Encoder, 0).expect("an encoder");
        let bands = |maps: &Maps<'_>, n_others| -> Vec<_> { maps.bands(n_others).expect("few enough").collect() };
        assert_eq!(bands(&maps, 0), [0..2]);
        maps.keys = vec![0; (BAND >> 2) - 1];
        assert_eq!(bands(&maps, 1), [0..2], "two rows of two heads");
        assert_eq!(bands(&maps, 7), [0..1, 1..2], "a row of eight heads is more than a band");
        let message = maps.bands(63).map(Iterator::count).unwrap_err().to_string();
        assert_eq!(
            message,
            "a row of 64 heads of encoder attention has 268435456 weights together, more than the limit of 134217728"
        );
    }

    #[test]
    fn equal_rows_are_0_apart_and_rows_with_nothing_in_common_ln_2() {
        let p = [0.1, 0.2, 0.3, 0.4, 0.0];
        assert_eq!(divergence(&p, &p), 0.0);
        assert!((divergence(&[1.0, 0.0], &[0.0, 1.0]) - MAX_DIVERGENCE).abs() < 1e-12);
    }

    #[test]
    fn a_half_against_a_certainty_is_as_worked_out_by_hand() {
        // m = (3/4, 1/4): H(m) = 2 ln 2 − ¾ ln 3, H(p) = 0, H(q) = ln 2; JSD = 3/2 ln 2 − ¾ ln 3
        let expected = 1.5 * 2.0_f64.ln() - 0.75 * 3.0_f64.ln();
        assert!((divergence(&[1.0, 0.0], &[0.5, 0.5]) - expected).abs() < 1e-12);
        assert!((divergence(&[0.5, 0.5], &[1.0, 0.0]) - expected).abs() < 1e-12, "from either side");
    }

    #[test]
    fn a_small_difference_is_not_lost() {
        // to the second order Σ d²/(4m) of the half distance d: 2 · (1e-4)² / (2 · ½)
        let (p, q) = ([0.5 + 1e-4, 0.5 - 1e-4], [0.5 - 1e-4, 0.5 + 1e-4]);
        assert!((divergence(&p, &q) / 2e-8 - 1.0).abs() < 1e-4, "{}", divergence(&p, &q));
    }

    #[test]
    fn total_variation_is_the_share_that_would_have_to_move() {
        assert_eq!(total_variation(&[0.5, 0.25, 0.25], &[0.25, 0.25, 0.5]), 0.25);
        assert_eq!((total_variation(&[1.0, 0.0], &[1.0, 0.0]), total_variation(&[1.0, 0.0], &[0.0, 1.0])), (0.0, 1.0));
    }

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let mut x = 1.0_f64;
        for step in 0..20_000 {
            assert!((ln(x) - x.ln()).abs() <= 1e-12, "{x}: {} {}", ln(x), x.ln());
            x *= if step % 7 == 0 { 0.37 } else { 0.993 };
            if x < 1e-300 {
                x = 1.0 - f64::from(step) * 1e-9;
            }
        }
        assert_eq!((ln(1.0), 0.0 * ln(0.0)), (0.0, 0.0));
    }

    #[test]
    fn a_row_that_sees_nothing_is_left_out_and_one_that_is_no_weight_silences_the_mean() {
        let rows = |rows: &[[f64; 2]]| {
            let mut shares = rows.concat();
            let entropies = shares.chunks_mut(2).map(normalise).collect();
            Distributions { n_rows: rows.len(), n_places: 2, shares: vec![shares], entropies: vec![entropies] }
        };
        let whole = rows(&[[1.0, 0.0], [0.5, 0.5]]);
        let blind = rows(&[[0.0, 0.0], [0.5, 0.5]]);
        let sums = whole.between(0, &blind, 0);
        assert_eq!((sums.n, sums.mean()), (1, Some(0.0)));
        for number in [f64::NAN, f64::INFINITY, -0.25] {
            assert_eq!(whole.between(0, &rows(&[[number, 1.0], [0.5, 0.5]]), 0).mean(), None);
        }
    }
}
