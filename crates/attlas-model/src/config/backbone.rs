//! Convolutions that make a coarse grid of features of an image (ResNet, He et al. 2016).

use super::Activation;

/// An image through the convolutions of a ResNet; each place of its last grid is a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backbone {
    /// Colours of a pixel.
    pub n_channels: usize,
    /// Channels after the first convolution.
    pub stem: usize,
    /// What follows it, in order.
    pub stages: Vec<Stage>,
    /// Whether a layer is three convolutions with a narrow one in the middle, or two of one width.
    pub layers: ResidualLayers,
    /// After the first convolution, and on the sum of what a layer gives and what goes past it; inside of layers stands a ReLU.
    pub activation: Activation,
}

/// Layers of one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// Channels that its layers give.
    pub width: usize,
    /// How many layers.
    pub n_layers: usize,
    /// Places from one to the next in its first layer.
    pub stride: usize,
}

/// What a layer of a ResNet is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResidualLayers {
    /// Two convolutions over 3 × 3 places.
    Basic,
    /// One over 3 × 3 places between two over single ones, with a quarter of the channels.
    Bottleneck {
        /// Which of them has the stride: the first, or the one in the middle.
        stride_first: bool,
    },
}

/// One convolution over a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridConvolution {
    /// Channels that it reads.
    pub d_in: usize,
    /// Channels that it gives.
    pub d_out: usize,
    /// Places along each side of what it sees; odd.
    pub kernel: usize,
    /// Places from one to the next.
    pub stride: usize,
}

/// One layer: what its input goes through, and what it goes past by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidualLayer {
    /// In order.
    pub convolutions: Vec<GridConvolution>,
    /// Where the sizes differ.
    pub shortcut: Option<GridConvolution>,
}

impl Backbone {
    /// The first convolution.
    pub fn first(&self) -> GridConvolution {
        GridConvolution { d_in: self.n_channels, d_out: self.stem, kernel: 7, stride: 2 }
    }

    /// The layers of each stage.
    pub fn layers_of_stages(&self) -> Vec<Vec<ResidualLayer>> {
        let mut d_in = self.stem;
        let mut stages = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            let layer = |place: usize| {
                let first = place == 0;
                self.layer(if first { d_in } else { stage.width }, stage.width, if first { stage.stride } else { 1 })
            };
            stages.push((0..stage.n_layers).map(layer).collect());
            d_in = stage.width;
        }
        stages
    }

    fn layer(&self, d_in: usize, d_out: usize, stride: usize) -> ResidualLayer {
        let convolution = |d_in, d_out, kernel, stride| GridConvolution { d_in, d_out, kernel, stride };
        let convolutions = match self.layers {
            ResidualLayers::Basic => vec![convolution(d_in, d_out, 3, stride), convolution(d_out, d_out, 3, 1)],
            ResidualLayers::Bottleneck { stride_first } => {
                let narrow = d_out / 4;
                let [first, middle] = if stride_first { [stride, 1] } else { [1, stride] };
                vec![
                    convolution(d_in, narrow, 1, first),
                    convolution(narrow, narrow, 3, middle),
                    convolution(narrow, d_out, 1, 1),
                ]
            }
        };
        let shortcut = (d_in != d_out || stride != 1).then(|| convolution(d_in, d_out, 1, stride));
        ResidualLayer { convolutions, shortcut }
    }

    /// Channels of the last grid.
    pub fn width(&self) -> usize {
        self.stages.last().map_or(self.stem, |stage| stage.width)
    }

    /// Rows and columns of the last grid of an image of so many pixels (height, width).
    pub fn grid(&self, pixels: [usize; 2]) -> [usize; 2] {
        // the first convolution and the maximum after it halve; every size is rounded up
        let strides = [2, 2].into_iter().chain(self.stages.iter().map(|stage| stage.stride));
        strides.fold(pixels, |sides, stride| sides.map(|n| n.div_ceil(stride)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_is_a_32nd_of_the_image_rounded_up_and_layers_follow_the_widths() {
        let stage = |width, stride| Stage { width, n_layers: 2, stride };
        let backbone = Backbone {
            n_channels: 3,
            stem: 64,
            stages: vec![stage(256, 1), stage(512, 2), stage(1024, 2), stage(2048, 2)],
            layers: ResidualLayers::Bottleneck { stride_first: false },
            activation: Activation::Relu,
        };
        assert_eq!(backbone.grid([800, 1066]), [25, 34]);
        assert_eq!(backbone.grid([1, 33]), [1, 2]);
        let layers = &backbone.layers_of_stages()[1];
        let sizes = |layer: &ResidualLayer| -> Vec<[usize; 4]> {
            let all = layer.convolutions.iter().chain(&layer.shortcut);
            all.map(|one| [one.d_in, one.d_out, one.kernel, one.stride]).collect()
        };
        assert_eq!(sizes(&layers[0]), [[256, 128, 1, 1], [128, 128, 3, 2], [128, 512, 1, 1], [256, 512, 1, 2]]);
        assert_eq!(sizes(&layers[1]), [[512, 128, 1, 1], [128, 128, 3, 1], [128, 512, 1, 1]]);
    }
}
