//! Multi-head attention over packed sentences, with its gradients: the differentiable path of `attlas`' one formula.
//!
//! Sentences lie one after the other without padding; each attends within itself. Sentences here are short (tens of
//! tokens), so the weights of a sentence fit the first-level cache and plain loops over `d_head` are fast enough: they
//! are about 3 % of a training step.

use super::dropout::Dropout;
use super::exp::exp_of_non_positive;

/// Which keys a query may look at, besides that they are of its own sentence pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// All of them.
    Full,
    /// Those up to its own position.
    Causal,
}

/// Rows of queries, keys or values inside a wider matrix: row `i` begins at `i · stride + offset`.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Width of the wider matrix.
    pub stride: usize,
    /// First column.
    pub offset: usize,
}

impl Columns {
    /// The range of head `head` in row `row`.
    fn head(self, row: usize, head: usize, d_head: usize) -> std::ops::Range<usize> {
        let first = row * self.stride + self.offset + head * d_head;
        first..first + d_head
    }
}

/// The sentences of a batch and how their heads lie in memory.
#[derive(Debug, Clone, Copy)]
pub struct Layout<'a> {
    /// Ends of the query sentences, beginning with 0. Shape `[n_sentences + 1]`.
    pub query_offsets: &'a [usize],
    /// Ends of the key sentences, beginning with 0. Shape `[n_sentences + 1]`.
    pub key_offsets: &'a [usize],
    /// Heads.
    pub n_heads: usize,
    /// Width of one head.
    pub d_head: usize,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Where queries lie.
    pub queries: Columns,
    /// Where keys lie.
    pub keys: Columns,
    /// Where values lie.
    pub values: Columns,
}

impl Layout<'_> {
    /// How many weights all maps have together: `Σ n_heads · n_queries · n_keys` over sentences.
    pub fn n_weights(&self) -> usize {
        self.query_offsets
            .windows(2)
            .zip(self.key_offsets.windows(2))
            .map(|(queries, keys)| self.n_heads * (queries[1] - queries[0]) * (keys[1] - keys[0]))
            .sum()
    }

    /// Calls `visit(head, query row, key rows, number of visible keys, first weight)` for each row of each map.
    fn for_each_row(&self, mut visit: impl FnMut(usize, usize, std::ops::Range<usize>, usize, usize)) {
        let mut first_weight = 0;
        for (queries, keys) in self.query_offsets.windows(2).zip(self.key_offsets.windows(2)) {
            let n_keys = keys[1] - keys[0];
            for head in 0..self.n_heads {
                for query in queries[0]..queries[1] {
                    let n_visible = match self.mask {
                        Mask::Full => n_keys,
                        Mask::Causal => (query - queries[0] + 1).min(n_keys),
                    };
                    visit(head, query, keys[0]..keys[0] + n_visible, n_keys, first_weight);
                    first_weight += n_keys;
                }
            }
        }
    }
}

/// Softmax weights of every map and the context vectors.
///
/// Returns the weights before dropout (`[n_weights]`, masked ones 0; sentence, head, query, key) and the context
/// `[n_queries, n_heads · d_head]`.
pub fn forward(queries: &[f32], keys: &[f32], layout: &Layout<'_>, dropout: Dropout) -> (Vec<f32>, Vec<f32>) {
    let d_head = layout.d_head;
    let d_model = layout.n_heads * d_head;
    let n_queries = layout.query_offsets.last().copied().unwrap_or(0);
    let scale = 1.0 / (d_head as f32).sqrt();
    let mut weights = vec![0.0; layout.n_weights()]; // [n_weights]
    let mut context = vec![0.0; n_queries * d_model]; // [n_queries, d_model]
    let mut dropped = Vec::new(); // [n_visible]
    layout.for_each_row(|head, query, key_rows, _, first| {
        let row = &mut weights[first..first + key_rows.len()];
        // 1. scores
        let q = &queries[layout.queries.head(query, head, d_head)];
        for (score, key) in row.iter_mut().zip(key_rows.clone()) {
            *score = scale * dot(q, &keys[layout.keys.head(key, head, d_head)]);
        }
        // 2. softmax
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut sum = 0.0;
        for score in row.iter_mut() {
            *score = exp_of_non_positive(*score - max);
            sum += *score;
        }
        for score in row.iter_mut() {
            *score /= sum;
        }
        // 3. the weighted sum of the values
        dropped.clear();
        dropped.extend_from_slice(row);
        dropout.apply_from(first, &mut dropped);
        let slot = &mut context[query * d_model + head * d_head..][..d_head];
        for (weight, key) in dropped.iter().zip(key_rows) {
            add_scaled(slot, *weight, &keys[layout.values.head(key, head, d_head)]);
        }
    });
    (weights, context)
}

/// Adds the gradients of queries, keys and values, given that of the context; memory as in [`forward`].
///
/// `query_gradient` is laid out as `queries`, `key_gradient` as `keys` (keys and values lie in one matrix).
pub fn backward(
    (queries, keys): (&[f32], &[f32]),
    weights: &[f32],
    context_gradient: &[f32],
    layout: &Layout<'_>,
    dropout: Dropout,
    gradients: &mut Gradients<'_>,
) {
    let d_head = layout.d_head;
    let d_model = layout.n_heads * d_head;
    let scale = 1.0 / (d_head as f32).sqrt();
    let mut dropped = Vec::new(); // [n_visible]
    let mut weight_gradient = Vec::new(); // [n_visible]
    layout.for_each_row(|head, query, key_rows, _, first| {
        let row = &weights[first..first + key_rows.len()];
        let dc = &context_gradient[query * d_model + head * d_head..][..d_head];
        // 1. values, and the weights after dropout
        dropped.clear();
        dropped.extend_from_slice(row);
        dropout.apply_from(first, &mut dropped);
        weight_gradient.clear();
        for (weight, key) in dropped.iter().zip(key_rows.clone()) {
            let value = layout.values.head(key, head, d_head);
            weight_gradient.push(dot(dc, &keys[value.clone()]));
            add_scaled(&mut gradients.of_keys()[value], *weight, dc);
        }
        // 2. softmax: ds = w (dw − Σ w dw)
        dropout.apply_from(first, &mut weight_gradient);
        let along: f32 = row.iter().zip(&weight_gradient).map(|(w, dw)| w * dw).sum();
        // 3. queries and keys
        let query_range = layout.queries.head(query, head, d_head);
        for ((weight, dw), key) in row.iter().zip(&weight_gradient).zip(key_rows) {
            let ds = scale * weight * (dw - along);
            let key_range = layout.keys.head(key, head, d_head);
            add_scaled(&mut gradients.of_queries()[query_range.clone()], ds, &keys[key_range.clone()]);
            add_scaled(&mut gradients.of_keys()[key_range], ds, &queries[query_range.clone()]);
        }
    });
}

/// Where [`backward`] adds its gradients.
#[derive(Debug)]
pub enum Gradients<'a> {
    /// Self-attention: queries, keys and values are columns of one matrix.
    Together(&'a mut [f32]),
    /// Cross-attention: queries in one matrix, keys and values in another.
    Apart(&'a mut [f32], &'a mut [f32]),
}

impl Gradients<'_> {
    fn of_queries(&mut self) -> &mut [f32] {
        match self {
            Gradients::Together(all) => all,
            Gradients::Apart(queries, _) => queries,
        }
    }

    fn of_keys(&mut self) -> &mut [f32] {
        match self {
            Gradients::Together(all) => all,
            Gradients::Apart(_, keys) => keys,
        }
    }
}

/// `a · b`, summed in eight lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    let (a_chunks, a_rest) = a.as_chunks::<8>();
    let (b_chunks, b_rest) = b.as_chunks::<8>();
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// `sum += factor · values`.
fn add_scaled(sum: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

#[cfg(test)]
mod tests {
    use attlas::attention::{Inputs, Outputs, Shape, reference};
    use attlas::{Scoring, Visibility};

    use super::*;

    const N_HEADS: usize = 2;
    const D_HEAD: usize = 11; // no multiple of eight lanes

    /// Numbers in −2 ..= 2 that look random.
    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + seed * 104_729) % 4001) as f32 / 1000.0 - 2.0).collect()
    }

    /// The rows of one head of some tokens. Shape `[rows.len(), D_HEAD]`.
    fn head_of(matrix: &[f32], columns: Columns, rows: std::ops::Range<usize>, head: usize) -> Vec<f32> {
        rows.flat_map(|row| matrix[columns.head(row, head, D_HEAD)].to_vec()).collect()
    }

    #[test]
    fn weights_and_context_are_those_of_the_formula() {
        let d_model = N_HEADS * D_HEAD;
        let (query_offsets, key_offsets) = ([0, 3, 3 + 17], [0, 5, 5 + 17]);
        let queries = numbers(20 * d_model, 1); // [20, d_model]
        let keys = numbers(22 * 2 * d_model, 2); // [22, 2 · d_model]: keys beside values
        for mask in [Mask::Full, Mask::Causal] {
            let layout = Layout {
                query_offsets: &query_offsets,
                key_offsets: &key_offsets,
                n_heads: N_HEADS,
                d_head: D_HEAD,
                mask,
                queries: Columns { stride: d_model, offset: 0 },
                keys: Columns { stride: 2 * d_model, offset: 0 },
                values: Columns { stride: 2 * d_model, offset: d_model },
            };
            let (weights, context) = forward(&queries, &keys, &layout, Dropout::OFF);
            let mut first_weight = 0;
            for sentence in 0..2 {
                let rows = query_offsets[sentence]..query_offsets[sentence + 1];
                let columns = key_offsets[sentence]..key_offsets[sentence + 1];
                for head in 0..N_HEADS {
                    let map = first_weight..first_weight + rows.len() * columns.len();
                    first_weight = map.end;
                    let parts = [
                        head_of(&queries, layout.queries, rows.clone(), head),
                        head_of(&keys, layout.keys, columns.clone(), head),
                        head_of(&keys, layout.values, columns.clone(), head),
                    ];
                    let (wanted, wanted_context) = by_the_formula(&parts, rows.len(), columns.len(), mask);
                    close(&weights[map], &wanted);
                    let found =
                        rows.clone().flat_map(|row| context[row * d_model + head * D_HEAD..][..D_HEAD].to_vec());
                    close(&found.collect::<Vec<_>>(), &wanted_context);
                }
            }
        }
    }

    /// Weights `[n_queries, n_keys]` and context `[n_queries, D_HEAD]` of one head of one sentence.
    fn by_the_formula(
        [queries, keys, values]: &[Vec<f32>; 3],
        n_queries: usize,
        n_keys: usize,
        mask: Mask,
    ) -> (Vec<f32>, Vec<f32>) {
        let visibility = if mask == Mask::Causal { Visibility::CAUSAL } else { Visibility::FULL };
        let scoring = Scoring::scaled_dot_product(D_HEAD, visibility);
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries, n_keys, d_head: D_HEAD, d_value: D_HEAD };
        let inputs =
            Inputs { queries, keys, values, shape, scoring: &scoring, key_valid: None, mask: None, key_bias: None };
        let (mut context, mut lse) = (vec![0.0; n_queries * D_HEAD], vec![0.0; n_queries]);
        reference::attend(&inputs, &mut Outputs { context: &mut context, lse: &mut lse, pooled: None });
        let mut weights = Vec::new();
        for query in 0..n_queries {
            let mut row = vec![0.0; n_keys];
            let lse = reference::row_scores(&inputs, 0, query, &mut row);
            reference::weigh(&mut row, lse);
            weights.extend(row.into_iter().map(|weight| weight as f32));
        }
        (weights, context)
    }

    fn close(found: &[f32], wanted: &[f32]) {
        assert_eq!(found.len(), wanted.len());
        for (index, (found, wanted)) in found.iter().zip(wanted).enumerate() {
            assert!((found - wanted).abs() <= 2e-6, "{index}: {found}, but the formula gives {wanted}");
        }
    }
}
