//! ALTI and ALTI+: the share of a token's state that each token brings, through one layer or all of them (Ferrando et al. 2022).

use attlas::analysis::{Paths, whole_layer};
use attlas::{Kind, Layer, Quantity, quantity};
use rayon::prelude::*;
use serde::Serialize;

use super::knock_out::check_finite;
use super::parts::{Sublayer, check_size, each_sublayer};
use crate::Error;
use crate::model::Model;
use crate::run::record::Run;

/// How far contributions reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// From the states that enter a layer.
    Layer,
    /// From the tokens that enter the model: contributions of layers multiplied.
    Model,
}

impl Reach {
    /// What a reader of a map must know, as notes of a recording say it.
    pub fn note(self) -> &'static str {
        match self {
            Reach::Layer => quantity::CONTRIBUTION_OF_LAYER.note,
            Reach::Model => quantity::CONTRIBUTION_OF_MODEL.note,
        }
    }
}

/// The contributions of tokens to the states behind each layer's attention, as layers of [`Quantity::Contribution`], and a note that says
/// what they are.
///
/// `c(q, k) = max(0, ‖y_q‖₁ − ‖y_q − T_q(k)‖₁)`, each row divided by its sum, where `y_q` is the state behind the sublayer with its
/// norm, and `T_q(k)` what key `k` adds to it, for `k = q` with the residual; the norm's variance (biased, with epsilon) is taken as it
/// is (Ferrando et al. 2022, "Measuring the mixing of contextual information in the Transformer", §3). Feed-forwards are taken to leave
/// tokens apart, which they do.
///
/// In an encoder-decoder a target token's state comes from the source and from the target: what cross-attention adds, and the share of
/// its residual, parted by self-attention (Ferrando et al. 2022, "Towards opening the black box of neural machine translation", §3).
/// The decoder's and the cross-attention's map of a layer together have rows that sum to 1.
///
/// # Errors
/// When the run did not keep what [`traced`](super::traced) says, its head outputs were changed, the maps would not fit, or it has numbers
/// that are infinite or none (NaN).
pub fn contributions(model: &Model, run: &Run, reach: Reach) -> Result<(Vec<Layer>, String), Error> {
    let recording = &run.recording;
    let kinds = recording.kinds();
    check_size("contributions", recording.items.len(), kinds.iter().flat_map(|kind| recording.layers_of(*kind)))?;
    check_finite(run)?; // a share of what is no number would be 0
    if reach == Reach::Model {
        model.check_whole("contributions are not followed through them")?;
    }
    let mut arrays: Vec<Vec<Vec<f32>>> = vec![Vec::new(); kinds.len()];
    for item in 0..recording.items.len() {
        let found = of_item(model, run, item, reach)?;
        for (kind, arrays) in kinds.iter().zip(&mut arrays) {
            let of_kind = found.of(*kind);
            arrays.resize(of_kind.len(), Vec::new());
            arrays.iter_mut().zip(of_kind).for_each(|(all, of_item)| all.extend(of_item));
        }
    }
    let layers = kinds.iter().zip(arrays).flat_map(|(kind, arrays)| {
        let of_kind = recording.layers_of(*kind).zip(arrays);
        of_kind.map(|(layer, array)| whole_layer(layer, Quantity::Contribution, array)).collect::<Vec<Layer>>()
    });
    Ok((layers.collect(), reach.note().to_owned()))
}

/// The contributions of one text, layer by layer.
#[derive(Default)]
struct Found {
    /// Shape of each `[n_source, n_source]`.
    encoder: Vec<Vec<f32>>,
    /// Shape of each `[n_target, n_target]`.
    decoder: Vec<Vec<f32>>,
    /// Shape of each `[n_target, n_source]`.
    cross: Vec<Vec<f32>>,
}

impl Found {
    fn of(&self, kind: Kind) -> &[Vec<f32>] {
        match kind {
            Kind::Encoder => &self.encoder,
            Kind::Decoder => &self.decoder,
            Kind::Cross => &self.cross,
        }
    }
}

fn of_item(model: &Model, run: &Run, item: usize, reach: Reach) -> Result<Found, Error> {
    // of each layer in f32, and in f64 what the last one's product with those before it is
    let collected = |kind: Kind, reach: Reach| -> Result<(Vec<Vec<f32>>, Paths), Error> {
        let (mut layers, mut paths) = (Vec::new(), Paths::default());
        each_sublayer(model, run, kind, item, |_, sublayer| {
            let rows = (0..sublayer.n_queries()).into_par_iter();
            let layer: Vec<f64> = rows.flat_map_iter(|query| row(sublayer, query)).collect();
            layers.push(match reach {
                Reach::Layer => narrowed(&layer),
                Reach::Model => narrowed(paths.through(layer)),
            });
            Ok(())
        })?;
        Ok((layers, paths))
    };
    let (encoder, encoded) = collected(Kind::Encoder, reach)?;
    let (parted, _) = collected(Kind::Cross, Reach::Layer)?; // the residual's share is the last of each row
    if parted.is_empty() {
        return Ok(Found { encoder, decoder: collected(Kind::Decoder, reach)?.0, cross: parted });
    }
    let mut through = encoded.so_far().map(Through::new);
    let (own, _) = collected(Kind::Decoder, Reach::Layer)?;
    let (mut decoder, mut cross) = (Vec::new(), Vec::new());
    for (own, parted) in own.into_iter().zip(parted) {
        let layer = Joint::of(&own, &parted);
        let joint = match &mut through {
            Some(through) => through.layer(&layer),
            None => layer,
        };
        decoder.push(narrowed(&joint.target));
        cross.push(narrowed(&joint.source));
    }
    Ok(Found { encoder, decoder, cross })
}

fn narrowed(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|x| *x as f32).collect()
}

/// A query's contributions: of each key, and in cross-attention of the residual behind them. Sums to 1.
fn row(sublayer: &Sublayer<'_>, query: usize) -> Vec<f64> {
    let taken = sublayer.row_after(query);
    let output = taken.sum(); // [d_model]
    let whole: f64 = output.iter().map(|x| x.abs()).sum();
    let d_model = output.len();
    let of = |vector: &[f64], residual: Option<&[f64]>| {
        let left = output.iter().zip(vector).enumerate().map(|(column, (y, x))| {
            let residual = residual.map_or(0.0, |residual| residual[column]);
            (y - x - residual).abs()
        });
        (whole - left.sum::<f64>()).max(0.0)
    };
    let keys = taken.keys.chunks_exact(d_model).enumerate();
    let mut shares: Vec<f64> = keys
        .map(|(key, vector)| of(vector, (sublayer.is_own() && key == query).then_some(taken.residual.as_slice())))
        .collect();
    if !sublayer.is_own() {
        shares.push(of(&taken.residual, None));
    }
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        shares.iter_mut().for_each(|share| *share /= sum);
    }
    shares
}

/// Where the states of target tokens behind a decoder layer come from; rows of both together sum to 1.
struct Joint {
    n_target: usize,
    /// Shape `[n_target, n_source]`.
    source: Vec<f64>,
    /// Shape `[n_target, n_target]`.
    target: Vec<f64>,
}

impl Joint {
    /// Of self-attention, `[n_target, n_target]`, and cross-attention, `[n_target, n_source + 1]`, whose last column is the residual's.
    fn of(own: &[f32], cross: &[f32]) -> Joint {
        let n_target = own.len().isqrt();
        let (mut source, mut target) = (Vec::with_capacity(cross.len()), Vec::with_capacity(own.len()));
        for (own, cross) in
            own.chunks_exact(n_target.max(1)).zip(cross.chunks_exact((cross.len() / n_target.max(1)).max(1)))
        {
            if let [from_source @ .., residual] = cross {
                source.extend(from_source.iter().map(|share| f64::from(*share)));
                target.extend(own.iter().map(|share| f64::from(*residual) * f64::from(*share)));
            }
        }
        Joint { n_target, source, target }
    }

    /// As a map from the states of all tokens, source before target, to those behind the layer; the source stays as it is.
    /// Shape `[n_source + n_target, n_source + n_target]`.
    fn step(&self, n_source: usize) -> Vec<f64> {
        let n = n_source + self.n_target;
        let mut step = identity(n);
        let targets = step.chunks_exact_mut(n).skip(n_source);
        let parts = self.source.chunks_exact(n_source).zip(self.target.chunks_exact(self.n_target));
        for (row, (source, target)) in targets.zip(parts) {
            row[..n_source].copy_from_slice(source);
            row[n_source..].copy_from_slice(target);
        }
        step
    }

    /// The target's rows of such a map.
    fn of_step(step: &[f64], n_source: usize) -> Joint {
        let n = step.len().isqrt();
        let rows = || step.chunks_exact(n.max(1)).skip(n_source);
        Joint {
            n_target: n - n_source,
            source: rows().flat_map(|row| &row[..n_source]).copied().collect(),
            target: rows().flat_map(|row| &row[n_source..]).copied().collect(),
        }
    }
}

/// From the tokens that enter the model to the states behind each decoder layer, one layer after the other.
struct Through {
    n_source: usize,
    /// The encoder's product. Shape `[n_source, n_source]`.
    encoded: Vec<f64>,
    paths: Paths,
}

impl Through {
    fn new(encoded: &[f64]) -> Through {
        Through { n_source: encoded.len().isqrt(), encoded: encoded.to_vec(), paths: Paths::default() }
    }

    /// Where the states behind the next layer come from.
    fn layer(&mut self, layer: &Joint) -> Joint {
        let n_source = self.n_source;
        if self.paths.so_far().is_none() {
            let n = n_source + layer.n_target;
            let mut encoder = identity(n);
            for (row, encoded) in encoder.chunks_exact_mut(n.max(1)).zip(self.encoded.chunks_exact(n_source.max(1))) {
                row[..n_source].copy_from_slice(encoded);
            }
            self.paths.through(encoder);
        }
        Joint::of_step(self.paths.through(layer.step(n_source)), n_source)
    }
}

/// Shape `[n, n]`.
fn identity(n: usize) -> Vec<f64> {
    (0..n * n).map(|place| if place / n == place % n { 1.0 } else { 0.0 }).collect()
}
