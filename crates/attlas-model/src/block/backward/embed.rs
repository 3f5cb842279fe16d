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

#[cfg(test)]
mod tests {
    use attlas::Kind;

    use super::super::Sums;
    use super::super::differences::{check, dot, linear, numbers, widened};
    use super::*;
    use crate::block::convolution::Ends;
    use crate::block::linear::{Linear, Weight};
    use crate::block::norm::NormWeights;
    use crate::block::pass::{Pass, Plan, Purpose};
    use crate::block::weights::{ReadoutWeights, StackWeights, Transformer};
    use crate::config::{
        Architecture, Leading, Length, Norm, OtherGrids, PatchMatrix, Positions, Projected, Readout, Stack,
    };

    const D_MODEL: usize = 4;

    /// The sums of an embedding's gradients, from the gradient of what it gives.
    fn sums(config: &Embedding, weights: &EmbeddingWeights, batch: Batch<'_>, d: &[f32]) -> EmbeddingWeights {
        let stack = Stack::new(D_MODEL, config.clone(), Vec::new());
        let embedding = weights.clone();
        let stored = StackWeights { embedding, blocks: Vec::new(), final_norm: None, convolution: None };
        let transformer = Transformer {
            architecture: Architecture::encoder(None, stack, Readout::None, Length::Any),
            encoder: Some(stored),
            decoder: None,
            readout: ReadoutWeights::default(),
        };
        let mut sums = transformer.zeros();
        let pass = Pass::keeping([]);
        let plan = Plan { pass: &pass, purpose: Purpose::Whole, text: None };
        let (workspace, kept) = (Workspace::default(), Vec::new());
        let sums_of = Sums(Some(&mut sums));
        let mut back = Back { rules: Rules::Gradient, wanted: &pass, plan, kept, sums: sums_of, workspace };
        go_back(&mut back, config, weights, batch, Kind::Encoder, d.to_vec());
        sums.encoder.expect("the same stack").embedding
    }

    /// An embedding whose projection stands where `projected` says.
    fn of_ids(projected: Projected) -> (Embedding, EmbeddingWeights) {
        let (n_tokens, width, norm) = (6, 3, Norm::layer(1e-3));
        let config = Embedding {
            projected,
            scale: 1.5,
            positions: Positions::Learned { n_rows: 7, offset: 2, at_padding: Some(1) },
            n_token_types: 2,
            norm: Some(norm),
            ..Embedding::new(n_tokens, width)
        };
        let beside = if projected == Projected::Token { D_MODEL } else { width };
        let [weight, bias] = [5, 6].map(|seed| Arc::new(numbers(beside, seed)));
        let weights = EmbeddingWeights {
            reads: ReadWeights::Tokens,
            tokens: Weight::Rows(Arc::new(numbers(n_tokens * width, 1))),
            positions: Some(Arc::new(numbers(7 * beside, 2))),
            token_types: Some(Arc::new(numbers(2 * beside, 3))),
            norm: Some(NormWeights { norm, weight, bias }),
            projection: Some(Linear::new(numbers(D_MODEL * width, 4), Some(numbers(D_MODEL, 7)), D_MODEL, width)),
            convolution: None,
        };
        (config, weights)
    }

    /// Tokens, positions, segments, the norm's factors and what it adds, the projection and its bias.
    fn parts(weights: &EmbeddingWeights) -> [Vec<f64>; 7] {
        let EmbeddingWeights { tokens, positions, token_types, norm, projection, .. } = weights;
        let table = |table: &Option<Arc<Vec<f32>>>| widened(table.as_ref().expect("a table"));
        let (norm, projection) = (norm.as_ref().expect("a norm"), projection.as_ref().expect("a projection"));
        [
            widened(&tokens.rows()),
            table(positions),
            table(token_types),
            widened(&norm.weight),
            widened(&norm.bias),
            widened(&projection.weight.rows()),
            table(&projection.bias),
        ]
    }

    /// `(x − mean) / √(variance + ε) · weight + bias` of one row.
    fn layer_norm(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let factor = 1.0 / (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + f64::from(1e-3_f32)).sqrt();
        x.iter().zip(weight).zip(bias).map(|((x, weight), bias)| (x - mean) * factor * weight + bias).collect()
    }

    #[test]
    fn tables_norm_and_projection_have_the_gradients_of_central_differences_in_f64() {
        const IDS: [u32; 6] = [3, 0, 3, 5, 1, 3];
        const TYPES: [u32; 6] = [0, 1, 1, 0, 0, 1];
        const VALID: [bool; 6] = [true, true, true, true, true, false];
        const ROWS: [usize; 6] = [2, 3, 4, 2, 3, 1]; // of the table of positions
        let d = numbers(IDS.len() * D_MODEL, 9);
        for projected in [Projected::Last, Projected::Token] {
            let (config, weights) = of_ids(projected);
            let batch = Batch {
                n_items: 2,
                n: 3,
                ids: &IDS,
                words: None,
                positions: None,
                features: None,
                token_types: Some(&TYPES),
                valid: Some(&VALID),
                packing: None,
            };
            let score = |[tokens, positions, types, weight, bias, matrix, added]: &[Vec<f64>; 7]| {
                let row = |table: &[f64], row: usize, width: usize| table[row * width..][..width].to_vec();
                let states = (0..IDS.len()).flat_map(|place| {
                    let mut token = row(tokens, IDS[place] as usize, 3);
                    token.iter_mut().for_each(|x| *x *= 1.5);
                    let token = if projected == Projected::Token { linear(&token, matrix, added, 3) } else { token };
                    let position = row(positions, ROWS[place], token.len());
                    let kind = row(types, TYPES[place] as usize, token.len());
                    let sum: Vec<f64> = token.iter().zip(&position).zip(&kind).map(|((x, p), k)| x + p + k).collect();
                    let normed = layer_norm(&sum, weight, bias);
                    if projected == Projected::Last { linear(&normed, matrix, added, 3) } else { normed }
                });
                dot(&states.collect::<Vec<f64>>(), &d)
            };
            let found = parts(&sums(&config, &weights, batch, &d));
            check(&format!("{projected:?}"), 100, found, &parts(&weights), score);
        }
    }

    #[test]
    fn patches_and_rows_before_them_have_the_gradients_of_central_differences_in_f64() {
        let (side, grid, shape) = (2, [2, 1], [3, 4, 2]);
        let leading = vec![Leading { label: "CLS", n: 1, has_position: true }];
        let patches = Patches {
            n_channels: 3,
            side,
            grid,
            leading,
            bias: true,
            stored: PatchMatrix::Kernel,
            has_positions: true,
            other_grids: OtherGrids::Refused,
        };
        let config = Embedding { reads: Reads::Patches(patches), ..Embedding::new(0, D_MODEL) };
        let d_in = 3 * side * side;
        let projection = Linear::new(numbers(D_MODEL * d_in, 1), Some(numbers(D_MODEL, 2)), D_MODEL, d_in);
        let (leading, positions) = (numbers(D_MODEL, 3), numbers(2 * D_MODEL, 4));
        let weights = EmbeddingWeights {
            reads: ReadWeights::Patches(PatchWeights { projection, leading, positions }),
            tokens: Weight::Rows(Arc::default()),
            positions: None,
            token_types: None,
            norm: None,
            projection: None,
            convolution: None,
        };
        let images = numbers(2 * 24, 5);
        let features = Some(FeatureBatch { shape: &shape, values: &images });
        let batch = Batch {
            n_items: 2,
            n: 3,
            ids: &[],
            words: None,
            positions: None,
            features,
            token_types: None,
            valid: None,
            packing: None,
        };
        let d = numbers(2 * 3 * D_MODEL, 6);
        let parts = |weights: &EmbeddingWeights| {
            let ReadWeights::Patches(PatchWeights { projection, leading, positions }) = &weights.reads else {
                panic!("the weights of patches");
            };
            let bias = projection.bias.as_ref().expect("a bias");
            [widened(&projection.weight.rows()), widened(bias), widened(leading), widened(positions)]
        };
        let score = |[matrix, added, leading, positions]: &[Vec<f64>; 4]| {
            let states = images.chunks(24).flat_map(|image| {
                // number y·2 + x of each colour, of which a patch has the rows 2·patch and 2·patch + 1
                let of_patch = |patch: usize| (0..12).map(move |i| image[i / 4 * 8 + patch * 4 + i % 4]);
                let rows = (0..2).flat_map(|patch| {
                    let numbers: Vec<f32> = of_patch(patch).collect();
                    linear(&widened(&numbers), matrix, added, d_in)
                });
                leading.iter().copied().chain(rows.zip(positions).map(|(x, p)| x + p)).collect::<Vec<f64>>()
            });
            dot(&states.collect::<Vec<f64>>(), &d)
        };
        check("patches", 100, parts(&sums(&config, &weights, batch, &d)), &parts(&weights), score);
    }

    #[test]
    fn a_convolutions_input_and_parameters_have_the_gradients_of_central_differences_in_f64() {
        let (kernel, d_in, d_out, n) = (3, 2, 4, 7);
        let [weight, bias, input] =
            [(d_out * kernel * d_in, 1), (d_out, 2), (n * d_in, 3)].map(|(n, seed)| numbers(n, seed));
        for stride in [1, 2] {
            let layer = |weight: &[f32], bias: &[f32]| {
                let linear = Linear::new(weight.to_vec(), Some(bias.to_vec()), d_out, kernel * d_in);
                Convolution { linear, kernel, stride, ends: Ends::Zeros }
            };
            let mut sums = layer(&vec![0.0; weight.len()], &vec![0.0; bias.len()]);
            let d = numbers(n.div_ceil(stride) * d_out, 4);
            let convolution = layer(&weight, &bias);
            let d_input = convolution.go_back(Rules::Gradient, &input, &d, Activation::Silu, Some(&mut sums));
            let score = |[weight, bias, input]: &[Vec<f64>; 3]| {
                let padded = [&[0.0; 2], &input[..], &[0.0; 2]].concat();
                let windows = padded.windows(kernel * d_in).step_by(stride * d_in);
                let before = windows.flat_map(|window| linear(window, weight, bias, kernel * d_in));
                dot(&before.map(|x| x / (1.0 + (-x).exp())).collect::<Vec<f64>>(), &d)
            };
            let found = [sums.linear.weight.rows().to_vec(), sums.linear.bias.expect("a bias").to_vec(), d_input];
            let at = [&weight, &bias, &input].map(|numbers| widened(numbers));
            check(&format!("stride {stride}"), 100, found.map(|numbers| widened(&numbers)), &at, score);
        }
    }
}
