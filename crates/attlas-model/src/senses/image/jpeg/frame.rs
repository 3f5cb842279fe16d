//! The picture of a JPEG file while its scans are read: blocks of coefficients, and the samples that come of them.

use super::colour::Plane;
use super::damaged;
use super::entropy::Decode;
use super::segments::{ComponentHeader, FrameHeader, Scan, ScanComponent};
use super::transform::inverse_transform;

/// The most blocks of an interleaved unit.
const MAX_BLOCKS_OF_UNIT: usize = 10;

/// The picture while it is read.
pub(super) struct Frame {
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    is_progressive: bool,
    /// The largest sampling factors across and down.
    largest: [usize; 2],
}

/// One colour of the picture.
pub(super) struct Component {
    pub id: u8,
    quantizer: usize,
    /// Sampling factors across and down.
    sampling: [usize; 2],
    /// Blocks that hold samples, across and down.
    n_blocks: [usize; 2],
    /// The same, rounded up to whole units.
    n_padded: [usize; 2],
    /// The quantizer as it was when the component's first scan began.
    steps: Option<[u16; 64]>,
    /// The lowest bit known of each coefficient, in the order of the zigzag; `None` before any is.
    known: [Option<u8>; 64],
    /// Of a progressive picture, block after block. Shape `[rows, columns, 64]`.
    coefficients: Vec<i16>,
    plane: Plane,
}

impl Frame {
    /// Room for the picture that a header describes, whose size was checked.
    pub fn new(header: FrameHeader) -> Result<Frame, String> {
        let FrameHeader { width, height, is_progressive, components } = header;
        let factor = |axis: usize| components.iter().map(|component| component.sampling[axis]).max().unwrap_or(1);
        let largest = [factor(0), factor(1)];
        let component = |header: &ComponentHeader| Component::new(header, [width, height], largest, is_progressive);
        let components = components.iter().map(component).collect::<Result<_, _>>()?;
        Ok(Frame { width, height, components, is_progressive, largest })
    }

    /// Checks a scan against the picture and says how its blocks are coded.
    pub fn begin_scan(&mut self, scan: &Scan, quantizers: &[Option<[u16; 64]>; 4]) -> Result<Decode, String> {
        let decode = self.decode(scan)?;
        let mut n_blocks = 0;
        for (place, part) in scan.components.iter().enumerate() {
            let is_twice = scan.components[..place].iter().any(|other| other.id == part.id);
            let component = self.components.iter_mut().find(|component| component.id == part.id && !is_twice);
            let component = component.ok_or_else(|| damaged("a scan names a colour that is missing, or one twice"))?;
            n_blocks += component.sampling[0] * component.sampling[1];
            if component.steps.is_some() && !self.is_progressive {
                return Err(damaged("a colour has two scans"));
            }
            component.steps = component.steps.or(quantizers[component.quantizer]);
            if component.steps.is_none() {
                return Err(damaged("it lacks a quantization table"));
            }
            if self.is_progressive {
                component.known[scan.band[0]..=scan.band[1]].fill(Some(scan.bits[1]));
            }
        }
        if scan.components.len() > 1 && n_blocks > MAX_BLOCKS_OF_UNIT {
            return Err(damaged(&format!("{n_blocks} blocks are interleaved; {MAX_BLOCKS_OF_UNIT} are possible")));
        }
        Ok(decode)
    }

    fn decode(&self, scan: &Scan) -> Result<Decode, String> {
        let Scan { components, band: [first, last], bits: [above, lowest] } = scan;
        let (band, lowest) = ([*first, *last], *lowest);
        if !self.is_progressive {
            return Ok(Decode::Sequential); // what else its header says means nothing
        }
        let is_band = if *first == 0 { *last == 0 } else { (*first..64).contains(last) && components.len() == 1 };
        if !is_band || lowest > 13 || (*above > 0 && lowest + 1 != *above) {
            return Err(damaged("a scan has a band of coefficients or bits that no scan has"));
        }
        Ok(match (first, above) {
            (0, 0) => Decode::DcFirst { lowest },
            (0, _) => Decode::DcNext { lowest },
            (_, 0) => Decode::AcFirst { band, lowest },
            _ => Decode::AcNext { band, lowest },
        })
    }

    /// Whether pixels can be made of it: of a progressive picture, libjpeg guesses the first coefficients where scans are
    /// missing, and attlas does not.
    pub fn is_readable(&self) -> bool {
        let is_known = |component: &Component| component.known[..10].iter().all(|lowest| *lowest == Some(0));
        let mut components = self.components.iter();
        components.all(|component| component.steps.is_some() && (!self.is_progressive || is_known(component)))
    }

    /// Where the blocks of a scan lie.
    pub fn layout(&self, scan: &Scan) -> Layout {
        let find = |part: &ScanComponent| self.components.iter().position(|component| component.id == part.id);
        let places: Vec<usize> = scan.components.iter().filter_map(find).collect();
        let (n_columns, n_rows, sampling) = match places[..] {
            [only] => {
                let [n_columns, n_rows] = self.components[only].n_blocks;
                (n_columns, n_rows, vec![[1, 1]])
            }
            _ => {
                let [n_columns, n_rows] =
                    [(self.width, 0), (self.height, 1)].map(|(n, axis)| n.div_ceil(8 * self.largest[axis]));
                (n_columns, n_rows, places.iter().map(|place| self.components[*place].sampling).collect())
            }
        };
        let blocks = places.iter().zip(&sampling).enumerate().flat_map(|(part, (component, [across, down]))| {
            (0..across * down).map(move |n| Block { part, component: *component, row: n / across, column: n % across })
        });
        Layout { n_units: n_columns * n_rows, n_columns, blocks: blocks.collect(), sampling }
    }

    /// The samples of each component.
    pub fn into_planes(self) -> Vec<Plane> {
        let is_progressive = self.is_progressive;
        let plane = |mut component: Component| {
            if is_progressive {
                let coefficients = std::mem::take(&mut component.coefficients);
                for (n, block) in coefficients.as_chunks::<64>().0.iter().enumerate() {
                    let n_columns = component.n_padded[0];
                    component.transform(n / n_columns, n % n_columns, block);
                }
            }
            component.plane
        };
        self.components.into_iter().map(plane).collect()
    }
}

/// The order of blocks in a scan: unit by unit, each with some blocks of each component.
pub(super) struct Layout {
    pub n_units: usize,
    n_columns: usize,
    /// Those of the first unit.
    blocks: Vec<Block>,
    /// Blocks of a unit across and down, by component of the scan.
    sampling: Vec<[usize; 2]>,
}

/// A place of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// The component's place in the scan.
    pub part: usize,
    /// The component's place in the frame.
    pub component: usize,
    pub row: usize,
    pub column: usize,
}

impl Layout {
    /// The blocks of a unit.
    pub fn blocks(&self, unit: usize) -> impl Iterator<Item = Block> {
        let (row, column) = (unit / self.n_columns, unit % self.n_columns);
        self.blocks.iter().map(move |block| {
            let [across, down] = self.sampling[block.part];
            Block { row: block.row + row * down, column: block.column + column * across, ..*block }
        })
    }
}

impl Component {
    /// One of a picture of this width and height.
    fn new(
        header: &ComponentHeader,
        size: [usize; 2],
        largest: [usize; 2],
        is_progressive: bool,
    ) -> Result<Component, String> {
        let ComponentHeader { id, sampling, quantizer } = *header;
        if (0..2).any(|axis| !largest[axis].is_multiple_of(sampling[axis])) {
            return Err(format!(
                "is a JPEG with a colour sampled {sampling:?} of {largest:?} times, no whole fraction"
            ));
        }
        let axes = [0, 1];
        let n_samples = axes.map(|axis| (size[axis] * sampling[axis]).div_ceil(largest[axis]));
        let n_padded = axes.map(|axis| size[axis].div_ceil(8 * largest[axis]) * sampling[axis]);
        let n = n_padded[0] * n_padded[1] * 64;
        let plane = Plane {
            samples: vec![0; n],
            row_length: n_padded[0] * 8,
            size: n_samples,
            enlarged: axes.map(|axis| largest[axis] / sampling[axis]),
        };
        Ok(Component {
            id,
            quantizer,
            sampling,
            n_blocks: n_samples.map(|n| n.div_ceil(8)),
            n_padded,
            steps: None,
            known: [None; 64],
            coefficients: vec![0; if is_progressive { n } else { 0 }],
            plane,
        })
    }

    /// The coefficients of a block of a progressive picture, in the order of rows.
    pub fn coefficients(&mut self, row: usize, column: usize) -> &mut [i16; 64] {
        &mut self.coefficients.as_chunks_mut::<64>().0[row * self.n_padded[0] + column]
    }

    /// Makes samples of a block's coefficients.
    pub fn transform(&mut self, row: usize, column: usize, coefficients: &[i16; 64]) {
        let Some(steps) = &self.steps else { return };
        let row_length = self.plane.row_length;
        let start = row * 8 * row_length + column * 8;
        inverse_transform(coefficients, steps, &mut self.plane.samples[start..], row_length);
    }
}
