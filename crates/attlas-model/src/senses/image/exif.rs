//! How a camera was held: the orientation in a photograph's EXIF data.

use super::Image;

/// The tag of the orientation.
const ORIENTATION: u16 = 0x0112;

/// The orientation, 1 to 8; 1 (upright) where nothing sensible is said.
pub(super) fn orientation(exif: &[u8]) -> u8 {
    read(exif).filter(|value| (1..=8).contains(value)).unwrap_or(1) as u8
}

/// Looks through the first directory of a TIFF header.
fn read(exif: &[u8]) -> Option<u16> {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let is_little = match exif.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if is_little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let bytes = exif.get(4..8)?.try_into().ok()?;
    let directory = if is_little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) } as usize;
    let n_entries = usize::from(short(directory)?);
    let mut entries = (0..n_entries).map_while(|entry| directory.checked_add(2 + 12 * entry));
    let entry = entries.find(|at| short(*at) == Some(ORIENTATION))?;
    short(entry.checked_add(8)?)
}

/// The image turned and mirrored so that it stands upright.
pub(super) fn upright(image: Image, orientation: u8) -> Image {
    let Image { width, height, pixels } = &image;
    let (width, height) = (*width, *height);
    let (is_turned, mirrored_x, mirrored_y) = match orientation {
        2 => (false, true, false),
        3 => (false, true, true),
        4 => (false, false, true),
        5 => (true, false, false),
        6 => (true, false, true),
        7 => (true, true, true),
        8 => (true, true, false),
        _ => return image,
    };
    let (new_width, new_height) = if is_turned { (height, width) } else { (width, height) };
    let mut turned = Vec::with_capacity(pixels.len()); // [new_height, new_width, 3]
    for y in 0..new_height {
        for x in 0..new_width {
            let (along_x, along_y) = if is_turned { (y, x) } else { (x, y) };
            let source_x = if mirrored_x { width - 1 - along_x } else { along_x };
            let source_y = if mirrored_y { height - 1 - along_y } else { along_y };
            turned.extend_from_slice(&pixels[(source_y * width + source_x) * 3..][..3]);
        }
    }
    Image { width: new_width, height: new_height, pixels: turned }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pixels 1 to 6 in two rows of three.
    fn numbered() -> Image {
        Image { width: 3, height: 2, pixels: (1..=6).flat_map(|value| [value; 3]).collect() }
    }

    fn values(image: &Image) -> Vec<u8> {
        image.pixels.iter().step_by(3).copied().collect()
    }

    #[test]
    fn each_orientation_comes_out_upright() {
        // the values of PIL.ImageOps.exif_transpose
        let expected: [(u8, &[u8]); 7] = [
            (2, &[3, 2, 1, 6, 5, 4]),
            (3, &[6, 5, 4, 3, 2, 1]),
            (4, &[4, 5, 6, 1, 2, 3]),
            (5, &[1, 4, 2, 5, 3, 6]),
            (6, &[4, 1, 5, 2, 6, 3]),
            (7, &[6, 3, 5, 2, 4, 1]),
            (8, &[3, 6, 2, 5, 1, 4]),
        ];
        for (orientation, upright_values) in expected {
            assert_eq!(values(&upright(numbered(), orientation)), upright_values, "{orientation}");
        }
    }

    #[test]
    fn damaged_exif_means_upright() {
        let good = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0";
        assert_eq!(orientation(good), 6);
        for n in 0..good.len() - 2 {
            assert_eq!(orientation(&good[..n]), 1);
        }
        assert_eq!(orientation(b"II\x2a\0\xff\xff\xff\xff"), 1);
    }
}
