//! One map with its labels.

use super::axis::{LABEL_GAP, Labels};
use super::sheet::{NAME_SIZE, Sheet, TEXT_SIZE};
use super::signs;
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure};
use crate::figure::panel::Panel;
use crate::figure::raster::Frame;
use crate::figure::scale::{ColorScale, Scales};
use crate::figure::text::{fit, shape, visible};

/// The longest label, in points.
pub(super) const LONGEST_LABEL: f32 = 96.0;
/// The sides of a map, in points, when no size is asked for.
const SIDE: f32 = 360.0;
const LARGE_SIDE: f32 = 440.0;
const LARGEST_CELL: f32 = 28.0;
/// Cells from which on every label has room, and the most of them for which a map grows to give it.
const READABLE_CELL: f32 = 8.0;
const MOST_READABLE: f32 = 64.0;
/// No side is shorter, however few cells it has.
const SHORTEST_SIDE: f32 = 28.0;
pub(super) const NAME_HEIGHT: f32 = NAME_SIZE * 1.9;

/// One map on a scale: cells, both axes with names and token labels, colour bar, captions.
///
/// Rows are queries from top to bottom, columns are keys from left to right. Labels are thinned when there are many and
/// elided when they are long; a map with more cells than the picture has room for shows the largest weight of each block.
pub fn map(panel: &Panel, scale: &ColorScale, style: &Style) -> Figure {
    marked_map(panel, scale, style, &[])
}

/// A cell of a map that is pointed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CellMark {
    /// Its row.
    pub row: usize,
    /// Its column.
    pub column: usize,
    /// How.
    pub sign: Sign,
}

/// How a cell is pointed out. Each sign is dark with a light rim, and can be told from the others on any colour and without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A square in its middle.
    Dot,
    /// An outline.
    Solid,
    /// An outline of dashes.
    Dashed,
}

/// [`map`], with some cells pointed out; marks outside of the map are left out.
pub fn marked_map(panel: &Panel, scale: &ColorScale, style: &Style, cells: &[CellMark]) -> Figure {
    let mut sheet = Sheet::new(style, scale.quantity());
    let longest = Sheet::asked_width(style).map_or(LONGEST_LABEL, |asked| LONGEST_LABEL.min(asked * 0.3));
    let [width, height] = plot_size(panel, longest, style);
    let rows = Labels::new(panel.rows(), height / panel.n_rows() as f32, longest);
    let columns = Labels::new(panel.columns(), width / panel.n_columns() as f32, longest);
    let stance = columns.stance();

    let corner = [NAME_HEIGHT + rows.longest() + LABEL_GAP, NAME_HEIGHT + columns.rise(stance)];
    let frame = Frame { x: corner[0], y: corner[1], width, height, cells_per_point: sheet.cells_per_point };
    let pool = sheet.panel(panel, scale, frame);
    let cell = [width / panel.n_columns() as f32, height / panel.n_rows() as f32];
    for mark in cells.iter().filter(|mark| mark.row < panel.n_rows() && mark.column < panel.n_columns()) {
        let at = [frame.x + mark.column as f32 * cell[0], frame.y + mark.row as f32 * cell[1]];
        signs::place(&mut sheet, mark.sign, at, cell);
    }
    rows.place_rows(&mut sheet, corner);
    columns.place_above(&mut sheet, corner, stance);
    sheet.extend(corner[0] + columns.reach(stance), 0.0);
    axis_names(&mut sheet, panel, frame);
    sheet.finish(&[panel], &Scales::Shared(*scale), pool)
}

/// Width and height of the cells, beside labels of at most `longest_label` points.
pub(super) fn plot_size(panel: &Panel, longest_label: f32, style: &Style) -> [f32; 2] {
    let (n_rows, n_columns) = (panel.n_rows() as f32, panel.n_columns() as f32);
    let Some(asked) = Sheet::asked_width(style) else {
        let n_most = n_rows.max(n_columns);
        let side = if n_most > 64.0 { LARGE_SIDE } else { SIDE };
        let least = if n_most <= MOST_READABLE { READABLE_CELL } else { 0.0 };
        let cell = (side / n_most).clamp(least, LARGEST_CELL);
        return [(n_columns * cell).max(SHORTEST_SIDE), (n_rows * cell).max(SHORTEST_SIDE)];
    };
    // What the labels take depends on the size of the cells: settle it in two steps.
    let mut width = (asked - longest_label).max(SHORTEST_SIDE);
    let height = |width: f32| (width / n_columns * n_rows).clamp(SHORTEST_SIDE, width * 2.0);
    for _ in 0..2 {
        let rows = Labels::new(panel.rows(), height(width) / n_rows, longest_label);
        let columns = Labels::new(panel.columns(), width / n_columns, longest_label);
        let left = NAME_HEIGHT + rows.longest() + LABEL_GAP;
        let right = (columns.reach(columns.stance()) - width).max(0.0);
        width = (asked - left - right).max(SHORTEST_SIDE);
    }
    [width, height(width)]
}

/// The names of the axes: the columns' above everything, the rows' along the left edge, or below a map too low for it.
pub(super) fn axis_names(sheet: &mut Sheet, panel: &Panel, frame: Frame) {
    let muted = sheet.style.theme.muted();
    let name = |text: &str| shape(&visible(text));
    let columns = name(&format!("{} →", panel.columns().name()));
    let columns_width = columns.width * NAME_SIZE;
    let x = frame.x + ((frame.width - columns_width) / 2.0).max(0.0);
    sheet.extend(x + columns_width, 0.0);
    sheet.text(columns, [x, NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, muted);

    let rows = name(&format!("← {}", panel.rows().name()));
    if rows.width * NAME_SIZE <= frame.height {
        let at = [NAME_SIZE, frame.y + frame.height / 2.0];
        sheet.text(rows, at, -90.0, Anchor::Middle, NAME_SIZE, muted);
    } else {
        let bottom = frame.y + frame.height + TEXT_SIZE * 1.6;
        let rows = fit(&format!("↓ {}", panel.rows().name()), 400.0 / NAME_SIZE);
        sheet.extend(rows.width * NAME_SIZE, bottom + 2.0);
        sheet.text(rows, [0.0, bottom], 0.0, Anchor::Start, NAME_SIZE, muted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::marks::Mark;
    use crate::figure::{Axis, Scale};

    #[test]
    fn cells_are_pointed_out_within_them_and_marks_outside_of_the_map_are_left_out() {
        let axis = || Axis::labelled("token", ["a", "b"]);
        let panel = Panel::new("L0H0", vec![0.9, 0.1, 0.2, 0.8], axis(), axis()).expect("four weights");
        let scale = ColorScale::of([&panel], Scale::Linear);
        let marks = |cells: &[CellMark]| marked_map(&panel, &scale, &Style::default(), cells).marks().to_vec();
        let plain = marks(&[]);
        let cell = |row, column, sign| marks(&[CellMark { row, column, sign }]);
        assert_eq!(cell(2, 0, Sign::Dot).len(), plain.len());
        assert_eq!(cell(0, 1, Sign::Dot).len(), plain.len() + 2);
        assert_eq!(cell(0, 1, Sign::Solid).len(), plain.len() + 2);
        assert_eq!(cell(0, 1, Sign::Dashed).len(), plain.len() + 2 * 4 * 3, "three dashes a side, with a rim");
        let cells = |marks: &[Mark]| {
            marks.iter().find_map(|mark| match mark {
                Mark::Cells(cells) => Some([cells.x, cells.y, cells.width, cells.height]),
                _ => None,
            })
        };
        let [x, y, width, height] = cells(&plain).expect("the map has cells");
        let dot = cell(0, 1, Sign::Dot);
        let is_within = |mark: &Mark| match mark {
            Mark::Rect(rect) => {
                rect.x > x + width / 2.0 && rect.x + rect.width < x + width && rect.y > y && rect.y < y + height / 2.0
            }
            _ => false,
        };
        assert_eq!(dot.iter().filter(|mark| is_within(mark)).count(), 2);
    }
}
