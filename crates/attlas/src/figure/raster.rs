//! A panel's numbers as coloured cells, pooled where a picture has no room for each.

use std::sync::Arc;

use super::marks::{Cells, Rgb};
use super::panel::Panel;
use super::scale::{ColorScale, LAST};

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

    /// The cells of `panel`; a pooled cell has the colour of its largest number, with either sign of the one farthest from 0,
    /// or of the missing if one is no number.
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

/// Appends one row of pooled cells: of a block the largest number, or no number where one is none.
fn pool_rows(rows: &[f32], n_columns: usize, pool: usize, scale: &ColorScale, indices: &mut Vec<u8>) {
    if scale.divides_rows() {
        return pool_divided_rows(rows, n_columns, pool, scale, indices);
    }
    // nothing yet: with either sign 0 is as little as can be, and has the colour of none
    let nothing = if scale.quantity().is_signed() { 0.0 } else { f32::NEG_INFINITY };
    let is_larger = |number: f32, than: f32| scale.size(number) > scale.size(than);
    let mut largest = vec![nothing; n_columns.div_ceil(pool)]; // [n_columns / pool]
    for row in rows.chunks_exact(n_columns) {
        for (cell, block) in largest.iter_mut().zip(row.chunks(pool)) {
            for &number in block {
                // NaN is larger than nothing and nothing is larger than NaN, so it stays
                *cell = if !number.is_finite() {
                    f32::NAN
                } else if is_larger(number, *cell) {
                    number
                } else {
                    *cell
                };
            }
        }
    }
    indices.extend(scale.indices(&largest));
}

/// [`pool_rows`] where each row has its own scale: indices are as strong as the numbers are, and the missing is the strongest.
fn pool_divided_rows(rows: &[f32], n_columns: usize, pool: usize, scale: &ColorScale, indices: &mut Vec<u8>) {
    let nothing = if scale.quantity().is_signed() { LAST / 2 } else { 0 };
    let mut largest = vec![nothing; n_columns.div_ceil(pool)]; // [n_columns / pool]
    for row in rows.chunks_exact(n_columns) {
        for (column, index) in scale.indices(row).enumerate() {
            let cell = &mut largest[column / pool];
            if scale.strength(index) > scale.strength(*cell) {
                *cell = index;
            }
        }
    }
    indices.extend(largest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quantity;
    use crate::figure::Scale;

    #[test]
    fn a_pooled_cell_has_the_colour_of_its_largest_weight_and_keeps_what_is_no_number() {
        let rows = [0.1, 0.9, f32::NAN, 0.5, 0.25, 0.3, 0.2, 0.4, 0.7, 0.6]; // [2, 5]
        for kind in [Scale::Linear, Scale::Log] {
            let scale = ColorScale::over(&rows, Quantity::Weight, kind);
            let mut indices = Vec::new();
            pool_rows(&rows, 5, 2, &scale, &mut indices);
            let alone = |weight: f32| scale.indices(&[weight]).next();
            assert_eq!(indices.iter().copied().map(Some).collect::<Vec<_>>(), [alone(0.9), Some(255), alone(0.6)]);
            let mut one_by_one = Vec::new();
            pool_divided_rows(&rows, 5, 2, &scale, &mut one_by_one);
            assert_eq!(indices, one_by_one);
        }
    }

    #[test]
    fn a_pooled_cell_of_either_sign_has_the_colour_of_the_number_farthest_from_0() {
        let rows = [0.1, -0.8, 0.4, 0.0, 0.2, 0.0]; // [1, 6]
        let scale = ColorScale::over(&rows, Quantity::Effect, Scale::Linear);
        let wanted: Vec<u8> = scale.indices(&[-0.8, 0.4, 0.2]).collect();
        for pool in [pool_rows, pool_divided_rows] {
            let mut indices = Vec::new();
            pool(&rows, 6, 2, &scale, &mut indices);
            assert_eq!(indices, wanted);
        }
    }
}
