//! `attlas ablate --give FILE`: weights that a head gets in place of its own.

use std::path::Path;

use attlas::arrays::{self, ArrayData};
use attlas_model::Array;

use crate::failure::Failure;
use crate::inputs::read_utf8;
use crate::terminal::printable;

/// Bytes of weights at most: a map of 8192 tokens.
const MAX_BYTES: u64 = 256 << 20;

/// The weights of a file. Shape `[queries, keys]`.
///
/// # Errors
/// When it is neither an array of two axes nor lines of as many numbers each.
pub fn weights(path: &Path) -> Result<Array, Failure> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    match ending.as_str() {
        "npy" => of_array(path),
        "csv" => of_lines(path),
        _ => Err(Failure::Usage(format!("--give {}: weights are read from .npy and .csv files", path.display()))),
    }
}

fn of_array(path: &Path) -> Result<Array, Failure> {
    let array = arrays::read(path, MAX_BYTES)?.into_values().next();
    let bad =
        |what: &str| Failure::Input(format!("{}: {what}, and weights [queries, keys] are wanted", path.display()));
    let array = array.ok_or_else(|| bad("has no array"))?;
    match (array.data, array.shape.len()) {
        (ArrayData::Numbers(values), 2) => Ok(Array { shape: array.shape, values }),
        (ArrayData::Integers(values), 2) => {
            Ok(Array { shape: array.shape, values: values.into_iter().map(|value| value as f32).collect() })
        }
        (ArrayData::Numbers(_) | ArrayData::Integers(_), n) => Err(bad(&format!("has {n} axes"))),
        (ArrayData::Text(_), _) => Err(bad("has text")),
    }
}

fn of_lines(path: &Path) -> Result<Array, Failure> {
    let text = read_utf8(path)?;
    let bad = |line: usize, what: String| Failure::Input(format!("{}: line {}: {what}", path.display(), line + 1));
    let (mut values, mut n_keys, mut n_queries) = (Vec::new(), None, 0);
    for (line, row) in text.lines().enumerate().filter(|(_, row)| !row.trim().is_empty()) {
        let number = |cell: &str| {
            let found = cell.trim().parse::<f32>().ok().filter(|number| number.is_finite());
            found.ok_or_else(|| bad(line, format!("\"{}\" is no number", printable(cell.trim()))))
        };
        let row = row.split(',').map(number).collect::<Result<Vec<f32>, Failure>>()?;
        let n = *n_keys.get_or_insert(row.len());
        if row.len() != n {
            return Err(bad(line, format!("has {} numbers, the lines before it {n}", row.len())));
        }
        values.extend(row);
        n_queries += 1;
    }
    Ok(Array { shape: vec![n_queries, n_keys.unwrap_or(0)], values })
}
