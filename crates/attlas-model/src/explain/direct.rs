//! Direct logit attribution: what each head, feed-forward and embedding writes for one token's logit, less another's.
//!
//! Where sublayers add to the residual stream, what leaves the last block is a sum, `x = embedding + Σ attention + Σ feed-forward`.
//! With the final norm's scale frozen at what it was, the logit is linear in it, so each part has its share and the shares sum to
//! the logit (Elhage et al. 2021; Nostalgebraist 2020). It is what a part writes for the output itself; what it writes for later
//! layers counts as theirs. Every part is computed from what it read in the run, none is what is left over: that the shares sum to the
//! logit says something of all of them.

use std::fmt;
use std::sync::Arc;

use attlas::{HeadId, Kind, Trace};
use serde::{Deserialize, Serialize};

use super::components::fed;
use super::knock_out::{Baseline, KindHead};
use super::parts::{LinearNorm, add, residual_of, stream, widened};
use super::score::{Form, Score};
use crate::block::join::Join;
use crate::block::norm::NormWeights;
use crate::block::weights::{AttentionWeights, BlockWeights};
use crate::config::{Pooled, Readout, Residual, Stack};
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

impl Component {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Component::Embedding => "embedding",
            Component::Head(_) => "head",
            Component::AttentionBias { .. } => "attention bias",
            Component::FeedForward { .. } => "feed-forward",
            Component::Constant => "constant",
        }
    }

    /// The layer that it is of; none of what is outside all of them.
    pub fn layer(self) -> Option<usize> {
        match self {
            Component::Embedding | Component::Constant => None,
            Component::Head(head) => Some(head.head.layer),
            Component::AttentionBias { layer, .. } | Component::FeedForward { layer } => Some(layer),
        }
    }

    /// The kind of attention that it is of, where it is of one.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Component::Head(head) => Some(head.kind),
            Component::AttentionBias { kind, .. } => Some(kind),
            _ => None,
        }
    }
}

/// `decoder L2 attention bias`, `L2 feed-forward`, `embedding`.
impl fmt::Display for Component {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Component::Head(head) = self {
            return write!(out, "{head}");
        }
        self.kind().iter().try_for_each(|kind| write!(out, "{kind} "))?;
        self.layer().iter().try_for_each(|layer| write!(out, "L{layer} "))?;
        out.write_str(self.name())
    }
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
        let mut parts = Vec::new();
        for (layer, (block, weights)) in stack.blocks.iter().zip(self.blocks(kind)).enumerate() {
            let entering = self.entering(kind, layer, reading.position)?;
            if layer == 0 {
                parts.push((Component::Embedding, dot(&entering, &reading.slope)));
            }
            let mut state = entering.clone(); // [d_model]
            for (kind, weights) in attentions(kind, weights) {
                add(&mut state, &self.attention(kind, layer, weights, &reading, &mut parts)?);
            }
            // computed, not what is left over: that the shares sum to the logit then says something of all of them
            let output = fed(block, weights, &entering, &state);
            let norm = weights.feed_forward_join(block.residual).on_output();
            let (slope, constant) = before(norm, &output, &reading.slope);
            parts.push((Component::FeedForward { layer }, dot(&output, &slope) + constant));
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
    /// As [`Baseline::direct`], and when there is no such head, or it writes into another stack.
    pub fn direct_by_key(&self, score: &Score, head: KindHead) -> Result<Vec<f64>, Error> {
        self.check_head(head)?;
        let (kind, stack) = self.readout_stack()?;
        let reading = self.reading(score, stack)?;
        let block = self.blocks(kind).get(head.head.layer);
        let found = block.and_then(|block| attentions(kind, block).find(|(kind, _)| *kind == head.kind));
        let (_, weights) = found.ok_or_else(|| {
            Error::Unsupported(format!(
                "{} of {} writes nothing into the stack that gives the logits",
                head.head,
                head.kind.title()
            ))
        })?;
        let (kind, layer) = (head.kind, head.head.layer);
        let attended = self.added_by(kind, layer, weights, &reading)?;
        let (slope, _) = before(self.join(kind, layer, weights).on_output(), &attended, &reading.slope);
        let to_values = transposed(&weights.output, &slope); // [n_heads · d_value]
        let map = self.map_of(head)?;
        let layer = self.run.recording.layer(kind, layer)?;
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
        let (slope, constant) = before(self.join(kind, layer, weights).on_output(), &attended, &reading.slope);
        let to_values = transposed(&weights.output, &slope); // [n_heads · d_value]
        let mut start = 0;
        for (head, output) in outputs.iter().enumerate() {
            let share = dot(output, &to_values[start..start + output.len()]);
            parts.push((Component::Head(KindHead { kind, head: HeadId { layer, head } }), share));
            start += output.len();
        }
        let bias = weights.output.bias.as_ref().map_or(0.0, |bias| dot(&widened(bias), &slope));
        parts.push((Component::AttentionBias { kind, layer }, bias + constant));
        Ok(behind(self.join(kind, layer, weights).on_output(), attended))
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

    /// The hidden states that enter a layer, at one position. Shape `[d_model]`.
    fn entering(&self, kind: Kind, layer: usize, position: usize) -> Result<Vec<f64>, Error> {
        let stream = stream(&self.run, kind, layer, 0)?;
        let d_model = self.model().transformer.stack(kind).map_or(0, |stack| stack.config.d_model);
        Ok(widened(&stream[position * d_model..][..d_model]))
    }

    /// The blocks of a stack.
    fn blocks(&self, kind: Kind) -> &[Arc<BlockWeights>] {
        self.model().transformer.stack(kind).map_or(&[], |stack| &stack.weights.blocks)
    }

    fn join<'a>(&self, kind: Kind, layer: usize, weights: &'a AttentionWeights) -> Join<'a> {
        weights.join(residual_of(self.model(), kind, layer))
    }

    /// The stack that the readout reads, where its blocks add to the stream and nothing else.
    fn readout_stack(&self) -> Result<(Kind, &Stack), Error> {
        let model = self.model();
        let architecture = &model.transformer.architecture;
        let kind = if model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
        model.check_whole("shares of a logit are not followed through them")?;
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
                Readout::Classes { pooled: Pooled::FirstTwo | Pooled::Mean | Pooled::FirstAndMean, .. } => {
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
        Ok(Reading { position, slope, constant: constant + of_norm })
    }

    /// A logit before its soft cap.
    fn uncapped(&self, logit: f64) -> f64 {
        match self.model().transformer.architecture.readout {
            Readout::Tokens { softcap: Some(cap), .. } => f64::from(cap) * (logit / f64::from(cap)).atanh(),
            _ => logit,
        }
    }
}

/// The attention layers of a block, in order.
pub(super) fn attentions(kind: Kind, block: &BlockWeights) -> impl Iterator<Item = (Kind, &AttentionWeights)> {
    block.attention().map(|own| (kind, own)).into_iter().chain(block.cross.as_ref().map(|cross| (Kind::Cross, cross)))
}

/// The slope, and a constant, with respect to what a norm is put on, its scale frozen; as it is where there is no norm.
fn before(norm: Option<&NormWeights>, x: &[f64], slope: &[f64]) -> (Vec<f64>, f64) {
    norm.map_or_else(|| (slope.to_vec(), 0.0), |norm| frozen(norm, x, slope))
}

/// `direction · norm(x)` as `slope · x + constant`, with the norm's scale as it is at `x`.
fn frozen(norm: &NormWeights, x: &[f64], direction: &[f64]) -> (Vec<f64>, f64) {
    let linear = LinearNorm::at(norm, x);
    let mut slope = direction.to_vec(); // [d_model]
    linear.transpose(&mut slope);
    (slope, dot(&linear.bias(), direction))
}

/// The row behind a norm, where there is one. Shape `[d_model]`.
fn behind(norm: Option<&NormWeights>, mut row: Vec<f64>) -> Vec<f64> {
    if let Some(norm) = norm {
        let linear = LinearNorm::at(norm, &row);
        linear.apply(&mut row);
        add(&mut row, &linear.bias());
    }
    row
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

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
