//! The projections of one attention layer: from hidden states to queries, keys and values, head-major.

use attlas_kernels::vectorised;
use rayon::prelude::*;

use super::linear::Linear;
use super::norm::NormWeights;
use super::rope::Turns;
use super::state::{AttentionCall, LayerState};
use super::weights::{AttentionWeights, Projections};
use super::workspace::{Workspace, sized};
use crate::config::{Activation, Attention, QkScope};

/// A layer whose projections are computed.
#[derive(Clone, Copy)]
struct Projecting<'a> {
    call: AttentionCall<'a>,
    config: &'a Attention,
    weights: &'a AttentionWeights,
    turns: Option<&'a Turns>,
    /// What is added to the input for queries and keys. Shape `[n_items · n, d_model]`.
    added: &'a [f32],
}

/// The columns of a projection that become heads.
#[derive(Clone, Copy)]
struct Columns<'a> {
    /// Shape `[n_items · n, width]`.
    projected: &'a [f32],
    width: usize,
    start: usize,
    n_heads: usize,
    d_head: usize,
    norm: Option<(&'a NormWeights, QkScope)>,
    turns: Option<&'a Turns>,
}

impl AttentionCall<'_> {
    /// Fills `queries`, and the state's keys and values behind those it has. Shape of `input`: `[n_items · n, d_model]`.
    pub(super) fn project(
        self,
        config: &Attention,
        weights: &AttentionWeights,
        state: &mut LayerState,
        input: &[f32],
        queries: &mut Vec<f32>,
        workspace: &mut Workspace,
    ) {
        let mut projected = std::mem::take(&mut workspace.projected);
        let place = config.rotary.as_ref().map(|rotary| workspace.find_turns(rotary));
        let turns = place.map(|place| workspace.turns(place));
        let projecting = Projecting { call: self, config, weights, turns, added: &workspace.added };
        match &weights.projections {
            Projections::Joint(linear) => {
                let rows = sized(&mut projected, self.n_items * self.n * config.joint_width());
                linear.forward(input, rows, Activation::Identity);
                add_places(linear, &workspace.added, rows, config.query_width() + config.key_width());
                projecting.joint(rows, queries, state);
            }
            Projections::Latent(latent) => {
                let rows = sized(&mut projected, self.n_items * self.n * config.joint_width());
                latent.forward(config, input, rows);
                projecting.joint(rows, queries, state);
            }
            Projections::Apart { query, key_value } => {
                projecting.queries(query, input, &mut projected, queries);
                projecting.keys_and_values(key_value, &mut projected, state);
            }
        }
        workspace.projected = projected;
    }

    /// Writes columns to `heads` from position `start` on, growing it to `n_total` positions.
    /// Shape of `heads`: `[n_items, n_heads, n_total, d_head]`.
    fn split(self, columns: Columns<'_>, heads: &mut Vec<f32>, start: usize, n_total: usize) {
        let Columns { n_heads, d_head, .. } = columns;
        let n_groups = self.n_items * n_heads;
        if start == 0 {
            sized(heads, n_groups * n_total * d_head);
        } else {
            grow(heads, n_groups, start * d_head, n_total * d_head);
        }
        heads.par_chunks_exact_mut((n_total * d_head).max(1)).enumerate().for_each(|(group, head_rows)| {
            let (item, head) = (group / n_heads, group % n_heads);
            let new_rows = &mut head_rows[start * d_head..];
            vectorised(
                #[inline(always)]
                || columns.fill_head(item, self, head, new_rows),
            );
        });
    }
}

impl Columns<'_> {
    /// The rows of one head of an item of the call. Shape of `rows`: `[n, d_head]`.
    #[inline(always)]
    fn fill_head(self, item: usize, call: AttentionCall<'_>, head: usize, rows: &mut [f32]) {
        let d_head = self.d_head;
        let column = self.start + head * d_head;
        for (step, row) in rows.chunks_exact_mut(d_head).enumerate() {
            row.copy_from_slice(&self.projected[(item * call.n + step) * self.width + column..][..d_head]);
            match self.norm {
                Some((norm, QkScope::Head)) => norm.normalise(row),
                Some((norm, QkScope::OwnHead)) => norm.normalise_head(row, head),
                _ => {}
            }
            if let Some(turns) = self.turns {
                turns.apply(item, call.position(step), row);
            }
            if let Some((norm, QkScope::Turned)) = self.norm {
                norm.normalise(row);
            }
        }
    }
}

impl Projecting<'_> {
    /// Queries, keys and values of the same tokens, side by side. Shape of `rows`: `[n_items · n, joint_width]`.
    fn joint(self, rows: &mut [f32], queries: &mut Vec<f32>, state: &mut LayerState) {
        let Projecting { call, config, weights, turns, .. } = self;
        let (q, k, width) = (config.query_width(), config.key_width(), config.joint_width());
        if config.finishes_rows() {
            finish_rows(config, weights, rows, width);
        }
        let n_keys = call.past + call.n;
        let columns = Columns { turns, ..self.columns(rows, width) };
        call.split(Columns { norm: self.norm(&weights.query_norm), ..columns }, queries, 0, call.n);
        let keys = Columns { start: q, n_heads: config.n_kv_heads, norm: self.norm(&weights.key_norm), ..columns };
        call.split(keys, &mut state.keys, call.past, n_keys);
        let values = Columns { start: q + k, d_head: config.d_value, norm: None, turns: None, ..keys };
        call.split(values, &mut state.values, call.past, n_keys);
        state.n_keys = n_keys;
    }

    /// The queries of a layer that looks at another stack.
    fn queries(self, linear: &Linear, input: &[f32], projected: &mut Vec<f32>, queries: &mut Vec<f32>) {
        let Projecting { call, config, weights, added, .. } = self;
        let width = config.query_width();
        let rows = sized(projected, call.n_items * call.n * width);
        linear.forward(input, rows, Activation::Identity);
        add_places(linear, added, rows, width);
        let columns = self.columns(rows, width);
        call.split(Columns { norm: self.norm(&weights.query_norm), ..columns }, queries, 0, call.n);
    }

    /// The keys and values of the other stack's tokens, once for all steps.
    fn keys_and_values(self, linear: &Linear, projected: &mut Vec<f32>, state: &mut LayerState) {
        let Projecting { call, config, weights, .. } = self;
        let Some(source) = call.source.filter(|_| state.n_keys == 0) else { return };
        let width = config.key_width() + config.value_width();
        let rows = sized(projected, call.n_items * source.n * width);
        linear.forward(source.hidden, rows, Activation::Identity);
        add_places(linear, source.places, rows, config.key_width());
        let call = AttentionCall { n: source.n, past: 0, ..call };
        let columns = self.columns(rows, width);
        let keys = Columns { n_heads: config.n_kv_heads, norm: self.norm(&weights.key_norm), ..columns };
        call.split(keys, &mut state.keys, 0, source.n);
        let values = Columns { start: config.key_width(), d_head: config.d_value, norm: None, ..keys };
        call.split(values, &mut state.values, 0, source.n);
        state.n_keys = source.n;
    }

    /// The columns of all query heads from the first one on, as they are.
    fn columns<'b>(&self, projected: &'b [f32], width: usize) -> Columns<'b> {
        let (n_heads, d_head) = (self.config.n_heads, self.config.d_head);
        Columns { projected, width, start: 0, n_heads, d_head, norm: None, turns: None }
    }
}

impl<'a> Projecting<'a> {
    /// A norm with what it normalises together.
    fn norm(self, norm: &'a Option<NormWeights>) -> Option<(&'a NormWeights, QkScope)> {
        norm.as_ref().zip(self.config.qk_norm.map(|qk| qk.scope))
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

impl Attention {
    /// Width of queries, keys and values of all heads side by side.
    pub(crate) fn joint_width(&self) -> usize {
        self.query_width() + self.key_width() + self.value_width()
    }

    /// Whether something is done to whole rows of queries, keys and values.
    pub(super) fn finishes_rows(&self) -> bool {
        self.clip.is_some() || self.qk_norm.is_some_and(|qk| qk.scope == QkScope::All)
    }
}

/// Cuts and norms that need a whole row, before heads are split. Shape `[n, joint_width]`.
pub(super) fn finish_rows(config: &Attention, weights: &AttentionWeights, rows: &mut [f32], width: usize) {
    let (q, k) = (config.query_width(), config.key_width());
    rows.par_chunks_exact_mut(width).for_each(|row| {
        if let (Some(query), Some(key), true) =
            (&weights.query_norm, &weights.key_norm, config.qk_norm.is_some_and(|qk| qk.scope == QkScope::All))
        {
            query.normalise(&mut row[..q]);
            key.normalise(&mut row[q..q + k]);
        }
        if let Some(clip) = config.clip {
            row.iter_mut().for_each(|x| *x = x.clamp(-clip, clip));
        }
    });
}

/// Adds to the first columns what comes of places that are added to the input. Shapes `[n, d_in]` and `[n, d_out]`.
fn add_places(linear: &Linear, places: &[f32], rows: &mut [f32], n_columns: usize) {
    if places.is_empty() {
        return;
    }
    let mut added = vec![0.0; rows.len()]; // [n, d_out]
    Linear { bias: None, ..linear.clone() }.forward(places, &mut added, Activation::Identity);
    for (row, added) in rows.chunks_exact_mut(linear.d_out).zip(added.chunks_exact(linear.d_out)) {
        row[..n_columns].iter_mut().zip(added).for_each(|(x, a)| *x += a);
    }
}

/// Makes each group longer, from `old` to `new` numbers; the new places hold anything.
pub(super) fn grow(buffer: &mut Vec<f32>, n_groups: usize, old: usize, new: usize) {
    buffer.resize(n_groups * new, 0.0);
    for group in (1..n_groups).rev() {
        buffer.copy_within(group * old..(group + 1) * old, group * new);
    }
}
