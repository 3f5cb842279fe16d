//! Counts rather than bytes: each line is an array of an archive, `name shape type`, full of zeros that cost the file nothing.
#![no_main]

use std::io::{Cursor, Write};

use attlas_fuzz::{import, with_file};
use libfuzzer_sys::fuzz_target;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// What an array holds at most of what its shape promises.
const MOST_BYTES: usize = 4 << 20;

fn archive(text: &str) -> Option<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for line in text.lines().take(4096) {
        let mut words = line.split(' ');
        let (name, shape, kind) = (words.next()?, words.next()?, words.next()?);
        let size: usize = kind.get(1..)?.parse().ok()?;
        let size = if kind.starts_with('U') { size.saturating_mul(4) } else { size };
        let count = shape.split(',').map(|n| n.parse::<usize>().unwrap_or(0)).fold(size, usize::saturating_mul);
        let header = format!("{{'descr': '<{kind}', 'fortran_order': False, 'shape': ({shape},), }}");
        archive.start_file(format!("{name}.npy"), SimpleFileOptions::default()).ok()?;
        archive.write_all(b"\x93NUMPY\x01\x00").ok()?;
        archive.write_all(&(header.len() as u16).to_le_bytes()).ok()?;
        archive.write_all(header.as_bytes()).ok()?;
        archive.write_all(&vec![0; count.min(MOST_BYTES)]).ok()?;
    }
    Some(archive.finish().ok()?.into_inner())
}

fuzz_target!(|text: &str| {
    if let Some(bytes) = archive(text) {
        with_file("maps.npz", &bytes, import);
    }
});
