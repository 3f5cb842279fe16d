//! One attention sublayer of a run, taken apart: what each key adds to the state of each query.

use std::borrow::Cow;

use attlas::recording::Edit;
use attlas::{AttentionMap, Kind, Layer, Trace};
use attlas_kernels::Onto;
use rayon::prelude::*;

use crate::block::join::Join;
use crate::block::linear::Linear;
use crate::block::norm::NormWeights;
use crate::block::pass::{Pass, Site};
use crate::block::weights::AttentionWeights;
use crate::config::Residual;
use crate::model::Model;
use crate::run::record::Run;
use crate::{Error, Weight};

/// The most numbers of dense maps that one explanation may make: 1 GiB of f32.
const MAX_NUMBERS: usize = 1 << 28;

/// The plan of a run that [`summed_norms`](super::summed_norms), [`mixing`](super::mixing) and [`contributions`](super::contributions) can be computed from: it keeps weights, values and the
/// residual stream.
pub fn traced() -> Pass {
    Pass::keeping([Site::Attention, Site::Values, Site::Stream])
}

/// Refuses maps of one number per query and key that would not fit in memory.
pub(super) fn check_size<'a>(what: &str, n_items: usize, layers: impl Iterator<Item = &'a Layer>) -> Result<(), Error> {
    let of_layer = |layer: &Layer| layer.shape.n_queries.saturating_mul(layer.shape.n_keys);
    let needed = layers.map(of_layer).fold(0_usize, usize::saturating_add).saturating_mul(n_items);
    match needed <= MAX_NUMBERS {
        true => Ok(()),
        false => Err(Error::Limit(format!(
            "{what} would take {needed} numbers, one for each query and key of each layer, more than the limit of \
             {MAX_NUMBERS}; a shorter text is needed"
        ))),
    }
}

/// One attention sublayer of one text: `y = after(x + Σ_h Σ_k w(q, k) · f_h(x_k) + b)`, where `f_h(x_k)` is the value of
/// the key behind the head's part of the output projection.
pub(super) struct Sublayer<'a> {
    /// One per head.
    maps: Vec<AttentionMap<'a>>,
    /// `f_h(x_k)`. Shape `[n_heads, n_keys, d_model]`.
    transformed: Vec<f32>,
    /// `x`, the stream that the sublayer adds to. Shape `[n_queries, d_model]`.
    residual: Cow<'a, [f32]>,
    /// Of the output projection. Shape `[d_model]`.
    bias: Option<&'a [f32]>,
    /// With the norm that comes after it, where one does.
    join: Join<'a>,
    /// Whether query `q` is key `q`, so that its residual is what that key brings.
    is_own: bool,
    d_model: usize,
}

/// What one query's state is the sum of: what keys add, the residual, and what comes from no token.
pub(super) struct Taken {
    /// Shape `[n_keys, d_model]`.
    pub keys: Vec<f64>,
    /// Shape `[d_model]`.
    pub residual: Vec<f64>,
    /// The biases of the output projection and the norm. Shape `[d_model]`.
    pub constant: Vec<f64>,
}

impl<'a> Sublayer<'a> {
    /// The sublayer that a layer of the run was recorded from, for text `item`; `residual` is the stream it adds to, of
    /// shape `[n_queries, d_model]`.
    pub fn new(
        model: &'a Model,
        run: &'a Run,
        layer: &'a Layer,
        item: usize,
        residual: Cow<'a, [f32]>,
    ) -> Result<Sublayer<'a>, Error> {
        let changed = run.recording.provenance.edits.iter().find(|edit| matches!(edit, Edit::HeadOutput { .. }));
        if let Some(edit) = changed {
            return Err(Error::Unsupported(format!(
                "what keys add to states is not defined in a run whose head outputs were changed: {}",
                edit.sentence()
            )));
        }
        let weights = attention_of(model, layer)?;
        let heads = 0..layer.shape.n_heads;
        let maps: Result<_, attlas::Error> = heads.map(|head| run.recording.map_of(layer, item, head)).collect();
        Ok(Sublayer {
            maps: maps?,
            transformed: transformed(weights, layer, item)?,
            residual,
            bias: weights.output.bias.as_ref().map(|bias| bias.as_slice()),
            join: weights.join(residual_of(model, layer.kind, layer.index)),
            is_own: layer.kind != Kind::Cross,
            d_model: weights.output.d_out,
        })
    }

    pub fn n_queries(&self) -> usize {
        self.residual.len() / self.d_model.max(1)
    }

    pub fn n_keys(&self) -> usize {
        self.maps.first().map_or(0, AttentionMap::n_keys)
    }

    /// Whether query `q` is key `q`.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// What the state of `query` is the sum of before the norm that comes after.
    pub fn row(&self, query: usize) -> Taken {
        let (n_keys, d_model) = (self.n_keys(), self.d_model);
        let mut keys = vec![0.0_f64; n_keys * d_model]; // [n_keys, d_model]
        for (map, vectors) in self.maps.iter().zip(self.transformed.chunks_exact(n_keys * d_model)) {
            let weights = map.row(query); // [n_keys]
            for ((key, vector), weight) in
                keys.chunks_exact_mut(d_model).zip(vectors.chunks_exact(d_model)).zip(weights)
            {
                if weight != 0.0 {
                    let weight = f64::from(weight);
                    key.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * f64::from(*x));
                }
            }
        }
        let residual = &self.residual[query * d_model..][..d_model];
        let bias = self.bias.map_or_else(|| vec![0.0; d_model], widened);
        Taken { keys, residual: widened(residual), constant: bias }
    }

    /// What each head adds to the state of `query` before the norm that comes after. Shape of each `[d_model]`.
    pub fn heads(&self, query: usize) -> Vec<Vec<f64>> {
        let (n_keys, d_model) = (self.n_keys(), self.d_model);
        let of_head = |(map, vectors): (&AttentionMap<'_>, &[f32])| {
            let mut sum = vec![0.0; d_model]; // [d_model]
            for (weight, vector) in map.row(query).into_iter().zip(vectors.chunks_exact(d_model)) {
                let weight = f64::from(weight);
                sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += weight * f64::from(*x));
            }
            sum
        };
        self.maps.iter().zip(self.transformed.chunks_exact(n_keys * d_model)).map(of_head).collect()
    }

    /// The bias of the output projection. Shape `[d_model]`.
    pub fn bias(&self) -> Option<Vec<f64>> {
        self.bias.map(widened)
    }

    /// The same behind that norm, whose variance is taken as it is.
    pub fn row_after(&self, query: usize) -> Taken {
        self.row(query).behind(self.join, self.d_model)
    }

    /// The stream behind the sublayer. Shape `[n_queries, d_model]`.
    pub fn output(&self) -> Vec<f32> {
        let of_query = |query: usize| self.row_after(query).sum().into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        (0..self.n_queries()).into_par_iter().flat_map_iter(of_query).collect()
    }
}

impl Taken {
    /// Their sum. Shape `[d_model]`.
    pub fn sum(&self) -> Vec<f64> {
        let mut sum = self.residual.clone(); // [d_model]
        add(&mut sum, &self.constant);
        self.keys.chunks_exact(sum.len()).for_each(|key| add(&mut sum, key));
        sum
    }
}

impl Taken {
    /// The same behind the norm that comes after the sublayer, whose variance is taken as it is.
    fn behind(mut self, join: Join<'_>, d_model: usize) -> Taken {
        let Some(norm) = join.on_sum().or(join.on_output()) else { return self };
        let is_of_sum = join.on_sum().is_some();
        let mut normed = self.sum();
        if !is_of_sum {
            normed.iter_mut().zip(&self.residual).for_each(|(x, residual)| *x -= residual);
        }
        let linear = LinearNorm::at(norm, &normed);
        self.keys.chunks_exact_mut(d_model).for_each(|key| linear.apply(key));
        linear.apply(&mut self.constant);
        add(&mut self.constant, &linear.bias());
        if is_of_sum {
            linear.apply(&mut self.residual);
        }
        self
    }
}

/// A norm at one state with its variance taken as a constant: a linear map, and a bias that is left out.
pub(super) struct LinearNorm<'a> {
    norm: &'a NormWeights,
    factor: f64,
}

impl<'a> LinearNorm<'a> {
    /// At `state`, of shape `[width]`: the biased variance with epsilon, as the model computes it.
    pub fn at(norm: &'a NormWeights, state: &[f64]) -> LinearNorm<'a> {
        let width = state.len() as f64;
        let mean = if norm.norm.kind.is_centred() { state.iter().sum::<f64>() / width } else { 0.0 };
        let variance = state.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / width;
        LinearNorm { norm, factor: 1.0 / (variance + f64::from(norm.norm.epsilon)).sqrt() }
    }

    /// `γ ⊙ (v − mean(v)) / σ`, without the mean where the norm is one of root mean squares. Shape `[width]`.
    pub fn apply(&self, vector: &mut [f64]) {
        let mean =
            if self.norm.norm.kind.is_centred() { vector.iter().sum::<f64>() / vector.len() as f64 } else { 0.0 };
        vector.iter_mut().for_each(|x| *x = (*x - mean) * self.factor);
        multiply_by_weight(self.norm, vector);
    }

    /// The transposed map: `direction · apply(v)` is `transposed(direction) · v`. Shape `[width]`.
    pub fn transpose(&self, direction: &mut [f64]) {
        multiply_by_weight(self.norm, direction);
        let mean =
            if self.norm.norm.kind.is_centred() { direction.iter().sum::<f64>() / direction.len() as f64 } else { 0.0 };
        direction.iter_mut().for_each(|x| *x = (*x - mean) * self.factor);
    }

    /// What the norm adds besides; empty where it adds nothing. Shape `[width]`.
    pub fn bias(&self) -> Vec<f64> {
        if self.norm.norm.kind.has_bias() { widened(&self.norm.bias) } else { Vec::new() }
    }
}

/// `γ ⊙ v`. Shape `[width]`.
pub(super) fn multiply_by_weight(norm: &NormWeights, vector: &mut [f64]) {
    if norm.norm.kind.has_weight() {
        let plus = f64::from(norm.norm.kind.plus());
        vector.iter_mut().zip(norm.weight.iter()).for_each(|(x, weight)| *x *= plus + f64::from(*weight));
    }
}

/// The weights of the attention that a layer was recorded from.
pub(super) fn attention_of<'a>(model: &'a Model, layer: &Layer) -> Result<&'a AttentionWeights, Error> {
    let transformer = model.transformer();
    let stack = if layer.kind == Kind::Encoder { &transformer.encoder } else { &transformer.decoder };
    let block = stack.as_ref().and_then(|stack| stack.blocks.get(layer.index));
    let attention = block.and_then(|block| match layer.kind {
        Kind::Cross => block.cross.as_ref(),
        _ => block.attention(),
    });
    let attention = attention.ok_or_else(|| Error::Plan(format!("{} has no {layer}", model.name())))?;
    match attention.gate {
        None => Ok(attention),
        Some(_) => Err(Error::Unsupported(format!(
            "{} gates what heads give: what keys add to states is not their values alone",
            model.name()
        ))),
    }
}

/// Where norms stand in a block; [`Residual::Pre`] where there is none.
pub(super) fn residual_of(model: &Model, kind: Kind, layer: usize) -> Residual {
    let architecture = &model.transformer().architecture;
    let stack = if kind == Kind::Encoder { &architecture.encoder } else { &architecture.decoder };
    stack.as_ref().and_then(|stack| stack.blocks.get(layer)).map_or(Residual::Pre, |block| block.residual)
}

/// `f_h(x_k)` of every head and key of a text. Shape `[n_heads, n_keys, d_model]`.
fn transformed(weights: &AttentionWeights, layer: &Layer, item: usize) -> Result<Vec<f32>, Error> {
    let shape = layer.shape;
    let (n_keys, width, d_model) = (shape.n_keys, shape.d_value, weights.output.d_out);
    let values = values(layer, item)?; // [n_kv_heads, n_keys, d_value]
    let mut vectors = vec![0.0; shape.n_heads * n_keys * d_model]; // [n_heads, n_keys, d_model]
    for (head, vectors) in vectors.chunks_exact_mut((n_keys * d_model).max(1)).enumerate() {
        let of_head = &values[shape.kv_head(head) * n_keys * width..][..n_keys * width];
        Linear::new(output_of_head(&weights.output, head, width), None, d_model, width).forward_to(
            of_head,
            vectors,
            Onto::Replace,
        );
    }
    Ok(vectors)
}

/// The values of a text, where they were kept. Shape `[n_kv_heads, n_keys, d_value]`.
pub(super) fn values(layer: &Layer, item: usize) -> Result<Cow<'_, [f32]>, Error> {
    let shape = layer.shape;
    let kept = layer.traces.get(Trace::Values);
    let values = kept.ok_or_else(|| Error::Plan(format!("the run kept no values of {layer}")))?;
    let n = shape.n_kv_heads * shape.n_keys * shape.d_value;
    Ok(values.read(item * n..(item + 1) * n)?)
}

/// A head's columns of the output projection. Shape `[d_model, width]`.
pub(super) fn output_of_head(output: &Linear, head: usize, width: usize) -> Vec<f32> {
    columns(&output.weight, output.d_in, head * width, width)
}

/// Some columns of a matrix. Shape `[n_rows, width]`.
pub(super) fn columns(weight: &Weight, d_in: usize, start: usize, width: usize) -> Vec<f32> {
    let rows = weight.rows(); // [n_rows, d_in]
    rows.chunks_exact(d_in.max(1)).flat_map(|row| &row[start..start + width]).copied().collect()
}

/// The residual stream that enters a layer of a stack, for text `item`. Shape `[n, d_model]`.
pub(super) fn stream(run: &Run, stack: Kind, layer: usize, item: usize) -> Result<&[f32], Error> {
    let kept = run.kept(Site::Stream, stack, layer);
    let array = kept.ok_or_else(|| Error::Plan(format!("the run kept no residual stream of {stack} layer {layer}")))?;
    let n: usize = array.shape[1..].iter().product();
    array.values.get(item * n..(item + 1) * n).ok_or_else(|| Error::Plan(format!("the run has no text {item}")))
}

/// The sublayers of one kind, in the order of the stack; cross-attention adds to what self-attention has left.
pub(super) fn each_sublayer<'a>(
    model: &'a Model,
    run: &'a Run,
    kind: Kind,
    item: usize,
    mut work: impl FnMut(usize, &Sublayer<'a>) -> Result<(), Error>,
) -> Result<(), Error> {
    let stack = if kind == Kind::Encoder { Kind::Encoder } else { Kind::Decoder };
    for layer in run.recording.layers_of(kind) {
        let mut residual = Cow::Borrowed(stream(run, stack, layer.index, item)?);
        if kind == Kind::Cross {
            let own = run.recording.layer(Kind::Decoder, layer.index)?;
            residual = Cow::Owned(Sublayer::new(model, run, own, item, residual)?.output());
        }
        work(layer.index, &Sublayer::new(model, run, layer, item, residual)?)?;
    }
    Ok(())
}

pub(super) fn widened(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|x| f64::from(*x)).collect()
}

pub(super) fn add(sum: &mut [f64], addend: &[f64]) {
    sum.iter_mut().zip(addend).for_each(|(sum, x)| *sum += x);
}

/// `‖v‖`.
pub(super) fn length(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}
