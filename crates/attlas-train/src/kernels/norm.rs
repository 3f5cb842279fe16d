//! Residual connection and layer normalisation, `y = LayerNorm(x + sublayer)`, and its gradients (Ba et al. 2016).

/// PyTorch's default.
pub const EPSILON: f32 = 1e-5;

/// What the backward pass needs of a [`forward`].
#[derive(Debug)]
pub struct Saved {
    /// `(s − mean) / √(variance + ε)`, `s = x + sublayer`. Shape `[n, d_model]`.
    normalised: Vec<f32>,
    /// `1 / √(variance + ε)`. Shape `[n]`.
    inverse_deviation: Vec<f32>,
}

/// `LayerNorm(input + sublayer) · weight + bias`; `sublayer`'s memory is used up. Shapes `[n, d_model]`.
pub fn forward(input: &[f32], sublayer: Vec<f32>, weight: &[f32], bias: &[f32]) -> (Vec<f32>, Saved) {
    let d_model = weight.len();
    let mut normalised = sublayer; // [n, d_model]
    let mut inverse_deviation = Vec::with_capacity(input.len() / d_model); // [n]
    let mut output = vec![0.0; input.len()]; // [n, d_model]
    for ((row, x), y) in
        normalised.chunks_exact_mut(d_model).zip(input.chunks_exact(d_model)).zip(output.chunks_exact_mut(d_model))
    {
        for (s, x) in row.iter_mut().zip(x) {
            *s += x;
        }
        let mean = lane_sum(row.iter().copied()) / d_model as f32;
        for s in row.iter_mut() {
            *s -= mean;
        }
        let variance = lane_sum(row.iter().map(|s| s * s)) / d_model as f32;
        let inverse = 1.0 / (variance + EPSILON).sqrt();
        for (((s, y), weight), bias) in row.iter_mut().zip(y).zip(weight).zip(bias) {
            *s *= inverse;
            *y = *s * weight + bias;
        }
        inverse_deviation.push(inverse);
    }
    (output, Saved { normalised, inverse_deviation })
}

/// The gradient of the sum `input + sublayer`, which both get. Shape `[n, d_model]`; adds those of weight and bias.
pub fn backward(
    output_gradient: &[f32],
    saved: &Saved,
    weight: &[f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) -> Vec<f32> {
    let d_model = weight.len();
    let mut gradient = vec![0.0; output_gradient.len()]; // [n, d_model]
    for (((row, dy), normalised), inverse) in gradient
        .chunks_exact_mut(d_model)
        .zip(output_gradient.chunks_exact(d_model))
        .zip(saved.normalised.chunks_exact(d_model))
        .zip(&saved.inverse_deviation)
    {
        for (((dw, db), dy), s) in weight_gradient.iter_mut().zip(bias_gradient.iter_mut()).zip(dy).zip(normalised) {
            *dw += dy * s;
            *db += dy;
        }
        for ((slot, dy), weight) in row.iter_mut().zip(dy).zip(weight) {
            *slot = dy * weight;
        }
        let mean = lane_sum(row.iter().copied()) / d_model as f32;
        let along = lane_sum(row.iter().zip(normalised).map(|(d, s)| d * s)) / d_model as f32;
        for (slot, s) in row.iter_mut().zip(normalised) {
            *slot = inverse * (*slot - mean - s * along);
        }
    }
    gradient
}

/// A sum kept in eight lanes, which compilers can vectorise.
fn lane_sum(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let mut lanes = [0.0; 8];
    for (index, value) in values.enumerate() {
        lanes[index % 8] += value;
    }
    lanes.iter().sum()
}
