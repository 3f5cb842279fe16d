//! What tokens and spans receive, as JSON: an array of rows, one for each map and token or span.

use std::io::Write;

use attlas::analysis::{Received, Span};
use serde_json::{Value, json};

use super::{OfText, Share};
use crate::failure::Failure;
use crate::terminal::Terminal;
use crate::words::inert_json;

/// Prints the rows one by one: there may be very many.
pub fn print_json(texts: &[OfText<'_>], terminal: &mut Terminal) -> Result<(), Failure> {
    let mut separator = "[\n";
    for text in texts {
        let (keys, tokens) = (text.keys(), text.key_tokens());
        for map in &text.maps {
            for (place, (name, span, share)) in text.shares(map).enumerate() {
                let range = span.and_then(|span| span.range.clone());
                let mut row = row(text, map, &share);
                row["span"] = json!(name);
                row["start"] = json!(range.as_ref().map(|range| range.start));
                row["end"] = json!(range.as_ref().map(|range| range.end));
                row["n_keys"] = json!(span.map_or(0, Span::len));
                if let Some(rows) = map.rows.get(place) {
                    row["by_query"] = json!(rows);
                }
                print_row(&row, &mut separator, terminal)?;
            }
            for (position, &key) in keys.iter().enumerate() {
                let mut row = row(text, map, &OfText::of_key(map, position));
                row["token"] = json!(tokens.tokens.get(key).map(|token| &token.text));
                row["start"] = json!(position);
                row["end"] = json!(position + 1);
                row["n_keys"] = json!(1);
                print_row(&row, &mut separator, terminal)?;
            }
        }
    }
    Ok(writeln!(terminal, "{}]", if separator == "[\n" { "[" } else { "\n" })?)
}

fn print_row(row: &Value, separator: &mut &str, terminal: &mut Terminal) -> Result<(), Failure> {
    write!(terminal, "{separator}{}", inert_json(&row.to_string()))?;
    *separator = ",\n";
    Ok(())
}

/// What a row says of a share, without what it is a share of.
fn row(text: &OfText<'_>, map: &Received, share: &Share) -> Value {
    let interval = share.interval();
    let mut row = json!({
        "text": text.item,
        "kind": map.kind,
        "layer": map.layer,
        "head": map.head.map_or(json!("mean"), |head| json!(head)),
        "measure": "received",
        "score": share.score(),
        "baseline": share.baseline(),
        "low": interval.map(|(low, _)| low),
        "high": interval.map(|(_, high)| high),
        "n_rows": map.n_rows,
        "score_where_seen": share.where_seen.mean(),
        "baseline_where_seen": share.where_seen.mean_baseline().filter(|_| share.has_baseline),
        "n_where_seen": share.where_seen.n,
    });
    if share.score().is_none() {
        row["absent"] = json!(absent(share, map.n_rows));
    }
    row
}

/// Why there is no score.
fn absent(share: &Share, n_rows: u64) -> String {
    match share.where_seen.n_not_finite {
        0 => "the text has no query".into(),
        n => format!("{n} of {n_rows} rows hold what is no finite number"),
    }
}
