//! An image, and what one row of a map gives to each of its patches.

use std::sync::Arc;

use super::sheet::{NAME_SIZE, Sheet};
use crate::figure::Style;
use crate::figure::marks::{Anchor, Cells, Figure, Line, Mark, Photo, Rgb};
use crate::figure::panel::{Axis, Panel};
use crate::figure::raster::Pool;
use crate::figure::scale::{ColorScale, Scales};
use crate::figure::text::fit;
use crate::{Error, Quantity};

/// Between two pictures.
const GAP: f32 = 14.0;
/// The longer side of each picture when no size is asked for.
const SIDE: f32 = 200.0;
const SHORTEST_SIDE: f32 = 24.0;
const NAME_HEIGHT: f32 = NAME_SIZE * 1.9;
/// How strongly the weights cover the grey image.
const COVER: f32 = 0.65;
/// Pixels of a picture per point.
const PIXELS_PER_POINT: f32 = 2.0;

/// A row of a map whose keys are patches of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchRow {
    /// What it is, such as `L3H7`.
    pub title: String,
    /// How the query is called, such as `CLS` or `r3c5`.
    pub query: String,
    /// The query's row and column, when it is a patch itself.
    pub place: Option<[usize; 2]>,
    /// Patches from top to bottom and from left to right.
    pub grid: [usize; 2],
    /// The weights. Shape `[rows, columns]`.
    pub weights: Vec<f32>,
}

/// The part of an image that patches cover, in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pixels<'a> {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Shape `[height, width, 3]`.
    pub rgb: &'a [u8],
}

/// Three pictures side by side: the image with the query's place, the weights laid over the image in grey, and the weights
/// alone, whose colours are those of the colour bar, on a scale.
///
/// # Errors
/// When there is no patch, or pixels or weights are not as many as the sizes say.
pub fn patches(image: Pixels<'_>, row: &PatchRow, scale: &ColorScale, style: &Style) -> Result<Figure, Error> {
    let [n_rows, n_columns] = row.grid;
    let axes = [Axis::counted("patch row", n_rows), Axis::counted("patch column", n_columns)];
    let [rows, columns] = axes;
    let panel = Panel::new(row.title.clone(), row.weights.clone(), rows, columns)?;
    let n_bytes = image.width.checked_mul(image.height).and_then(|n| n.checked_mul(3));
    if image.rgb.is_empty() || n_bytes != Some(image.rgb.len()) {
        return Err(Error::Figure(format!(
            "an image of {} × {} pixels cannot have {} bytes",
            image.width,
            image.height,
            image.rgb.len()
        )));
    }
    let indices: Vec<u8> = scale.indices(panel.weights()).collect(); // [n_rows, n_columns]
    let mut sheet = Sheet::new(style, scale.quantity());
    let [width, height] = picture_size(image, style);

    // 1. the image, and where the query stands in it
    let size = [width, height].map(|side| ((side * PIXELS_PER_POINT) as usize).max(1));
    let photo = averaged(image, size);
    let left = |picture: usize| picture as f32 * (width + GAP);
    let place = |picture: usize| [left(picture), NAME_HEIGHT];
    sheet.photo(place(0), [width, height], size, photo.clone());
    // 2. the weights over the image in grey
    let covered = covered(&photo, size, row.grid, &indices, &sheet.palette);
    sheet.photo(place(1), [width, height], size, covered);
    // 3. the weights alone
    let palette = Arc::clone(&sheet.palette);
    let [x, y] = place(2);
    sheet.add(Mark::Cells(Cells { x, y, width, height, n_rows, n_columns, indices, palette }));

    for picture in 0..3 {
        sheet.outline(place(picture), [width, height], style.theme.rule(), 0.5);
        if let Some([row, column]) = row.place {
            let cell = [width / n_columns as f32, height / n_rows as f32];
            let corner = [left(picture) + column as f32 * cell[0], NAME_HEIGHT + row as f32 * cell[1]];
            sheet.outline(corner, cell, Rgb([255, 255, 255]), 2.4);
            sheet.outline(corner, cell, Rgb([220, 20, 60]), 1.2);
        }
    }
    let query = match row.place {
        Some(_) => format!("query {} (framed)", row.query),
        None => format!("query {}", row.query),
    };
    let numbers = if scale.quantity() == Quantity::Weight { "weights" } else { scale.words() };
    let names = [query, format!("{numbers} over the image"), format!("{numbers} alone")];
    for (picture, name) in names.iter().enumerate() {
        let name = fit(name, width / NAME_SIZE);
        sheet.text(name, [left(picture), NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, style.theme.muted());
    }
    sheet.extend(left(2) + width, NAME_HEIGHT + height);
    sheet.notes.push(format!(
        "In the middle, {} cover the grey image by {:.0} %; on the right they have the colours of the bar.",
        if scale.quantity() == Quantity::Weight { "weights" } else { "colours" },
        COVER * 100.0
    ));
    Ok(sheet.finish(&[&panel], &Scales::Shared(*scale), Pool { rows: 1, columns: 1 }))
}

/// Width and height of one picture, in points.
fn picture_size(image: Pixels<'_>, style: &Style) -> [f32; 2] {
    let (width, height) = (image.width as f32, image.height as f32);
    let longest = width.max(height);
    let fitted = match Sheet::asked_width(style) {
        Some(asked) => ((asked - 2.0 * GAP) / 3.0).max(SHORTEST_SIDE) / width,
        None => SIDE / longest,
    };
    [width * fitted, height * fitted].map(|side| side.clamp(SHORTEST_SIDE, 3.0 * SIDE.max(width * fitted)))
}

/// The image at another size: each pixel the mean of those it covers. Shape `[height, width, 3]`.
fn averaged(image: Pixels<'_>, [width, height]: [usize; 2]) -> Vec<u8> {
    let span = |place: usize, n_new: usize, n_old: usize| {
        let start = place * n_old / n_new;
        start..((place + 1) * n_old / n_new).max(start + 1)
    };
    let mut pixels = Vec::with_capacity(width * height * 3); // [height, width, 3]
    for y in 0..height {
        for x in 0..width {
            let (lines, columns) = (span(y, height, image.height), span(x, width, image.width));
            let n = (lines.len() * columns.len()) as u64;
            let mut sums = [0_u64; 3];
            for line in lines {
                let covered = &image.rgb[(line * image.width + columns.start) * 3..][..columns.len() * 3];
                for pixel in covered.as_chunks::<3>().0 {
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u64::from(*value));
                }
            }
            pixels.extend(sums.map(|sum| ((sum + n / 2) / n) as u8));
        }
    }
    pixels
}

/// The photograph in grey under the colours of the weights. Shape `[height, width, 3]`.
fn covered(photo: &[u8], [width, height]: [usize; 2], grid: [usize; 2], indices: &[u8], palette: &[Rgb]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(photo.len()); // [height, width, 3]
    for (place, pixel) in photo.as_chunks::<3>().0.iter().enumerate() {
        let (row, column) = (place / width * grid[0] / height, place % width * grid[1] / width);
        let Rgb(color) = palette[usize::from(indices[row * grid[1] + column])];
        let [red, green, blue] = pixel.map(f32::from);
        let gray = 0.299 * red + 0.587 * green + 0.114 * blue;
        pixels.extend(color.map(|channel| (gray + (f32::from(channel) - gray) * COVER).round() as u8));
    }
    pixels
}

impl Sheet<'_> {
    fn photo(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], [n_columns, n_rows]: [usize; 2], rgb: Vec<u8>) {
        self.add(Mark::Photo(Photo { x, y, width, height, n_columns, n_rows, rgb: rgb.into() }));
    }

    fn outline(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], color: Rgb, stroke: f32) {
        let points = vec![[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]];
        self.add(Mark::Line(Line { points, width: stroke, color, opacity: 1.0 }));
    }
}
