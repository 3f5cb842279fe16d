//! Back through the readout: from logits to the last hidden states.

use attlas_kernels::{Onto, Slope};

use super::Rules;
use crate::block::readout::Stages;
use crate::block::weights::{ReadoutWeights, Transformer};
use crate::config::Activation;

impl Transformer {
    /// The gradient of the hidden states that logits were read from; `None` without a readout. The logits themselves are
    /// needed where they are cut ([`Transformer::cuts_logits`]). Adds the gradients of parameters to `sums`. Shapes
    /// `[n, d_model]` and `[n, n_logits]`.
    pub(crate) fn logits_back(
        &self,
        rules: Rules,
        hidden: &[f32],
        logits: &[f32],
        mut d_logits: Vec<f32>,
        mut sums: Option<&mut ReadoutWeights>,
    ) -> Option<Vec<f32>> {
        let output = self.readout.output.as_ref()?;
        let Stages { transform, scale, softcap } = self.stages()?;
        // 1. the cap
        if let Some(cap) = softcap {
            let slope = rules.slope();
            d_logits.iter_mut().zip(logits).for_each(|(d, logit)| *d *= before_tanh(slope, logit / cap));
        }
        // 2. the output matrix
        let n = d_logits.len() / output.d_out;
        if let Some(of_output) = sums.as_mut().and_then(|sums| sums.output.as_mut()) {
            of_output.add_gradients(&self.before_output(hidden)?, &d_logits);
        }
        let mut gradient = vec![0.0; n * output.d_in]; // [n, width]
        output.go_back(&d_logits, &mut gradient, Onto::Replace);
        gradient.iter_mut().for_each(|d| *d *= scale);
        // 3. the dense layer before it
        if let (Some(config), Some((dense, norm))) = (transform, &self.readout.transform) {
            let mut before = vec![0.0; n * dense.d_out]; // [n, width]
            dense.forward(hidden, &mut before, Activation::Identity);
            if let Some(norm) = norm {
                let mut read = before.clone();
                config.activation.apply(&mut read);
                let of_norm = sums.as_mut().and_then(|sums| sums.transform.as_mut()?.1.as_mut());
                norm.go_back(rules, &read, &mut gradient, dense.d_out, of_norm);
            }
            config.activation.go_back(rules.slope(), &before, &mut gradient);
            if let Some((of_dense, _)) = sums.and_then(|sums| sums.transform.as_mut()) {
                of_dense.add_gradients(hidden, &gradient);
            }
            let mut d_hidden = vec![0.0; hidden.len()]; // [n, d_model]
            dense.go_back(&gradient, &mut d_hidden, Onto::Replace);
            gradient = d_hidden;
        }
        Some(gradient)
    }
}

/// What `y = tanh(x)` multiplies by what comes back, from `y`.
fn before_tanh(slope: Slope, y: f32) -> f32 {
    match slope {
        Slope::Derivative => 1.0 - y * y,
        Slope::Share if y == 0.0 => 1.0,
        Slope::Share => {
            let nearly_one = 1.0 - f64::from(f32::EPSILON) / 4.0; // closer to 1, f32 has no number
            let y = f64::from(y).clamp(-nearly_one, nearly_one);
            (y / y.atanh()) as f32
        }
    }
}
