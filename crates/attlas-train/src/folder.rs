//! The folder of a training: one training at a time, and nothing left of those that died.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use crate::config::{Config, Resume};
use crate::{Error, checkpoint};

/// The file that a training holds locked while it runs; it stays, empty.
const LOCK: &str = ".training.lock";

/// The folder, held by this training until it is dropped.
///
/// The lock belongs to the open file: the system gives it back when the process ends, however it ends.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Makes the folder if need be, holds it, and sweeps what dead runs left half-written.
///
/// # Errors
/// [`Error::FolderInUse`]; [`Error::NoCheckpoint`] when there is nothing to go on from; [`Error::HasCheckpoint`] when a
/// run that begins would overwrite another; [`Error::File`] where there are no locks.
pub fn hold(config: &Config) -> Result<Held, Error> {
    let folder = &config.output;
    let checkpoint = checkpoint::path(folder);
    let nothing_there = || Error::NoCheckpoint { path: checkpoint.clone() };
    let lock = folder.join(LOCK);
    // a folder in which nothing was ever trained is left as it is
    if config.resume == Resume::Yes && !checkpoint.exists() && !lock.exists() {
        return Err(nothing_there());
    }
    fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.clone(), source })?;
    let held = Held { _lock: locked(&lock, folder)? };
    match (config.resume, checkpoint.exists()) {
        (Resume::Yes, false) => return Err(nothing_there()),
        (Resume::No, true) => return Err(Error::HasCheckpoint { path: checkpoint }),
        _ => {}
    }
    sweep(folder);
    Ok(held)
}

/// The lock file, open and locked.
fn locked(path: &Path, folder: &Path) -> Result<File, Error> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.map_err(|source| Error::Write { path: path.to_path_buf(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::FolderInUse { path: folder.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(Error::File {
            path: path.to_path_buf(),
            problem: format!("cannot be locked: {source}; a training needs a folder on a file system that has locks"),
        }),
    }
}

/// Removes what runs that died left half-written, in the folder and in its film.
fn sweep(folder: &Path) {
    attlas::output::sweep(folder);
    for moment in fs::read_dir(folder.join("film")).into_iter().flatten().flatten() {
        attlas::output::sweep(&moment.path());
    }
}
