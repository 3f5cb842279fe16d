//! Convolutions along a sequence, as matrix products over its windows.

use std::borrow::Cow;

use super::linear::Linear;
use crate::config::Activation;

/// A convolution along a sequence.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// From a window's rows side by side to an output row. Shape `[d_out, kernel · d_in]`.
    pub linear: Linear,
    /// Rows in a window.
    pub kernel: usize,
    /// From one window to the next.
    pub stride: usize,
    /// What stands beyond the ends.
    pub ends: Ends,
}

/// What a convolution sees beyond the ends of its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// As many zeros as keep windows centred; of an even kernel the middle is its later half's first row.
    Zeros,
    /// Nothing: no window reaches beyond the input.
    Nothing,
}

/// Windows that are laid out at a time where nothing goes back through them.
const WINDOWS: usize = 4096;

impl Convolution {
    /// The output rows, non-linearity applied. Shapes `[n, d_in]` and `[n_out, d_out]`.
    pub(crate) fn forward(&self, input: &[f32], activation: Activation) -> Vec<f32> {
        let padded = self.padded(input);
        let n_out = self.n_out(input.len() / self.d_in());
        let mut output = vec![0.0; n_out * self.linear.d_out]; // [n_out, d_out]
        let mut windows = Vec::new(); // [windows, kernel · d_in]
        for (place, rows) in output.chunks_mut(WINDOWS * self.linear.d_out).enumerate() {
            let first = place * WINDOWS;
            windows.clear();
            (first..first + rows.len() / self.linear.d_out)
                .for_each(|at| windows.extend_from_slice(self.window(&padded, at)));
            self.linear.forward(&windows, rows, activation);
        }
        output
    }

    /// Each window's rows side by side. Shapes `[n, d_in]` and `[n_out, kernel · d_in]`.
    pub(super) fn windows(&self, input: &[f32]) -> Vec<f32> {
        let padded = self.padded(input);
        (0..self.n_out(input.len() / self.d_in())).flat_map(|at| self.window(&padded, at)).copied().collect()
    }

    /// Width of the input rows.
    fn d_in(&self) -> usize {
        self.linear.d_in / self.kernel
    }

    /// How many output rows come of `n` input rows.
    fn n_out(&self, n: usize) -> usize {
        match self.ends {
            Ends::Zeros => n.div_ceil(self.stride),
            Ends::Nothing => n.checked_sub(self.kernel).map_or(0, |rest| rest / self.stride + 1),
        }
    }

    /// The input between what stands beyond its ends. Shape `[n, d_in]`, or longer.
    fn padded<'a>(&self, input: &'a [f32]) -> Cow<'a, [f32]> {
        if self.ends == Ends::Nothing {
            return Cow::Borrowed(input);
        }
        let padding = vec![0.0; self.kernel / 2 * self.d_in()]; // [kernel / 2, d_in]
        Cow::Owned([&padding, input, &padding].concat())
    }

    /// One window of the padded input. Shape `[kernel · d_in]`.
    fn window<'a>(&self, padded: &'a [f32], at: usize) -> &'a [f32] {
        &padded[at * self.stride * self.d_in()..][..self.linear.d_in]
    }
}

/// Convolutions side by side, each over its own columns.
#[derive(Debug, Clone)]
pub struct GroupedConvolution {
    /// One for each group of columns, all alike.
    pub groups: Vec<Convolution>,
}

impl GroupedConvolution {
    /// Adds to rows what the convolutions give of them, non-linearity applied. Shape `[n, d_model]`.
    pub(crate) fn add_to(&self, rows: &mut [f32], d_model: usize, activation: Activation) {
        let width = d_model / self.groups.len();
        let columns = |group: usize| {
            let start = group * width;
            rows.chunks_exact(d_model).flat_map(move |row| &row[start..start + width]).copied().collect::<Vec<f32>>()
        };
        let forward = |(group, convolution): (usize, &Convolution)| convolution.forward(&columns(group), activation);
        let outputs: Vec<Vec<f32>> = self.groups.iter().enumerate().map(forward).collect(); // [n_groups][n, width]
        for (group, output) in outputs.iter().enumerate() {
            for (row, addend) in rows.chunks_exact_mut(d_model).zip(output.chunks_exact(width)) {
                row[group * width..].iter_mut().zip(addend).for_each(|(x, a)| *x += a);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_centred_and_the_stride_skips() {
        let linear = Linear::new(vec![1.0, 10.0, 100.0], None, 1, 3);
        let every = Convolution { linear: linear.clone(), kernel: 3, stride: 1, ends: Ends::Zeros };
        assert_eq!(every.forward(&[1.0, 2.0, 3.0], Activation::Identity), [210.0, 321.0, 32.0]);
        let second = Convolution { linear, kernel: 3, stride: 2, ends: Ends::Zeros };
        assert_eq!(second.forward(&[1.0, 2.0, 3.0, 4.0], Activation::Identity), [210.0, 432.0]);
        let within = Convolution { ends: Ends::Nothing, ..second };
        assert_eq!(within.forward(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], Activation::Identity), [321.0, 543.0]);
        assert!(within.forward(&[1.0, 2.0], Activation::Identity).is_empty());
    }

    #[test]
    fn groups_see_their_own_columns_and_an_even_kernel_looks_one_row_further_back() {
        let linear = Linear::new(vec![1.0, 10.0], None, 1, 2);
        let convolution = Convolution { linear, kernel: 2, stride: 1, ends: Ends::Zeros };
        let grouped = GroupedConvolution { groups: vec![convolution.clone(), convolution] };
        let mut rows = [1.0, 5.0, 2.0, 6.0, 3.0, 7.0]; // [3, 2]
        grouped.add_to(&mut rows, 2, Activation::Identity);
        assert_eq!(rows, [11.0, 55.0, 23.0, 71.0, 35.0, 83.0]);
    }
}
