//! Back through the first hidden states: to rows of ids, to an image's pixels, to a spectrogram.

use std::sync::Arc;

use attlas::Kind;
use attlas_kernels::Onto;

use super::{Back, Rules, add};
use crate::block::convolution::Convolution;
use crate::block::embed::{by_frame, cut, embed};
use crate::block::state::{Batch, FeatureBatch};
use crate::block::weights::{EmbeddingWeights, PatchWeights, ReadWeights};
use crate::block::workspace::Workspace;
use crate::config::{Activation, Embedding, Patches, Positions, Projected, Reads};

/// What goes back to what is read.
#[derive(Debug, Default)]
pub(crate) struct EmbeddingGradient {
    /// Of the table's row for each id; empty where no ids are read. Shape `[n_items · n, width]`.
    pub words: Vec<f32>,
    /// Of features; empty where ids are read. Shape `[n_items, ..shape]`.
    pub features: Vec<f32>,
}

/// From the gradient of the first hidden states, shape `[n_items · n, d_model]`.
pub(super) fn go_back(
    back: &mut Back<'_>,
    config: &Embedding,
    weights: &EmbeddingWeights,
    batch: Batch<'_>,
    kind: Kind,
    mut gradient: Vec<f32>,
) -> EmbeddingGradient {
    let n_rows = batch.n_items * batch.n;
    let mut sums = back.sums.stack(kind).map(|sums| &mut sums.embedding);
    // 1. the projection of a whole row
    let projection = weights.projection.as_ref();
    if let Some(last) = projection.filter(|_| config.projected == Projected::Last) {
        if let Some(of_projection) = sums.as_mut().and_then(|sums| sums.projection.as_mut()) {
            of_projection.add_gradients(&rows_before(config, weights, batch, &mut back.workspace), &gradient);
        }
        let mut narrow = vec![0.0; n_rows * last.d_in]; // [n_items · n, width]
        last.go_back(&gradient, &mut narrow, Onto::Replace);
        gradient = narrow;
    }
    // 2. the norm
    if let Some(norm) = &weights.norm {
        let mut read = vec![0.0; gradient.len()]; // [n_items · n, width]
        let projection = weights.projection.clone().filter(|_| config.projected == Projected::Token);
        let without = EmbeddingWeights { norm: None, projection, ..weights.clone() };
        embed(config, &without, batch, 0, &mut read, &mut back.workspace);
        let of_norm = sums.as_mut().and_then(|sums| sums.norm.as_mut());
        norm.go_back(back.rules, &read, &mut gradient, read.len() / n_rows, of_norm);
    }
    // 3. positions and types
    if let Some(sums) = &mut sums {
        sums.add_beside(config, batch, &gradient, gradient.len() / n_rows);
    }
    // 4. what was read
    match (&config.reads, &weights.reads, batch.features) {
        (Reads::Patches(patches), ReadWeights::Patches(stored), Some(features)) => {
            let n_values: usize = features.shape.iter().product();
            let mut d_features = vec![0.0; batch.n_items * n_values]; // [n_items, ..shape]
            let items = d_features.chunks_exact_mut(n_values).zip(gradient.chunks_exact(batch.n * config.width));
            for ((d_image, rows), image) in items.zip(features.values.chunks_exact(n_values)) {
                if let Some(ReadWeights::Patches(sums)) = sums.as_mut().map(|sums| &mut sums.reads) {
                    sums.add_gradients(&cut(image, features.shape, patches.side), rows);
                }
                patches_back(patches, stored, features.shape, rows, d_image);
            }
            EmbeddingGradient { features: d_features, ..EmbeddingGradient::default() }
        }
        (Reads::Frames(_), ReadWeights::Frames(convolutions), Some(features)) => {
            let sums = sums.and_then(|sums| match &mut sums.reads {
                ReadWeights::Frames(sums) => Some(sums),
                _ => None,
            });
            let features = frames_back(back.rules, convolutions, features, &gradient, batch.n * config.width, sums);
            EmbeddingGradient { features, ..EmbeddingGradient::default() }
        }
        _ => {
            if let Some(first) = projection.filter(|_| config.projected == Projected::Token) {
                if let Some(of_projection) = sums.as_mut().and_then(|sums| sums.projection.as_mut()) {
                    of_projection.add_gradients(&token_rows(config, weights, batch), &gradient);
                }
                let mut narrow = vec![0.0; n_rows * first.d_in]; // [n_items · n, width]
                first.go_back(&gradient, &mut narrow, Onto::Replace);
                gradient = narrow;
            }
            scale_rows(&mut gradient, &config.factors(batch), config.width);
            if let (Some(sums), None) = (&mut sums, batch.words) {
                let tokens = sums.tokens.sums();
                for (id, d_row) in batch.ids.iter().zip(gradient.chunks_exact(config.width)) {
                    add(&mut tokens[*id as usize * config.width..][..config.width], d_row);
                }
            }
            EmbeddingGradient { words: gradient, ..EmbeddingGradient::default() }
        }
    }
}

/// What a projection of whole rows reads. Shape `[n_items · n, width]`.
fn rows_before(
    config: &Embedding,
    weights: &EmbeddingWeights,
    batch: Batch<'_>,
    workspace: &mut Workspace,
) -> Vec<f32> {
    let mut rows = vec![0.0; batch.n_items * batch.n * config.width]; // [n_items · n, width]
    embed(config, &EmbeddingWeights { projection: None, ..weights.clone() }, batch, 0, &mut rows, workspace);
    rows
}

/// What a projection of tokens alone reads. Shape `[n_items · n, width]`.
fn token_rows(config: &Embedding, weights: &EmbeddingWeights, batch: Batch<'_>) -> Vec<f32> {
    let mut rows = match batch.words {
        Some(words) => words.to_vec(),
        None => {
            let mut rows = vec![0.0; batch.ids.len() * config.width]; // [n_items · n, width]
            let places = rows.chunks_exact_mut(config.width).zip(batch.ids);
            places.for_each(|(row, id)| weights.tokens.row(*id as usize, row));
            rows
        }
    };
    scale_rows(&mut rows, &config.factors(batch), config.width);
    rows
}

/// Multiplies each row by its factor. Shapes `[n_rows, width]` and `[n_rows]`.
fn scale_rows(rows: &mut [f32], factors: &[f32], width: usize) {
    for (row, factor) in rows.chunks_exact_mut(width).zip(factors) {
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

impl EmbeddingWeights {
    /// Adds to sums of gradients those of the rows that positions and segments had. Shape of `gradient`:
    /// `[n_items · n, width]`.
    fn add_beside(&mut self, config: &Embedding, batch: Batch<'_>, gradient: &[f32], width: usize) {
        for (index, d_row) in gradient.chunks_exact(width).enumerate() {
            let (item, step) = (index / batch.n, index % batch.n);
            let padding = batch.valid.is_some_and(|valid| !valid[item * batch.n + step]);
            let position = config.position(batch.position(0, step), padding);
            if let (Some(table), Some(position), Positions::Learned { .. }) =
                (&mut self.positions, position, config.positions)
                && let Some(row) = Arc::make_mut(table).get_mut(position * width..(position + 1) * width)
            {
                add(row, d_row);
            }
            if let Some(types) = &mut self.token_types {
                let kind = batch.token_types.map_or(0, |types| types[index] as usize);
                add(&mut Arc::make_mut(types)[kind * width..][..width], d_row);
            }
        }
    }
}

impl PatchWeights {
    /// Adds to sums of gradients those of one image, whose patches are `patches`. Shapes `[n_patches, n_channels · side²]` and
    /// `[n, width]`.
    fn add_gradients(&mut self, patches: &[f32], d_rows: &[f32]) {
        let (d_leading, d_patches) = d_rows.split_at(self.leading.len());
        add(&mut self.leading, d_leading);
        add(&mut self.positions, d_patches);
        self.projection.add_gradients(patches, d_patches);
    }
}

/// Of one image. Shapes `[n, width]` and `[n_channels, height, width]`.
fn patches_back(config: &Patches, weights: &PatchWeights, shape: &[usize], d_rows: &[f32], d_image: &mut [f32]) {
    let n_patches = (shape[1] / config.side) * (shape[2] / config.side);
    let mut d_patches = vec![0.0; n_patches * weights.projection.d_in]; // [n_patches, n_channels · side²]
    weights.projection.go_back(&d_rows[weights.leading.len()..], &mut d_patches, Onto::Replace);
    uncut(&d_patches, shape, config.side, d_image);
}

/// Puts the numbers of each patch back in their places. Shapes `[n_patches, n_channels · side²]` and
/// `[n_channels, height, width]`.
fn uncut(patches: &[f32], shape: &[usize], side: usize, image: &mut [f32]) {
    let [n_channels, height, width] = [shape[0], shape[1], shape[2]];
    let mut lines = patches.chunks_exact(side);
    for top in (0..height / side).map(|row| row * side) {
        for left in (0..width / side).map(|column| column * side) {
            for line in (0..n_channels).flat_map(|channel| (0..side).map(move |y| channel * height + top + y)) {
                if let Some(numbers) = lines.next() {
                    image[line * width + left..][..side].copy_from_slice(numbers);
                }
            }
        }
    }
}

/// Of spectrograms, `n` numbers of `gradient` for each. Shape `[n_items, n_mels, n_frames]`.
fn frames_back(
    rules: Rules,
    convolutions: &[Convolution; 2],
    features: FeatureBatch<'_>,
    gradient: &[f32],
    n: usize,
    mut sums: Option<&mut [Convolution; 2]>,
) -> Vec<f32> {
    let n_values: usize = features.shape.iter().product();
    let items = features.values.chunks_exact(n_values).zip(gradient.chunks_exact(n));
    items
        .flat_map(|(spectrogram, d_rows)| {
            let frames = by_frame(spectrogram, features.shape[0]);
            let halved = convolutions[0].forward(&frames, Activation::Gelu);
            let d_halved = convolutions[1].go_back(
                rules,
                &halved,
                d_rows,
                Activation::Gelu,
                sums.as_mut().map(|sums| &mut sums[1]),
            );
            let d_frames = convolutions[0].go_back(
                rules,
                &frames,
                &d_halved,
                Activation::Gelu,
                sums.as_mut().map(|sums| &mut sums[0]),
            );
            by_frame(&d_frames, features.shape[1]) // frame by frame, and so back to mel by mel
        })
        .collect()
}

impl Convolution {
    /// The gradient of the input rows. Shapes `[n, d_in]` and `[⌈n / stride⌉, d_out]`.
    fn go_back(
        &self,
        rules: Rules,
        input: &[f32],
        d_output: &[f32],
        activation: Activation,
        sums: Option<&mut Convolution>,
    ) -> Vec<f32> {
        let (width, d_in) = (self.linear.d_in, self.linear.d_in / self.kernel);
        let windows = self.windows(input); // [n_out, kernel · d_in]
        let mut before = vec![0.0; d_output.len()]; // [n_out, d_out]
        self.linear.forward(&windows, &mut before, Activation::Identity);
        let mut d_before = d_output.to_vec(); // [n_out, d_out]
        activation.go_back(rules.slope(), &before, &mut d_before);
        if let Some(sums) = sums {
            sums.linear.add_gradients(&windows, &d_before);
        }
        let mut d_windows = vec![0.0; windows.len()]; // [n_out, kernel · d_in]
        self.linear.go_back(&d_before, &mut d_windows, Onto::Replace);
        let padding = self.kernel / 2 * d_in;
        let mut d_padded = vec![0.0; input.len() + 2 * padding]; // [n + kernel − 1, d_in]
        for (window, d_window) in d_windows.chunks_exact(width).enumerate() {
            add(&mut d_padded[window * self.stride * d_in..][..width], d_window);
        }
        d_padded[padding..padding + input.len()].to_vec()
    }
}
