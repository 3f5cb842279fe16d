//! Two maps and their difference, side by side.

use super::grid::{Layout, axis_names};
use super::sheet::Sheet;
use crate::figure::panel::Panel;
use crate::figure::raster::Pool;
use crate::figure::scale::{ColorScale, Scales};
use crate::figure::{Figure, Style};

/// Two maps of the same axes on one scale, and beside them their difference on a scale of its own, with 0 in the middle of its
/// colours; a bar for each scale.
pub fn difference(panels: &[Panel; 3], [maps, less]: [&ColorScale; 2], style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, maps.quantity());
    let layout = Layout::new(panels, panels.len(), style);
    let mut pool = Pool { rows: 1, columns: 1 };
    let mut place = |sheet: &mut Sheet, place: usize, scale: &ColorScale| {
        let drawn = layout.place(sheet, panels, place, scale, panels[place].title());
        pool = Pool { rows: pool.rows.max(drawn.rows), columns: pool.columns.max(drawn.columns) };
    };
    place(&mut sheet, 0, maps);
    place(&mut sheet, 1, maps);
    sheet.recolor(less.quantity());
    place(&mut sheet, 2, less);
    axis_names(&mut sheet, &panels[0], &layout, panels.len());

    sheet.recolor(maps.quantity());
    sheet.color_bar(&Scales::Shared(*maps), 1);
    sheet.recolor(less.quantity());
    sheet.color_bar(&Scales::Shared(*less), 1);
    sheet.finish_below_bar(&panels.each_ref(), &Scales::Shared(*less), pool)
}
