//! The picture of a part of a map: its cells, as they are or at some of the rows, pooled into pixels.

use std::ops::Range;

use attlas::Error;
use rayon::prelude::*;
use serde::Deserialize;

use crate::desk::GivenUp;
use crate::fold::{Fold, larger};
use crate::map::{Asked, Rows, Sight, Source};

/// Pixels of a tile along a side at most.
pub const MAX_SIDE: usize = 16_384;
/// Pixels of a tile at most.
pub const MAX_PIXELS: usize = 1 << 24;

/// Queries whose numbers are held at a time.
const BAND: usize = 64;
/// Numbers that are held at a time, by each thread.
pub const BAND_NUMBERS: usize = 1 << 22;

/// How the cells under a pixel become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The largest in size.
    Max,
    /// The mean of those that are not masked.
    Mean,
}

/// What a cell is, before cells are pooled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Values {
    /// Its number.
    #[default]
    Number,
    /// Its share of the largest size in its whole row.
    Share,
    /// The share of the row's other cells, masked ones left out, that are smaller; 1 where there are no others.
    Rank,
}

/// A part of a map, in so many pixels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Places along the queries and the keys.
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    /// Pixels; never more than there are places.
    pub height: usize,
    pub width: usize,
    pub pool: Pool,
    pub values: Values,
}

/// The picture of a part.
#[derive(Debug, Clone, PartialEq)]
pub struct Tile {
    pub height: usize,
    pub width: usize,
    /// Shape `[height, width]`.
    pub values: Vec<f32>,
    /// Whether every cell under the pixel is masked. Shape `[height, width]`.
    pub masked: Vec<bool>,
    /// The largest size of a number that was read.
    pub top: f32,
    /// One in how many rows was read.
    pub every: usize,
}

/// A picture on its way: a band of rows at a time.
pub struct Painter {
    asked: Asked,
    source: Source,
    part: Part,
    every: usize,
    /// The rows that are read, in bands. Shape `[n_bands]`.
    bands: Vec<Vec<usize>>,
    n_done: usize,
    /// The pixel that each column lies under, counted from the left. Shape `[columns.len()]`.
    pixel_of: Vec<usize>,
    /// The first column under each pixel, and the one after the last. Shape `[width + 1]`.
    starts: Vec<usize>,
    /// Largest, or sum. Shape `[height, width]`.
    values: Vec<f64>,
    /// Cells that are not masked. Shape `[height, width]`.
    n_open: Vec<u64>,
    top: f32,
}

/// What a band gives: pixels of some rows of the picture.
struct Painted {
    /// Row of the picture, and its largest or sums, and its cells. Shapes `[width]`.
    rows: Vec<(usize, Vec<f64>, Vec<u64>)>,
    top: f32,
}

impl Part {
    /// The row of the picture that a place lies under.
    fn pixel_row(&self, row: usize) -> usize {
        (row - self.rows.start) * self.height / self.rows.len()
    }

    /// One in how many rows can be read within `budget` multiplications, a row for each row of pixels at least.
    pub fn every(&self, asked: &Asked, budget: u64) -> usize {
        let n_queries = asked.queries.tokens_of(self.rows.clone()).len() as u64;
        let n_keys = self.keys(asked).len() as u64;
        let needed = n_queries.saturating_mul(n_keys).saturating_mul(asked.n_multiplications());
        let most = (self.rows.len() / self.height.max(1)).max(1);
        usize::try_from(needed.div_ceil(budget.max(1))).unwrap_or(usize::MAX).clamp(1, most)
    }

    /// Multiplications that take the rows, one in `every` of them.
    pub fn cost(&self, asked: &Asked, every: usize) -> u64 {
        let n_queries = (asked.queries.tokens_of(self.rows.clone()).len() / every.max(1)) as u64;
        n_queries.saturating_mul(self.keys(asked).len() as u64).saturating_mul(asked.n_multiplications())
    }

    /// The rows that are read.
    pub fn read(&self, every: usize) -> impl Iterator<Item = usize> {
        let rows = self.rows.clone();
        (rows.start + every / 2..rows.end).step_by(every.max(1))
    }

    /// The places whose numbers are needed: of the part alone, or of the whole row.
    fn columns_read(&self, asked: &Asked) -> Range<usize> {
        if self.values == Values::Number { self.columns.clone() } else { 0..asked.keys.len() }
    }

    fn keys(&self, asked: &Asked) -> Range<usize> {
        asked.keys.hull(self.columns_read(asked))
    }
}

impl Painter {
    /// A picture of which nothing is done yet.
    pub fn new(asked: Asked, source: Source, part: Part, every: usize) -> Painter {
        let n_columns = part.columns.len();
        let n_keys = part.keys(&asked).len();
        let most = (BAND_NUMBERS / n_keys.max(1)).clamp(4, BAND);
        let mut bands: Vec<Vec<usize>> = Vec::new();
        let mut room = 0;
        for row in part.read(every) {
            let n = asked.queries.tokens(row).len();
            match bands.last_mut() {
                Some(band) if n <= room => {
                    band.push(row);
                    room -= n;
                }
                _ => {
                    bands.push(vec![row]);
                    room = most.saturating_sub(n);
                }
            }
        }
        let n_pixels = part.height * part.width;
        Painter {
            pixel_of: (0..n_columns).map(|column| column * part.width / n_columns).collect(),
            starts: (0..=part.width).map(|pixel| (pixel * n_columns).div_ceil(part.width.max(1))).collect(),
            values: vec![0.0; n_pixels],
            n_open: vec![0; n_pixels],
            top: 0.0,
            n_done: 0,
            bands,
            asked,
            source,
            part,
            every,
        }
    }

    /// Reads on, for so many multiplications, or until nobody waits any more. Whether all is read.
    ///
    /// # Errors
    /// When numbers cannot be read.
    pub fn paint(&mut self, multiplications: u64, given_up: &GivenUp) -> Result<bool, Error> {
        let per_row = (self.part.keys(&self.asked).len() as u64).saturating_mul(self.asked.n_multiplications()).max(1);
        let mut n_rows = multiplications / per_row;
        let mut end = self.n_done;
        while end < self.bands.len() && (n_rows > 0 || end == self.n_done) {
            let n = self.bands[end].iter().map(|row| self.asked.queries.tokens(*row).len() as u64).sum();
            n_rows = n_rows.saturating_sub(n);
            end += 1;
        }
        let rows = self.asked.rows(&self.source)?;
        let paint = |band: &Vec<usize>| match given_up.is() {
            true => Ok(Painted { rows: Vec::new(), top: 0.0 }),
            false => self.band(&rows, band),
        };
        let painted = self.bands[self.n_done..end].par_iter().map(paint).collect::<Result<Vec<_>, _>>()?;
        drop(rows);
        painted.into_iter().for_each(|painted| self.take(painted));
        self.n_done = end;
        Ok(end == self.bands.len())
    }

    /// The picture, when all is read.
    pub fn finish(self) -> Tile {
        let Painter { part, every, values, n_open, top, .. } = &self;
        let value = |(value, n): (&f64, &u64)| match part.pool {
            Pool::Max => *value as f32,
            Pool::Mean => (value / (*n).max(1) as f64) as f32,
        };
        let mut masked: Vec<bool> = n_open.iter().map(|n| *n == 0).collect(); // [height, width]
        if *every > 1 {
            self.open_unread(&mut masked);
        }
        Tile {
            height: part.height,
            width: part.width,
            values: values.iter().zip(n_open).map(value).collect(),
            masked,
            top: *top,
            every: *every,
        }
    }

    /// Takes a band's pixels in; bands come in the order of their rows.
    fn take(&mut self, painted: Painted) {
        let width = self.part.width;
        self.top = self.top.max(painted.top);
        for (row, values, n_open) in painted.rows {
            let pixels = row * width..(row + 1) * width;
            for (pixel, value) in self.values[pixels.clone()].iter_mut().zip(values) {
                add(self.part.pool, pixel, value);
            }
            self.n_open[pixels].iter_mut().zip(n_open).for_each(|(pixel, n)| *pixel += n);
        }
    }

    /// Whether every column is the key after the one before it, and what a query sees of them is one stretch: numbers as they are read.
    fn is_plain(&self) -> bool {
        let (part, keys) = (&self.part, &self.asked.keys);
        let columns = part.columns.clone();
        part.values == Values::Number
            && !self.asked.sight().is_masked()
            && keys.are_single(columns.clone())
            && keys.hull(columns.clone()).len() == columns.len()
            && self.asked.queries.are_single(part.rows.clone())
    }

    /// The pixels of some rows of single cells.
    fn plain_band(&self, rows: &Rows<'_>, band: &[usize]) -> Result<Painted, Error> {
        let (part, sight) = (&self.part, self.asked.sight());
        let keys = part.keys(&self.asked);
        let queries: Vec<usize> = band.iter().map(|row| self.asked.queries.tokens(*row)[0]).collect();
        let mut painted = Painted { rows: Vec::new(), top: 0.0 };
        let is_unseen = |seen: Range<usize>| seen.end <= keys.start || keys.end <= seen.start;
        if queries.iter().all(|query| is_unseen(sight.hull(*query))) {
            return Ok(painted); // its pixels stay 0 and masked
        }
        let numbers = rows.of(&queries, keys.clone())?; // [queries, keys]
        let mut place = 0;
        for line in band.chunk_by(|a, b| part.pixel_row(*a) == part.pixel_row(*b)) {
            let mut fold = Fold::new(part.pool, keys.len());
            for _ in line {
                let seen = sight.hull(queries[place]);
                let within = |key: usize| key.clamp(keys.start, keys.end) - keys.start;
                fold.take(&numbers[place * keys.len()..][..keys.len()], within(seen.start)..within(seen.end));
                place += 1;
            }
            let (values, n_open) = self.starts.windows(2).map(|ends| fold.pixel(ends[0]..ends[1])).unzip();
            painted.top = painted.top.max(fold.top);
            painted.rows.push((part.pixel_row(line[0]), values, n_open));
        }
        Ok(painted)
    }

    /// The pixels of some rows.
    fn band(&self, rows: &Rows<'_>, band: &[usize]) -> Result<Painted, Error> {
        if self.is_plain() {
            return self.plain_band(rows, band);
        }
        let (part, width) = (&self.part, self.part.width);
        let columns = part.columns_read(&self.asked);
        let shown = part.columns.start - columns.start..part.columns.end - columns.start;
        let mut painted = Painted { rows: Vec::new(), top: 0.0 };
        let mut cells = Cells::new(&self.asked, columns);
        let mut at = 0;
        while at < band.len() {
            // rows of one place each, as many as there are together; or a row of many queries
            cells.read(rows, &band[at..])?;
            for row in 0..cells.n_rows {
                let place = band[at + row];
                let pixel_row = part.pixel_row(place);
                if painted.rows.last().is_none_or(|(last, ..)| *last != pixel_row) {
                    painted.rows.push((pixel_row, vec![0.0; width], vec![0; width]));
                }
                let Some((_, values, n_open)) = painted.rows.last_mut() else { continue };
                let open = cells.open(place);
                let numbers = cells.row(row);
                let size = |number: &f32| if number.abs() < f32::INFINITY { number.abs() } else { 0.0 };
                painted.top = painted.top.max(numbers[shown.clone()].iter().map(size).fold(0.0, f32::max));
                let drawn = drawn(part.values, numbers, &open);
                for (column, pixel) in shown.clone().zip(&self.pixel_of) {
                    if open[column] {
                        n_open[*pixel] += 1;
                        add(part.pool, &mut values[*pixel], f64::from(drawn[column]));
                    }
                }
            }
            at += cells.n_rows;
        }
        Ok(painted)
    }

    /// Opens the pixels of which a cell is seen in a row that was not read; masks that no rule says are known of read rows alone.
    fn open_unread(&self, masked: &mut [bool]) {
        let (sight, part) = (self.asked.sight(), &self.part);
        if sight.is_masked() {
            return;
        }
        let mut open = |pixel_row: usize, keys: Range<usize>| {
            let seen = self.asked.keys.touching(keys);
            let seen = seen.start.max(part.columns.start)..seen.end.min(part.columns.end);
            if !seen.is_empty() {
                let pixel = |column: usize| self.pixel_of[column - part.columns.start];
                let pixels = pixel(seen.start)..pixel(seen.end - 1) + 1;
                masked[pixel_row * part.width..][pixels].fill(false);
            }
        };
        // what the queries of a line of pixels see, as stretches: mostly one
        let mut stretch = (0, 0..0);
        for row in part.rows.clone() {
            for query in self.asked.queries.tokens(row) {
                let (line, keys) = (part.pixel_row(row), sight.hull(*query));
                let (last, reach) = &mut stretch;
                if *last == line && keys.start <= reach.end && reach.start <= keys.end {
                    *reach = reach.start.min(keys.start)..reach.end.max(keys.end);
                } else {
                    open(*last, reach.clone());
                    stretch = (line, keys);
                }
            }
        }
        open(stretch.0, stretch.1);
    }
}

/// Adds a cell to its pixel.
fn add(pool: Pool, pixel: &mut f64, value: f64) {
    match pool {
        Pool::Max => *pixel = f64::from(larger(*pixel as f32, value as f32)), // both are f32
        Pool::Mean => *pixel += value,
    }
}

/// What is drawn of a row. Shapes `[columns]`.
fn drawn(values: Values, numbers: &[f32], open: &[bool]) -> Vec<f32> {
    let seen = || numbers.iter().zip(open).filter(|(_, open)| **open).map(|(number, _)| *number);
    match values {
        Values::Number => numbers.to_vec(),
        Values::Share => {
            let largest = seen().map(f32::abs).filter(|size| *size < f32::INFINITY).fold(0.0, f32::max);
            numbers.iter().map(|number| if largest > 0.0 { number / largest } else { *number }).collect()
        }
        Values::Rank => {
            let mut sorted: Vec<f32> = seen().filter(|number| !number.is_nan()).collect();
            sorted.sort_by(f32::total_cmp);
            let others = sorted.len().saturating_sub(1);
            let rank = |number: &f32| match others {
                _ if number.is_nan() => f32::NAN,
                0 => 1.0,
                n => sorted.partition_point(|other| other < number) as f32 / n as f32,
            };
            numbers.iter().map(rank).collect()
        }
    }
}

/// Cells of some rows: means over a place's queries of sums over a place's keys.
pub struct Cells<'a> {
    asked: &'a Asked,
    sight: Sight<'a>,
    columns: Range<usize>,
    /// Rows that were read.
    pub n_rows: usize,
    /// Shape `[n_rows, columns.len()]`.
    numbers: Vec<f32>,
}

impl<'a> Cells<'a> {
    /// Cells of these columns, none of them read.
    pub fn new(asked: &'a Asked, columns: Range<usize>) -> Cells<'a> {
        Cells { sight: asked.sight(), asked, columns, n_rows: 0, numbers: Vec::new() }
    }

    /// A row of those that were read.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.columns.len()..][..self.columns.len()]
    }

    /// The cells of a place of which a query sees a key. Shape `[columns.len()]`.
    pub fn open(&self, place: usize) -> Vec<bool> {
        let mut open = vec![false; self.columns.len()];
        self.sight.mark(self.asked.queries.tokens(place), &self.asked.keys, &self.columns, &mut open);
        open
    }

    /// Reads the first of `rows`: the single queries that it begins with, or one place of several queries.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(&mut self, source: &Rows<'_>, rows: &[usize]) -> Result<(), Error> {
        let queries = |row: &usize| self.asked.queries.tokens(*row);
        let n_single = rows.iter().take_while(|row| queries(row).len() == 1).count();
        let keys = self.asked.keys.hull(self.columns.clone());
        let n_keys = keys.len();
        self.numbers.clear();
        if n_single > 0 {
            let queries: Vec<usize> = rows[..n_single].iter().flat_map(queries).copied().collect();
            for row in source.of(&queries, keys.clone())?.chunks(n_keys.max(1)) {
                self.merge(row, keys.start, |numbers, sum| numbers.push(sum as f32));
            }
            self.n_rows = n_single;
            return Ok(());
        }
        let queries = queries(&rows[0]);
        let mut sums = Vec::new(); // [columns]
        for some in queries.chunks((BAND_NUMBERS / n_keys.max(1)).clamp(4, BAND)) {
            for row in source.of(some, keys.clone())?.chunks(n_keys.max(1)) {
                let mut column = 0;
                self.merge(row, keys.start, |_, sum| {
                    match sums.get_mut(column) {
                        Some(total) => *total += sum,
                        None => sums.push(sum),
                    }
                    column += 1;
                });
            }
        }
        self.numbers.extend(sums.iter().map(|sum| (sum / queries.len() as f64) as f32));
        self.n_rows = 1;
        Ok(())
    }

    /// Tells `take` the sum of each column's keys in a query's row, whose first key is `first`.
    fn merge(&mut self, row: &[f32], first: usize, mut take: impl FnMut(&mut Vec<f32>, f64)) {
        let (keys, columns) = (&self.asked.keys, self.columns.clone());
        if keys.are_single(columns.clone()) {
            keys.tokens_of(columns).iter().for_each(|key| take(&mut self.numbers, f64::from(row[key - first])));
            return;
        }
        for column in columns {
            let sum = keys.tokens(column).iter().map(|key| f64::from(row[key - first])).sum();
            take(&mut self.numbers, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_stays_none_in_shares_and_ranks() {
        let (numbers, open) = ([0.5, f32::NAN, 0.25], [true; 3]);
        for values in [Values::Number, Values::Share, Values::Rank] {
            let drawn = drawn(values, &numbers, &open);
            assert!(drawn[1].is_nan() && !drawn[0].is_nan() && !drawn[2].is_nan(), "{values:?} {drawn:?}");
        }
    }
}
