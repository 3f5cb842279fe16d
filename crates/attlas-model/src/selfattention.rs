//! One attention layer of a pass: projections, head-major queries, keys and values, attention, output projection.

use attlas::Kind;
use attlas::attention::{Inputs, Outputs, Shape, attend};
use pulp::Arch;
use rayon::prelude::*;

use crate::config::{Activation, Attention, QkScope};
use crate::disentangled::{self, Heads};
use crate::forward::{Interventions, Keep, Source};
use crate::matmul::Onto;
use crate::norm::NormWeights;
use crate::rope::Turns;
use crate::transformer::{AttentionWeights, Projections};
use crate::workspace::{Workspace, sized};

/// What one attention layer has seen so far, in the layout of a recording.
#[derive(Debug, Default)]
pub(crate) struct LayerState {
    /// Shape `[n_items, n_heads, n_queries, d_head]`.
    pub queries: Vec<f32>,
    /// Shape `[n_items, n_kv_heads, n_keys, d_head]`.
    pub keys: Vec<f32>,
    /// Shape `[n_items, n_kv_heads, n_keys, d_head]`.
    pub values: Vec<f32>,
    /// Shape `[n_items, n_heads, n_queries]`.
    pub lse: Vec<f32>,
    /// Weights that are no function of queries and keys, when they are kept. Shape `[n_items, n_heads, n_queries, n_keys]`.
    pub dense: Vec<f32>,
    /// Rows so far.
    pub n_queries: usize,
    /// Columns so far.
    pub n_keys: usize,
}

/// Where and on what an attention layer runs.
#[derive(Clone, Copy)]
pub(crate) struct AttentionCall<'a> {
    pub kind: Kind,
    /// The layer's index.
    pub index: usize,
    pub n_items: usize,
    /// New positions of each item.
    pub n: usize,
    /// Positions before them; only for one item.
    pub past: usize,
    /// Which of the stack's tokens are not padding. Shape `[n_items, past + n]`.
    pub valid: Option<&'a [bool]>,
    pub source: Option<Source<'a>>,
    pub keep: Keep,
    pub interventions: Interventions<'a>,
}

/// The columns of a projection that become heads.
#[derive(Clone, Copy)]
struct Columns<'a> {
    /// Shape `[n_items · n, width]`.
    projected: &'a [f32],
    width: usize,
    start: usize,
    /// Added; none when `None`. Shape `[width]`.
    bias: Option<&'a [f32]>,
    n_heads: usize,
    d_head: usize,
    norm: Option<(&'a NormWeights, QkScope)>,
    turns: Option<&'a Turns>,
}

impl AttentionCall<'_> {
    /// `output = attention(input)`. Shapes `[n_items · n, d_model]`.
    pub fn run(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &mut LayerState,
        input: &[f32],
        output: &mut [f32],
        workspace: &mut Workspace,
    ) {
        // 1. queries, keys, values, head-major
        let mut projected = std::mem::take(&mut workspace.projected);
        let mut queries = if self.keep.queries { Vec::new() } else { std::mem::take(&mut workspace.queries) };
        if state.keys.is_empty() && !self.keep.keys {
            state.keys = std::mem::take(&mut workspace.keys);
        }
        if state.values.is_empty() && !self.keep.values {
            state.values = std::mem::take(&mut workspace.values);
        }
        self.project(config, weights, state, input, &mut queries, &mut projected, workspace);
        workspace.projected = projected;
        // 2. attention, item by item
        let mut lse = if self.keep.queries { Vec::new() } else { std::mem::take(&mut workspace.lse) };
        let mut context = std::mem::take(&mut workspace.context);
        if let (Some(terms), Some(distances)) = (&config.disentangled, &weights.distances) {
            let heads =
                Heads { queries: &queries, keys: &state.keys, values: &state.values, valid: self.valid, n: self.n };
            sized(&mut lse, self.n_items * config.n_heads * self.n);
            let context = sized(&mut context, self.n_items * self.n * config.query_width());
            state.dense = disentangled::attend(config, terms, distances, heads, self.keep.queries, context);
        } else {
            self.attend(config, weights, state, &queries, &mut lse, &mut context);
        }
        self.knock_out(config, &mut context);
        // 3. back to the residual stream
        weights.output.forward(&context, output, Activation::Identity);
        workspace.context = context;
        self.put_away(config, state, queries, lse, workspace);
    }

    #[allow(clippy::too_many_arguments)]
    fn project(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &mut LayerState,
        input: &[f32],
        queries: &mut Vec<f32>,
        projected: &mut Vec<f32>,
        workspace: &mut Workspace,
    ) {
        let (q, kv) = (config.query_width(), config.kv_width());
        let n_rows = self.n_items * self.n;
        let place = config.rotary.as_ref().map(|rotary| workspace.find_turns(rotary));
        let turns = place.map(|place| workspace.turns(place));
        let query_norm = weights.query_norm.as_ref().zip(config.qk_norm.map(|qk| qk.scope));
        let key_norm = weights.key_norm.as_ref().zip(config.qk_norm.map(|qk| qk.scope));
        match &weights.projections {
            Projections::Joint(linear) => {
                let width = q + 2 * kv;
                let rows = sized(projected, n_rows * width);
                linear.product(input, rows, Onto::Replace);
                let mut bias = linear.bias.as_ref().map(|bias| bias.as_slice());
                if config.clip.is_some() || config.qk_norm.is_some_and(|qk| qk.scope == QkScope::All) {
                    finish_rows(config, weights, rows, width, bias.take());
                }
                let columns = |start: usize, n_heads: usize, norm, turns| Columns {
                    projected: rows,
                    width,
                    start,
                    bias,
                    n_heads,
                    d_head: config.d_head,
                    norm,
                    turns,
                };
                let n_keys = self.past + self.n;
                self.split(columns(0, config.n_heads, query_norm, turns), queries, 0, self.n);
                self.split(columns(q, config.n_kv_heads, key_norm, turns), &mut state.keys, self.past, n_keys);
                self.split(columns(q + kv, config.n_kv_heads, None, None), &mut state.values, self.past, n_keys);
                state.n_keys = n_keys;
            }
            Projections::Apart { query, key_value } => {
                let bias = |linear: &crate::linear::Linear| linear.bias.clone();
                let rows = sized(projected, n_rows * q);
                query.product(input, rows, Onto::Replace);
                let (query_bias, source_bias) = (bias(query), bias(key_value));
                let plain = Columns {
                    projected: rows,
                    width: q,
                    start: 0,
                    bias: query_bias.as_ref().map(|bias| bias.as_slice()),
                    n_heads: config.n_heads,
                    d_head: config.d_head,
                    norm: query_norm,
                    turns: None,
                };
                self.split(plain, queries, 0, self.n);
                let Some(source) = self.source.filter(|_| state.n_keys == 0) else { return };
                let rows = sized(projected, self.n_items * source.n * 2 * kv);
                key_value.product(source.hidden, rows, Onto::Replace);
                let call = AttentionCall { n: source.n, past: 0, ..self };
                let bias = source_bias.as_ref().map(|bias| bias.as_slice());
                let keys = Columns {
                    projected: rows,
                    width: 2 * kv,
                    start: 0,
                    bias,
                    n_heads: config.n_kv_heads,
                    d_head: config.d_head,
                    norm: key_norm,
                    turns: None,
                };
                call.split(keys, &mut state.keys, 0, source.n);
                call.split(Columns { start: kv, norm: None, ..keys }, &mut state.values, 0, source.n);
                state.n_keys = source.n;
            }
        }
    }

    /// Writes columns to `heads` from position `start` on, growing it to `n_total` positions.
    /// Shape of `heads`: `[n_items, n_heads, n_total, d_head]`.
    fn split(self, columns: Columns<'_>, heads: &mut Vec<f32>, start: usize, n_total: usize) {
        let Columns { width, n_heads, d_head, .. } = columns;
        let n_groups = self.n_items * n_heads;
        if start == 0 {
            sized(heads, n_groups * n_total * d_head);
        } else {
            grow(heads, n_groups, start * d_head, n_total * d_head);
        }
        let fill = |group: usize, head_rows: &mut [f32]| {
            let (item, head) = (group / n_heads, group % n_heads);
            let column = columns.start + head * d_head;
            for (step, row) in head_rows[start * d_head..].chunks_exact_mut(d_head).enumerate() {
                let source = &columns.projected[(item * self.n + step) * width + column..][..d_head];
                match columns.bias {
                    Some(bias) => {
                        let bias = &bias[column..][..d_head];
                        row.iter_mut().zip(source).zip(bias).for_each(|((y, x), b)| *y = x + b);
                    }
                    None => row.copy_from_slice(source),
                }
                match columns.norm {
                    Some((norm, QkScope::Head)) => norm.normalise(row),
                    Some((norm, QkScope::OwnHead)) => norm.normalise_head(row, head),
                    _ => {}
                }
                if let Some(turns) = columns.turns {
                    turns.apply(step, row);
                }
            }
        };
        heads.par_chunks_exact_mut((n_total * d_head).max(1)).enumerate().for_each(|(group, head_rows)| {
            Arch::new().dispatch(|| fill(group, head_rows));
        });
    }

    fn attend(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &LayerState,
        queries: &[f32],
        lse: &mut Vec<f32>,
        context: &mut Vec<f32>,
    ) {
        let shape = config.shape(self.n, state.n_keys);
        let lse = sized(lse, self.n_items * config.n_heads * self.n);
        let context = sized(context, self.n_items * self.n * config.query_width());
        let moved;
        let scoring = if self.kind != Kind::Cross && self.past > 0 {
            moved = attlas::Scoring { query_offset: self.past, ..weights.scoring.clone() };
            &moved
        } else {
            &weights.scoring
        };
        let valid = if self.kind == Kind::Cross { self.source.and_then(|source| source.valid) } else { self.valid };
        let (n_query, n_key) = (config.query_width() * self.n, config.kv_width() * state.n_keys);
        for item in 0..self.n_items {
            let inputs = Inputs {
                queries: &queries[item * n_query..][..n_query],
                keys: &state.keys[item * n_key..][..n_key],
                values: &state.values[item * n_key..][..n_key],
                shape,
                scoring,
                key_valid: valid
                    .map(|valid| &valid[item * state.n_keys..][..state.n_keys])
                    .filter(|valid| valid.contains(&false)),
                mask: None,
                key_bias: None,
            };
            attend(
                &inputs,
                &mut Outputs {
                    context: &mut context[item * n_query..][..n_query],
                    lse: &mut lse[item * config.n_heads * self.n..][..config.n_heads * self.n],
                    pooled: None,
                },
            );
        }
    }

    /// Sets the output of knocked-out heads to 0. Shape `[n_items · n, n_heads · d_head]`.
    fn knock_out(self, config: &Attention, context: &mut [f32]) {
        for (kind, id) in self.interventions.knocked_out {
            if *kind == self.kind && id.layer == self.index && id.head < config.n_heads {
                for row in context.chunks_exact_mut(config.query_width()) {
                    row[id.head * config.d_head..][..config.d_head].fill(0.0);
                }
            }
        }
    }

    /// Moves what is kept into the state and gives the rest back to the workspace.
    fn put_away(
        self,
        config: &Attention,
        state: &mut LayerState,
        queries: Vec<f32>,
        lse: Vec<f32>,
        workspace: &mut Workspace,
    ) {
        if self.keep.queries {
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
        if !self.keep.keys {
            workspace.keys = std::mem::take(&mut state.keys);
        }
        if !self.keep.values {
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
            d_value: self.d_head,
        }
    }
}

impl NormWeights {
    /// Normalises one head's row with that head's own weights. Shape `[d_head]`.
    #[inline(always)]
    fn normalise_head(&self, row: &mut [f32], head: usize) {
        let part = |all: &'_ [f32]| -> std::ops::Range<usize> {
            if all.is_empty() { 0..0 } else { head * row.len()..(head + 1) * row.len() }
        };
        let (weight, bias) = (part(&self.weight), part(&self.bias));
        self.normalise_with(row, &self.weight[weight], &self.bias[bias]);
    }
}

/// Biases, cuts and norms that need a whole row, before heads are split. Shape `[n, q + 2 · kv]`.
fn finish_rows(config: &Attention, weights: &AttentionWeights, rows: &mut [f32], width: usize, bias: Option<&[f32]>) {
    let (q, kv) = (config.query_width(), config.kv_width());
    rows.par_chunks_exact_mut(width).for_each(|row| {
        if let Some(bias) = bias {
            row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
        }
        if let (Some(query), Some(key), true) =
            (&weights.query_norm, &weights.key_norm, config.qk_norm.is_some_and(|qk| qk.scope == QkScope::All))
        {
            query.normalise(&mut row[..q]);
            key.normalise(&mut row[q..q + kv]);
        }
        if let Some(clip) = config.clip {
            row.iter_mut().for_each(|x| *x = x.clamp(-clip, clip));
        }
    });
}

/// Makes each group longer, from `old` to `new` numbers; the new places hold anything.
fn grow(buffer: &mut Vec<f32>, n_groups: usize, old: usize, new: usize) {
    buffer.resize(n_groups * new, 0.0);
    for group in (1..n_groups).rev() {
        buffer.copy_within(group * old..(group + 1) * old, group * new);
    }
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
