//! The shape of a map as a picture: a vertical stripe, a diagonal, blocks.

use super::{Query, Row};
use crate::AttentionMap;

/// How much of a head's mass lies in its strongest stripe of each direction, and within segments.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Geometry {
    /// The key that gets the largest share of all mass. `None` for a map without mass.
    pub vertical: Option<Peak>,
    /// The offset `key − query` that gets the largest share of all mass. `None` for a map without mass.
    pub diagonal: Option<Peak>,
    /// The share of all mass that stays within the query's segment; `None` without segments.
    pub block: Option<f64>,
}

/// The strongest of several stripes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Which: a key, or an offset `key − query`.
    pub at: i64,
    /// Its share of all mass, in 0 ..= 1.
    pub share: f64,
}

/// The stripes of a map, summed row by row.
///
/// Shares are of the mass on keys, so that they sum to 1 over all columns, or over all diagonals, also when a sink takes
/// part of the rows. Of equal stripes the first key, or the lowest offset, is named. Where a weight is no finite number, shares are NaN.
#[derive(Debug, Clone)]
pub struct Stripes<'a> {
    segments: &'a [usize],
    /// The mass of each key. Shape `[n_keys]`.
    columns: Vec<f64>,
    /// The mass of each offset, the lowest first. Shape `[n_offsets]`.
    diagonals: Vec<f64>,
    /// The place of offset 0.
    zero: usize,
    within: f64,
}

impl<'a> Stripes<'a> {
    /// Stripes of a map of which no row is read yet. `segments` gives each key's segment, shape `[n_keys]`, and each query is
    /// in the segment of the key at its own position; empty when the text has no segments.
    pub fn new(map: &AttentionMap<'_>, segments: &'a [usize]) -> Stripes<'a> {
        let zero = map.n_queries() + map.query_offset();
        Stripes {
            segments,
            columns: vec![0.0; map.n_keys()],
            diagonals: vec![0.0; map.n_keys() + zero],
            zero,
            within: 0.0,
        }
    }

    /// Adds the weights of a row to its columns, its diagonals and its segment.
    pub fn add(&mut self, row: &Row<'_>) {
        let diagonals = &mut self.diagonals[self.zero - row.position..];
        for ((column, diagonal), weight) in self.columns.iter_mut().zip(diagonals).zip(row.weights) {
            let weight = f64::from(*weight);
            *column += weight;
            *diagonal += weight;
        }
        if let Some(segment) = self.segments.get(row.position) {
            let in_segment = self.segments.iter().zip(row.weights).filter(|(of_key, _)| *of_key == segment);
            self.within += in_segment.map(|(_, weight)| f64::from(*weight)).sum::<f64>();
        }
    }

    /// Adds what the row of a query would be if it looked at all the keys it may see alike.
    pub fn add_uniform(&mut self, query: &Query<'_>) {
        let weight = 1.0 / query.n_visible().max(1) as f64;
        let segment = self.segments.get(query.position);
        for key in query.visible_keys() {
            self.columns[key] += weight;
            self.diagonals[key + self.zero - query.position] += weight;
            if segment.is_some() && self.segments.get(key) == segment {
                self.within += weight;
            }
        }
    }

    /// What the rows so far have shown.
    pub fn geometry(&self) -> Geometry {
        // a sum of finite weights is finite
        let total = Some(self.columns.iter().sum::<f64>()).filter(|total| total.is_finite()).unwrap_or(f64::NAN);
        Geometry {
            vertical: peak(&self.columns, 0, total),
            diagonal: peak(&self.diagonals, self.zero as i64, total),
            block: (!self.segments.is_empty() && (total > 0.0 || total.is_nan())).then(|| self.within / total),
        }
    }
}

/// The largest of `masses` as a share of `total`; index `zero` is named 0.
fn peak(masses: &[f64], zero: i64, total: f64) -> Option<Peak> {
    let mut best = (0, 0.0);
    for (index, &mass) in masses.iter().enumerate() {
        if mass > best.1 {
            best = (index, mass);
        }
    }
    (total > 0.0 || total.is_nan()).then(|| Peak { at: best.0 as i64 - zero, share: best.1 / total })
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::recording;
    use super::*;
    use crate::Kind;
    use crate::analysis::Rows;

    fn geometry(kind: Kind, weights: Vec<f32>, segments: &[usize]) -> Geometry {
        let recording = recording(kind, weights, 3, 3);
        let map = recording.map(0, kind, 0, 0).expect("the head exists");
        let mut stripes = Stripes::new(&map, segments);
        Rows::of(&map).for_each(|row| stripes.add(row));
        stripes.geometry()
    }

    #[test]
    fn a_vertical_stripe_is_found_at_its_key() {
        let weights = vec![0.2, 0.8, 0.0, 0.1, 0.7, 0.2, 0.3, 0.6, 0.1];
        let vertical = geometry(Kind::Encoder, weights, &[]).vertical.expect("there is mass");
        assert_eq!(vertical.at, 1);
        assert!((vertical.share - 0.7).abs() < 1e-6);
    }

    #[test]
    fn a_previous_token_head_is_a_diagonal_at_minus_one() {
        let weights = vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let diagonal = geometry(Kind::Decoder, weights, &[]).diagonal.expect("there is mass");
        assert_eq!(diagonal.at, -1);
        assert!((diagonal.share - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn mass_within_segments_is_the_block_share() {
        let weights = vec![0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.25, 0.25, 0.5];
        let block = geometry(Kind::Encoder, weights, &[0, 0, 1]).block.expect("there are segments");
        assert!((block - 2.5 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn a_map_with_a_weight_that_is_no_finite_number_has_no_share_that_is_one() {
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let found = geometry(Kind::Encoder, vec![0.5, 0.5, 0.0, 0.5, number, 0.0, 0.25, 0.25, 0.5], &[0, 0, 1]);
            let shares = [found.vertical.map(|peak| peak.share), found.diagonal.map(|peak| peak.share), found.block];
            assert!(shares.iter().all(|share| share.is_some_and(f64::is_nan)), "{number}: {found:?}");
        }
        assert_eq!(geometry(Kind::Encoder, vec![0.0; 9], &[0, 0, 1]), Geometry::default(), "no mass");
    }
}
