//! What is found in imported weights: refused when they are none, said when a reader must know it.

use std::collections::BTreeMap;

use crate::recording::ROW_SUM_TOLERANCE;
use crate::{Error, HeadId, Item, Kind, Layer, TokenRole, Weights};

/// Layers that a note lists at most.
const MAX_LISTED: usize = 8;

/// What was found in the layers of one kind.
#[derive(Debug, Default)]
struct Findings {
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
pub fn check(layers: &[Layer], items: &[Item], allow_unnormalised: bool) -> Result<Vec<String>, Error> {
    let mut by_kind: BTreeMap<Kind, Findings> = BTreeMap::new();
    for layer in layers {
        by_kind.entry(layer.kind).or_default().look_at(layer, items, allow_unnormalised)?;
    }
    Ok(by_kind.iter().flat_map(|(kind, findings)| findings.notes(*kind)).collect())
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
    fn look_at(&mut self, layer: &Layer, items: &[Item], allow_unnormalised: bool) -> Result<(), Error> {
        let Weights::Dense(weights) = &layer.weights else { return Ok(()) };
        let mut rows =
            Rows { largest: 0.0, smallest: f32::INFINITY, n_rows: 0, n_zero: 0, future: 0.0, largest_future: 0.0 };
        for (row_index, row) in weights.read_all()?.chunks_exact(layer.shape.n_keys).enumerate() {
            let place = Place::of(layer, row_index);
            check_row(row, &place)?;
            let sum = row.iter().map(|weight| f64::from(*weight)).sum::<f64>() as f32;
            if sum > 1.0 + ROW_SUM_TOLERANCE && !allow_unnormalised {
                return Err(Error::Unnormalised { place: place.to_string(), sum });
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
        self.take(layer.index, &rows);
        Ok(())
    }

    /// Notes what a layer's rows are.
    fn take(&mut self, layer: usize, rows: &Rows) {
        if rows.largest > 1.0 + ROW_SUM_TOLERANCE {
            self.above.0.push(layer);
            self.above.1 = self.above.1.max(rows.largest);
        } else if rows.smallest < 1.0 - ROW_SUM_TOLERANCE {
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
            notes.push(format!("{layers}: some rows sum to less than 1, down to {}", self.below.1));
        }
        if let Some(layers) = listed(kind, &self.zero.0) {
            let (n_rows, first) = (self.zero.1, &self.zero.2);
            let rows = if n_rows == 1 { "1 row is".into() } else { format!("{n_rows} rows are") };
            notes
                .push(format!("{layers}: {rows} all zero and not of padding, which fails the checks (first: {first})"));
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
    Err(Error::BadWeights(match weight.is_finite() {
        false => format!("{place}, column {key}: the weight is {weight}, not finite"),
        true => format!(
            "{place}, column {key}: the weight is {weight}, below 0; attention weights never are (are these scores before softmax?)"
        ),
    }))
}

/// The weight that a row of decoder self-attention gives to tokens after its own; 0 of other kinds. Where there are more keys
/// than queries, the last query is taken for the last token.
fn later(layer: &Layer, query: usize, row: &[f32]) -> f64 {
    match (layer.kind, row.len().checked_sub(layer.shape.n_queries)) {
        (Kind::Decoder, Some(n_before)) => row[n_before + query + 1..].iter().map(|weight| f64::from(*weight)).sum(),
        _ => 0.0,
    }
}

/// Marks tokens as padding that are called so (`[PAD]`, `<pad>`) and take part in nothing: their rows and columns are 0 in
/// every map. Returns a note about them.
///
/// # Errors
/// When weights cannot be read.
pub fn mark_padding(layers: &[Layer], items: &mut [Item]) -> Result<Option<String>, Error> {
    let mut n_marked = 0;
    for (text, item) in items.iter_mut().enumerate() {
        for (is_source, tokens) in [(true, &mut item.source), (false, &mut item.target)] {
            for (index, token) in tokens.tokens.iter_mut().enumerate() {
                if is_called_padding(&token.text) && takes_no_part(layers, text, is_source, index)? {
                    token.role = TokenRole::Padding;
                    n_marked += 1;
                }
            }
        }
    }
    Ok(match n_marked {
        0 => None,
        1 => Some("1 token is taken as padding: its rows and columns are all zero".into()),
        n => Some(format!("{n} tokens are taken as padding: their rows and columns are all zero")),
    })
}

/// Whether the letters of a label are `pad` or `padding`.
fn is_called_padding(label: &str) -> bool {
    let name = label.trim_matches(|letter: char| letter.is_ascii_punctuation());
    label.len() > name.len() && ["pad", "padding"].iter().any(|padding| name.eq_ignore_ascii_case(padding))
}

/// Whether no map of a text gives or takes any weight at a token of its source or target.
fn takes_no_part(layers: &[Layer], text: usize, is_source: bool, index: usize) -> Result<bool, Error> {
    for layer in layers {
        let Weights::Dense(weights) = &layer.weights else { return Ok(false) };
        let size = layer.shape.n_queries * layer.shape.n_keys;
        let weights = weights.read(text * layer.shape.n_heads * size..(text + 1) * layer.shape.n_heads * size)?;
        let is_row = (layer.kind == Kind::Encoder) == is_source;
        let is_column = (layer.kind != Kind::Decoder) == is_source;
        for map in weights.chunks_exact(size) {
            let mut rows = map.chunks_exact(layer.shape.n_keys);
            let gives = is_row && rows.clone().nth(index).is_some_and(|row| row.iter().any(|weight| *weight != 0.0));
            if gives || is_column && rows.any(|row| row[index] != 0.0) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}
