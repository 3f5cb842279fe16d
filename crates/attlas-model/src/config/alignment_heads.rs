//! Heads of cross-attention that are known to align, as configurations name them.

use attlas::{HeadId, Kind};

use super::Architecture;
use super::file::ConfigFile;
use crate::Error;

/// The heads that the field `alignment_heads` names, `[[layer, head], …]`, in its order: of generation_config.json, as Whisper has
/// them, or else of config.json. What is no head of this model is passed over, because smaller models are found with the
/// heads of a larger one.
pub fn alignment_heads(
    architecture: &Architecture,
    config: &ConfigFile,
    generation: Option<&ConfigFile>,
) -> Vec<HeadId> {
    let layers = architecture.attention(Kind::Cross);
    let number = |value: &serde_json::Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let head = |pair: &serde_json::Value| {
        let [layer, head] = pair.as_array()?.as_slice() else { return None };
        Some(HeadId { layer: number(layer)?, head: number(head)? })
    };
    let exists =
        |id: &HeadId| layers.iter().any(|(layer, attention)| id.layer == *layer && id.head < attention.n_heads);
    let named = generation.and_then(|generation| generation.get("alignment_heads"));
    let named = named.or_else(|| config.get("alignment_heads")).and_then(|value| value.as_array());
    named.into_iter().flatten().filter_map(head).filter(exists).collect()
}

/// Over how many frames a median is taken before words get their times, where config.json says it (Whisper).
///
/// # Errors
/// When the number is even, which has no frame in its middle.
pub fn median_width(config: &ConfigFile) -> Result<Option<usize>, Error> {
    match config.size_or_none("median_filter_width")? {
        Some(width) if width.is_multiple_of(2) => {
            Err(config.error("median_filter_width", format!("is {width}, but must be odd")))
        }
        width => Ok(width),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Model;

    #[test]
    fn heads_are_read_from_either_file_and_those_that_do_not_exist_are_passed_over() {
        let model = Model::embedded().expect("it is built in");
        let architecture = &model.transformer().architecture;
        let file = |json: &str| ConfigFile::parse(Path::new("config.json"), json.as_bytes()).expect("it is JSON");
        let named = file(r#"{"alignment_heads": [[2, 4], [9, 0], [1, 8], [1], "L1H2", [-1, 0], [0, 3]]}"#);
        let read = |config: &ConfigFile, generation| alignment_heads(architecture, config, generation);
        let expected = [HeadId { layer: 2, head: 4 }, HeadId { layer: 0, head: 3 }];
        assert_eq!(read(&named, None), expected);
        assert_eq!(read(&file("{}"), Some(&named)), expected);
        assert_eq!(read(&file(r#"{"alignment_heads": null}"#), None), []);
    }
}
