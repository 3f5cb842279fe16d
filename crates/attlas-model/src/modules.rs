//! Folders of sentence-transformers: modules.json says in which folder the Transformer lies, and sentence_bert_config.json
//! there, how much of a text it reads.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::config::file::ConfigFile;
use crate::weights::{parse_json, read_small_file};

/// The largest modules.json.
const MAX_BYTES: u64 = 1 << 20;

/// The folder with the Transformer: the one that modules.json names, or the folder itself where there is none.
///
/// # Errors
/// A modules.json that is no list of modules, or whose Transformer lies outside the folder.
pub(crate) fn transformer_of(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("modules.json");
    if !path.exists() {
        return Ok(folder.to_owned());
    }
    let modules: Value = parse_json(&path, &read_small_file(&path, MAX_BYTES)?, "is not JSON")?;
    let Some(modules) = modules.as_array() else {
        return Err(Error::file(&path, "is no list of modules"));
    };
    let text = |module: &Value, field: &str| module.get(field).and_then(Value::as_str).unwrap_or("").to_owned();
    // `sentence_transformers.models.Transformer`, or a class that comes with the weights
    let is_transformer = |module: &&Value| text(module, "type").ends_with("Transformer");
    let Some(module) = modules.iter().find(is_transformer) else {
        if folder.join("config.json").exists() {
            return Ok(folder.to_owned());
        }
        let types: Vec<String> = modules.iter().map(|module| crate::error::brief(text(module, "type"))).collect();
        return Err(Error::file(&path, format!("names no Transformer among its modules ({})", types.join(", "))));
    };
    let place = text(module, "path");
    let is_inside = Path::new(&place).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    match is_inside {
        true => Ok(folder.join(place)),
        false => {
            let place = crate::error::brief(&place);
            Err(Error::config(&path, "path", format!("is \"{place}\", which is no folder inside this one")))
        }
    }
}

/// What sentence-transformers does to a text before the Transformer reads it, as far as attlas does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sentences {
    /// The tokens that are read, those that the tokenizer adds among them; the others are cut off.
    pub most_tokens: Option<usize>,
    /// Whether letters are made small.
    pub lower_case: bool,
}

impl Sentences {
    /// From the sentence_bert_config.json of the Transformer's folder; nothing where there is none.
    ///
    /// # Errors
    /// When the file is no JSON object, or a value in it is none.
    pub fn read(folder: &Path) -> Result<Sentences, Error> {
        let path = folder.join("sentence_bert_config.json");
        if !path.exists() {
            return Ok(Sentences::default());
        }
        let config = ConfigFile::open(&path)?;
        Ok(Sentences {
            most_tokens: config.size_or_none("max_seq_length")?,
            lower_case: config.flag_or("do_lower_case", false)?,
        })
    }

    /// What a reader must know of texts of which the longest has `longest` tokens.
    pub fn notes(self, longest: usize) -> impl Iterator<Item = String> {
        let cut = self.most_tokens.filter(|most| longest > *most).map(|most| {
            format!("a text has {longest} tokens, all of which were read; sentence-transformers cuts it to {most} (max_seq_length)")
        });
        let lower = self.lower_case.then(|| {
            "sentence-transformers makes letters small before the tokenizer reads them (do_lower_case); here they were left".to_owned()
        });
        cut.into_iter().chain(lower)
    }
}
