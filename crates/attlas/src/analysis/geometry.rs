//! The shape of a map as a picture: a vertical stripe, a diagonal, blocks.

use super::Rows;

/// How much of a head's mass lies in its strongest stripe of each direction, and within segments.
#[derive(Debug, Clone, Copy, PartialEq)]
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

/// The geometry of a map. `segments` gives each key's segment, shape `[n_keys]`, and each query is in the segment of the
/// key at its own position; empty when the text has no segments.
///
/// Shares are of the mass on keys, so that they sum to 1 over all columns, or over all diagonals, also when a sink takes
/// part of the rows. Of equal stripes the first key, or the lowest offset, is named.
pub fn geometry(rows: &Rows, segments: &[usize]) -> Geometry {
    let n_rows_of_map = rows.queries.last().map_or(0, |last| last + 1);
    let shift = n_rows_of_map + rows.query_offset; // offset −shift is index 0
    let mut columns = vec![0.0_f64; rows.n_keys]; // [n_keys]
    let mut diagonals = vec![0.0_f64; rows.n_keys + shift]; // [n_keys + shift]
    let (mut total, mut within) = (0.0_f64, 0.0_f64);
    for row in 0..rows.n_rows() {
        let position = rows.position(row);
        for (key, &weight) in rows.row(row).iter().enumerate() {
            let weight = f64::from(weight);
            columns[key] += weight;
            diagonals[key + shift - position] += weight;
            total += weight;
            if segments.get(key).is_some_and(|segment| segments.get(position) == Some(segment)) {
                within += weight;
            }
        }
    }
    Geometry {
        vertical: peak(&columns, 0, total),
        diagonal: peak(&diagonals, shift as i64, total),
        block: (!segments.is_empty() && total > 0.0).then(|| within / total),
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
    (total > 0.0 && best.1 > 0.0).then(|| Peak { at: best.0 as i64 - zero, share: best.1 / total })
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn a_vertical_stripe_is_found_at_its_key() {
        let rows = rows(Kind::Encoder, vec![0.2, 0.8, 0.0, 0.1, 0.7, 0.2, 0.3, 0.6, 0.1], 3, 3);
        let vertical = geometry(&rows, &[]).vertical.expect("there is mass");
        assert_eq!(vertical.at, 1);
        assert!((vertical.share - 0.7).abs() < 1e-6);
    }

    #[test]
    fn a_previous_token_head_is_a_diagonal_at_minus_one() {
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 3, 3);
        let diagonal = geometry(&rows, &[]).diagonal.expect("there is mass");
        assert_eq!(diagonal.at, -1);
        assert!((diagonal.share - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn mass_within_segments_is_the_block_share() {
        let rows = rows(Kind::Encoder, vec![0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.25, 0.25, 0.5], 3, 3);
        let block = geometry(&rows, &[0, 0, 1]).block.expect("there are segments");
        assert!((block - 2.5 / 3.0).abs() < 1e-6);
    }
}
