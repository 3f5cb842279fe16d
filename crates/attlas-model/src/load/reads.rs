//! The weights of what is no id: patches, spectrograms, distances, convolutions.

use std::sync::Arc;

use attlas_kernels::{Code, Coded, Part, Precision};

use super::{AttentionNames, Layout, Loader, StackNames, ended};
use crate::Error;
use crate::block::convolution::{Convolution, Ends, GroupedConvolution};
use crate::block::linear::{Linear, Weight};
use crate::block::norm::NormWeights;
use crate::block::weights::{AddedWeights, DistanceWeights, PatchWeights, Projections, ReadWeights, SampleLayer};
use crate::config::{
    AddedScores, Attention, Disentangled, Embedding, Frequencies, Norm, PatchMatrix, Patches, PositionConvolution,
    Reads, SampleConvolution, SampleNorms, Samples, Stack,
};
use crate::weights::Checkpoint;
use crate::weights::stored_rows::StoredRows;

/// A dense layer outside the stacks, under the first prefix that fits, ready to run.
///
/// # Errors
/// As [`load`](super::load).
pub(crate) fn dense(
    checkpoint: &Checkpoint,
    prefixes: &[&'static str],
    name: &str,
    [d_out, d_in]: [usize; 2],
    has_bias: bool,
) -> Result<Linear, Error> {
    let fits = |prefix: &&&str| checkpoint.contains(&format!("{prefix}{name}.weight"));
    let prefix = prefixes.iter().find(fits).or(prefixes.first()).copied().unwrap_or("");
    let loader = Loader { checkpoint, layout: Layout::OutIn, prefix };
    let mut linear = loader.linear(&format!("{prefix}{name}"), d_out, d_in, has_bias)?;
    linear.pack();
    Ok(linear)
}

impl Loader<'_> {
    pub(super) fn reads(&self, embedding: &Embedding, names: &StackNames) -> Result<ReadWeights, Error> {
        let width = embedding.width;
        let name = |place: usize| format!("{}{}", self.prefix, names.projections.get(place).unwrap_or(&""));
        match &embedding.reads {
            Reads::Tokens => Ok(ReadWeights::Tokens),
            Reads::Patches(patches) => self.patches(patches, width, &name(0), names).map(ReadWeights::Patches),
            Reads::Grid(backbone) => self.backbone(backbone, width, &name(0), names).map(ReadWeights::Grid),
            Reads::Samples(samples) => self.samples(samples, &name(0), names).map(ReadWeights::Samples),
            Reads::Frames(frames) => {
                let first = self.convolution(&name(0), [width, frames.n_mels], 3, 1, 1)?;
                let second = self.convolution(&name(1), [width, width], 3, 1, 2)?;
                Ok(ReadWeights::Frames([first, second]))
            }
        }
    }

    /// The convolutions over samples, each with its norm; the names are those of the first, whose number is 0.
    fn samples(&self, samples: &Samples, first: &str, names: &StackNames) -> Result<Vec<SampleLayer>, Error> {
        let mut d_in = 1;
        let mut layers = Vec::with_capacity(samples.convolutions.len());
        for (place, SampleConvolution { width, kernel, stride }) in samples.convolutions.iter().copied().enumerate() {
            let name = first.replacen(".0.", &format!(".{place}."), 1);
            let stored = self.checkpoint.numbers(&ended(&name, "weight"), &[width, d_in, kernel])?;
            let bias = match samples.biases {
                true => Some(self.checkpoint.tensor(&ended(&name, "bias"), &[width])?.to_vec()),
                false => None,
            };
            let linear = Linear::new(by_step(&stored, d_in, kernel), bias, width, kernel * d_in);
            let has_norm = samples.norms == SampleNorms::Each || place == 0;
            let norm_name = format!("{}{}", self.prefix, names.read_norm.replacen(".0.", &format!(".{place}."), 1));
            let norm = has_norm.then(|| self.norm(&Norm::layer(SAMPLE_EPSILON), &norm_name, width)).transpose()?;
            layers.push(SampleLayer { convolution: Convolution { linear, kernel, stride, ends: Ends::Nothing }, norm });
            d_in = width;
        }
        Ok(layers)
    }

    /// The convolution that gives positions, whose weights are stored as directions, and a length for each step of its kernel.
    pub(super) fn position_convolution(
        &self,
        config: &PositionConvolution,
        d_model: usize,
        names: &StackNames,
    ) -> Result<(GroupedConvolution, Option<NormWeights>), Error> {
        let PositionConvolution { kernel, n_groups, .. } = *config;
        let width = d_model / n_groups;
        let name = format!("{}{}", self.prefix, names.position_convolution);
        let [lengths, directions] = match self.checkpoint.contains(&format!("{name}.weight_v")) {
            true => ["weight_g", "weight_v"],
            false => ["parametrizations.weight.original0", "parametrizations.weight.original1"],
        };
        let lengths = self.checkpoint.tensor(&format!("{name}.{lengths}"), &[1, 1, kernel])?;
        let directions = format!("{name}.{directions}");
        let mut weights = self.checkpoint.numbers(&directions, &[d_model, width, kernel])?;
        for step in 0..kernel {
            let numbers = || weights.iter().skip(step).step_by(kernel);
            let length = numbers().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            let factor = (f64::from(lengths[step]) / length) as f32;
            if !factor.is_finite() {
                let message = format!("has no direction at step {step} of its kernel: all numbers there are 0");
                return Err(Error::tensor(self.checkpoint.path(), directions, message));
            }
            weights.iter_mut().skip(step).step_by(kernel).for_each(|x| *x *= factor);
        }
        let bias = self.checkpoint.tensor(&format!("{name}.bias"), &[d_model])?;
        let group = |(weights, bias): (&[f32], &[f32])| {
            let mut linear = Linear::new(by_step(weights, width, kernel), Some(bias.to_vec()), width, kernel * width);
            linear.pack();
            Convolution { linear, kernel, stride: 1, ends: Ends::Zeros }
        };
        let groups = weights.chunks_exact(width * width * kernel).zip(bias.chunks_exact(width)).map(group).collect();
        let norm_name = format!("{}{}", self.prefix, names.position_norm);
        let norm = config.norm.as_ref().map(|norm| self.norm(norm, &norm_name, d_model)).transpose()?;
        Ok((GroupedConvolution { groups }, norm))
    }

    fn patches(
        &self,
        patches: &Patches,
        width: usize,
        projection: &str,
        names: &StackNames,
    ) -> Result<PatchWeights, Error> {
        let Patches { n_channels, side, bias, .. } = *patches;
        // 1. the matrix
        let name = ended(projection, "weight");
        let weight = match patches.stored {
            PatchMatrix::Kernel => {
                let shape = [width, n_channels, side, side];
                let stored = match self.checkpoint.stored_rows(&name, &shape)? {
                    Some(rows) => self.coded(&[(rows, width, &name)], n_channels * side * side)?,
                    None => None,
                };
                match stored {
                    Some(weight) => weight,
                    None => Weight::Rows(self.checkpoint.tensor(&name, &shape)?),
                }
            }
            PatchMatrix::Pixels => {
                let stored = self.checkpoint.numbers(&name, &[width, side * side * n_channels])?;
                Weight::Rows(Arc::new(by_colour(&stored, n_channels, side * side)))
            }
            PatchMatrix::Frames(n) => {
                let stored = self.checkpoint.numbers(&name, &[width, n_channels, n, side, side])?;
                Weight::Rows(Arc::new(over_frames(&stored, n, side * side)))
            }
        };
        let bias = if bias { Some(self.checkpoint.tensor(&ended(projection, "bias"), &[width])?) } else { None };
        let (d_in, precision) = (n_channels * side * side, Precision::Exact);
        let projection = Linear { weight, bias, d_in, d_out: width, precision };
        // 2. the rows before the patches get their positions here, the patches when their grid is known
        let positions = match patches.has_positions {
            true => self.rows(names.positions, patches.n_positions(), width)?,
            false => Arc::default(),
        };
        let mut rest = positions.as_slice();
        let mut leading = Vec::new(); // [n_leading, width], as many as are stored
        for (rows, name) in patches.leading.iter().zip(names.leading) {
            let stored = self.rows(name, rows.n, width)?;
            let start = leading.len();
            leading.extend_from_slice(&stored);
            if rows.has_position && patches.has_positions {
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
    pub(super) fn convolution(
        &self,
        name: &str,
        [d_out, d_in]: [usize; 2],
        kernel: usize,
        n_groups: usize,
        stride: usize,
    ) -> Result<Convolution, Error> {
        let (n_inputs, n_outputs) = (d_in / n_groups, d_out / n_groups);
        let (weight_name, shape) = (ended(name, "weight"), [d_out, n_inputs, kernel]);
        let bias = self.checkpoint.tensor(&ended(name, "bias"), &[d_out])?;
        // where input `input` of the group of output `output`, `step` steps on, stands in its row of [kernel, d_in]
        let column = |output: usize, input: usize, step: usize| step * d_in + output / n_outputs * n_inputs + input;
        // 1. numbers of 16 bits stay so
        let stored = self.checkpoint.stored_rows(&weight_name, &shape)?;
        if let Some(rows @ StoredRows { code: Code::F16 | Code::Bf16, .. }) = stored {
            let parts = [Part { code: rows.code, n_rows: d_out }];
            let coded = Coded::read(&parts, kernel * d_in, |_, outputs, bytes| {
                let mut of_rows = vec![0; outputs.len() * n_inputs * kernel * 2];
                rows.read(n_inputs * kernel, outputs.clone(), &mut of_rows).map_err(|e| self.io(&weight_name, e))?;
                let stored = of_rows.chunks_exact(n_inputs * kernel * 2);
                for ((output, stored), row) in outputs.zip(stored).zip(bytes.chunks_exact_mut(kernel * d_in * 2)) {
                    for (place, code) in stored.as_chunks::<2>().0.iter().enumerate() {
                        let at = 2 * column(output, place / kernel, place % kernel);
                        row[at..at + 2].copy_from_slice(code);
                    }
                }
                Ok::<(), Error>(())
            })?;
            if let Some(coded) = coded {
                self.checkpoint.ignore(&weight_name);
                let weight = Weight::Coded(Arc::new(coded));
                let (d_in, precision) = (kernel * d_in, Precision::Exact);
                let linear = Linear { weight, bias: Some(bias), d_out, d_in, precision };
                return Ok(Convolution { linear, kernel, stride, ends: Ends::Zeros });
            }
        }
        // 2. all others become f32
        let stored = self.checkpoint.numbers(&weight_name, &shape)?;
        let mut weight = vec![0.0; d_out * kernel * d_in]; // [d_out, kernel, d_in]
        for (output, row) in weight.chunks_exact_mut(kernel * d_in).enumerate() {
            for input in 0..n_inputs {
                for step in 0..kernel {
                    row[column(output, input, step)] = stored[(output * n_inputs + input) * kernel + step];
                }
            }
        }
        let linear = Linear::new(weight, Some(bias.to_vec()), d_out, kernel * d_in);
        Ok(Convolution { linear, kernel, stride, ends: Ends::Zeros })
    }

    /// How fast rotary positions turn, or the table that they turn by, where the weights hold it: it is what the model was
    /// trained with, which may have been rounded.
    pub(super) fn stored_frequencies(&self, stack: &mut Stack, names: &StackNames) -> Result<(), Error> {
        let under = |name: &&str| format!("{}{name}", self.prefix);
        let Some(name) = names.frequencies.iter().map(under).find(|name| self.checkpoint.contains(name)) else {
            return Ok(());
        };
        for rotary in stack.blocks.iter_mut().filter_map(|block| block.attention.rotary.as_mut()) {
            match &mut rotary.frequencies {
                Frequencies::Fixed { per_pair, .. } => {
                    *per_pair = self.checkpoint.tensor(&name, &[rotary.n_columns / 2])?.to_vec();
                }
                Frequencies::Table { n_positions, stored } => {
                    *stored = Some(self.checkpoint.tensor(&name, &[*n_positions, rotary.n_columns])?);
                }
                _ => {}
            }
        }
        Ok(())
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
        let Some(terms) = stack.own_attention().next().and_then(|(_, attention)| attention.disentangled) else {
            return Ok(None);
        };
        let under = |name: &str| format!("{}{name}", self.prefix);
        let mut table = self.checkpoint.tensor(&under(names.distances), &[2 * terms.span, stack.d_model])?.to_vec();
        if let Some(norm) = &stack.distance_norm {
            self.norm(norm, &under(names.distance_norm), stack.d_model)?.apply(&mut table, stack.d_model);
        }
        Ok(Some(table))
    }

    /// What is added to the scores of a layer; `shared` is where a table of all layers lies.
    pub(super) fn added(
        &self,
        config: &Attention,
        names: &AttentionNames,
        layer: &str,
        shared: &str,
    ) -> Result<Option<AddedWeights>, Error> {
        let n_heads = config.n_heads;
        Ok(match config.added {
            None => None,
            Some(AddedScores::Ways { grid, shared: is_shared }) => {
                let name = if is_shared { shared.to_owned() } else { format!("{layer}{}", names.added) };
                let n_ways = AddedScores::n_ways(grid);
                Some(AddedWeights::Ways { table: self.checkpoint.tensor(&name, &[n_ways, n_heads])?, grid })
            }
            Some(AddedScores::Gated { n_buckets, max_distance }) => {
                let factors = self.checkpoint.tensor(&format!("{layer}{}", names.factors), &[1, n_heads, 1, 1])?;
                let mut gate = self.linear(&format!("{layer}{}", names.added), 8, config.d_head, true)?;
                gate.pack();
                let table = self.checkpoint.tensor(&ended(shared, "weight"), &[n_buckets, n_heads])?;
                Some(AddedWeights::Gated { table, max_distance, gate, factors })
            }
        })
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

/// What is added to the variance of convolutions over samples.
const SAMPLE_EPSILON: f32 = 1e-5;

/// A convolution's weights with the columns of each step side by side: `[d_out, d_in, kernel]` as `[d_out, kernel, d_in]`.
fn by_step(stored: &[f32], d_in: usize, kernel: usize) -> Vec<f32> {
    let row = |row: &'_ [f32]| -> Vec<f32> {
        (0..kernel).flat_map(|step| row.iter().skip(step).step_by(kernel)).copied().collect()
    };
    stored.chunks_exact(d_in * kernel).flat_map(row).collect()
}

/// The sum over frames, which are all the same image. Shapes `[n, n_frames, n_pixels]` and `[n, n_pixels]`.
fn over_frames(stored: &[f32], n_frames: usize, n_pixels: usize) -> Vec<f32> {
    let mut sums = Vec::with_capacity(stored.len() / n_frames);
    for frames in stored.chunks_exact(n_frames * n_pixels) {
        let sum = |pixel: usize| frames.iter().skip(pixel).step_by(n_pixels).map(|x| f64::from(*x)).sum::<f64>() as f32;
        sums.extend((0..n_pixels).map(sum));
    }
    sums
}

/// Rows whose columns are colours of pixels as rows of pixels, colour by colour. Shape `[n, n_channels · side²]`.
fn by_colour(rows: &[f32], n_channels: usize, n_pixels: usize) -> Vec<f32> {
    let row = |row: &'_ [f32]| -> Vec<f32> {
        (0..n_channels).flat_map(|colour| row.iter().skip(colour).step_by(n_channels)).copied().collect()
    };
    rows.chunks_exact(n_channels * n_pixels).flat_map(row).collect()
}
