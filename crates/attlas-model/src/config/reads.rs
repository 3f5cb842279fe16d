//! What a stack reads other than ids: images cut into patches, spectrograms.

use super::Backbone;

/// What the first hidden states of a stack are made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// Ids of a vocabulary.
    Tokens,
    /// An image, cut into square patches (Dosovitskiy et al. 2021).
    Patches(Patches),
    /// An image, through the convolutions of a ResNet (Carion et al. 2020).
    Grid(Backbone),
    /// A log-mel spectrogram, through two convolutions (Radford et al. 2022).
    Frames(Frames),
    /// The samples of a sound, through convolutions (Baevski et al. 2020).
    Samples(Samples),
}

impl Reads {
    /// Whether images are read.
    pub fn is_of_images(&self) -> bool {
        matches!(self, Reads::Patches(_) | Reads::Grid(_))
    }

    /// How the rows lie that come of an image of so many pixels (height, width); `None` where no images are read.
    pub fn image_rows(&self, pixels: [usize; 2]) -> Option<ImageRows> {
        match self {
            Reads::Patches(patches) => {
                let grid = pixels.map(|n| n / patches.side);
                let covered = grid.map(|n| n * patches.side);
                Some(ImageRows { n_channels: patches.n_channels, n_leading: patches.n_leading(), grid, covered })
            }
            Reads::Grid(backbone) => {
                let (n_channels, grid) = (backbone.n_channels, backbone.grid(pixels));
                Some(ImageRows { n_channels, n_leading: 0, grid, covered: pixels })
            }
            _ => None,
        }
    }
}

/// The rows that come of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageRows {
    /// Colours of a pixel.
    pub n_channels: usize,
    /// Rows before those of the grid.
    pub n_leading: usize,
    /// Rows and columns of the grid.
    pub grid: [usize; 2],
    /// Pixels that the grid covers, from the top and from the left.
    pub covered: [usize; 2],
}

/// How an image becomes rows: each patch through one matrix, learnt rows before them.
#[derive(Debug, Clone, PartialEq)]
pub struct Patches {
    /// Colours of a pixel.
    pub n_channels: usize,
    /// Pixels along each side of a patch.
    pub side: usize,
    /// Patches from top to bottom and from left to right of the images that the positions were learnt on.
    pub grid: [usize; 2],
    /// The learnt rows before the patches, in order.
    pub leading: Vec<Leading>,
    /// Whether the patches' matrix has a bias.
    pub bias: bool,
    /// How that matrix is stored.
    pub stored: PatchMatrix,
    /// Whether learnt positions are added.
    pub has_positions: bool,
    /// What happens to positions when an image has another grid.
    pub other_grids: OtherGrids,
}

impl Patches {
    /// How many learnt rows stand before the patches.
    pub fn n_leading(&self) -> usize {
        self.leading.iter().map(|leading| leading.n).sum()
    }

    /// How many rows the position table has.
    pub fn n_positions(&self) -> usize {
        if !self.has_positions {
            return 0;
        }
        let leading: usize = self.leading.iter().filter(|leading| leading.has_position).map(|leading| leading.n).sum();
        leading + self.grid[0] * self.grid[1]
    }
}

/// How the matrix that patches go through is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchMatrix {
    /// As the kernel of a convolution, `[width, n_channels, side, side]`.
    Kernel,
    /// As rows of pixels with their colours together, `[width, side · side · n_channels]` (SigLIP 2).
    Pixels,
    /// As the kernel of a convolution over so many frames, `[width, n_channels, frames, side, side]`, which are all one still image
    /// (Qwen2-VL).
    Frames(usize),
}

/// Learnt rows before the patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leading {
    /// How they are shown: `CLS`; numbered from 0 where there are several.
    pub label: &'static str,
    /// How many.
    pub n: usize,
    /// Whether the position table has rows for them.
    pub has_position: bool,
}

/// What happens to learnt positions when an image has another grid of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherGrids {
    /// The image is refused.
    Refused,
    /// They are stretched by linear interpolation, averaging over as many as fall together when the grid is coarser.
    LinearAveraging,
    /// They are stretched by cubic interpolation between the four nearest.
    Cubic,
    /// The same, averaging over as many as fall together when the grid is coarser.
    CubicAveraging,
}

/// A log-mel spectrogram as input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frames {
    /// Rows of the spectrogram.
    pub n_mels: usize,
    /// Hidden states that come of it; the spectrogram has twice as many frames.
    pub n_positions: usize,
    /// Samples of sound per second.
    pub rate: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// Samples of a frame.
    pub n_fft: usize,
}

/// The samples of a sound as input, of any length.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// Samples of sound per second.
    pub rate: usize,
    /// What they go through, in order.
    pub convolutions: Vec<SampleConvolution>,
    /// Whether the convolutions have biases.
    pub biases: bool,
    /// Which of the convolutions' outputs are normalised.
    pub norms: SampleNorms,
    /// After each convolution and norm.
    pub activation: super::Activation,
}

/// A convolution without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleConvolution {
    /// Columns that it gives.
    pub width: usize,
    /// Rows that one output row sees.
    pub kernel: usize,
    /// Rows from one to the next.
    pub stride: usize,
}

/// Which outputs of convolutions over samples are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleNorms {
    /// Each column of the first, over the whole sound.
    First,
    /// Each row of all.
    Each,
}

impl Samples {
    /// Hidden states that come of so many samples; 0 where they are too few for one.
    pub fn n_positions(&self, n_samples: usize) -> usize {
        let shorter = |n: usize, convolution: &SampleConvolution| match n.checked_sub(convolution.kernel) {
            Some(rest) => rest / convolution.stride + 1,
            None => 0,
        };
        self.convolutions.iter().fold(n_samples, shorter)
    }

    /// Samples from one hidden state to the next.
    pub fn hop(&self) -> usize {
        self.convolutions.iter().map(|convolution| convolution.stride).product()
    }
}

/// Positions as a convolution over the first hidden states, which is added to them (Baevski et al. 2020).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionConvolution {
    /// Rows that one output row sees.
    pub kernel: usize,
    /// Groups of columns that do not mix.
    pub n_groups: usize,
    /// The non-linearity on its output.
    pub activation: super::Activation,
    /// On the sum.
    pub norm: Option<super::Norm>,
}

/// A convolution along the sequence: `first + norm`-joined to the first block's output (DeBERTa v2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SideConvolution {
    /// Rows that one output row sees; odd.
    pub kernel: usize,
    /// Groups of columns that do not mix.
    pub n_groups: usize,
    /// The non-linearity on its output.
    pub activation: super::Activation,
    /// On the sum of block and convolution.
    pub norm: super::Norm,
}

/// Score terms that join the content of one side with the distance of the other (He et al. 2021, DeBERTa).
///
/// `score(q, k) = scale · (Q[q]·K[k] + Q[q]·P[δ] + K[k]·R[δ])` with `δ` the bucket of `q − k`, and `P`, `R` the
/// projected rows of a table that all layers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disentangled {
    /// Half the rows of the table: buckets on each side.
    pub span: usize,
    /// Distances beyond half a span fall into logarithmic buckets up to this one; `None` takes each distance as it is.
    pub max_distance: Option<usize>,
    /// Whether the query's content meets the distance (`P`).
    pub content_to_position: bool,
    /// Whether the key's content meets the distance (`R`).
    pub position_to_content: bool,
    /// Whether `P` and `R` come from the projections of keys and queries, or from their own.
    pub shared_projections: bool,
}
