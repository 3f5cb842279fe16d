//! One map whose cells say their numbers.

use super::axis::{LABEL_GAP, Labels};
use super::classes::ink_on;
use super::map::{LONGEST_LABEL, NAME_HEIGHT, axis_names};
use super::sheet::{Sheet, TICK_SIZE};
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure, Rgb};
use crate::figure::panel::Panel;
use crate::figure::raster::Frame;
use crate::figure::scale::{ColorScale, MISSING, Scales};
use crate::figure::text::{fit, shape, visible};

/// Sides of a cell in points: where its texts have room, and the least with which a picture without an asked width is drawn.
const CELL: [f32; 2] = [34.0, 24.0];
const LEAST_CELL: f32 = 12.0;
/// The widest body when none is asked for.
const BODY: f32 = 760.0;

/// One map as a table: each cell in the colour of its number, with a text of up to two lines in it where there is room. Cells of
/// numbers that are not finite stay empty but for their text: there is nothing at that place, which a caption should say.
///
/// `texts` has a text for each cell. Shape `[n_rows, n_columns]`.
pub fn table(panel: &Panel, texts: &[String], scale: &ColorScale, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, scale.quantity());
    let labels_width = Labels::new(panel.rows(), CELL[1], LONGEST_LABEL).longest();
    let body = Sheet::asked_width(style).unwrap_or(BODY) - NAME_HEIGHT - labels_width - LABEL_GAP;
    let width = (body / panel.n_columns() as f32).clamp(LEAST_CELL, CELL[0]);
    let height = width.min(CELL[1]);
    let rows = Labels::new(panel.rows(), height, LONGEST_LABEL);
    let columns = Labels::new(panel.columns(), width, LONGEST_LABEL);
    let stance = columns.stance();
    let corner = [NAME_HEIGHT + rows.longest() + LABEL_GAP, NAME_HEIGHT + columns.rise(stance)];
    let size = [width * panel.n_columns() as f32, height * panel.n_rows() as f32];
    let frame =
        Frame { x: corner[0], y: corner[1], width: size[0], height: size[1], cells_per_point: sheet.cells_per_point };
    let palette = std::sync::Arc::clone(&sheet.palette);
    sheet.palette = palette[..usize::from(MISSING)].iter().copied().chain([style.theme.ground()]).collect();
    sheet.panel(panel, scale, frame);
    for (cell, text) in texts.iter().enumerate().take(panel.weights().len()) {
        let (row, column) = (cell / panel.n_columns(), cell % panel.n_columns());
        let index = scale.indices(&panel.weights()[cell..=cell]).next().unwrap_or(MISSING);
        let ink = if index == MISSING { style.theme.muted() } else { ink_on(palette[usize::from(index)]) };
        let middle = [corner[0] + (column as f32 + 0.5) * width, corner[1] + (row as f32 + 0.5) * height];
        cell_text(&mut sheet, text, middle, [width, height], ink);
    }
    rows.place_rows(&mut sheet, corner);
    columns.place_above(&mut sheet, corner, stance);
    sheet.extend(corner[0] + columns.reach(stance), 0.0);
    axis_names(&mut sheet, panel, frame);
    sheet.color_bar(&Scales::Shared(*scale), 1);
    let what = format!("A table of {} × {} numbers ({}).", panel.n_rows(), panel.n_columns(), scale.words());
    sheet.finish_without_colors(&what)
}

/// The lines of a text around the middle of a cell, where they have room: all, the first alone, or none.
fn cell_text(sheet: &mut Sheet, text: &str, [x, y]: [f32; 2], [width, height]: [f32; 2], ink: Rgb) {
    const PADDING: f32 = 2.0;
    let size = TICK_SIZE;
    let fits = |line: &&str| shape(&visible(line)).width * size <= width - PADDING;
    let lines: Vec<&str> = text.lines().take(2).take_while(fits).collect();
    let n_lines = lines.len().min((height / (size * 1.2)) as usize);
    let top = y - n_lines as f32 * size * 1.2 / 2.0;
    for (line, text) in lines.into_iter().take(n_lines).enumerate() {
        let at = [x, top + (line as f32 + 0.85) * size * 1.2 - size * 0.1];
        sheet.text(fit(text, width / size), at, 0.0, Anchor::Middle, size, ink);
    }
}
