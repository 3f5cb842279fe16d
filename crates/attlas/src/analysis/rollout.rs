//! Attention rollout: weights with the residual stream mixed in, multiplied through the layers (Abnar and Zuidema 2020).

use rayon::prelude::*;

use crate::attention::Shape;
use crate::grid::mean_rows;
use crate::{Buffer, Error, Kind, Layer, Quantity, Recording};

/// The most numbers of all maps together: 1 GiB of f32.
const MAX_NUMBERS: usize = 1 << 28;

/// The rollout of each layer of a stack, as one map a layer: `A_l = rows of (W̄_l + I) ÷ their sums`, `R_l = A_l · R_{l−1}`, where
/// `W̄_l` is the mean over heads (Abnar and Zuidema 2020, §3). Row `q` of `R_l` says how the tokens that enter the model are mixed in
/// the state of token `q` behind layer `l`, if heads count alike and values are all alike; rows sum to 1.
///
/// # Errors
/// [`Error::Undefined`] of the decoder of an encoder-decoder, where the fixed ½ of the residual alone decides what share the source
/// has, where a layer has no weights, and where maps are not square; [`Error::TooMany`] where they would not fit in memory.
pub fn rollout(recording: &Recording, kind: Kind) -> Result<Vec<Layer>, Error> {
    check_stack(recording, kind, "rollout")?;
    let layers: Vec<&Layer> = recording.layers_of(kind).collect();
    let mut arrays: Vec<Vec<f32>> = vec![Vec::new(); layers.len()];
    for item in 0..recording.items.len() {
        let mut paths = Paths::default();
        for (layer, array) in layers.iter().zip(&mut arrays) {
            let rollout = paths.through(augmented(recording, layer, item)?);
            array.extend(rollout.iter().map(|share| *share as f32));
        }
    }
    Ok(layers.into_iter().zip(arrays).map(|(layer, array)| whole_layer(layer, Quantity::Rollout, array)).collect())
}

/// A dense map of a whole layer, on the axes of its weights. Shape of `numbers`: `[n_items, n_queries, n_keys]`.
pub fn whole_layer(layer: &Layer, quantity: Quantity, numbers: Vec<f32>) -> Layer {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, ..layer.shape };
    let (query_axis, key_axis) = (layer.query_axis.clone(), layer.key_axis.clone());
    let stack = layer.stack.clone();
    let new = Layer::new(layer.kind, layer.index, shape, Buffer::from(numbers));
    Layer { quantity, stack, query_axis, key_axis, ..new }
}

/// Refuses what paths through layers are not defined for; `what` names the quantity.
pub(super) fn check_stack(recording: &Recording, kind: Kind, what: &str) -> Result<(), Error> {
    let n_layers = recording.layers_of(kind).count();
    if n_layers == 0 {
        recording.last_layer(kind)?;
    }
    let n_cross = recording.layers_of(Kind::Cross).count();
    if kind != Kind::Encoder && n_cross > 0 {
        let share = 1.0 - 0.5_f64.powi(n_cross as i32);
        return Err(Error::Undefined(format!(
            "{what} is not defined for the decoder of an encoder-decoder: with a fixed half for each residual, the source's share is \
             1 − 2^−{n_cross} = {share} whatever the model does; contributions (ALTI+) measure the residual, and {what} of the encoder is \
             defined"
        )));
    }
    let layers = || recording.layers_of(kind);
    let last = layers().map(|layer| layer.index).max().unwrap_or(0);
    if let Some(missing) = (0..last).find(|index| layers().all(|layer| layer.index != *index)) {
        return Err(Error::Undefined(format!(
            "{what} goes through every layer of a stack, but there are no weights of layer {missing}: they were not kept, or that \
             layer has no attention"
        )));
    }
    if let Some(layer) = layers().find(|layer| layer.shape.n_queries != layer.shape.n_keys) {
        let (n_queries, n_keys) = (layer.shape.n_queries, layer.shape.n_keys);
        return Err(Error::Undefined(format!(
            "{what} multiplies maps of the same tokens, but {layer} has {n_queries} queries and {n_keys} keys"
        )));
    }
    let sizes: Vec<usize> = layers().map(|layer| layer.shape.n_keys).collect();
    if sizes.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(Error::Undefined(format!(
            "{what} multiplies maps of the same tokens, but layers have {sizes:?} keys"
        )));
    }
    let n_numbers = sizes.iter().map(|n| n.saturating_mul(*n)).fold(0_usize, usize::saturating_add);
    let n_numbers = n_numbers.saturating_mul(recording.items.len());
    match n_numbers <= MAX_NUMBERS {
        true => Ok(()),
        false => Err(Error::TooMany { what: what.to_owned(), n: n_numbers, things: "numbers", limit: MAX_NUMBERS }),
    }
}

/// The mean of a layer's heads with the residual: `(W̄ + I)`, each row divided by its sum. Shape `[n, n]`.
///
/// # Errors
/// When the layer's file cannot be read.
pub fn augmented(recording: &Recording, layer: &Layer, item: usize) -> Result<Vec<f64>, Error> {
    let n = layer.shape.n_keys;
    let heads =
        (0..layer.shape.n_heads).map(|head| recording.map_of(layer, item, head)).collect::<Result<Vec<_>, _>>()?;
    let mut mixed: Vec<f64> = mean_rows(&heads, 0..n).into_iter().map(f64::from).collect(); // [n, n]
    for (query, row) in mixed.chunks_exact_mut(n.max(1)).enumerate() {
        row[query] += 1.0;
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|share| *share /= sum);
    }
    Ok(mixed)
}

/// The product of square maps, one layer after the other: `R_0 = A_0`, `R_l = A_l · R_{l−1}`. Only the last is held.
#[derive(Debug, Clone, Default)]
pub struct Paths {
    so_far: Option<Vec<f64>>,
}

impl Paths {
    /// The product up to a layer, of shape `[n, n]` as the layer's map is.
    pub fn through(&mut self, layer: Vec<f64>) -> &[f64] {
        let next = match &self.so_far {
            None => layer,
            Some(before) => product(&layer, before),
        };
        self.so_far.insert(next)
    }

    /// The product so far; `None` before the first layer.
    pub fn so_far(&self) -> Option<&[f64]> {
        self.so_far.as_deref()
    }
}

/// Shapes `[n, n]`.
fn product(left: &[f64], right: &[f64]) -> Vec<f64> {
    let n = left.len().isqrt().max(1);
    let mut product = vec![0.0; left.len()]; // [n, n]
    product.par_chunks_exact_mut(n).zip(left.par_chunks_exact(n)).for_each(|(sums, row)| {
        for (share, other) in row.iter().zip(right.chunks_exact(n)).filter(|(share, _)| **share != 0.0) {
            sums.iter_mut().zip(other).for_each(|(sum, x)| *sum += share * x);
        }
    });
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Token, TokenRole};

    #[test]
    fn a_text_without_tokens_has_a_rollout_without_numbers() {
        let recording = crate::analysis::rows::tests::recording(Kind::Encoder, Vec::new(), 0, 0);
        let layers = rollout(&recording, Kind::Encoder).expect("a rollout");
        assert_eq!(layers.len(), 1);
        assert!(crate::analysis::flow(&recording, Kind::Encoder, 0, 64).is_ok());
    }

    #[test]
    fn what_padding_keeps_of_itself_fails_no_check_and_what_a_token_has_of_padding_does() {
        let sound = [0.5, 0.5, 0.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.0];
        let leaking = [0.5, 0.5, 0.0, 0.5, 0.0, 0.5, 0.5, 0.5, 0.0];
        for (weights, is_sound) in [(sound, true), (leaking, false)] {
            let mut recording = crate::analysis::rows::tests::recording(Kind::Encoder, weights.to_vec(), 3, 3);
            recording.items[0].source.tokens[2] = Token { role: TokenRole::Padding, ..Token::labelled("<pad>") };
            let layers = rollout(&recording, Kind::Encoder).expect("a rollout");
            recording.layers.extend(layers);
            let checks = recording.check().expect("a recording");
            assert_eq!((checks.len(), checks.iter().all(|check| check.passed())), (2, is_sound), "{checks:?}");
        }
    }

    #[test]
    fn a_stack_with_a_layer_that_has_no_weights_is_refused_by_its_number() {
        let mut recording = crate::analysis::rows::tests::recording(Kind::Encoder, vec![1.0], 1, 1);
        recording.layers[0].index = 2;
        let refusal = rollout(&recording, Kind::Encoder).expect_err("a refusal").to_string();
        assert!(refusal.contains("no weights of layer 0"), "{refusal}");
        assert!(crate::analysis::flow(&recording, Kind::Encoder, 2, 64).is_err());
    }

    #[test]
    fn two_layers_that_each_look_one_token_back_mix_three_tokens() {
        // half residual, half the token before; the first token sees itself alone
        let layer = vec![1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5];
        let mut paths = Paths::default();
        assert_eq!(paths.through(layer.clone()), layer);
        assert_eq!(paths.through(layer.clone()), [1.0, 0.0, 0.0, 0.75, 0.25, 0.0, 0.25, 0.5, 0.25]);
    }
}
