//! Cells and photographs as PNG images.

use rayon::prelude::*;

use super::marks::{Cells, Figure, Mark, Photo};

impl Figure {
    /// What `make` makes of all cells, in the order of the marks; in parallel where there are many.
    pub(super) fn images<T: Send>(&self, make: impl Fn(&Cells) -> T + Send + Sync) -> Vec<T> {
        const FEW: usize = 8;
        let cells = self.marks.iter().filter_map(|mark| if let Mark::Cells(cells) = mark { Some(cells) } else { None });
        let cells: Vec<&Cells> = cells.collect();
        if cells.len() < FEW {
            return cells.into_iter().map(make).collect();
        }
        cells.into_par_iter().map(make).collect()
    }
}

impl Cells {
    /// The same picture with several pixels per cell where cells are larger than that, so that a viewer that smooths
    /// images blurs only the seams.
    pub(super) fn scaled_up(&self) -> Cells {
        const MOST_CELLS: usize = 128 * 128;
        if self.n_rows * self.n_columns > MOST_CELLS {
            return self.clone();
        }
        let factor = |length: f32, n: usize| ((2.0 * length / n as f32) as usize).clamp(1, 64);
        let (down, across) = (factor(self.height, self.n_rows), factor(self.width, self.n_columns));
        let mut indices = Vec::with_capacity(self.indices.len() * down * across); // [n_rows · down, n_columns · across]
        for row in self.indices.chunks_exact(self.n_columns) {
            let start = indices.len();
            row.iter().for_each(|&index| indices.extend(std::iter::repeat_n(index, across)));
            for _ in 1..down {
                indices.extend_from_within(start..start + self.n_columns * across);
            }
        }
        let (n_rows, n_columns) = (self.n_rows * down, self.n_columns * across);
        Cells { n_rows, n_columns, indices, palette: self.palette.clone(), ..*self }
    }

    /// A PNG file of one pixel per cell, indexed.
    pub(super) fn to_indexed_png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.n_columns as u32, self.n_rows as u32);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(self.palette.iter().flat_map(|color| color.0).collect::<Vec<u8>>());
        encoder.set_compression(png::Compression::Balanced);
        encoder.set_filter(png::Filter::NoFilter);
        // Writing to a Vec fails for no image that layout makes: sizes are positive and below 2³¹, indices complete.
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.indices));
        written.map(|()| file).unwrap_or_default()
    }
}

impl Photo {
    /// A PNG file in true colours.
    pub(super) fn to_png(&self) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.n_columns as u32, self.n_rows as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Balanced);
        // As above: writing to a Vec fails for no image that layout makes.
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.rgb));
        written.map(|()| file).unwrap_or_default()
    }
}
