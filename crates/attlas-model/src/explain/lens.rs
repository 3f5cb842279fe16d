//! The logit lens: what a model would predict if it stopped after each layer.
//!
//! The hidden states that enter a layer go through the final norm and the output matrix at once (Nostalgebraist 2020). A model is
//! trained to be read after its last layer alone: what the lens reads before is what is there in the last layer's own
//! terms, and it may say little where layers write in others.

use attlas::Kind;

use super::knock_out::Baseline;
use super::score::probabilities;
use crate::{Array, Error, Side, Site};

/// What one layer would predict.
#[derive(Debug, Clone, PartialEq)]
pub struct Lens {
    /// The layer that the hidden states enter; one more than the last for the model's own output.
    pub layer: usize,
    /// The row of the logits: the position; `None` for classes.
    pub position: Option<usize>,
    /// The likeliest tokens or classes with their probabilities, the likeliest first.
    pub top: Vec<(u32, f64)>,
    /// The probability of each token that was asked for, in that order.
    pub asked: Vec<f64>,
}

impl Baseline<'_> {
    /// Logits of the hidden states that enter a layer, as if it were the end. Shape `[rows, n_logits]`.
    ///
    /// # Errors
    /// When there is no such layer.
    pub fn lens_logits(&self, layer: usize, rows: &[Option<usize>]) -> Result<Array, Error> {
        let model = self.model();
        let kind = if model.has(Side::Target) { Kind::Decoder } else { Kind::Encoder };
        let absent = || Error::Plan(format!("there are no hidden states that enter layer {layer} of the {kind}"));
        let mut hidden = self.run.kept(Site::Stream, kind, layer).ok_or_else(absent)?.values.clone(); // [n, d_model]
        let stack = model.transformer.stack(kind).ok_or_else(absent)?;
        if let Some(norm) = stack.weights.final_norm.as_ref().filter(|_| layer < stack.config.blocks.len()) {
            norm.apply(&mut hidden, stack.config.d_model);
        }
        let values = model.logits_at(&hidden, 1, rows);
        Ok(Array { shape: vec![rows.len(), values.len() / rows.len().max(1)], values })
    }

    /// How many layers the stack has that gives the logits.
    pub fn n_layers(&self) -> usize {
        let architecture = &self.model().transformer.architecture;
        architecture.decoder.as_ref().or(architecture.encoder.as_ref()).map_or(0, |stack| stack.blocks.len())
    }

    /// What each layer would predict at each of the rows: the `n` likeliest, and the probabilities of `asked`.
    ///
    /// # Errors
    /// When a row or token is not there, or the logits are not finite.
    pub fn lens(&self, rows: &[Option<usize>], n: usize, asked: &[u32]) -> Result<Vec<Lens>, Error> {
        let mut all = Vec::new();
        for layer in 0..=self.n_layers() {
            let logits = self.lens_logits(layer, rows)?;
            let width = logits.shape[1];
            if let Some(id) = asked.iter().find(|id| **id as usize >= width) {
                return Err(Error::Input(format!(
                    "there is no token or class {id}; the model has 0 to {}",
                    width.saturating_sub(1)
                )));
            }
            for (position, row) in rows.iter().zip(logits.values.chunks_exact(width)) {
                if row.iter().any(|logit| !logit.is_finite()) {
                    return Err(Error::Input(format!(
                        "the hidden states that enter layer {layer} give logits that are not finite"
                    )));
                }
                let p = probabilities(row);
                let mut order: Vec<usize> = (0..width).collect();
                order.sort_by(|a, b| p[*b].total_cmp(&p[*a]).then(a.cmp(b)));
                let top = order.iter().take(n).map(|place| (*place as u32, p[*place])).collect();
                let asked = asked.iter().map(|id| p[*id as usize]).collect();
                all.push(Lens { layer, position: *position, top, asked });
            }
        }
        Ok(all)
    }
}
