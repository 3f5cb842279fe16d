//! What a figure draws: one matrix of numbers with its two axes.

use std::ops::Range;

use crate::{Error, Quantity};

/// One axis of a map: what it shows, and the labels along it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    name: String,
    n: usize,
    labels: Vec<String>,
    /// What the places number, where they have no labels.
    numbers: Range<usize>,
}

impl Axis {
    /// An axis with a label at each place, such as `Axis::labelled("query (target token)", tokens.labels())`.
    pub fn labelled<S: Into<String>>(name: impl Into<String>, labels: impl IntoIterator<Item = S>) -> Axis {
        let labels: Vec<String> = labels.into_iter().map(Into::into).collect();
        Axis { name: name.into(), n: labels.len(), numbers: 0..labels.len(), labels }
    }

    /// An axis of `n` places known by their number only, counted from 0.
    pub fn counted(name: impl Into<String>, n: usize) -> Axis {
        Axis::tiles(name, n, 0..n)
    }

    /// An axis of `n` places that share the things numbered `numbers` evenly: each is known by the number of its first.
    pub fn tiles(name: impl Into<String>, n: usize, numbers: Range<usize>) -> Axis {
        Axis { name: name.into(), n, labels: Vec::new(), numbers }
    }

    /// What the axis shows: "query", "key (source token)".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many places the axis has.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether the axis has no place.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Whether the places have texts, and not only numbers.
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// The label at `place`: its text, or its number, or that of the first thing in it.
    pub fn label(&self, place: usize) -> String {
        let number = || self.numbers.start + (place * self.numbers.len()).div_ceil(self.n.max(1));
        self.labels.get(place).cloned().unwrap_or_else(|| number().to_string())
    }
}

/// One map to draw: numbers and what they are, axes, and a title such as `L3H7`.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    title: String,
    quantity: Quantity,
    weights: Vec<f32>,
    rows: Axis,
    columns: Axis,
}

impl Panel {
    /// A map of attention weights, shape `[rows.len(), columns.len()]`, row by row.
    ///
    /// Numbers that are not finite are allowed: figures mark and count them.
    ///
    /// # Errors
    /// When an axis has no place, or the number of weights is not rows × columns.
    pub fn new(title: impl Into<String>, weights: Vec<f32>, rows: Axis, columns: Axis) -> Result<Panel, Error> {
        let title = title.into();
        let (n_rows, n_columns) = (rows.len(), columns.len());
        if rows.is_empty() || columns.is_empty() {
            return Err(Error::Figure(format!(
                "the map \"{title}\" is {n_rows} × {n_columns}: there is nothing to draw"
            )));
        }
        if n_rows.checked_mul(n_columns) != Some(weights.len()) {
            let n_weights = weights.len();
            return Err(Error::Figure(format!(
                "the map \"{title}\" has {n_rows} rows and {n_columns} columns, but {n_weights} weights were given"
            )));
        }
        Ok(Panel { title, quantity: Quantity::Weight, weights, rows, columns })
    }

    /// The same map, of numbers that are no attention weights.
    pub fn measuring(self, quantity: Quantity) -> Panel {
        Panel { quantity, ..self }
    }

    /// What the map is, such as `L3H7`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What the numbers are.
    pub fn quantity(&self) -> Quantity {
        self.quantity
    }

    /// The numbers. Shape `[n_rows, n_columns]`.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The axis from top to bottom.
    pub fn rows(&self) -> &Axis {
        &self.rows
    }

    /// The axis from left to right.
    pub fn columns(&self) -> &Axis {
        &self.columns
    }

    /// Rows of the map.
    pub fn n_rows(&self) -> usize {
        self.rows.len()
    }

    /// Columns of the map.
    pub fn n_columns(&self) -> usize {
        self.columns.len()
    }
}
