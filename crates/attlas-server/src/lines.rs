//! One row or one column of a map, number by number; why a query looks at a key; what all heads of a kind do at a place.

use std::ops::Range;

use attlas::attention::Shape;
use attlas::{Error, Factored, HeadNumbers, Weights};

use crate::desk::GivenUp;
use crate::map::{Asked, Source};
use crate::tile::{BAND_NUMBERS, Cells};

/// Places of a column, or queries, that are read at a time.
const BAND: usize = 512;

/// A row or a column.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Shape `[n_places]`.
    pub weights: Vec<f32>,
    /// Shape `[n_places]`.
    pub masked: Vec<bool>,
    /// What a row has on keys that stand at no place.
    pub removed: f32,
    /// What a learned sink takes of it.
    pub sink: f32,
    /// The mean over its queries of each one's entropy over all keys and the sink, in bits; NaN where numbers are no weights, or one of
    /// them is no number.
    pub entropy: f32,
}

/// The row of a place.
///
/// # Errors
/// When numbers cannot be read.
pub fn row(asked: &Asked, source: &Source, place: usize) -> Result<Line, Error> {
    let rows = asked.rows(source)?;
    let queries = asked.queries.tokens(place);
    let mut cells = Cells::new(asked, 0..asked.keys.len());
    cells.read(&rows, &[place])?;
    let n_keys = asked.layer().shape.n_keys;
    let mut is_shown = vec![false; n_keys]; // [n_keys]
    asked.keys.tokens_of(0..asked.keys.len()).iter().for_each(|key| is_shown[*key] = true);
    let (mut removed, mut sink, mut entropy) = (0.0, 0.0, 0.0);
    for query in queries {
        let weights = rows.of(&[*query], 0..n_keys)?; // [n_keys]
        let left_out = weights.iter().zip(&is_shown).filter(|(_, is_shown)| !**is_shown);
        removed += left_out.map(|(weight, _)| f64::from(*weight)).sum::<f64>();
        let taken = rows.sink(*query);
        sink += f64::from(taken);
        entropy += weights.iter().chain([&taken]).map(|weight| bits(*weight)).sum::<f64>();
    }
    let n = queries.len().max(1) as f64;
    let is_weight = asked.layer().quantity.rows_sum_to_one();
    Ok(Line {
        weights: cells.row(0).to_vec(),
        masked: cells.open(place).iter().map(|open| !open).collect(),
        removed: (removed / n) as f32,
        sink: (sink / n) as f32,
        entropy: if is_weight { (entropy / n) as f32 } else { f32::NAN },
    })
}

/// `−w log2 w`; 0 of 0 and of what is negative, NaN of what is no number.
fn bits(weight: f32) -> f64 {
    let weight = f64::from(weight);
    if weight > 0.0 || weight.is_nan() { -weight * weight.log2() } else { 0.0 }
}

/// The column of a place.
///
/// # Errors
/// When numbers cannot be read.
pub fn column(asked: &Asked, source: &Source, place: usize) -> Result<Line, Error> {
    let rows = asked.rows(source)?;
    let n_places = asked.queries.len();
    let mut cells = Cells::new(asked, place..place + 1);
    let (mut weights, mut masked) = (Vec::with_capacity(n_places), Vec::with_capacity(n_places)); // [n_places]
    let places: Vec<usize> = (0..n_places).collect();
    for band in places.chunks(BAND) {
        let mut at = 0;
        while at < band.len() {
            cells.read(&rows, &band[at..])?;
            for row in 0..cells.n_rows {
                weights.push(cells.row(row)[0]);
                masked.push(!cells.open(band[at + row])[0]);
            }
            at += cells.n_rows;
        }
    }
    Ok(Line { weights, masked, removed: 0.0, sink: 0.0, entropy: f32::NAN })
}

/// Why a query looks at a key as much as it does.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    pub weight: f32,
    pub masked: bool,
    pub score: Option<f64>,
    /// Empty where they are not known. Shape `[d_head]`.
    pub query: Vec<f32>,
    pub key: Vec<f32>,
    pub scale: f64,
    pub softcap: Option<f64>,
    /// What position and bias per key add to the score.
    pub bias: f64,
    pub lse: Option<f64>,
    /// Why query and key are not there.
    pub missing: &'static str,
}

/// The terms of one head's weight of a query and a key, by their positions.
///
/// # Errors
/// When numbers cannot be read.
pub fn terms(asked: &Asked, query: usize, key: usize) -> Result<Terms, Error> {
    let (layer, item, head) = (asked.layer(), asked.item, asked.heads.start);
    let recording = &asked.recording.recording;
    let weight = recording.few_weights(layer, item, head, query..query + 1, key..key + 1)?[0];
    let masked = !asked.sight().sees(query, key);
    let nothing = Terms {
        weight,
        masked,
        score: None,
        query: Vec::new(),
        key: Vec::new(),
        scale: 1.0,
        softcap: None,
        bias: 0.0,
        lse: None,
        missing: "",
    };
    let shape = &layer.shape;
    let Weights::Factored(factored) = &layer.weights else {
        return Ok(Terms { missing: "the recording holds these numbers themselves, not queries and keys", ..nothing });
    };
    let d = shape.d_head;
    let row = (item * shape.n_heads + head) * shape.n_queries + query;
    let column = (item * shape.n_kv_heads + shape.kv_head(head)) * shape.n_keys + key;
    let (q, k) = (factored.queries.read(row * d..(row + 1) * d)?, factored.keys.read(column * d..(column + 1) * d)?);
    let dot: f64 = q.iter().zip(&*k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let of_key = bias_of_key(factored, shape, (item, head), key);
    let scoring = &factored.scoring;
    let score = scoring.score(head, query, key, dot) + of_key;
    Ok(Terms {
        score: (!masked).then_some(score),
        bias: score - scoring.capped(dot),
        query: q.into_owned(),
        key: k.into_owned(),
        scale: scoring.scale,
        softcap: scoring.softcap,
        lse: Some(factored.lse.read(row..row + 1)?[0]),
        ..nothing
    })
}

/// What a bias per key, of all texts or of each, adds to the scores of a key.
fn bias_of_key(factored: &Factored, shape: &Shape, (item, head): (usize, usize), key: usize) -> f64 {
    let Some(bias) = &factored.key_bias else { return 0.0 };
    let of_item = if bias.len() == shape.n_heads * shape.n_keys { 0 } else { item };
    f64::from(bias[(of_item * shape.n_heads + head) * shape.n_keys + key])
}

/// Where a head is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    Cell { row: usize, column: usize },
    Row(usize),
    Column(usize),
}

/// What a head does at a place: of a cell its number, of a row or a column the largest and where; `None` where all is masked, or
/// nobody waits for it any more.
///
/// Queries are read some at a time: a place may be a span of all tokens.
///
/// # Errors
/// When numbers cannot be read.
pub fn at(
    asked: &Asked,
    numbers: Option<&HeadNumbers>,
    at: At,
    given_up: &GivenUp,
) -> Result<Option<(f32, Option<usize>)>, Error> {
    let (queries, keys, sight) = (&asked.queries, &asked.keys, asked.sight());
    let (rows, columns) = match at {
        At::Cell { row, column } => (row..row + 1, column..column + 1),
        At::Row(row) => (row..row + 1, 0..keys.len()),
        At::Column(column) => (0..queries.len(), column..column + 1),
    };
    let hull = keys.hull(columns.clone());
    let end = queries.hull(rows.clone()).end;
    let mut few = Few { asked, held: numbers, end, keys: hull.clone(), queries: 0..0, weights: Vec::new() };
    let mut largest: Option<(f32, usize)> = None;
    for row in rows {
        let of_row = queries.tokens(row);
        let mut sums = vec![0.0; columns.len()]; // [columns]
        for &query in of_row {
            let Some(weights) = few.row(query, given_up)? else { return Ok(None) };
            for (sum, column) in sums.iter_mut().zip(columns.clone()) {
                *sum += keys.tokens(column).iter().map(|key| f64::from(weights[key - hull.start])).sum::<f64>();
            }
        }
        let mut open = vec![false; columns.len()];
        sight.mark(of_row, keys, &columns, &mut open);
        for ((column, sum), _) in columns.clone().zip(sums).zip(open).filter(|(_, open)| *open) {
            let number = (sum / of_row.len() as f64) as f32;
            if largest.is_none_or(|(most, _)| number.abs() > most.abs() || most.is_nan()) {
                largest = Some((number, if matches!(at, At::Column(_)) { row } else { column }));
            }
        }
    }
    let is_cell = matches!(at, At::Cell { .. });
    Ok(largest.map(|(number, place)| (number, (!is_cell).then_some(place))))
}

/// Few numbers of a head, some queries at a time: of what is held, or read of the file and nothing beside them.
struct Few<'a> {
    asked: &'a Asked,
    held: Option<&'a HeadNumbers>,
    /// Where the queries that are asked for end.
    end: usize,
    keys: Range<usize>,
    /// The queries whose numbers are there.
    queries: Range<usize>,
    /// Shape `[queries.len(), keys.len()]`.
    weights: Vec<f32>,
}

impl Few<'_> {
    /// A query's numbers, read with those behind it where they are not there; `None` where nobody waits for them any more. Shape
    /// `[keys.len()]`.
    fn row(&mut self, query: usize, given_up: &GivenUp) -> Result<Option<&[f32]>, Error> {
        let n_keys = self.keys.len();
        if !self.queries.contains(&query) {
            if given_up.is() {
                return Ok(None);
            }
            let n_at_once = (BAND_NUMBERS / n_keys.max(1)).clamp(1, BAND);
            self.queries = query..(query + n_at_once).min(self.end);
            self.weights = self.read()?;
        }
        Ok(Some(&self.weights[(query - self.queries.start) * n_keys..][..n_keys]))
    }

    fn read(&self) -> Result<Vec<f32>, Error> {
        let (recording, layer) = (&self.asked.recording.recording, self.asked.layer());
        let (item, head) = (self.asked.item, self.asked.heads.start);
        let (queries, keys) = (self.queries.clone(), self.keys.clone());
        match self.held {
            Some(numbers) => Ok(recording.map_over(layer, item, head, numbers)?.tile(queries, keys)),
            None => recording.few_weights(layer, item, head, queries, keys),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_that_is_no_number_leaves_its_row_without_entropy() {
        assert_eq!([0.5, 1.0, 0.0, -0.25].map(bits), [0.5, 0.0, 0.0, 0.0]);
        assert!(bits(f32::NAN).is_nan());
    }
}
