//! The weights of a ResNet.

use attlas_kernels::Precision;

use super::{BackboneNames, Loader, StackNames, ended};
use crate::Error;
use crate::block::backbone::{BackboneWeights, GridWeights, ResidualWeights};
use crate::block::linear::{Linear, Weight};
use crate::config::{Backbone, GridConvolution};

/// What is added to variances.
const EPSILON: f32 = 1e-5;

impl Loader<'_> {
    /// The convolutions, and the matrix from their last grid's channels to hidden states.
    pub(super) fn backbone(
        &self,
        config: &Backbone,
        d_model: usize,
        projection: &str,
        names: &StackNames,
    ) -> Result<BackboneWeights, Error> {
        let under = |name: &str| format!("{}{name}", self.prefix);
        let fits = |names: &&BackboneNames| self.checkpoint.contains(&under(&format!("{}.weight", names.stem[0])));
        let names = names.backbones.iter().find(fits).or(names.backbones.first()).copied().unwrap_or_default();
        let stem = self.grid_convolution(config.first(), names.stem.map(under))?;
        let mut layers = Vec::new();
        for (stage, of_stage) in config.layers_of_stages().into_iter().enumerate() {
            for (layer, parts) in of_stage.into_iter().enumerate() {
                let place = |name: &str, convolution: usize| {
                    let stage = (stage + names.first).to_string();
                    let convolution = (convolution + names.first).to_string();
                    let name = name.replace("{stage}", &stage).replace("{layer}", &layer.to_string());
                    under(&name.replace("{convolution}", &convolution))
                };
                let convolutions = parts.convolutions.iter().enumerate();
                let read = |(at, part): (usize, &GridConvolution)| {
                    self.grid_convolution(*part, names.convolution.map(|name| place(name, at)))
                };
                let shortcut =
                    parts.shortcut.map(|part| self.grid_convolution(part, names.shortcut.map(|name| place(name, 0))));
                layers.push(ResidualWeights {
                    convolutions: convolutions.map(read).collect::<Result<_, _>>()?,
                    shortcut: shortcut.transpose()?,
                });
            }
        }
        let (width, name) = (config.width(), ended(projection, "weight"));
        let weight = Weight::Rows(self.checkpoint.tensor(&name, &[d_model, width, 1, 1])?);
        let bias = Some(self.checkpoint.tensor(&ended(projection, "bias"), &[d_model])?);
        let projection = Linear { weight, bias, d_in: width, d_out: d_model, precision: Precision::Exact };
        Ok(BackboneWeights { stem, layers, projection })
    }

    /// A convolution and its norm as one: `(Wx − mean) · weight / √(variance + ε) + bias`.
    fn grid_convolution(&self, config: GridConvolution, [name, norm]: [String; 2]) -> Result<GridWeights, Error> {
        let GridConvolution { d_in, d_out, kernel, stride } = config;
        let n_places = kernel * kernel;
        let stored = self.checkpoint.numbers(&ended(&name, "weight"), &[d_out, d_in, kernel, kernel])?;
        let of_norm = |part: &str| self.checkpoint.numbers(&ended(&norm, part), &[d_out]);
        let (weight, mut bias) = (of_norm("weight")?, of_norm("bias")?);
        let (means, variances) = (of_norm("running_mean")?, of_norm("running_var")?);
        let mut rows = vec![0.0; stored.len()]; // [d_out, kernel², d_in]
        for (output, row) in rows.chunks_exact_mut(n_places * d_in).enumerate() {
            let factor = weight[output] / (variances[output] + EPSILON).sqrt();
            if !factor.is_finite() {
                let path =
                    self.checkpoint.get(&ended(&norm, "running_var")).map_or(self.checkpoint.path(), |t| &*t.path);
                let message = format!("{norm}.running_var has {} at {output}, which is no variance", variances[output]);
                return Err(Error::file(path, message));
            }
            bias[output] -= means[output] * factor;
            for (place, slot) in row.iter_mut().enumerate() {
                let (step, input) = (place / d_in, place % d_in);
                *slot = stored[(output * d_in + input) * n_places + step] * factor;
            }
        }
        Ok(GridWeights { linear: Linear::new(rows, Some(bias), d_out, n_places * d_in), kernel, stride })
    }
}
