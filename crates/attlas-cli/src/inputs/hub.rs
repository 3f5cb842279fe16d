//! Models by name: from the hub's local cache, else downloaded into it with the hub's own library.
//!
//! Nothing is asked of the network for what is a file or in the cache, nor where `HF_HUB_OFFLINE` is set.

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attlas_model::hub::{HubCache, find_model, is_part, is_repository, is_revision};
use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;

use crate::failure::Failure;

/// How long the hub may take to say what a repository holds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest index of shards that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Files besides the weights that a model may need; what a repository does not have is passed over.
const SMALL_FILES: [&str; 16] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "spm.model",
    "source.spm",
    "target.spm",
    "preprocessor_config.json",
];

/// The model that a name means: a folder or a file, else a repository in the hub's cache, else one on the hub.
///
/// # Errors
/// A name that is none of these; the message says how to get the model.
pub fn model_path(name: &str, revision: Option<&str>) -> Result<PathBuf, Failure> {
    let absent = match find_model(name, revision) {
        Ok(path) => return Ok(path),
        Err(absent) => absent,
    };
    let revision = revision.unwrap_or("main");
    let cache = HubCache::from_environment().filter(|_| !is_offline());
    // what is no name is never sent anywhere
    let Some(cache) = cache.filter(|_| is_repository(name) && is_revision(revision)) else {
        return Err(absent.into());
    };
    download(&cache, name, revision)
        .map_err(|problem| Failure::Input(format!("{absent}; it could not be downloaded: {problem}")))
}

/// Whether connections are forbidden, as the hub's library reads it.
fn is_offline() -> bool {
    let value = env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
}

/// Downloads what is needed of `repository` at `revision`; gives the folder, or says in a clause why not.
fn download(cache: &HubCache, repository: &str, revision: &str) -> Result<PathBuf, String> {
    let cache = Cache::new(cache.root().to_owned());
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let token = variable("HF_TOKEN").or_else(|| cache.token());
    let mut builder = ApiBuilder::from_cache(cache).with_token(token).with_progress(std::io::stderr().is_terminal());
    if let Some(endpoint) = variable("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let api = builder.with_user_agent("attlas", env!("CARGO_PKG_VERSION")).build().map_err(|error| reason(&error))?;
    let repo = api.repo(Repo::with_revision(repository.to_owned(), RepoType::Model, revision.to_owned()));
    let there: Vec<String> = info(&repo)?.siblings.into_iter().map(|file| file.rfilename).collect();
    let has = |name: &str| there.iter().any(|file| file == name);
    if !has("config.json") {
        return Err("it has no config.json, so it is no Transformer's repository".to_owned());
    }
    for name in SMALL_FILES.into_iter().filter(|name| has(name)) {
        get(&repo, name)?;
    }
    match ["model.safetensors", "pytorch_model.bin"].into_iter().find(|name| has(name)) {
        Some(whole) => {
            get(&repo, whole)?;
        }
        None => {
            let indices = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];
            let index = indices.into_iter().find(|name| has(name));
            let index = index.ok_or("it has neither model.safetensors nor pytorch_model.bin, whole or in shards")?;
            for shard in shards(&get(&repo, index)?)? {
                get(&repo, &shard)?;
            }
        }
    }
    // last, so that a folder with it is a whole one
    let config = get(&repo, "config.json")?;
    config.parent().map(Path::to_path_buf).ok_or_else(|| format!("{} lies in no folder", config.display()))
}

/// What the repository holds.
fn info(repo: &ApiRepo) -> Result<RepoInfo, String> {
    let request = repo.info_request().config().timeout_global(Some(TIMEOUT)).build();
    let mut response = request.call().map_err(|error| refusal(&error))?;
    response.body_mut().read_json().map_err(|error| format!("the hub's answer is no description of it: {error}"))
}

fn get(repo: &ApiRepo, file: &str) -> Result<PathBuf, String> {
    repo.get(file).map_err(|error| format!("{file}: {}", reason(&error)))
}

/// The files that an index of shards names, each once.
fn shards(index: &Path) -> Result<Vec<String>, String> {
    let problem = |what: String| format!("{}: {what}", index.display());
    let size = std::fs::metadata(index).map_err(|error| problem(error.to_string()))?.len();
    if size > MAX_INDEX_BYTES {
        return Err(problem(format!("has {size} bytes; an index has {MAX_INDEX_BYTES} at most")));
    }
    let bytes = std::fs::read(index).map_err(|error| problem(error.to_string()))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| problem(error.to_string()))?;
    let map = json["weight_map"].as_object().ok_or_else(|| problem("has no weight_map".to_owned()))?;
    let mut names: Vec<String> = map.values().filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| !is_part(name)) {
        Some(name) => Err(problem(format!("names a shard {name:?}, which is no file's name"))),
        None => Ok(names),
    }
}

/// Why a download failed, in a clause.
fn reason(error: &ApiError) -> String {
    match error {
        ApiError::RequestError(error) => refusal(error),
        ApiError::TooManyRetries(error) => reason(error),
        other => other.to_string(),
    }
}

/// Why a request failed, in a clause.
fn refusal(error: &ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(401 | 403) => {
            "the hub refuses it; a gated or private model needs HF_TOKEN, a name may be mistyped".to_owned()
        }
        ureq::Error::StatusCode(404) => "the hub has no such repository, revision or file".to_owned(),
        ureq::Error::StatusCode(code) => format!("the hub answers with status {code}"),
        other => other.to_string(),
    }
}
