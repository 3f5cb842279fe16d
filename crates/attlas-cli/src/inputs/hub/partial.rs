//! A file that is not whole yet: kept beside its place, hashed as it comes, renamed when it is what was announced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::blob::{Announced, Hasher};

/// A file in the making.
pub struct Partial<'a> {
    announced: &'a Announced,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    n_bytes: u64,
}

impl Partial<'_> {
    /// Goes on with what an earlier download left at `path`, or begins.
    pub fn open(path: PathBuf, announced: &Announced) -> Result<Partial<'_>, String> {
        // only a file is gone on with: a link could lead anywhere
        if fs::symlink_metadata(&path).is_ok_and(|about| !about.is_file()) {
            fs::remove_file(&path).map_err(|error| not_written(&path, &error))?;
        }
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| not_written(&path, &error))?;
        let hasher = announced.name.hasher(announced.n_bytes);
        let mut partial = Partial { announced, path, file, hasher, n_bytes: 0 };
        partial.hash_what_is_there()?;
        if partial.n_bytes > announced.n_bytes {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn hash_what_is_there(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; 1 << 20];
        // a file that is too long is begun anew: no need to read all of it
        while self.n_bytes <= self.announced.n_bytes {
            let read = self.file.read(&mut buffer).map_err(|error| not_written(&self.path, &error))?;
            if read == 0 {
                break;
            }
            self.hasher.update(&buffer[..read]);
            self.n_bytes += read as u64;
        }
        Ok(())
    }

    /// How many bytes there are.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// How many are to come.
    pub fn n_left(&self) -> u64 {
        self.announced.n_bytes - self.n_bytes
    }

    /// Adds bytes, at most those that are to come; what cannot be written is removed, for a disk may be full.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        let n_left = usize::try_from(self.n_left()).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(n_left)];
        if let Err(error) = self.file.write_all(bytes) {
            let _ = fs::remove_file(&self.path);
            return Err(not_written(&self.path, &error));
        }
        self.hasher.update(bytes);
        self.n_bytes += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew.
    pub fn restart(&mut self) -> Result<(), String> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|error| not_written(&self.path, &error))?;
        self.hasher = self.announced.name.hasher(self.announced.n_bytes);
        self.n_bytes = 0;
        Ok(())
    }

    /// Puts the whole file to `place`, or removes it where its hash is another; gives whether it is there.
    pub fn finish(self, place: &Path) -> Result<bool, String> {
        if self.hasher.digits() != self.announced.name.as_str() {
            fs::remove_file(&self.path).map_err(|error| not_written(&self.path, &error))?;
            return Ok(false);
        }
        let placed = self.file.sync_all().and_then(|()| fs::rename(&self.path, place));
        placed.map(|()| true).map_err(|error| not_written(place, &error))
    }
}

fn not_written(path: &Path, error: &io::Error) -> String {
    format!("{}: could not be written: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::super::blob::{BlobName, Commit};
    use super::*;

    /// `hello\n`, by Git's name.
    fn hello() -> Announced {
        Announced {
            name: BlobName::parse("ce013625030ba8dba906f756967f9e9ca394464a").unwrap(),
            n_bytes: 6,
            commit: Commit::parse(&"0".repeat(40)).unwrap(),
        }
    }

    #[test]
    fn what_an_earlier_download_left_is_gone_on_with() {
        let (dir, announced) = (tempfile::tempdir().unwrap(), hello());
        let (path, place) = (dir.path().join("a.incomplete"), dir.path().join("a"));
        fs::write(&path, "hel").unwrap();
        let mut partial = Partial::open(path.clone(), &announced).unwrap();
        assert_eq!((partial.n_bytes(), partial.n_left()), (3, 3));
        partial.write(b"lo\nand more than was announced").unwrap();
        assert!(partial.finish(&place).unwrap());
        assert_eq!(fs::read(&place).unwrap(), b"hello\n");
        assert!(!path.exists());
    }

    #[test]
    fn other_bytes_are_not_kept_and_too_many_are_begun_anew() {
        let (dir, announced) = (tempfile::tempdir().unwrap(), hello());
        let (path, place) = (dir.path().join("a.incomplete"), dir.path().join("a"));
        fs::write(&path, "far too long").unwrap();
        let mut partial = Partial::open(path.clone(), &announced).unwrap();
        assert_eq!(partial.n_bytes(), 0);
        partial.write(b"jello\n").unwrap();
        assert!(!partial.finish(&place).unwrap());
        assert!(!path.exists() && !place.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_partial_file_is_not_written_through() {
        let (dir, announced) = (tempfile::tempdir().unwrap(), hello());
        let (path, victim) = (dir.path().join("a.incomplete"), dir.path().join("victim"));
        fs::write(&victim, "he").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let mut partial = Partial::open(path, &announced).unwrap();
        assert_eq!(partial.n_bytes(), 0);
        partial.write(b"hello\n").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"he");
    }
}
