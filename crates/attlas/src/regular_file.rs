//! Files that are not trusted: regular ones only, and no more of them than a limit allows.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The system cannot open or read it.
    #[error("{0}")]
    Io(io::Error),
    /// It is a folder, a FIFO or a device: reading might never end.
    #[error("is not a regular file")]
    NotRegular,
    /// It is longer than the limit.
    #[error("has {n_bytes} bytes; {limit} are possible")]
    TooLong {
        /// The size of the file in bytes.
        n_bytes: u64,
        /// The most bytes that are read.
        limit: u64,
    },
    /// It was within the limit when it was opened, and grew past it.
    #[error("grew past {limit} bytes while it was read")]
    Grew {
        /// The most bytes that are read.
        limit: u64,
    },
}

impl Problem {
    /// The problem as this crate's error.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self {
            Problem::Io(source) => Error::Io { path: path.to_path_buf(), source },
            other => Error::File { path: path.to_path_buf(), message: other.to_string() },
        }
    }
}

/// Text in UTF-8 without the byte order mark that some editors put before it.
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// An open regular file whose bytes are read by position, when they are asked for.
///
/// It is not mapped: a mapped file that another program cuts short ends the process, this one is an error.
#[derive(Debug)]
pub struct RegularFile {
    file: File,
    path: PathBuf,
    n_bytes: u64,
    /// When it was last written to, as it was opened; absent where the system does not tell, and of a file without a name.
    modified: Option<SystemTime>,
}

impl RegularFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be opened, [`Error::File`] when it is empty, a folder, a FIFO or a device.
    pub fn open(path: &Path) -> Result<RegularFile, Error> {
        let (file, n_bytes) = open(path).map_err(|problem| problem.at(path))?;
        if n_bytes == 0 {
            return Err(Error::File { path: path.to_path_buf(), message: "the file is empty".into() });
        }
        let modified = modified(&file);
        Ok(RegularFile { file, path: path.to_path_buf(), n_bytes, modified })
    }

    /// A file that has no name.
    pub(crate) fn unnamed(file: File) -> io::Result<RegularFile> {
        // nobody else can write to it, and some systems tell late when it was last written to
        let (n_bytes, modified) = (file.metadata()?.len(), None);
        Ok(RegularFile { file, path: "a temporary file".into(), n_bytes, modified })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes the file had when it was opened.
    pub fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    /// The file itself, to be read from front to back by one reader.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Fills `output` with the bytes from `start` on.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read, [`Error::File`] when the file ends before them, or was written to since it was
    /// opened: they would be numbers of another file.
    pub fn read_at(&self, start: u64, output: &mut [u8]) -> Result<(), Error> {
        read_exact_at(&self.file, start, output).map_err(|source| self.failed(source))?;
        match self.modified.is_none() || modified(&self.file) == self.modified {
            true => Ok(()),
            false => {
                let message = "was written to after it was opened: open it again".into();
                Err(Error::File { path: self.path.clone(), message })
            }
        }
    }

    /// The error for what the system said while the file was read.
    pub(crate) fn failed(&self, source: io::Error) -> Error {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::UnexpectedEof => Error::File { path, message: "was cut short while it was read".into() },
            _ => Error::Io { path, source },
        }
    }
}

/// When a file was last written to.
fn modified(file: &File) -> Option<SystemTime> {
    file.metadata().and_then(|about| about.modified()).ok()
}

/// Fills `output` with the bytes of `file` from `start` on; where the file stands for others is not moved.
///
/// # Errors
/// When the file cannot be read, or ends early.
#[cfg(unix)]
pub fn read_exact_at(file: &File, start: u64, output: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, output, start)
}

/// Fills `output` with the bytes of `file` from `start` on.
///
/// # Errors
/// When the file cannot be read, or ends early.
#[cfg(windows)]
pub fn read_exact_at(file: &File, mut start: u64, mut output: &mut [u8]) -> io::Result<()> {
    while !output.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, output, start)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                output = &mut output[n..];
                start += n as u64;
            }
        }
    }
    Ok(())
}

/// Opens a regular file and says how many bytes it has; links are followed.
///
/// # Errors
/// [`Problem::Io`], [`Problem::NotRegular`].
pub fn open(path: &Path) -> Result<(File, u64), Problem> {
    // before opening: opening a FIFO would wait for its writer
    let about = std::fs::metadata(path).map_err(Problem::Io)?;
    if !about.is_file() {
        return Err(Problem::NotRegular);
    }
    Ok((File::open(path).map_err(Problem::Io)?, about.len()))
}

/// The whole of a regular file of at most `limit` bytes.
///
/// # Errors
/// [`Problem`], also when the file grows past the limit while it is read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Problem> {
    let (file, n_bytes) = open(path)?;
    if n_bytes > limit {
        return Err(Problem::TooLong { n_bytes, limit });
    }
    read_bounded(file, n_bytes as usize, limit)
}

/// All that comes out of `source`, unless that is more than `limit` bytes; about `expected` are made room for.
fn read_bounded(source: impl Read, expected: usize, limit: u64) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::with_capacity(expected);
    source.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Problem::Io)?;
    if bytes.len() as u64 > limit {
        return Err(Problem::Grew { limit });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_limits_length_is_read_and_a_longer_one_refused_with_both_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [7; 5]).unwrap();
        assert_eq!(read(&path, 5).unwrap(), [7; 5]);
        assert_eq!(read(&path, 4).unwrap_err().to_string(), "has 5 bytes; 4 are possible");
    }

    #[test]
    fn what_grows_while_it_is_read_is_refused_at_the_limit() {
        let endless = std::io::repeat(1);
        assert_eq!(read_bounded(endless, 2, 9).unwrap_err().to_string(), "grew past 9 bytes while it was read");
    }

    #[test]
    fn a_file_that_is_cut_short_after_it_was_opened_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [7; 9]).unwrap();
        let file = RegularFile::open(&path).unwrap();
        let mut bytes = [0; 4];
        file.read_at(5, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 4]);
        File::options().write(true).open(&path).unwrap().set_len(8).unwrap();
        let error = file.read_at(5, &mut bytes).unwrap_err();
        assert!(matches!(error, Error::File { .. }));
        assert!(error.to_string().ends_with("a: was cut short while it was read"), "{error}");
    }

    #[test]
    fn a_file_that_is_written_to_in_place_after_it_was_opened_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [7; 9]).unwrap();
        let file = RegularFile::open(&path).unwrap();
        let mut bytes = [0; 4];
        file.read_at(5, &mut bytes).unwrap();
        std::fs::write(&path, [8; 9]).unwrap();
        let later = SystemTime::now() + std::time::Duration::from_secs(2); // clocks of file systems are coarse
        File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        let error = file.read_at(5, &mut bytes).unwrap_err().to_string();
        assert!(error.ends_with("a: was written to after it was opened: open it again"), "{error}");
    }

    #[test]
    fn a_folder_is_no_regular_file_and_what_is_absent_is_the_systems_to_say() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path(), 9), Err(Problem::NotRegular)));
        assert!(matches!(read(&folder.path().join("absent"), 9), Err(Problem::Io(_))));
    }
}
