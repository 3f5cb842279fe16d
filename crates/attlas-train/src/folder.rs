//! The folder of a training: one training at a time, and nothing left of those that died.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::config::{Config, Resume};
use crate::{Error, checkpoint};

/// The file that a training holds locked while it runs; it stays, empty.
const LOCK: &str = ".training.lock";

/// The files that a training writes aside before it renames them.
const WRITTEN_ASIDE: [&str; 4] = ["model.safetensors", "checkpoint.safetensors", "config.json", "tokenizer.json"];

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

/// Removes what runs that died while writing left aside, in the folder and in its film. Only with the folder held: what
/// lies there then belongs to nobody.
fn sweep(folder: &Path) {
    let film = entries(&folder.join("film"));
    for folder in film.into_iter().chain([folder.to_path_buf()]) {
        for path in entries(&folder) {
            let is_left = path.file_name().and_then(|name| name.to_str()).is_some_and(is_aside);
            if is_left {
                // what cannot be removed does no harm but take room; writing beside it says what is wrong
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// What lies in a folder; nothing when it is none.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).map_or(Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
}

/// Whether the name is one under which [`crate::files::write_whole`] writes a training's file: `.NAME.PID.tmp`.
fn is_aside(name: &str) -> bool {
    let inner = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    let parts = inner.and_then(|inner| inner.rsplit_once('.'));
    parts.is_some_and(|(name, process)| WRITTEN_ASIDE.contains(&name) && process.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_training_writes_aside_are_swept() {
        for name in [".model.safetensors.1.tmp", ".checkpoint.safetensors.4194304.tmp", ".config.json.7.tmp"] {
            assert!(is_aside(name), "{name}");
        }
        let others =
            ["model.safetensors", ".model.safetensors.tmp", ".model.safetensors.x.tmp", "a.tmp", ".a.1.tmp", ".tmp"];
        for name in others {
            assert!(!is_aside(name), "{name}");
        }
    }
}
