//! The film as one animated picture: SVG or GIF, the maps above, the loss curve below.

use attlas::figure::{self, Anchor, Axis, Figure, Label, Line, Mark, Panel, Rgb, Style};

use super::{Film, HeadFilm};
use crate::Error;

/// Maps side by side.
const COLUMNS: usize = 3;
/// How long a frame stays, in hundredths of a second; the last one stays four times as long.
const DELAY: u16 = 70;
/// Height of the loss curve, in points.
const CURVE_HEIGHT: f32 = 90.0;
const TRAINING: Rgb = Rgb([179, 92, 30]);
const VALIDATION: Rgb = Rgb([91, 63, 160]);
const MARKER: Rgb = Rgb([29, 27, 36]);
const INK: Rgb = Rgb([85, 82, 94]);
const AXIS: Rgb = Rgb([200, 196, 208]);

impl Film {
    /// An animated SVG (SMIL): plays in a browser and as an image in a page.
    ///
    /// # Errors
    /// When the film has no head or no frame, or a map is too large to be drawn cell by cell.
    pub fn to_svg(&self) -> Result<String, Error> {
        let figures = self.figures()?;
        let seconds: Vec<f32> =
            (0..figures.len()).map(|index| f32::from(delay(index, figures.len())) / 100.0).collect();
        figure::animated_svg(&figures, &seconds).ok_or_else(|| self.empty())
    }

    /// An animated GIF that repeats for ever.
    ///
    /// # Errors
    /// As [`Film::to_svg`]; also when the picture is larger than a GIF can be.
    pub fn to_gif(&self) -> Result<Vec<u8>, Error> {
        let frames: Vec<Picture> = self.figures()?.iter().map(pixels).collect::<Result<_, _>>()?;
        let Some(first) = frames.first() else { return Err(self.empty()) };
        let mut bytes = Vec::new();
        let gif_error = |error: gif::EncodingError| Error::Model(format!("the GIF cannot be encoded: {error}"));
        let mut encoder = gif::Encoder::new(&mut bytes, first.width, first.height, &[]).map_err(gif_error)?;
        encoder.set_repeat(gif::Repeat::Infinite).map_err(gif_error)?;
        for (index, picture) in frames.iter().enumerate() {
            let mut frame = gif::Frame::from_rgb_speed(picture.width, picture.height, &picture.pixels, 10);
            frame.delay = delay(index, frames.len());
            encoder.write_frame(&frame).map_err(gif_error)?;
        }
        drop(encoder); // writes the end
        Ok(bytes)
    }

    fn empty(&self) -> Error {
        Error::Model(format!(
            "the film has {} heads and {} frames: nothing to draw",
            self.heads.len(),
            self.frames.len()
        ))
    }

    /// One figure per frame, all with the same layout and one colour scale.
    fn figures(&self) -> Result<Vec<Figure>, Error> {
        if self.heads.is_empty() || self.frames.is_empty() {
            return Err(self.empty());
        }
        let largest = self.heads.iter().map(largest_weights).collect::<Vec<_>>(); // [heads][rows, columns]
        let high = largest.iter().flatten().copied().fold(f32::MIN_POSITIVE, f32::max);
        let panels: Result<Vec<Panel>, attlas::Error> =
            self.heads.iter().zip(&largest).map(|(head, weights)| panel(head, weights)).collect();
        let panels = panels.map_err(|error| Error::Model(error.to_string()))?;
        (0..self.frames.len()).map(|index| self.figure(index, &panels, high)).collect()
    }

    /// The figure of one frame: laid out for the largest weights of all frames, then filled with this frame's.
    fn figure(&self, index: usize, panels: &[Panel], high: f32) -> Result<Figure, Error> {
        let frame = self.frames[index];
        let loss = self.curve.iter().rfind(|point| point.step <= frame.step).or(self.curve.first());
        let loss = loss.map_or(String::new(), |point| format!(", loss {:.2} nats per token", point.loss));
        let style = Style {
            title: format!("step {}{loss}", frame.step),
            captions: vec![
                "Rows are queries (cross: the token each predicts), columns are keys; one scale for all heads and frames.".to_string(),
                format!(
                    "Below: the loss over training in nats per token (bold: validation); the upright line is this frame{}.",
                    if self.seams.is_empty() { "" } else { ", a thin one the start of a further run" }
                ),
            ],
            ..Style::default()
        };
        let mut figure = figure::grid(panels, COLUMNS, &style);
        let mut heads = self.heads.iter();
        for mark in &mut figure.marks {
            let Mark::Cells(cells) = mark else { continue };
            let Some(head) = heads.next() else { break }; // the colour bar comes last
            if (cells.n_rows, cells.n_columns) != (head.rows.len(), head.columns.len()) {
                return Err(Error::Limit(
                    "the maps are too large for a picture; write the film as .html, or film a shorter sentence"
                        .to_string(),
                ));
            }
            cells.indices = head.maps[index].iter().map(|weight| (weight / high * 254.0).round() as u8).collect();
        }
        self.add_curve(&mut figure, frame.step);
        Ok(figure)
    }

    /// Adds the loss curve below everything.
    fn add_curve(&self, figure: &mut Figure, step: u64) {
        let (left, right, top) = (34.0, figure.width - 14.0, figure.height);
        figure.height += CURVE_HEIGHT + 16.0;
        let losses = self.curve.iter().flat_map(|point| [Some(point.loss), point.valid]).flatten();
        let (low, high) = losses.fold((f64::MAX, f64::MIN), |(low, high), loss| (low.min(loss), high.max(loss)));
        let last = self.curve.last().map_or(1, |point| point.step.max(1)) as f32;
        let x = |step: u64| left + (right - left) * (step as f32 / last).min(1.0);
        let y = |loss: f64| top + CURVE_HEIGHT * ((high - loss) / (high - low).max(1e-9)) as f32;
        for loss in [low, high].into_iter().filter(|loss| loss.is_finite()) {
            let at = [left - 5.0, y(loss) + 3.0];
            figure.marks.push(Mark::Label(Label::new(&format!("{loss:.1}"), at, Anchor::End, 8.0, INK)));
        }
        let mut line = |points: Vec<[f32; 2]>, width: f32, color: Rgb| {
            if points.len() > 1 {
                figure.marks.push(Mark::Line(Line { points, width, color, opacity: 1.0 }));
            }
        };
        let bottom = top + CURVE_HEIGHT;
        line(vec![[left, top], [left, bottom], [right, bottom]], 0.5, AXIS);
        for seam in &self.seams {
            line(vec![[x(*seam), top], [x(*seam), bottom]], 0.5, AXIS);
        }
        line(self.curve.iter().map(|point| [x(point.step), y(point.loss)]).collect(), 0.8, TRAINING);
        let valid = self.curve.iter().filter_map(|point| Some([x(point.step), y(point.valid?)]));
        line(valid.collect(), 1.6, VALIDATION);
        line(vec![[x(step), top], [x(step), bottom]], 1.0, MARKER);
    }
}

/// How long a frame stays, in hundredths of a second.
fn delay(index: usize, n_frames: usize) -> u16 {
    if index + 1 == n_frames { 4 * DELAY } else { DELAY }
}

/// Each cell's largest weight over time. Shape `[rows, columns]`.
fn largest_weights(head: &HeadFilm) -> Vec<f32> {
    let mut largest = vec![0.0_f32; head.rows.len() * head.columns.len()]; // [rows, columns]
    for map in &head.maps {
        for (largest, weight) in largest.iter_mut().zip(map) {
            *largest = largest.max(*weight);
        }
    }
    largest
}

fn panel(head: &HeadFilm, weights: &[f32]) -> Result<Panel, attlas::Error> {
    let rows = Axis::labelled("query", head.rows.iter().cloned());
    let columns = Axis::labelled("key", head.columns.iter().cloned());
    Panel::new(format!("{} {}", head.kind, head.name), weights.to_vec(), rows, columns)
}

/// A frame as a GIF takes it.
struct Picture {
    width: u16,
    height: u16,
    /// RGB. Shape `[height, width, 3]`.
    pixels: Vec<u8>,
}

/// A figure, drawn.
fn pixels(figure: &Figure) -> Result<Picture, Error> {
    let error = |error: &dyn std::fmt::Display| Error::Model(format!("a frame cannot be drawn: {error}"));
    let png = figure.to_png().map_err(|problem| error(&problem))?;
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().map_err(|problem| error(&problem))?;
    let size = reader.output_buffer_size().ok_or_else(|| error(&"too large"))?;
    let mut pixels = vec![0; size];
    let info = reader.next_frame(&mut pixels).map_err(|problem| error(&problem))?;
    pixels.truncate(info.buffer_size());
    if info.color_type != png::ColorType::Rgb {
        return Err(error(&format!("{:?} pixels where RGB was expected", info.color_type)));
    }
    let side =
        |length: u32| u16::try_from(length).map_err(|_| error(&format!("{length} pixels are too many for a GIF")));
    Ok(Picture { width: side(info.width)?, height: side(info.height)?, pixels })
}
