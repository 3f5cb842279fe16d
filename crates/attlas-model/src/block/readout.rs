//! The readout: from the last hidden states to logits.

use std::borrow::Cow;

use super::weights::Transformer;
use crate::config::{Activation, Readout, Transform};

impl Transformer {
    /// How many logits a row gets; 0 where the model has no readout.
    pub fn n_logits(&self) -> usize {
        match self.architecture.readout {
            Readout::None => 0,
            Readout::Positions { .. } => 1,
            Readout::Tokens { n_tokens, .. } => n_tokens,
            Readout::Classes { n, .. } | Readout::Objects { n } => n,
        }
    }

    /// Logits of hidden states. Shapes `[n, d_model]` and `[n, n_logits]`.
    pub(crate) fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let (Some(output), Some(rows)) = (&self.readout.output, self.before_output(hidden)) else { return Vec::new() };
        let mut logits = vec![0.0; rows.len() / output.d_in * output.d_out]; // [n, n_logits]
        output.forward(&rows, &mut logits, Activation::Identity);
        if let Some(cap) = self.stages().and_then(|stages| stages.softcap) {
            logits.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
        }
        logits
    }

    /// The boxes that rows read off an image: middle from the left and from the top, width and height, as shares of the image; empty
    /// where the model reads none. Shapes `[n, d_model]` and `[n, 4]`.
    pub(crate) fn boxes(&self, hidden: &[f32]) -> Vec<f32> {
        let mut rows = Cow::Borrowed(hidden); // [n, d_model]
        let last = self.readout.boxes.len().saturating_sub(1);
        for (place, layer) in self.readout.boxes.iter().enumerate() {
            let mut output = vec![0.0; rows.len() / layer.d_in * layer.d_out];
            layer.forward(&rows, &mut output, if place == last { Activation::Identity } else { Activation::Relu });
            rows = Cow::Owned(output);
        }
        match self.readout.boxes.is_empty() {
            true => Vec::new(),
            false => rows.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect(),
        }
    }

    /// Whether logits are cut, so that the way back needs them.
    pub(crate) fn cuts_logits(&self) -> bool {
        self.stages().is_some_and(|stages| stages.softcap.is_some())
    }

    /// What the output matrix reads; `None` where there is no readout. Shapes `[n, d_model]` and `[n, width]`.
    pub(super) fn before_output<'a>(&self, hidden: &'a [f32]) -> Option<Cow<'a, [f32]>> {
        let Stages { transform, scale, .. } = self.stages()?;
        let mut rows = Cow::Borrowed(hidden); // [n, d_model]
        if let (Some(config), Some((dense, norm))) = (transform, &self.readout.transform) {
            let n = rows.len() / dense.d_in;
            let mut transformed = vec![0.0; n * dense.d_out]; // [n, width]
            dense.forward(&rows, &mut transformed, config.activation);
            if let Some(norm) = norm {
                norm.apply(&mut transformed, dense.d_out);
            }
            rows = Cow::Owned(transformed);
        }
        if scale != 1.0 {
            rows.to_mut().iter_mut().for_each(|x| *x *= scale);
        }
        Some(rows)
    }

    /// What stands before and after the output matrix; `None` where there is no readout.
    pub(super) fn stages(&self) -> Option<Stages<'_>> {
        match &self.architecture.readout {
            Readout::None => None,
            Readout::Tokens { transform, scale, softcap, .. } => {
                Some(Stages { transform: transform.as_ref(), scale: *scale, softcap: *softcap })
            }
            Readout::Objects { .. } => Some(Stages { transform: None, scale: 1.0, softcap: None }),
            Readout::Positions { transform } | Readout::Classes { transform, .. } => {
                Some(Stages { transform: transform.as_ref(), scale: 1.0, softcap: None })
            }
        }
    }
}

/// What stands before and after a readout's output matrix.
pub(super) struct Stages<'a> {
    /// Applied first.
    pub transform: Option<&'a Transform>,
    /// Factor on the hidden state.
    pub scale: f32,
    /// `c · tanh(logit / c)`.
    pub softcap: Option<f32>,
}
