//! Which heads look from one token to another: all heads, ranked by one cell of their maps.

use std::ffi::OsStr;
use std::ops::Range;

use attlas::analysis::{RowTokens, Rows, Sample, ScoreRow, Sums};
use attlas::{AttentionMap, Error, Kind, Tokens};
use rayon::prelude::*;

use super::HeadsArguments;
use super::asked::{Asked, asked_row, print_ranked};
use crate::failure::{Failure, Outcome};
use crate::inputs::place_of;
use crate::terminal::Terminal;

/// Ranks the heads by how much the query looks at the key.
pub fn run(
    arguments: &HeadsArguments,
    material: &OsStr,
    [query, key]: [&String; 2],
    terminal: &mut Terminal,
) -> Result<Outcome, Failure> {
    let asked = Asked::read(arguments, material)?;
    let mut rows = Vec::new();
    let mut places = Vec::new();
    let mut reasons = Vec::new();
    for kind in asked.kinds.clone() {
        match cells(&asked, kind, query, key) {
            Ok((mut of_kind, place)) => {
                rows.append(&mut of_kind);
                places.push(format!("{}: {place}", kind.title()));
            }
            Err(CellError::Asked(reason)) => reasons.push(format!("{}: {reason}", kind.title())),
            Err(CellError::Failed(failure)) => return Err(failure),
        }
    }
    if rows.is_empty() {
        return Err(Failure::Usage(reasons.join("; ")));
    }
    let legend = format!(
        "{}{}. Weights are summed over the pieces of a key's word and averaged over those of a query's; one cell of one text says \
         little of a head.",
        asked.which_text(),
        places.join("; ")
    );
    print_ranked(rows, "weight", &legend, arguments, terminal)?;
    asked.outcome()
}

/// Why a kind has no such cell.
enum CellError {
    /// The tokens asked for are not there.
    Asked(String),
    Failed(Failure),
}

/// The cell of every head of a kind, and where it is.
fn cells(asked: &Asked, kind: Kind, query: &str, key: &str) -> Result<(Vec<ScoreRow>, String), CellError> {
    let Asked { recording, item, .. } = asked;
    let failed = |error: Error| CellError::Failed(error.into());
    let heads: Vec<(usize, usize)> = recording
        .layers_of(kind)
        .flat_map(|layer| (0..layer.shape.n_heads).map(move |head| (layer.index, head)))
        .collect();
    let Some(&(layer, head)) = heads.first() else { return Err(CellError::Asked("it has no heads".into())) };
    let first = recording.map(*item, kind, layer, head).map_err(failed)?;
    // rows by the token that names them, padding left out
    let row_tokens = RowTokens::usual(kind).of(&first);
    let queries = place_of(row_tokens, query, "--query").map_err(CellError::Asked)?;
    let keys = place_of(first.key_tokens(), key, "--key").map_err(CellError::Asked)?;
    let cell = |(layer, head): &(usize, usize)| -> Result<Option<ScoreRow>, Error> {
        let map = recording.map(*item, kind, *layer, *head)?;
        let is_same = (map.query_tokens(), map.key_tokens()) == (first.query_tokens(), first.key_tokens());
        Ok(is_same.then(|| row_of(&map, &queries, &keys)))
    };
    let rows = heads.par_iter().map(cell).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // layers over other tokens have no such cell
    let rows: Vec<ScoreRow> = rows.into_iter().flatten().collect();
    let named = |tokens: &Tokens, places: &Range<usize>| -> String {
        format!(
            "\"{}\" at {}",
            tokens.tokens[places.clone()].iter().map(|token| token.text.as_str()).collect::<String>().trim(),
            places.start
        )
    };
    let which = if kind == Kind::Cross { "the row that predicts " } else { "" };
    Ok((rows, format!("{which}{} to {}", named(row_tokens, &queries), named(first.key_tokens(), &keys))))
}

/// The weight of a query on a key, each one token or the pieces of a word.
fn row_of(map: &AttentionMap<'_>, queries: &Range<usize>, keys: &Range<usize>) -> ScoreRow {
    let mut sums = Sums::default();
    Rows::of(map).for_each(|row| {
        if queries.contains(&row.query) {
            let seen = keys.clone().filter(|key| row.sees(*key)).count();
            sums.add(Sample {
                score: row.weights[keys.clone()].iter().map(|weight| f64::from(*weight)).sum(),
                baseline: seen as f64 / row.n_visible().max(1) as f64,
            });
        }
    });
    // the pieces of a word are no sample of anything
    ScoreRow { low: None, high: None, ..asked_row(map, "cell", &sums) }
}
