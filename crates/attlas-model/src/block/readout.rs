//! The readout: from the last hidden states to logits.

use super::weights::Transformer;
use crate::config::{Activation, Readout};

impl Transformer {
    /// How many logits a row gets; 0 where the model has no readout.
    pub fn n_logits(&self) -> usize {
        match self.architecture.readout {
            Readout::None => 0,
            Readout::Positions { .. } => 1,
            Readout::Tokens { n_tokens, .. } => n_tokens,
            Readout::Classes { n, .. } => n,
        }
    }

    /// Logits of hidden states. Shapes `[n, d_model]` and `[n, n_logits]`.
    pub(crate) fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let Some(output) = &self.readout.output else { return Vec::new() };
        let (transform, scale, softcap) = match &self.architecture.readout {
            Readout::None => return Vec::new(),
            Readout::Tokens { transform, scale, softcap, .. } => (transform, *scale, *softcap),
            Readout::Positions { transform } | Readout::Classes { transform, .. } => (transform, 1.0, None),
        };
        let mut rows = hidden.to_vec(); // [n, d_model]
        if let (Some(config), Some((dense, norm))) = (transform, &self.readout.transform) {
            let n = rows.len() / dense.d_in;
            let mut transformed = vec![0.0; n * dense.d_out]; // [n, width]
            dense.forward(&rows, &mut transformed, config.activation);
            if let Some(norm) = norm {
                norm.apply(&mut transformed, dense.d_out);
            }
            rows = transformed;
        }
        if scale != 1.0 {
            rows.iter_mut().for_each(|x| *x *= scale);
        }
        let mut logits = vec![0.0; rows.len() / output.d_in * output.d_out]; // [n, n_logits]
        output.forward(&rows, &mut logits, Activation::Identity);
        if let Some(cap) = softcap {
            logits.iter_mut().for_each(|x| *x = cap * (*x / cap).tanh());
        }
        logits
    }
}
