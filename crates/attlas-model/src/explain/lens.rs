//! The logit lens: what a model would predict if it stopped after each layer.
//!
//! The hidden states that enter a layer go through the final norm and the output matrix at once (Nostalgebraist 2020). A model is
//! trained to be read after its last layer alone: what the lens reads before is what is there in the last layer's own
//! terms, and it may say little where layers write in others.

use attlas::Kind;
use attlas_kernels::Onto;
use serde::{Deserialize, Serialize};

use super::direct::attentions;
use super::knock_out::Baseline;
use super::parts::residual_of;
use super::score::probabilities;
use crate::config::Residual;
use crate::{Array, Error, Side, Site};

/// Where in a layer hidden states are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Depth {
    /// As they enter it.
    #[default]
    Entering,
    /// Behind its attention, and cross-attention where it has one, before its feed-forward.
    AfterAttention,
}

impl Depth {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Depth::Entering => "entering",
            Depth::AfterAttention => "after_attention",
        }
    }
}

/// What one layer would predict.
#[derive(Debug, Clone, PartialEq)]
pub struct Lens {
    /// The layer that the hidden states enter; one more than the last for the model's own output.
    pub layer: usize,
    /// Where in the layer.
    pub depth: Depth,
    /// The row of the logits: the position; `None` for classes.
    pub position: Option<usize>,
    /// The likeliest tokens or classes with their probabilities, the likeliest first.
    pub top: Vec<(u32, f64)>,
    /// The probability of each token that was asked for, in that order.
    pub asked: Vec<f64>,
}

impl Baseline<'_> {
    /// Logits of the hidden states of a layer, as if it were the end. Shape `[rows, n_logits]`.
    ///
    /// # Errors
    /// When there is no such layer, or attention and feed-forward read the same states in it, so that none lie between them.
    pub fn lens_logits(&self, layer: usize, depth: Depth, rows: &[Option<usize>]) -> Result<Array, Error> {
        let model = self.model();
        let kind = if model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
        let absent = || Error::Plan(format!("there are no hidden states that enter layer {layer} of the {kind}"));
        let mut hidden = self.run.kept(Site::Stream, kind, layer).ok_or_else(absent)?.values.clone(); // [n, d_model]
        if depth == Depth::AfterAttention {
            self.attend(kind, layer, &mut hidden)?;
        }
        let stack = model.transformer.stack(kind).ok_or_else(absent)?;
        if let Some(norm) = stack.weights.final_norm.as_ref().filter(|_| layer < stack.config.blocks.len()) {
            norm.apply(&mut hidden, stack.config.d_model);
        }
        let values = model.logits_at(&hidden, 1, rows);
        Ok(Array { shape: vec![rows.len(), values.len() / rows.len().max(1)], values })
    }

    /// Adds to the hidden states that enter a layer what its attention gave. Shape `[n, d_model]`.
    fn attend(&self, kind: Kind, layer: usize, hidden: &mut [f32]) -> Result<(), Error> {
        let model = self.model();
        let absent = || Error::Plan(format!("the {kind} has no layer {layer}"));
        let stack = model.transformer.stack(kind).ok_or_else(absent)?;
        let block = stack.weights.blocks.get(layer).ok_or_else(absent)?;
        model.check_whole("no hidden states are kept between those and their feed-forwards")?;
        let residual = residual_of(model, kind, layer);
        let why = match residual {
            Residual::Parallel | Residual::ParallelSharedNorm => {
                Some("attention and feed-forward read the same states")
            }
            _ if stack.config.convolution.is_some() && layer == 0 => Some("a convolution joins the first layer"),
            _ => None,
        };
        if let Some(why) = why {
            return Err(Error::Unsupported(format!(
                "no hidden states of {} lie between attention and feed-forward: {why}",
                model.name()
            )));
        }
        let d_model = stack.config.d_model;
        for (kind, weights) in attentions(kind, block) {
            let kept = self.run.kept(Site::HeadOutputs, kind, layer).ok_or_else(absent)?;
            let [_, n_heads, n, width] = kept.shape[..] else { return Err(absent()) };
            let row = |position: usize| {
                (0..n_heads).flat_map(move |head| kept.values[(head * n + position) * width..][..width].iter().copied())
            };
            let attended: Vec<f32> = (0..n).flat_map(row).collect(); // [n, n_heads · d_value]
            let mut added = vec![0.0; n * d_model]; // [n, d_model]
            weights.output.forward_to(&attended, &mut added, Onto::Replace);
            let join = weights.join(residual);
            join.on_output().into_iter().for_each(|norm| norm.apply(&mut added, d_model));
            hidden.iter_mut().zip(&added).for_each(|(x, added)| *x += added);
            join.on_sum().into_iter().for_each(|norm| norm.apply(hidden, d_model));
        }
        Ok(())
    }

    /// How many layers the stack has that gives the logits.
    pub fn n_layers(&self) -> usize {
        let architecture = &self.model().transformer.architecture;
        architecture.decoder.as_ref().or(architecture.encoder.as_ref()).map_or(0, |stack| stack.blocks.len())
    }

    /// What each layer would predict at each of the rows, read where `depths` say and at the end: the `n` likeliest, and the
    /// probabilities of `asked`.
    ///
    /// # Errors
    /// As [`Baseline::lens_logits`], and when a row or token is not there, or the logits are not finite.
    pub fn lens(&self, rows: &[Option<usize>], depths: &[Depth], n: usize, asked: &[u32]) -> Result<Vec<Lens>, Error> {
        let mut all = Vec::new();
        let n_layers = self.n_layers();
        let within = (0..n_layers).flat_map(|layer| depths.iter().map(move |depth| (layer, *depth)));
        for (layer, depth) in within.chain([(n_layers, Depth::Entering)]) {
            let logits = self.lens_logits(layer, depth, rows)?;
            let width = logits.shape[1]; // 0 of no rows
            if let Some(id) = asked.iter().find(|id| **id as usize >= width) {
                return Err(Error::Input(format!(
                    "there is no token or class {id}; the model has 0 to {}",
                    width.saturating_sub(1)
                )));
            }
            for (position, row) in rows.iter().zip(logits.values.chunks_exact(width.max(1))) {
                if row.iter().any(|logit| !logit.is_finite()) {
                    return Err(Error::Input(format!(
                        "the hidden states of layer {layer} give logits that are not finite"
                    )));
                }
                let p = probabilities(row);
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|a, b| p[*b].total_cmp(&p[*a]).then(a.cmp(b)));
                let top = order.iter().take(n).map(|place| (*place as u32, p[*place])).collect();
                let asked = asked.iter().map(|id| p[*id as usize]).collect();
                all.push(Lens { layer, depth, position: *position, top, asked });
            }
        }
        Ok(all)
    }
}
