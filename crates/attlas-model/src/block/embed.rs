//! The first hidden states: of ids, of an image's patches, of a spectrogram's frames.

use std::ops::Range;

use attlas_kernels::vectorised;
use rayon::prelude::*;

use super::norm::NormWeights;
use super::rope::sinusoidal_row;
use super::state::{Batch, FeatureBatch};
use super::stretch::stretched;
use super::weights::{EmbeddingWeights, PatchWeights, ReadWeights, SampleLayer};
use super::workspace::{Workspace, sized};
use crate::config::{Activation, AtPadding, Embedding, Patches, Positions, Projected, Reads, SampleNorms, Samples};

/// Fills `stream` with what the batch's ids or features give. Shape `[n_items · n, d_model]`.
pub(crate) fn embed(
    config: &Embedding,
    weights: &EmbeddingWeights,
    batch: Batch<'_>,
    past: usize,
    stream: &mut [f32],
    workspace: &mut Workspace,
) {
    match (&config.reads, &weights.reads, batch.features) {
        (Reads::Patches(patches), ReadWeights::Patches(stored), Some(features)) => {
            embed_patches(config.width, patches, stored, batch.n, features, stream);
        }
        (Reads::Grid(backbone), ReadWeights::Grid(stored), Some(features)) => {
            let n_values: usize = features.shape.iter().product();
            let items = features.values.chunks_exact(n_values).zip(stream.chunks_exact_mut(batch.n * config.width));
            let sides = [features.shape[1], features.shape[2]];
            items.for_each(|(image, rows)| rows.copy_from_slice(&stored.forward(backbone, image, sides)));
        }
        (Reads::Frames(_), ReadWeights::Frames(convolutions), Some(features)) => {
            let n_values: usize = features.shape.iter().product();
            let items = features.values.chunks_exact(n_values).zip(stream.chunks_exact_mut(batch.n * config.width));
            for (spectrogram, rows) in items {
                let frames = by_frame(spectrogram, features.shape[0]);
                let halved = convolutions[0].forward(&frames, Activation::Gelu);
                rows.copy_from_slice(&convolutions[1].forward(&halved, Activation::Gelu));
            }
        }
        (Reads::Samples(samples), ReadWeights::Samples(layers), Some(features)) => {
            let n_values: usize = features.shape.iter().product();
            let sounds = features.values.chunks_exact(n_values);
            let mut rows: Vec<f32> = sounds.flat_map(|sound| samples.forward(layers, sound)).collect(); // [n_items · n, width]
            finish_rows(config, weights, batch, past, &mut rows, config.width);
            if let Some(projection) = &weights.projection {
                projection.forward(&rows, stream, Activation::Identity);
            }
        }
        _ => embed_ids(config, weights, batch, past, stream, workspace),
    }
    let width = stream.len() / (batch.n_items * batch.n);
    if config.projected == Projected::Token || weights.projection.is_none() {
        finish_rows(config, weights, batch, past, stream, width);
    }
    if let (Some(config), Some((convolution, norm))) = (&config.convolution, &weights.convolution) {
        stream.chunks_exact_mut(batch.n * width).for_each(|rows| convolution.add_to(rows, width, config.activation));
        if let Some(norm) = norm {
            norm.apply(stream, width);
        }
    }
}

/// The rows of ids; where the projection comes last, with positions, types and norm.
fn embed_ids(
    config: &Embedding,
    weights: &EmbeddingWeights,
    batch: Batch<'_>,
    past: usize,
    stream: &mut [f32],
    workspace: &mut Workspace,
) {
    let factors = config.factors(batch);
    let token_rows = |rows: &mut [f32]| {
        rows.par_chunks_mut(config.width).zip(&factors).enumerate().for_each(|(index, (row, factor))| {
            match batch.words {
                Some(words) => row.copy_from_slice(&words[index * config.width..][..config.width]),
                None => weights.tokens.row(batch.ids[index] as usize, row),
            }
            row.iter_mut().for_each(|x| *x *= factor);
        });
    };
    let Some(projection) = &weights.projection else { return token_rows(stream) };
    let rows = sized(&mut workspace.sublayer, batch.n_items * batch.n * config.width);
    token_rows(rows);
    if config.projected == Projected::Last {
        finish_rows(config, weights, batch, past, rows, config.width);
    }
    projection.forward(rows, stream, Activation::Identity);
}

/// Position and segment of each row added, and the norm. Shape `[n_items · n, width]`.
fn finish_rows(
    config: &Embedding,
    weights: &EmbeddingWeights,
    batch: Batch<'_>,
    past: usize,
    rows: &mut [f32],
    width: usize,
) {
    let stored_rows = weights.positions.as_ref().map_or(0, |table| table.len() / width);
    let sines = config.sines(batch, past, stored_rows, width);
    rows.par_chunks_mut(width).enumerate().for_each(|(index, row)| {
        let (item, step) = (index / batch.n, index % batch.n);
        let padding = batch.valid.is_some_and(|valid| !valid[item * (past + batch.n) + past + step]);
        match (config.position(batch.position(past, step), padding), &weights.positions) {
            (Some(position), Some(table)) if position < stored_rows => add(row, &table[position * width..][..width]),
            (Some(position), _) => {
                if let Some((first, sines)) = &sines {
                    add(row, &sines[(position - first) * width..][..width]);
                }
            }
            (None, _) => {}
        }
        if let Some(types) = &weights.token_types {
            let kind = batch.token_types.map_or(0, |types| types[index] as usize);
            add(row, &types[kind * width..][..width]);
        }
        if let Some(norm) = &weights.norm {
            vectorised(
                #[inline(always)]
                || norm.normalise(row),
            );
        }
    });
}

/// The learnt rows, then the patches, row by row. Shape of `stream`: `[n_items · n, width]`.
fn embed_patches(
    width: usize,
    config: &Patches,
    weights: &PatchWeights,
    n: usize,
    features: FeatureBatch<'_>,
    stream: &mut [f32],
) {
    let grid = [features.shape[1] / config.side, features.shape[2] / config.side];
    let positions = stretched(&weights.positions, config, grid, width);
    let n_values: usize = features.shape.iter().product();
    let items = features.values.chunks_exact(n_values).zip(stream.chunks_exact_mut(n * width));
    for (image, rows) in items {
        let (leading, patches) = rows.split_at_mut(weights.leading.len());
        leading.copy_from_slice(&weights.leading);
        weights.projection.forward(&cut(image, features.shape, config.side), patches, Activation::Identity);
        add(patches, &positions);
    }
}

impl Samples {
    /// What the convolutions give of one sound. Shapes `[n_samples]` and `[n, width]`.
    fn forward(&self, layers: &[SampleLayer], sound: &[f32]) -> Vec<f32> {
        let mut rows = sound.to_vec(); // [n_samples, 1]
        for SampleLayer { convolution, norm } in layers {
            rows = convolution.forward(&rows, Activation::Identity);
            match (norm, self.norms) {
                (Some(norm), SampleNorms::Each) => norm.apply(&mut rows, convolution.linear.d_out),
                (Some(norm), SampleNorms::First) => normalise_columns(norm, &mut rows, convolution.linear.d_out),
                (None, _) => {}
            }
            self.activation.apply(&mut rows);
        }
        rows
    }
}

/// Gives each column mean 0 and variance 1, times its weight, plus its bias. Shape `[n, width]`.
fn normalise_columns(norm: &NormWeights, rows: &mut [f32], width: usize) {
    let n = (rows.len() / width.max(1)) as f64;
    let (mut sums, mut squares) = (vec![0.0_f64; width], vec![0.0_f64; width]); // [width]
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    for row in rows.chunks_exact(width) {
        let centred = row.iter().zip(&sums).map(|(x, sum)| f64::from(*x) - sum / n);
        squares.iter_mut().zip(centred).for_each(|(square, x)| *square += x * x);
    }
    for row in rows.chunks_exact_mut(width) {
        for (column, x) in row.iter_mut().enumerate() {
            let deviation = (squares[column] / n + f64::from(norm.norm.epsilon)).sqrt();
            let scaled = ((f64::from(*x) - sums[column] / n) / deviation) as f32;
            *x = scaled * norm.weight[column] + norm.bias[column];
        }
    }
}

/// The numbers of each patch, colour by colour, row by row. Shapes `[n_channels, height, width]` and
/// `[n_patches, n_channels · side²]`.
pub(super) fn cut(image: &[f32], shape: &[usize], side: usize) -> Vec<f32> {
    let [n_channels, height, width] = [shape[0], shape[1], shape[2]];
    let mut patches = Vec::with_capacity(image.len()); // [n_patches, n_channels · side²]
    for top in (0..height / side).map(|row| row * side) {
        for left in (0..width / side).map(|column| column * side) {
            for line in (0..n_channels).flat_map(|channel| (0..side).map(move |y| channel * height + top + y)) {
                patches.extend_from_slice(&image[line * width + left..][..side]);
            }
        }
    }
    patches
}

/// `[n_mels, n_frames]` as `[n_frames, n_mels]`.
pub(super) fn by_frame(spectrogram: &[f32], n_mels: usize) -> Vec<f32> {
    let n_frames = spectrogram.len() / n_mels;
    let frame = |frame: usize| (0..n_mels).map(move |mel| spectrogram[mel * n_frames + frame]);
    (0..n_frames).flat_map(frame).collect()
}

impl Embedding {
    /// The factor on the row of each new token; texts of which some tokens are dropped out are read whole.
    /// Shape `[n_items · n]`.
    pub(super) fn factors(&self, batch: Batch<'_>) -> Vec<f32> {
        let Some(dropped) = self.dropped else { return vec![self.scale; batch.n_items * batch.n] };
        let mut factors = Vec::with_capacity(batch.ids.len()); // [n_items · n]
        let of_text = |range: Range<usize>| {
            let ids = &batch.ids[range.clone()];
            let n_tokens = batch.valid.map_or(ids.len(), |valid| valid[range].iter().filter(|valid| **valid).count());
            self.factors_of(dropped, ids, n_tokens)
        };
        match batch.packing {
            Some(packing) => packing.starts.windows(2).for_each(|text| factors.extend(of_text(text[0]..text[1]))),
            None => (0..batch.n_items).for_each(|item| factors.extend(of_text(item * batch.n..(item + 1) * batch.n))),
        }
        factors
    }

    /// The factor on the row of each id of a text of `n_tokens`, of which some are dropped out. Shape `[n]`.
    pub(crate) fn factors_of(&self, dropped: u32, ids: &[u32], n_tokens: usize) -> impl Iterator<Item = f32> {
        let n_dropped = ids.iter().filter(|id| **id == dropped).count();
        // where all are dropped out, no row is left to be made larger
        let share = if n_dropped < n_tokens { 1.0 - n_dropped as f32 / n_tokens as f32 } else { 1.0 };
        let factor = self.scale / share;
        ids.iter().map(move |id| if *id == dropped { 0.0 } else { factor })
    }

    /// The sinusoidal rows of the positions of a batch that no table stores, and which the first is: once for all items.
    fn sines(&self, batch: Batch<'_>, past: usize, stored_rows: usize, width: usize) -> Option<(usize, Vec<f32>)> {
        let Positions::Sinusoidal { arrangement, offset, .. } = self.positions else { return None };
        let first = (if batch.packing.is_some() { 0 } else { past } + offset).max(stored_rows);
        let end = past + batch.n_positions() + offset;
        let mut sines = vec![0.0; end.saturating_sub(first) * width]; // [n_positions, width]
        for (index, row) in sines.chunks_exact_mut(width).enumerate() {
            sinusoidal_row(arrangement, first + index, row);
        }
        Some((first, sines))
    }

    /// The row of the position table for the token at `position`; `None` when nothing is added.
    pub(crate) fn position(&self, position: usize, padding: bool) -> Option<usize> {
        match self.positions {
            Positions::None => None,
            Positions::Learned { offset, at_padding, .. } => {
                Some(at_padding.filter(|_| padding).unwrap_or(position + offset))
            }
            Positions::Sinusoidal { at_padding: AtPadding::Nothing, .. } if padding => None,
            Positions::Sinusoidal { offset, .. } => Some(position + offset),
        }
    }
}

fn add(row: &mut [f32], addend: &[f32]) {
    row.iter_mut().zip(addend).for_each(|(x, a)| *x += a);
}
