//! The attention sublayers: `LayerNorm(x + dropout(W_O · attention(x, memory) + b_O))`.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout as TensorLayout, Result, Shape, Tensor};

use super::storage::{Slot, put, slice, split, split_mut, take, tensor, with_slice, with_sum};
use crate::kernels::attention::{self, Columns, Layout, Mask};
use crate::kernels::dropout::Dropout;
use crate::kernels::{linear, norm};

/// Self-attention over packed sentences. Shape `[n, d_model]`.
///
/// # Errors
/// The tensor library's.
pub fn self_attention(
    x: &Tensor,
    (parameters, slot): (&Tensor, Option<Slot>),
    offsets: &[usize],
    n_heads: usize,
    mask: Mask,
    dropout: Dropout,
) -> Result<Tensor> {
    x.apply_op2(parameters, SelfAttention(Attention::new(x, slot, (offsets, offsets), n_heads, mask, dropout)?))
}

/// Cross-attention: `y` asks, `memory` answers. `offsets` are those of `y` and of `memory`. Shape `[n, d_model]`.
///
/// # Errors
/// The tensor library's.
pub fn cross_attention(
    y: &Tensor,
    memory: &Tensor,
    (parameters, slot): (&Tensor, Option<Slot>),
    offsets: (&[usize], &[usize]),
    n_heads: usize,
    dropout: Dropout,
) -> Result<Tensor> {
    y.apply_op3(memory, parameters, CrossAttention(Attention::new(y, slot, offsets, n_heads, Mask::Full, dropout)?))
}

/// What both kinds share.
struct Attention {
    query_offsets: Vec<usize>,
    key_offsets: Vec<usize>,
    n_heads: usize,
    d_model: usize,
    mask: Mask,
    dropout: Dropout,
    slot: Option<Slot>,
    saved: Mutex<Option<Saved>>,
}

/// What the backward pass needs.
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

struct SelfAttention(Attention);

struct CrossAttention(Attention);

impl Attention {
    fn new(
        x: &Tensor,
        slot: Option<Slot>,
        offsets: (&[usize], &[usize]),
        n_heads: usize,
        mask: Mask,
        dropout: Dropout,
    ) -> Result<Attention> {
        Ok(Attention {
            query_offsets: offsets.0.to_vec(),
            key_offsets: offsets.1.to_vec(),
            n_heads,
            d_model: x.dim(1)?,
            mask,
            dropout,
            slot,
            saved: Mutex::new(None),
        })
    }

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
            query_offsets: &self.query_offsets,
            key_offsets: &self.key_offsets,
            n_heads: self.n_heads,
            d_head: d / self.n_heads,
            mask: self.mask,
            queries,
            keys,
            values,
        }
    }

    /// From projected queries and keys to the sublayer's output.
    fn finish(&self, x: &[f32], queries: Vec<f32>, keys: Vec<f32>, parameters: &[f32]) -> Result<Vec<f32>> {
        let [_, _, out_weight, out_bias, norm_weight, norm_bias] = split(parameters, self.sizes());
        let layout = self.layout(keys.is_empty());
        let read_keys = if keys.is_empty() { &queries } else { &keys };
        let (weights, context) = attention::forward(&queries, read_keys, &layout, self.dropout.at(0));
        let mut output = linear::forward(&context, out_weight, out_bias); // [n_queries, d_model]
        self.dropout.at(1).apply(&mut output);
        let (output, norm) = norm::forward(x, output, norm_weight, norm_bias);
        put(&self.saved, Saved { queries, keys, weights, context, norm })?;
        Ok(output)
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
}

/// `sum += values`.
fn add(sum: &mut [f32], values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

impl SelfAttention {
    /// The gradient of `x`; adds those of the parameters to `all`.
    fn gradients(&self, x: &[f32], parameters: &[f32], dy: &[f32], saved: &Saved, all: &mut [f32]) -> Vec<f32> {
        let attention = &self.0;
        let (mut dx, d_context) = attention.start(dy, saved, parameters, all);
        let mut d_projected = vec![0.0; saved.queries.len()]; // [n, 3 · d_model]
        attention::backward(
            (&saved.queries, &saved.queries),
            &saved.weights,
            &d_context,
            &attention.layout(true),
            attention.dropout.at(0),
            &mut attention::Gradients::Together(&mut d_projected),
        );
        let [in_weight, ..] = split(parameters, attention.sizes());
        let [d_in_weight, d_in_bias, ..] = split_mut(all, attention.sizes());
        linear::add_parameter_gradients(&d_projected, x, d_in_weight, d_in_bias);
        add(&mut dx, &linear::input_gradient(&d_projected, in_weight, 3 * attention.d_model));
        dx
    }
}

impl CustomOp2 for SelfAttention {
    fn name(&self) -> &'static str {
        "self-attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &TensorLayout,
        s2: &CpuStorage,
        l2: &TensorLayout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(s1, l1)?;
        let parameters = slice(s2, l2)?;
        let [in_weight, in_bias, ..] = split(parameters, self.0.sizes());
        let projected = linear::forward(x, in_weight, in_bias); // [n, 3 · d_model]
        let output = self.0.finish(x, projected, Vec::new(), parameters)?;
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let saved = take(&self.0.saved)?;
        let dx = with_sum(self.0.slot.as_ref(), |all| {
            with_slice(x, |x| {
                with_slice(parameters, |parameters| {
                    with_slice(gradient, |dy| self.gradients(x, parameters, dy, &saved, all))
                })
            })
        })????;
        Ok((Some(tensor(dx, x.shape())?), None))
    }
}

impl CrossAttention {
    /// The gradients of `y` and `memory`; adds those of the parameters to `all`.
    fn gradients(
        &self,
        (y, memory): (&[f32], &[f32]),
        parameters: &[f32],
        dy: &[f32],
        saved: &Saved,
        all: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let attention = &self.0;
        let d_model = attention.d_model;
        let (mut d_y, d_context) = attention.start(dy, saved, parameters, all);
        let mut d_queries = vec![0.0; saved.queries.len()]; // [n_queries, d_model]
        let mut d_keys = vec![0.0; saved.keys.len()]; // [n_keys, 2 · d_model]
        attention::backward(
            (&saved.queries, &saved.keys),
            &saved.weights,
            &d_context,
            &attention.layout(false),
            attention.dropout.at(0),
            &mut attention::Gradients::Apart(&mut d_queries, &mut d_keys),
        );
        let [in_weight, ..] = split(parameters, attention.sizes());
        let (query_weight, key_weight) = in_weight.split_at(d_model * d_model);
        let [d_in_weight, d_in_bias, ..] = split_mut(all, attention.sizes());
        let (d_query_weight, d_key_weight) = d_in_weight.split_at_mut(d_model * d_model);
        let (d_query_bias, d_key_bias) = d_in_bias.split_at_mut(d_model);
        linear::add_parameter_gradients(&d_queries, y, d_query_weight, d_query_bias);
        linear::add_parameter_gradients(&d_keys, memory, d_key_weight, d_key_bias);
        add(&mut d_y, &linear::input_gradient(&d_queries, query_weight, d_model));
        let d_memory = linear::input_gradient(&d_keys, key_weight, 2 * d_model);
        (d_y, d_memory)
    }
}

impl CustomOp3 for CrossAttention {
    fn name(&self) -> &'static str {
        "cross-attention"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &TensorLayout,
        s2: &CpuStorage,
        l2: &TensorLayout,
        s3: &CpuStorage,
        l3: &TensorLayout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, memory, parameters) = (slice(s1, l1)?, slice(s2, l2)?, slice(s3, l3)?);
        let d_model = self.0.d_model;
        let [in_weight, in_bias, ..] = split(parameters, self.0.sizes());
        let (query_weight, key_weight) = in_weight.split_at(d_model * d_model);
        let (query_bias, key_bias) = in_bias.split_at(d_model);
        let queries = linear::forward(y, query_weight, query_bias); // [n_queries, d_model]
        let keys = linear::forward(memory, key_weight, key_bias); // [n_keys, 2 · d_model]
        let output = self.0.finish(y, queries, keys, parameters)?;
        Ok((CpuStorage::F32(output), l1.shape().clone()))
    }

    fn bwd(
        &self,
        y: &Tensor,
        memory: &Tensor,
        parameters: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let saved = take(&self.0.saved)?;
        let (d_y, d_memory) = with_sum(self.0.slot.as_ref(), |all| {
            with_slice(y, |y| {
                with_slice(memory, |memory| {
                    with_slice(parameters, |parameters| {
                        with_slice(gradient, |dy| self.gradients((y, memory), parameters, dy, &saved, all))
                    })
                })
            })
        })?????;
        Ok((Some(tensor(d_y, y.shape())?), Some(tensor(d_memory, memory.shape())?), None))
    }
}
