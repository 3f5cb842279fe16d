//! The convolutions of a ResNet, as matrix products over windows of a grid.

use super::linear::Linear;
use crate::config::{Activation, Backbone};

/// The weights of a ResNet.
#[derive(Debug, Clone)]
pub struct BackboneWeights {
    /// The first convolution.
    pub stem: GridWeights,
    /// All layers of all stages, in order.
    pub layers: Vec<ResidualWeights>,
    /// From the last grid's channels to a hidden state.
    pub projection: Linear,
}

/// The weights of one layer.
#[derive(Debug, Clone)]
pub struct ResidualWeights {
    /// In order.
    pub convolutions: Vec<GridWeights>,
    /// What goes past them, where the sizes differ.
    pub shortcut: Option<GridWeights>,
}

/// A convolution over a grid, with the norm that follows it: means and variances are those of the training, so that both are one
/// matrix.
#[derive(Debug, Clone)]
pub struct GridWeights {
    /// From a window's places, row by row, to a place. Shape `[d_out, kernel² · d_in]`.
    pub linear: Linear,
    /// Places along each side of a window.
    pub kernel: usize,
    /// Places from one window to the next.
    pub stride: usize,
}

/// Rows and columns of places, each with its channels.
struct Grid {
    sides: [usize; 2],
    /// Shape `[rows, columns, n_channels]`.
    values: Vec<f32>,
}

/// Windows that are laid out at a time.
const WINDOWS: usize = 1024;

impl BackboneWeights {
    /// The hidden states of an image, row by row. Shapes `[n_channels, height, width]` and `[rows · columns, d_model]`.
    pub(super) fn forward(&self, config: &Backbone, image: &[f32], sides: [usize; 2]) -> Vec<f32> {
        let n_pixels = sides[0] * sides[1];
        let pixel = |place: usize| (0..config.n_channels).map(move |channel| image[channel * n_pixels + place]);
        let pixels = Grid { sides, values: (0..n_pixels).flat_map(pixel).collect() };
        let mut grid = self.stem.forward(&pixels, config.activation).halved_by_maximum(config.stem);
        for layer in &self.layers {
            grid = layer.forward(grid, config.activation);
        }
        let mut rows = vec![0.0; grid.sides[0] * grid.sides[1] * self.projection.d_out]; // [rows · columns, d_model]
        self.projection.forward(&grid.values, &mut rows, Activation::Identity);
        rows
    }

    /// All matrices.
    pub(super) fn each(&mut self, work: &mut impl FnMut(&mut Linear)) {
        work(&mut self.stem.linear);
        for layer in &mut self.layers {
            layer.convolutions.iter_mut().chain(&mut layer.shortcut).for_each(|one| work(&mut one.linear));
        }
        work(&mut self.projection);
    }

    /// All matrices, in order.
    pub(super) fn linears(&self) -> Vec<&Linear> {
        let layers = self.layers.iter().flat_map(|layer| layer.convolutions.iter().chain(&layer.shortcut));
        let convolutions = std::iter::once(&self.stem).chain(layers).map(|one| &one.linear);
        convolutions.chain(std::iter::once(&self.projection)).collect()
    }
}

impl ResidualWeights {
    fn forward(&self, input: Grid, activation: Activation) -> Grid {
        let last = self.convolutions.len().saturating_sub(1);
        let mut grid = None;
        for (place, convolution) in self.convolutions.iter().enumerate() {
            // the classes have a ReLU inside, whatever the configuration's activation is
            let activation = if place == last { Activation::Identity } else { Activation::Relu };
            grid = Some(convolution.forward(grid.as_ref().unwrap_or(&input), activation));
        }
        let past = match &self.shortcut {
            Some(shortcut) => shortcut.forward(&input, Activation::Identity),
            None => input,
        };
        let Some(mut grid) = grid else { return past };
        grid.values.iter_mut().zip(&past.values).for_each(|(x, past)| *x += past);
        activation.apply(&mut grid.values);
        grid
    }
}

impl GridWeights {
    /// The grid of its windows, centred and with zeros beyond the edges, activation applied.
    fn forward(&self, input: &Grid, activation: Activation) -> Grid {
        let sides = input.sides.map(|n| n.div_ceil(self.stride));
        let mut values = vec![0.0; sides[0] * sides[1] * self.linear.d_out]; // [rows, columns, d_out]
        if self.kernel == 1 && self.stride == 1 {
            self.linear.forward(&input.values, &mut values, activation);
            return Grid { sides, values };
        }
        let mut windows = vec![0.0; WINDOWS * self.linear.d_in]; // [windows, kernel² · d_in]
        for (place, outputs) in values.chunks_mut(WINDOWS * self.linear.d_out).enumerate() {
            let n = outputs.len() / self.linear.d_out;
            let windows = &mut windows[..n * self.linear.d_in];
            for (index, window) in windows.chunks_exact_mut(self.linear.d_in).enumerate() {
                let at = place * WINDOWS + index;
                self.fill(input, [at / sides[1], at % sides[1]], window);
            }
            self.linear.forward(windows, outputs, activation);
        }
        Grid { sides, values }
    }

    /// What the window of an output place sees. Shape `[kernel, kernel, d_in]`.
    fn fill(&self, input: &Grid, [row, column]: [usize; 2], window: &mut [f32]) {
        let d_in = window.len() / (self.kernel * self.kernel);
        let middle = self.kernel / 2;
        for (step, slot) in window.chunks_exact_mut(d_in).enumerate() {
            let along = |at: usize, step: usize| (at * self.stride + step).checked_sub(middle);
            let place = along(row, step / self.kernel).zip(along(column, step % self.kernel));
            match place.filter(|(y, x)| *y < input.sides[0] && *x < input.sides[1]) {
                Some((y, x)) => slot.copy_from_slice(&input.values[(y * input.sides[1] + x) * d_in..][..d_in]),
                None => slot.fill(0.0),
            }
        }
    }
}

impl Grid {
    /// The largest number of each channel over 3 × 3 places, at every second place.
    fn halved_by_maximum(self, n_channels: usize) -> Grid {
        let sides = self.sides.map(|n| n.div_ceil(2));
        let mut values = vec![f32::NEG_INFINITY; sides[0] * sides[1] * n_channels]; // [rows, columns, n_channels]
        let around = |at: usize, n: usize| (2 * at).saturating_sub(1)..(2 * at + 2).min(n);
        for (index, largest) in values.chunks_exact_mut(n_channels).enumerate() {
            for y in around(index / sides[1], self.sides[0]) {
                for x in around(index % sides[1], self.sides[1]) {
                    let place = &self.values[(y * self.sides[1] + x) * n_channels..][..n_channels];
                    largest.iter_mut().zip(place).for_each(|(largest, value)| *largest = largest.max(*value));
                }
            }
        }
        Grid { sides, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_centred_skip_by_the_stride_and_see_zeros_beyond_the_edges() {
        let grid = || Grid { sides: [3, 3], values: (1..=9_u8).map(f32::from).collect() };
        let sum = GridWeights { linear: Linear::new(vec![1.0; 9], None, 1, 9), kernel: 3, stride: 2 };
        let found = sum.forward(&grid(), Activation::Identity);
        assert_eq!((found.sides, found.values), ([2, 2], vec![12.0, 16.0, 24.0, 28.0]));
        let found = grid().halved_by_maximum(1);
        assert_eq!((found.sides, found.values), ([2, 2], vec![5.0, 6.0, 8.0, 9.0]));
    }
}
