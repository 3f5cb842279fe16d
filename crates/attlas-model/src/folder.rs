//! What a model folder holds, looked at once before anything is loaded: a model or an adapter, how its weights are named
//! and packed, how its images and sounds are prepared; what the model is called, and which revision it is.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::block::pass::hex;
use crate::config::file::ConfigFile;
use crate::weights::adapter::{self, Adapter};
use crate::weights::quantised::Packing;
use crate::weights::{Checkpoint, read_small_file};

/// A folder that holds a model.
pub(crate) struct Folder {
    path: PathBuf,
    /// config.json.
    pub config: ConfigFile,
    /// generation_config.json, where there is one.
    pub generation: Option<ConfigFile>,
    /// The weights, under the names that the model gave them, unpacked.
    pub checkpoint: Checkpoint,
    /// What a reader must know of them.
    pub notes: Vec<String>,
}

impl Folder {
    /// Looks at a folder.
    ///
    /// # Errors
    /// When it holds no model; what it holds instead is named.
    pub fn open(path: &Path) -> Result<Folder, Error> {
        let config_path = path.join("config.json");
        let has_adapter = adapter::is_adapter(path);
        if !config_path.exists() {
            return Err(if has_adapter {
                Error::Adapter { path: path.to_owned(), about: Adapter::open(path)?.in_words() }
            } else {
                Error::file(path, "is no model: there is no config.json in it")
            });
        }
        let config = ConfigFile::open(&config_path)?;
        let generation_path = path.join("generation_config.json");
        let packing = Packing::of(&config)?;
        let checkpoint = match Checkpoint::open(path) {
            Ok(checkpoint) => checkpoint.unwrapped(),
            // a configuration beside an adapter is that of its base
            Err(Error::File { .. }) if has_adapter => {
                return Err(Error::Adapter { path: path.to_owned(), about: Adapter::open(path)?.in_words() });
            }
            Err(error) => return Err(error),
        };
        if let Some(error) = adapter::unmerged(&checkpoint) {
            return Err(error);
        }
        let (checkpoint, note) = match packing {
            Some(packing) => packing.unpack(checkpoint)?,
            None => (checkpoint, None),
        };
        let generation = generation_path.exists().then(|| ConfigFile::open(&generation_path)).transpose()?;
        let beside = "there is a LoRA adapter beside the weights, too, which was not added to them";
        let notes = note.into_iter().chain(has_adapter.then(|| beside.to_owned())).collect();
        Ok(Folder { path: path.to_owned(), config, generation, checkpoint, notes })
    }

    /// How images or sounds are prepared: preprocessor_config.json, or the part of processor_config.json that
    /// transformers 5 writes in its place.
    ///
    /// # Errors
    /// When one of the two is no JSON object.
    pub fn preprocessor(&self) -> Result<Option<ConfigFile>, Error> {
        let own = self.path.join("preprocessor_config.json");
        if own.exists() {
            return ConfigFile::open(&own).map(Some);
        }
        let joint = self.path.join("processor_config.json");
        if !joint.exists() {
            return Ok(None);
        }
        let joint = ConfigFile::open(&joint)?;
        Ok(joint.section("image_processor")?.or(joint.section("feature_extractor")?))
    }
}

/// Weights files up to this size are hashed for the provenance; it takes a tenth of a second or so.
const MAX_HASHED_BYTES: u64 = 64 << 20;

/// The name of a folder; in the hub's cache, the repository's name. One that says nothing, such as `model`, gives way to the
/// name that the configuration says, else it has its parent's before it.
pub(crate) fn name_of(folder: &Path, configured: Option<&str>) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let part = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some((repository, _)) = hub_place(&full) {
        return repository;
    }
    let Some(name) = part(&full) else { return folder.display().to_string() };
    if !says_nothing(&name) {
        return name;
    }
    configured.and_then(configured_name).unwrap_or_else(|| match full.parent().and_then(part) {
        Some(parent) => format!("{parent}/{name}"),
        None => name,
    })
}

/// Names that many folders of models have.
fn says_nothing(name: &str) -> bool {
    const PLAIN: [&str; 12] = [
        "",
        ".",
        "..",
        "model",
        "models",
        "checkpoint",
        "final",
        "best",
        "output",
        "outputs",
        "merged",
        "pytorch_model",
    ];
    let name = name.to_ascii_lowercase();
    PLAIN.contains(&name.as_str()) || name.strip_prefix("checkpoint-").is_some_and(|n| n.parse::<u64>().is_ok())
}

/// The name in a configuration's `_name_or_path`: `ORG/NAME`, or the last part of a path; `None` where it says nothing.
fn configured_name(path: &str) -> Option<String> {
    const LONGEST: usize = 96;
    let parts: Vec<&str> = path.split(['/', '\\']).collect();
    let name = match parts.as_slice() {
        [org, name] if !org.is_empty() && !says_nothing(org) && !says_nothing(name) => format!("{org}/{name}"),
        parts => (*parts.iter().rfind(|part| !part.is_empty())?).to_owned(),
    };
    (!says_nothing(&name) && name.len() <= LONGEST).then_some(name)
}

/// Repository and revision of a folder inside the hub's cache: `models--ORG--NAME/snapshots/REVISION`.
fn hub_place(folder: &Path) -> Option<(String, String)> {
    let revision = folder.file_name()?.to_str()?;
    let snapshots = folder.parent()?;
    let repository = snapshots.parent()?.file_name()?.to_str()?;
    if snapshots.file_name()? != "snapshots" {
        return None;
    }
    Some((repository.strip_prefix("models--")?.replace("--", "/"), revision.to_owned()))
}

/// The hub's revision; else the SHA-256 of a weights file that is small enough to hash; else nothing.
pub(crate) fn revision(folder: &Path, checkpoint: &Checkpoint) -> String {
    let full = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if let Some((_, revision)) = hub_place(&full) {
        return revision;
    }
    match read_small_file(checkpoint.path(), MAX_HASHED_BYTES) {
        Ok(bytes) => format!("sha256:{}", hex(&Sha256::digest(bytes))),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_whose_name_says_nothing_is_named_by_its_configuration_or_with_its_parent() {
        let name = |folder: &str, configured| name_of(Path::new(folder), configured);
        assert_eq!(name("/none/my-bert", Some("google/bert")), "my-bert");
        assert_eq!(name("/none/sentiment/model", None), "sentiment/model");
        assert_eq!(name("/none/sentiment/checkpoint-500", Some("./model")), "sentiment/checkpoint-500");
        assert_eq!(name("/none/model", Some("openai/whisper-tiny")), "openai/whisper-tiny");
        assert_eq!(name("/none/model", Some("/home/somebody/runs/tiny-gpt/")), "tiny-gpt");
        assert_eq!(name("/none/models--org--small/snapshots/abc", Some("other")), "org/small");
    }
}
