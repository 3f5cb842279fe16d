//! Layers without attention: the stored columns put into the one order that is computed with, convolved ones first, then the gate.

use super::{Loader, Part, RecurrenceNames, ended, scale};
use crate::Error;
use crate::block::linear::Linear;
use crate::block::recurrence::{
    DeltaWeights, Mamba2Weights, MambaWeights, RecurrenceWeights, RuleWeights, ShortConvolution,
};
use crate::config::{Block, Delta, Mamba, Mamba2, Recurrence, Rule};

impl Loader<'_> {
    /// The weights of one layer; `norm` is the name of the norm that stands before it.
    pub(super) fn recurrence(
        &self,
        config: &Recurrence,
        block: &Block,
        names: &RecurrenceNames,
        norm: &str,
        layer: &str,
        d_model: usize,
    ) -> Result<RecurrenceWeights, Error> {
        let under = |name: &str| format!("{layer}{name}");
        let mut output = self.linear(&under(names.output), d_model, config.width(), config.biases)?;
        scale(&mut output, block.residual_factor);
        let norm = block.attention_norm.as_ref().map(|kind| self.norm(kind, &under(norm), d_model)).transpose()?;
        Ok(RecurrenceWeights {
            norm,
            into: self.projection_into(config, under(names.into), d_model)?,
            convolution: self.short_convolution(config, &under(names.convolution))?,
            rule: match &config.rule {
                Rule::Mamba(mamba) => RuleWeights::Mamba(self.mamba(mamba, names, layer)?),
                Rule::Mamba2(mamba) => RuleWeights::Mamba2(self.mamba2(mamba, config.width(), names, layer)?),
                Rule::Delta(delta) => RuleWeights::Delta(self.delta(delta, names, layer, d_model)?),
            },
            output,
            config: config.clone(),
        })
    }

    /// The first projection, its rows in order.
    fn projection_into(&self, config: &Recurrence, name: String, d_model: usize) -> Result<Linear, Error> {
        let (width, convolved, n) = (config.width(), config.convolved(), config.projected());
        let part = Part { name, d_out: n, bias: config.biases };
        match config.rule.clone() {
            Rule::Mamba(_) => self.stacked(&[part], d_model),
            // stored: the gate, what is convolved, the steps
            Rule::Mamba2(_) => self.some_rows(&part, d_model, n, move |row| match row {
                row if row < convolved => width + row,
                row if row < convolved + width => row - convolved,
                row => row,
            }),
            Rule::Delta(delta) => self.some_rows(&part, d_model, n, move |row| delta.stored_row(row)),
        }
    }

    /// The convolution, taps first.
    fn short_convolution(&self, config: &Recurrence, name: &str) -> Result<ShortConvolution, Error> {
        let (width, kernel) = (config.convolved(), config.kernel);
        let stored = self.checkpoint.tensor(&ended(name, "weight"), &[width, 1, kernel])?;
        let weight = (0..kernel).flat_map(|tap| stored.iter().skip(tap).step_by(kernel).copied()).collect();
        let bias = match config.convolution_bias {
            true => Some(self.checkpoint.tensor(&ended(name, "bias"), &[width])?),
            false => None,
        };
        Ok(ShortConvolution { weight, bias })
    }

    fn mamba(&self, config: &Mamba, names: &RecurrenceNames, layer: &str) -> Result<MambaWeights, Error> {
        let Mamba { width, n_states, d_step, norm } = *config;
        let under = |name: &str| format!("{layer}{name}");
        let read = |place: usize| {
            let size = if place == 0 { d_step } else { n_states };
            self.norm(&norm, &under(names.norms[place]), size)
        };
        Ok(MambaWeights {
            config: config.clone(),
            narrow: self.linear(&under(names.narrow), d_step + 2 * n_states, width, false)?,
            norms: [read(0)?, read(1)?, read(2)?],
            steps: self.linear(&under(names.steps), width, d_step, true)?,
            decay: self.decay(&under(names.decay), &[width, n_states])?,
            skip: self.checkpoint.tensor(&under(names.skip), &[width])?,
        })
    }

    fn mamba2(
        &self,
        config: &Mamba2,
        width: usize,
        names: &RecurrenceNames,
        layer: &str,
    ) -> Result<Mamba2Weights, Error> {
        let under = |name: &str| format!("{layer}{name}");
        Ok(Mamba2Weights {
            config: config.clone(),
            step_bias: self.checkpoint.tensor(&under(names.step_bias), &[config.n_heads])?,
            decay: self.decay(&under(names.decay), &[config.n_heads])?,
            skip: self.checkpoint.tensor(&under(names.skip), &[config.n_heads])?,
            norm: self.norm(&config.norm, &under(names.norms[0]), width)?,
        })
    }

    fn delta(
        &self,
        config: &Delta,
        names: &RecurrenceNames,
        layer: &str,
        d_model: usize,
    ) -> Result<DeltaWeights, Error> {
        let under = |name: &str| format!("{layer}{name}");
        let (n, shared) = (config.n_heads, config.n_heads / config.n_key_heads);
        let rates = Part { name: under(names.rates), d_out: 2 * n, bias: false };
        // stored: for each key head the shares of its heads, then their forgetting
        let place = move |row: usize| row % n / shared * 2 * shared + row / n * shared + row % n % shared;
        Ok(DeltaWeights {
            config: config.clone(),
            rates: self.some_rows(&rates, d_model, 2 * n, place)?,
            step_bias: self.checkpoint.tensor(&under(names.step_bias), &[n])?,
            decay: self.decay(&under(names.decay), &[n])?,
            norm: self.norm(&config.norm, &under(names.norms[0]), config.d_value)?,
        })
    }

    /// What a state decays by: minus the exponentials of what is stored.
    fn decay(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let stored = self.checkpoint.tensor(name, shape)?;
        match stored.iter().position(|number| !number.exp().is_finite()) {
            None => Ok(stored.iter().map(|number| -number.exp()).collect()),
            Some(place) => Err(Error::tensor(
                self.checkpoint.path(),
                name,
                format!("holds {} at place {place}, whose exponential is not finite", stored[place]),
            )),
        }
    }
}

impl Delta {
    /// Where a row of queries, keys, values, gates in that order is stored: for each key head its query, its key, the values of its
    /// heads, their gates.
    fn stored_row(&self, row: usize) -> usize {
        let Delta { n_key_heads, n_heads, d_key, d_value, .. } = *self;
        let values = n_heads / n_key_heads * d_value; // of one key head
        let group = 2 * (d_key + values);
        let keys = n_key_heads * d_key;
        match row.checked_sub(2 * keys) {
            None => row % keys / d_key * group + row / keys * d_key + row % d_key,
            Some(row) => {
                let (part, row) = (row / (n_heads * d_value), row % (n_heads * d_value));
                row / values * group + 2 * d_key + part * values + row % values
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Norm;

    #[test]
    fn rows_of_a_delta_layer_are_stored_by_key_head() {
        let delta = Delta { n_key_heads: 2, n_heads: 4, d_key: 1, d_value: 2, norm: Norm::rms(1e-6) };
        // stored: q0 k0 v0 v0 v1 v1 z0 z0 z1 z1, then the same of the second key head
        let places: Vec<usize> = (0..20).map(|row| delta.stored_row(row)).collect();
        let expected = [0, 10, 1, 11, 2, 3, 4, 5, 12, 13, 14, 15, 6, 7, 8, 9, 16, 17, 18, 19];
        assert_eq!(places, expected);
    }
}
