//! Why numbers are no attention weights: what gives the usual mistakes away.

use std::fmt;

/// A mistake that weights show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// Columns sum to 1: rows and columns are swapped.
    Swapped,
    /// Weights were dropped while the model was trained.
    Dropout {
        /// The share of weights that are 0 among those that are seen, in 0 ..= 1.
        share: f64,
    },
    /// Numbers beyond 1, or below 0: scores before softmax.
    Scores,
    /// A row that is all NaN: a query that saw no key.
    BlindRow,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Swapped => f.write_str("each column sums to 1, so rows and columns are probably swapped"),
            Cause::Dropout { share } => {
                write!(
                    f,
                    "it looks like dropout ({:.0} % of the weights here are exactly 0, the others larger for it); call \
                     model.eval() before the model runs",
                    100.0 * share
                )
            }
            Cause::Scores => f.write_str("are these scores before softmax?"),
            Cause::BlindRow => {
                f.write_str("the whole row is, as softmax makes it of a query that sees no key: is it padding?")
            }
        }
    }
}

/// Dropout of a share below this is not told from zeros of other origin.
const LEAST_SHARE: f64 = 0.01;
/// Models drop no larger share.
const LARGEST_SHARE: f64 = 0.6;

impl Cause {
    /// Why a row of one map sums to more than 1; `maps` are all of its layer. Each has the shape `[queries, n_keys]`.
    pub(super) fn of_large_sum(map: &[f32], maps: &[f32], n_keys: usize, tolerance: f32) -> Option<Cause> {
        if columns_sum_to_one(map, n_keys, tolerance) {
            return Some(Cause::Swapped);
        }
        if maps.iter().any(|weight| *weight > 1.0 + tolerance) {
            // dropout scales single weights beyond 1, too
            return dropout(maps, map.len(), n_keys).or(Some(Cause::Scores));
        }
        dropout(maps, map.len(), n_keys)
    }

    /// Why a number is not finite or below 0.
    pub(super) fn of_number(number: f32, row: &[f32]) -> Option<Cause> {
        match number {
            _ if number.is_nan() => row.iter().all(|number| number.is_nan()).then_some(Cause::BlindRow),
            _ if number == f32::INFINITY => None,
            _ => Some(Cause::Scores),
        }
    }
}

/// Whether every column of a map sums to 1.
pub(super) fn columns_sum_to_one(map: &[f32], n_keys: usize, tolerance: f32) -> bool {
    let mut sums = vec![0.0_f64; n_keys];
    for row in map.chunks_exact(n_keys) {
        sums.iter_mut().zip(row).for_each(|(sum, weight)| *sum += f64::from(*weight));
    }
    map.len() > n_keys && sums.iter().all(|sum| (sum - 1.0).abs() <= f64::from(tolerance))
}

/// Dropout: zeros that no mask makes, and rows that sum to 1 on average.
fn dropout(maps: &[f32], map_len: usize, n_keys: usize) -> Option<Cause> {
    let (mut n_zero, mut n_seen) = (0_usize, 0_usize);
    let n_queries = map_len / n_keys;
    // what lies after the last weight is hidden from a causal decoder, not dropped
    let n_before = n_keys.saturating_sub(n_queries);
    let looks_ahead =
        |(index, row): (usize, &[f32])| row.iter().skip(n_before + index % n_queries + 1).any(|weight| *weight != 0.0);
    let is_causal = !maps.chunks_exact(n_keys).enumerate().any(looks_ahead);
    for map in maps.chunks_exact(map_len) {
        let is_used: Vec<bool> = (0..n_keys).map(|key| map[key..].iter().step_by(n_keys).any(|w| *w != 0.0)).collect();
        for (index, row) in map.chunks_exact(n_keys).enumerate() {
            let end = if is_causal { (n_before + index + 1).min(n_keys) } else { n_keys };
            let seen = || row[..end].iter().zip(&is_used).filter(|(_, is_used)| **is_used);
            n_seen += seen().count();
            n_zero += seen().filter(|(weight, _)| **weight == 0.0).count();
        }
    }
    let share = n_zero as f64 / n_seen.max(1) as f64;
    let mean = maps.iter().map(|weight| f64::from(*weight)).sum::<f64>() / (maps.len() / n_keys).max(1) as f64;
    let is_dropout = (LEAST_SHARE..=LARGEST_SHARE).contains(&share) && (mean - 1.0).abs() < 0.25;
    is_dropout.then_some(Cause::Dropout { share })
}
