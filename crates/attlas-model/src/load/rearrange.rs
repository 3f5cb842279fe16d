//! Matrices put into the order that is computed with.

use std::sync::Arc;

use attlas::Bias;

use crate::block::linear::{Linear, Weight};
use crate::config::{Attention, Directions};

/// `output[column][row] = stored[row][column]`, in squares that stay in the cache.
pub(super) fn transpose(stored: &[f32], output: &mut [f32], n_rows: usize, n_columns: usize) {
    const SQUARE: usize = 32;
    for row_start in (0..n_rows).step_by(SQUARE) {
        for column_start in (0..n_columns).step_by(SQUARE) {
            for column in column_start..(column_start + SQUARE).min(n_columns) {
                for row in row_start..(row_start + SQUARE).min(n_rows) {
                    output[column * n_rows + row] = stored[row * n_columns + column];
                }
            }
        }
    }
}

/// One layer on two inputs side by side that gives the mean of two layers.
pub(super) fn mean_of_two(first: &Linear, second: &Linear) -> Linear {
    let (one, other) = (first.weight.rows(), second.weight.rows());
    let rows = one.chunks_exact(first.d_in).zip(other.chunks_exact(second.d_in));
    let weight = rows.flat_map(|(a, b)| a.iter().chain(b)).map(|value| value / 2.0).collect();
    let bias = first.bias.as_ref().zip(second.bias.as_ref());
    let bias = bias.map(|(a, b)| a.iter().zip(b.iter()).map(|(a, b)| (a + b) / 2.0).collect());
    Linear::new(weight, bias, first.d_out, first.d_in + second.d_in)
}

/// Multiplies all that a layer gives by one factor, once and for all.
pub(super) fn scale(linear: &mut Linear, factor: f32) {
    if factor != 1.0 {
        multiply_rows(linear, &vec![factor; linear.d_out]);
    }
}

/// Multiplies a layer's output columns by factors. Shape `[d_out]`.
pub(super) fn multiply_rows(linear: &mut Linear, factors: &[f32]) {
    let mut weight = linear.weight.rows().into_owned();
    for (row, factor) in weight.chunks_mut(linear.d_in).zip(factors) {
        row.iter_mut().for_each(|value| *value *= factor);
    }
    linear.weight = Weight::Rows(Arc::new(weight));
    if let Some(bias) = &mut linear.bias {
        *bias = Arc::new(bias.iter().zip(factors).map(|(value, factor)| value * factor).collect());
    }
}

/// Where the row of queries, keys, values in that order is stored, if rows are grouped by key–value head.
pub(super) fn grouped_place(config: &Attention, row: usize) -> usize {
    let (group, d) = (config.n_heads / config.n_kv_heads, config.d_head);
    let (head, within) = (row / d, row % d);
    let place = if head < config.n_heads {
        head / group * (group + 2) + head % group
    } else if head < config.n_heads + config.n_kv_heads {
        (head - config.n_heads) * (group + 2) + group
    } else {
        (head - config.n_heads - config.n_kv_heads) * (group + 2) + group + 1
    };
    place * d + within
}

/// A bucketed table spread over offsets `key − query`; beyond its ends the last bucket goes on.
pub(super) fn bucketed_bias(
    table: &[f32],
    n_heads: usize,
    n_buckets: usize,
    max_distance: usize,
    directions: Directions,
) -> Bias {
    let reach = max_distance as i64;
    let n_offsets = 2 * max_distance + 1;
    let mut spread = vec![0.0; n_heads * n_offsets]; // [n_heads, n_offsets]
    for (column, offset) in (-reach..=reach).enumerate() {
        let bucket = bucket(offset, n_buckets, max_distance, directions).min(n_buckets - 1);
        for head in 0..n_heads {
            spread[head * n_offsets + column] = table[bucket * n_heads + head];
        }
    }
    Bias::Relative { first: -reach, table: spread, n_offsets }
}

/// The bucket of an offset `key − query` (Raffel et al. 2020): exact up to half of the buckets, then logarithmic.
pub(crate) fn bucket(offset: i64, n_buckets: usize, max_distance: usize, directions: Directions) -> usize {
    let (n, start, distance) = match directions {
        Directions::Both => (n_buckets / 2, if offset > 0 { n_buckets / 2 } else { 0 }, offset.unsigned_abs() as usize),
        Directions::Backward => (n_buckets, 0, (-offset).max(0) as usize),
    };
    let exact = n / 2;
    if distance < exact || exact == 0 {
        return start + distance.min(n.saturating_sub(1));
    }
    let beyond = (distance as f32 / exact as f32).ln() / (max_distance as f64 / exact as f64).ln() as f32;
    let bucket = exact + (beyond * (n - exact) as f32) as usize;
    start + bucket.min(n - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_exact_near_and_logarithmic_far() {
        let both = |offset| bucket(offset, 32, 128, Directions::Both);
        assert_eq!([both(0), both(-1), both(-7), both(1), both(7)], [0, 1, 7, 17, 23]);
        assert_eq!([both(-8), both(-127), both(-128), both(-4000), both(500)], [8, 15, 15, 15, 31]);
        let backward = |offset| bucket(offset, 32, 128, Directions::Backward);
        assert_eq!([backward(3), backward(-3), backward(-16), backward(-1000)], [0, 3, 16, 31]);
    }

    #[test]
    fn grouped_rows_come_out_as_queries_keys_values() {
        let config = Attention { n_kv_heads: 1, ..Attention::plain(2, 1, attlas::Visibility::CAUSAL) };
        assert_eq!([0, 1, 2, 3].map(|row| grouped_place(&config, row)), [0, 1, 2, 3]);
        let config = Attention { n_kv_heads: 2, ..config };
        assert_eq!([0, 1, 2, 3, 4, 5].map(|row| grouped_place(&config, row)), [0, 3, 1, 4, 2, 5]);
    }
}
