//! Reads files that are not trusted: regular ones only, and no more of them than a limit allows.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// The whole of a regular file of at most `limit` bytes; links are followed.
///
/// # Errors
/// A file that is absent, unreadable, no regular file (a pipe would never end) or longer than the limit.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    if !metadata.is_file() {
        return Err(Error::file(path, "is not a regular file"));
    }
    if metadata.len() > limit {
        return Err(Error::file(path, format!("has {} bytes; {limit} are possible", metadata.len())));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Error::file(path, format!("grew past {limit} bytes while it was read")));
    }
    Ok(bytes)
}
