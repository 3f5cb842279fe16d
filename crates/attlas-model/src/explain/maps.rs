//! What weights and their gradients say together: gradient × weight of every head, relevance layer by layer.

use attlas::{Kind, Layer, Quantity, Recording, Weights, attention::Shape};

use super::read::{Explained, Watch};
use super::relevance::{Matrix, Positive, Relevance};
use super::score::Score;
use crate::block::pass::{Next, Site};
use crate::run::backward::{Gradients, Rules};
use crate::{Error, Input, Model};

impl Model {
    /// Maps of one text that say what a score rests on: [`Quantity::GradientWeight`], `∂S/∂A · A` of every head; or
    /// [`Quantity::Relevance`], after each layer one map with what each token has become relevant for each position (Chefer et
    /// al. 2021b), the identity left out: source for source, target for target, and as cross-attention source for target.
    ///
    /// # Errors
    /// As [`Model::explain`]; and for other quantities.
    pub fn explained_maps(&self, input: &Input, score: &Score, quantity: Quantity) -> Result<Recording, Error> {
        self.explained_maps_watched(input, score, quantity, &mut |_| Next::Continue)
    }

    /// The same, telling `watch` before each block where it is.
    ///
    /// # Errors
    /// As [`Model::explained_maps`], and [`Error::Stopped`] when `watch` says so.
    pub fn explained_maps_watched(
        &self,
        input: &Input,
        score: &Score,
        quantity: Quantity,
        watch: &mut Watch<'_>,
    ) -> Result<Recording, Error> {
        if !matches!(quantity, Quantity::GradientWeight | Quantity::Relevance) {
            return Err(Error::Unsupported(format!("no gradient gives maps of {}", quantity.words())));
        }
        let explained = Explained::new(self, input, score)?;
        let (value, gradients) = explained.gradients(&[Site::Attention], Rules::Gradient, watch)?;
        let mut layers = Vec::new();
        if quantity == Quantity::GradientWeight {
            for layer in &gradients.run.recording.layers {
                let values = products(&gradients, layer)?.concat();
                layers.push(dense(
                    layer.kind,
                    layer.index,
                    layer.shape.n_heads,
                    [layer.shape.n_queries, layer.shape.n_keys],
                    values,
                ));
            }
        } else {
            explained.relevance(&gradients, &mut |kind, index, relevance| {
                let matrix = match kind {
                    Kind::Encoder => relevance.source.less_identity(),
                    Kind::Decoder => relevance.target.less_identity(),
                    Kind::Cross => relevance.cross.clone(),
                };
                let values = matrix.values.iter().map(|value| *value as f32).collect();
                layers.push(dense(kind, index, 1, [matrix.n_rows, matrix.n_columns], values));
            })?;
            layers.sort_by_key(|layer| layer.kind);
        }
        layers.iter_mut().for_each(|layer| layer.quantity = quantity);
        let mut recording = Recording { layers, ..gradients.run.recording };
        recording.provenance.notes.push(format!(
            "{} for the {}, which is {value:.4}",
            quantity.words(),
            self.score_in_words(score, input)
        ));
        Ok(recording)
    }
}

/// A layer of one text with all its numbers. Shape `[n_heads, n_queries, n_keys]`.
fn dense(kind: Kind, index: usize, n_heads: usize, [n_queries, n_keys]: [usize; 2], values: Vec<f32>) -> Layer {
    let shape = Shape { n_heads, n_kv_heads: n_heads, n_queries, n_keys, d_head: 0, d_value: 0 };
    Layer::new(kind, index, shape, Weights::Dense(values.into()))
}

/// `∂S/∂A · A` of the first text, head by head. Shape `[n_heads][n_queries, n_keys]`.
fn products(gradients: &Gradients, layer: &Layer) -> Result<Vec<Vec<f32>>, Error> {
    let of = |weights: &[f32], gradients: &[f32]| weights.iter().zip(gradients).map(|(a, g)| a * g).collect();
    each_head(gradients, layer, of)
}

/// What a function makes of the weights of each head and their gradients. Shapes `[n_queries, n_keys]`.
fn each_head<T>(
    gradients: &Gradients,
    layer: &Layer,
    mut of: impl FnMut(&[f32], &[f32]) -> T,
) -> Result<Vec<T>, Error> {
    let none = || Error::Unsupported(format!("{layer} has no gradient of its weights"));
    let all = gradients.of(Site::Attention, layer.kind, layer.index).ok_or_else(none)?;
    let n = layer.shape.n_queries * layer.shape.n_keys;
    let head = |head: usize| {
        let map = gradients.run.recording.map_of(layer, 0, head)?;
        Ok(of(&map.dense(), &all.values[head * n..][..n]))
    };
    (0..layer.shape.n_heads).map(head).collect()
}

impl Explained<'_> {
    /// Relevance as it grows, told after each layer: encoder first, then of each decoder layer self- before cross-attention.
    fn relevance(
        &self,
        gradients: &Gradients,
        visit: &mut dyn FnMut(Kind, usize, &Relevance),
    ) -> Result<Relevance, Error> {
        let layers = &gradients.run.recording.layers;
        let mut relevance = Relevance::new(self.input.source.len(), self.input.target.len());
        let mut order: Vec<&Layer> = layers.iter().collect();
        order.sort_by_key(|layer| (layer.kind != Kind::Encoder, layer.index, layer.kind == Kind::Cross));
        for layer in order {
            let mut positive = Positive::new(layer.shape.n_queries, layer.shape.n_keys);
            each_head(gradients, layer, |weights, gradients| positive.add(weights, gradients))?;
            let cam = positive.mean();
            match layer.kind {
                Kind::Encoder => relevance.encoder_layer(&cam),
                Kind::Decoder => relevance.decoder_layer(&cam),
                Kind::Cross => relevance.cross_layer(&cam),
            }
            visit(layer.kind, layer.index, &relevance);
        }
        Ok(relevance)
    }

    /// Relevance of source and target tokens for the explained rows, the identity left out.
    pub(super) fn relevance_of_tokens(&self, gradients: &Gradients) -> Result<[Vec<f64>; 2], Error> {
        let relevance = self.relevance(gradients, &mut |_, _, _| {})?;
        let rows = |matrix: &Matrix| {
            let mut sums = vec![0.0; matrix.n_columns];
            for (row, counts) in self.model.explained_rows(&self.score, matrix.n_rows) {
                sums.iter_mut().zip(matrix.row(row)).for_each(|(sum, value)| *sum += counts * value);
            }
            sums
        };
        Ok(match self.model.transformer.architecture.decoder {
            Some(_) => [rows(&relevance.cross), rows(&relevance.target.less_identity())],
            None => [rows(&relevance.source.less_identity()), Vec::new()],
        })
    }

    /// `Σ ∂S/∂A · A` over layers, heads and queries, by the token whose position is the key.
    pub(super) fn gradient_attention_of_tokens(&self, gradients: &Gradients) -> Result<[Vec<f64>; 2], Error> {
        let (mut source, mut target) = (vec![0.0; self.input.source.len()], vec![0.0; self.input.target.len()]);
        for layer in &gradients.run.recording.layers {
            let sums = if layer.kind == Kind::Decoder { &mut target } else { &mut source };
            let n_keys = layer.shape.n_keys;
            each_head(gradients, layer, |weights, gradients| {
                for (place, (weight, gradient)) in weights.iter().zip(gradients).enumerate() {
                    sums[place % n_keys] += f64::from(*weight) * f64::from(*gradient);
                }
            })?;
        }
        Ok([source, target])
    }
}
