//! One map as lines from each query to the keys it looks at.

use super::axis::{LABEL_GAP, Labels};
use super::sheet::{NAME_SIZE, Sheet};
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure, Line, Mark, Rgb};
use crate::figure::panel::Panel;
use crate::figure::raster::Pool;
use crate::figure::scale::{ColorScale, LAST, MISSING, Scales};
use crate::figure::text::fit;

/// Points from one token to the next, and the greatest height of a column of tokens.
const PITCH: f32 = 15.0;
const TALLEST: f32 = 640.0;
const LONGEST_LABEL: f32 = 110.0;
/// Between the two columns when no size is asked for.
const BETWEEN: f32 = 170.0;
const NAME_HEIGHT: f32 = NAME_SIZE * 2.0;
/// The longest name of an axis.
const LONGEST_NAME: f32 = 200.0;
/// Weaker lines, of [`LAST`] steps, are left out: they would only grey the ground.
const WEAKEST: u8 = 5;
/// At most so many lines are drawn, the strongest.
const MOST_LINES: usize = 20_000;

/// One map as two columns of tokens, queries on the left and keys on the right, joined by lines that are the stronger
/// the larger the weight (the head view of Vig 2019); numbers of either sign have a colour for each.
///
/// Good for a sentence; [`map`](super::map) shows more. The picture says which lines it leaves out.
pub fn lines(panel: &Panel, scale: &ColorScale, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, scale.quantity());
    sheet.palette = ramp(style, scale).into();
    let pitch = |n: usize| PITCH.min(TALLEST / n as f32);
    let (row_pitch, column_pitch) = (pitch(panel.n_rows()), pitch(panel.n_columns()));
    let rows = Labels::new(panel.rows(), row_pitch, LONGEST_LABEL);
    let columns = Labels::new(panel.columns(), column_pitch, LONGEST_LABEL);

    let left = LABEL_GAP + rows.longest();
    let taken = left + columns.longest() + LABEL_GAP;
    let between = Sheet::asked_width(style).map_or(BETWEEN, |asked| (asked - taken).max(40.0));
    let right = left + between;
    let drawn = strongest(panel, scale);
    for &(index, row, column) in &drawn {
        let from = [left, NAME_HEIGHT + (row as f32 + 0.5) * row_pitch];
        let to = [right, NAME_HEIGHT + (column as f32 + 0.5) * column_pitch];
        let color = sheet.palette[usize::from(index)];
        sheet.add(Mark::Line(Line { points: vec![from, to], width: 1.2, color, opacity: 1.0 }));
    }
    rows.place_rows(&mut sheet, [left, NAME_HEIGHT]);
    columns.place_right(&mut sheet, [right, NAME_HEIGHT]);
    names(&mut sheet, panel, [left, right]);
    let tallest = (panel.n_rows() as f32 * row_pitch).max(panel.n_columns() as f32 * column_pitch);
    sheet.extend(right + LABEL_GAP + columns.longest(), NAME_HEIGHT + tallest);

    let n_left_out = panel.weights().iter().filter(|weight| **weight != 0.0).count().saturating_sub(drawn.len());
    if n_left_out > 0 {
        sheet.notes.push(format!("The {n_left_out} weakest lines are not drawn."));
    }
    sheet.finish(&[panel], &Scales::Shared(*scale), Pool { rows: 1, columns: 1 })
}

/// The lines to draw, the weakest first: index in the palette, row, column.
fn strongest(panel: &Panel, scale: &ColorScale) -> Vec<(u8, usize, usize)> {
    let mut lines = Vec::new();
    for (row, weights) in panel.weights().chunks_exact(panel.n_columns()).enumerate() {
        let strong = scale.indices(weights).enumerate().filter(|&(_, index)| scale.strength(index) >= WEAKEST);
        lines.extend(strong.map(|(column, index)| (index, row, column)));
    }
    lines.sort_unstable_by_key(|&line| (scale.strength(line.0), line));
    lines.split_off(lines.len().saturating_sub(MOST_LINES))
}

/// From the ground to a blue that reads on it, or to two colours where numbers have either sign; then the colour of the
/// missing.
fn ramp(style: &Style, scale: &ColorScale) -> Vec<Rgb> {
    let Rgb(ground) = style.theme.ground();
    let is_signed = scale.quantity().is_signed();
    let step = |index: u8| {
        let Rgb(strong) = if is_signed && index > LAST / 2 { style.theme.warm_line() } else { style.theme.line() };
        let blend = |place: usize| {
            let (from, to) = (f32::from(ground[place]), f32::from(strong[place]));
            (from + (to - from) * f32::from(scale.strength(index)) / f32::from(LAST)).round() as u8
        };
        Rgb(std::array::from_fn(blend))
    };
    let missing = style.colormap.suited_to(scale.quantity()).missing();
    (0..MISSING).map(step).chain([Rgb(missing)]).collect()
}

/// The axes' names above their columns: whole where the picture may be as wide as they take, else each with half of it.
fn names(sheet: &mut Sheet, panel: &Panel, [left, right]: [f32; 2]) {
    let muted = sheet.style.theme.muted();
    let room = if sheet.style.size.is_some() { left.midpoint(right) - 4.0 } else { LONGEST_NAME };
    let rows = fit(panel.rows().name(), room / NAME_SIZE);
    let start = (left - rows.width * NAME_SIZE).max(0.0);
    let end = start + rows.width * NAME_SIZE;
    sheet.text(rows, [start, NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, muted);
    let asked = Sheet::asked_width(sheet.style).unwrap_or(f32::INFINITY);
    let columns = fit(panel.columns().name(), (asked - end - 8.0).clamp(0.0, LONGEST_NAME) / NAME_SIZE);
    let start = (end + 8.0).max((right - columns.width * NAME_SIZE / 2.0).min(asked - columns.width * NAME_SIZE));
    sheet.extend(start + columns.width * NAME_SIZE, 0.0);
    sheet.text(columns, [start, NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, muted);
}
