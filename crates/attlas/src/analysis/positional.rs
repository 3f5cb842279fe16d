//! Heads that look a fixed number of positions away.

use super::{Rows, argmax, mean};

/// The mean weight on the key `offset` positions after the query: previous −1, self 0, next +1. In 0 ..= 1.
///
/// `(1/n) Σ_q w(q, q + offset)`; queries without such a key stay in the denominator (Clark et al. 2019, §3.1).
/// 0 for a map without rows.
pub fn offset_mass(rows: &Rows, offset: i64) -> f64 {
    let weight = |row: usize| rows.key_at(row, offset).map_or(0.0, |key| f64::from(rows.row(row)[key]));
    mean((0..rows.n_rows()).map(weight)).unwrap_or(0.0)
}

/// What [`offset_mass`] would be if every query looked at all its visible keys alike.
pub fn uniform_offset_mass(rows: &Rows, offset: i64) -> f64 {
    let weight = |row: usize| match rows.key_at(row, offset) {
        Some(key) if rows.sees(row, key) => 1.0 / rows.n_visible(row) as f64,
        _ => 0.0,
    };
    mean((0..rows.n_rows()).map(weight)).unwrap_or(0.0)
}

/// The share of queries whose largest weight lies `offset` positions after them, in 0 ..= 1; queries without such a key
/// stay in the denominator. `None` when there is no row.
///
/// From 0.9 on a head is positional (Voita et al. 2019, §5.1, who leave the end token out: [`Rows::without_end`]).
pub fn positional_share(rows: &Rows, offset: i64) -> Option<f64> {
    let hit = |row: usize| rows.key_at(row, offset).is_some_and(|key| argmax(rows.row(row)) == Some(key));
    mean((0..rows.n_rows()).map(|row| f64::from(u8::from(hit(row)))))
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::rows;
    use super::*;
    use crate::Kind;

    #[test]
    fn an_ideal_previous_token_head_misses_only_its_first_row() {
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], 3, 3);
        assert!((offset_mass(&rows, -1) - 2.0 / 3.0).abs() < 1e-9);
        assert_eq!(positional_share(&rows, -1), Some(2.0 / 3.0));
        assert_eq!(offset_mass(&rows, 1), 0.0);
    }

    #[test]
    fn the_uniform_baseline_of_a_causal_map_counts_visible_keys_only() {
        let rows = rows(Kind::Decoder, vec![1.0, 0.0, 1.0, 0.0], 2, 2);
        assert!((uniform_offset_mass(&rows, -1) - 0.25).abs() < 1e-9, "row 0 has no previous key, row 1 sees two");
    }
}
