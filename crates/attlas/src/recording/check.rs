//! What was found when the weights of a recording were looked at: finite, in range, masked is 0, rows sum to 1.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, HeadId, Kind, Recording, TokenRole, Weights};

/// How far a row's sum may be from 1 before it is said.
pub const ROW_SUM_TOLERANCE: f32 = 1e-3;

/// Rows looked at per head: all of a short map, evenly spaced ones of a long map.
const MAX_ROWS: usize = 256;

/// The checks of one layer, over all its heads and texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerCheck {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer's index.
    pub layer: usize,
    /// Rows looked at, and rows there are.
    pub n_rows: (usize, usize),
    /// Weights that are not finite.
    pub n_not_finite: usize,
    /// Weights below 0 or above 1 + tolerance.
    pub n_out_of_range: usize,
    /// The largest weight on a padding key.
    pub max_masked: f32,
    /// The largest |row sum + sink − 1|, over rows that see a key.
    pub max_row_error: f32,
    /// Where that is: text, head, query.
    pub worst_row: Option<(usize, HeadId, usize)>,
}

impl LayerCheck {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.n_not_finite == 0
            && self.n_out_of_range == 0
            && self.max_masked == 0.0
            && self.max_row_error <= ROW_SUM_TOLERANCE
    }
}

impl Recording {
    /// Looks at the weights of every layer; at most 256 rows of each head.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the recording contradicts itself.
    pub fn check(&self) -> Result<Vec<LayerCheck>, Error> {
        self.validate()?;
        (0..self.layers.len()).into_par_iter().map(|position| self.check_layer(position)).collect()
    }

    fn check_layer(&self, position: usize) -> Result<LayerCheck, Error> {
        let layer = &self.layers[position];
        let shape = layer.shape;
        let rows_per_map = shape.n_queries.min(MAX_ROWS);
        let n_maps = self.items.len() * shape.n_heads;
        let mut found = LayerCheck {
            kind: layer.kind,
            layer: layer.index,
            n_rows: (n_maps * rows_per_map, n_maps * shape.n_queries),
            n_not_finite: 0,
            n_out_of_range: 0,
            max_masked: 0.0,
            max_row_error: 0.0,
            worst_row: None,
        };
        let mut row = vec![0.0; shape.n_keys]; // [n_keys]
        for (index, item) in self.items.iter().enumerate() {
            let keys = &item.keys(layer.kind).tokens;
            let blind_rows_are_known = matches!(layer.weights, Weights::Factored { .. });
            for head in 0..shape.n_heads {
                let map = self.map(index, layer.kind, layer.index, head)?;
                for step in 0..rows_per_map {
                    let query = step * shape.n_queries / rows_per_map;
                    map.fill_row(query, 0..shape.n_keys, &mut row);
                    for (weight, key) in row.iter().zip(keys) {
                        found.n_not_finite += usize::from(!weight.is_finite());
                        found.n_out_of_range += usize::from(*weight < 0.0 || *weight > 1.0 + ROW_SUM_TOLERANCE);
                        if key.role == TokenRole::Padding {
                            found.max_masked = found.max_masked.max(weight.abs());
                        }
                    }
                    let sum = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32 + map.sink_mass(query);
                    let error = (sum - 1.0).abs();
                    let sees_nothing = sum == 0.0
                        && (blind_rows_are_known || item.queries(layer.kind).tokens[query].role == TokenRole::Padding);
                    if !sees_nothing && (error > found.max_row_error || error.is_nan()) {
                        found.max_row_error = error;
                        found.worst_row = Some((index, map.id(), query));
                    }
                }
            }
        }
        Ok(found)
    }
}
