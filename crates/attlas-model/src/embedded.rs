//! The model that is built into the programme: a small English–French translator (`embedded/README.md` is its card).

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::Error;
use crate::block::pass::hex;
use crate::config::file::ConfigFile;
use crate::model::{Model, Training};
use crate::tokenizer::Tokenizer;
use crate::weights::Checkpoint;

const CONFIG: &[u8] = include_bytes!("../embedded/config.json");
const WEIGHTS: &[u8] = include_bytes!("../embedded/model.safetensors");
const TOKENIZER: &[u8] = include_bytes!("../embedded/tokenizer.json");

/// Its name in recordings and messages.
const NAME: &str = "the embedded English–French translator";

/// 99.9 % of the sentences it was trained on are no longer.
const TRAINING: Training = Training { longest_source: 32, language: "English" };

impl Model {
    /// The model that is built into the programme, an English–French translator.
    ///
    /// # Errors
    /// None that a user could cause: the files are checked when the programme is built and tested.
    pub fn embedded() -> Result<Model, Error> {
        let config = ConfigFile::parse(Path::new("embedded/config.json"), CONFIG)?;
        let checkpoint = Checkpoint::from_static(Path::new("embedded/model.safetensors"), WEIGHTS)?;
        let ((weights, tokenizer), digest) = rayon::join(
            || rayon::join(|| Model::from_parts(&config, None, &checkpoint), || Tokenizer::from_json(TOKENIZER)),
            || Sha256::digest(WEIGHTS),
        );
        let mut model = weights?;
        model.set_tokenizer(Some(tokenizer?));
        Ok(model.described(NAME, format!("sha256:{}", hex(&digest)), TRAINING))
    }
}
