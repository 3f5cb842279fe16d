//! Lines over one axis: how numbers change, in panels side by side.

use std::sync::Arc;

use super::sheet::{NAME_SIZE, Sheet, TEXT_SIZE, TICK_SIZE};
use crate::Quantity;
use crate::figure::marks::{Anchor, Figure, Line, Mark, Rect, Rgb};
use crate::figure::okabe_ito::{BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION};
use crate::figure::scale::number;
use crate::figure::text::{Shaped, fit, shape, visible};
use crate::figure::{Style, Theme};

/// The axis from left to right that all charts of a figure share.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartAxis {
    /// What it is, and on which scale.
    pub name: String,
    /// Places from 0, at the left, to 1, and what is written there; where two have no room, the first and the last have it.
    pub ticks: Vec<(f32, String)>,
    /// Places of thin upright lines.
    pub seams: Vec<f32>,
}

/// One panel of a figure of charts.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it is about.
    pub title: String,
    /// The numbers at the lower and the upper edge; what lies beyond is drawn at the edge.
    pub range: (f32, f32),
    /// The lines, from back to front.
    pub lines: Vec<ChartLine>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct ChartLine {
    /// Places on the axis, from 0 to 1 and rising, and the numbers there; where there is none, the line is broken.
    pub points: Vec<(f32, Option<f32>)>,
    /// How it is drawn.
    pub stroke: Stroke,
    /// What is written beside its end; empty for nothing.
    pub label: String,
    /// The point that a square marks.
    pub begins: Option<usize>,
    /// The point that an open square marks.
    pub ends: Option<usize>,
}

/// How a line of a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// In a colour of its own: the n-th of six that all eyes tell apart; a seventh has the first one again.
    Colored(usize),
    /// Grey.
    Plain,
    /// Thin and faint.
    Faint,
    /// Dashes: a number to be reached.
    Dashed,
    /// Dots: a number to be compared with.
    Dotted,
}

/// The colours of lines, in their order.
const COLORS: [Rgb; 6] = [BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY];
/// The body's width for one chart, and for two side by side, when no size is asked for.
const BODIES: [f32; 2] = [430.0, 780.0];
/// A body that is narrower has one column.
const LEAST_TWO: f32 = 560.0;
/// Height of a plot.
const HEIGHT: f32 = 132.0;
const TITLE_HEIGHT: f32 = NAME_SIZE * 1.8;
/// No plot is narrower, however narrow the figure.
const LEAST_PLOT: f32 = 40.0;
/// Room for the numbers at the left, and for those below.
const LEFT: f32 = 28.0;
const BELOW: f32 = TICK_SIZE * 1.9;
const GAP: f32 = 18.0;
/// The longest label beside a line's end, as a share of a chart's width.
const LONGEST_LABEL: f32 = 0.45;
/// From a plot to its labels; a stroke leads from the line's end to its label.
const LEADER: f32 = 14.0;
/// From one label to the next.
const PITCH: f32 = TEXT_SIZE * 1.25;
/// Labels beside a plot; there is no room for more.
const MOST_LABELS: usize = 12;
/// The side of a mark.
const MARK: f32 = 5.0;

/// Charts in two columns, filled row by row; in one where the figure is narrow.
///
/// Labels stand beside the ends of their lines and are moved apart where they would overlap; of more than twelve in a chart the
/// first are written.
pub fn charts(charts: &[Chart], axis: &ChartAxis, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, Quantity::default());
    let body = Sheet::asked_width(style).unwrap_or(BODIES[usize::from(charts.len() > 1)]);
    let n_columns = if charts.len() > 1 && body >= LEAST_TWO { 2 } else { 1 };
    let width = (body - (n_columns - 1) as f32 * GAP) / n_columns as f32;
    let room = charts.iter().map(|chart| room(chart, width)).fold(0.0, f32::max);
    for (place, chart) in charts.iter().enumerate() {
        let (row, column) = (place / n_columns, place % n_columns);
        let x = column as f32 * (width + GAP) + LEFT;
        let y = row as f32 * (TITLE_HEIGHT + HEIGHT + BELOW + GAP) + TITLE_HEIGHT;
        let plot = Plot { x, y, width: (width - LEFT - room).max(LEAST_PLOT), range: chart.range };
        plot.frame(&mut sheet, chart, axis, room);
        chart.lines.iter().for_each(|line| plot.line(&mut sheet, line));
        plot.labels(&mut sheet, chart, room - LEADER);
        sheet.extend(x + plot.width + room, y + HEIGHT + BELOW);
        if place + n_columns >= charts.len() {
            let name = fit(&axis.name, (plot.width + room) / TEXT_SIZE);
            let at = [x, y + HEIGHT + BELOW + TEXT_SIZE];
            sheet.text(name, at, 0.0, Anchor::Start, TEXT_SIZE, style.theme.muted());
            sheet.extend(0.0, at[1] + TEXT_SIZE * 0.4);
        }
    }
    let titles: Vec<&str> = charts.iter().map(|chart| chart.title.as_str()).collect();
    let what = format!("Lines over {}: {}.", axis.name, titles.join("; "));
    sheet.finish_without_colors(&what)
}

/// What the labels of a chart take, the strokes that lead to them included.
fn room(chart: &Chart, width: f32) -> f32 {
    let longest = chart.lines.iter().filter(|line| !line.label.is_empty());
    let longest = longest.map(|line| shape(&visible(&line.label)).width * TEXT_SIZE).fold(0.0, f32::max);
    LEADER + longest.min(width * LONGEST_LABEL)
}

/// The rectangle that lines are drawn in.
struct Plot {
    x: f32,
    y: f32,
    width: f32,
    range: (f32, f32),
}

impl Plot {
    fn at(&self, place: f32, value: f32) -> [f32; 2] {
        let (low, high) = self.range;
        let share = ((value - low) / (high - low).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        [self.x + place.clamp(0.0, 1.0) * self.width, self.y + (1.0 - share) * HEIGHT]
    }

    /// Title, edges, and the numbers along them.
    fn frame(&self, sheet: &mut Sheet, chart: &Chart, axis: &ChartAxis, room: f32) {
        let (ink, muted) = (sheet.style.theme.ink(), sheet.style.theme.muted());
        let title = fit(&chart.title, (self.width + room) / NAME_SIZE);
        sheet.text(title, [self.x, self.y - NAME_SIZE * 0.6], 0.0, Anchor::Start, NAME_SIZE, ink);
        for tick in ticks(self.range) {
            let [x, y] = self.at(0.0, tick);
            let (color, width) = look(Stroke::Faint, sheet.style.theme);
            let points = vec![[x, y], [x + self.width, y]];
            sheet.add(Mark::Line(Line { points, width, color, opacity: 0.7 }));
            let at = [x - 4.0, y + TICK_SIZE * 0.35];
            sheet.text(fit(&number(tick), (LEFT - 5.0) / TICK_SIZE), at, 0.0, Anchor::End, TICK_SIZE, muted);
        }
        for seam in &axis.seams {
            let x = self.at(*seam, 0.0)[0];
            sheet.rule([x, self.y], [x, self.y + HEIGHT]);
        }
        let corner = [self.x, self.y + HEIGHT];
        sheet.rule([self.x, self.y], corner);
        sheet.rule(corner, [self.x + self.width, corner[1]]);
        self.ticks_below(sheet, axis, muted);
    }

    fn ticks_below(&self, sheet: &mut Sheet, axis: &ChartAxis, color: Rgb) {
        let shaped: Vec<_> = axis.ticks.iter().map(|(place, text)| (*place, shape(&visible(text)))).collect();
        let span = |&(place, ref text): &(f32, Arc<Shaped>)| {
            let (x, half) = (self.at(place, 0.0)[0], text.width * TICK_SIZE / 2.0);
            (x, x - half, x + half)
        };
        let last_start = shaped.last().map_or(f32::INFINITY, |tick| span(tick).1);
        let mut free = f32::NEG_INFINITY;
        for (index, tick) in shaped.iter().enumerate() {
            let (x, start, end) = span(tick);
            let is_last = index + 1 == shaped.len();
            if start < free || (!is_last && index > 0 && end + 5.0 > last_start) {
                continue;
            }
            let y = self.y + HEIGHT;
            sheet.rule([x, y], [x, y + 2.5]);
            let at = [x, y + TICK_SIZE * 1.35];
            sheet.text(Arc::clone(&tick.1), at, 0.0, Anchor::Middle, TICK_SIZE, color);
            free = end + 5.0;
        }
    }

    /// A line, broken where there is no number, and its marks.
    fn line(&self, sheet: &mut Sheet, line: &ChartLine) {
        let theme = sheet.style.theme;
        let (color, width) = look(line.stroke, theme);
        for piece in line.points.split(|(_, value)| !value.is_some_and(f32::is_finite)) {
            let points: Vec<[f32; 2]> = piece.iter().filter_map(|(x, value)| Some(self.at(*x, (*value)?))).collect();
            let strokes = match line.stroke {
                Stroke::Dashed => dashes(&points, 5.0, 3.0),
                Stroke::Dotted => dashes(&points, 1.3, 2.2),
                Stroke::Colored(_) | Stroke::Plain | Stroke::Faint => vec![points],
            };
            for points in strokes.into_iter().filter(|points| points.len() > 1) {
                sheet.add(Mark::Line(Line { points, width, color, opacity: 1.0 }));
            }
        }
        let ground = theme.ground();
        for (mark, sides) in [
            (line.begins, [(MARK + 2.0, ground), (MARK, color), (0.0, color)]),
            (line.ends, [(MARK + 2.0, ground), (MARK + 0.5, color), (MARK - 2.0, ground)]),
        ] {
            let Some((x, Some(value))) = mark.and_then(|mark| line.points.get(mark)) else { continue };
            let [x, y] = self.at(*x, *value);
            for (side, fill) in sides.into_iter().filter(|(side, _)| *side > 0.0) {
                sheet.add(Mark::Rect(Rect { x: x - side / 2.0, y: y - side / 2.0, width: side, height: side, fill }));
            }
        }
    }

    /// What is written beside the ends of lines, and the strokes that lead there.
    fn labels(&self, sheet: &mut Sheet, chart: &Chart, room: f32) {
        let end = |line: &ChartLine| {
            let (x, value) = line.points.iter().rev().find(|(_, value)| value.is_some_and(f32::is_finite))?;
            Some(self.at(*x, (*value)?))
        };
        let labelled = chart.lines.iter().filter(|line| !line.label.is_empty());
        let mut ends: Vec<(&ChartLine, [f32; 2])> = labelled.filter_map(|line| Some((line, end(line)?))).collect();
        ends.truncate(MOST_LABELS);
        ends.sort_by(|a, b| a.1[1].total_cmp(&b.1[1]));
        let heights = apart(ends.iter().map(|(_, [_, y])| *y).collect(), [self.y, self.y + HEIGHT - 4.0]);
        let theme = sheet.style.theme;
        let left = self.x + self.width + LEADER;
        for ((line, end), y) in ends.into_iter().zip(heights) {
            let (color, _) = look(line.stroke, theme);
            let ink = if matches!(line.stroke, Stroke::Colored(_)) { theme.ink() } else { theme.muted() };
            let points = vec![end, [(self.x + self.width + 2.0).max(end[0]), end[1]], [left - 2.0, y]];
            sheet.add(Mark::Line(Line { points, width: 0.8, color, opacity: 1.0 }));
            let at = [left, y + TEXT_SIZE * 0.35];
            sheet.text(fit(&line.label, room / TEXT_SIZE), at, 0.0, Anchor::Start, TEXT_SIZE, ink);
        }
    }
}

/// The colour and the width of a line.
fn look(stroke: Stroke, theme: Theme) -> (Rgb, f32) {
    let faint = |Rgb(from): Rgb, Rgb(to): Rgb| Rgb(std::array::from_fn(|channel| from[channel].midpoint(to[channel])));
    match stroke {
        Stroke::Colored(n) => (COLORS[n % COLORS.len()], 1.6),
        Stroke::Plain => (faint(theme.muted(), theme.ground()), 0.8),
        Stroke::Faint => (faint(theme.rule(), theme.ground()), 0.6),
        Stroke::Dashed => (theme.ink(), 0.9),
        Stroke::Dotted => (theme.muted(), 1.1),
    }
}

/// Heights moved apart so that neighbours are a label's height from each other, in order, and within the bounds where there
/// is room; `heights` rise.
fn apart(mut heights: Vec<f32>, [top, bottom]: [f32; 2]) -> Vec<f32> {
    let mut least = top;
    for height in &mut heights {
        *height = height.max(least);
        least = *height + PITCH;
    }
    let mut most = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(most);
        most = *height - PITCH;
    }
    heights
}

/// The parts of a line that are drawn where it is drawn for `on` points and left out for `off`.
fn dashes(points: &[[f32; 2]], on: f32, off: f32) -> Vec<Vec<[f32; 2]>> {
    let mut strokes = Vec::new();
    let mut done = 0.0; // of the line, in points
    for pair in points.windows(2) {
        let [from, to] = [pair[0], pair[1]];
        let length = (to[0] - from[0]).hypot(to[1] - from[1]);
        let at = |along: f32| {
            let share = ((along - done) / length).clamp(0.0, 1.0);
            [from[0] + share * (to[0] - from[0]), from[1] + share * (to[1] - from[1])]
        };
        if length > 0.0 {
            let first = (done / (on + off)).floor() as usize;
            let last = ((done + length) / (on + off)).floor() as usize;
            for period in first..=last {
                let start = (period as f32 * (on + off)).max(done);
                let end = (period as f32 * (on + off) + on).min(done + length);
                if end > start {
                    strokes.push(vec![at(start), at(end)]);
                }
            }
        }
        done += length;
    }
    strokes
}

/// Round numbers within a range: whole steps of 1, 2 or 5 times a power of ten, three to six of them; none of an empty range.
fn ticks((low, high): (f32, f32)) -> Vec<f32> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return Vec::new();
    }
    let decade = 10.0_f32.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade).into_iter().find(|step| span / step <= 5.001);
    let step = step.unwrap_or(span);
    let (first, last) = ((low / step - 1e-3).ceil() as i64, (high / step + 1e-3).floor() as i64);
    (first..=last).map(|n| n as f32 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        let near = |found: Vec<f32>, expected: &[f32]| {
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
        };
        near(ticks((0.0, 1.0)), &[0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        near(ticks((-1.0, 1.0)), &[-1.0, -0.5, 0.0, 0.5, 1.0]);
        near(ticks((0.0, 13.0)), &[0.0, 5.0, 10.0]);
        near(ticks((0.5, 0.5)), &[]);
        near(ticks((f32::NAN, 1.0)), &[]);
    }

    #[test]
    fn labels_that_would_overlap_are_moved_apart_and_stay_in_order_within_the_plot() {
        let heights = apart(vec![0.0, 1.0, 50.0, 99.0, 100.0], [0.0, 100.0]);
        assert_eq!(heights, [0.0, PITCH, 50.0, 100.0 - PITCH, 100.0]);
    }

    #[test]
    fn dashes_are_as_long_as_said_and_go_around_corners() {
        let strokes = dashes(&[[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]], 6.0, 2.0);
        let ends: Vec<[[f32; 2]; 2]> = strokes.iter().map(|stroke| [stroke[0], stroke[1]]).collect();
        let expected = [
            [[0.0, 0.0], [6.0, 0.0]],
            [[8.0, 0.0], [10.0, 0.0]],
            [[10.0, 0.0], [10.0, 4.0]],
            [[10.0, 6.0], [10.0, 10.0]],
        ];
        assert_eq!(ends, expected);
    }
}
