//! Images resized as Pillow 13 resizes them: separable filters, 8-bit sums in fixed point, each of two passes rounded.

use rayon::prelude::*;

use super::Image;
use crate::block::stretch::cubic;

/// Bits after the point of a fixed-point weight.
const PRECISION: u32 = 32 - 8 - 2;

/// How a pixel is made of its neighbours, by Pillow's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    /// 0: the nearest pixel.
    Nearest,
    /// 1: a windowed sinc over three pixels on each side.
    Lanczos,
    /// 2: a triangle.
    Bilinear,
    /// 3: a cubic over two pixels on each side.
    Bicubic,
    /// 4: the mean.
    Box,
    /// 5: a windowed sinc over one pixel on each side.
    Hamming,
}

impl Filter {
    /// The filter of a number in preprocessor_config.json.
    pub fn of_number(number: usize) -> Option<Filter> {
        const BY_NUMBER: [Filter; 6] =
            [Filter::Nearest, Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];
        BY_NUMBER.get(number).copied()
    }

    /// How far it reaches, in pixels of the smaller image.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) };
        match self {
            Filter::Nearest => 1.0,
            Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Hamming if x.abs() >= 1.0 => 0.0,
            Filter::Hamming => sinc(x) * (0.54 + 0.46 * (x * std::f64::consts::PI).cos()),
            Filter::Bicubic => cubic(x, -0.5),
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos => 0.0,
        }
    }
}

/// Rows of the new image that are made together: many enough that few old lines are needed by two bands, and few enough
/// that their sums are small.
const BAND: usize = 16;

/// The image with `width × height` pixels. Lines are resized as they are needed, so that an image takes no more memory for
/// being tall.
pub(super) fn resize(image: &Image, width: usize, height: usize, filter: Filter) -> Image {
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    if filter == Filter::Nearest {
        return nearest(image, width, height);
    }
    let columns = windows(image.width, width, filter);
    let rows = windows(image.height, height, filter);
    let mut pixels = vec![0; height * width * 3]; // [height, width, 3]
    if down_first([image.width, image.height], [width, height]) {
        let lines = pixels.par_chunks_mut(width * 3).zip(&rows);
        lines.for_each(|(output, row)| down_then_across(image, &columns, row, output));
    } else {
        let bands = pixels.par_chunks_mut(BAND * width * 3).zip(rows.par_chunks(BAND));
        bands.for_each(|(output, rows)| across_then_down(image, &columns, rows, output));
    }
    Image { width, height, pixels }
}

/// Whether the pass down the columns comes first: where an image loses rows, and more than twice as many as it loses columns.
/// Both sizes are `[width, height]`. Versions of Pillow before 13 always go across first; the bytes then differ by rounding.
fn down_first(old: [usize; 2], new: [usize; 2]) -> bool {
    let [lost_columns, lost_rows] = [0, 1].map(|side| old[side] as i64 - new[side] as i64);
    lost_rows > 0 && lost_rows > 2 * lost_columns
}

/// One row of the new image: the weighted sum of old lines, then along that line.
fn down_then_across(image: &Image, columns: &[Window], row: &Window, output: &mut [u8]) {
    let n_values = image.width * 3;
    let mut sums = vec![1_i64 << (PRECISION - 1); n_values]; // [old width, 3], a half for rounding
    let lines = image.pixels[row.start * n_values..].chunks_exact(n_values);
    for (line, weight) in lines.zip(&row.weights) {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum += i64::from(*value) * weight;
        }
    }
    let narrow: Vec<u8> = sums.into_iter().map(level).collect(); // [old width, 3]
    along(&narrow, columns, output);
}

/// A line resized: each new pixel the weighted sum of old ones.
fn along(line: &[u8], columns: &[Window], output: &mut [u8]) {
    for (pixel, window) in output.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let source = &line[window.start * 3..];
        *pixel = [0, 1, 2].map(|channel| window.sum(|tap| source[tap * 3 + channel]));
    }
}

/// Some rows of the new image, each the weighted sum of old lines that were resized before.
fn across_then_down(image: &Image, columns: &[Window], rows: &[Window], output: &mut [u8]) {
    let n_values = columns.len() * 3;
    let mut sums = vec![1_i64 << (PRECISION - 1); output.len()]; // [rows, width, 3], a half for rounding
    let mut wide = vec![0; n_values]; // [width, 3]
    let first = rows.iter().map(|row| row.start).min().unwrap_or(0);
    let end = rows.iter().map(|row| row.start + row.weights.len()).max().unwrap_or(0);
    for y in first..end {
        // 1. along the line
        along(&image.pixels[y * image.width * 3..][..image.width * 3], columns, &mut wide);
        // 2. into the rows that it is a part of
        for (row, sums) in rows.iter().zip(sums.chunks_exact_mut(n_values)) {
            let Some(weight) = y.checked_sub(row.start).and_then(|tap| row.weights.get(tap)) else { continue };
            for (sum, value) in sums.iter_mut().zip(&wide) {
                *sum += i64::from(*value) * weight;
            }
        }
    }
    for (value, sum) in output.iter_mut().zip(sums) {
        *value = level(sum);
    }
}

fn nearest(image: &Image, width: usize, height: usize) -> Image {
    let place = |new: usize, n_new: usize, n_old: usize| {
        (((new as f64 + 0.5) * (n_old as f64 / n_new as f64)) as usize).min(n_old - 1)
    };
    let mut pixels = Vec::with_capacity(width * height * 3); // [height, width, 3]
    for y in 0..height {
        let line = place(y, height, image.height) * image.width;
        for x in 0..width {
            pixels.extend_from_slice(&image.pixels[(line + place(x, width, image.width)) * 3..][..3]);
        }
    }
    Image { width, height, pixels }
}

/// The old pixels that a new one is made of.
struct Window {
    start: usize,
    /// Fixed-point numbers with [`PRECISION`] bits after the point.
    weights: Vec<i64>,
}

impl Window {
    fn sum(&self, value: impl Fn(usize) -> u8) -> u8 {
        let half = 1_i64 << (PRECISION - 1);
        let taps = self.weights.iter().enumerate().map(|(tap, weight)| i64::from(value(tap)) * weight);
        level(half + taps.sum::<i64>())
    }
}

/// The 8 bits of a fixed-point sum.
fn level(sum: i64) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn windows(n_old: usize, n_new: usize, filter: Filter) -> Vec<Window> {
    let scale = n_old as f64 / n_new as f64;
    let stretch = scale.max(1.0);
    let support = filter.support() * stretch;
    let window = |new: usize| {
        let center = (new as f64 + 0.5) * scale;
        let start = ((center - support + 0.5) as i64).max(0) as usize;
        let end = ((center + support + 0.5) as usize).min(n_old);
        let plain: Vec<f64> =
            (start..end).map(|old| filter.weight((old as f64 - center + 0.5) * (1.0 / stretch))).collect();
        let total: f64 = plain.iter().sum();
        let fixed = |weight: &f64| (weight / total * f64::from(1 << PRECISION)).round() as i64;
        Window { start, weights: plain.iter().map(fixed).collect() }
    };
    (0..n_new).map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the two passes give when the first is kept whole, as Pillow does it.
    fn in_two_passes(image: &Image, width: usize, height: usize, filter: Filter) -> Vec<u8> {
        let (columns, rows) = (windows(image.width, width, filter), windows(image.height, height, filter));
        let old = |y: usize, x: usize, channel: usize| image.pixels[(y * image.width + x) * 3 + channel];
        let wide: Vec<u8> = (0..image.height * width * 3)
            .map(|place| {
                let (y, x, channel) = (place / (width * 3), place / 3 % width, place % 3);
                columns[x].sum(|tap| old(y, columns[x].start + tap, channel))
            })
            .collect(); // [old height, width, 3]
        let across = |(y, x): (usize, usize)| rows[y].sum(|tap| wide[(rows[y].start + tap) * width * 3 + x]);
        (0..height * width * 3).map(|place| across((place / (width * 3), place % (width * 3)))).collect()
    }

    /// An image of numbers that repeat only after 251 of them.
    fn speckled(width: usize, height: usize) -> Image {
        Image { width, height, pixels: (0..width * height * 3).map(|i| (i * 7919 % 251) as u8).collect() }
    }

    /// `numpy.arange(5 * 20 * 3) * 7919 % 251` as an image of 20 rows, `.resize((3, 2), filter)` of Pillow 13.0.0.
    #[test]
    fn an_image_that_loses_most_of_its_rows_is_resized_down_before_across() {
        let bilinear = [135, 118, 129, 118, 128, 128, 127, 135, 123, 133, 123, 127, 117, 123, 122, 117, 135, 118];
        let bicubic = [134, 116, 131, 117, 130, 128, 128, 136, 122, 135, 124, 127, 117, 123, 121, 117, 134, 117];
        for (filter, expected) in [(Filter::Bilinear, bilinear), (Filter::Bicubic, bicubic)] {
            assert_eq!(resize(&speckled(5, 20), 3, 2, filter).pixels, expected, "{filter:?}");
        }
    }

    /// The last heights at which `ImagingResampleInner` of Pillow 13.0.0 goes across first, by its own condition.
    #[test]
    fn down_comes_first_where_twice_as_many_rows_as_columns_are_lost() {
        for (width, new, last_across) in
            [(31, [24, 24], 38), (100, [20, 60], 220), (80, [20, 80], 200), (40, [40, 20], 20)]
        {
            assert!(!down_first([width, last_across], new), "{width} × {last_across}");
            assert!(down_first([width, last_across + 1], new), "{width} × {}", last_across + 1);
        }
    }

    #[test]
    fn bands_give_the_bytes_of_two_whole_passes() {
        let filters = [Filter::Lanczos, Filter::Bilinear, Filter::Bicubic, Filter::Box, Filter::Hamming];
        for (old, new) in [([70, 150], [19, 70]), ([53, 9], [5, 37]), ([200, 390], [2, 1]), ([1, 5], [4, 90])] {
            let image = speckled(old[0], old[1]);
            for filter in filters {
                let found = resize(&image, new[0], new[1], filter);
                assert_eq!([found.width, found.height], new);
                assert!(found.pixels == in_two_passes(&image, new[0], new[1], filter), "{old:?} {new:?} {filter:?}");
            }
        }
    }
}
