//! PNG and JPEG files as pixels, within limits.

use std::io::Cursor;
use std::path::Path;

use super::{exif, jpeg};
use crate::Error;
use crate::weights::read_small_file;

/// The largest image file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The most pixels of an image.
const MAX_PIXELS: usize = 100_000_000;

/// The longest side of an image.
const MAX_SIDE: usize = 1 << 16;

/// What a byte of a file can stand for at most: a PNG's 1032-fold compression of 1-bit pixels, and a JPEG's one bit for each
/// of the six blocks of 16 × 16 pixels, generously.
const PIXELS_PER_BYTE_PNG: usize = 8 * 1032;
const PIXELS_PER_BYTE_JPEG: usize = 1024;

/// An image in sRGB, upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels from left to right.
    pub width: usize,
    /// Pixels from top to bottom.
    pub height: usize,
    /// Shape `[height, width, 3]`.
    pub pixels: Vec<u8>,
}

impl Image {
    /// Whether all pixels are shades of grey.
    pub(crate) fn is_grey(&self) -> bool {
        self.pixels.as_chunks::<3>().0.iter().all(|[red, green, blue]| red == green && green == blue)
    }

    /// Reads a PNG or JPEG file; transparency is dropped, and a photograph is turned upright.
    ///
    /// # Errors
    /// When it is neither, damaged, or larger than 100 million pixels or 65,536 on a side.
    pub fn open(path: &Path) -> Result<Image, Error> {
        let bytes = read_small_file(path, MAX_BYTES)?;
        let image = match bytes.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => png(&bytes),
            [0xff, 0xd8, ..] => jpeg(&bytes),
            _ => Err("is no image that attlas reads: PNG and JPEG are".to_owned()),
        };
        image.map_err(|message| Error::file(path, message))
    }
}

fn png(bytes: &[u8]) -> Result<Image, String> {
    let damaged = |error: png::DecodingError| format!("is a damaged PNG: {error}");
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = (reader.info().width as usize, reader.info().height as usize);
    check_size([width, height], bytes, PIXELS_PER_BYTE_PNG)?;
    let n_bytes = reader.output_buffer_size().filter(|n| *n <= 4 * MAX_PIXELS);
    let mut buffer = vec![0; n_bytes.ok_or("is a PNG of too many pixels")?]; // [height, width, n_channels]
    let frame = reader.next_frame(&mut buffer).map_err(damaged)?;
    buffer.truncate(frame.buffer_size());
    let pixels = match frame.color_type {
        png::ColorType::Rgb => buffer,
        png::ColorType::Rgba => buffer.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b]).collect(),
        png::ColorType::Grayscale => buffer.iter().flat_map(|gray| [*gray; 3]).collect(),
        png::ColorType::GrayscaleAlpha => buffer.as_chunks::<2>().0.iter().flat_map(|[gray, _]| [*gray; 3]).collect(),
        png::ColorType::Indexed => return Err("is a PNG whose palette could not be read".to_owned()),
    };
    whole(Image { width, height, pixels })
}

fn jpeg(bytes: &[u8]) -> Result<Image, String> {
    let decoded = jpeg::decode(bytes, |size| check_size(size, bytes, PIXELS_PER_BYTE_JPEG))?;
    let jpeg::Jpeg { width, height, pixels, exif } = decoded;
    let orientation = exif.map_or(1, |exif| exif::orientation(&exif));
    Ok(exif::upright(whole(Image { width, height, pixels })?, orientation))
}

/// Refuses sizes that are 0, beyond the limit, or more than the file's bytes can stand for.
fn check_size([width, height]: [usize; 2], bytes: &[u8], pixels_per_byte: usize) -> Result<(), String> {
    let n_pixels = width.saturating_mul(height);
    if width.max(height) > MAX_SIDE {
        return Err(format!(
            "has {width} × {height} pixels; attlas reads sides of up to {MAX_SIDE}; cut a part out of it"
        ));
    }
    if n_pixels == 0 || n_pixels > MAX_PIXELS {
        return Err(format!("has {width} × {height} pixels; attlas reads from 1 to {MAX_PIXELS}"));
    }
    if n_pixels > bytes.len().saturating_mul(pixels_per_byte) {
        let n = bytes.len();
        return Err(format!("claims {width} × {height} pixels, more than its {n} bytes can hold"));
    }
    Ok(())
}

fn whole(image: Image) -> Result<Image, String> {
    let expected = image.width * image.height * 3;
    match image.pixels.len() {
        n if n == expected => Ok(image),
        n => Err(format!("gave {n} bytes of pixels where {expected} were expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A black PNG of one bit per pixel.
    fn black(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header().expect("a header");
        let n_bytes = width.div_ceil(8) as usize * height as usize;
        writer.write_image_data(&vec![0; n_bytes]).expect("pixels");
        drop(writer);
        bytes
    }

    #[test]
    fn a_png_with_a_side_beyond_the_limit_is_refused_with_its_sides() {
        for (width, height) in [(1, 65_537), (70_000, 2)] {
            let message = png(&black(width, height)).expect_err("a refusal");
            assert!(message.contains(&format!("{width} × {height} pixels")) && message.contains("65536"), "{message}");
        }
        let image = png(&black(1, 65_536)).expect("an image");
        assert_eq!([image.width, image.height, image.pixels.len()], [1, 65_536, 3 * 65_536]);
    }
}
