//! One attention layer of a pass: projections, head-major queries, keys and values, attention, output projection.

use attlas::Kind;
use attlas::attention::{Inputs, Outputs, Shape, attend};
use rayon::prelude::*;

use super::disentangled::{self, Heads, Terms};
use super::edits::Rows;
use super::maps::Maps;
use super::mixture::sigmoid;
use super::pass::Parts;
use super::project::grow;
use super::state::{AttentionCall, LayerState};
use super::weights::AttentionWeights;
use super::workspace::{Workspace, sized};
use crate::config::{Activation, Attention};

impl AttentionCall<'_> {
    /// `output = attention(input)`, or added to it. Shapes `[n_items · n, d_model]`.
    pub fn run(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &mut LayerState,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut Workspace,
    ) {
        let kept = self.plan.parts(self.kind, self.index);
        // 1. queries, keys, values, head-major
        let mut queries = if kept.queries { Vec::new() } else { std::mem::take(&mut workspace.queries) };
        if state.keys.is_empty() && !kept.keys {
            state.keys = std::mem::take(&mut workspace.keys);
        }
        if state.values.is_empty() && !kept.values {
            state.values = std::mem::take(&mut workspace.values);
        }
        self.project(config, weights, state, input, &mut queries, workspace);
        state.mask = config.window.map(|side| workspace.mask_of_squares(side));
        // 2. attention
        let mut lse = if kept.queries { Vec::new() } else { std::mem::take(&mut workspace.lse) };
        let mut context = std::mem::take(&mut workspace.context);
        if config.why_dense().is_some() {
            let edits = self.plan.weight_edits(self.kind, self.index);
            let text = |item: usize| self.plan.text(item);
            let heads = Heads {
                queries: &queries,
                keys: &state.keys,
                values: &state.values,
                input,
                valid: self.valid,
                n: self.n,
                edits: &edits,
                text: &text,
            };
            sized(&mut lse, self.n_items * config.n_heads * self.n);
            let context = sized(&mut context, self.n_items * self.n * config.output_width());
            let disentangled = config.disentangled.as_ref().zip(weights.distances.as_ref());
            let terms = Terms { disentangled, added: weights.added.as_ref() };
            state.dense = disentangled::attend(config, terms, heads, kept.recorded, context);
        } else {
            state.weights = self.attend(config, weights, state, &queries, &mut lse, &mut context);
        }
        let rows = Rows { n: self.n, past: self.past, n_heads: config.n_heads, width: config.d_value };
        self.plan.edit_outputs(self.kind, self.index, rows, &mut context);
        if kept.outputs {
            state.outputs.clone_from(&context);
        }
        // 3. the gate, and back to the residual stream
        if let Some(gate) = &weights.gate {
            let mut gates = vec![0.0; context.len()]; // [n_items · n, n_heads · d_value]
            gate.forward(input, &mut gates, Activation::Identity);
            context.iter_mut().zip(gates).for_each(|(x, gate)| *x *= sigmoid(gate));
        }
        weights.output.forward_to(&context, output, self.onto);
        workspace.context = context;
        self.put_away(config, kept, state, queries, lse, workspace);
    }

    /// Fills log-sum-exps and outputs; of packed texts it fills outputs, and returns the weights if there is a way back.
    fn attend(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &LayerState,
        queries: &[f32],
        lse: &mut Vec<f32>,
        context: &mut Vec<f32>,
    ) -> Vec<f32> {
        let shape = config.shape(self.n, state.n_keys);
        let lse = sized(lse, self.n_items * config.n_heads * self.n);
        let context = sized(context, self.n_items * self.n * config.output_width());
        let moved;
        let scoring = if self.kind != Kind::Cross && self.past > 0 {
            moved = attlas::Scoring { query_offset: self.past, ..(*weights.scoring).clone() };
            &moved
        } else {
            &*weights.scoring
        };
        let valid = self.valid_keys();
        let key_bias = self.key_bias(config, state.n_keys);
        let edits = self.plan.weight_edits(self.kind, self.index);
        let (n_query, n_output) = (config.query_width() * self.n, config.output_width() * self.n);
        let (n_key, n_value) = (config.key_width() * state.n_keys, config.value_width() * state.n_keys);
        let inputs = |item: usize| Inputs {
            queries: &queries[item * n_query..][..n_query],
            keys: &state.keys[item * n_key..][..n_key],
            values: &state.values[item * n_value..][..n_value],
            shape,
            scoring,
            key_valid: valid
                .map(|valid| &valid[item * state.n_keys..][..state.n_keys])
                .filter(|valid| valid.contains(&false)),
            mask: state.mask.as_ref().map(|mask| mask.of_item(item, &shape)),
            key_bias: key_bias.as_deref().and_then(|bias| config.key_bias_of(bias, item, state.n_keys)),
        };
        if let Some(packing) = self.packings() {
            let (text, dropout) = (self.plan.text(0), self.dropout);
            let maps = Maps {
                inputs: inputs(0),
                added: None,
                text,
                edits: &edits,
                dropout,
                packing: Some(packing),
                weights: &[],
            };
            let goes_back = self.plan.parts(self.kind, self.index).outputs;
            let mut kept = vec![0.0; if goes_back { maps.n_weights() } else { 0 }];
            maps.attend(context, &mut kept);
            return kept;
        }
        // items beside each other: the heads of a short text alone are too little work for several threads
        let attend_item = |item: usize, context: &mut [f32], lse: &mut [f32]| {
            let inputs = inputs(item);
            attend(&inputs, &mut Outputs { context: &mut *context, lse, pooled: None });
            if !edits.is_empty() {
                edits.attend(&inputs, self.plan.text(item), self.past, context);
            }
        };
        let contexts = context.par_chunks_exact_mut(n_output.max(1));
        let lses = lse.par_chunks_exact_mut((config.n_heads * self.n).max(1));
        contexts.zip(lses).enumerate().for_each(|(item, (context, lse))| attend_item(item, context, lse));
        Vec::new()
    }

    /// Moves what is kept into the state and gives the rest back to the workspace.
    fn put_away(
        self,
        config: &Attention,
        kept: Parts,
        state: &mut LayerState,
        queries: Vec<f32>,
        lse: Vec<f32>,
        workspace: &mut Workspace,
    ) {
        if kept.queries {
            if state.n_queries == 0 {
                (state.queries, state.lse) = (queries, lse);
            } else {
                append(&mut state.queries, &queries, self.n_items * config.n_heads, state.n_queries * config.d_head);
                append(&mut state.lse, &lse, self.n_items * config.n_heads, state.n_queries);
            }
            state.n_queries += self.n;
        } else {
            (workspace.queries, workspace.lse) = (queries, lse);
        }
        if !kept.keys {
            workspace.keys = std::mem::take(&mut state.keys);
        }
        if !kept.values {
            workspace.values = std::mem::take(&mut state.values);
        }
    }
}

impl Attention {
    /// The sizes of one call.
    pub(crate) fn shape(&self, n_queries: usize, n_keys: usize) -> Shape {
        Shape {
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            n_queries,
            n_keys,
            d_head: self.d_head,
            d_value: self.d_value,
        }
    }
}

/// Rows of heads side by side as heads of rows: `[n_items, n_rows, n_heads, width]` becomes `[n_items, n_heads, n_rows, width]`.
pub(crate) fn head_major(rows: &[f32], [n_items, n_heads, n_rows, width]: [usize; 4]) -> Vec<f32> {
    let mut heads = Vec::with_capacity(rows.len()); // [n_items, n_heads, n_rows, width]
    for item in 0..n_items {
        for head in 0..n_heads {
            let starts = (0..n_rows).map(|row| ((item * n_rows + row) * n_heads + head) * width);
            starts.for_each(|start| heads.extend_from_slice(&rows[start..][..width]));
        }
    }
    heads
}

/// Puts each group of `more` behind its group in `buffer`, whose groups have `old` numbers.
fn append(buffer: &mut Vec<f32>, more: &[f32], n_groups: usize, old: usize) {
    let added = more.len() / n_groups;
    let new = old + added;
    grow(buffer, n_groups, old, new);
    for (group, more) in more.chunks_exact(added).enumerate() {
        buffer[group * new + old..(group + 1) * new].copy_from_slice(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appending_keeps_each_heads_rows_together() {
        let mut buffer = vec![1.0, 2.0, 10.0, 20.0];
        append(&mut buffer, &[3.0, 30.0], 2, 2);
        assert_eq!(buffer, [1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    }
}
