//! A laid-out figure: marks in one coordinate system, which the writers turn into a file.

use std::sync::Arc;

use super::text::{Shaped, shape, visible};

/// A colour in sRGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rgb(pub [u8; 3]);

/// A picture, laid out: marks over a ground, in points (1/72 inch) from the top left corner.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Width in points.
    pub width: f32,
    /// Height in points.
    pub height: f32,
    /// The colour of the ground.
    pub ground: Rgb,
    /// What is drawn, from back to front.
    pub(super) marks: Vec<Mark>,
    /// The heading, for readers who cannot see the picture.
    pub title: String,
    /// What the picture shows, in a sentence or two, for readers who cannot see it.
    pub description: String,
    /// Pixels per point in a PNG.
    pub pixels_per_point: f32,
}

impl Figure {
    /// What is drawn, from back to front.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The figure with a strip of `height` points added below it, and what is drawn there: `marks`, whose places count from
    /// the strip's upper left corner.
    pub fn with_strip_below(mut self, height: f32, marks: impl IntoIterator<Item = Mark>) -> Figure {
        let top = self.height;
        self.marks.extend(marks.into_iter().map(|mut mark| {
            mark.shift(0.0, top);
            mark
        }));
        self.height += height;
        self
    }
}

/// One thing drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// Coloured cells, drawn as an image.
    Cells(Cells),
    /// A photograph.
    Photo(Photo),
    /// A shaped text.
    Label(Label),
    /// A filled rectangle.
    Rect(Rect),
    /// A stroke.
    Line(Line),
}

impl Mark {
    /// Moves it.
    pub(super) fn shift(&mut self, right: f32, down: f32) {
        match self {
            Mark::Cells(Cells { x, y, .. })
            | Mark::Photo(Photo { x, y, .. })
            | Mark::Label(Label { x, y, .. })
            | Mark::Rect(Rect { x, y, .. }) => {
                *x += right;
                *y += down;
            }
            Mark::Line(Line { points, .. }) => {
                for [x, y] in points {
                    *x += right;
                    *y += down;
                }
            }
        }
    }
}

/// A raster of coloured cells, filling a rectangle.
#[derive(Debug, Clone, PartialEq)]
pub struct Cells {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Cells from top to bottom.
    pub n_rows: usize,
    /// Cells from left to right.
    pub n_columns: usize,
    /// The place of each cell's colour in the palette. Shape `[n_rows, n_columns]`.
    pub indices: Vec<u8>,
    /// The colours, at most 256.
    pub palette: Arc<[Rgb]>,
}

/// An image in true colours, filling a rectangle.
#[derive(Debug, Clone, PartialEq)]
pub struct Photo {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Pixels from left to right.
    pub n_columns: usize,
    /// Pixels from top to bottom.
    pub n_rows: usize,
    /// Shape `[n_rows, n_columns, 3]`.
    pub rgb: Arc<[u8]>,
}

/// A text, shaped, at a place.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Where the anchor of the baseline is, from the left.
    pub x: f32,
    /// Where the anchor of the baseline is, from the top.
    pub y: f32,
    /// Degrees around the anchor, clockwise.
    pub angle: f32,
    /// Which point of the baseline is at `x`, `y`.
    pub anchor: Anchor,
    /// The font size in points.
    pub size: f32,
    /// The ink.
    pub color: Rgb,
    /// Text and glyphs.
    pub shaped: Arc<Shaped>,
}

impl Label {
    /// An upright text with its anchor at `[x, y]`; what would be invisible in it is shown.
    pub fn new(text: &str, [x, y]: [f32; 2], anchor: Anchor, size: f32, color: Rgb) -> Label {
        Label { x, y, angle: 0.0, anchor, size, color, shaped: shape(&visible(text)) }
    }

    /// The text's width in points.
    pub fn width(&self) -> f32 {
        self.shaped.width * self.size
    }

    /// How far before the anchor the text starts, in points along the baseline.
    pub fn offset(&self) -> f32 {
        match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => -self.width() / 2.0,
            Anchor::End => -self.width(),
        }
    }
}

/// The point of a text that is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its left end.
    Start,
    /// Its middle.
    Middle,
    /// Its right end.
    End,
}

/// A filled rectangle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// The colour.
    pub fill: Rgb,
}

/// A stroke through points, or along one cubic curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The points.
    pub points: Vec<[f32; 2]>,
    /// The stroke's width.
    pub width: f32,
    /// The colour.
    pub color: Rgb,
    /// Between 0 and 1.
    pub opacity: f32,
}
