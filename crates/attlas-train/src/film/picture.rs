//! The film as one animated picture: SVG or GIF, the maps above, the loss curve below.

use attlas::Quantity;
use attlas::figure::{
    self, Anchor, Axis, Bitmap, ColorScale, Figure, Label, Line, Mark, Panel, Rgb, Scale, Scales, Style,
};

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
    /// When the film has no head or no frame.
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
        let error = |error: &dyn std::fmt::Display| Error::Model(format!("the GIF cannot be encoded: {error}"));
        let frames: Result<Vec<Bitmap>, attlas::Error> = self.figures()?.iter().map(Figure::to_pixels).collect();
        let frames = frames.map_err(|problem| error(&problem))?;
        let Some(first) = frames.first() else { return Err(self.empty()) };
        let side = |length: usize| {
            u16::try_from(length).map_err(|_| error(&format!("{length} pixels are more than it can have")))
        };
        let (width, height) = (side(first.width)?, side(first.height)?);
        let mut bytes = Vec::new();
        let mut encoder = gif::Encoder::new(&mut bytes, width, height, &[]).map_err(|problem| error(&problem))?;
        encoder.set_repeat(gif::Repeat::Infinite).map_err(|problem| error(&problem))?;
        for (index, bitmap) in frames.iter().enumerate() {
            let mut frame = gif::Frame::from_rgb_speed(width, height, &bitmap.rgb, 10);
            frame.delay = delay(index, frames.len());
            encoder.write_frame(&frame).map_err(|problem| error(&problem))?;
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
        let weights = self.heads.iter().flat_map(|head| head.maps.iter().flatten());
        let scales = Scales::Shared(ColorScale::over(weights, Quantity::Weight, Scale::Linear));
        (0..self.frames.len()).map(|index| self.figure(index, &scales)).collect()
    }

    /// The figure of one frame: its maps, the loss curve below them.
    fn figure(&self, index: usize, scales: &Scales) -> Result<Figure, Error> {
        let frame = self.frames[index];
        let panels: Result<Vec<Panel>, attlas::Error> = self.heads.iter().map(|head| panel(head, index)).collect();
        let panels = panels.map_err(|error| Error::Model(error.to_string()))?;
        let loss = self.curve.iter().rfind(|point| point.step <= frame.step).or(self.curve.first());
        let loss = loss.map_or(String::new(), |point| format!(", loss {:.2} nats per token", point.loss));
        let style = Style {
            title: format!("step {}{loss}", frame.step),
            captions: [
                "Rows are queries (cross: the token each predicts), columns are keys; one scale for all heads and frames.".to_string(),
                format!(
                    "Below: the loss over training in nats per token (bold: validation); the upright line is this frame{}.",
                    if self.seams.is_empty() { "" } else { ", a thin one the start of a further run" }
                ),
            ]
            .into_iter()
            .chain(self.complaint())
            .collect(),
            ..Style::default()
        };
        let figure = figure::grid(&panels, scales, COLUMNS, &style);
        let curve = self.curve_marks(figure.width, frame.step);
        Ok(figure.with_strip_below(CURVE_HEIGHT + 16.0, curve))
    }

    /// The loss curve, in a strip of `width` points.
    fn curve_marks(&self, width: f32, step: u64) -> Vec<Mark> {
        let (left, right) = (34.0, width - 14.0);
        let losses = self.curve.iter().flat_map(|point| [Some(point.loss), point.valid]).flatten();
        let (low, high) = losses.fold((f64::MAX, f64::MIN), |(low, high), loss| (low.min(loss), high.max(loss)));
        let last = self.curve.last().map_or(1, |point| point.step.max(1)) as f32;
        let x = |step: u64| left + (right - left) * (step as f32 / last).min(1.0);
        let y = |loss: f64| CURVE_HEIGHT * ((high - loss) / (high - low).max(1e-9)) as f32;
        let mut marks = Vec::new();
        for loss in [low, high].into_iter().filter(|loss| loss.is_finite()) {
            let at = [left - 5.0, y(loss) + 3.0];
            marks.push(Mark::Label(Label::new(&format!("{loss:.1}"), at, Anchor::End, 8.0, INK)));
        }
        let mut line = |points: Vec<[f32; 2]>, width: f32, color: Rgb| {
            if points.len() > 1 {
                marks.push(Mark::Line(Line { points, width, color, opacity: 1.0 }));
            }
        };
        line(vec![[left, 0.0], [left, CURVE_HEIGHT], [right, CURVE_HEIGHT]], 0.5, AXIS);
        for seam in &self.seams {
            line(vec![[x(*seam), 0.0], [x(*seam), CURVE_HEIGHT]], 0.5, AXIS);
        }
        line(self.curve.iter().map(|point| [x(point.step), y(point.loss)]).collect(), 0.8, TRAINING);
        let valid = self.curve.iter().filter_map(|point| Some([x(point.step), y(point.valid?)]));
        line(valid.collect(), 1.6, VALIDATION);
        line(vec![[x(step), 0.0], [x(step), CURVE_HEIGHT]], 1.0, MARKER);
        marks
    }
}

/// How long a frame stays, in hundredths of a second.
fn delay(index: usize, n_frames: usize) -> u16 {
    if index + 1 == n_frames { 4 * DELAY } else { DELAY }
}

/// One frame of a head.
fn panel(head: &HeadFilm, index: usize) -> Result<Panel, attlas::Error> {
    let rows = Axis::labelled("query", head.rows.iter().cloned());
    let columns = Axis::labelled("key", head.columns.iter().cloned());
    Panel::new(format!("{} {}", head.kind, head.name), head.maps[index].clone(), rows, columns)
}
