//! One file after the other, from a hub into its cache: announced, locked, received, compared, placed.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::blob::{Announced, Commit, is_rest};
use super::client::{BodyError, Client};
use super::partial::Partial;
use super::progress::Progress;
use super::store::Store;

/// The longest list of a repository's files that is read.
const MAX_LIST_BYTES: usize = 16 << 20;

/// The most files that are downloaded of a repository, the largest of them, and all together.
const MAX_FILES: usize = 1024;
const MAX_FILE_BYTES: u64 = 512 << 30;
const MAX_ALL_BYTES: u64 = 2 << 40;

/// The largest file that is no weights.
const MAX_SMALL_BYTES: u64 = 256 << 20;

/// How often a file is asked for in one run, where its body breaks off.
const MAX_TRIES: usize = 4;

/// A repository at a revision, on a hub and in its cache.
pub struct Download {
    client: Client,
    store: Store,
    /// `/ORG/NAME/resolve/REVISION/`.
    path: String,
    revision: String,
    commit: Commit,
    files: Vec<String>,
    n_files: usize,
    n_bytes: u64,
}

/// Whether a file holds weights, which may be large.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Weights.
    Weights,
    /// Anything else.
    Small,
}

/// The hub's description of a repository, as far as it is looked at.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

/// How an answer's body ended.
enum End {
    Whole,
    Broken(String),
}

impl Download {
    /// Asks what the repository holds; both names were checked to be names.
    pub fn begin(client: Client, store: Store, repository: &str, revision: &str) -> Result<Download, String> {
        let url_revision = revision.replace('/', "%2F");
        let answer = client.get(&format!("/api/models/{repository}/revision/{url_revision}"), None)?;
        let bytes = client.body(answer.response).read_all(MAX_LIST_BYTES)?;
        let listing: Listing = serde_json::from_slice(&bytes)
            .map_err(|error| format!("the hub's answer is no description of the repository: {error}"))?;
        Ok(Download {
            client,
            store,
            path: format!("/{repository}/resolve/{url_revision}/"),
            revision: revision.to_owned(),
            commit: Commit::parse(&listing.sha)?,
            files: listing.siblings.into_iter().map(|file| file.rfilename).collect(),
            n_files: 0,
            n_bytes: 0,
        })
    }

    /// Whether the repository has that file.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file == name)
    }

    /// Downloads a file, unless it is in the cache; gives its place.
    pub fn get(&mut self, file: &str, content: Content) -> Result<PathBuf, String> {
        self.try_get(file, content).map_err(|reason| format!("{file}: {reason}"))
    }

    /// Says in the cache which commit the revision is; gives the folder of its files.
    pub fn finish(self) -> Result<PathBuf, String> {
        self.store.name_commit(&self.revision, &self.commit)?;
        Ok(self.store.snapshot(&self.commit))
    }

    fn try_get(&mut self, file: &str, content: Content) -> Result<PathBuf, String> {
        let announced = self.announced(file)?;
        self.count(announced.n_bytes, content)?;
        let blob = self.store.blob(&announced.name);
        let _lock = self.store.lock(&announced.name, file)?;
        // one that was kept although it was cut is got again
        if !has_size(&blob, announced.n_bytes) {
            self.receive(file, &announced, &blob)?;
        }
        self.store.place(&self.commit, file, &announced.name)
    }

    /// What the hub says of a file.
    fn announced(&self, file: &str) -> Result<Announced, String> {
        let answer = self.client.get(&format!("{}{file}", self.path), Some("bytes=0-0"))?;
        let announced = Announced::of(&answer)?;
        // the one byte is read, so that the connection serves again
        if answer.response.body().content_length() == Some(1) {
            let _ = self.client.body(answer.response).read_all(1);
        }
        match announced.commit == self.commit {
            true => Ok(announced),
            false => Err(format!(
                "the hub has it from commit {}, but its list of files from {}; the repository changed meanwhile, or \
                 the hub is wrong: try again",
                announced.commit.as_str(),
                self.commit.as_str()
            )),
        }
    }

    /// Holds a file to the limits.
    fn count(&mut self, n_bytes: u64, content: Content) -> Result<(), String> {
        let limit = if content == Content::Weights { MAX_FILE_BYTES } else { MAX_SMALL_BYTES };
        if n_bytes > limit {
            return Err(format!("has {n_bytes} bytes; {limit} are downloaded at most"));
        }
        self.n_files += 1;
        self.n_bytes += n_bytes;
        if self.n_files > MAX_FILES || self.n_bytes > MAX_ALL_BYTES {
            return Err(format!("{MAX_FILES} files with {MAX_ALL_BYTES} bytes are downloaded of a repository at most"));
        }
        Ok(())
    }

    /// Downloads a file to `blob`, going on with what an earlier download left.
    fn receive(&self, file: &str, announced: &Announced, blob: &Path) -> Result<(), String> {
        let mut reason = String::new();
        for _ in 0..MAX_TRIES {
            let mut partial = Partial::open(self.store.partial(&announced.name), announced)?;
            let n_first = partial.n_bytes();
            if partial.n_left() > 0
                && let End::Broken(why) = self.receive_rest(file, announced, &mut partial)?
            {
                let (n_bytes, all) = (partial.n_bytes(), announced.n_bytes);
                reason =
                    format!("the download breaks off after {n_bytes} of {all} bytes ({why}); the next goes on there");
                continue;
            }
            if partial.finish(blob)? {
                return Ok(());
            }
            reason = format!("what the hub sends is not what it announced, whose hash is {}", announced.name.as_str());
            // bytes of this very answer: asking again brings the same
            if n_first == 0 {
                break;
            }
        }
        Err(reason)
    }

    /// Asks for what is missing, and takes it as it comes.
    fn receive_rest(&self, file: &str, announced: &Announced, partial: &mut Partial<'_>) -> Result<End, String> {
        let range = format!("bytes={}-", partial.n_bytes());
        let answer = self.client.get(&format!("{}{file}", self.path), Some(&range))?;
        if !is_rest(&answer, partial.n_bytes(), announced.n_bytes)? {
            partial.restart()?;
        }
        let mut progress = Progress::new(file, announced.n_bytes, partial.n_bytes());
        let mut body = self.client.body(answer.response);
        let mut buffer = vec![0; 1 << 18];
        // what a server sends beyond the size it announced is never read
        while partial.n_left() > 0 {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(End::Broken("the hub ends it".to_owned())),
                Ok(n_bytes) => partial.write(&buffer[..n_bytes])?,
                Err(BodyError::Broken(reason)) => return Ok(End::Broken(reason)),
                Err(BodyError::Slow(reason)) => return Err(format!("the download stands still: {reason}")),
            }
            progress.report(partial.n_bytes());
        }
        Ok(End::Whole)
    }
}

/// Whether a file of that size is there.
fn has_size(path: &Path, n_bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() == n_bytes)
}
