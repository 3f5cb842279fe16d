//! Files that are complete or absent: written aside in the same folder, synced, renamed.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::Error;

/// The file beside its final place: it can be written and sought in.
pub type Aside = BufWriter<File>;

/// Writes the file at `path` through `write`; a failure leaves whatever was there before.
///
/// # Errors
/// [`Error::Output`] when the folder is missing or not writable, the disk is full, or `write` fails; where `write` fails with an
/// [`Error`] inside, because what is to be written cannot be read, that one.
pub fn write_aside(path: &Path, write: impl FnOnce(&mut Aside) -> std::io::Result<()>) -> Result<(), Error> {
    let failed = |source: std::io::Error| {
        source.downcast().unwrap_or_else(|source| Error::Output { path: path.to_path_buf(), source })
    };
    // the file alone, because errors of the two together name the temporary path
    let (file, aside) = create_aside(path).map_err(failed)?.into_parts();
    let mut writer = BufWriter::new(file);
    write(&mut writer).map_err(failed)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    aside.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A temporary file beside `path`, removed unless it is persisted.
fn create_aside(path: &Path) -> std::io::Result<NamedTempFile> {
    if path.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "this is a folder, not a file"));
    }
    if path.exists() && !path.is_file() {
        let message = "this is a device or a pipe, not a file"; // a file with its name would take its place
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".attlas-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666)); // the umask takes its part
    }
    builder.tempfile_in(folder).map_err(|error| {
        // tempfile names its own random file in the message; the caller names the one that was asked for
        std::io::Error::from(error.kind())
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_device_is_no_file_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &device).unwrap();
        let refused = write_aside(&device, |aside| aside.write_all(b"new")).unwrap_err().to_string();
        assert!(refused.contains("this is a device or a pipe, not a file"), "{refused}");
        assert!(device.is_symlink(), "it is as it was");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.svg");
        write_aside(&path, |file| file.write_all(b"old")).unwrap();
        let failure = write_aside(&path, |file| {
            file.write_all(b"half")?;
            Err(std::io::Error::other("the pen broke"))
        });
        assert!(failure.unwrap_err().to_string().ends_with("picture.svg: could not be written: the pen broke"));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named_with_the_file() {
        let error = write_aside(Path::new("no-such-folder/a.svg"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("no-such-folder/a.svg: could not be written: "), "{error}");
    }
}
