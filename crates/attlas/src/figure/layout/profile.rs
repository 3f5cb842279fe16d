//! What columns hold: bars over a strip of cells, and below them small bars for groups of columns.

use std::ops::Range;
use std::sync::Arc;

use super::axis::{LABEL_GAP, Labels, Stance};
use super::sheet::{NAME_SIZE, Sheet, TICK_SIZE};
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure, Line, Mark, Rect, Rgb};
use crate::figure::panel::{Axis, Panel};
use crate::figure::raster::Frame;
use crate::figure::scale::{ColorScale, Scales, number};
use crate::figure::text::{fit, shape};
use crate::figure::{Scale, text::Shaped};

/// The body's width when no size is asked for; for few columns it is narrower, and wider where that gives each its label.
const BODY: f32 = 560.0;
const READABLE_BODY: f32 = 720.0;
const READABLE_COLUMN: f32 = 8.0;
const WIDEST_COLUMN: f32 = 44.0;
const NARROWEST_BODY: f32 = 220.0;
/// The height of the bars over the columns, and of those of a group.
const BARS: f32 = 80.0;
const SMALL_BARS: f32 = 44.0;
/// The height of a row of the strip, and of all of them.
const ROW: f32 = 14.0;
const TALLEST_STRIP: f32 = 420.0;
const HEADING: f32 = NAME_SIZE * 2.4;
const LONGEST_LABEL: f32 = 96.0;
const LONGEST_ROW_LABEL: f32 = 60.0;
/// Widths of a group's bars, and what is between two groups.
const GROUP: Range<f32> = 68.0..140.0;
const GROUP_ROW: f32 = 9.0;
const GROUP_GAP: f32 = 12.0;
/// The share of its place that a bar fills.
const FILLED: f32 = 0.8;
const WIDEST_BAR: f32 = 26.0;
/// From this width on there are gaps between bars.
const NARROW: f32 = 3.0;

/// Numbers of columns, row by row, with what stands beside them.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// The strip: a row for each thing compared, such as a layer.
    pub panel: Panel,
    /// The bars over the columns; as many as the panel has columns.
    pub columns: Bars,
    /// A number of each of the panel's rows, for groups of its columns.
    pub groups: Vec<Bars>,
    /// What the groups' numbers are.
    pub groups_are: String,
}

/// Bars with a name, and for each the number that it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct Bars {
    /// What they are.
    pub name: String,
    /// Their lengths; what is no finite number has the colour of the missing.
    pub numbers: Vec<f32>,
    /// What would be expected, drawn as a line across the bar; none where it is no number, or for none at all.
    pub expected: Vec<f32>,
}

/// The columns' numbers as bars over a strip whose rows show where they come from; then the groups, whose bars are the rows.
///
/// Bars are in proportion, from 0 to the longest bar or line, and all groups have one scale; `scale` is that of the strip's
/// colours. Numbers of either sign are drawn as if they were 0.
///
/// A strip or bars with more columns than the picture has room for show the largest of each block.
pub fn profile(profile: &Profile, scale: &ColorScale, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, scale.quantity());
    let panel = &profile.panel;
    let bar_scale = scale_of(std::slice::from_ref(&profile.columns), scale);
    let ticks = Ticks::new(&bar_scale);
    let row_height = (TALLEST_STRIP / panel.n_rows() as f32).min(ROW);
    let rows = Labels::new(panel.rows(), row_height, LONGEST_ROW_LABEL);
    let left = rows.longest().max(ticks.width()) + LABEL_GAP;
    let width = plot_width(panel.n_columns(), left, style);
    let columns = Labels::new(panel.columns(), width / panel.n_columns() as f32, LONGEST_LABEL);
    let room = (left + width).max(Sheet::asked_width(style).unwrap_or(NARROWEST_BODY));

    // 1. the bars
    heading(&mut sheet, &profile.columns.name, -NAME_SIZE * 0.5, room);
    let strip = HEADING + BARS + HEADING;
    let frame = |y, height| Frame { x: left, y, width, height, cells_per_point: sheet.cells_per_point };
    let (bars, cells) = (frame(HEADING, BARS), frame(strip, row_height * panel.n_rows() as f32));
    let pool = cells.pool(panel);
    draw_bars(&mut sheet, &profile.columns, &bar_scale, bars, pool.columns);
    ticks.place(&mut sheet, bars);
    // 2. the strip, with the columns' labels
    heading(&mut sheet, panel.rows().name(), HEADING + BARS, room);
    let pool = sheet.panel(panel, scale, cells);
    rows.place_rows(&mut sheet, [left, strip]);
    let bottom = column_axis(&mut sheet, panel, &columns, [left, strip + cells.height], room);
    // 3. the groups
    if !profile.groups.is_empty() {
        let top = bottom + NAME_SIZE;
        heading(&mut sheet, &profile.groups_are, top, room);
        draw_groups(&mut sheet, profile, &scale_of(&profile.groups, scale), [top + HEADING, room]);
    }
    sheet.finish(&[panel], &Scales::Shared(*scale), pool)
}

/// The columns' labels and name below the strip, whose lower left corner is `corner`; says where they end.
fn column_axis(sheet: &mut Sheet, panel: &Panel, labels: &Labels, corner: [f32; 2], room: f32) -> f32 {
    let stance = if labels.stance() == Stance::Level { Stance::Level } else { Stance::Upright };
    labels.place_below(sheet, corner, stance);
    sheet.extend(corner[0] + labels.reach(stance), 0.0);
    let name = fit(&format!("{} →", panel.columns().name()), (room - corner[0]) / NAME_SIZE);
    let bottom = corner[1] + labels.rise(stance) + NAME_SIZE * 1.4;
    sheet.extend(corner[0] + name.width * NAME_SIZE, bottom + 2.0);
    sheet.text(name, [corner[0], bottom], 0.0, Anchor::Start, NAME_SIZE, sheet.style.theme.muted());
    bottom
}

/// The scale of bars: in proportion, from 0 to the largest of them and of what is expected.
fn scale_of(bars: &[Bars], like: &ColorScale) -> ColorScale {
    ColorScale::over(
        bars.iter().flat_map(|bars| bars.numbers.iter().chain(&bars.expected)),
        like.quantity(),
        Scale::Linear,
    )
}

/// The width of the columns, right of labels that are `left` wide.
fn plot_width(n_columns: usize, left: f32, style: &Style) -> f32 {
    let n = n_columns as f32;
    if let Some(asked) = Sheet::asked_width(style) {
        return (asked - left).max(28.0);
    }
    let readable = n * READABLE_COLUMN;
    let widest = BODY - left;
    if readable > widest && left + readable <= READABLE_BODY { readable } else { (n * WIDEST_COLUMN).min(widest) }
}

/// A line over a part of the picture, which begins at `y`.
fn heading(sheet: &mut Sheet, text: &str, y: f32, room: f32) {
    let text = fit(text, room / NAME_SIZE);
    sheet.extend(text.width * NAME_SIZE, 0.0);
    sheet.text(text, [0.0, y + NAME_SIZE * 1.5], 0.0, Anchor::Start, NAME_SIZE, sheet.style.theme.muted());
}

/// Bars in a frame, `pool` of them as one: as long as the longest, against the mean of what is expected.
fn draw_bars(sheet: &mut Sheet, bars: &Bars, scale: &ColorScale, frame: Frame, pool: usize) {
    let Frame { x, y, width, height, .. } = frame;
    let (n, bottom) = (bars.numbers.len().div_ceil(pool).max(1) as f32, y + height);
    let place = width / n;
    // gaps narrower than a pixel would only flicker
    let bar = if place < NARROW { place } else { (place * FILLED).min(WIDEST_BAR) };
    let missing = Rgb(sheet.colormap.missing());
    for (index, numbers) in bars.numbers.chunks(pool).enumerate() {
        let is_missing = numbers.iter().any(|number| !number.is_finite());
        let largest = numbers.iter().copied().fold(0.0, f32::max);
        let long = if is_missing { height } else { height * scale.fraction(largest) };
        let fill = if is_missing { missing } else { sheet.style.theme.line() };
        let left = x + place * (index as f32 + 0.5) - bar / 2.0;
        sheet.add(Mark::Rect(Rect { x: left, y: bottom - long, width: bar, height: long, fill }));
    }
    sheet.rule([x, bottom], [x + width, bottom]);
    let color = sheet.style.theme.warm_line();
    for (index, expected) in bars.expected.chunks(pool).enumerate() {
        let mean = expected.iter().sum::<f32>() / expected.len() as f32;
        if mean.is_finite() {
            let level = bottom - height * scale.fraction(mean);
            let half = place / 2.0;
            let middle = x + place * (index as f32 + 0.5);
            let points = vec![[middle - half, level], [middle + half, level]];
            sheet.add(Mark::Line(Line { points, width: 1.2, color, opacity: 1.0 }));
        }
    }
    sheet.extend(x + width, bottom);
}

/// The groups side by side, as many in a line as the room allows; `top` is where the first begins.
fn draw_groups(sheet: &mut Sheet, profile: &Profile, scale: &ColorScale, [top, room]: [f32; 2]) {
    let ticks = Ticks::new(scale);
    let rows = profile.panel.rows();
    let left = ticks.width() + LABEL_GAP;
    let width = (rows.len() as f32 * GROUP_ROW).clamp(GROUP.start, GROUP.end).min((room - left).max(28.0));
    let n_in_line = (((room - left + GROUP_GAP) / (width + GROUP_GAP)) as usize).max(1);
    let line = SMALL_BARS + HEADING + TICK_SIZE * 2.2;
    let ink = sheet.style.theme.ink();
    for (index, group) in profile.groups.iter().enumerate() {
        let x = left + (index % n_in_line) as f32 * (width + GROUP_GAP);
        let y = top + (index / n_in_line) as f32 * line + NAME_SIZE * 1.5;
        let frame = Frame { x, y, width, height: SMALL_BARS, cells_per_point: sheet.cells_per_point };
        let name = fit(&group.name, width / NAME_SIZE);
        sheet.text(name, [x, y - NAME_SIZE * 0.5], 0.0, Anchor::Start, NAME_SIZE, ink);
        draw_bars(sheet, group, scale, frame, 1);
        if index % n_in_line == 0 {
            ticks.place(sheet, frame);
        }
        ends(sheet, rows, frame);
    }
}

/// The first and the last label of the rows, below a group's bars.
fn ends(sheet: &mut Sheet, rows: &Axis, frame: Frame) {
    let muted = sheet.style.theme.muted();
    let baseline = frame.y + frame.height + TICK_SIZE * 1.2;
    let most = frame.width / TICK_SIZE * 0.45;
    let (first, last) = (fit(&rows.label(0), most), fit(&rows.label(rows.len() - 1), most));
    let place = frame.width / rows.len() as f32;
    if rows.len() == 1 {
        let middle = frame.x + frame.width / 2.0;
        sheet.text(first, [middle, baseline], 0.0, Anchor::Middle, TICK_SIZE, muted);
    } else {
        let inset = |text: &Shaped| ((place - text.width * TICK_SIZE) / 2.0).max(0.0);
        let (from, to) = (frame.x + inset(&first), frame.x + frame.width - inset(&last));
        sheet.text(first, [from, baseline], 0.0, Anchor::Start, TICK_SIZE, muted);
        sheet.text(last, [to, baseline], 0.0, Anchor::End, TICK_SIZE, muted);
    }
    sheet.extend(0.0, baseline + 3.0);
}

/// The numbers beside bars: both ends of their scale.
struct Ticks([Arc<Shaped>; 2]);

impl Ticks {
    fn new(scale: &ColorScale) -> Ticks {
        Ticks([shape("0"), shape(&number(scale.high()))])
    }

    fn width(&self) -> f32 {
        self.0.iter().map(|text| text.width * TICK_SIZE).fold(0.0, f32::max)
    }

    /// Left of the frame of the bars.
    fn place(&self, sheet: &mut Sheet, frame: Frame) {
        let muted = sheet.style.theme.muted();
        for (text, y) in self.0.iter().zip([frame.y + frame.height, frame.y]) {
            sheet.rule([frame.x - 2.5, y], [frame.x, y]);
            let at = [frame.x - LABEL_GAP, y + TICK_SIZE * 0.35];
            sheet.text(Arc::clone(text), at, 0.0, Anchor::End, TICK_SIZE, muted);
        }
    }
}
