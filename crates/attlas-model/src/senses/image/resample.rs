//! Images resized as Pillow resizes them: separable filters, 8-bit sums in fixed point, each pass rounded.

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

/// The image with `width × height` pixels.
pub(super) fn resize(image: &Image, width: usize, height: usize, filter: Filter) -> Image {
    if (width, height) == (image.width, image.height) {
        return image.clone();
    }
    if filter == Filter::Nearest {
        return nearest(image, width, height);
    }
    let columns = windows(image.width, width, filter);
    let rows = windows(image.height, height, filter);
    // 1. along the lines
    let mut wide = vec![0; image.height * width * 3]; // [old height, width, 3]
    let lines = wide.par_chunks_exact_mut(width * 3).zip(image.pixels.par_chunks_exact(image.width * 3));
    lines.for_each(|(output, line)| {
        for (pixel, window) in output.as_chunks_mut::<3>().0.iter_mut().zip(&columns) {
            let source = &line[window.start * 3..];
            *pixel = [0, 1, 2].map(|channel| window.sum(|tap| source[tap * 3 + channel]));
        }
    });
    // 2. across them
    let mut pixels = vec![0; height * width * 3]; // [height, width, 3]
    pixels.par_chunks_exact_mut(width * 3).zip(&rows).for_each(|(output, window)| {
        for (x, value) in output.iter_mut().enumerate() {
            *value = window.sum(|tap| wide[(window.start + tap) * width * 3 + x]);
        }
    });
    Image { width, height, pixels }
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
        ((half + taps.sum::<i64>()) >> PRECISION).clamp(0, 255) as u8
    }
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
