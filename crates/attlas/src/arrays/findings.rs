//! What is found in imported weights: refused when they are none, said when a reader must know it.

use std::collections::BTreeMap;

use super::{Cause, Precision, causes};
use crate::printable::counted;
use crate::recording::ROW_SUM_TOLERANCE;
use crate::{Error, HeadId, Item, Kind, Layer, TokenRole, Weights};

/// Layers that a note lists at most.
const MAX_LISTED: usize = 8;

/// What is let pass.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// How far a row's sum may be from 1.
    pub tolerance: f32,
    /// How exactly the weights were stored.
    pub precision: Precision,
    /// Whether rows may sum to more.
    pub allow_unnormalised: bool,
}

/// What was found in the layers of one kind.
#[derive(Debug, Default)]
struct Findings {
    /// The largest difference of a row's sum from 1, of rows within the tolerance.
    within: f32,
    /// Whether the columns of each layer's first map sum to 1 where its rows do not.
    is_swapped: bool,
    /// Layers of which a row sums to more than 1, and the largest sum.
    above: (Vec<usize>, f32),
    /// Layers of which a row, not all zero, sums to less than 1, and the smallest sum.
    below: (Vec<usize>, f32),
    /// Layers with rows that are all zero, how many these are, and where the first is.
    zero: (Vec<usize>, usize, String),
    /// Layers of which a row looks at later tokens, and the largest share that a layer gives them.
    future: (Vec<usize>, f64),
}

/// Refuses weights that are none; returns notes about rows that do not sum to 1, see nothing, or see the future.
///
/// # Errors
/// [`Error::BadWeights`] and [`Error::Unnormalised`] name the array, layer, head, text, row and value.
pub fn check(layers: &[Layer], items: &[Item], checks: Checks) -> Result<Vec<String>, Error> {
    let mut by_kind: BTreeMap<Kind, Findings> = BTreeMap::new();
    for layer in layers {
        by_kind.entry(layer.kind).or_default().look_at(layer, items, checks)?;
    }
    let within = by_kind.values().fold(0.0, |within: f32, findings| within.max(findings.within));
    let rounded = (checks.precision > Precision::Single)
        .then(|| format!("{}: rows sum to 1 within {}", checks.precision.name(), two_digits(within)));
    Ok(rounded.into_iter().chain(by_kind.iter().flat_map(|(kind, findings)| findings.notes(*kind))).collect())
}

/// Two significant digits, rounded up: `0.0017`.
fn two_digits(number: f32) -> String {
    let number = f64::from(number);
    let digits = if number > 0.0 { (1.0 - number.log10().floor()).clamp(1.0, 9.0) } else { 1.0 };
    let unit = 10_f64.powf(digits);
    format!("{:.*}", digits as usize, (number * unit).ceil() / unit)
}

/// What was found in one layer.
struct Rows {
    largest: f32,
    /// Of rows that are not all zero.
    smallest: f32,
    n_rows: usize,
    n_zero: usize,
    /// The weight on later tokens, over all rows.
    future: f64,
    /// The same of the row that gives them most.
    largest_future: f64,
}

impl Findings {
    fn look_at(&mut self, layer: &Layer, items: &[Item], checks: Checks) -> Result<(), Error> {
        let Weights::Dense(weights) = &layer.weights else { return Ok(()) };
        let weights = weights.read_all()?;
        let tolerance = checks.tolerance;
        let mut rows =
            Rows { largest: 0.0, smallest: f32::INFINITY, n_rows: 0, n_zero: 0, future: 0.0, largest_future: 0.0 };
        for (row_index, row) in weights.chunks_exact(layer.shape.n_keys).enumerate() {
            let place = Place::of(layer, row_index);
            check_row(row, &place)?;
            let sum = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32;
            if sum > 1.0 + tolerance && !checks.allow_unnormalised {
                let size = layer.shape.n_queries * layer.shape.n_keys;
                let map = &weights[row_index / layer.shape.n_queries * size..][..size];
                let cause = Cause::of_large_sum(map, &weights, layer.shape.n_keys, tolerance);
                return Err(Error::Unnormalised { place: place.to_string(), sum, cause });
            }
            if (sum - 1.0).abs() <= tolerance {
                self.within = self.within.max((sum - 1.0).abs());
            }
            let is_padding = || layer.query_tokens(&items[place.text]).tokens[place.row].role == TokenRole::Padding;
            if sum == 0.0 && !is_padding() {
                if self.zero.1 + rows.n_zero == 0 {
                    self.zero.2 = place.to_string();
                }
                rows.n_zero += 1;
            }
            rows.add(sum, later(layer, place.row, row));
        }
        self.take(layer.index, &rows, tolerance);
        self.is_swapped |= rows.smallest < 1.0 - tolerance && swapped(&weights, layer, tolerance);
        Ok(())
    }

    /// Notes what a layer's rows are.
    fn take(&mut self, layer: usize, rows: &Rows, tolerance: f32) {
        if rows.largest > 1.0 + tolerance {
            self.above.0.push(layer);
            self.above.1 = self.above.1.max(rows.largest);
        } else if rows.smallest < 1.0 - tolerance {
            self.below.1 = if self.below.0.is_empty() { rows.smallest } else { self.below.1.min(rows.smallest) };
            self.below.0.push(layer);
        }
        if rows.n_zero > 0 {
            self.zero.0.push(layer);
            self.zero.1 += rows.n_zero;
        }
        if rows.largest_future > f64::from(ROW_SUM_TOLERANCE) {
            self.future.0.push(layer);
            self.future.1 = self.future.1.max(rows.future / rows.n_rows as f64);
        }
    }

    /// One sentence for each sort of finding.
    fn notes(&self, kind: Kind) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(layers) = listed(kind, &self.above.0) {
            notes.push(format!("{layers}: rows are not normalised, they sum to up to {}", self.above.1));
        }
        if let Some(layers) = listed(kind, &self.below.0) {
            let cause = if self.is_swapped { format!(": {}", Cause::Swapped) } else { String::new() };
            notes.push(format!("{layers}: some rows sum to less than 1, down to {}{cause}", self.below.1));
        }
        if let Some(layers) = listed(kind, &self.zero.0) {
            let (n_rows, first) = (self.zero.1, &self.zero.2);
            let rows = if n_rows == 1 { "1 row is".into() } else { format!("{n_rows} rows are") };
            notes
                .push(format!("{layers}: {rows} all zero, which fails the checks unless their tokens are called padding, [PAD] or <pad> (first: {first})"));
        }
        if let Some(layers) = listed(kind, &self.future.0) {
            let share = 100.0 * self.future.1;
            notes.push(format!(
                "{layers}: queries look at later tokens, with up to {share:.1} % of a layer's weight; are these maps of an encoder?"
            ));
        }
        notes
    }
}

impl Rows {
    fn add(&mut self, sum: f32, later: f64) {
        self.n_rows += 1;
        self.largest = self.largest.max(sum);
        if sum > 0.0 {
            self.smallest = self.smallest.min(sum);
        }
        self.future += later;
        self.largest_future = self.largest_future.max(later);
    }
}

/// `decoder layer 3`, `decoder layers 0, 3`, `12 decoder layers`; `None` for none.
fn listed(kind: Kind, layers: &[usize]) -> Option<String> {
    match layers {
        [] => None,
        [one] => Some(format!("{kind} layer {one}")),
        several if several.len() <= MAX_LISTED => {
            let indices: Vec<String> = several.iter().map(usize::to_string).collect();
            Some(format!("{kind} layers {}", indices.join(", ")))
        }
        many => Some(format!("{} {kind} layers", many.len())),
    }
}

/// Where a row stands.
struct Place<'a> {
    layer: &'a Layer,
    text: usize,
    head: usize,
    row: usize,
}

impl Place<'_> {
    fn of(layer: &Layer, row_index: usize) -> Place<'_> {
        let (map, row) = (row_index / layer.shape.n_queries, row_index % layer.shape.n_queries);
        Place { layer, text: map / layer.shape.n_heads, head: map % layer.shape.n_heads, row }
    }
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Place { layer: Layer { kind, index, .. }, text, head, row } = self;
        let id = HeadId { layer: *index, head: *head };
        write!(f, "{} {id} (layer {index}, head {head}), text {text}, row {row}", kind.array_name())
    }
}

/// Refuses numbers that are no attention weights.
fn check_row(row: &[f32], place: &Place<'_>) -> Result<(), Error> {
    let is_bad = |weight: &f32| !weight.is_finite() || *weight < 0.0;
    let Some((key, weight)) = row.iter().enumerate().find(|(_, weight)| is_bad(weight)) else { return Ok(()) };
    let found = match weight.is_finite() {
        false => "not finite",
        true => "below 0; attention weights never are",
    };
    let cause = Cause::of_number(*weight, row).map_or(String::new(), |cause| format!(" ({cause})"));
    Err(Error::BadWeights(format!("{place}, column {key}: the weight is {weight}, {found}{cause}")))
}

/// Whether the columns of the layer's first map sum to 1 though it is not square.
fn swapped(weights: &[f32], layer: &Layer, tolerance: f32) -> bool {
    let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
    n_queries != n_keys && causes::columns_sum_to_one(&weights[..n_queries * n_keys], n_keys, tolerance)
}

/// The weight that a row of decoder self-attention gives to tokens after its own; 0 of other kinds.
fn later(layer: &Layer, query: usize, row: &[f32]) -> f64 {
    match layer.kind {
        Kind::Decoder => row.iter().skip(layer.query_offset + query + 1).map(|weight| f64::from(*weight)).sum(),
        _ => 0.0,
    }
}

/// Marks tokens as padding that are called so (`[PAD]`, `<pad>`) and that no query looks at in any map; what their own rows
/// hold says nothing, as transformers computes it all the same. Returns notes about them, and about those that queries do
/// look at.
///
/// # Errors
/// When weights cannot be read.
pub fn mark_padding(layers: &[Layer], items: &mut [Item]) -> Result<Vec<String>, Error> {
    let (mut n_marked, mut n_seen) = (0, 0);
    for (text, item) in items.iter_mut().enumerate() {
        for (is_source, tokens) in [(true, &mut item.source), (false, &mut item.target)] {
            for (index, token) in tokens.tokens.iter_mut().enumerate() {
                if !is_called_padding(&token.text) {
                    continue;
                }
                if is_seen(layers, text, is_source, index)? {
                    n_seen += 1;
                } else {
                    token.role = TokenRole::Padding;
                    n_marked += 1;
                }
            }
        }
    }
    mark_padded_rows(layers, items);
    let are = |n: usize| if n == 1 { "is" } else { "are" };
    let marked = (n_marked > 0).then(|| {
        format!("{} {} padding, which no query looks at; left out", counted(n_marked, "token"), are(n_marked))
    });
    let seen = (n_seen > 0).then(|| {
        let tokens = counted(n_seen, "token");
        format!("{tokens} {} called padding, but queries look there: was the attention mask left out?", are(n_seen))
    });
    Ok(marked.into_iter().chain(seen).collect())
}

/// Marks padding on the axis of rows that are some of the target's.
fn mark_padded_rows(layers: &[Layer], items: &mut [Item]) {
    for layer in layers.iter().filter(|layer| layer.kind == Kind::Decoder) {
        let Some(axis) = &layer.query_axis else { continue };
        for item in items.iter_mut() {
            let Some(rows) = item.axes.get_mut(axis) else { continue };
            let roles = item.target.tokens.iter().skip(layer.query_offset).map(|token| token.role);
            rows.tokens.iter_mut().zip(roles).for_each(|(row, role)| row.role = role);
        }
    }
}

/// Whether a label names padding: `[PAD]`, `<pad>` and the like, whose letters are `pad` or `padding`.
pub fn is_called_padding(label: &str) -> bool {
    let name = label.trim_matches(|letter: char| letter.is_ascii_punctuation());
    label.len() > name.len() && ["pad", "padding"].iter().any(|padding| name.eq_ignore_ascii_case(padding))
}

/// Whether a query of a text looks at a token of its source or target in some map.
fn is_seen(layers: &[Layer], text: usize, is_source: bool, index: usize) -> Result<bool, Error> {
    for layer in layers.iter().filter(|layer| (layer.kind != Kind::Decoder) == is_source) {
        let Weights::Dense(weights) = &layer.weights else { return Ok(true) };
        let size = layer.shape.n_queries * layer.shape.n_keys * layer.shape.n_heads;
        let weights = weights.read(text * size..(text + 1) * size)?;
        if weights.chunks_exact(layer.shape.n_keys).any(|row| row[index] != 0.0) {
            return Ok(true);
        }
    }
    Ok(false)
}
