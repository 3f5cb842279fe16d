//! The attention sublayers: `LayerNorm(x + dropout(W_O · attention(x, memory) + b_O))`.

use super::group::{split, split_mut};
use super::tape::{Activation, Parameters, Tape, add};
use crate::kernels::attention::{self, Columns, Layout, Mask};
use crate::kernels::dropout::Dropout;
use crate::kernels::{linear, norm};

/// Self-attention over packed sentences. Shape `[n, d_model]`.
pub fn self_attention<'a>(
    tape: &mut Tape<'a>,
    x: &Activation,
    parameters: Parameters<'a>,
    sublayer: Sublayer<'a>,
) -> Activation {
    let (output, saved) = sublayer.self_forward(&x.values, parameters.values);
    let x = x.clone();
    tape.push(output, move |dy, gradients| {
        let all = &mut gradients.parameters[parameters.variable];
        let dx = sublayer.self_backward(&x.values, parameters.values, dy, &saved, all);
        gradients.add(&x, dx);
    })
}

/// Cross-attention: `y` asks, `memory` answers. Shape `[n_queries, d_model]`.
pub fn cross_attention<'a>(
    tape: &mut Tape<'a>,
    (y, memory): (&Activation, &Activation),
    parameters: Parameters<'a>,
    sublayer: Sublayer<'a>,
) -> Activation {
    let (output, saved) = sublayer.cross_forward((&y.values, &memory.values), parameters.values);
    let (y, memory) = (y.clone(), memory.clone());
    tape.push(output, move |dy, gradients| {
        let all = &mut gradients.parameters[parameters.variable];
        let inputs = (y.values.as_slice(), memory.values.as_slice());
        let (d_y, d_memory) = sublayer.cross_backward(inputs, parameters.values, dy, &saved, all);
        gradients.add(&y, d_y);
        gradients.add(&memory, d_memory);
    })
}

/// What a sublayer needs to know besides its inputs and parameters.
#[derive(Debug, Clone, Copy)]
pub struct Sublayer<'a> {
    /// Where each sentence's queries begin, and where the last ends.
    pub query_offsets: &'a [usize],
    /// The same of the keys.
    pub key_offsets: &'a [usize],
    /// Attention heads; divides `d_model`.
    pub n_heads: usize,
    /// Width of the input and of the output.
    pub d_model: usize,
    /// Which keys a query sees.
    pub mask: Mask,
    /// Which values are set to 0.
    pub dropout: Dropout,
}

/// What the way back needs.
struct Saved {
    /// Self-attention: queries, keys, values, `[n, 3 · d_model]`; cross-attention: queries, `[n_queries, d_model]`.
    queries: Vec<f32>,
    /// Cross-attention: keys and values, `[n_keys, 2 · d_model]`; else empty.
    keys: Vec<f32>,
    /// Every map's weights before dropout, one after the other.
    weights: Vec<f32>,
    /// Shape `[n_queries, d_model]`.
    context: Vec<f32>,
    norm: norm::Saved,
}

impl Sublayer<'_> {
    /// The lengths of the six parameters: in-projection, out-projection, norm, each weight then bias.
    fn sizes(&self) -> [usize; 6] {
        let d = self.d_model;
        [3 * d * d, 3 * d, d * d, d, d, d]
    }

    /// Where heads lie: in one matrix of three blocks, or in one of queries and one of keys and values.
    fn layout(&self, together: bool) -> Layout<'_> {
        let d = self.d_model;
        let columns = |stride, block| Columns { stride: stride * d, offset: block * d };
        let (queries, keys, values) = if together {
            (columns(3, 0), columns(3, 1), columns(3, 2))
        } else {
            (columns(1, 0), columns(2, 0), columns(2, 1))
        };
        Layout {
            query_offsets: self.query_offsets,
            key_offsets: self.key_offsets,
            n_heads: self.n_heads,
            d_head: d / self.n_heads,
            mask: self.mask,
            queries,
            keys,
            values,
        }
    }

    /// From projected queries and keys to the sublayer's output.
    fn finish(&self, x: &[f32], queries: Vec<f32>, keys: Vec<f32>, parameters: &[f32]) -> (Vec<f32>, Saved) {
        let [_, _, out_weight, out_bias, norm_weight, norm_bias] = split(parameters, self.sizes());
        let layout = self.layout(keys.is_empty());
        let read_keys = if keys.is_empty() { &queries } else { &keys };
        let (weights, context) = attention::forward(&queries, read_keys, &layout, self.dropout.at(0));
        let mut output = linear::forward(&context, out_weight, out_bias); // [n_queries, d_model]
        self.dropout.at(1).apply(&mut output);
        let (output, norm) = norm::forward(x, output, norm_weight, norm_bias);
        (output, Saved { queries, keys, weights, context, norm })
    }

    /// Back to the projected queries and keys: adds to `all`, the parameters' gradients, and returns the residual's
    /// gradient and the context's.
    fn start(&self, dy: &[f32], saved: &Saved, parameters: &[f32], all: &mut [f32]) -> (Vec<f32>, Vec<f32>) {
        let [_, _, out_weight, _, norm_weight, _] = split(parameters, self.sizes());
        let [_, _, d_out_weight, d_out_bias, d_norm_weight, d_norm_bias] = split_mut(all, self.sizes());
        let residual = norm::backward(dy, &saved.norm, norm_weight, d_norm_weight, d_norm_bias);
        let mut d_output = residual.clone(); // [n_queries, d_model]
        self.dropout.at(1).apply(&mut d_output);
        linear::add_parameter_gradients(&d_output, &saved.context, d_out_weight, d_out_bias);
        let d_context = linear::input_gradient(&d_output, out_weight, self.d_model); // [n_queries, d_model]
        (residual, d_context)
    }

    fn self_forward(&self, x: &[f32], parameters: &[f32]) -> (Vec<f32>, Saved) {
        let [in_weight, in_bias, ..] = split(parameters, self.sizes());
        let projected = linear::forward(x, in_weight, in_bias); // [n, 3 · d_model]
        self.finish(x, projected, Vec::new(), parameters)
    }

    /// The gradient of `x`; adds those of the parameters to `all`.
    fn self_backward(&self, x: &[f32], parameters: &[f32], dy: &[f32], saved: &Saved, all: &mut [f32]) -> Vec<f32> {
        let (mut dx, d_context) = self.start(dy, saved, parameters, all);
        let mut d_projected = vec![0.0; saved.queries.len()]; // [n, 3 · d_model]
        attention::backward(
            (&saved.queries, &saved.queries),
            &saved.weights,
            &d_context,
            &self.layout(true),
            self.dropout.at(0),
            &mut attention::Gradients::Together(&mut d_projected),
        );
        let [in_weight, ..] = split(parameters, self.sizes());
        let [d_in_weight, d_in_bias, ..] = split_mut(all, self.sizes());
        linear::add_parameter_gradients(&d_projected, x, d_in_weight, d_in_bias);
        add(&mut dx, &linear::input_gradient(&d_projected, in_weight, 3 * self.d_model));
        dx
    }

    fn cross_forward(&self, (y, memory): (&[f32], &[f32]), parameters: &[f32]) -> (Vec<f32>, Saved) {
        let d_model = self.d_model;
        let [in_weight, in_bias, ..] = split(parameters, self.sizes());
        let (query_weight, key_weight) = in_weight.split_at(d_model * d_model);
        let (query_bias, key_bias) = in_bias.split_at(d_model);
        let queries = linear::forward(y, query_weight, query_bias); // [n_queries, d_model]
        let keys = linear::forward(memory, key_weight, key_bias); // [n_keys, 2 · d_model]
        self.finish(y, queries, keys, parameters)
    }

    /// The gradients of `y` and `memory`; adds those of the parameters to `all`.
    fn cross_backward(
        &self,
        (y, memory): (&[f32], &[f32]),
        parameters: &[f32],
        dy: &[f32],
        saved: &Saved,
        all: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let d_model = self.d_model;
        let (mut d_y, d_context) = self.start(dy, saved, parameters, all);
        let mut d_queries = vec![0.0; saved.queries.len()]; // [n_queries, d_model]
        let mut d_keys = vec![0.0; saved.keys.len()]; // [n_keys, 2 · d_model]
        attention::backward(
            (&saved.queries, &saved.keys),
            &saved.weights,
            &d_context,
            &self.layout(false),
            self.dropout.at(0),
            &mut attention::Gradients::Apart(&mut d_queries, &mut d_keys),
        );
        let [in_weight, ..] = split(parameters, self.sizes());
        let (query_weight, key_weight) = in_weight.split_at(d_model * d_model);
        let [d_in_weight, d_in_bias, ..] = split_mut(all, self.sizes());
        let (d_query_weight, d_key_weight) = d_in_weight.split_at_mut(d_model * d_model);
        let (d_query_bias, d_key_bias) = d_in_bias.split_at_mut(d_model);
        linear::add_parameter_gradients(&d_queries, y, d_query_weight, d_query_bias);
        linear::add_parameter_gradients(&d_keys, memory, d_key_weight, d_key_bias);
        add(&mut d_y, &linear::input_gradient(&d_queries, query_weight, d_model));
        let d_memory = linear::input_gradient(&d_keys, key_weight, 2 * d_model);
        (d_y, d_memory)
    }
}
