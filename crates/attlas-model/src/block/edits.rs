//! The changes of a plan, made where the pass is: on outputs of heads, on weights, on hidden states.
//!
//! Weights are changed on a plain path beside the kernel, row by row in f64, and only in the heads and rows that a plan
//! names; the kernel has computed the others.

use attlas::Kind;
use attlas::SplitMix64;
use attlas::attention::{Inputs, reference};
use attlas::recording::{Edit, HeadOutput, Heads, NewWeights, Which};
use rayon::prelude::*;

use super::pass::{Array, Plan};

/// Which rows of each item a pass computes, of how many heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// New positions of each item.
    pub n: usize,
    /// Positions before them.
    pub past: usize,
    /// Heads side by side in a row.
    pub n_heads: usize,
    /// Width of one.
    pub width: usize,
}

impl Plan<'_> {
    /// Changes the outputs of heads, as the plan says of this layer. Shape `[n_items · n, n_heads · width]`.
    pub(super) fn edit_outputs(self, kind: Kind, layer: usize, rows: Rows, outputs: &mut [f32]) {
        for edit in &self.pass.edits {
            if let Edit::HeadOutput { heads, to } = edit
                && (heads.kind, heads.layer) == (kind, layer)
            {
                self.edit_output(heads, to, rows, outputs);
            }
        }
    }

    /// Lets nothing go back through outputs of heads that were given. Shape `[n_items · n, n_heads · width]`.
    pub(super) fn hold_outputs(self, kind: Kind, layer: usize, rows: Rows, gradient: &mut [f32]) {
        for edit in &self.pass.edits {
            if let Edit::HeadOutput { heads, .. } = edit
                && (heads.kind, heads.layer) == (kind, layer)
            {
                self.edit_output(heads, &HeadOutput::Zero, rows, gradient);
            }
        }
    }

    fn edit_output(self, heads: &Heads, to: &HeadOutput<Array>, rows: Rows, outputs: &mut [f32]) {
        let Rows { n, past, n_heads, width, .. } = rows;
        let n_chosen = heads.heads.count(n_heads);
        for (row, outputs) in outputs.chunks_exact_mut(n_heads * width).enumerate() {
            let (item, step) = (row / n, row % n);
            let Some(item) = heads.items.place(self.text(item)) else { continue };
            let Some(query) = heads.queries.place(past + step) else { continue };
            for (head, output) in outputs.chunks_exact_mut(width).enumerate() {
                let Some(head) = heads.heads.place(head) else { continue };
                match to {
                    HeadOutput::Zero => output.fill(0.0),
                    HeadOutput::Mean(mean) => output.copy_from_slice(&mean.values[head * width..][..width]),
                    HeadOutput::Given(given) => {
                        let n_queries = given.shape[2];
                        let start = ((item * n_chosen + head) * n_queries + query) * width;
                        output.copy_from_slice(&given.values[start..][..width]);
                    }
                }
            }
        }
    }

    /// Changes the hidden states that enter a layer. Shape `[n_items · n, d_model]`.
    pub(super) fn edit_stream(
        self,
        kind: Kind,
        entered: usize,
        n: usize,
        past: usize,
        stream: &mut [f32],
        d_model: usize,
    ) {
        self.each_given(kind, entered, n, past, stream, d_model, |hidden, given| hidden.copy_from_slice(given));
    }

    /// Lets nothing go back through hidden states that were given. Shape `[n_items · n, d_model]`.
    pub(super) fn hold_stream(self, kind: Kind, entered: usize, n: usize, gradient: &mut [f32], d_model: usize) {
        self.each_given(kind, entered, n, 0, gradient, d_model, |gradient, _| gradient.fill(0.0));
    }

    /// Calls `change` on each row of a stream that is given, with what it is given.
    #[allow(clippy::too_many_arguments)]
    fn each_given(
        self,
        kind: Kind,
        entered: usize,
        n: usize,
        past: usize,
        stream: &mut [f32],
        d_model: usize,
        change: impl Fn(&mut [f32], &[f32]),
    ) {
        for edit in &self.pass.edits {
            let Edit::Stream { stack, layer, positions, items, to } = edit else { continue };
            if (*stack, *layer) != (kind, entered) {
                continue;
            }
            for (row, hidden) in stream.chunks_exact_mut(d_model).enumerate() {
                let item = items.place(self.text(row / n));
                if let (Some(item), Some(position)) = (item, positions.place(past + row % n)) {
                    change(hidden, &to.values[(item * to.shape[1] + position) * d_model..][..d_model]);
                }
            }
        }
    }

    /// The changes of the weights of one layer; mostly none.
    pub(crate) fn weight_edits(&self, kind: Kind, layer: usize) -> WeightEdits<'_> {
        let of_layer =
            |edit: &&Edit<Array>| edit.reweighed().is_some_and(|heads| (heads.kind, heads.layer) == (kind, layer));
        let salt = [Kind::ALL.iter().position(|other| *other == kind).unwrap_or(0), layer];
        WeightEdits { edits: self.pass.edits.iter().filter(of_layer).collect(), salt }
    }
}

/// The changes of the weights of one layer, in order.
#[derive(Debug, Clone)]
pub(crate) struct WeightEdits<'a> {
    edits: Vec<&'a Edit<Array>>,
    /// Kind and layer, so that layers are permuted differently.
    salt: [usize; 2],
}

/// A row of a map: which text, head and query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The text, counted in the batch of the run.
    pub text: usize,
    /// The head.
    pub head: usize,
    /// The position of the query.
    pub query: usize,
}

/// Where the weights of a row come from that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    /// From its scores.
    Own,
    /// From nothing that the pass computed.
    Given,
    /// From its scores, each from another place. Shape `[n_keys]`.
    Dealt(Vec<usize>),
}

impl WeightEdits<'_> {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Whether a row is changed.
    pub fn touch(&self, row: Row) -> bool {
        self.edits.iter().filter_map(|edit| edit.reweighed()).any(|heads| row.is_in(heads))
    }

    /// Hides keys: their scores become −∞, unless the weights are no function of the scores any more.
    pub fn hide(&self, row: Row, scores: &mut [f64]) {
        for edit in &self.edits {
            match edit {
                Edit::Edges { heads, keys } if row.is_in(heads) => {
                    each(keys, scores, |score| *score = f64::NEG_INFINITY)
                }
                Edit::Weights { heads, .. } if row.is_in(heads) => return,
                _ => {}
            }
        }
    }

    /// Makes weights of a row's scores, −∞ where a key is not visible, and changes them. `sink` is the score of what
    /// takes weight to nowhere.
    pub fn weigh(&self, row: Row, sink: f64, scores: &mut [f64]) {
        self.hide(row, scores);
        let mut visible: Vec<usize> = (0..scores.len()).filter(|key| scores[*key] > f64::NEG_INFINITY).collect();
        let lse = reference::log_sum_exp(scores, sink);
        reference::weigh(scores, lse);
        let first = self.edits.iter().position(|edit| matches!(edit, Edit::Weights { heads, .. } if row.is_in(heads)));
        for edit in &self.edits[first.unwrap_or(self.edits.len())..] {
            match edit {
                Edit::Weights { heads, to } if row.is_in(heads) => self.replace(row, heads, to, &visible, scores),
                Edit::Edges { heads, keys } if row.is_in(heads) => {
                    visible.retain(|key| !keys.contains(*key));
                    let before: f64 = scores.iter().sum();
                    each(keys, scores, |weight| *weight = 0.0);
                    let left: f64 = scores.iter().sum();
                    if left > 0.0 {
                        scores.iter_mut().for_each(|weight| *weight *= before / left);
                    }
                }
                _ => {}
            }
        }
    }

    /// Hides keys in a row's scores as [`weigh`](WeightEdits::weigh) does first, and says where the weights that are used
    /// come from.
    pub fn origins(&self, row: Row, scores: &mut [f64]) -> Origins {
        self.hide(row, scores);
        let visible: Vec<usize> = (0..scores.len()).filter(|key| scores[*key] > f64::NEG_INFINITY).collect();
        let mut places: Vec<f64> = (0..scores.len()).map(|place| place as f64).collect(); // [n_keys]
        let mut origins = Origins::Own;
        for edit in &self.edits {
            match edit {
                Edit::Weights { to: NewWeights::Uniform | NewWeights::Given(_), heads } if row.is_in(heads) => {
                    return Origins::Given;
                }
                Edit::Weights { heads, to } if row.is_in(heads) => {
                    self.replace(row, heads, to, &visible, &mut places);
                    origins = Origins::Dealt(places.iter().map(|place| *place as usize).collect());
                }
                _ => {}
            }
        }
        origins
    }

    fn replace(&self, row: Row, heads: &Heads, to: &NewWeights<Array>, visible: &[usize], weights: &mut [f64]) {
        match to {
            NewWeights::Uniform => {
                weights.fill(0.0);
                visible.iter().for_each(|key| weights[*key] = 1.0 / visible.len() as f64);
            }
            NewWeights::Permuted { seed } => {
                // whatever the text's number: it is permuted alike in every batch
                let mut random = SplitMix64::at(*seed, &[self.salt[0], self.salt[1], row.head, row.query]);
                // Fisher–Yates among the visible keys
                for place in (1..visible.len()).rev() {
                    weights.swap(visible[place], visible[random.below(place + 1)]);
                }
            }
            NewWeights::Given(given) => {
                let [_, n_heads, n_queries, n_keys] = given.shape[..] else { return };
                let places = (heads.items.place(row.text), heads.heads.place(row.head), heads.queries.place(row.query));
                if let (Some(item), Some(head), Some(query)) = places {
                    let start = ((item * n_heads + head) * n_queries + query) * n_keys;
                    let given = &given.values[start..][..n_keys];
                    weights.fill(0.0); // keys that the row may not see, padding among them, stay so
                    visible.iter().for_each(|key| weights[*key] = f64::from(given[*key]));
                }
            }
        }
    }

    /// Computes the changed rows of one item once more; the others stay as the kernel left them.
    /// Shape of `context`: `[n_queries, n_heads, d_value]`.
    pub fn attend(&self, inputs: &Inputs<'_>, text: usize, past: usize, context: &mut [f32]) {
        let shape = inputs.shape;
        context.par_chunks_exact_mut(shape.d_value).enumerate().for_each(|(place, context)| {
            let (step, head) = (place / shape.n_heads, place % shape.n_heads);
            let row = Row { text, head, query: past + step };
            if !self.touch(row) {
                return;
            }
            let mut weights = vec![0.0; shape.n_keys]; // [n_keys]
            self.row(inputs, row, step, &mut weights);
            let start = shape.kv_head(head) * shape.n_keys * shape.d_value;
            let values = &inputs.values[start..][..shape.n_keys * shape.d_value];
            for (column, slot) in context.iter_mut().enumerate() {
                let value = |key: usize| f64::from(values[key * shape.d_value + column]);
                *slot = weights.iter().enumerate().map(|(key, weight)| weight * value(key)).sum::<f64>() as f32;
            }
        });
    }

    /// The weights of one row.
    fn row(&self, inputs: &Inputs<'_>, row: Row, step: usize, weights: &mut [f64]) {
        reference::row_scores(inputs, row.head, step, weights);
        let sinks = inputs.scoring.sinks.as_ref();
        self.weigh(row, sinks.map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[row.head])), weights);
    }

    /// All weights of one item, as they were used. Shape `[n_heads, n_queries, n_keys]`.
    pub fn weights(&self, inputs: &Inputs<'_>, text: usize) -> Vec<f32> {
        rows(inputs, text, |row, step, numbers| self.row(inputs, row, step, numbers))
    }

    /// All scores of one item, −∞ where a key is not visible or was hidden. Shape `[n_heads, n_queries, n_keys]`.
    pub fn scores(&self, inputs: &Inputs<'_>, text: usize) -> Vec<f32> {
        rows(inputs, text, |row, step, numbers| {
            reference::row_scores(inputs, row.head, step, numbers);
            self.hide(row, numbers);
        })
    }
}

/// Numbers for every row of an item's maps. Shape `[n_heads, n_queries, n_keys]`.
fn rows(inputs: &Inputs<'_>, text: usize, fill: impl Fn(Row, usize, &mut [f64]) + Sync) -> Vec<f32> {
    let shape = inputs.shape;
    let mut all = vec![0.0; shape.n_heads * shape.n_queries * shape.n_keys]; // [n_heads, n_queries, n_keys]
    all.par_chunks_exact_mut(shape.n_keys).enumerate().for_each(|(place, slots)| {
        let (head, query) = (place / shape.n_queries, place % shape.n_queries);
        let mut numbers = vec![0.0; shape.n_keys]; // [n_keys]
        fill(Row { text, head, query }, query, &mut numbers);
        slots.iter_mut().zip(numbers).for_each(|(slot, number)| *slot = number as f32);
    });
    all
}

impl Row {
    fn is_in(self, heads: &Heads) -> bool {
        heads.items.contains(self.text) && heads.heads.contains(self.head) && heads.queries.contains(self.query)
    }
}

/// Calls `change` on each number whose place `which` contains.
fn each(which: &Which, numbers: &mut [f64], mut change: impl FnMut(&mut f64)) {
    numbers.iter_mut().enumerate().filter(|(place, _)| which.contains(*place)).for_each(|(_, number)| change(number));
}
