//! Back through one attention layer: output projection, heads, projections.

use std::sync::Arc;

use attlas::attention::Inputs;
use attlas::{Bias, Kind};
use attlas_kernels::Onto;
use rayon::prelude::*;

use super::heads::{Group, GroupGradients};
use super::project::{HeadGradients, ProjectingBack};
use super::{Back, Halt};
use crate::block::attention::head_major;
use crate::block::edits::Rows;
use crate::block::maps::Maps;
use crate::block::pass::Site;
use crate::block::state::{AttentionCall, LayerState};
use crate::block::weights::AttentionWeights;
use crate::config::Attention;

/// An attention layer whose queries, keys and values were computed once more.
pub(super) struct AttentionBack<'a> {
    pub call: AttentionCall<'a>,
    pub config: &'a Attention,
    pub weights: &'a AttentionWeights,
    pub state: LayerState,
}

/// What goes back to the hidden states that a layer read.
pub(super) struct AttentionGradient {
    /// Of its own stack. Shape `[n_items · n, d_model]`.
    pub input: Vec<f32>,
    /// Of the encoder's, where it looks at them. Shape `[n_items · n_source, d_source]`.
    pub source: Option<Vec<f32>>,
}

impl AttentionBack<'_> {
    /// From the gradient of the output, shape `[n_items · n, d_model]`, to that of the input, of the same shape.
    ///
    /// # Errors
    /// When what comes back from a head is not finite.
    pub fn go_back(&self, back: &mut Back<'_>, input: &[f32], d_output: &[f32]) -> Result<AttentionGradient, Halt> {
        let AttentionBack { call, config, weights, state } = self;
        let AttentionCall { kind, index, n_items, n, .. } = *call;
        // 1. what heads give
        if let Some(sums) = back.sums.attention(kind, index) {
            sums.output.add_gradients(&state.outputs, d_output);
        }
        let mut d_context = vec![0.0; n_items * n * config.output_width()]; // [n_items · n, n_heads · d_value]
        weights.output.go_back(d_output, &mut d_context, Onto::Replace);
        let shape = [n_items, config.n_heads, n, config.d_value];
        back.keep(Site::HeadOutputs, kind, index, &shape, || head_major(&d_context, shape));
        let rows = Rows { n, past: 0, n_heads: config.n_heads, width: config.d_value };
        back.plan.hold_outputs(kind, index, rows, &mut d_context);
        // 2. queries, keys and values
        let groups = self.groups(back, &d_context);
        let joined =
            |part: fn(&GroupGradients) -> &Vec<f32>| -> Vec<f32> { groups.iter().flat_map(part).copied().collect() };
        let [n_heads, n_kv_heads, n_keys, d_head] = [config.n_heads, config.n_kv_heads, state.n_keys, config.d_head];
        back.keep(Site::Attention, kind, index, &[n_items, n_heads, n, n_keys], || joined(|group| &group.weights));
        back.keep(Site::Scores, kind, index, &[n_items, n_heads, n, n_keys], || joined(|group| &group.scores));
        let gradients = HeadGradients {
            queries: joined(|group| &group.queries),
            keys: joined(|group| &group.keys),
            values: joined(|group| &group.values),
        };
        back.keep(Site::Queries, kind, index, &[n_items, n_heads, n, d_head], || gradients.queries.clone());
        back.keep(Site::Keys, kind, index, &[n_items, n_kv_heads, n_keys, d_head], || gradients.keys.clone());
        let of_values = [n_items, n_kv_heads, n_keys, config.d_value];
        back.keep(Site::Values, kind, index, &of_values, || gradients.values.clone());
        self.check(&groups)?;
        if let Some(sums) = back.sums.attention(kind, index) {
            sums.add_of_scores(&groups, n_kv_heads);
        }
        // 3. hidden states
        let place = config.rotary.as_ref().map(|rotary| back.workspace.find_turns(rotary));
        let turns = place.map(|place| back.workspace.turns(place));
        let projecting = ProjectingBack { config, weights, turns, rules: back.rules, call: *call };
        let source = call.source.filter(|_| kind == Kind::Cross);
        let sums = back.sums.attention(kind, index);
        let (input, source) = projecting.go_back(&gradients, input, source.map(|source| source.hidden), sums);
        Ok(AttentionGradient { input, source })
    }

    /// What goes back to each key–value head of each item.
    fn groups(&self, back: &Back<'_>, d_context: &[f32]) -> Vec<GroupGradients> {
        let AttentionBack { call, config, weights, state } = self;
        let AttentionCall { kind, index, n_items, n, .. } = *call;
        let shape = config.shape(n, state.n_keys);
        let valid = call.valid_keys();
        let key_bias = call.key_bias(config, state.n_keys);
        let added = weights.added.as_ref().and_then(|added| added.of_ways(n, config.n_heads));
        let edits = back.plan.weight_edits(kind, index);
        let keeps = [Site::Attention, Site::Scores].map(|site| back.wants(site, kind, index));
        let sums = back.sums.0.is_some();
        let (n_query, n_output) = (config.query_width() * n, config.output_width() * n);
        let (n_key, n_value) = (config.key_width() * state.n_keys, config.value_width() * state.n_keys);
        let group = |place: usize| {
            let (item, kv_head) = (place / config.n_kv_heads, place % config.n_kv_heads);
            let inputs = Inputs {
                queries: &state.queries[item * n_query..][..n_query],
                keys: &state.keys[item * n_key..][..n_key],
                values: &state.values[item * n_value..][..n_value],
                shape,
                scoring: &weights.scoring,
                key_valid: valid.map(|valid| &valid[item * state.n_keys..][..state.n_keys]),
                mask: state.mask.as_ref().map(|mask| mask.of_item(item, &shape)),
                key_bias: key_bias.as_deref().and_then(|bias| config.key_bias_of(bias, item, state.n_keys)),
            };
            let d_context = &d_context[item * n_output..][..n_output];
            let maps = Maps {
                inputs,
                added: added.as_deref(),
                text: back.plan.text(item),
                edits: &edits,
                dropout: call.dropout,
                packing: call.packings(),
                weights: &state.weights,
            };
            Group { maps, kv_head, d_context, rules: back.rules, keeps, sums }.go_back()
        };
        (0..n_items * config.n_kv_heads).into_par_iter().map(group).collect()
    }

    /// Names the first head from which no number comes back, or the heads whose common keys and values it is.
    fn check(&self, groups: &[GroupGradients]) -> Result<(), Halt> {
        let AttentionCall { kind, index: layer, .. } = self.call;
        let group_size = self.config.n_heads / self.config.n_kv_heads;
        let bad = groups.iter().enumerate().find_map(|(place, group)| {
            let first = place % self.config.n_kv_heads * group_size;
            group.not_finite(group_size).map(|members| first + members.start..first + members.end)
        });
        match bad {
            None => Ok(()),
            Some(heads) if heads.len() == 1 => Err(Halt::Head { kind, layer, head: heads.start }),
            Some(heads) => Err(Halt::Group { kind, layer, first: heads.start, last: heads.end - 1 }),
        }
    }
}

impl AttentionWeights {
    /// Adds to sums of gradients those of what scores are formed with, from the key–value heads of each item in turn.
    fn add_of_scores(&mut self, groups: &[GroupGradients], n_kv_heads: usize) {
        let add = |sums: &mut Vec<f32>, part: fn(&GroupGradients) -> &Vec<f64>| {
            for (place, group) in groups.iter().enumerate() {
                let (addend, kv_head) = (part(group), place % n_kv_heads);
                let sums = &mut sums[kv_head * addend.len()..][..addend.len()];
                sums.iter_mut().zip(addend).for_each(|(sum, d)| *sum += *d as f32);
            }
        };
        let scoring = Arc::make_mut(&mut self.scoring);
        if let Bias::Relative { table, .. } = &mut scoring.bias {
            add(table, |group| &group.relative);
        }
        if let Some(sinks) = &mut scoring.sinks {
            add(sinks, |group| &group.sinks);
        }
    }
}
