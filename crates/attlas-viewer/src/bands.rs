//! Queries taken some at a time, so that few of their weights are held.

use std::ops::Range;

/// Queries whose weights are held at a time: two blocks of the attention kernel.
pub const BAND: usize = 96;

/// Stretches of neighbours among some queries, which rise, each of up to [`BAND`].
pub fn bands(queries: &[usize]) -> impl Iterator<Item = Range<usize>> {
    let stretches = queries.chunk_by(|a, b| a + 1 == *b);
    let bands = stretches.flat_map(|stretch| stretch.chunks(BAND));
    bands.filter_map(|band| Some(*band.first()?..*band.last()? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_of_neighbours_and_of_no_more_than_are_held() {
        let queries: Vec<usize> = (2..5).chain(7..8).chain(100..100 + BAND + 1).collect();
        assert_eq!(bands(&queries).collect::<Vec<_>>(), [2..5, 7..8, 100..100 + BAND, 100 + BAND..101 + BAND]);
        assert_eq!(bands(&[]).count(), 0);
    }
}
