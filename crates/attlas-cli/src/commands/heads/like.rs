//! Which heads look like a pattern drawn by hand.

use std::ffi::OsStr;
use std::path::Path;

use attlas::analysis::{Rows, Sample, ScoreRow, Sums};
use attlas::arrays::{self, ArrayData};
use attlas::{AttentionMap, Error, Kind, regular_file};
use rayon::prelude::*;

use super::HeadsArguments;
use super::asked::{Asked, asked_row, print_ranked};
use crate::failure::{Failure, Outcome};
use crate::terminal::Terminal;

/// Bytes of a pattern at most: one of 2,000 × 2,000 numbers of eight digits.
const MAX_BYTES: u64 = 64 << 20;

/// A pattern: what each query looks at.
struct Pattern {
    n_queries: usize,
    n_keys: usize,
    /// Shape `[n_queries, n_keys]`.
    numbers: Vec<f32>,
    /// Whether it marks cells with zeros and ones.
    is_mask: bool,
}

/// Ranks the heads by how much they are like the pattern.
pub fn run(
    arguments: &HeadsArguments,
    material: &OsStr,
    path: &Path,
    terminal: &mut Terminal,
) -> Result<Outcome, Failure> {
    let pattern = Pattern::read(path)?;
    let asked = Asked::read(arguments, material)?;
    let mut rows = Vec::new();
    let mut shapes = Vec::new();
    for kind in asked.kinds.clone() {
        rows.extend(of_kind(&asked, kind, &pattern, &mut shapes)?);
    }
    if rows.is_empty() {
        let (name, n_queries, n_keys) = (path.display(), pattern.n_queries, pattern.n_keys);
        return Err(Failure::Input(format!(
            "{name} is a pattern of {n_queries} queries × {n_keys} keys, and the maps are {}",
            shapes.join(", ")
        )));
    }
    let what = match pattern.is_mask {
        true => "the mean weight on the marked cells, over the queries that have any",
        false => {
            "the weight that map and pattern share, Σ_k min(w, p) with each row of the pattern scaled to sum to 1, over its rows"
        }
    };
    print_ranked(rows, "score", &format!("{}score: {what}.", asked.which_text()), arguments, terminal)?;
    asked.outcome()
}

/// The heads of a kind whose maps have the pattern's shape, padding left out; the shapes of the others are added to `shapes`.
fn of_kind(asked: &Asked, kind: Kind, pattern: &Pattern, shapes: &mut Vec<String>) -> Result<Vec<ScoreRow>, Failure> {
    let Asked { recording, item, .. } = asked;
    let mut rows = Vec::new();
    for layer in recording.layers_of(kind) {
        let score = |head: usize| -> Result<Option<ScoreRow>, Error> {
            Ok(pattern.score(&recording.map(*item, kind, layer.index, head)?))
        };
        let found: Vec<Option<ScoreRow>> =
            (0..layer.shape.n_heads).into_par_iter().map(score).collect::<Result<_, _>>()?;
        if found.iter().any(Option::is_none) {
            let (n_queries, n_keys) = shape_of(&recording.map(*item, kind, layer.index, 0)?);
            let shape = format!("{n_queries} × {n_keys} ({kind})");
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        rows.extend(found.into_iter().flatten());
    }
    Ok(rows)
}

impl Pattern {
    fn read(path: &Path) -> Result<Pattern, Failure> {
        let is_npy = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
        let (shape, numbers) = if is_npy { read_npy(path)? } else { read_csv(path)? };
        let name = path.display();
        let [n_queries, n_keys] = shape[..] else {
            return Err(Failure::Input(format!("{name} has the shape {shape:?}; a pattern is queries × keys")));
        };
        if let Some(place) = numbers.iter().position(|number| !(number.is_finite() && *number >= 0.0)) {
            let (row, column, number) = (place / n_keys.max(1), place % n_keys.max(1), numbers[place]);
            return Err(Failure::Input(format!(
                "{name}: row {row}, column {column} is {number}; a pattern has finite numbers from 0 on"
            )));
        }
        if numbers.iter().all(|number| *number == 0.0) {
            return Err(Failure::Input(format!("{name} is a pattern of zeros alone; mark some cells with 1")));
        }
        let is_mask = numbers.iter().all(|number| [0.0, 1.0].contains(number));
        Ok(Pattern { n_queries, n_keys, numbers, is_mask })
    }

    /// What a head scores; `None` where its map has another shape.
    fn score(&self, map: &AttentionMap<'_>) -> Option<ScoreRow> {
        if shape_of(map) != (self.n_queries, self.n_keys) {
            return None;
        }
        let rows = Rows::of(map);
        let keys: Vec<usize> = rows.columns().all.within(&(0..map.n_keys())).to_vec();
        let mut sums = Sums::default();
        let mut index = 0;
        rows.for_each(|row| {
            let wanted = &self.numbers[index * self.n_keys..][..self.n_keys];
            index += 1;
            let mass: f32 = wanted.iter().sum();
            if mass > 0.0 {
                let of = |weight: &dyn Fn(usize) -> f64| -> f64 {
                    let shared = |(key, wanted): (&usize, &f32)| match self.is_mask {
                        true => f64::from(*wanted) * weight(*key),
                        false => f64::from(*wanted / mass).min(weight(*key)),
                    };
                    keys.iter().zip(wanted).map(shared).sum()
                };
                let uniform = |key: usize| if row.sees(key) { 1.0 / row.n_visible() as f64 } else { 0.0 };
                sums.add(Sample { score: of(&|key| f64::from(row.weights[key])), baseline: of(&uniform) });
            }
        });
        Some(asked_row(map, "like", &sums))
    }
}

/// Queries and keys of a map, padding left out.
fn shape_of(map: &AttentionMap<'_>) -> (usize, usize) {
    let rows = Rows::of(map);
    (rows.n_queries(), rows.columns().all.len())
}

/// The numbers of a `.npy` file and its shape.
fn read_npy(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let array = arrays::read(path, MAX_BYTES)?.into_values().next();
    let numbers = array.and_then(|array| match array.data {
        ArrayData::Numbers(numbers) => Some((array.shape, numbers)),
        ArrayData::Integers(numbers) => Some((array.shape, numbers.into_iter().map(|number| number as f32).collect())),
        ArrayData::Text(_) => None,
    });
    numbers.ok_or_else(|| Failure::Input(format!("{} holds no numbers", path.display())))
}

/// Numbers separated by commas, semicolons or white space, a row a line.
fn read_csv(path: &Path) -> Result<(Vec<usize>, Vec<f32>), Failure> {
    let name = path.display();
    let bytes = regular_file::read(path, MAX_BYTES).map_err(|problem| Failure::Input(format!("{name}: {problem}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::Input(format!("{name} is not UTF-8")))?;
    let mut numbers = Vec::new();
    let (mut n_rows, mut n_columns) = (0, 0);
    for (line, row) in text.trim_start_matches('\u{feff}').lines().enumerate().filter(|(_, row)| !row.trim().is_empty())
    {
        let before = numbers.len();
        let parts = row.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|part| !part.is_empty());
        for part in parts {
            let number = part
                .parse::<f32>()
                .map_err(|_| Failure::Input(format!("{name}: line {}: \"{part}\" is no number", line + 1)))?;
            numbers.push(number);
        }
        let n = numbers.len() - before;
        if n_rows > 0 && n != n_columns {
            return Err(Failure::Input(format!(
                "{name}: line {} has {n} numbers, and the lines before it have {n_columns}",
                line + 1
            )));
        }
        (n_rows, n_columns) = (n_rows + 1, n);
    }
    if n_rows == 0 {
        return Err(Failure::Input(format!("{name} is empty; a pattern has a row of numbers for each query")));
    }
    Ok((vec![n_rows, n_columns], numbers))
}
