//! JPEG files as pixels, the same ones that Pillow (libjpeg-turbo) makes: Huffman-coded, baseline and progressive, 8 bits.
//!
//! `segments` reads what stands around the picture's data, `entropy` the data into a `frame`, `transform` makes samples of
//! coefficients, and `colour` pixels of samples. Damaged data is refused where libjpeg-turbo goes on with a guess.

mod colour;
mod entropy;
mod frame;
mod segments;
mod transform;

use entropy::{Bits, Code, Coder, Decode};
use frame::Frame;
use segments::{CodeLengths, File, Scan, Segment};

/// The most scans of a file; cameras and programs write a dozen or so.
const MAX_SCANS: usize = 128;

/// A decoded file.
pub(super) struct Jpeg {
    pub width: usize,
    pub height: usize,
    /// Shape `[height, width, 3]`.
    pub pixels: Vec<u8>,
    /// The EXIF data, where there is any.
    pub exif: Option<Vec<u8>>,
}

/// Decodes a file; `check` may refuse its width and height before anything is allocated for them.
///
/// # Errors
/// A sentence without the file's name, when it is damaged, of an unknown kind, or refused.
pub(super) fn decode(bytes: &[u8], check: impl Fn([usize; 2]) -> Result<(), String>) -> Result<Jpeg, String> {
    let mut file = File::new(bytes);
    let mut frame: Option<Frame> = None;
    let mut n_scans = 0;
    loop {
        match file.next()? {
            Segment::Other => {}
            Segment::Frame(header) => {
                if frame.is_some() {
                    return Err(damaged("it has two frame headers"));
                }
                check([header.width, header.height])?;
                frame = Some(Frame::new(header)?);
            }
            Segment::Scan(scan) => {
                let frame = frame.as_mut().ok_or_else(|| damaged("its data comes before its frame header"))?;
                n_scans += 1;
                if n_scans > MAX_SCANS {
                    return Err(format!("is a JPEG of more than {MAX_SCANS} scans"));
                }
                read_scan(&mut file, frame, &scan)?;
            }
            Segment::End => break,
        }
    }
    let frame = frame.ok_or_else(|| damaged("it has no frame header"))?;
    if !frame.is_readable() {
        return Err(damaged("scans are missing from it"));
    }
    let [width, height] = [frame.width, frame.height];
    let space = file.colour_space(&frame);
    let pixels = colour::pixels(&frame.into_planes(), [width, height], space);
    Ok(Jpeg { width, height, pixels, exif: file.exif })
}

fn damaged(problem: &str) -> String {
    format!("is a damaged JPEG: {problem}")
}

/// Reads the data of one scan into the frame.
fn read_scan(file: &mut File<'_>, frame: &mut Frame, scan: &Scan) -> Result<(), String> {
    let decode = frame.begin_scan(scan, &file.quantizers)?;
    let needs = |is_needed: bool, tables: &[Option<CodeLengths>; 4], place: usize| match &tables[place] {
        _ if !is_needed => Ok(Code::default()),
        Some(lengths) => Code::new(lengths),
        None => Err(damaged("a scan names a Huffman table that is missing")),
    };
    let (reads_dc, reads_ac) = (decode.reads_dc(), decode.reads_ac());
    let codes = scan.components.iter().map(|part| {
        Ok((needs(reads_dc, &file.dc_codes, part.dc_code)?, needs(reads_ac, &file.ac_codes, part.ac_code)?))
    });
    let codes: Vec<(Code, Code)> = codes.collect::<Result<_, String>>()?;
    let mut coder = Coder::new(Bits::new(file.bytes, file.at), decode);
    let layout = frame.layout(scan);
    for unit in 0..layout.n_units {
        if file.restart_interval > 0 && unit > 0 && unit % file.restart_interval == 0 {
            coder.restart(unit / file.restart_interval - 1)?;
        }
        for block in layout.blocks(unit) {
            let (dc, ac) = &codes[block.part];
            let component = &mut frame.components[block.component];
            match decode {
                Decode::Sequential => {
                    let mut coefficients = [0; 64];
                    coder.block(block.part, dc, ac, &mut coefficients)?;
                    component.transform(block.row, block.column, &coefficients);
                }
                _ => coder.block(block.part, dc, ac, component.coefficients(block.row, block.column))?,
            }
        }
    }
    file.at = coder.end();
    Ok(())
}
