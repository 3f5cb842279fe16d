//! What was found when the numbers of a recording were looked at: finite, in the range of their quantity, 0 on padding;
//! of weights also that rows sum to 1, and that no row is empty that sees a key.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{AttentionMap, Error, HeadId, Kind, Quantity, Recording, TokenRole, Tokens};

/// How far a row's sum may be from 1 before it is said.
pub const ROW_SUM_TOLERANCE: f32 = 1e-3;

/// Rows looked at per head: all of a short map, evenly spaced bands of neighbours of a long map.
const MAX_ROWS: usize = 256;
/// Rows of a band, so many that their weights come from the blocked kernel.
const BAND: usize = 16;

/// The checks of one layer, over all its heads and texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerCheck {
    /// The kind of attention.
    pub kind: Kind,
    /// The stack of the model, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The layer's index.
    pub layer: usize,
    /// What the numbers are; it decides which checks hold.
    #[serde(default, skip_serializing_if = "is_weight")]
    pub quantity: Quantity,
    /// Rows looked at, and rows there are.
    pub n_rows: (usize, usize),
    /// Numbers that are not finite.
    pub n_not_finite: usize,
    /// Numbers outside the quantity's range by more than the tolerance; weights below 0 or above 1.
    pub n_out_of_range: usize,
    /// Rows that see a key, although their log-sum-exp says that they see none.
    #[serde(default)]
    pub n_empty: usize,
    /// The largest number on a padding key.
    pub max_masked: f32,
    /// The largest |row sum + sink − 1|, over rows that see a key; 0 where the quantity does not sum to 1. Of layers whose
    /// weights were changed on purpose, how far a row's sum is above 1.
    pub max_row_error: f32,
    /// Where that is: text, head, query.
    pub worst_row: Option<(usize, HeadId, usize)>,
}

impl LayerCheck {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.n_not_finite == 0
            && self.n_out_of_range == 0
            && self.n_empty == 0
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
            stack: layer.stack.clone(),
            layer: layer.index,
            quantity: layer.quantity,
            n_rows: (n_maps * rows_per_map, n_maps * shape.n_queries),
            n_not_finite: 0,
            n_out_of_range: 0,
            n_empty: 0,
            max_masked: 0.0,
            max_row_error: 0.0,
            worst_row: None,
        };
        let rows = if self.provenance.reweighed(layer) { Rows::Changed } else { Rows::Whole };
        for (index, item) in self.items.iter().enumerate() {
            for head in 0..shape.n_heads {
                let mut map = AttentionMap::of_rows(layer, index, item, head, 0..0)?;
                for band in bands(shape.n_queries) {
                    map.turn_to(band.clone())?;
                    let numbers = map.tile(band.clone(), 0..shape.n_keys); // [band, n_keys]
                    for (query, row) in band.zip(numbers.chunks_exact(shape.n_keys)) {
                        found.look_at_numbers(row, layer.key_tokens(item));
                        if layer.quantity.rows_sum_to_one() {
                            found.look_at_sum(&map, (index, query), row, rows);
                        }
                    }
                }
            }
        }
        Ok(found)
    }
}

impl LayerCheck {
    fn look_at_numbers(&mut self, row: &[f32], keys: &Tokens) {
        let (least, largest) = self.quantity.range();
        let is_out = |number: f32| {
            least.is_some_and(|least| number < least)
                || largest.is_some_and(|largest| number > largest + ROW_SUM_TOLERANCE)
        };
        for (number, key) in row.iter().zip(&keys.tokens) {
            self.n_not_finite += usize::from(!number.is_finite());
            self.n_out_of_range += usize::from(is_out(*number));
            if key.role == TokenRole::Padding {
                self.max_masked = self.max_masked.max(number.abs());
            }
        }
    }

    fn look_at_sum(&mut self, map: &AttentionMap<'_>, (item, query): (usize, usize), row: &[f32], rows: Rows) {
        let sum = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32 + map.sink_mass(query);
        let error = match rows {
            Rows::Whole => (sum - 1.0).abs(),
            Rows::Changed => (sum - 1.0).max(0.0),
        };
        let is_blind = match map.lse() {
            Some(lse) => {
                let is_blind = lse[query] == f64::NEG_INFINITY;
                self.n_empty += usize::from(is_blind && map.visible_keys(query).any(|key| map.sees(query, key)));
                is_blind
            }
            None => sum == 0.0 && map.query_tokens().tokens[query].role == TokenRole::Padding,
        };
        if !is_blind && (error > self.max_row_error || error.is_nan()) {
            self.max_row_error = error;
            self.worst_row = Some((item, map.id(), query));
        }
    }
}

/// What the rows of a layer sum to.
#[derive(Clone, Copy)]
enum Rows {
    /// 1, with the share of a sink.
    Whole,
    /// At most 1: weights were changed on purpose, and a sink's share is not recorded beside dense ones.
    Changed,
}

fn is_weight(quantity: &Quantity) -> bool {
    *quantity == Quantity::Weight
}

/// The rows that are looked at, at most [`MAX_ROWS`]: all, or bands from the first row to the last.
fn bands(n_queries: usize) -> impl Iterator<Item = Range<usize>> {
    let n_bands = n_queries.min(MAX_ROWS).div_ceil(BAND);
    let start = move |band: usize| match n_queries {
        0..=MAX_ROWS => band * BAND,
        _ => band * (n_queries - BAND) / (n_bands - 1),
    };
    (0..n_bands).map(move |band| start(band)..(start(band) + BAND).min(n_queries))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_of_a_short_map_are_looked_at_and_bands_of_a_long_one() {
        for n_queries in [1, 15, 16, 17, 255, 256] {
            assert!(bands(n_queries).flatten().eq(0..n_queries), "{n_queries}");
        }
        for n_queries in [257, 300, 5000, 65_536] {
            let rows: Vec<usize> = bands(n_queries).flatten().collect();
            assert_eq!((rows.len(), rows[0], rows[255]), (256, 0, n_queries - 1));
            assert!(rows.windows(2).all(|pair| pair[0] < pair[1]), "{n_queries}: each row once");
        }
    }
}
