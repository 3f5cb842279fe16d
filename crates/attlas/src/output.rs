//! Files that are complete or absent: written aside in the same folder, synced, renamed.
//!
//! A file that is being written is called `.attlas-MACHINE-XXXXXX.tmp`, and its writer holds it locked: what lies there
//! unlocked was left by a writer that died, and the next one in that folder takes it away.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempPath;

use crate::Error;

/// How names of files begin and end while they are written.
const PREFIX: &str = ".attlas-";
const SUFFIX: &str = ".tmp";
/// Another machine's locks may not be seen here: its files are left alone for so long after the last write.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The files that this process is writing. Whoever holds the list keeps others from being begun.
static IN_HAND: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// This machine since it started; empty where that is not known.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).take(12).collect()
});

/// The file beside its final place: it can be written and sought in.
pub type Aside = BufWriter<File>;

/// Writes the file at `path` through `write`; a failure leaves whatever was there before.
///
/// A file that is replaced hands down its permissions, and its owner where the system allows that. What dead writers left
/// in the folder is [swept](sweep).
///
/// # Errors
/// [`Error::Output`] when the folder is missing or not writable, the disk is full, or `write` fails; where `write` fails with an
/// [`Error`] inside, because what is to be written cannot be read, that one.
pub fn write_aside(path: &Path, write: impl FnOnce(&mut Aside) -> io::Result<()>) -> Result<(), Error> {
    let failed = |source: io::Error| {
        source.downcast().unwrap_or_else(|source| Error::Output { path: path.to_path_buf(), source })
    };
    check_place(path)?;
    sweep(folder_of(path));
    let no_file = |source: io::Error| match source.kind() {
        // the folder is there, and yet holds no file of ours: /proc
        ErrorKind::NotFound => io::Error::new(
            ErrorKind::NotFound,
            format!("no file can be made in the folder {}", folder_of(path).display()),
        ),
        _ => source,
    };
    let (file, aside) = InHand::create(path).map_err(|source| failed(no_file(source)))?;
    let mut writer = BufWriter::new(file);
    write(&mut writer).map_err(failed)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    fs::rename(&aside.0, path).map_err(failed)
}

/// Refuses a place where no file can be written, before anything is computed for it.
///
/// # Errors
/// [`Error::Output`] for a folder, a device, and a folder that does not exist.
pub fn check_place(path: &Path) -> Result<(), Error> {
    let refused =
        |kind, message: String| Err(Error::Output { path: path.to_path_buf(), source: io::Error::new(kind, message) });
    let folder = folder_of(path);
    if path.is_dir() {
        return refused(ErrorKind::IsADirectory, "this is a folder, not a file".into());
    }
    if path.exists() && !path.is_file() {
        // a file with its name would take its place
        return refused(ErrorKind::InvalidInput, "this is a device or a pipe, not a file".into());
    }
    match fs::metadata(folder) {
        Ok(about) if !about.is_dir() => {
            refused(ErrorKind::NotADirectory, format!("{} is a file, not a folder", folder.display()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refused(error.kind(), format!("the folder {} does not exist; make it first", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what dead writers left in a folder: files with the name of one that is being written, which no process holds.
///
/// Other machines may write into the same folder without their locks being seen here: what is not known to be of this
/// machine must have lain untouched for a day, too. What cannot be removed stays: it takes room and does no other harm.
pub fn sweep(folder: &Path) {
    let ours = format!("{PREFIX}{}-", *MACHINE);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if !name.starts_with(PREFIX) || !name.ends_with(SUFFIX) {
            continue;
        }
        let is_ours = !MACHINE.is_empty() && name.starts_with(&ours);
        // locked until it is gone, so that a writer who is just beginning sees it
        if let Some(_locked) = left(&path, is_ours) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Removes the files that this process is writing, because it is about to end: none is begun after that.
pub fn abandon() {
    let in_hand = IN_HAND.lock().unwrap_or_else(PoisonError::into_inner);
    for path in in_hand.iter() {
        let _ = fs::remove_file(path); // one that just got its final name is not there
    }
    std::mem::forget(in_hand);
}

/// A file that nobody writes any more, locked.
fn left(path: &Path, is_ours: bool) -> Option<File> {
    let about = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    let is_old = || about.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > DAY));
    if !is_ours && !is_old() {
        return None;
    }
    let file = OpenOptions::new().write(true).open(path).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file that is being written; removed when it is dropped, unless it was renamed.
struct InHand(TempPath);

impl InHand {
    /// A file beside `path`, locked.
    fn create(path: &Path) -> io::Result<(File, InHand)> {
        let mut in_hand = IN_HAND.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (file, aside) = temporary(path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => {} // taken for a dead writer's in this moment, and removed
                Ok(()) if !aside.exists() => {}
                // where there are no locks, nobody can hold one and sweep either
                Ok(()) | Err(TryLockError::Error(_)) => {
                    in_hand.push(aside.to_path_buf());
                    return Ok((file, InHand(aside)));
                }
            }
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut in_hand = IN_HAND.lock().unwrap_or_else(PoisonError::into_inner);
        in_hand.retain(|path| *path != *self.0);
    }
}

/// A new file in the folder of `path`, with the permissions of the file there.
fn temporary(path: &Path) -> io::Result<(File, TempPath)> {
    let prefix = format!("{PREFIX}{}-", *MACHINE);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(SUFFIX);
    #[cfg(unix)]
    let old = {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let old = fs::metadata(path).ok();
        let mode = old.as_ref().map_or(0o666, |old| old.mode() & 0o777); // the umask takes its part of a new file's
        builder.permissions(fs::Permissions::from_mode(mode));
        old
    };
    let (file, aside) = builder.tempfile_in(folder_of(path)).map_err(without_path)?.into_parts();
    #[cfg(unix)]
    if let Some(old) = old {
        take_after(&file, &old);
    }
    Ok((file, aside))
}

/// Hands down owner and permissions, as far as the system allows; a file system may know neither.
#[cfg(unix)]
fn take_after(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
    let _ = fchown(file, None, Some(old.gid()));
    let _ = fchown(file, Some(old.uid()), None);
    let _ = file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777));
}

/// What the system said, without the name of a temporary file: the caller names the one that was asked for.
fn without_path(error: io::Error) -> io::Error {
    let inner = error.get_ref().and_then(|inner| inner.source()).and_then(|source| source.downcast_ref::<io::Error>());
    match inner.and_then(io::Error::raw_os_error) {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
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
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_folder_is_named_with_the_file() {
        let error = write_aside(Path::new("no-such-folder/a.svg"), |_| Ok(())).unwrap_err();
        let expected =
            "no-such-folder/a.svg: could not be written: the folder no-such-folder does not exist; make it first";
        assert_eq!(error.to_string(), expected);
        let error = check_place(Path::new("Cargo.toml/a.svg")).unwrap_err();
        assert!(error.to_string().ends_with("Cargo.toml is a file, not a folder"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_replaced_file_hands_down_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.svg");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        write_aside(&path, |file| file.write_all(b"first")).unwrap();
        let usual = folder.path().join("usual");
        File::create(&usual).unwrap();
        assert_eq!(mode(&path), mode(&usual), "a new file follows the umask");
        for kept in [0o600, 0o666, 0o640, 0o444] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            write_aside(&path, |file| {
                assert_eq!(file.get_ref().metadata()?.permissions().mode() & 0o7777, kept, "also while it is written");
                file.write_all(b"next")
            })
            .unwrap();
            assert_eq!((mode(&path), fs::read(&path).unwrap()), (kept, b"next".to_vec()));
        }
    }

    #[test]
    fn what_dead_writers_left_is_swept_and_what_lives_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: String| folder.path().join(name);
        let dead = place(format!("{PREFIX}{}-dead01{SUFFIX}", *MACHINE));
        let elsewhere = place(format!("{PREFIX}0123456789ab-other1{SUFFIX}"));
        let long_dead = place(format!("{PREFIX}0123456789ab-other2{SUFFIX}"));
        let others = [place("picture.svg".into()), place(".attlas-notes".into())];
        for path in others.iter().chain([&dead, &elsewhere, &long_dead]) {
            fs::write(path, "left").unwrap();
        }
        let two_days_ago = std::time::SystemTime::now() - 2 * DAY;
        OpenOptions::new().write(true).open(&long_dead).unwrap().set_modified(two_days_ago).unwrap();
        write_aside(&place("a.svg".into()), |file| {
            sweep(folder.path());
            file.write_all(b"it lives")
        })
        .unwrap();
        assert!(place("a.svg".into()).exists(), "nobody sweeps a file that is being written");
        assert_eq!(dead.exists(), MACHINE.is_empty());
        assert!(!long_dead.exists());
        assert!(elsewhere.exists(), "its writer may live on another machine");
        assert!(others.iter().all(|path| path.exists()));
    }

    #[test]
    fn writers_and_sweepers_of_one_folder_do_not_disturb_one_another() {
        let folder = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = folder.path().join(format!("{writer}.svg"));
                scope.spawn(move || {
                    for _ in 0..100 {
                        write_aside(&path, |file| file.write_all(b"whole")).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
