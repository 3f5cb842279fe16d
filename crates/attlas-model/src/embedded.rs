//! The model that is built into the programme: a small English–French translator (`embedded/README.md` is its card).

use std::path::Path;

use crate::Error;
use crate::config::file::ConfigFile;
use crate::known_words::KnownWords;
use crate::model::{Model, Training};
use crate::tokenizer::Tokenizer;
use crate::weights::Checkpoint;

const CONFIG: &[u8] = include_bytes!("../embedded/config.json");
const WEIGHTS: &[u8] = include_bytes!("../embedded/model.safetensors");
/// Made of `embedded/tokenizer.json`, which a test compares.
const TOKENIZER: &[u8] = include_bytes!("../embedded/tokenizer.table");
/// The words of its training targets: `cargo run --example target_words -- train.tsv …/target_words.filter`.
const WORDS: &[u8] = include_bytes!("../embedded/target_words.filter");
/// SHA-256 of [`WEIGHTS`], which a test compares.
const DIGEST: &str = "84f3933cf8daa0996dd1e54a5de65283086b55fbc64bf404a33fe6dcf6976f07";

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
        let (weights, tokenizer) =
            rayon::join(|| Model::from_parts(&config, None, &checkpoint), || Tokenizer::from_table(TOKENIZER));
        let mut model = weights?;
        model.set_tokenizer(Some(tokenizer?));
        let words = KnownWords::read(Path::new("embedded/target_words.filter"), WORDS.into())?;
        Ok(model.described(NAME, format!("sha256:{DIGEST}"), TRAINING, words))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::block::pass::hex;

    #[test]
    fn the_digest_is_that_of_the_weights() {
        assert_eq!(hex(&Sha256::digest(WEIGHTS)), DIGEST);
    }
}
