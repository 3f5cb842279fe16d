//! Every head of a model at once, as thumbnails.

use super::sheet::{NAME_SIZE, Sheet, TICK_SIZE};
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure};
use crate::figure::panel::Panel;
use crate::figure::raster::{Frame, Pool};
use crate::figure::scale::Scales;
use crate::figure::text::{fit, shape, visible};

const GAP: f32 = 3.0;
const NAME_HEIGHT: f32 = NAME_SIZE * 1.5;
const LONGEST_LABEL: f32 = 48.0;
const BODY: f32 = 540.0;
/// Widest and narrowest thumbnail.
const THUMBNAIL: (f32, f32) = (72.0, 12.0);

/// One row of an overview: a layer and its maps, in order of their heads.
#[derive(Debug, Clone, PartialEq)]
pub struct OverviewRow {
    /// The layer's name or number.
    pub label: String,
    /// Its maps; rows may have different numbers of them.
    pub panels: Vec<Panel>,
}

/// All maps on their scales as thumbnails: a row per layer, a column per head, numbered from 0.
///
/// Maps of many tokens are best given as the largest weight of each tile ([`crate::Pooled::max`]); what is larger than a
/// thumbnail is pooled so here too.
pub fn overview(rows: &[OverviewRow], scales: &Scales, [row_axis, column_axis]: [&str; 2], style: &Style) -> Figure {
    let panels: Vec<&Panel> = rows.iter().flat_map(|row| &row.panels).collect();
    let mut sheet = Sheet::new(style, scales.whole().quantity());
    let n_columns = rows.iter().map(|row| row.panels.len()).max().unwrap_or(0);
    let labels: Vec<_> = rows.iter().map(|row| fit(&row.label, LONGEST_LABEL / TICK_SIZE)).collect();
    let left = NAME_HEIGHT + 4.0 + labels.iter().map(|label| label.width * TICK_SIZE).fold(0.0, f32::max);
    let [width, height] = thumbnail_size(&panels, n_columns, left, style);
    let top = NAME_HEIGHT + TICK_SIZE * 1.4;

    let mut pool = Pool { rows: 1, columns: 1 };
    for (row, (content, label)) in rows.iter().zip(labels).enumerate() {
        let y = top + row as f32 * (height + GAP);
        let at = [left - 4.0, y + height / 2.0 + TICK_SIZE * 0.35];
        sheet.text(label, at, 0.0, Anchor::End, TICK_SIZE, style.theme.ink());
        for (column, panel) in content.panels.iter().enumerate() {
            let x = left + column as f32 * (width + GAP);
            let frame = Frame { x, y, width, height, cells_per_point: sheet.cells_per_point };
            let drawn = sheet.panel(panel, &scales.of_panel(panel), frame);
            pool = Pool { rows: pool.rows.max(drawn.rows), columns: pool.columns.max(drawn.columns) };
        }
    }
    column_numbers(&mut sheet, n_columns, width, [left, top]);
    names(&mut sheet, [row_axis, column_axis], [left, top], rows.len() as f32 * (height + GAP) - GAP);
    sheet.finish(&panels, scales, pool)
}

/// Width and height of a thumbnail.
fn thumbnail_size(panels: &[&Panel], n_columns: usize, left: f32, style: &Style) -> [f32; 2] {
    let count = n_columns.max(1) as f32;
    let body = Sheet::asked_width(style).unwrap_or(BODY);
    let widest = if style.size.is_some() { f32::INFINITY } else { THUMBNAIL.0 };
    let width = ((body - left - (count - 1.0) * GAP) / count).clamp(THUMBNAIL.1, widest);
    let aspect = panels.iter().map(|panel| panel.n_rows() as f32 / panel.n_columns() as f32).fold(0.0, f32::max);
    [width, width * if aspect > 0.0 { aspect.clamp(0.4, 1.6) } else { 1.0 }]
}

/// The head's number above each column, every so many where they are narrow.
fn column_numbers(sheet: &mut Sheet, n_columns: usize, width: f32, corner: [f32; 2]) {
    let step = if width + GAP < 14.0 { 2 } else { 1 };
    let ink = sheet.style.theme.ink();
    for column in (0..n_columns).step_by(step) {
        let at = [corner[0] + column as f32 * (width + GAP) + width / 2.0, corner[1] - TICK_SIZE * 0.5];
        sheet.text(shape(&column.to_string()), at, 0.0, Anchor::Middle, TICK_SIZE, ink);
    }
}

fn names(sheet: &mut Sheet, [row_axis, column_axis]: [&str; 2], corner: [f32; 2], height: f32) {
    let muted = sheet.style.theme.muted();
    let columns = shape(&visible(&format!("{column_axis} →")));
    sheet.extend(corner[0] + columns.width * NAME_SIZE, 0.0);
    sheet.text(columns, [corner[0], NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, muted);
    let rows = fit(&format!("← {row_axis}"), (corner[1] + height) / NAME_SIZE);
    sheet.text(rows, [NAME_SIZE, corner[1] + height], -90.0, Anchor::Start, NAME_SIZE, muted);
}
