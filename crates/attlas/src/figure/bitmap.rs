//! Writes a figure as PNG: cells by nearest neighbour, text and strokes with smooth edges.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use rustybuzz::ttf_parser::{GlyphId, OutlineBuilder};

use super::marks::{Cells, Figure, Label, Line, Mark, Photo, Rect, Rgb};
use crate::{Error, Remedy};

/// A figure as pixels in sRGB; its ground is opaque, and so are they.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bitmap {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Shape `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// No picture takes more bytes while it is drawn: 100 million pixels.
const MOST_BYTES: u64 = 300_000_000;

impl Figure {
    /// The figure as PNG, with [`Figure::pixels_per_point`].
    ///
    /// # Errors
    /// [`Error::Limit`] when the picture would have more than 100 million pixels.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        let per_meter = (self.pixels_per_point * 72.0 / 0.0254).round() as u32;
        self.to_pixels()?.encode(Some(per_meter))
    }

    /// The figure as pixels, with [`Figure::pixels_per_point`]: what [`Figure::to_png`] writes.
    ///
    /// # Errors
    /// [`Error::Limit`] when the picture would have more than 100 million pixels.
    pub fn to_pixels(&self) -> Result<Bitmap, Error> {
        let mut canvas = Canvas::new(self)?;
        for mark in &self.marks {
            match mark {
                Mark::Cells(cells) => canvas.cells(cells),
                Mark::Photo(photo) => canvas.photo(photo),
                Mark::Label(label) => canvas.label(label),
                Mark::Rect(rect) => canvas.rect(rect),
                Mark::Line(line) => canvas.line(line),
            }
        }
        let Canvas { width, height, pixels: rgb, .. } = canvas;
        Ok(Bitmap { width, height, rgb })
    }
}

impl Bitmap {
    /// The pixels as a PNG file, which says no size but theirs.
    ///
    /// # Errors
    /// [`Error::Figure`] when there are no pixels, or not as many as the size says.
    pub fn to_png(&self) -> Result<Vec<u8>, Error> {
        self.encode(None)
    }

    /// The pixels as a PNG file, with how many of them make a meter.
    fn encode(&self, per_meter: Option<u32>) -> Result<Vec<u8>, Error> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        let unit = png::Unit::Meter;
        encoder.set_pixel_dims(per_meter.map(|n| png::PixelDimensions { xppu: n, yppu: n, unit }));
        let written = encoder.write_header().and_then(|mut writer| writer.write_image_data(&self.rgb));
        written.map_err(|error| Error::Figure(format!("the PNG could not be written: {error}")))?;
        Ok(file)
    }
}

/// Pixels being drawn on.
struct Canvas {
    width: usize,
    height: usize,
    /// Pixels per point.
    scale: f32,
    /// Shape `[height, width, 3]`.
    pixels: Vec<u8>,
    rasterizer: Rasterizer,
}

impl Canvas {
    fn new(figure: &Figure) -> Result<Canvas, Error> {
        let scale = figure.pixels_per_point;
        let (width, height) = ((figure.width * scale).ceil(), (figure.height * scale).ceil());
        let needed = (f64::from(width) * f64::from(height) * 3.0) as u64;
        if needed > MOST_BYTES {
            return Err(Error::Limit {
                what: format!("a picture of {width} × {height} pixels"),
                needed,
                limit: MOST_BYTES,
                remedy: Remedy::DrawSmaller,
            });
        }
        let (width, height) = (width.max(1.0) as usize, height.max(1.0) as usize);
        let pixels = figure.ground.0.repeat(width * height); // [height, width, 3]
        Ok(Canvas { width, height, scale, pixels, rasterizer: Rasterizer::new(0, 0) })
    }

    /// The pixel that a coordinate falls on, within 0 ..= `most`.
    fn pixel(&self, coordinate: f32, most: usize) -> usize {
        ((coordinate * self.scale).round().max(0.0) as usize).min(most)
    }

    fn fill(&mut self, [left, top, right, bottom]: [usize; 4], color: Rgb) {
        for y in top..bottom.min(self.height) {
            let row = &mut self.pixels[y * self.width * 3..][..self.width * 3];
            row[left * 3..right.min(self.width).max(left) * 3].as_chunks_mut().0.fill(color.0);
        }
    }

    fn rect(&mut self, rect: &Rect) {
        let left = self.pixel(rect.x, self.width);
        let top = self.pixel(rect.y, self.height);
        let right = self.pixel(rect.x + rect.width, self.width).max(left + 1);
        let bottom = self.pixel(rect.y + rect.height, self.height).max(top + 1);
        self.fill([left.min(self.width), top, right, bottom], rect.fill);
    }

    fn cells(&mut self, cells: &Cells) {
        let (left, right) = (self.pixel(cells.x, self.width), self.pixel(cells.x + cells.width, self.width));
        let (top, bottom) = (self.pixel(cells.y, self.height), self.pixel(cells.y + cells.height, self.height));
        let mut colors = vec![[0; 3]; right - left]; // [right − left]
        let mut drawn = None;
        for y in top..bottom {
            let cell_row = (y - top) * cells.n_rows / (bottom - top);
            if drawn != Some(cell_row) {
                let row = &cells.indices[cell_row * cells.n_columns..][..cells.n_columns];
                for (x, color) in colors.iter_mut().enumerate() {
                    *color = cells.palette[usize::from(row[x * cells.n_columns / (right - left)])].0;
                }
                drawn = Some(cell_row);
            }
            self.pixels[(y * self.width + left) * 3..][..colors.len() * 3].copy_from_slice(colors.as_flattened());
        }
    }

    /// A photograph, by the nearest of its pixels.
    fn photo(&mut self, photo: &Photo) {
        let (left, right) = (self.pixel(photo.x, self.width), self.pixel(photo.x + photo.width, self.width));
        let (top, bottom) = (self.pixel(photo.y, self.height), self.pixel(photo.y + photo.height, self.height));
        for y in top..bottom {
            let row = (y - top) * photo.n_rows / (bottom - top);
            for x in left..right {
                let column = (x - left) * photo.n_columns / (right - left);
                let color = &photo.rgb[(row * photo.n_columns + column) * 3..][..3];
                self.pixels[(y * self.width + x) * 3..][..3].copy_from_slice(color);
            }
        }
    }

    /// Strokes: along the axes on whole pixels, others with smooth edges.
    fn line(&mut self, line: &Line) {
        let thick = (line.width * self.scale).round().max(1.0);
        for pair in line.points.windows(2) {
            let [[x0, y0], [x1, y1]] = [pair[0], pair[1]].map(|[x, y]| [x * self.scale, y * self.scale]);
            if line.opacity == 1.0 && (x0 == x1 || y0 == y1) {
                let along = |a: f32, b: f32| {
                    let start = (a.min(b) - thick / 2.0).round().max(0.0);
                    [start as usize, (start + (a - b).abs().round() + thick) as usize]
                };
                let ([left, right], [top, bottom]) = (along(x0, x1), along(y0, y1));
                self.fill([left.min(self.width), top, right, bottom], line.color);
            } else {
                self.segment([x0, y0], [x1, y1], line.width * self.scale, line.color, line.opacity);
            }
        }
    }

    /// One slanted stroke, as a rectangle along it; in pixels.
    fn segment(&mut self, [x0, y0]: [f32; 2], [x1, y1]: [f32; 2], width: f32, color: Rgb, opacity: f32) {
        let length = (x1 - x0).hypot(y1 - y0);
        if length <= 0.0 {
            return;
        }
        let (dx, dy) = ((y1 - y0) / length * width / 2.0, (x1 - x0) / length * width / 2.0);
        let corners = [[x0 + dx, y0 - dy], [x1 + dx, y1 - dy], [x1 - dx, y1 + dy], [x0 - dx, y0 + dy]];
        let mut outline = Outline::default();
        outline.edges.extend((0..4).map(|n| Edge::Line(corners[n].into(), corners[(n + 1) % 4].into())));
        self.outline(&outline, color, opacity);
    }

    fn label(&mut self, label: &Label) {
        let (sin, cos) = label.angle.to_radians().sin_cos();
        let mut pen = label.offset();
        for run in &label.shaped.runs {
            let Some(face) = run.font.face() else { continue };
            for glyph in &run.glyphs {
                let (right, up) = (pen + glyph.dx * label.size, glyph.dy * label.size);
                let mut outline = Outline {
                    scale: label.size / run.font.units_per_em() * self.scale,
                    sin,
                    cos,
                    x: (label.x + right * cos + up * sin) * self.scale,
                    y: (label.y + right * sin - up * cos) * self.scale,
                    ..Outline::default()
                };
                face.outline_glyph(GlyphId(glyph.id), &mut outline);
                self.outline(&outline, label.color, 1.0);
                pen += glyph.advance * label.size;
            }
        }
    }

    /// Fills an outline given in pixels.
    fn outline(&mut self, outline: &Outline, color: Rgb, opacity: f32) {
        let Some([left, top, right, bottom]) = outline.bounds() else { return };
        let (width, height) = (self.width as f32, self.height as f32);
        if right <= 0.0
            || bottom <= 0.0
            || left >= width
            || top >= height
            || (right - left).max(bottom - top) > 16_384.0
        {
            return;
        }
        let (left, top) = (left.floor(), top.floor());
        let size = [(right - left).ceil() as usize + 1, (bottom - top).ceil() as usize + 1];
        self.rasterizer.reset(size[0], size[1]);
        let at = |p: Point| point(p.x - left, p.y - top);
        for edge in &outline.edges {
            match *edge {
                Edge::Line(from, to) => self.rasterizer.draw_line(at(from), at(to)),
                Edge::Quad(from, control, to) => self.rasterizer.draw_quad(at(from), at(control), at(to)),
            }
        }
        let (left, top, width, height) = (left as i64, top as i64, self.width as i64, self.height as i64);
        let pixels = &mut self.pixels;
        self.rasterizer.for_each_pixel_2d(|x, y, coverage| {
            let (x, y) = (left + i64::from(x), top + i64::from(y));
            if coverage > 0.0 && (0..width).contains(&x) && (0..height).contains(&y) {
                let alpha = coverage.min(1.0) * opacity;
                let pixel = &mut pixels[(y * width + x) as usize * 3..][..3];
                for (channel, ink) in pixel.iter_mut().zip(color.0) {
                    *channel = (f32::from(*channel) + (f32::from(ink) - f32::from(*channel)) * alpha).round() as u8;
                }
            }
        });
    }
}

/// A closed outline in pixels; as an [`OutlineBuilder`] it takes font units, turned and moved into place.
#[derive(Default)]
struct Outline {
    scale: f32,
    sin: f32,
    cos: f32,
    x: f32,
    y: f32,
    start: Point,
    last: Point,
    edges: Vec<Edge>,
}

/// One side of an outline.
enum Edge {
    Line(Point, Point),
    Quad(Point, Point, Point),
}

impl Outline {
    fn place(&self, x: f32, y: f32) -> Point {
        let (x, y) = (x * self.scale, -y * self.scale);
        point(self.x + x * self.cos - y * self.sin, self.y + x * self.sin + y * self.cos)
    }

    /// Left, top, right and bottom of all points.
    fn bounds(&self) -> Option<[f32; 4]> {
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let points = self.edges.iter().flat_map(|edge| match *edge {
            Edge::Line(from, to) => [from, to, to],
            Edge::Quad(from, control, to) => [from, control, to],
        });
        for Point { x, y } in points {
            bounds = [bounds[0].min(x), bounds[1].min(y), bounds[2].max(x), bounds[3].max(y)];
        }
        bounds.iter().all(|bound| bound.is_finite()).then_some(bounds)
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.start = self.place(x, y);
        self.last = self.start;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.place(x, y);
        self.edges.push(Edge::Line(self.last, to));
        self.last = to;
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (control, to) = (self.place(x1, y1), self.place(x, y));
        self.edges.push(Edge::Quad(self.last, control, to));
        self.last = to;
    }

    /// Only fonts with cubic outlines call this; the bundled ones are TrueType.
    fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, x: f32, y: f32) {
        self.line_to(x, y);
    }

    fn close(&mut self) {
        self.edges.push(Edge::Line(self.last, self.start));
        self.last = self.start;
    }
}
