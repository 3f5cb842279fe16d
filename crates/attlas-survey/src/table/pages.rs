//! A Parquet file that is not trusted: no page of it is unpacked that asks for more memory than a limit.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use attlas::regular_file::{self, Problem};
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

/// Bytes of a page at most, unpacked: 256 times what writers make them.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Bytes of a file's end that say how long its description is.
const FOOTER_BYTES: u64 = 8;

/// A file, or its bytes in memory, whose pages are looked at before the `parquet` crate makes room for them.
pub struct Pages<F = File> {
    file: F,
    n_bytes: u64,
}

/// A page's header, or the end of the file, read from its beginning.
pub struct PageRead<I> {
    input: I,
    /// Whether its size is still to be looked at.
    is_new: bool,
}

impl Pages<Bytes> {
    /// The bytes of a file.
    pub fn of(bytes: Vec<u8>) -> Pages<Bytes> {
        Pages { n_bytes: bytes.len() as u64, file: bytes.into() }
    }
}

impl Pages {
    /// Opens a regular file.
    pub fn open(path: &Path) -> std::result::Result<Pages, Problem> {
        let (file, n_bytes) = regular_file::open(path)?;
        Ok(Pages { file, n_bytes })
    }
}

impl<F: Send + Sync> Length for Pages<F> {
    fn len(&self) -> u64 {
        self.n_bytes
    }
}

impl<F: ChunkReader<T: BufRead>> ChunkReader for Pages<F> {
    type T = PageRead<F::T>;

    fn get_read(&self, start: u64) -> Result<PageRead<F::T>> {
        // the crate reads in this way headers of pages and the footer
        Ok(PageRead { input: self.file.get_read(start)?, is_new: start + FOOTER_BYTES != self.n_bytes })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match start.checked_add(length as u64) {
            Some(end) if end <= self.n_bytes => self.file.get_bytes(start, length),
            _ => Err(ParquetError::EOF(format!("{length} bytes from {start} on are past the end of the file"))),
        }
    }
}

impl<I: BufRead> Read for PageRead<I> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if std::mem::take(&mut self.is_new) {
            check_header(self.input.fill_buf()?)
                .map_err(|problem| io::Error::new(io::ErrorKind::InvalidData, problem))?;
        }
        self.input.read(bytes)
    }
}

/// What the `parquet` crate says, also where it gives up on a malformed file with a panic.
pub fn guarded<T, E: ToString>(read: impl FnOnce() -> std::result::Result<T, E>) -> std::result::Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("it contradicts itself".to_owned()),
    }
}

/// Refuses the header of a page that asks for too much. It begins with kind and unpacked size, both of them whole numbers in
/// Thrift's compact form, each after the byte that says so.
fn check_header(header: &[u8]) -> std::result::Result<(), String> {
    const WHOLE_NUMBER: u8 = 0x15;
    let mut rest = header;
    let mut number = || {
        rest = rest.strip_prefix(&[WHOLE_NUMBER])?;
        let n_bytes = rest.iter().position(|byte| byte & 0x80 == 0)? + 1;
        let (number, after) = rest.split_at_checked(n_bytes)?;
        rest = after;
        // a 32-bit number has five bytes at most
        let bits = number.iter().rev().fold(0, |bits, byte| bits << 7 | u64::from(byte & 0x7f));
        (n_bytes <= 5).then_some(bits >> 1 ^ (bits & 1).wrapping_neg())
    };
    match (number(), number()) {
        (Some(_), Some(n_bytes)) if n_bytes <= MAX_PAGE_BYTES => Ok(()),
        (Some(_), Some(n_bytes)) => Err(format!(
            "a page is said to have {} bytes; pages of up to {MAX_PAGE_BYTES} are read, write it with smaller ones",
            n_bytes as i64
        )),
        _ => Err("the header of a page does not begin with its kind and size".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_asks_for_too_much_is_refused_by_its_header() {
        // 256 MiB is 2²⁸, twice that in zigzag
        assert_eq!(check_header(&[0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x80, 0x02, 0x15, 2]), Ok(()));
        let too_large = check_header(&[0x15, 0, 0x15, 0x82, 0x80, 0x80, 0x80, 0x02, 0x15, 2]).unwrap_err();
        assert!(
            too_large.starts_with("a page is said to have 268435457 bytes; pages of up to 268435456"),
            "{too_large}"
        );
        let negative = check_header(&[0x15, 0, 0x15, 1]).unwrap_err();
        assert!(negative.starts_with("a page is said to have -1 bytes"), "{negative}");
        for other in
            [&[][..], &[0x15], &[0x15, 0x80], &[0x15, 0], &[0x05, 2, 0], &[0x15, 0, 0x15, 128, 128, 128, 128, 128, 0]]
        {
            assert!(check_header(other).is_err_and(|problem| problem.contains("does not begin")), "{other:?}");
        }
    }
}
