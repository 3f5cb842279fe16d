//! The feed-forward sublayer: `LayerNorm(x + dropout(W₂ dropout(relu(W₁ x + b₁)) + b₂))`.

use super::group::{split, split_mut};
use super::tape::{Activation, Parameters, Tape, add};
use crate::kernels::dropout::Dropout;
use crate::kernels::{linear, norm};

/// Its output, for packed tokens `x`. Shape `[n, d_model]`.
pub fn feed_forward<'a>(
    tape: &mut Tape<'a>,
    x: &Activation,
    parameters: Parameters<'a>,
    (d_model, d_ff): (usize, usize),
    dropout: Dropout,
) -> Activation {
    let sublayer = FeedForward { d_model, d_ff, dropout };
    let (output, saved) = sublayer.forward(&x.values, parameters.values);
    let x = x.clone();
    tape.push(output, move |dy, gradients| {
        let all = &mut gradients.parameters[parameters.variable];
        let dx = sublayer.backward(&x.values, parameters.values, dy, &saved, all);
        gradients.add(&x, dx);
    })
}

struct FeedForward {
    d_model: usize,
    d_ff: usize,
    dropout: Dropout,
}

/// What the way back needs.
struct Saved {
    /// After ReLU and dropout. Shape `[n, d_ff]`.
    hidden: Vec<f32>,
    norm: norm::Saved,
}

/// The six parameters inside their flat vector.
struct Parts<T> {
    weight_1: T,
    bias_1: T,
    weight_2: T,
    bias_2: T,
    norm_weight: T,
    norm_bias: T,
}

impl FeedForward {
    /// How long each parameter is.
    fn sizes(&self) -> [usize; 6] {
        let (d, f) = (self.d_model, self.d_ff);
        [f * d, f, d * f, d, d, d]
    }

    fn split<'a>(&self, all: &'a [f32]) -> Parts<&'a [f32]> {
        let [a, b, c, d, e, f] = split(all, self.sizes());
        Parts { weight_1: a, bias_1: b, weight_2: c, bias_2: d, norm_weight: e, norm_bias: f }
    }

    fn split_mut<'a>(&self, all: &'a mut [f32]) -> Parts<&'a mut [f32]> {
        let [a, b, c, d, e, f] = split_mut(all, self.sizes());
        Parts { weight_1: a, bias_1: b, weight_2: c, bias_2: d, norm_weight: e, norm_bias: f }
    }

    fn forward(&self, x: &[f32], parameters: &[f32]) -> (Vec<f32>, Saved) {
        let weights = self.split(parameters);
        let mut hidden = linear::forward(x, weights.weight_1, weights.bias_1); // [n, d_ff]
        for value in hidden.iter_mut() {
            *value = value.max(0.0);
        }
        self.dropout.at(0).apply(&mut hidden);
        let mut output = linear::forward(&hidden, weights.weight_2, weights.bias_2); // [n, d_model]
        self.dropout.at(1).apply(&mut output);
        let (output, norm) = norm::forward(x, output, weights.norm_weight, weights.norm_bias);
        (output, Saved { hidden, norm })
    }

    /// The gradient of the input; adds those of the parameters to `all`.
    fn backward(&self, x: &[f32], parameters: &[f32], dy: &[f32], saved: &Saved, all: &mut [f32]) -> Vec<f32> {
        let weights = self.split(parameters);
        let gradients = self.split_mut(all);
        let mut dx = norm::backward(dy, &saved.norm, weights.norm_weight, gradients.norm_weight, gradients.norm_bias);
        let mut d_output = dx.clone(); // [n, d_model]
        self.dropout.at(1).apply(&mut d_output);
        linear::add_parameter_gradients(&d_output, &saved.hidden, gradients.weight_2, gradients.bias_2);
        let mut d_hidden = linear::input_gradient(&d_output, weights.weight_2, self.d_model); // [n, d_ff]
        self.dropout.at(0).apply(&mut d_hidden);
        for (gradient, hidden) in d_hidden.iter_mut().zip(&saved.hidden) {
            *gradient = if *hidden > 0.0 { *gradient } else { 0.0 };
        }
        linear::add_parameter_gradients(&d_hidden, x, gradients.weight_1, gradients.bias_1);
        add(&mut dx, &linear::input_gradient(&d_hidden, weights.weight_1, self.d_ff));
        dx
    }
}
