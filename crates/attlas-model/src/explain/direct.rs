//! Direct logit attribution: what each head, feed-forward and embedding writes for one token's logit, less another's.
//!
//! Where sublayers add to the residual stream, what leaves the last block is a sum, `x = embedding + Σ attention + Σ feed-forward`.
//! With the final norm's scale frozen at what it was, the logit is linear in it, so each part has its share and the shares sum to
//! the logit (Elhage et al. 2021; Nostalgebraist 2020). It is what a part writes for the output itself; what it writes for later
//! layers counts as theirs.

use attlas::{HeadId, Kind, Trace};
use serde::{Deserialize, Serialize};

use super::knock_out::{Baseline, KindHead};
use super::score::{Form, Score};
use crate::block::norm::NormWeights;
use crate::block::weights::AttentionWeights;
use crate::config::{NormKind, Pooled, Readout, Residual, Stack};
use crate::{Error, Linear, Side, Site};

/// A part of what leaves the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// What enters the first layer: the token's row, with its position.
    Embedding,
    /// A head, the value's bias included.
    Head(KindHead),
    /// The bias of an attention layer's output projection, and of a norm on it.
    AttentionBias {
        /// The decoder's or encoder's own attention, or cross-attention.
        kind: Kind,
        /// The layer.
        layer: usize,
    },
    /// A feed-forward, its bias included.
    FeedForward {
        /// The layer.
        layer: usize,
    },
    /// The biases of the final norm and of the output matrix.
    Constant,
}

/// The shares of all components in a logit, or in the difference of two.
#[derive(Debug, Clone, PartialEq)]
pub struct Direct {
    /// Each component with its share, in the order of a pass.
    pub parts: Vec<(Component, f64)>,
    /// The logit, or difference, that the model gave; before a soft cap where it has one.
    pub logit: f64,
}

impl Direct {
    /// The sum of the shares: [`Direct::logit`] up to rounding.
    pub fn sum(&self) -> f64 {
        self.parts.iter().map(|(_, share)| share).sum()
    }

    /// How far the sum is from the logit.
    pub fn error(&self) -> f64 {
        (self.sum() - self.logit).abs()
    }

    /// The share of a head.
    pub fn of(&self, head: KindHead) -> Option<f64> {
        self.parts.iter().find(|(component, _)| *component == Component::Head(head)).map(|(_, share)| *share)
    }
}

/// What is read of the stream that leaves the last block: `logit = Σ_i stream_i · slope_i + constant`.
struct Reading {
    /// The row of the stream.
    position: usize,
    /// Shape `[d_model]`.
    slope: Vec<f64>,
    constant: f64,
    /// The stream there. Shape `[d_model]`.
    stream: Vec<f64>,
}

impl Baseline<'_> {
    /// The shares of all components in the logit of a score's target, less that of its foil.
    ///
    /// # Errors
    /// When the logit is no sum of components: norms after the sum (BERT, BART), a layer with a non-linearity before the output
    /// matrix, a row that is made of several positions.
    pub fn direct(&self, score: &Score) -> Result<Direct, Error> {
        let (kind, stack) = self.readout_stack()?;
        let reading = self.reading(score, stack)?;
        let row = |layer: usize| -> Result<Vec<f64>, Error> {
            if layer == stack.blocks.len() {
                return Ok(reading.stream.clone());
            }
            let absent = || Error::Plan(format!("the run kept no hidden states of layer {layer}"));
            let array = self.run.kept(Site::Stream, kind, layer).ok_or_else(absent)?;
            Ok(widened(&array.values[reading.position * stack.d_model..][..stack.d_model]))
        };
        let mut entering = row(0)?;
        let mut parts = vec![(Component::Embedding, dot(&entering, &reading.slope))];
        for layer in 0..stack.blocks.len() {
            let leaving = row(layer + 1)?;
            let mut others = difference(&leaving, &entering);
            for (kind, weights) in self.attention_at(kind, layer) {
                let added = self.attention(kind, layer, weights, &reading, &mut parts)?;
                others = difference(&others, &added);
            }
            parts.push((Component::FeedForward { layer }, dot(&others, &reading.slope)));
            entering = leaving;
        }
        parts.push((Component::Constant, reading.constant));
        let plain = Score { item: 0, form: Form::Logit, ..*score };
        let row = plain.row(&self.unchanged.logits)?;
        let of = |id: u32| self.uncapped(f64::from(row[id as usize]));
        let logit = of(score.target) - score.foil.map_or(0.0, of);
        Ok(Direct { parts, logit })
    }

    /// A head's share by the key that it is moved from: `w(q, k) · V[k]` through the output projection. Shape `[n_keys]`; sums to
    /// the head's share, the output projection's bias left out.
    ///
    /// # Errors
    /// As [`Baseline::direct`], and when there is no such head, or a norm stands on the attention's output.
    pub fn direct_by_key(&self, score: &Score, head: KindHead) -> Result<Vec<f64>, Error> {
        self.check_head(head)?;
        let (kind, stack) = self.readout_stack()?;
        let reading = self.reading(score, stack)?;
        let found = self.attention_at(kind, head.head.layer).into_iter().find(|(kind, _)| *kind == head.kind);
        let (_, weights) = found.ok_or_else(|| {
            Error::Unsupported(format!(
                "{} of {} writes nothing into the stack that gives the logits",
                head.head,
                head.kind.title()
            ))
        })?;
        let (kind, layer) = (head.kind, head.head.layer);
        let attended = self.added_by(kind, layer, weights, &reading)?;
        let (slope, _) = before(post_norm(self.residual(kind, layer), weights), &attended, &reading.slope);
        let to_values = transposed(&weights.output, &slope); // [n_heads · d_value]
        let map = self.run.recording.map(0, head.kind, head.head.layer, head.head.head);
        let map = map?;
        let layer = self.run.recording.layer(head.kind, head.head.layer);
        let layer = layer?;
        let values = layer.traces.get(Trace::Values).ok_or_else(|| Error::Plan("the run kept no values".to_owned()))?;
        let values = values.read_all()?;
        let (width, n_keys) = (layer.shape.d_value, layer.shape.n_keys);
        let own = &values[layer.shape.kv_head(head.head.head) * n_keys * width..][..n_keys * width];
        let to_value = &to_values[head.head.head * width..][..width];
        let weights = map.row(reading.position);
        let share = |(weight, value): (&f32, &[f32])| f64::from(*weight) * dot(&widened(value), to_value);
        Ok(weights.iter().zip(own.chunks_exact(width)).map(share).collect())
    }

    /// Adds the heads' shares and the bias's of one attention layer to `parts`; gives what the layer added to the stream.
    fn attention(
        &self,
        kind: Kind,
        layer: usize,
        weights: &AttentionWeights,
        reading: &Reading,
        parts: &mut Vec<(Component, f64)>,
    ) -> Result<Vec<f64>, Error> {
        let outputs = self.outputs_at(kind, layer, reading.position)?; // [n_heads][d_value]
        let attended = self.added_by(kind, layer, weights, reading)?;
        let (slope, constant) = before(post_norm(self.residual(kind, layer), weights), &attended, &reading.slope);
        let to_values = transposed(&weights.output, &slope); // [n_heads · d_value]
        let mut start = 0;
        for (head, output) in outputs.iter().enumerate() {
            let share = dot(output, &to_values[start..start + output.len()]);
            parts.push((Component::Head(KindHead { kind, head: HeadId { layer, head } }), share));
            start += output.len();
        }
        let bias = weights.output.bias.as_ref().map_or(0.0, |bias| dot(&widened(bias), &slope));
        parts.push((Component::AttentionBias { kind, layer }, bias + constant));
        Ok(match post_norm(self.residual(kind, layer), weights) {
            None => attended,
            Some(norm) => normalised(norm, &attended),
        })
    }

    /// What an attention layer gives at the position, before a norm on it. Shape `[d_model]`.
    fn added_by(
        &self,
        kind: Kind,
        layer: usize,
        weights: &AttentionWeights,
        reading: &Reading,
    ) -> Result<Vec<f64>, Error> {
        let outputs = self.outputs_at(kind, layer, reading.position)?.concat();
        let output = &weights.output;
        let mut row = vec![0.0_f32; output.d_in]; // [n_heads · d_value]
        let of_place = |place: usize| {
            output.weight.row(place, &mut row);
            dot(&widened(&row), &outputs) + output.bias.as_ref().map_or(0.0, |bias| f64::from(bias[place]))
        };
        Ok((0..output.d_out).map(of_place).collect())
    }

    /// The outputs of a layer's heads at a position, in f64. Shape `[n_heads][d_value]`.
    fn outputs_at(&self, kind: Kind, layer: usize, position: usize) -> Result<Vec<Vec<f64>>, Error> {
        let absent = || Error::Plan(format!("the run kept no head outputs of {kind} layer {layer}"));
        let array = self.run.kept(Site::HeadOutputs, kind, layer).ok_or_else(absent)?;
        let [_, n_heads, n, width] = array.shape[..] else { return Err(absent()) };
        let of_head = |head: usize| widened(&array.values[(head * n + position) * width..][..width]);
        Ok((0..n_heads).map(of_head).collect())
    }

    /// The attention layers of a block, in order.
    fn attention_at(&self, kind: Kind, layer: usize) -> Vec<(Kind, &AttentionWeights)> {
        let transformer = &self.model().transformer;
        let stack = if kind == Kind::Encoder { &transformer.encoder } else { &transformer.decoder };
        let Some(block) = stack.as_ref().and_then(|stack| stack.blocks.get(layer)) else { return Vec::new() };
        [Some((kind, &block.attention)), block.cross.as_ref().map(|cross| (Kind::Cross, cross))]
            .into_iter()
            .flatten()
            .collect()
    }

    fn residual(&self, kind: Kind, layer: usize) -> Residual {
        let architecture = &self.model().transformer.architecture;
        let stack = if kind == Kind::Encoder { &architecture.encoder } else { &architecture.decoder };
        stack.as_ref().and_then(|stack| stack.blocks.get(layer)).map_or(Residual::Pre, |block| block.residual)
    }

    /// The stack that the readout reads, where its blocks add to the stream and nothing else.
    fn readout_stack(&self) -> Result<(Kind, &Stack), Error> {
        let model = self.model();
        let architecture = &model.transformer.architecture;
        let kind = if model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
        let stack = if kind == Kind::Decoder { &architecture.decoder } else { &architecture.encoder };
        let stack = stack.as_ref().ok_or_else(|| Error::Unsupported(format!("{} has no layers", model.name())))?;
        let why = if stack.blocks.iter().any(|block| block.residual == Residual::Post) {
            Some("its norms stand after each sum, so that every layer rescales what those before it wrote")
        } else if stack.convolution.is_some() {
            Some("a convolution joins its first layer")
        } else {
            match &architecture.readout {
                Readout::None => Some("its files hold only the layers"),
                Readout::Tokens { transform: Some(_), .. }
                | Readout::Positions { transform: Some(_) }
                | Readout::Classes { transform: Some(_), .. } => {
                    Some("a non-linear layer stands before its output matrix")
                }
                Readout::Classes { pooled: Pooled::FirstTwo | Pooled::FirstAndMean, .. } => {
                    Some("it joins several positions before its output matrix")
                }
                _ => None,
            }
        };
        match why {
            None => Ok((kind, stack)),
            Some(why) => Err(Error::Unsupported(format!(
                "direct logit attribution is not defined for {}: {why}; knock-outs are",
                model.name()
            ))),
        }
    }

    /// What the score reads of the stream.
    fn reading(&self, score: &Score, stack: &Stack) -> Result<Reading, Error> {
        let model = self.model();
        let transformer = &model.transformer;
        // refuses a target, foil or position that is not there
        Score { item: 0, ..*score }.value(&self.unchanged.logits)?;
        let position = score.position.unwrap_or(0);
        let absent = || Error::Unsupported(format!("{} has no output matrix", model.name()));
        let output = transformer.readout.output.as_ref().ok_or_else(absent)?;
        let scale = match transformer.architecture.readout {
            Readout::Tokens { scale, .. } => f64::from(scale),
            _ => 1.0,
        };
        let row = |id: u32| {
            let mut row = vec![0.0_f32; output.d_in]; // [d_model]
            output.weight.row(id as usize, &mut row);
            (widened(&row), output.bias.as_ref().map_or(0.0, |bias| f64::from(bias[id as usize])))
        };
        let (mut direction, mut constant) = row(score.target);
        if let Some(foil) = score.foil {
            let (other, bias) = row(foil);
            direction = difference(&direction, &other);
            constant -= bias;
        }
        direction.iter_mut().for_each(|x| *x *= scale);
        let stream = model.before_final_norm(&self.input, &self.run)?;
        let stream = widened(&stream[position * stack.d_model..][..stack.d_model]);
        let weights = if model.has(Side::Target) { &transformer.decoder } else { &transformer.encoder };
        let norm = weights.as_ref().and_then(|weights| weights.final_norm.as_ref());
        let (slope, of_norm) = norm.map_or((direction.clone(), 0.0), |norm| frozen(norm, &stream, &direction));
        Ok(Reading { position, slope, constant: constant + of_norm, stream })
    }

    /// A logit before its soft cap.
    fn uncapped(&self, logit: f64) -> f64 {
        match self.model().transformer.architecture.readout {
            Readout::Tokens { softcap: Some(cap), .. } => f64::from(cap) * (logit / f64::from(cap)).atanh(),
            _ => logit,
        }
    }
}

/// The norm on the output of an attention layer, where it stands between output and stream.
fn post_norm(residual: Residual, weights: &AttentionWeights) -> Option<&NormWeights> {
    match residual {
        Residual::Sandwich => weights.post_norm.as_ref(),
        Residual::OutputNorm => weights.norm.as_ref(),
        _ => None,
    }
}

/// The slope, and a constant, with respect to what a norm is put on, its scale frozen; as it is where there is no norm.
fn before(norm: Option<&NormWeights>, x: &[f64], slope: &[f64]) -> (Vec<f64>, f64) {
    norm.map_or_else(|| (slope.to_vec(), 0.0), |norm| frozen(norm, x, slope))
}

/// `direction · norm(x)` as `slope · x + constant`, with the norm's scale as it is at `x`.
fn frozen(norm: &NormWeights, x: &[f64], direction: &[f64]) -> (Vec<f64>, f64) {
    let (centre, factor) = scale_of(norm, x);
    let mut slope: Vec<f64> = (0..x.len()).map(|place| direction[place] * gain(norm, place)).collect();
    if centre.is_some() {
        let mean = slope.iter().sum::<f64>() / slope.len() as f64;
        slope.iter_mut().for_each(|slope| *slope -= mean);
    }
    slope.iter_mut().for_each(|slope| *slope *= factor);
    let constant = if norm.norm.kind == NormKind::Layer { dot(&widened(&norm.bias), direction) } else { 0.0 };
    (slope, constant)
}

/// The norm of a row, in f64.
fn normalised(norm: &NormWeights, x: &[f64]) -> Vec<f64> {
    let (centre, factor) = scale_of(norm, x);
    let bias = |place: usize| if norm.norm.kind == NormKind::Layer { f64::from(norm.bias[place]) } else { 0.0 };
    let centre = centre.unwrap_or(0.0);
    x.iter().enumerate().map(|(place, x)| (x - centre) * factor * gain(norm, place) + bias(place)).collect()
}

/// What is taken away and what is multiplied with at a row.
fn scale_of(norm: &NormWeights, x: &[f64]) -> (Option<f64>, f64) {
    let is_centred = !matches!(norm.norm.kind, NormKind::Rms | NormKind::RmsPlusOne);
    let mean = if is_centred { x.iter().sum::<f64>() / x.len() as f64 } else { 0.0 };
    let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / x.len() as f64;
    (is_centred.then_some(mean), 1.0 / (variance + f64::from(norm.norm.epsilon)).sqrt())
}

fn gain(norm: &NormWeights, place: usize) -> f64 {
    match norm.norm.kind {
        NormKind::LayerPlain => 1.0,
        NormKind::RmsPlusOne => 1.0 + f64::from(norm.weight[place]),
        _ => f64::from(norm.weight[place]),
    }
}

/// `Wᵀ · x`. Shapes `[d_out]` and `[d_in]`.
fn transposed(linear: &Linear, x: &[f64]) -> Vec<f64> {
    let mut row = vec![0.0_f32; linear.d_in]; // [d_in]
    let mut product = vec![0.0; linear.d_in]; // [d_in]
    for (place, x) in x.iter().enumerate() {
        linear.weight.row(place, &mut row);
        product.iter_mut().zip(&row).for_each(|(sum, weight)| *sum += x * f64::from(*weight));
    }
    product
}

fn widened(row: &[f32]) -> Vec<f64> {
    row.iter().map(|x| f64::from(*x)).collect()
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
