//! What a figure draws: one matrix of numbers with its two axes.

use std::ops::Range;

use crate::{Error, Quantity};

/// One axis of a map: what it shows, and the labels along it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    name: String,
    n: usize,
    /// The texts of the things numbered `numbers`, or none.
    labels: Vec<String>,
    /// What the places share evenly: one each, or several where places are tiles.
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

    /// [`Axis::tiles`] of things with a text each: each place is known by the text of its first.
    pub(crate) fn labelled_tiles(name: String, n: usize, first: usize, labels: Vec<String>) -> Axis {
        Axis { name, n, numbers: first..first + labels.len(), labels }
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
        self.label_of(self.start(place))
    }

    /// The text of the thing so many after the first, or its number.
    pub(crate) fn label_of(&self, thing: usize) -> String {
        self.labels.get(thing).cloned().unwrap_or_else(|| (self.numbers.start + thing).to_string())
    }

    /// The numbers of the things along the axis: as many as places, or more where places are tiles.
    pub(crate) fn numbers(&self) -> Range<usize> {
        self.numbers.clone()
    }

    /// How many things stand behind `pool` places at most.
    pub(crate) fn most_in(&self, pool: usize) -> usize {
        let things = |place: usize| self.start((place + pool).min(self.n)) - self.start(place);
        (0..self.n).step_by(pool.max(1)).map(things).max().unwrap_or(0)
    }

    /// The first thing of a place, counted from the first of all.
    fn start(&self, place: usize) -> usize {
        (place * self.numbers.len()).div_ceil(self.n.max(1))
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
