//! What was found when the numbers of a recording were looked at: finite, in the range of their quantity, 0 on padding (but what
//! padding keeps of itself);
//! of weights also that rows sum to 1, and that no row is empty that sees a key.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::{AttentionMap, Error, HeadId, Kind, Quantity, Recording, TokenRole};

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
    /// How large that may be; not written, as a reader checks again.
    #[serde(skip, default = "usual_tolerance")]
    pub tolerance: f32,
    /// Where that is: text, head, query.
    pub worst_row: Option<(usize, HeadId, usize)>,
    /// The heads with a row that fails, rising.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_heads: Vec<usize>,
}

impl LayerCheck {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.n_not_finite == 0
            && self.n_out_of_range == 0
            && self.n_empty == 0
            && self.max_masked == 0.0
            && self.max_row_error <= self.tolerance
    }

    /// What is wrong, with the numbers and the worst place; `None` where every check passed.
    pub fn problem(&self) -> Option<String> {
        let counts = [
            (self.n_not_finite, "not finite"),
            (self.n_out_of_range, "out of range"),
            (self.n_empty, "empty rows that see a key"),
        ];
        let mut found: Vec<String> =
            counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        if self.max_masked != 0.0 {
            found.push(format!("weight on padding up to {}", self.max_masked));
        }
        // also when it is no number
        if self.max_row_error > self.tolerance || self.max_row_error.is_nan() {
            let (text, head, row) = self.worst_row.unwrap_or((0, HeadId { layer: self.layer, head: 0 }, 0));
            let error = self.max_row_error;
            found.push(format!("row sums off by up to {error} (worst: text {text}, {head}, row {row})"));
        }
        (!found.is_empty()).then(|| found.join(", "))
    }

    /// The layer and its heads that fail: `encoder L0H1, L0H3 and 2 more`.
    fn failed(&self) -> String {
        let stack = self.stack.as_ref().map_or(String::new(), |stack| format!("{stack} "));
        let heads = self.failed_heads.iter().map(|head| HeadId { layer: self.layer, head: *head }.to_string());
        match shortened(heads.collect()) {
            heads if heads.is_empty() => format!("{stack}{} L{}", self.kind, self.layer),
            heads => format!("{stack}{} {heads}", self.kind),
        }
    }
}

/// What of a recording fails its checks, in a sentence that names layers, heads and the faults of the first layer; `None`
/// where nothing does.
pub fn complaint(checks: &[LayerCheck]) -> Option<String> {
    let mut failed = checks.iter().filter_map(|check| Some((check, check.problem()?)));
    let (first, problem) = failed.next()?;
    let others = failed.map(|(check, _)| check);
    let layers = shortened([first].into_iter().chain(others).map(LayerCheck::failed).collect());
    Some(format!("the recording fails its checks in {layers}: {problem}; do not rely on these numbers"))
}

/// The first few of some names, and how many more there are.
fn shortened(names: Vec<String>) -> String {
    const MOST: usize = 3;
    match names.len().saturating_sub(MOST) {
        0 => names.join(", "),
        n_more => format!("{} and {n_more} more", names[..MOST].join(", ")),
    }
}

impl Recording {
    /// Looks at the weights of every layer; at most 256 rows of each head.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the recording contradicts itself.
    pub fn check(&self) -> Result<Vec<LayerCheck>, Error> {
        self.check_heads(0..self.items.len(), |_, _| true)
    }

    /// [`check`](Self::check) of some texts, and of the heads that are `chosen`, in the layers that have one.
    ///
    /// # Errors
    /// As [`check`](Self::check), and when a text does not exist.
    pub fn check_heads(
        &self,
        items: Range<usize>,
        chosen: impl Fn(&Layer, usize) -> bool + Sync,
    ) -> Result<Vec<LayerCheck>, Error> {
        self.validate()?;
        let check = |layer: &Layer| {
            let heads: Vec<usize> = (0..layer.shape.n_heads).filter(|head| chosen(layer, *head)).collect();
            (!heads.is_empty()).then(|| self.check_maps(layer, items.clone(), &heads))
        };
        self.layers.par_iter().filter_map(check).collect()
    }

    /// Looks at some maps of a layer.
    ///
    /// # Errors
    /// When a head or item does not exist.
    pub(crate) fn check_maps(&self, layer: &Layer, items: Range<usize>, heads: &[usize]) -> Result<LayerCheck, Error> {
        let shape = layer.shape;
        let rows_per_map = shape.n_queries.min(MAX_ROWS);
        let n_maps = items.len() * heads.len();
        let nothing = LayerCheck {
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
            tolerance: self.provenance.row_sum_tolerance(),
            worst_row: None,
            failed_heads: Vec::new(),
        };
        let rows = if self.provenance.reweighed(layer) { Rows::Changed } else { Rows::Whole };
        let mut found = nothing.clone();
        for item in items {
            for &head in heads {
                let of_map = nothing.of_map(self, layer, (item, head), rows)?;
                if let (false, Err(place)) = (of_map.passed(), found.failed_heads.binary_search(&head)) {
                    found.failed_heads.insert(place, head);
                }
                found.add(&of_map);
            }
        }
        Ok(found)
    }
}

impl LayerCheck {
    /// Takes in what was found in a map, or in a band of its rows.
    fn add(&mut self, of_map: &LayerCheck) {
        self.n_not_finite += of_map.n_not_finite;
        self.n_out_of_range += of_map.n_out_of_range;
        self.n_empty += of_map.n_empty;
        self.max_masked = self.max_masked.max(of_map.max_masked);
        self.take_row(of_map.max_row_error, of_map.worst_row);
    }

    /// Keeps the larger error; one that is no number is the largest.
    fn take_row(&mut self, error: f32, row: Option<(usize, HeadId, usize)>) {
        if error > self.max_row_error || error.is_nan() {
            (self.max_row_error, self.worst_row) = (error, row);
        }
    }

    /// What is found in one map, its bands looked at in parallel; `self` has found nothing yet.
    fn of_map(
        &self,
        recording: &Recording,
        layer: &Layer,
        (item, head): (usize, usize),
        rows: Rows,
    ) -> Result<LayerCheck, Error> {
        let whole = recording.rows_of(layer, item, head, 0..0)?;
        let tokens = &whole.key_tokens().tokens;
        let is_padded = |key: &usize| tokens[*key].role == TokenRole::Padding;
        let padded: Vec<usize> = (0..tokens.len().min(layer.shape.n_keys)).filter(is_padded).collect();
        let of_band = |band: Range<usize>| {
            let mut found = self.clone();
            match layer.factored() {
                Some(_) => found.look_at_band(&whole, item, band, &padded, rows),
                // of a dense map no more is read than the band
                None => {
                    let read = recording.rows_of(layer, item, head, band.clone())?;
                    found.look_at_band(&read, item, band, &padded, rows);
                }
            }
            Ok(found)
        };
        let bands: Vec<Range<usize>> = bands(layer.shape.n_queries).collect();
        let found = bands.into_par_iter().map(of_band).collect::<Result<Vec<LayerCheck>, Error>>()?;
        let mut all = self.clone();
        found.iter().for_each(|of_band| all.add(of_band));
        Ok(all)
    }

    fn look_at_band(&mut self, map: &AttentionMap<'_>, item: usize, band: Range<usize>, padded: &[usize], rows: Rows) {
        let n_keys = map.n_keys();
        let numbers = map.tile(band.clone(), 0..n_keys); // [band, n_keys]
        for (query, row) in band.zip(numbers.chunks_exact(n_keys)) {
            let token = map.query_tokens().tokens.get(query);
            let is_padding = token.is_some_and(|token| token.role == TokenRole::Padding);
            // what padding keeps of itself, behind a residual, is no weight on it
            let masked: &[usize] = if is_padding && !is_weight(&self.quantity) { &[] } else { padded };
            self.look_at_numbers(row, masked);
            if self.quantity.rows_sum_to_one() {
                self.look_at_sum(map, (item, query), row, rows);
            }
        }
    }

    fn look_at_numbers(&mut self, row: &[f32], padded: &[usize]) {
        let (least, largest) = self.quantity.range();
        let largest = largest.map(|largest| largest + ROW_SUM_TOLERANCE);
        let (low, high) = (least.unwrap_or(f32::MIN), largest.unwrap_or(f32::MAX));
        // nearly all rows are sound, and a sum without branches says so quickly
        if row.iter().map(|number| u32::from(!(*number >= low && *number <= high))).sum::<u32>() > 0 {
            let is_out = |number: &&f32| {
                least.is_some_and(|least| **number < least) || largest.is_some_and(|largest| **number > largest)
            };
            self.n_not_finite += row.iter().filter(|number| !number.is_finite()).count();
            self.n_out_of_range += row.iter().filter(is_out).count();
        }
        for key in padded {
            self.max_masked = self.max_masked.max(row[*key].abs());
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
        if !is_blind {
            self.take_row(error, Some((item, map.id(), query)));
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

fn usual_tolerance() -> f32 {
    ROW_SUM_TOLERANCE
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
