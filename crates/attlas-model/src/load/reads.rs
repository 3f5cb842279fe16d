//! The weights of what is no id: patches, spectrograms, distances, convolutions.

use attlas_kernels::Precision;
use std::sync::Arc;

use super::{AttentionNames, Loader, StackNames, ended};
use crate::Error;
use crate::block::convolution::Convolution;
use crate::block::linear::{Linear, Weight};
use crate::block::norm::NormWeights;
use crate::block::weights::{DistanceWeights, PatchWeights, Projections, ReadWeights};
use crate::config::{Attention, Disentangled, Embedding, Patches, Reads, Stack};

impl Loader<'_> {
    pub(super) fn reads(&self, embedding: &Embedding, names: &StackNames) -> Result<ReadWeights, Error> {
        let width = embedding.width;
        let name = |place: usize| format!("{}{}", self.prefix, names.projections.get(place).unwrap_or(&""));
        match &embedding.reads {
            Reads::Tokens => Ok(ReadWeights::Tokens),
            Reads::Patches(patches) => self.patches(patches, width, &name(0), names).map(ReadWeights::Patches),
            Reads::Frames(frames) => {
                let first = self.convolution(&name(0), [width, frames.n_mels], 3, 1, 1)?;
                let second = self.convolution(&name(1), [width, width], 3, 1, 2)?;
                Ok(ReadWeights::Frames([first, second]))
            }
        }
    }

    fn patches(
        &self,
        patches: &Patches,
        width: usize,
        projection: &str,
        names: &StackNames,
    ) -> Result<PatchWeights, Error> {
        let Patches { n_channels, side, bias, .. } = *patches;
        // 1. the matrix, stored as a convolution's kernel
        let weight = self.checkpoint.tensor(&ended(projection, "weight"), &[width, n_channels, side, side])?;
        let bias = if bias { Some(self.checkpoint.tensor(&ended(projection, "bias"), &[width])?) } else { None };
        let projection = Linear {
            weight: Weight::Rows(weight),
            bias,
            d_in: n_channels * side * side,
            d_out: width,
            precision: Precision::Exact,
        };
        // 2. the rows before the patches get their positions here, the patches when their grid is known
        let positions = self.rows(names.positions, patches.n_positions(), width)?;
        let mut rest = positions.as_slice();
        let mut leading = Vec::with_capacity(patches.n_leading() * width); // [n_leading, width]
        for (rows, name) in patches.leading.iter().zip(names.leading) {
            let stored = self.rows(name, rows.n, width)?;
            let start = leading.len();
            leading.extend_from_slice(&stored);
            if rows.has_position {
                let (own, others) = rest.split_at(rows.n * width);
                leading[start..].iter_mut().zip(own).for_each(|(x, position)| *x += position);
                rest = others;
            }
        }
        Ok(PatchWeights { projection, leading, positions: rest.to_vec() })
    }

    /// A table of `n` rows under the prefix, with or without a leading 1; one row may have no axis of its own.
    fn rows(&self, name: &str, n: usize, width: usize) -> Result<Arc<Vec<f32>>, Error> {
        let name = format!("{}{name}", self.prefix);
        let stored = self.checkpoint.get(&name).map(|tensor| tensor.shape.clone());
        let shapes: [&[usize]; 3] = [&[1, n, width], &[n, width], &[width]];
        let fits = |shape: &&[usize]| stored.as_deref() == Some(*shape) && (shape.len() > 1 || n == 1);
        self.checkpoint.tensor(&name, shapes.into_iter().find(fits).unwrap_or(&[n, width]))
    }

    /// A convolution with a bias, stored as `[d_out, d_in / n_groups, kernel]`.
    fn convolution(
        &self,
        name: &str,
        [d_out, d_in]: [usize; 2],
        kernel: usize,
        n_groups: usize,
        stride: usize,
    ) -> Result<Convolution, Error> {
        let (n_inputs, n_outputs) = (d_in / n_groups, d_out / n_groups);
        let stored = self.checkpoint.numbers(&ended(name, "weight"), &[d_out, n_inputs, kernel])?;
        let bias = self.checkpoint.tensor(&ended(name, "bias"), &[d_out])?;
        let mut weight = vec![0.0; d_out * kernel * d_in]; // [d_out, kernel, d_in]
        for (output, row) in weight.chunks_exact_mut(kernel * d_in).enumerate() {
            let first = output / n_outputs * n_inputs;
            for input in 0..n_inputs {
                for step in 0..kernel {
                    row[step * d_in + first + input] = stored[(output * n_inputs + input) * kernel + step];
                }
            }
        }
        Ok(Convolution { linear: Linear::new(weight, Some(bias.to_vec()), d_out, kernel * d_in), kernel, stride })
    }

    /// The convolution beside the first block.
    pub(super) fn side_convolution(
        &self,
        stack: &Stack,
        names: &StackNames,
    ) -> Result<Option<(Convolution, NormWeights)>, Error> {
        let Some(config) = &stack.convolution else { return Ok(None) };
        let under = |name: &str| format!("{}{name}", self.prefix);
        let d_model = stack.d_model;
        let convolution =
            self.convolution(&under(names.convolution), [d_model; 2], config.kernel, config.n_groups, 1)?;
        Ok(Some((convolution, self.norm(&config.norm, &under(names.convolution_norm), d_model)?)))
    }

    /// The table of distances that the blocks share, normalised. Shape `[2 · span, d_model]`.
    pub(super) fn distances(&self, stack: &Stack, names: &StackNames) -> Result<Option<Vec<f32>>, Error> {
        let Some(terms) = stack.blocks.first().and_then(|block| block.attention.disentangled) else { return Ok(None) };
        let under = |name: &str| format!("{}{name}", self.prefix);
        let mut table = self.checkpoint.tensor(&under(names.distances), &[2 * terms.span, stack.d_model])?.to_vec();
        if let Some(norm) = &stack.distance_norm {
            self.norm(norm, &under(names.distance_norm), stack.d_model)?.apply(&mut table, stack.d_model);
        }
        Ok(Some(table))
    }

    pub(super) fn distance_weights(
        &self,
        config: &Attention,
        terms: &Disentangled,
        names: &AttentionNames,
        layer: &str,
        projections: &Projections,
        table: &[f32],
    ) -> Result<DistanceWeights, Error> {
        let width = config.query_width();
        let (keys, queries) = match projections {
            Projections::Joint(joint) if terms.shared_projections => {
                let all = joint.weight.rows();
                let rows = |start: usize| {
                    let weight = all[start * joint.d_in..][..width * joint.d_in].to_vec();
                    let bias = joint.bias.as_ref().map(|bias| bias[start..start + width].to_vec());
                    Some(Linear::new(weight, bias, width, joint.d_in))
                };
                (rows(width), rows(0))
            }
            _ => {
                let own = |name: &str, wanted: bool| {
                    let read = || self.linear(&format!("{layer}{name}"), width, table.len() / (2 * terms.span), true);
                    wanted.then(read).transpose()
                };
                (
                    own(names.distance_key, terms.content_to_position)?,
                    own(names.distance_query, terms.position_to_content)?,
                )
            }
        };
        let keys = keys.filter(|_| terms.content_to_position);
        let queries = queries.filter(|_| terms.position_to_content);
        Ok(DistanceWeights::new(config, table, keys.as_ref(), queries.as_ref()))
    }
}
