//! Attention for running: blocks of queries stream over blocks of keys, and no n × n array is ever made.
//!
//! Why it is faster than the formula written down ([`reference`](super::reference)): scores live and die in the first-level cache; keys and
//! values are read in place, only queries are packed; a query is a lane of a register, so the softmax never crosses
//! lanes; a group of query blocks shares each block of keys while it is in the cache; heads and groups run in parallel.
//! On one thread of an Intel Xeon with AVX-512 (family 6, model 207), 12 heads of 64: 56 to 72 times the formula's speed at 512
//! and at 2048 tokens, where the step between, [`online`](super::online), has 1.1 to 1.4 (bench/README.md).
//!
//! How it is laid out: registers, the choice of instructions and the micro-kernel are those of `attlas_kernels`; `rule` makes
//! scores of dot products, `block` is the online softmax, `overview` pooled maps, `group` the loop over keys, `access` weights
//! of recorded maps, `precise` the same in f64, where scores are large, and here are the plan and the parallel loop.

#![allow(unsafe_code)] // instructions and disjoint writes: every block says why it is sound

mod access;
mod block;
mod group;
mod overview;
mod precise;
mod rule;

use std::ops::Range;

use rayon::prelude::*;

pub(crate) use access::{Recorded, needs_f64};
pub use attlas_kernels::Instructions;

use super::{Inputs, Outputs, Shape};
use crate::{Pooled, Pooling};
use attlas_kernels::{Shared, dispatch};
use block::Head;
use group::{Group, Lse};
use overview::TileRows;
use rule::{About, Rule};

/// Queries that share each block of keys while it is in the cache.
const GROUP_ROWS: usize = 192;
/// Multiply–adds below which starting threads costs more than it saves (about 20 µs of work).
const SEQUENTIAL_BELOW: usize = 1 << 20;

/// Attention of one sequence, all heads: fills `outputs` from `inputs`, as [`reference::attend`](super::reference::attend) does.
///
/// A query that sees no key gets context 0, and lse −∞ or that of the sink. Weights are within 1e-6 of the exact ones
/// while scores stay below about 8 in size; beyond, their f32 rounding (6e-8 of the largest partial sum) is the limit.
///
/// # Panics
/// When a slice has another length than `inputs.shape` says.
pub fn attend(inputs: &Inputs<'_>, outputs: &mut Outputs<'_>) {
    attend_with(Instructions::best(), inputs, outputs);
}

/// [`attend`] with chosen instructions; with plain Rust where the processor lacks them.
///
/// # Panics
/// When a slice has another length than `inputs.shape` says.
pub fn attend_with(instructions: Instructions, inputs: &Inputs<'_>, outputs: &mut Outputs<'_>) {
    check_lengths(inputs, outputs);
    let instructions = instructions.or_portable();
    let heads: Vec<Head<'_>> = (0..inputs.shape.n_heads).map(|head| head_of(inputs, head)).collect();
    let size = (inputs.shape.n_queries, inputs.shape.n_keys);
    let pooling = outputs.pooled.as_ref().map(|(pooling, _)| *pooling);
    let streamed = pooling.filter(|pooling| !pooling.is_fine(size.1));
    let lse = Lse::Write(Shared::new(outputs.lse));
    let mut overviews = stream(instructions, &heads, size, &Shared::new(outputs.context), &lse, streamed);
    // tiles of few keys are pooled from weights, as those of a recorded map
    if let Some(pooling) = pooling.filter(|_| streamed.is_none()) {
        let overview = |(head, of_head): (usize, &Head<'_>)| {
            let lse: Vec<f64> = outputs.lse[head * size.0..][..size.0].iter().map(|lse| f64::from(*lse)).collect();
            let recorded = as_recorded(inputs, head, of_head, &lse);
            Pooled::of_weights(pooling, size, |queries| recorded.tile_with(instructions, queries, 0..size.1))
        };
        overviews = heads.par_iter().enumerate().map(overview).collect();
    }
    if let Some((_, pooled)) = &mut outputs.pooled {
        **pooled = overviews;
    }
}

/// What the rule of a head is made of.
fn about<'a>(inputs: &Inputs<'a>, head: usize) -> About<'a> {
    let Inputs { shape, scoring, key_bias, key_valid, mask, .. } = *inputs;
    let key_bias = key_bias.map(|bias| &bias[head * shape.n_keys..][..shape.n_keys]);
    About { scoring, key_bias, key_valid, mask }
}

/// What all query blocks of a head read.
fn head_of<'a>(inputs: &Inputs<'a>, head: usize) -> Head<'a> {
    let Shape { n_queries, n_keys, d_head, d_value, .. } = inputs.shape;
    let kv_rows = inputs.shape.kv_head(head) * n_keys;
    Head {
        queries: &inputs.queries[head * n_queries * d_head..][..n_queries * d_head],
        keys: &inputs.keys[kv_rows * d_head..][..n_keys * d_head],
        values: &inputs.values[kv_rows * d_value..][..n_keys * d_value],
        d_head,
        d_value,
        rule: Rule::new(&about(inputs, head), head, 0..n_queries, 0..n_keys),
    }
}

/// A head as if its map had been recorded with these log-sum-exps. Shape of `lse`: `[n_queries]`.
fn as_recorded<'a>(inputs: &Inputs<'a>, head: usize, of_head: &Head<'a>, lse: &'a [f64]) -> Recorded<'a> {
    let About { scoring, key_bias, key_valid, mask } = about(inputs, head);
    let Head { queries, keys, d_head, .. } = *of_head;
    let (n_keys, needs_f64) = (inputs.shape.n_keys, needs_f64(lse));
    Recorded { head, scoring, queries, keys, d_head, lse, key_valid, mask, key_bias, n_keys, needs_f64 }
}

/// Refuses slices that do not have the sizes of the shape.
fn check_lengths(inputs: &Inputs<'_>, outputs: &Outputs<'_>) {
    let shape = inputs.shape;
    let check = |name: &str, length: usize, sizes: [usize; 3]| {
        let wanted = sizes.iter().try_fold(1_usize, |n, size| n.checked_mul(*size));
        assert!(Some(length) == wanted, "{name} has {length} numbers, but its shape is {sizes:?}");
    };
    check("queries", inputs.queries.len(), [shape.n_heads, shape.n_queries, shape.d_head]);
    check("keys", inputs.keys.len(), [shape.n_kv_heads, shape.n_keys, shape.d_head]);
    check("values", inputs.values.len(), [shape.n_kv_heads, shape.n_keys, shape.d_value]);
    check("context", outputs.context.len(), [shape.n_queries, shape.n_heads, shape.d_value]);
    check("lse", outputs.lse.len(), [1, shape.n_heads, shape.n_queries]);
    let key_bias = inputs.key_bias.map_or(shape.n_heads * shape.n_keys, <[f32]>::len);
    check("key_bias", key_bias, [1, shape.n_heads, shape.n_keys]);
    check("key_valid", inputs.key_valid.map_or(shape.n_keys, <[bool]>::len), [1, 1, shape.n_keys]);
}

/// Streams all heads over their keys; returns an overview per head where `pooling` is given.
fn stream(
    instructions: Instructions,
    heads: &[Head<'_>],
    (n_queries, n_keys): (usize, usize),
    context: &Shared<'_>,
    lse: &Lse<'_>,
    pooling: Option<Pooling>,
) -> Vec<Pooled> {
    let mut overviews: Vec<Pooled> = match pooling {
        Some(pooling) => heads.iter().map(|_| Pooled::empty(pooling, n_queries, n_keys)).collect(),
        None => Vec::new(),
    };
    let n_multiply_adds = n_queries
        .saturating_mul(n_keys)
        .saturating_mul(heads.first().map_or(0, |head| heads.len().saturating_mul(head.d_head + head.d_value)));
    let parallel = n_multiply_adds >= SEQUENTIAL_BELOW;
    let pieces = pieces(instructions, heads.len(), n_queries, parallel);
    let run = |(head, rows): &(usize, Range<usize>)| {
        let group = Group {
            head: &heads[*head],
            head_index: *head,
            n_heads: heads.len(),
            n_queries,
            n_keys,
            rows: rows.clone(),
            context,
            lse,
            overview: overviews.get(*head).map(|overview| (overview.rows, overview.columns)),
        };
        dispatch::run(instructions, group)
    };
    let parts: Vec<Option<TileRows>> =
        if parallel { pieces.par_iter().map(run).collect() } else { pieces.iter().map(run).collect() };
    for ((head, _), part) in pieces.iter().zip(parts) {
        if let (Some(overview), Some(part)) = (overviews.get_mut(*head), part) {
            part.merge_into(overview);
        }
    }
    overviews
}

/// The work cut into pieces, each a head and a group of its queries, in rising order.
fn pieces(instructions: Instructions, n_heads: usize, n_queries: usize, parallel: bool) -> Vec<(usize, Range<usize>)> {
    let block_rows = instructions.block_rows();
    let n_pieces = n_heads * n_queries.div_ceil(GROUP_ROWS);
    let few = parallel && n_pieces < 4 * rayon::current_num_threads();
    let group_rows = if few { block_rows } else { GROUP_ROWS / block_rows * block_rows };
    let rows = |start: usize| start..(start + group_rows).min(n_queries);
    (0..n_heads).flat_map(|head| (0..n_queries).step_by(group_rows).map(move |start| (head, rows(start)))).collect()
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use crate::attention::reference;
    use crate::{Bias, Scoring, Visibility};

    #[test]
    fn the_tiles_of_avx_512_agree_with_the_reference_on_any_processor() {
        let number = |i: usize| (i * 7919 % 2003) as f32 / 1001.5 - 1.0;
        for (n_queries, n_keys, d_head, d_value) in [(1, 1, 1, 1), (17, 90, 5, 19), (49, 33, 64, 64), (230, 301, 33, 7)]
        {
            for (softcap, after) in [(None, None), (Some(3.0), Some(7))] {
                let shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries, n_keys, d_head, d_value };
                let numbers = |n: usize, seed: usize| (0..n).map(|i| number(i + seed)).collect::<Vec<f32>>();
                let queries = numbers(2 * n_queries * d_head, 1);
                let (keys, values) = (numbers(n_keys * d_head, 7), numbers(n_keys * d_value, 70));
                let scoring = Scoring {
                    softcap,
                    bias: Bias::Alibi { slopes: vec![0.0, 0.01] },
                    ..Scoring::scaled_dot_product(d_head, Visibility { before: None, after })
                };
                let inputs = Inputs {
                    queries: &queries,
                    keys: &keys,
                    values: &values,
                    shape,
                    scoring: &scoring,
                    key_valid: None,
                    mask: None,
                    key_bias: None,
                };
                let run = |attend: &dyn Fn(&Inputs<'_>, &mut Outputs<'_>)| {
                    let mut context = vec![f32::NAN; 2 * n_queries * d_value];
                    let mut lse = vec![f32::NAN; 2 * n_queries];
                    let mut pooled = Vec::new();
                    let overview = Some((Pooling { rows: 5, columns: 9 }, &mut pooled));
                    attend(&inputs, &mut Outputs { context: &mut context, lse: &mut lse, pooled: overview });
                    let sums = pooled.iter().flat_map(|pooled| pooled.sum.iter().map(|sum| *sum as f32));
                    let sums: Vec<f32> = sums.collect();
                    let maxima = pooled.iter().flat_map(|pooled| pooled.max.clone());
                    context.into_iter().chain(lse).chain(maxima).chain(sums).collect::<Vec<f32>>()
                };
                let given = run(&|inputs, outputs| attend_with(Instructions::Wide, inputs, outputs));
                for (given, wanted) in given.into_iter().zip(run(&reference::attend)) {
                    assert!(
                        given == wanted || (given - wanted).abs() <= 2e-6 * wanted.abs().max(1.0),
                        "{given} {wanted}"
                    );
                }
            }
        }
    }
}
