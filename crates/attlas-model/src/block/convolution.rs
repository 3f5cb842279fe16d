//! Convolutions along a sequence, as matrix products over its windows.

use super::linear::Linear;
use crate::config::Activation;

/// A convolution along a sequence, with as much padding of zeros as keeps windows centred.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// From a window's rows side by side to an output row. Shape `[d_out, kernel · d_in]`.
    pub linear: Linear,
    /// Rows in a window; odd.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
}

impl Convolution {
    /// The output rows, non-linearity applied. Shapes `[n, d_in]` and `[⌈n / stride⌉, d_out]`.
    pub(crate) fn forward(&self, input: &[f32], activation: Activation) -> Vec<f32> {
        let windows = self.windows(input); // [n_out, kernel · d_in]
        let mut output = vec![0.0; windows.len() / self.linear.d_in * self.linear.d_out]; // [n_out, d_out]
        self.linear.forward(&windows, &mut output, activation);
        output
    }

    /// Each window's rows side by side. Shapes `[n, d_in]` and `[⌈n / stride⌉, kernel · d_in]`.
    pub(super) fn windows(&self, input: &[f32]) -> Vec<f32> {
        let width = self.linear.d_in; // kernel · d_in
        let d_in = width / self.kernel;
        let padding = vec![0.0; self.kernel / 2 * d_in]; // [kernel / 2, d_in]
        let padded = [&padding, input, &padding].concat(); // [n + kernel − 1, d_in]
        padded.windows(width).step_by(self.stride * d_in).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_centred_and_the_stride_skips() {
        let linear = Linear::new(vec![1.0, 10.0, 100.0], None, 1, 3);
        let every = Convolution { linear: linear.clone(), kernel: 3, stride: 1 };
        assert_eq!(every.forward(&[1.0, 2.0, 3.0], Activation::Identity), [210.0, 321.0, 32.0]);
        let second = Convolution { linear, kernel: 3, stride: 2 };
        assert_eq!(second.forward(&[1.0, 2.0, 3.0, 4.0], Activation::Identity), [210.0, 432.0]);
    }
}
