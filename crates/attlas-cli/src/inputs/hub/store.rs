//! Where a repository lies in the hub's cache, in the hub library's own layout: `blobs/HASH` holds the bytes,
//! `snapshots/COMMIT/NAME` leads to them, `refs/REVISION` names a commit.
//!
//! Every path is made of a hash, a commit or a name that was checked to be one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use attlas::output::{Aside, write_aside};
use attlas_model::hub::HubCache;

use super::blob::{BlobName, Commit};
use crate::terminal::remark;

/// A repository's place in the cache.
pub struct Store {
    folder: PathBuf,
    locks: PathBuf,
}

impl Store {
    /// The place of a repository; nothing is made of it before there is something to keep.
    pub fn at(cache: &HubCache, repository: &str) -> Store {
        let folder = cache.folder(repository);
        let locks = cache.root().join(".locks").join(folder.file_name().unwrap_or_default());
        Store { folder, locks }
    }

    /// Where the bytes of that name lie, or will.
    pub fn blob(&self, name: &BlobName) -> PathBuf {
        self.folder.join("blobs").join(name.as_str())
    }

    /// Where they lie until they are whole and checked.
    pub fn partial(&self, name: &BlobName) -> PathBuf {
        self.folder.join("blobs").join(format!("{}.incomplete", name.as_str()))
    }

    /// Makes the folder of blobs, and keeps other processes from writing the same bytes until the file is dropped; waits for one that does.
    ///
    /// The hub's own library locks the same file.
    pub fn lock(&self, name: &BlobName, what: &str) -> Result<File, String> {
        create_folder(&self.folder.join("blobs"))?;
        create_folder(&self.locks)?;
        let path = self.locks.join(format!("{}.lock", name.as_str()));
        let failed = |error: io::Error| format!("{}: cannot be locked: {error}", path.display());
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                remark(&format!("{what} is being downloaded by another process; waiting for it"));
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(file)
    }

    /// The snapshot of a commit, as a folder.
    pub fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.folder.join("snapshots").join(commit.as_str())
    }

    /// Puts the bytes of that name into a snapshot as `file`: a link where the system has them, a copy elsewhere.
    pub fn place(&self, commit: &Commit, file: &str, name: &BlobName) -> Result<PathBuf, String> {
        let snapshot = self.snapshot(commit);
        create_folder(&snapshot)?;
        let path = snapshot.join(file);
        let target = Path::new("../../blobs").join(name.as_str());
        if link(&target, &path).is_err() {
            copy(&self.blob(name), &path)?;
        }
        Ok(path)
    }

    /// Writes down which commit a branch or tag stands for.
    pub fn name_commit(&self, revision: &str, commit: &Commit) -> Result<(), String> {
        if revision == commit.as_str() {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        path.parent().map_or(Ok(()), create_folder)?;
        write_here(&path, |out| io::Write::write_all(out, commit.as_str().as_bytes()))
    }
}

fn create_folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|error| format!("{}: cannot be made: {error}", path.display()))
}

/// A link at `path`, made aside and put in the place of whatever is there.
fn link(target: &Path, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // what a process of the same number left
    let _ = fs::remove_file(&aside);
    symlink(target, &aside)?;
    fs::rename(&aside, path).inspect_err(|_| drop(fs::remove_file(&aside)))
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A copy of a file, complete or absent.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let mut source = File::open(from).map_err(|error| format!("{}: {error}", from.display()))?;
    write_here(to, |out| io::copy(&mut source, out).map(drop))
}

/// Writes a file in the cache; a link in its place goes, for it could lead out of the cache.
fn write_here(path: &Path, write: impl FnOnce(&mut Aside) -> io::Result<()>) -> Result<(), String> {
    if path.is_symlink() {
        fs::remove_file(path).map_err(|error| format!("{}: could not be written: {error}", path.display()))?;
    }
    write_aside(path, write).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn store() -> (tempfile::TempDir, Store, BlobName, Commit) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::at(&HubCache::new(dir.path()), "org/name");
        let name = BlobName::parse(COMMIT).unwrap();
        drop(store.lock(&name, "config.json").unwrap());
        (dir, store, name, Commit::parse(COMMIT).unwrap())
    }

    #[test]
    fn a_link_takes_the_place_of_what_was_there_and_a_copy_does_the_same() {
        let (_dir, store, name, commit) = store();
        fs::write(store.blob(&name), "bytes").unwrap();
        let path = store.place(&commit, "config.json", &name).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        // a broken link of before
        fs::remove_file(&path).unwrap();
        symlink(Path::new("nowhere"), &path).unwrap();
        assert_eq!(fs::read(store.place(&commit, "config.json", &name).unwrap()).unwrap(), b"bytes");
        copy(&store.blob(&name), &path).unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
        assert_eq!(fs::read(&path).unwrap(), b"bytes");
        assert_eq!(fs::read_dir(store.snapshot(&commit)).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_revision_may_have_slashes_and_a_commit_needs_no_name() {
        let (dir, store, _, commit) = store();
        store.name_commit("refs/pr/3", &commit).unwrap();
        store.name_commit(COMMIT, &commit).unwrap();
        let refs = dir.path().join("models--org--name/refs");
        assert_eq!(fs::read_to_string(refs.join("refs/pr/3")).unwrap(), COMMIT);
        assert!(!refs.join(COMMIT).exists());
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &refs.join("main")).unwrap();
        store.name_commit("main", &commit).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "a link is not written through");
        assert_eq!(fs::read_to_string(refs.join("main")).unwrap(), COMMIT);
        assert_eq!(HubCache::new(dir.path()).folder("org/name"), dir.path().join("models--org--name"));
    }
}
