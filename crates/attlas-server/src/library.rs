//! The recordings that are served: files that were named, those of folders that were named, and what live runs recorded.
//!
//! A client knows them by ids; no path comes from it. A file is opened when it is first asked for, and looked at each time: one
//! that was replaced or changed is said to be, and opened again on request.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use attlas::analysis::Standout;
use attlas::printable::printable;
use attlas::{HeadId, Kind, Layer, Quantity, Recording};
use attlas_viewer::{Description, HeadEffects};
use axum::body::Bytes;
use tokio::sync::OnceCell;

use crate::refusal::{Refusal, Sort};

/// Recordings of a folder that are listed at most.
const MAX_LISTED: usize = 1000;
/// Recordings that stay open; numbers of theirs lie in their files.
const MAX_OPEN: usize = 16;
/// Recordings of live runs that are kept; the oldest goes.
const MAX_RUNS: usize = 8;

/// An opened recording.
pub struct Served {
    /// Tells it from all others, also from an earlier state of the same file.
    pub number: u64,
    pub id: String,
    pub name: String,
    pub recording: Recording,
    /// The layers that are shown, of every quantity.
    pub layers: Vec<Layer>,
    /// What the page says of it, made when it is first asked for.
    pub atlas: OnceCell<Bytes>,
    /// What a run found out beside the recording.
    pub found: Found,
    file: Option<Stamp>,
}

/// What is known of a recording beside its numbers.
#[derive(Debug, Clone, Default)]
pub struct Found {
    pub title: Option<String>,
    pub open: Option<(Kind, HeadId)>,
    /// `None` where nobody looked yet.
    pub standouts: Option<Vec<Standout>>,
    pub description: Option<Description>,
    /// What the output loses with each head, where it was measured.
    pub effects: Option<HeadEffects>,
    /// How the model is named where it is to be loaded again, where clients are told.
    pub model_place: Option<String>,
    /// The last part of the file's path; `None` of a run.
    pub recording_place: Option<String>,
}

/// A file as it was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    identity: Identity,
}

/// What tells whether a file is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    n_bytes: u64,
    modified: Option<SystemTime>,
    #[cfg(unix)]
    inode: (u64, u64),
}

impl Identity {
    fn of(about: &Metadata) -> Identity {
        Identity {
            n_bytes: about.len(),
            modified: about.modified().ok(),
            #[cfg(unix)]
            inode: (std::os::unix::fs::MetadataExt::dev(about), std::os::unix::fs::MetadataExt::ino(about)),
        }
    }
}

impl Stamp {
    fn check(&self, now: &Metadata) -> Result<(), Refusal> {
        let (Stamp { path, identity }, now) = (self, Identity::of(now));
        if now == *identity {
            return Ok(());
        }
        let message = format!(
            "{} was replaced or changed after it was opened ({} bytes then, {} now); its maps are shown again when it is opened anew",
            file_name(path),
            identity.n_bytes,
            now.n_bytes
        );
        Err(Refusal::new(Sort::Changed, message))
    }
}

impl Served {
    /// Refuses a file that is another than the one that was opened; one that is gone is still held.
    ///
    /// # Errors
    /// [`Sort::Changed`].
    pub fn check(&self) -> Result<(), Refusal> {
        let Some(stamp) = &self.file else { return Ok(()) };
        std::fs::metadata(&stamp.path).map_or(Ok(()), |now| stamp.check(&now))
    }

    /// The file that the recording lies in, opened, and how many bytes it has; `None` for that of a run.
    ///
    /// # Errors
    /// When it cannot be opened, or is another than the one that was opened first.
    pub fn reader(&self) -> Option<Result<(File, u64), Refusal>> {
        let stamp = self.file.as_ref()?;
        let unreadable = |error: io::Error| Refusal::unreadable(printable(&error.to_string()));
        let open = || {
            let file = File::open(&stamp.path).map_err(unreadable)?;
            let about = file.metadata().map_err(unreadable)?; // the handle's: the name may be another's by now
            stamp.check(&about).map(|()| (file, about.len()))
        };
        Some(open())
    }

    /// The place in [`layers`](Self::layers) of the layer with the true index `index`.
    ///
    /// # Errors
    /// When there is none; the error says which there are.
    pub fn layer(&self, quantity: Quantity, kind: Kind, index: usize) -> Result<usize, Refusal> {
        let is_meant = |layer: &Layer| (layer.quantity, layer.kind, layer.index) == (quantity, kind, index);
        match self.layers.iter().position(is_meant) {
            Some(place) => Ok(place),
            None => {
                self.recording.layer_in(quantity, kind, index)?;
                Err(Refusal::absent(format!(
                    "{kind} layer {index} has maps of some tokens, or of another axis, which are not shown here"
                )))
            }
        }
    }
}

/// What a list of recordings says of one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    pub id: String,
    /// The file's name, or the text of a run.
    pub name: String,
    /// Whether it was made by a run here; others lie in files.
    pub run: bool,
}

/// All that is served.
pub struct Library {
    files: Vec<PathBuf>,
    /// Of the first file.
    effects: Option<HeadEffects>,
    folders: Vec<PathBuf>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    next: u64,
    /// Files by id, in the order they were found.
    found: Vec<(String, PathBuf)>,
    /// How many were ever found; the next one's id.
    n_found: usize,
    /// Runs, the newest last.
    runs: Vec<Arc<Served>>,
    open: BTreeMap<String, (u64, Arc<Served>)>,
}

impl Library {
    /// Serves these files, the first of them with measured effects, and the recordings in these folders.
    pub fn new(files: Vec<PathBuf>, effects: Option<HeadEffects>, folders: Vec<PathBuf>) -> Library {
        let library = Library { files, effects, folders, shelf: Mutex::default() };
        library.look();
        library
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for files that are new in the folders, and for those of folders that are gone; how many are beyond those that are listed.
    fn look(&self) -> usize {
        let folders: Vec<_> = self.folders.iter().map(|folder| recordings_in(folder)).collect();
        let are_read = folders.iter().all(Option::is_some);
        let in_folders: Vec<PathBuf> = folders.into_iter().flatten().flatten().collect();
        let there: BTreeSet<&PathBuf> = self.files.iter().chain(&in_folders).collect();
        let shelf = &mut *self.shelf(); // only now: folders may be slow
        let Shelf { found, open, n_found, .. } = shelf;
        found.retain(|(id, path)| !are_read || there.contains(path) || open.contains_key(id));
        let known: BTreeSet<PathBuf> = found.iter().map(|(_, path)| path.clone()).collect();
        let mut n_beyond = 0;
        for path in self.files.iter().chain(&in_folders).filter(|path| !known.contains(*path)) {
            if found.len() >= MAX_LISTED {
                n_beyond += 1;
            } else if found.iter().all(|(_, other)| other != path) {
                found.push((format!("f{n_found}"), path.clone()));
                *n_found += 1;
            }
        }
        n_beyond
    }

    /// The recordings there are: the newest runs first, then files as they were named; and how many files are beyond those.
    pub fn list(&self) -> (Vec<Listed>, usize) {
        let n_beyond = self.look();
        let shelf = self.shelf();
        let runs = shelf.runs.iter().rev().map(|run| Listed { id: run.id.clone(), name: run.name.clone(), run: true });
        let files = shelf.found.iter().map(|(id, path)| Listed { id: id.clone(), name: file_name(path), run: false });
        (runs.chain(files).collect(), n_beyond)
    }

    /// The recording with this id, if it is open.
    pub fn opened(&self, id: &str) -> Option<Arc<Served>> {
        let shelf = &mut *self.shelf();
        if let Some(run) = shelf.runs.iter().find(|run| run.id == id) {
            return Some(Arc::clone(run));
        }
        let (asked, served) = shelf.open.get_mut(id)?;
        shelf.next += 1;
        *asked = shelf.next;
        Some(Arc::clone(served))
    }

    /// The recording with this id, opened if it is not yet.
    ///
    /// # Errors
    /// When there is none, it cannot be opened, or it changed since it was.
    pub fn get(&self, id: &str) -> Result<Arc<Served>, Refusal> {
        if let Some(served) = self.opened(id) {
            return served.check().map(|()| served);
        }
        let path = self.shelf().found.iter().find(|(known, _)| known == id).map(|(_, path)| path.clone());
        let path = path.ok_or_else(|| Refusal::absent("there is no such recording here (any more)"))?;
        self.open(id, &path)
    }

    /// Opens a file anew.
    ///
    /// # Errors
    /// When there is none with this id, or it cannot be opened.
    pub fn reopen(&self, id: &str) -> Result<Arc<Served>, Refusal> {
        let path = {
            let mut shelf = self.shelf();
            shelf.open.remove(id);
            shelf.found.iter().find(|(known, _)| known == id).map(|(_, path)| path.clone())
        };
        match path {
            Some(path) => self.open(id, &path),
            None => self.get(id),
        }
    }

    fn open(&self, id: &str, path: &Path) -> Result<Arc<Served>, Refusal> {
        // the identity first: what changes between is seen at the next question
        let about = std::fs::metadata(path);
        let about = about.map_err(|_| Refusal::absent(format!("{} is not there any more", file_name(path))))?;
        let identity = Identity::of(&about);
        let recording = Recording::open(path)?;
        let mut shelf = self.shelf();
        let stamp = Stamp { path: path.to_owned(), identity };
        let effects = self.effects.clone().filter(|_| self.files.first().is_some_and(|first| first == path));
        let name = file_name(path);
        let found =
            Found { title: Some(name.clone()), effects, recording_place: Some(name.clone()), ..Found::default() };
        let served = shelf.served(id.to_owned(), name, recording, found, Some(stamp));
        let now = shelf.next;
        shelf.open.insert(id.to_owned(), (now, Arc::clone(&served)));
        while shelf.open.len() > MAX_OPEN {
            let oldest = shelf.open.iter().min_by_key(|(_, (asked, _))| *asked).map(|(id, _)| id.clone());
            oldest.and_then(|id| shelf.open.remove(&id));
        }
        Ok(served)
    }

    /// Keeps what a run recorded; its id.
    pub fn add_run(&self, name: String, recording: Recording, found: Found) -> String {
        let mut shelf = self.shelf();
        let id = format!("r{}", shelf.next + 1);
        let served = shelf.served(id.clone(), name, recording, found, None);
        shelf.runs.push(served);
        if shelf.runs.len() > MAX_RUNS {
            shelf.runs.remove(0);
        }
        id
    }
}

impl Shelf {
    fn served(
        &mut self,
        id: String,
        name: String,
        recording: Recording,
        found: Found,
        file: Option<Stamp>,
    ) -> Arc<Served> {
        self.next += 1;
        let shown = |quantity: Quantity| {
            let kinds = Kind::ALL.into_iter();
            let layers = kinds.flat_map(|kind| recording.layers_in(quantity, kind)).map(std::borrow::Cow::into_owned);
            layers.filter(|layer| layer.query_axis.is_none() && layer.key_axis.is_none()).collect::<Vec<_>>()
        };
        let layers = Quantity::ALL.into_iter().flat_map(shown).collect();
        Arc::new(Served { number: self.next, id, name, recording, layers, atlas: OnceCell::new(), found, file })
    }
}

/// The last part of a path, as text.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The recordings that lie in a folder itself, by name; `None` where it cannot be read.
fn recordings_in(folder: &Path) -> Option<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("safetensors")))
        .collect();
    paths.sort();
    let is_there = |(place, path): &(usize, PathBuf)| *place >= MAX_LISTED || path.is_file(); // those beyond are only counted
    Some(paths.into_iter().enumerate().filter(is_there).map(|(_, path)| path).collect())
}
