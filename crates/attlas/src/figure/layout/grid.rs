//! Several maps side by side: the heads of a layer, or one head across layers.

use super::axis::{LABEL_GAP, Labels};
use super::map::CellMark;
use super::sheet::{NAME_SIZE, Sheet, TEXT_SIZE};
use super::signs;
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure};
use crate::figure::panel::Panel;
use crate::figure::raster::{Frame, Pool};
use crate::figure::scale::{ColorScale, Scales, number};
use crate::figure::text::fit;

const LONGEST_LABEL: f32 = 64.0;
const GAP: f32 = 12.0;
const TITLE_HEIGHT: f32 = TEXT_SIZE * 1.6;
const NAME_HEIGHT: f32 = NAME_SIZE * 1.9;
/// The body's width when no size is asked for, and the least width of a panel.
const BODY: f32 = 540.0;
const LEAST_PANEL: f32 = 64.0;
/// Where every label can have room in a body no wider than this, the body is that wide.
const READABLE_BODY: f32 = 900.0;
const READABLE_CELL: f32 = 8.0;
/// The longest name of the rows.
const LONGEST_NAME: f32 = 400.0;

/// Maps on their scales in `n_columns` columns, filled row by row; places left over stay empty.
///
/// Where all panels have the same axes, labels stand once: rows at the left, columns below the lowest panel of each
/// column. With [`Scales::Own`] each panel's title gives its largest weight.
pub fn grid(panels: &[Panel], scales: &Scales, n_columns: usize, style: &Style) -> Figure {
    marked_grid(panels, scales, n_columns, style, &[])
}

/// A [`grid`] some of whose cells are pointed out: `marks` has those of each panel, in their order. A panel whose cells are pooled
/// has none.
pub fn marked_grid(
    panels: &[Panel],
    scales: &Scales,
    n_columns: usize,
    style: &Style,
    marks: &[Vec<CellMark>],
) -> Figure {
    let all: Vec<&Panel> = panels.iter().collect();
    let mut sheet = Sheet::new(style, scales.whole().quantity());
    let layout = Layout::new(panels, n_columns.max(1), style);
    let mut pool = Pool { rows: 1, columns: 1 };
    for (place, panel) in panels.iter().enumerate() {
        let scale = scales.of_panel(panel);
        let title = match scales {
            Scales::Own(_) => format!("{} (to {})", panel.title(), number(scale.high())),
            Scales::Shared(_) => panel.title().to_owned(),
        };
        let drawn = layout.place(&mut sheet, panels, place, &scale, &title);
        if drawn == (Pool { rows: 1, columns: 1 }) {
            marks.get(place).into_iter().flatten().for_each(|mark| layout.mark(&mut sheet, panel, place, *mark));
        }
        pool = Pool { rows: pool.rows.max(drawn.rows), columns: pool.columns.max(drawn.columns) };
    }
    if let Some(first) = panels.first() {
        axis_names(&mut sheet, first, &layout, panels.len());
    }
    sheet.finish(&all, scales, pool)
}

/// Sizes and distances of a grid.
pub(super) struct Layout {
    n_columns: usize,
    plot: [f32; 2],
    left: f32,
    below: f32,
    same_rows: bool,
    same_columns: bool,
}

impl Layout {
    pub fn new(panels: &[Panel], n_columns: usize, style: &Style) -> Layout {
        let same =
            |axis: fn(&Panel) -> &crate::figure::Axis| panels.windows(2).all(|pair| axis(&pair[0]) == axis(&pair[1]));
        let (same_rows, same_columns) = (same(Panel::rows), same(Panel::columns));
        let count = n_columns as f32;
        let n_most = panels.iter().map(Panel::n_columns).max().unwrap_or(0) as f32;
        let n_labelled = if same_rows { 1.0 } else { count };
        let readable = NAME_HEIGHT + n_labelled * LONGEST_LABEL + count * (n_most * READABLE_CELL + GAP);
        let body = Sheet::asked_width(style).unwrap_or_else(|| {
            let least = BODY.max(count * (LEAST_PANEL + GAP));
            if readable <= READABLE_BODY { least.max(readable) } else { least }
        });
        let aspect = panels.iter().map(|panel| panel.n_rows() as f32 / panel.n_columns() as f32).fold(0.0, f32::max);
        let mut layout = Layout { n_columns, plot: [0.0; 2], left: LONGEST_LABEL, below: 0.0, same_rows, same_columns };
        // What the labels take depends on the size of the panels: settle it in two steps.
        for _ in 0..2 {
            let width = (body - NAME_HEIGHT - n_labelled * layout.left - (count - 1.0) * GAP) / count;
            layout.plot[0] = width.max(SHORTEST);
            layout.plot[1] = (layout.plot[0] * aspect).clamp(layout.plot[0] * 0.3, layout.plot[0] * 2.0);
            layout.left = LABEL_GAP + panels.iter().map(|panel| layout.rows(panel).longest()).fold(0.0, f32::max);
        }
        let below = |panel: &Panel| {
            let labels = layout.columns(panel);
            labels.rise(labels.stance())
        };
        layout.below = panels.iter().map(below).fold(0.0, f32::max);
        layout
    }

    /// Draws the panel at a place with its title, and labels where they are not said elsewhere; says how it is pooled.
    pub fn place(&self, sheet: &mut Sheet, panels: &[Panel], place: usize, scale: &ColorScale, title: &str) -> Pool {
        let panel = &panels[place];
        let (row, column) = (place / self.n_columns, place % self.n_columns);
        let corner = self.corner(row, column);
        let [width, height] = self.plot;
        let frame = Frame { x: corner[0], y: corner[1], width, height, cells_per_point: sheet.cells_per_point };
        let pool = sheet.panel(panel, scale, frame);
        if !title.is_empty() {
            let (at, ink) = ([corner[0], corner[1] - TEXT_SIZE * 0.45], sheet.style.theme.ink());
            sheet.text(fit(title, width / TEXT_SIZE), at, 0.0, Anchor::Start, TEXT_SIZE, ink);
        }
        if column == 0 || !self.same_rows {
            self.rows(panel).place_rows(sheet, corner);
        }
        if place + self.n_columns >= panels.len() || !self.same_columns {
            let labels = self.columns(panel);
            labels.place_below(sheet, [corner[0], corner[1] + height], labels.stance());
            sheet.extend(0.0, corner[1] + height + labels.rise(labels.stance()));
        }
        pool
    }

    /// Points out a cell of the panel at a place.
    fn mark(&self, sheet: &mut Sheet, panel: &Panel, place: usize, mark: CellMark) {
        let corner = self.corner(place / self.n_columns, place % self.n_columns);
        let cell = [self.plot[0] / panel.n_columns() as f32, self.plot[1] / panel.n_rows() as f32];
        let at = [corner[0] + mark.column as f32 * cell[0], corner[1] + mark.row as f32 * cell[1]];
        signs::place(sheet, mark.sign, at, cell);
    }

    fn rows(&self, panel: &Panel) -> Labels {
        Labels::new(panel.rows(), self.plot[1] / panel.n_rows() as f32, LONGEST_LABEL)
    }

    fn columns(&self, panel: &Panel) -> Labels {
        Labels::new(panel.columns(), self.plot[0] / panel.n_columns() as f32, LONGEST_LABEL)
    }

    /// Upper left corner of the cells at a place of the grid.
    fn corner(&self, row: usize, column: usize) -> [f32; 2] {
        let between = if self.same_rows { 0.0 } else { self.left };
        let below = if self.same_columns { 0.0 } else { self.below };
        let x = NAME_HEIGHT + self.left + column as f32 * (self.plot[0] + GAP + between);
        let y = NAME_HEIGHT + TITLE_HEIGHT + row as f32 * (self.plot[1] + GAP + TITLE_HEIGHT + below);
        [x, y]
    }
}

/// No panel is narrower, however many there are.
const SHORTEST: f32 = 24.0;

/// The names of the axes, once: the columns' at the top, the rows' along the left edge.
pub(super) fn axis_names(sheet: &mut Sheet, first: &Panel, layout: &Layout, n_panels: usize) {
    let muted = sheet.style.theme.muted();
    let x = layout.corner(0, 0)[0];
    let room = Sheet::asked_width(sheet.style).map_or(f32::INFINITY, |asked| asked - x);
    let columns = fit(&format!("columns: {} →", first.columns().name()), room / NAME_SIZE);
    sheet.extend(x + columns.width * NAME_SIZE, 0.0);
    sheet.text(columns, [x, NAME_SIZE], 0.0, Anchor::Start, NAME_SIZE, muted);

    let rows = format!("← rows: {}", first.rows().name());
    let last_row = (n_panels - 1) / layout.n_columns;
    let rows = fit(&rows, LONGEST_NAME / NAME_SIZE);
    // beside panels that are lower than the name is long, it reaches down beside the labels of the columns
    let bottom = (layout.corner(last_row, 0)[1] + layout.plot[1]).max(rows.width * NAME_SIZE);
    sheet.extend(0.0, bottom);
    sheet.text(rows, [NAME_SIZE, bottom], -90.0, Anchor::Start, NAME_SIZE, muted);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Axis, Scale, Sign};

    #[test]
    fn maps_given_as_tiles_count_what_the_tiles_hold_along_the_axes_and_behind_a_cell() {
        let panel = |title: &str| {
            let tiles = |name| Axis::tiles(name, 512, 0..2500);
            Panel::new(title, vec![0.5; 512 * 512], tiles("row"), tiles("column")).expect("so many numbers")
        };
        let panels = [panel("one"), panel("two")];
        let scales = Scales::of(&panels, Scale::Linear, Default::default());
        let svg = |style: &Style| grid(&panels, &scales, 2, style).to_svg();
        let drawn = svg(&Style::default());
        assert!(drawn.contains(">2400<") && !drawn.contains(">2500<"), "the last tick is near the last row");
        // 2500 in 512 tiles: 4 or 5 in each, and two tiles in a cell where there are too few pixels
        assert!(drawn.contains("Each cell shows the largest of up to 10 × 10 values (rows × columns)."));
        let fine = svg(&Style { pixels_per_point: 8.0, ..Style::default() });
        assert!(fine.contains("Each cell shows the largest of up to 5 × 5 values (rows × columns)."));
    }

    #[test]
    fn marks_point_out_cells_of_the_panel_that_they_are_given_for() {
        let panel = |title: &str| {
            let numbers = (0..12).map(|cell| cell as f32 / 12.0).collect();
            Panel::new(title, numbers, Axis::counted("row", 3), Axis::counted("column", 4)).expect("12 numbers")
        };
        let panels = [panel("one"), panel("two")];
        let scales = Scales::of(&panels, Scale::Linear, Default::default());
        let marks = [Vec::new(), vec![CellMark { row: 1, column: 2, sign: Sign::Solid }]];
        let plain = grid(&panels, &scales, 1, &Style::default());
        let marked = marked_grid(&panels, &scales, 1, &Style::default(), &marks);
        assert_eq!(marked.marks().len(), plain.marks().len() + 2, "a dark outline and its light rim");
    }
}
