//! Files that are complete or absent: written aside in the same folder, synced, renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use attlas::regular_file::{self, Problem};

use crate::Error;

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// [`Error::Write`]: the disk is full, the folder is read-only, …; what was at `path` is as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let error = |source| Error::Write { path: path.to_path_buf(), source };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_and_sync(&aside, bytes).and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // the half-written file is of no use; the error already says what happened
        let _ = fs::remove_file(&aside);
    }
    written.map_err(error)
}

fn write_and_sync(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
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
