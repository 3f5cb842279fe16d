//! Norm-based attention: how long the vectors are that keys add to queries (Kobayashi et al. 2020, 2021).

use attlas::analysis::whole_layer;
use attlas::attention::Shape;
use attlas::recording::Edit;
use attlas::{Kind, Layer, Quantity, Recording, Trace, quantity};
use rayon::prelude::*;
use serde::Serialize;

use super::knock_out::check_finite;
use super::parts::{Sublayer, Taken, add, attention_of, check_size, each_sublayer, length, output_of_head, values};
use crate::Error;
use crate::block::weights::AttentionWeights;
use crate::model::Model;
use crate::run::record::Run;

/// What the norm of a layer's map is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NormForm {
    /// `‖Σ_h w(q, k) f_h(x_k)‖` (Kobayashi et al. 2020).
    Sum,
    /// The same, with the residual on the diagonal: `‖Σ_h w(q, k) f_h(x_k) + [q = k] x_q‖` (Kobayashi et al. 2021).
    Residual,
    /// The same behind the layer norm, its variance taken as it is. Where no norm comes after the sublayer (pre-norm models) it is
    /// [`NormForm::Residual`].
    LayerNorm,
}

impl NormForm {
    /// All of them.
    pub const ALL: [NormForm; 3] = [NormForm::Sum, NormForm::Residual, NormForm::LayerNorm];

    /// What a reader of a map must know, as notes of a recording say it.
    pub fn note(self) -> &'static str {
        match self {
            NormForm::Sum => quantity::NORM_SUM.note,
            NormForm::Residual => quantity::NORM_RESIDUAL.note,
            NormForm::LayerNorm => quantity::NORM_LAYER_NORM.note,
        }
    }
}

/// Keeps `‖f_h(x_k)‖` of every head and key beside the weights, from the values that the run kept: from then on the recording has
/// maps of `‖w(q, k) f_h(x_k)‖`, weight × norm, and holds one number per head and key for them.
///
/// `f_h(x_k) = V_h[k] · W_O,h`, the value's bias in it and the output's left out (Kobayashi et al. 2020, §2).
///
/// # Errors
/// When values were not kept, or outputs of heads were changed in the run.
pub fn keep_value_norms(model: &Model, recording: &mut Recording) -> Result<(), Error> {
    if let Some(edit) = recording.provenance.edits.iter().find(|edit| matches!(edit, Edit::HeadOutput { .. })) {
        return Err(Error::Unsupported(format!(
            "norms of what heads add are not defined in a run whose head outputs were changed: {}",
            edit.sentence()
        )));
    }
    let n_items = recording.items.len();
    for layer in recording.layers.iter_mut().filter(|layer| layer.quantity == Quantity::Weight) {
        let weights = attention_of(model, layer)?;
        let mut norms = Vec::with_capacity(n_items * layer.shape.n_heads * layer.shape.n_keys); // [n_items, n_heads, n_keys]
        for item in 0..n_items {
            norms.extend(value_norms(weights, layer, item)?);
        }
        layer.traces.insert(Trace::ValueNorms, norms);
    }
    Ok(())
}

/// `‖f_h(x_k)‖` of a text, as `√(v W_hᵀ W_h v)`. Shape `[n_heads, n_keys]`.
fn value_norms(weights: &AttentionWeights, layer: &Layer, item: usize) -> Result<Vec<f32>, Error> {
    let Shape { n_heads, n_keys, d_value: width, .. } = layer.shape;
    let values = values(layer, item)?;
    let of_head = |head: usize| -> Vec<f32> {
        let products = inner_products(&output_of_head(&weights.output, head, width), width); // [width, width]
        let of_head = &values[layer.shape.kv_head(head) * n_keys * width..][..n_keys * width];
        of_head.chunks_exact(width.max(1)).map(|value| quadratic(&products, value).max(0.0).sqrt() as f32).collect()
    };
    Ok((0..n_heads).into_par_iter().flat_map_iter(of_head).collect())
}

/// `Wᵀ W`. Shapes `[n, width]` and `[width, width]`.
fn inner_products(matrix: &[f32], width: usize) -> Vec<f64> {
    let mut products = vec![0.0; width * width]; // [width, width]
    for row in matrix.chunks_exact(width.max(1)) {
        for (sums, x) in products.chunks_exact_mut(width).zip(row) {
            sums.iter_mut().zip(row).for_each(|(sum, y)| *sum += f64::from(*x) * f64::from(*y));
        }
    }
    products
}

/// `v M v`.
fn quadratic(matrix: &[f64], vector: &[f32]) -> f64 {
    let rows = matrix.chunks_exact(vector.len()).zip(vector);
    rows.map(|(row, x)| f64::from(*x) * row.iter().zip(vector).map(|(m, y)| m * f64::from(*y)).sum::<f64>()).sum()
}

/// One map of norms per layer of a kind, of all heads together; the note says which norms they are. In cross-attention the residual
/// belongs to no key and is left out.
///
/// # Errors
/// When the run did not keep what [`traced`](super::traced) says, its head outputs were changed, the maps would not fit, or it has numbers
/// that are infinite or none (NaN).
pub fn summed_norms(model: &Model, run: &Run, kind: Kind, form: NormForm) -> Result<(Vec<Layer>, String), Error> {
    check_finite(run)?;
    let n_items = run.recording.items.len();
    check_size("norms of a layer's maps", n_items, run.recording.layers_of(kind))?;
    let mut arrays: Vec<Vec<f32>> = vec![Vec::new(); run.recording.layers_of(kind).count()]; // [n_items, n_queries, n_keys]
    for item in 0..n_items {
        let mut arrays = arrays.iter_mut();
        each_sublayer(model, run, kind, item, |_, sublayer| {
            let rows = (0..sublayer.n_queries()).into_par_iter().flat_map_iter(|query| norms(sublayer, query, form));
            if let Some(array) = arrays.next() {
                array.par_extend(rows);
            }
            Ok(())
        })?;
    }
    let layers = run.recording.layers_of(kind).zip(arrays);
    let layers = layers.map(|(layer, array)| whole_layer(layer, Quantity::Norm, array)).collect();
    Ok((layers, form.note().to_owned()))
}

/// How long the vectors are that keys add to a query. Shape `[n_keys]`.
fn norms(sublayer: &Sublayer<'_>, query: usize, form: NormForm) -> Vec<f32> {
    let taken = with_own(sublayer, query, form);
    taken.keys.chunks_exact(taken.residual.len()).map(|key| length(key) as f32).collect()
}

/// What keys add to a query, the residual with its own key where the form wants it there.
fn with_own(sublayer: &Sublayer<'_>, query: usize, form: NormForm) -> Taken {
    let mut taken = match form {
        NormForm::LayerNorm => sublayer.row_after(query),
        _ => sublayer.row(query),
    };
    let d_model = taken.residual.len();
    if form != NormForm::Sum && sublayer.is_own() {
        add(&mut taken.keys[query * d_model..][..d_model], &taken.residual);
    }
    taken
}

/// How much of a token's state behind an attention sublayer is mixed in from other tokens, and how much is its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mixing {
    /// The text.
    pub item: usize,
    /// The kind of attention.
    pub kind: Kind,
    /// The layer.
    pub layer: usize,
    /// The token whose state it is.
    pub query: usize,
    /// The shares that are mixed in.
    pub mixing: Shares,
}

/// `‖mixed in‖ / (‖mixed in‖ + ‖preserved‖)`, in 0 ..= 1, of a sublayer alone, with its residual, and behind its norm. What is preserved is
/// what the token itself brings (Kobayashi et al. 2021, §3). In cross-attention the source is what is mixed in, and the residual what is
/// preserved; of attention alone nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Shares {
    /// Attention alone.
    pub attention: f64,
    /// With the residual.
    pub residual: f64,
    /// Behind the layer norm; the same as `residual` where none comes after the sublayer.
    pub layer_norm: f64,
}

/// The mixing ratios of every token and layer of a kind.
///
/// # Errors
/// As [`summed_norms`].
pub fn mixing(model: &Model, run: &Run, kind: Kind) -> Result<Vec<Mixing>, Error> {
    check_finite(run)?;
    let mut found = Vec::new();
    for item in 0..run.recording.items.len() {
        each_sublayer(model, run, kind, item, |layer, sublayer| {
            let of_query = |query: usize| {
                let (row, after) = (sublayer.row(query), sublayer.row_after(query));
                let mixing = Shares {
                    attention: share(sublayer, query, &row, vec![0.0; row.residual.len()]),
                    residual: share(sublayer, query, &row, row.residual.clone()),
                    layer_norm: share(sublayer, query, &after, after.residual.clone()),
                };
                Mixing { item, kind, layer, query, mixing }
            };
            found.par_extend((0..sublayer.n_queries()).into_par_iter().map(of_query));
            Ok(())
        })?;
    }
    Ok(found)
}

/// The share of a query's state that other tokens bring, where the token itself brings `own` and its value. Shape of `own`: `[d_model]`.
fn share(sublayer: &Sublayer<'_>, query: usize, taken: &Taken, mut own: Vec<f64>) -> f64 {
    let d_model = own.len();
    let mut mixed = vec![0.0; d_model]; // [d_model]
    for (key, vector) in taken.keys.chunks_exact(d_model).enumerate() {
        let is_own = sublayer.is_own() && key == query;
        add(if is_own { &mut own } else { &mut mixed }, vector);
    }
    let (mixed, own) = (length(&mixed), length(&own));
    if mixed == 0.0 { 0.0 } else { mixed / (mixed + own) }
}
