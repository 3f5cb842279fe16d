//! Scores of heads as rows of a table, the same for every command that writes them.

use attlas::analysis::ScoreRow;

use super::{Cells, Table};

/// The table of scores: a row of it for each.
pub fn scores_table(rows: &[ScoreRow]) -> Table {
    let number = |of: fn(&ScoreRow) -> Option<f64>| Cells::Number(rows.iter().map(of).collect());
    let whole = |of: fn(&ScoreRow) -> u64| Cells::Whole(rows.iter().map(|row| i64::try_from(of(row)).ok()).collect());
    let text = |of: fn(&ScoreRow) -> Option<String>| Cells::Text(rows.iter().map(of).collect());
    let columns = vec![
        ("kind", text(|row| Some(row.kind.name().to_owned()))),
        ("layer", whole(|row| row.layer as u64)),
        ("head", whole(|row| row.head as u64)),
        ("measure", text(|row| Some(row.measure.clone()))),
        ("variant", text(|row| row.variant.clone())),
        ("score", number(|row| row.score)),
        ("baseline", number(|row| row.baseline)),
        ("low", number(|row| row.low)),
        ("high", number(|row| row.high)),
        ("n_rows", whole(|row| row.n_rows)),
        ("threshold", number(|row| row.threshold)),
        ("named", Cells::Flag(rows.iter().map(|row| Some(row.named)).collect())),
        ("absent", text(|row| row.absent.clone())),
    ];
    Table { columns, notes: Vec::new() }
}

#[cfg(test)]
mod tests {
    use attlas::Kind;

    use super::*;

    #[test]
    fn a_score_that_is_not_there_is_null_with_its_reason() {
        let row = ScoreRow {
            kind: Kind::Encoder,
            layer: 1,
            head: 2,
            measure: "separator".into(),
            variant: None,
            score: None,
            baseline: None,
            low: None,
            high: None,
            n_rows: 0,
            threshold: Some(0.6),
            named: false,
            absent: Some("no text has a separator".into()),
        };
        let json = scores_table(&[row]).json();
        let expected = serde_json::json!([{
            "kind": "encoder", "layer": 1, "head": 2, "measure": "separator", "variant": null, "score": null, "baseline": null, "low": null,
            "high": null, "n_rows": 0, "threshold": 0.6, "named": false, "absent": "no text has a separator",
        }]);
        assert_eq!(json, expected);
    }
}
