//! The tags that stand before a transcript, as generation_config.json gives them (Whisper).

use serde_json::Value;

use crate::Error;
use crate::config::SpecialIds;
use crate::config::file::ConfigFile;

/// Reads which tags follow the start token: the language, given or to be heard, the task, and that no times are wanted.
pub(crate) fn read(ids: &mut SpecialIds, config: &ConfigFile, n_tokens: usize) -> Result<(), Error> {
    let languages = config.section("lang_to_id")?;
    // 1. the older way: a list of places and ids, where the language may be left open
    let mut tags = forced(config, n_tokens)?;
    if tags.is_empty() && languages.is_some() {
        tags.push(None);
    }
    // 2. the newer way: a language and a task by their names
    let language = match (config.text("language")?, &languages) {
        (Some(name), Some(languages)) => {
            languages.id(name, n_tokens)?.or(languages.id(&format!("<|{name}|>"), n_tokens)?)
        }
        _ => None,
    };
    if let (Some(language), Some(first)) = (language, tags.first_mut()) {
        *first = Some(language);
    }
    let tasks = config.section("task_to_id")?;
    let task = config.text("task")?.or(language.map(|_| "transcribe"));
    if let (Some(tasks), Some(task)) = (tasks, task)
        && let Some(task) = tasks.id(task, n_tokens)?
    {
        let known = tasks.all_ids(n_tokens)?;
        tags.retain(|tag| tag.is_none_or(|tag| !known.contains(&tag)));
        tags.push(Some(task));
    }
    // 3. no times
    if let Some(no_times) = config.id("no_timestamps_token_id", n_tokens)?
        && tags.last() != Some(&Some(no_times))
    {
        tags.push(Some(no_times));
    }
    if let (Some(None), Some(languages)) = (tags.first(), languages) {
        ids.languages = languages.all_ids(n_tokens)?;
    }
    ids.prompt = tags.into_iter().flatten().collect();
    Ok(())
}

/// The tags of `forced_decoder_ids`, `[[1, null], [2, 50359]]`; `None` stands for what is left open.
fn forced(config: &ConfigFile, n_tokens: usize) -> Result<Vec<Option<u32>>, Error> {
    let Some(value) = config.get("forced_decoder_ids") else { return Ok(Vec::new()) };
    let wrong = || config.error("forced_decoder_ids", format!("is {value}, but must be [[1, id], [2, id], …]"));
    let pairs = value.as_array().ok_or_else(wrong)?;
    let tag = |(place, pair): (usize, &Value)| match pair.as_array().map(Vec::as_slice) {
        Some([at, id]) if at.as_u64() == Some(place as u64 + 1) => match id.as_u64() {
            None if id.is_null() => Ok(None),
            Some(id) if id < n_tokens as u64 => Ok(Some(id as u32)),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    };
    pairs.iter().enumerate().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(json: &str) -> Result<(Vec<u32>, Vec<u32>), String> {
        let config = ConfigFile::parse("generation_config.json".as_ref(), json.as_bytes()).expect("JSON");
        let mut ids = SpecialIds::default();
        read(&mut ids, &config, 48).map_err(|error| error.to_string())?;
        Ok((ids.languages, ids.prompt))
    }

    #[test]
    fn tags_are_forced_named_or_left_to_the_model() {
        const KNOWN: &str = r#""lang_to_id": {"<|de|>": 5, "<|en|>": 6}, "task_to_id": {"transcribe": 8, "translate": 9},
            "no_timestamps_token_id": 10"#;
        let with = |more: &str| tags(&format!("{{{KNOWN}{more}}}"));
        assert_eq!(with(""), Ok((vec![5, 6], vec![10])));
        assert_eq!(with(r#", "forced_decoder_ids": [[1, null], [2, 8]]"#), Ok((vec![5, 6], vec![8, 10])));
        assert_eq!(with(r#", "forced_decoder_ids": [[1, 6], [2, 8], [3, 10]]"#), Ok((vec![], vec![6, 8, 10])));
        assert_eq!(with(r#", "language": "de""#), Ok((vec![], vec![5, 8, 10])));
        assert_eq!(with(r#", "language": "<|en|>", "task": "translate""#), Ok((vec![], vec![6, 9, 10])));
        let both = r#", "forced_decoder_ids": [[1, null], [2, 8]], "task": "translate""#;
        assert_eq!(with(both), Ok((vec![5, 6], vec![9, 10])));
        assert_eq!(tags(r#"{"forced_decoder_ids": [[1, 10]], "no_timestamps_token_id": 10}"#), Ok((vec![], vec![10])));
        assert_eq!(tags("{}"), Ok((vec![], vec![])));
    }

    #[test]
    fn tags_that_cannot_be_are_refused_by_name() {
        for forced in ["[[2, 5]]", "[[1, 48]]", "[[1, -1]]", "[1]", "7", "[[1, 5, 6]]"] {
            let message = tags(&format!(r#"{{"forced_decoder_ids": {forced}}}"#)).expect_err("a refusal");
            assert!(message.contains("forced_decoder_ids is"), "{message}");
        }
    }
}
