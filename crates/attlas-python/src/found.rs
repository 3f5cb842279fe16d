//! What was found by running a model, as Python holds it: rows, what is to be said of them, and a picture.

use std::sync::Arc;

use attlas::view::pictures::Looks;
use attlas_model::explain::agreement::Agreement;
use attlas_model::explain::by_key::ByKey;
use attlas_model::explain::edges::Edges;
use attlas_model::explain::effects::Effects;
use attlas_model::explain::pictures::{
    by_key_picture, edges_picture, effects_picture, explained_picture, states_picture,
};
use attlas_model::explain::side_by_side::Explained;
use attlas_model::explain::states::States;
use attlas_survey::table::{
    Cells, Table, agreement_table, by_key_table, edges_table, effects_table, explained_table, states_table,
};
use pyo3::prelude::*;
use serde_json::json;

use crate::analysis::{Column, Columns};
use crate::errors::Raise;
use crate::figure::{Figure, StyleKeys};
use crate::threads::compute;

/// What was found, with its rows, what is to be said of it, and its picture.
#[pyclass(frozen, module = "attlas._attlas")]
pub struct Found {
    inner: Arc<Finding>,
}

/// The kinds of what is found.
pub enum Finding {
    Explained(Explained),
    Effects(Effects),
    Edges(Edges),
    States(States),
    ByKey(ByKey),
}

#[pymethods]
impl Found {
    /// The rows, as columns.
    fn rows(&self) -> Columns {
        columns(match &*self.inner {
            Finding::Explained(found) => explained_table(found),
            Finding::Effects(found) => effects_table(found),
            Finding::Edges(found) => edges_table(found),
            Finding::States(found) => states_table(found),
            Finding::ByKey(found) => by_key_table(found),
        })
    }

    /// What is to be said of all rows, as JSON.
    fn about(&self) -> String {
        match &*self.inner {
            Finding::Explained(found) => {
                let left_out = found.left_out.iter().map(|(method, why)| json!({"method": method.name(), "why": why}));
                json!({
                    "subject": found.subject, "value": found.value, "sums": found.sums(),
                    "left_out": left_out.collect::<Vec<_>>(),
                    "methods": found.attributions.iter().map(|one| one.method.name()).collect::<Vec<_>>(),
                })
            }
            Finding::Effects(found) => json!({
                "metric": found.metric, "unit": found.unit, "measures": found.measures, "does": found.does,
                "before": found.before, "n_texts": found.n_texts, "n_tokens": found.n_tokens,
                "notes": found.notes.iter().map(String::as_str).chain([found.way.limits()]).collect::<Vec<_>>(),
            }),
            Finding::Edges(found) => json!({
                "metric": found.metric, "unit": found.unit, "measures": found.measures,
                "does": format!("the pair is hidden from {}; the rest of its row shares the weight", found.head),
                "before": found.before, "n_texts": 1, "n_tokens": found.queries.len(), "notes": [],
            }),
            Finding::States(found) => json!({
                "metric": found.metric, "unit": found.unit, "measures": found.measures,
                "does": "the hidden states at one place become those of the run on the other text",
                "before": found.before, "n_texts": 1, "n_tokens": found.source.len() + found.target.len(), "notes": found.notes(),
            }),
            Finding::ByKey(found) => json!({
                "metric": found.metric, "unit": found.unit, "measures": found.measures,
                "does": "what a head writes for it is shared out among the tokens that it moves it from",
                "before": found.before, "n_texts": 1, "n_tokens": found.n_tokens, "notes": found.notes(),
            }),
        }
        .to_string()
    }

    /// How far each two methods of an explanation rank the tokens alike.
    fn agreement(&self) -> Columns {
        match &*self.inner {
            Finding::Explained(found) => {
                Agreement::of(found).map_or_else(Vec::new, |found| columns(agreement_table(&found)))
            }
            _ => Vec::new(),
        }
    }

    /// The picture.
    fn figure(&self, py: Python<'_>, style: StyleKeys) -> PyResult<Figure> {
        let looks: Looks = style.read()?;
        let found = Arc::clone(&self.inner);
        let figure = compute(py, move || match &*found {
            Finding::Explained(found) => explained_picture(found, &looks),
            Finding::Effects(found) => effects_picture(found, &looks),
            Finding::Edges(found) => edges_picture(found, &looks),
            Finding::States(found) => states_picture(found, &looks),
            Finding::ByKey(found) => by_key_picture(found, &looks),
        })?;
        Ok(Figure::of(figure.or_raise()?))
    }
}

impl Found {
    /// For Python.
    pub fn new(finding: Finding) -> Found {
        Found { inner: Arc::new(finding) }
    }
}

/// A table as columns: whole numbers of which one is missing, and flags, are numbers with NaN.
pub fn columns(table: Table) -> Columns {
    let column = |cells: Cells| match cells {
        Cells::Text(cells) => ('w', Column::Words(cells)),
        Cells::Number(cells) => {
            ('f', Column::Numbers(cells.into_iter().map(|cell| cell.unwrap_or(f64::NAN)).collect()))
        }
        Cells::Whole(cells) if cells.iter().all(Option::is_some) => {
            let whole = cells.into_iter().flatten().map(|cell| u64::try_from(cell).unwrap_or_default());
            ('i', Column::Counts(whole.collect()))
        }
        Cells::Whole(cells) => {
            ('f', Column::Numbers(cells.into_iter().map(|cell| cell.map_or(f64::NAN, |cell| cell as f64)).collect()))
        }
        Cells::Flag(cells) => {
            let number = |cell: Option<bool>| cell.map_or(f64::NAN, |cell| f64::from(u8::from(cell)));
            ('f', Column::Numbers(cells.into_iter().map(number).collect()))
        }
        Cells::Json(cells) => ('w', Column::Words(cells.into_iter().map(|cell| Some(cell?.to_string())).collect())),
        Cells::Bytes(cells) => ('w', Column::Words(cells.into_iter().map(|_| None).collect())),
    };
    let named = |(name, cells)| {
        let (letter, column) = column(cells);
        (name, letter, column)
    };
    table.columns.into_iter().map(named).collect()
}
