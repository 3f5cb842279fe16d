//! Models by name: from the hub's local cache, else downloaded into it, in the hub library's own layout.
//!
//! Nothing is asked of the network for what is a file or in the cache, nor where `HF_HUB_OFFLINE` is set.

mod blob;
mod client;
mod download;
mod partial;
mod progress;
mod store;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use attlas_model::hub::{HubCache, find_model, is_part, is_repository, is_revision};
use serde_json::Value;

use self::client::{Client, Settings};
use self::download::{Content, Download};
use self::store::Store;
use crate::failure::Failure;

/// The hub that is asked where `HF_ENDPOINT` names no other.
const ENDPOINT: &str = "https://huggingface.co";

/// How long a download may stand still, where the variable does not say.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_VARIABLE: &str = "HF_HUB_DOWNLOAD_TIMEOUT";

/// The longest file that can hold a token.
const MAX_TOKEN_BYTES: u64 = 4096;

/// The largest index of shards that is read.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Files besides the weights that a model may need; what a repository does not have is passed over.
const SMALL_FILES: [&str; 18] = [
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
    "processor_config.json",
    "sentence_bert_config.json",
];

/// The model that a name means: a folder or a file, else a repository in the hub's cache, else one on the hub.
///
/// # Errors
/// A name that is none of these; the message says how to get the model.
pub fn model_path(name: &str, revision: Option<&str>, allow_http: bool) -> Result<PathBuf, Failure> {
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
    download(&cache, name, revision, allow_http)
        .map_err(|problem| Failure::Input(format!("{absent}; it could not be downloaded: {problem}")))
}

/// Whether connections are forbidden, as the hub's library reads it.
fn is_offline() -> bool {
    let value = env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    ["1", "ON", "YES", "TRUE"].contains(&value.as_str())
}

/// Downloads what is needed of `repository` at `revision`; gives the folder, or says in a clause why not.
fn download(cache: &HubCache, repository: &str, revision: &str, allow_http: bool) -> Result<PathBuf, String> {
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
    let token = match variable("HF_TOKEN") {
        Some(token) => Some(token.trim().to_owned()),
        None => stored_token(cache),
    };
    let client = Client::new(Settings { endpoint: &endpoint, token, allow_http, patience: patience()? })?;
    let mut hub = Download::begin(client, Store::at(cache, repository), repository, revision)?;
    if !hub.has("config.json") {
        return Err("it has no config.json, so it is no Transformer's repository".to_owned());
    }
    for name in SMALL_FILES {
        if hub.has(name) {
            hub.get(name, Content::Small)?;
        }
    }
    download_weights(&mut hub)?;
    // last, so that a folder with it is a whole one
    hub.get("config.json", Content::Small)?;
    hub.finish()
}

/// Downloads the weights, whole or in shards.
fn download_weights(hub: &mut Download) -> Result<(), String> {
    if let Some(whole) = ["model.safetensors", "pytorch_model.bin"].into_iter().find(|name| hub.has(name)) {
        return hub.get(whole, Content::Weights).map(drop);
    }
    let indices = ["model.safetensors.index.json", "pytorch_model.bin.index.json"];
    let index = indices.into_iter().find(|name| hub.has(name));
    let index = index.ok_or("it has neither model.safetensors nor pytorch_model.bin, whole or in shards")?;
    for shard in shards(&hub.get(index, Content::Small)?)? {
        hub.get(&shard, Content::Weights)?;
    }
    Ok(())
}

/// What the hub's own command stored beside the cache to say who asks.
fn stored_token(cache: &HubCache) -> Option<String> {
    let path = cache.root().parent()?.join("token");
    let bytes = attlas::regular_file::read(&path, MAX_TOKEN_BYTES).ok()?;
    let token = String::from_utf8(bytes).ok()?.trim().to_owned();
    (!token.is_empty()).then_some(token)
}

/// How long a download may stand still.
fn patience() -> Result<Duration, String> {
    let Some(text) = variable(PATIENCE_VARIABLE) else {
        return Ok(PATIENCE);
    };
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("{PATIENCE_VARIABLE} is {text:?}; a number of seconds from 1 to 86400 was expected")),
    }
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
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
