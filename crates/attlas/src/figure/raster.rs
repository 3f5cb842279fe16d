//! A panel's numbers as coloured cells, pooled where a picture has no room for each.

use std::sync::Arc;

use super::marks::{Cells, Rgb};
use super::panel::Panel;
use super::scale::ColorScale;

/// Where cells are drawn, in points, and how many the picture has room for.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// Cells that can be told apart, per point.
    pub cells_per_point: f32,
}

/// How many weights stand behind one drawn cell: `1 × 1` where all are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Rows of the map per row of cells.
    pub rows: usize,
    /// Columns of the map per column of cells.
    pub columns: usize,
}

impl Frame {
    /// How `panel` is pooled to fit.
    pub fn pool(&self, panel: &Panel) -> Pool {
        let room = |length: f32| ((length * self.cells_per_point) as usize).max(1);
        Pool { rows: panel.n_rows().div_ceil(room(self.height)), columns: panel.n_columns().div_ceil(room(self.width)) }
    }

    /// The cells of `panel`; a pooled cell has the colour of its largest weight, or of the missing if one is no number.
    pub fn cells(&self, panel: &Panel, scale: &ColorScale, palette: &Arc<[Rgb]>) -> Cells {
        let pool = self.pool(panel);
        let (n_rows, n_columns) = (panel.n_rows().div_ceil(pool.rows), panel.n_columns().div_ceil(pool.columns));
        let mut indices = Vec::with_capacity(n_rows * n_columns); // [n_rows, n_columns]
        if pool == (Pool { rows: 1, columns: 1 }) {
            indices.extend(panel.weights().chunks_exact(n_columns).flat_map(|row| scale.indices(row)));
        } else {
            for rows in panel.weights().chunks(pool.rows * panel.n_columns()) {
                pool_rows(rows, panel.n_columns(), pool.columns, scale, &mut indices);
            }
        }
        let Frame { x, y, width, height, .. } = *self;
        Cells { x, y, width, height, n_rows, n_columns, indices, palette: Arc::clone(palette) }
    }
}

/// Appends one row of pooled cells: indices are ordered as the weights are, and the missing is the largest.
fn pool_rows(rows: &[f32], n_columns: usize, pool: usize, scale: &ColorScale, indices: &mut Vec<u8>) {
    let mut largest = vec![0_u8; n_columns.div_ceil(pool)]; // [n_columns / pool]
    for row in rows.chunks_exact(n_columns) {
        for (column, index) in scale.indices(row).enumerate() {
            let cell = &mut largest[column / pool];
            *cell = (*cell).max(index);
        }
    }
    indices.extend(largest);
}
