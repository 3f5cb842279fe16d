//! Log-sum-exps: computed where nobody wrote them, exact where scores are large, held against queries and keys.

use serde::Serialize;

use super::validate::{check_axes, check_layer};
use super::{Factored, Item, Layer, Trace, Weights};
use crate::attention::{Inputs, Outputs, Shape, attend, needs_f64};
use crate::{AttentionMap, Buffer, Error, HeadId, Kind, Mask, Numbers, Recording, Scoring, Token, TokenRole};

/// Multiply–adds that log-sum-exps which a file lacks may take at most: minutes.
const MAX_WORK: u64 = 1 << 39;
/// What an exponential costs, in multiply–adds.
const EXPONENTIAL: usize = 16;
/// Rows of each map that [`Recording::verify`] computes again.
const VERIFIED_ROWS: usize = 16;

/// A layer of attention as whoever computed it has it: its log-sum-exps are still to be found.
#[derive(Debug, Clone)]
pub struct QueriesAndKeys {
    /// The kind of attention.
    pub kind: Kind,
    /// The layer's true index in its stack of the model.
    pub index: usize,
    /// The sizes of one item's map.
    pub shape: Shape,
    /// How scores are formed.
    pub scoring: Scoring,
    /// Rotary positions are already applied. Shape `[batch, n_heads, n_queries, d_head]`.
    pub queries: Numbers,
    /// Shape `[batch, n_kv_heads, n_keys, d_head]`.
    pub keys: Numbers,
    /// Which keys are seen of those that the scoring's band lets through; all when `None`.
    pub mask: Option<Mask>,
    /// Added to the scores of each key. Shape `[batch or 1, n_heads, n_keys]`.
    pub key_bias: Option<Buffer>,
}

impl QueriesAndKeys {
    /// The layer of a recording of `items`, its log-sum-exps computed in f64; keys that are padding are masked.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when an array has another size than `shape` and `items` say.
    pub fn layer(self, items: &[Item]) -> Result<Layer, Error> {
        let QueriesAndKeys { kind, index, shape, scoring, queries, keys, mask, key_bias } = self;
        let rows = super::elements(&[items.len(), shape.n_heads, shape.n_queries]).filter(|n| *n <= queries.len());
        let lse = vec![0.0; rows.unwrap_or(0)].into(); // [batch, n_heads, n_queries]
        let factored = Factored { scoring, queries, keys, lse, mask, key_bias };
        let mut layer = Layer::new(kind, index, shape, factored);
        layer.check_sizes(items)?;
        layer.compute_lse(items, |_| true)?;
        Ok(layer)
    }
}

impl Layer {
    /// Computes the layer's log-sum-exps with the running kernel, in f32, and in f64 where scores reach ±16; what stands in
    /// their place need only have their number. Keys that are padding are masked. A dense layer has none, and stays.
    ///
    /// [`QueriesAndKeys::layer`] computes all of them in f64, which takes longer.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when an array has another size than the shape and `items` say.
    pub fn stream_lse(&mut self, items: &[Item]) -> Result<(), Error> {
        self.check_sizes(items)?;
        let Some(factored) = self.factored() else { return Ok(()) };
        let shape = Shape { d_value: 0, ..self.shape };
        let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_head, .. } = shape;
        let (n_rows, n_query_numbers, n_key_numbers) =
            (n_heads * n_queries, n_heads * n_queries * d_head, n_kv_heads * n_keys * d_head);
        let mut lse = vec![0.0_f32; items.len() * n_rows]; // [batch, n_heads, n_queries]
        for (index, (item, lse)) in items.iter().zip(lse.chunks_exact_mut(n_rows)).enumerate() {
            let is_real = |token: &Token| token.role != TokenRole::Padding;
            let key_valid: Vec<bool> = self.key_tokens(item).tokens.iter().map(is_real).collect();
            let bias_rows = n_heads * n_keys;
            let key_bias = factored.key_bias.as_deref().map(|bias| {
                let text = if bias.len() == bias_rows { 0 } else { index };
                &bias[text * bias_rows..][..bias_rows]
            });
            let inputs = Inputs {
                queries: &factored.queries.read(index * n_query_numbers..(index + 1) * n_query_numbers)?,
                keys: &factored.keys.read(index * n_key_numbers..(index + 1) * n_key_numbers)?,
                values: &[],
                shape,
                scoring: &factored.scoring,
                key_valid: Some(&key_valid),
                mask: factored.mask.as_ref().map(|mask| mask.of_item(index, &shape)),
                key_bias,
            };
            attend(&inputs, &mut Outputs { context: &mut [], lse, pooled: None });
        }
        if let Weights::Factored(factored) = &mut self.weights {
            factored.lse = lse.into_iter().map(f64::from).collect::<Vec<f64>>().into();
        }
        self.compute_lse(items, needs_f64)
    }

    /// Refuses arrays, masks and axes of other sizes than the shape and the texts say.
    fn check_sizes(&self, items: &[Item]) -> Result<(), Error> {
        let mask = self.factored().and_then(|factored| factored.mask.as_ref());
        let checked = check_layer(self, items.len())
            .and_then(|()| mask.map_or(Ok(()), |mask| mask.check(items.len(), &self.shape)))
            .and_then(|()| check_axes(self, items));
        checked.map_err(|message| Error::Inconsistent(format!("{self}: {message}")))
    }

    /// Computes, in f64, the log-sum-exps of the maps whose present ones are `in_doubt`; those of padded rows put none in
    /// doubt, so that a text has the same numbers whatever it was padded to.
    pub(super) fn compute_lse(&mut self, items: &[Item], in_doubt: impl Fn(&[f64]) -> bool) -> Result<(), Error> {
        let Some(factored) = self.factored() else { return Ok(()) };
        let present = factored.lse.read_all()?;
        if !in_doubt(&present) {
            return Ok(());
        }
        let n_queries = self.shape.n_queries;
        let rows: Vec<usize> = (0..n_queries).collect();
        let mut all = present.into_owned();
        for (map, lse) in all.chunks_exact_mut(n_queries).enumerate() {
            let (item, head) = (map / self.shape.n_heads, map % self.shape.n_heads);
            if in_doubt(&self.query_tokens(&items[item]).without_padding(lse)) {
                lse.copy_from_slice(
                    &AttentionMap::new(self, item, &items[item], head, 0..self.shape.n_queries)?.log_sum_exp(&rows),
                );
            }
        }
        if let Weights::Factored(factored) = &mut self.weights {
            factored.lse = all.into();
        }
        Ok(())
    }

    /// Multiply–adds of all scores of the layer and their exponentials.
    pub(super) fn work(&self, n_items: usize) -> u64 {
        let Shape { n_heads, n_queries, n_keys, d_head, .. } = self.shape;
        [n_items, n_heads, n_queries, n_keys, d_head.saturating_add(EXPONENTIAL)]
            .iter()
            .fold(1, |work: u64, n| work.saturating_mul(*n as u64))
    }
}

/// Refuses to compute more log-sum-exps than anyone would wait for.
pub(super) fn check_work(work: u64) -> Result<(), String> {
    match work <= MAX_WORK {
        true => Ok(()),
        false => Err(format!(
            "layers have no lse, and computing it takes {work} multiplications, more than the limit of {MAX_WORK}; \
             whoever computed the attention has them"
        )),
    }
}

/// A layer's log-sum-exps held against its queries and keys, on some rows of each map.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LseCheck {
    /// The kind of attention.
    pub kind: Kind,
    /// The stack of the model, where it has several of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<String>,
    /// The layer's index.
    pub layer: usize,
    /// Rows that were computed again.
    pub n_rows: usize,
    /// The largest difference between a recorded log-sum-exp and that of queries and keys; ∞ where one alone is finite.
    pub max_difference: f64,
    /// Where that is: text, head, query.
    pub worst_row: Option<(usize, HeadId, usize)>,
    /// The largest difference between `Σ w · V` and the head outputs, where values and head outputs were kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_difference: Option<f64>,
}

impl Recording {
    /// Computes again, in f64, the log-sum-exps of heads whose scores are too large for f32 to tell apart: ±16 and more.
    ///
    /// Whoever fills a recording from the running kernel calls it once; [`QueriesAndKeys::layer`] needs it not.
    ///
    /// # Errors
    /// When numbers lie in a file that cannot be read; never for a recording that lies in memory.
    pub fn sharpen(&mut self) -> Result<(), Error> {
        self.layers.iter_mut().try_for_each(|layer| layer.compute_lse(&self.items, needs_f64))
    }

    /// Computes log-sum-exps again from queries and keys, on 16 rows of each map, and says how far the recorded ones are
    /// off; likewise the head outputs, where they and the values were kept. Dense layers have nothing to be held against.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the recording contradicts itself.
    pub fn verify(&self) -> Result<Vec<LseCheck>, Error> {
        self.validate()?;
        self.layers.iter().filter(|layer| layer.factored().is_some()).map(|layer| self.verify_layer(layer)).collect()
    }

    fn verify_layer(&self, layer: &Layer) -> Result<LseCheck, Error> {
        let Shape { n_heads, n_queries, .. } = layer.shape;
        let mut found = LseCheck {
            kind: layer.kind,
            stack: layer.stack.clone(),
            layer: layer.index,
            n_rows: 0,
            max_difference: 0.0,
            worst_row: None,
            max_output_difference: None,
        };
        let n_rows = n_queries.min(VERIFIED_ROWS);
        let rows: Vec<usize> = (0..n_rows).map(|row| row * n_queries / n_rows).collect();
        for item in 0..self.items.len() {
            for head in 0..n_heads {
                let map = self.map_of(layer, item, head)?;
                let recorded = map.lse().unwrap_or_default();
                for (row, computed) in rows.iter().zip(map.log_sum_exp(&rows)) {
                    let difference = difference(recorded[*row], computed);
                    if difference > found.max_difference {
                        (found.max_difference, found.worst_row) = (difference, Some((item, map.id(), *row)));
                    }
                    if let Some(difference) = output_difference(layer, &map, (item, head, *row))? {
                        found.max_output_difference = Some(found.max_output_difference.unwrap_or(0.0).max(difference));
                    }
                }
                found.n_rows += rows.len();
            }
        }
        Ok(found)
    }
}

/// How far two log-sum-exps are apart: ∞ where one alone is finite or is no number.
fn difference(a: f64, b: f64) -> f64 {
    let difference = (a - b).abs();
    match a == b {
        true => 0.0,
        false if difference.is_nan() => f64::INFINITY,
        false => difference,
    }
}

/// The largest difference between a head's recorded output for one query and `Σ w · V`; `None` where these were not kept.
fn output_difference(
    layer: &Layer,
    map: &AttentionMap<'_>,
    (item, head, query): (usize, usize, usize),
) -> Result<Option<f64>, Error> {
    let (Some(values), Some(outputs)) = (layer.traces.get(Trace::Values), layer.traces.get(Trace::HeadOutputs)) else {
        return Ok(None);
    };
    let Shape { n_heads, n_kv_heads, n_queries, n_keys, d_value, .. } = layer.shape;
    let first_key = (item * n_kv_heads + layer.shape.kv_head(head)) * n_keys;
    let row = (item * n_heads + head) * n_queries + query;
    let values = values.read(first_key * d_value..(first_key + n_keys) * d_value)?; // [n_keys, d_value]
    let mut sums = vec![0.0_f64; d_value];
    for (weight, value) in map.row(query).iter().zip(values.chunks_exact(d_value.max(1))) {
        sums.iter_mut().zip(value).for_each(|(sum, value)| *sum += f64::from(*weight) * f64::from(*value));
    }
    let output = outputs.read(row * d_value..(row + 1) * d_value)?;
    let differences = sums.iter().zip(output.iter()).map(|(sum, output)| difference(*sum, f64::from(*output)));
    Ok(Some(differences.fold(0.0, f64::max)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Provenance, Tokens, Visibility};

    /// One head on six tokens and, where asked for, a padded one whose scores are far too large for f32.
    fn recording(is_padded: bool) -> Recording {
        let n = if is_padded { 7 } else { 6 };
        let mut source = Tokens::from_labels((0..n).map(|token| format!("t{token}")));
        let mut numbers: Vec<f32> = (0..n * 2).map(|index| (index * 7 % 11) as f32 / 11.0).collect(); // [n, 2]
        if is_padded {
            source.tokens[6] = Token { role: TokenRole::Padding, ..Token::labelled("[PAD]") };
            numbers[12..].fill(90.0);
        }
        let items = vec![Item { source, ..Item::default() }];
        let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 2, d_value: 0 };
        let scoring = Scoring::scaled_dot_product(2, Visibility::FULL);
        let [queries, keys] = [(); 2].map(|()| Numbers::from(Buffer::from(numbers.clone())));
        let layer =
            QueriesAndKeys { kind: Kind::Encoder, index: 0, shape, scoring, queries, keys, mask: None, key_bias: None };
        let layers = vec![layer.layer(&items).expect("sizes agree")];
        let mut recording = Recording { items, layers, provenance: Provenance::default() };
        recording.sharpen().expect("numbers are in memory");
        recording
    }

    #[test]
    fn a_text_has_the_same_weights_to_the_last_bit_whatever_it_is_padded_to() {
        let weights = |is_padded: bool| {
            let recording = recording(is_padded);
            recording.map(0, Kind::Encoder, 0, 0).expect("the head exists").tile(0..6, 0..6)
        };
        assert_eq!(weights(true), weights(false));
    }

    #[test]
    fn log_sum_exps_of_the_kernel_are_those_of_f64_and_exact_where_scores_are_large() {
        for (is_padded, factor) in [(false, 1.0), (true, 1.0), (false, 30.0)] {
            let recording = recording(is_padded);
            let mut layer = recording.layers[0].clone();
            let Weights::Factored(factored) = &mut layer.weights else { unreachable!() };
            factored.scoring.scale *= factor;
            factored.scoring.visibility = Visibility::CAUSAL;
            let mut exact = layer.clone();
            layer.stream_lse(&recording.items).expect("sizes agree");
            exact.compute_lse(&recording.items, |_| true).expect("numbers are in memory");
            let lse = |layer: &Layer| layer.factored().unwrap().lse.read_all().unwrap().into_owned();
            let (streamed, exact) = (lse(&layer), lse(&exact));
            let off = streamed.iter().zip(&exact).take(6).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-5, "off by {off}");
            assert!(factor == 1.0 || off == 0.0, "beyond ±16 they are computed in f64: {off}");
        }
    }

    #[test]
    fn streamed_log_sum_exps_need_arrays_of_the_sizes_that_the_shape_says() {
        let mut recording = recording(false);
        recording.layers[0].shape.n_queries = 7;
        let error = recording.layers[0].clone().stream_lse(&recording.items).unwrap_err().to_string();
        assert!(error.starts_with("encoder layer 0: "), "{error}");
    }
}
