//! What a stack reads other than ids: images cut into patches, spectrograms.

/// What the first hidden states of a stack are made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// Ids of a vocabulary.
    Tokens,
    /// An image, cut into square patches (Dosovitskiy et al. 2021).
    Patches(Patches),
    /// A log-mel spectrogram, through two convolutions (Radford et al. 2022).
    Frames(Frames),
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
        let leading: usize = self.leading.iter().filter(|leading| leading.has_position).map(|leading| leading.n).sum();
        leading + self.grid[0] * self.grid[1]
    }
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
