//! Rows of a map folded into one line of pixels: row upon row first, then the columns under each pixel, once for all rows.

use std::ops::Range;

use crate::tile::Pool;

/// Numbers that are compared at a time.
const LANES: usize = 16;

/// One line of pixels on its way, of cells that are each a single weight.
pub struct Fold {
    pool: Pool,
    /// The largest of each column in size, where that is asked for. Shape `[n_columns]`.
    largest: Vec<f32>,
    /// The sum of each column, where means are asked for. Shape `[n_columns]`.
    sums: Vec<f64>,
    /// The columns that are seen of each row. Shape `[n_rows]`.
    open: Vec<Range<usize>>,
    /// The largest size that was seen, of those that are finite.
    pub top: f32,
}

impl Fold {
    /// A line of which no row was read.
    pub fn new(pool: Pool, n_columns: usize) -> Fold {
        let of = |wanted: Pool| if wanted == pool { n_columns } else { 0 };
        Fold { pool, largest: vec![0.0; of(Pool::Max)], sums: vec![0.0; of(Pool::Mean)], open: Vec::new(), top: 0.0 }
    }

    /// Takes a row, of which the columns in `open` are seen. Shape of `row`: `[n_columns]`.
    pub fn take(&mut self, row: &[f32], open: Range<usize>) {
        let row = &row[open.clone()];
        self.top = self.top.max(largest_size(row));
        match self.pool {
            Pool::Max => {
                let largest = &mut self.largest[open.clone()];
                largest.iter_mut().zip(row).for_each(|(largest, number)| *largest = larger(*largest, *number));
            }
            Pool::Mean => {
                let sums = &mut self.sums[open.clone()];
                sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += f64::from(*number));
            }
        }
        self.open.push(open);
    }

    /// What lies under a pixel: the largest or the sum of its columns, and how many cells of them are seen.
    pub fn pixel(&self, columns: Range<usize>) -> (f64, u64) {
        let seen = |open: &Range<usize>| open.end.min(columns.end).saturating_sub(open.start.max(columns.start)) as u64;
        let n_open = self.open.iter().map(seen).sum();
        let number = match self.pool {
            Pool::Max => f64::from(largest(&self.largest[columns.clone()])),
            Pool::Mean => self.sums[columns.clone()].iter().sum(),
        };
        (number, n_open)
    }
}

/// The one of the larger size; what is no number stays.
pub fn larger(a: f32, b: f32) -> f32 {
    if b.abs() > a.abs() || b.is_nan() { b } else { a }
}

/// The number of the largest size. 0 of none.
fn largest(numbers: &[f32]) -> f32 {
    let (whole, rest) = numbers.as_chunks::<LANES>();
    let mut most = 0.0;
    if !whole.is_empty() {
        let mut lanes = [0.0; LANES];
        for chunk in whole {
            lanes.iter_mut().zip(chunk).for_each(|(lane, number)| *lane = larger(*lane, *number));
        }
        most = lanes.iter().fold(most, |a, b| larger(a, *b));
    }
    rest.iter().fold(most, |a, b| larger(a, *b))
}

/// The largest size of those that are finite. 0 where none is.
fn largest_size(row: &[f32]) -> f32 {
    let finite = |number: f32| if number.abs() < f32::INFINITY { number.abs() } else { 0.0 };
    let mut lanes = [0.0_f32; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        for (lane, number) in lanes.iter_mut().zip(chunk) {
            let size = finite(*number);
            *lane = if size > *lane { size } else { *lane };
        }
    }
    lanes.into_iter().chain(rest.iter().map(|number| finite(*number))).fold(0.0, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_have_the_largest_or_the_sum_of_what_is_seen_and_how_many_cells_that_are() {
        let rows = [([0.5, -0.75, 0.125, 9.0], 0..3), ([0.25, 0.5, f32::NAN, 9.0], 1..3), ([9.0; 4], 2..2)];
        for (pool, expected) in [(Pool::Max, -0.75), (Pool::Mean, 0.5 - 0.75 + 0.5)] {
            let mut fold = Fold::new(pool, 4);
            rows.iter().for_each(|(row, open)| fold.take(row, open.clone()));
            assert_eq!(fold.pixel(0..2), (expected, 3), "{pool:?}");
            assert!(fold.pixel(2..4).0.is_nan());
            assert_eq!((fold.pixel(2..4).1, fold.pixel(3..4)), (2, (0.0, 0)));
            assert_eq!(fold.top, 0.75, "what is masked or no number does not count");
        }
    }

    #[test]
    fn a_pixel_over_more_cells_than_32_bits_count_says_how_many_they_are() {
        let (n_rows, n_columns) = (65_537, 65_536);
        let open = vec![0..n_columns; n_rows];
        let fold = Fold { open, ..Fold::new(Pool::Mean, n_columns) };
        assert_eq!(fold.pixel(0..n_columns).1, 65_537 * 65_536);
    }

    #[test]
    fn the_largest_is_of_all_lanes_and_what_is_left() {
        let row: Vec<f32> = (0..37).map(|place| if place == 3 { f32::NEG_INFINITY } else { -(place as f32) }).collect();
        assert_eq!((largest_size(&row), largest_size(&row[..36]), largest_size(&[])), (36.0, 35.0, 0.0));
        assert_eq!((largest(&row), largest(&row[4..]), largest(&row[4..36])), (f32::NEG_INFINITY, -36.0, -35.0));
        assert!(largest(&[1.0, f32::NAN, 2.0]).is_nan() && larger(larger(0.5, f32::NAN), 9.0).is_nan());
        assert_eq!(larger(0.5, -0.75), -0.75);
    }
}
