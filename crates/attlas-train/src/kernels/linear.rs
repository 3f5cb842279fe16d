//! The affine map `y = x Wᵀ + b` and its gradients.

use attlas_kernels::{Matrix, Onto, Threads, multiply};

/// `output = input · weightᵀ + bias`.
///
/// Shapes: input `[n, n_in]`, weight `[n_out, n_in]`, bias `[n_out]`, output `[n, n_out]`.
pub fn forward(input: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let n_out = bias.len();
    let n_in = weight.len() / n_out;
    let n = input.len() / n_in;
    let mut output = Vec::with_capacity(n * n_out); // [n, n_out]
    for _ in 0..n {
        output.extend_from_slice(bias);
    }
    multiply(
        Matrix::new(input, n, n_in),
        Matrix::new(weight, n_out, n_in).transposed(),
        Onto::Add,
        Threads::One,
        &mut output,
    );
    output
}

/// The gradient that `forward`'s input gets from its output's: `output_gradient · weight`. Shape `[n, n_in]`.
pub fn input_gradient(output_gradient: &[f32], weight: &[f32], n_out: usize) -> Vec<f32> {
    let n_in = weight.len() / n_out;
    let n = output_gradient.len() / n_out;
    let mut gradient = vec![0.0; n * n_in]; // [n, n_in]
    multiply(
        Matrix::new(output_gradient, n, n_out),
        Matrix::new(weight, n_out, n_in),
        Onto::Replace,
        Threads::One,
        &mut gradient,
    );
    gradient
}

/// Adds the gradients of weight and bias: `output_gradientᵀ · input` and the column sums of `output_gradient`.
pub fn add_parameter_gradients(
    output_gradient: &[f32],
    input: &[f32],
    weight_gradient: &mut [f32],
    bias_gradient: &mut [f32],
) {
    let n_out = bias_gradient.len();
    let n_in = weight_gradient.len() / n_out;
    let n = input.len() / n_in;
    multiply(
        Matrix::new(output_gradient, n, n_out).transposed(),
        Matrix::new(input, n, n_in),
        Onto::Add,
        Threads::One,
        weight_gradient,
    );
    for row in output_gradient.chunks_exact(n_out) {
        for (sum, value) in bias_gradient.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
