//! Files as training reads and writes them: within a limit, complete or absent.

use std::io;
use std::path::Path;

use attlas::output::{Aside, write_aside};
use attlas::regular_file::{self, Problem};

use crate::Error;

/// Writes the file at `path` through `write`, whole or not at all.
///
/// # Errors
/// [`Error::Write`]: the disk is full, the folder is read-only, …; what was at `path` is as it was.
pub fn write_whole(path: &Path, write: impl FnOnce(&mut Aside) -> io::Result<()>) -> Result<(), Error> {
    write_aside(path, write).map_err(|error| match error {
        attlas::Error::Output { path, source } => Error::Write { path, source },
        other => Error::File { path: path.to_path_buf(), problem: other.to_string() },
    })
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// [`Error::Read`], [`Error::File`].
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    regular_file::read(path, limit).map_err(|problem| match problem {
        Problem::Io(source) => Error::Read { path: path.to_path_buf(), source },
        other => Error::File { path: path.to_path_buf(), problem: other.to_string() },
    })
}
