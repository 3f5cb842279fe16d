//! From the samples of each colour to pixels, as libjpeg-turbo enlarges and converts them (`jdsample.c`, `jdcolor.c`) and
//! Pillow makes RGB of what they give.

/// The samples of one colour.
pub(super) struct Plane {
    /// Shape `[rows, row_length]`, of which `size` are samples.
    pub samples: Vec<u8>,
    pub row_length: usize,
    /// Width and height.
    pub size: [usize; 2],
    /// How often a sample is repeated across and down.
    pub enlarged: [usize; 2],
}

/// What the colours stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Space {
    Gray,
    Rgb,
    /// Luminance and two differences.
    Ycc,
    Cmyk,
    /// The same of the inverse, and black.
    Ycck,
}

/// The pixels of the picture. Shape `[height, width, 3]`.
pub(super) fn pixels(planes: &[Plane], [width, height]: [usize; 2], space: Space) -> Vec<u8> {
    let mut pixels = vec![0; width * height * 3]; // [height, width, 3]
    let mut rows: Vec<Vec<u8>> = planes.iter().map(|plane| vec![0; plane.size[0] * plane.enlarged[0]]).collect();
    for (y, pixels) in pixels.chunks_exact_mut(width * 3).enumerate() {
        for (plane, row) in planes.iter().zip(&mut rows) {
            plane.enlarge(y, row);
        }
        let pixels = pixels.as_chunks_mut::<3>().0.iter_mut().enumerate();
        match (space, &rows[..]) {
            (Space::Rgb, [r, g, b]) => pixels.for_each(|(x, pixel)| *pixel = [r[x], g[x], b[x]]),
            (Space::Ycc, [y, cb, cr]) => pixels.for_each(|(x, pixel)| *pixel = rgb(y[x], cb[x], cr[x])),
            (Space::Cmyk, [c, m, y, k]) => pixels.for_each(|(x, pixel)| *pixel = printed([c[x], m[x], y[x]], k[x])),
            (Space::Ycck, [y, cb, cr, k]) => pixels.for_each(|(x, pixel)| {
                *pixel = printed(rgb(y[x], cb[x], cr[x]).map(|value| 255 - value), k[x]);
            }),
            (_, rows) => pixels.for_each(|(x, pixel)| *pixel = [rows[0][x]; 3]),
        }
    }
    pixels
}

impl Plane {
    /// The samples of a row of the picture, one for each of its columns. Shape `[size[0] · enlarged[0]]`.
    fn enlarge(&self, y: usize, output: &mut [u8]) {
        let (width, place) = (self.size[0], y / self.enlarged[1]);
        let row = |place: usize| &self.samples[place * self.row_length..][..width];
        // the neighbour above or below, or the row itself at the edge
        let is_lower = y % 2 == 1;
        let near = if is_lower { (place + 1).min(self.size[1] - 1) } else { place.saturating_sub(1) };
        match self.enlarged {
            [1, 1] => output.copy_from_slice(row(place)),
            [2, 1] if width > 2 => smooth_across(row(place), output),
            [1, 2] => smooth_down(row(place), row(near), 1 + u32::from(is_lower), output),
            [2, 2] if width > 2 => smooth_both(row(place), row(near), output),
            [across, _] => {
                for (samples, sample) in output.chunks_exact_mut(across).zip(row(place)) {
                    samples.fill(*sample);
                }
            }
        }
    }
}

/// Each sample becomes two, each of which is ¾ of it and ¼ of its neighbour.
fn smooth_across(row: &[u8], output: &mut [u8]) {
    let last = row.len() - 1;
    for (x, [left, right]) in output.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let sample = u32::from(row[x]);
        *left = if x == 0 { row[0] } else { ((3 * sample + u32::from(row[x - 1]) + 1) >> 2) as u8 };
        *right = if x == last { row[last] } else { ((3 * sample + u32::from(row[x + 1]) + 2) >> 2) as u8 };
    }
}

/// ¾ of a row and ¼ of the one that is near.
fn smooth_down(row: &[u8], near: &[u8], rounding: u32, output: &mut [u8]) {
    for ((output, sample), near) in output.iter_mut().zip(row).zip(near) {
        *output = ((3 * u32::from(*sample) + u32::from(*near) + rounding) >> 2) as u8;
    }
}

/// Both at once, rounded once.
fn smooth_both(row: &[u8], near: &[u8], output: &mut [u8]) {
    let last = row.len() - 1;
    let sum = |x: usize| 3 * u32::from(row[x]) + u32::from(near[x]);
    for (x, [left, right]) in output.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let here = sum(x);
        let (before, after) = (if x == 0 { here } else { sum(x - 1) }, if x == last { here } else { sum(x + 1) });
        *left = ((3 * here + before + 8) >> 4) as u8;
        *right = ((3 * here + after + 7) >> 4) as u8;
    }
}

/// A pixel of luminance and colour differences, in 16 bits behind the point.
#[inline]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let differences = [
        (91_881 * cr + HALF) >> 16,                // 1.402
        (-22_554 * cb - 46_802 * cr + HALF) >> 16, // 0.34414 and 0.71414
        (116_130 * cb + HALF) >> 16,               // 1.772
    ];
    differences.map(|difference| (y + difference).clamp(0, 255) as u8)
}

/// A pixel of inks, which such files hold inverted: 255 is none.
fn printed(inks: [u8; 3], black: u8) -> [u8; 3] {
    inks.map(|ink| {
        let product = u32::from(255 - ink) * u32::from(black) + 128;
        black - ((product + (product >> 8)) >> 8) as u8
    })
}
