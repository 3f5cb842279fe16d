//! Finds models by name in the local cache of the Hugging Face hub. Nothing here opens a connection; the command does.
//!
//! The layout is the hub library's: `models--ORG--NAME/refs/REVISION` holds a commit, `snapshots/COMMIT/` its files,
//! mostly links into `blobs/`.

use std::env;
use std::path::{Path, PathBuf};

use super::read_small_file;
use crate::Error;

/// The largest file under `refs/`; a commit has 40 characters.
const MAX_REF_BYTES: u64 = 256;

/// A local cache of the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubCache {
    root: PathBuf,
}

/// The model that a name means: a folder or a `.gguf` file that exists, else a repository in the local hub cache.
///
/// `revision` is a branch, tag or commit of a repository; `main` when not given.
///
/// # Errors
/// A name that is neither; the message says how to get the model.
pub fn find_model(name: &str, revision: Option<&str>) -> Result<PathBuf, Error> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(path.to_owned());
    }
    if !is_repository(name) {
        return Err(Error::file(path, "is no folder, and no name on the hub either (ORG/NAME)"));
    }
    match HubCache::from_environment() {
        Some(cache) => cache.find(name, revision),
        None => Err(Error::file(path, "is no folder, and no home is known that could hold the hub's cache")),
    }
}

impl HubCache {
    /// The cache at a folder.
    pub fn new(root: impl Into<PathBuf>) -> HubCache {
        HubCache { root: root.into() }
    }

    /// The cache that the hub's own library would use: `HF_HUB_CACHE`, `HF_HOME/hub`, `XDG_CACHE_HOME/huggingface/hub`,
    /// `~/.cache/huggingface/hub`.
    pub fn from_environment() -> Option<HubCache> {
        HubCache::from_variables(&|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from_variables(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Option<HubCache> {
        let home = || variable("HOME").or_else(|| variable("USERPROFILE"));
        let root = variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| variable("HF_HOME").map(|home| home.join("hub")))
            .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("huggingface/hub")))
            .or_else(|| home().map(|home| home.join(".cache/huggingface/hub")))?;
        Some(HubCache { root })
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a repository, whether it is there or not; the name was checked with [`is_repository`].
    pub fn folder(&self, repository: &str) -> PathBuf {
        self.root.join(format!("models--{}", repository.replace('/', "--")))
    }

    /// The folder of a repository's files at a revision.
    ///
    /// # Errors
    /// A repository or revision that is not in the cache; the message says how to get it.
    pub fn find(&self, repository: &str, revision: Option<&str>) -> Result<PathBuf, Error> {
        let wanted = revision.unwrap_or("main");
        if !is_repository(repository) || !is_revision(wanted) {
            return Err(Error::Input(format!("{repository:?} at revision {wanted:?} is no name on the hub")));
        }
        let folder = self.folder(repository);
        let get = match revision {
            Some(revision) => format!("hf download {repository} --revision {revision}"),
            None => format!("hf download {repository}"),
        };
        if !folder.is_dir() {
            return Err(Error::file(
                Path::new(repository),
                format!("is no folder and not in the hub's cache ({}); get it once with `{get}`", self.root.display()),
            ));
        }
        let commit = self.commit(&folder, wanted)?;
        let snapshot = folder.join("snapshots").join(commit.as_deref().unwrap_or(wanted));
        // a download that was broken off leaves no config.json
        if snapshot.join("config.json").is_file() {
            return Ok(snapshot);
        }
        Err(Error::file(
            Path::new(repository),
            format!(
                "is in the hub's cache ({}), but not its revision {wanted}; {}get it once with `{get}`",
                self.root.display(),
                there_is(&folder)
            ),
        ))
    }

    /// The commit that a branch or tag stands for; `None` where the cache knows none.
    fn commit(&self, folder: &Path, revision: &str) -> Result<Option<String>, Error> {
        let path = folder.join("refs").join(revision);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = read_small_file(&path, MAX_REF_BYTES)?;
        let commit = String::from_utf8_lossy(&bytes).trim().to_owned();
        if commit.len() < 7 || commit.len() > 64 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::file(&path, format!("holds {commit:?}, which is no commit")));
        }
        Ok(Some(commit))
    }
}

/// The revisions that are there, as the beginning of a sentence's end.
fn there_is(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    if names.is_empty() { String::new() } else { format!("there is {}; ", names.join(", ")) }
}

/// `NAME` or `ORG/NAME`, of letters, digits, `-`, `_` and `.`: never a path.
pub fn is_repository(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    parts.len() <= 2 && parts.iter().all(|part| is_part(part))
}

/// A branch, tag or commit: names with slashes between, such as `refs/pr/3`.
pub fn is_revision(name: &str) -> bool {
    name.len() <= 200 && name.split('/').all(is_part)
}

/// The name of a file or folder that stays where it is put.
pub fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= 96
        && !part.starts_with(['.', '-'])
        && !part.contains("..")
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A cache with one repository of one commit.
    fn cache() -> (tempfile::TempDir, HubCache) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("models--org--name");
        std::fs::create_dir_all(folder.join("refs")).unwrap();
        std::fs::create_dir_all(folder.join("snapshots").join(COMMIT)).unwrap();
        std::fs::write(folder.join("snapshots").join(COMMIT).join("config.json"), "{}").unwrap();
        std::fs::write(folder.join("refs/main"), COMMIT).unwrap();
        let cache = HubCache::new(dir.path());
        (dir, cache)
    }

    #[test]
    fn a_branch_leads_to_its_snapshot_and_a_commit_to_itself() {
        let (dir, cache) = cache();
        let snapshot = dir.path().join("models--org--name/snapshots").join(COMMIT);
        assert_eq!(cache.find("org/name", None).unwrap(), snapshot);
        assert_eq!(cache.find("org/name", Some("main")).unwrap(), snapshot);
        assert_eq!(cache.find("org/name", Some(COMMIT)).unwrap(), snapshot);
    }

    #[test]
    fn what_is_absent_is_named_with_the_way_to_get_it() {
        let (_dir, cache) = cache();
        let absent = cache.find("org/other", None).unwrap_err().to_string();
        assert!(absent.contains("org/other: is no folder and not in the hub's cache"), "{absent}");
        assert!(absent.contains("`hf download org/other`"), "{absent}");
        let absent = cache.find("org/name", Some("v2")).unwrap_err().to_string();
        assert!(absent.contains(&format!("not its revision v2; there is {COMMIT}; get it once with")), "{absent}");
    }

    #[test]
    fn names_that_are_paths_and_refs_that_are_no_commit_are_refused() {
        let (dir, cache) = cache();
        for name in ["../x", "a/b/c", "/etc", "a//b", "", "a/..", ".hidden", "a\\b"] {
            assert!(cache.find(name, None).unwrap_err().to_string().contains("no name on the hub"), "{name}");
        }
        assert!(cache.find("org/name", Some("../../x")).is_err());
        std::fs::write(dir.path().join("models--org--name/refs/main"), "../../../../etc").unwrap();
        assert!(cache.find("org/name", None).unwrap_err().to_string().contains("which is no commit"));
    }

    #[test]
    fn the_variables_of_the_hubs_library_choose_the_cache() {
        let with = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value));
            HubCache::from_variables(&find).map(|cache| cache.root)
        };
        assert_eq!(with(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), Some(PathBuf::from("/c")));
        assert_eq!(with(&[("HF_HOME", "/h"), ("HOME", "/u")]), Some(PathBuf::from("/h/hub")));
        assert_eq!(with(&[("HOME", "/u")]), Some(PathBuf::from("/u/.cache/huggingface/hub")));
        assert_eq!(with(&[]), None);
    }
}
