//! What a model folder holds, looked at once before anything is loaded: a model or an adapter, how its weights are named
//! and packed, how its images and sounds are prepared.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::file::ConfigFile;
use crate::weights::Checkpoint;
use crate::weights::adapter::{self, Adapter};
use crate::weights::quantised::Packing;

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
