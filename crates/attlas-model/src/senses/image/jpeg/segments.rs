//! The segments of a JPEG file (ITU-T T.81, annex B).

use super::colour::Space;
use super::damaged;
use super::frame::Frame;
use super::transform::ZIGZAG;

/// A file while it is read.
pub(super) struct File<'a> {
    pub bytes: &'a [u8],
    /// What is read next.
    pub at: usize,
    /// In the order of rows.
    pub quantizers: [Option<[u16; 64]>; 4],
    pub dc_codes: [Option<CodeLengths>; 4],
    pub ac_codes: [Option<CodeLengths>; 4],
    /// Units between two restart markers; 0 when there are none.
    pub restart_interval: usize,
    pub exif: Option<Vec<u8>>,
    has_jfif: bool,
    adobe_transform: Option<u8>,
}

/// A Huffman code as it is written: how many codes there are of each length, and what they stand for.
#[derive(Debug, Clone)]
pub(super) struct CodeLengths {
    pub n_of_length: [u8; 16],
    pub symbols: Vec<u8>,
}

/// What a segment says.
pub(super) enum Segment {
    Frame(FrameHeader),
    Scan(Scan),
    End,
    /// Read into the file, or passed over.
    Other,
}

/// A frame header.
pub(super) struct FrameHeader {
    pub width: usize,
    pub height: usize,
    pub is_progressive: bool,
    pub components: Vec<ComponentHeader>,
}

/// What a frame header says of one colour.
pub(super) struct ComponentHeader {
    pub id: u8,
    /// Sampling factors across and down.
    pub sampling: [usize; 2],
    /// The number of its quantization table.
    pub quantizer: usize,
}

/// A scan header.
pub(super) struct Scan {
    pub components: Vec<ScanComponent>,
    /// First and last coefficient in the order of the zigzag.
    pub band: [usize; 2],
    /// The bit above the ones that follow, 0 in a first scan, and the lowest bit that follows.
    pub bits: [u8; 2],
}

/// A component of a scan, with its codes.
pub(super) struct ScanComponent {
    pub id: u8,
    pub dc_code: usize,
    pub ac_code: usize,
}

impl<'a> File<'a> {
    /// Of a file that starts with SOI.
    pub fn new(bytes: &'a [u8]) -> File<'a> {
        File {
            bytes,
            at: 2,
            quantizers: [None; 4],
            dc_codes: [const { None }; 4],
            ac_codes: [const { None }; 4],
            restart_interval: 0,
            exif: None,
            has_jfif: false,
            adobe_transform: None,
        }
    }

    /// The next segment.
    pub fn next(&mut self) -> Result<Segment, String> {
        let (marker, after) =
            next_marker(self.bytes, self.at).ok_or_else(|| damaged("it ends before its end marker"))?;
        self.at = after;
        match marker {
            0xd9 => return Ok(Segment::End),
            0x01 | 0xd0..=0xd8 => return Ok(Segment::Other), // without a body
            _ => {}
        }
        let body = self.body().ok_or_else(|| damaged("a segment is cut off"))?;
        match marker {
            0xc0..=0xc2 => return frame_header(body, marker == 0xc2).map(Segment::Frame),
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let kind = if marker >= 0xc9 { "arithmetic-coded" } else { "lossless or hierarchical" };
                return Err(format!("is a {kind} JPEG; attlas reads Huffman-coded baseline and progressive ones"));
            }
            0xda => return scan_header(body).map(Segment::Scan),
            0xdb => self.read_quantizers(body)?,
            0xc4 => self.read_codes(body)?,
            0xdd => match body {
                [high, low] => self.restart_interval = usize::from(u16::from_be_bytes([*high, *low])),
                _ => return Err(damaged("its restart interval has another length than 2 bytes")),
            },
            0xe0 if body.len() >= 14 && body.starts_with(b"JFIF\0") => self.has_jfif = true,
            0xe1 if body.starts_with(b"Exif\0\0") && self.exif.is_none() => self.exif = Some(body.to_vec()),
            0xee if body.len() >= 12 && body.starts_with(b"Adobe") => self.adobe_transform = Some(body[11]),
            _ => {}
        }
        Ok(Segment::Other)
    }

    fn body(&mut self) -> Option<&'a [u8]> {
        let length = self.bytes.get(self.at..self.at + 2)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let body = self.bytes.get(self.at + 2..self.at + length)?;
        self.at += length;
        Some(body)
    }

    fn read_quantizers(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let [about, rest @ ..] = body {
            let (wide, place) = (about >> 4, usize::from(about & 15));
            let n_bytes = if wide == 0 { 64 } else { 128 };
            if wide > 1 || place > 3 || rest.len() < n_bytes {
                return Err(damaged("a quantization table is cut off or has a wrong number"));
            }
            let mut steps = [0; 64];
            for (k, step) in rest[..n_bytes].chunks_exact(n_bytes / 64).enumerate() {
                steps[ZIGZAG[k]] = step.iter().fold(0, |number, byte| number << 8 | u16::from(*byte));
            }
            self.quantizers[place] = Some(steps);
            body = &rest[n_bytes..];
        }
        Ok(())
    }

    fn read_codes(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let [about, rest @ ..] = body {
            let wrong = || damaged("a Huffman table is cut off or has a wrong number");
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(wrong)?;
            let n_symbols: usize = counts.iter().map(|n| usize::from(*n)).sum();
            let symbols = rest.get(..n_symbols).filter(|_| n_symbols <= 256).ok_or_else(wrong)?;
            let codes = if about >> 4 == 0 { &mut self.dc_codes } else { &mut self.ac_codes };
            let slot = codes.get_mut(usize::from(about & 15)).filter(|_| about >> 4 <= 1).ok_or_else(wrong)?;
            *slot = Some(CodeLengths { n_of_length: *counts, symbols: symbols.to_vec() });
            body = &rest[n_symbols..];
        }
        Ok(())
    }

    /// What the components stand for, guessed as libjpeg does.
    pub fn colour_space(&self, frame: &Frame) -> Space {
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.len(), self.adobe_transform) {
            (1, _) => Space::Gray,
            (3, Some(0)) if !self.has_jfif => Space::Rgb,
            (3, None) if !self.has_jfif && ids == *b"RGB" => Space::Rgb,
            (3, _) => Space::Ycc,
            (_, None | Some(0)) => Space::Cmyk,
            _ => Space::Ycck,
        }
    }
}

/// The next marker at or after a place, and the place behind it; other bytes are passed over.
pub(super) fn next_marker(bytes: &[u8], from: usize) -> Option<(u8, usize)> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xff)?;
        at += bytes[at..].iter().position(|byte| *byte != 0xff)?;
        if bytes[at] != 0 {
            return Some((bytes[at], at + 1));
        }
    }
}

fn frame_header(body: &[u8], is_progressive: bool) -> Result<FrameHeader, String> {
    let [precision, h1, h0, w1, w0, n, rest @ ..] = body else { return Err(damaged("its frame header is cut off")) };
    if *precision != 8 {
        return Err(format!("is a JPEG of {precision} bits a sample; attlas reads those of 8"));
    }
    if !matches!(n, 1 | 3 | 4) || rest.len() != 3 * usize::from(*n) {
        return Err(damaged(&format!("it has {n} colours in {} bytes; 1, 3 and 4 are known", rest.len())));
    }
    let component = |part: &[u8; 3]| ComponentHeader {
        id: part[0],
        sampling: [part[1] >> 4, part[1] & 15].map(usize::from),
        quantizer: usize::from(part[2]),
    };
    let components: Vec<ComponentHeader> = rest.as_chunks::<3>().0.iter().map(component).collect();
    let is_wrong = |component: &ComponentHeader| {
        component.sampling.iter().any(|factor| !(1..=4).contains(factor)) || component.quantizer > 3
    };
    if components.iter().any(is_wrong) {
        return Err(damaged("a sampling factor is not 1 to 4, or a table's number not 0 to 3"));
    }
    let [width, height] = [[*w1, *w0], [*h1, *h0]].map(|number| usize::from(u16::from_be_bytes(number)));
    Ok(FrameHeader { width, height, is_progressive, components })
}

fn scan_header(body: &[u8]) -> Result<Scan, String> {
    let wrong = || damaged("a scan header is cut off or names a wrong table");
    let (n, rest) = body.split_first().ok_or_else(wrong)?;
    let (parts, rest) = rest.split_at_checked(2 * usize::from(*n)).ok_or_else(wrong)?;
    let [first, last, bits] = rest else { return Err(wrong()) };
    let part = |part: &[u8; 2]| {
        let [dc_code, ac_code] = [part[1] >> 4, part[1] & 15].map(usize::from);
        (dc_code.max(ac_code) < 4).then_some(ScanComponent { id: part[0], dc_code, ac_code }).ok_or_else(wrong)
    };
    let components: Vec<ScanComponent> = parts.as_chunks::<2>().0.iter().map(part).collect::<Result<_, _>>()?;
    if !(1..=4).contains(&components.len()) {
        return Err(wrong());
    }
    Ok(Scan { components, band: [*first, *last].map(usize::from), bits: [bits >> 4, bits & 15] })
}
