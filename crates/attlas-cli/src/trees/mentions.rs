//! A file of mentions: one JSON object a line, with a text, a mention, its antecedent and a distractor.

use std::ops::Range;
use std::path::Path;

use attlas::analysis::coreference::CoreferenceCase;
use serde::Deserialize;

use crate::failure::Failure;
use crate::inputs::read_lines;

/// A text with one case.
pub struct TextWithMention {
    /// What to call it in messages.
    pub name: String,
    pub text: String,
    pub case: CoreferenceCase,
}

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    text: String,
    mention: Place,
    antecedent: Place,
    distractor: Place,
}

/// A part of the text: the words, `it#2` for their second occurrence, or from which character to which.
#[derive(Deserialize)]
#[serde(untagged)]
enum Place {
    Words(String),
    Characters([usize; 2]),
}

/// Reads the file.
///
/// # Errors
/// When a line is no such object, or a place is not in its text or there more than once; the message names file and line.
pub fn read(path: &Path) -> Result<Vec<TextWithMention>, Failure> {
    let (lines, _) = read_lines(path)?;
    lines.iter().enumerate().map(|(index, line)| text(path, index + 1, line)).collect()
}

fn text(path: &Path, line: usize, json: &str) -> Result<TextWithMention, Failure> {
    let name = format!("{}, text {line}", path.display());
    let problem = |what: String| Failure::Input(format!("{name}: {what}"));
    let Line { text, mention, antecedent, distractor } = serde_json::from_str(json).map_err(|error| {
        problem(format!(
            "is no object such as {{\"text\": \"The cat saw a dog and it ran.\", \"mention\": \"it\", \"antecedent\": \"cat\", \
             \"distractor\": \"dog\"}}: {error}"
        ))
    })?;
    let case = CoreferenceCase {
        mention: span(&text, "mention", &mention).map_err(problem)?,
        antecedent: span(&text, "antecedent", &antecedent).map_err(problem)?,
        distractor: span(&text, "distractor", &distractor).map_err(problem)?,
    };
    Ok(TextWithMention { name, text, case })
}

/// The bytes of a place in a text.
fn span(text: &str, field: &str, place: &Place) -> Result<Range<usize>, String> {
    match place {
        Place::Words(words) => span_of_words(text, field, words),
        Place::Characters([start, end]) => {
            let n = text.chars().count();
            let byte = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte);
            match start < end && *end <= n {
                true => Ok(byte(*start)..byte(*end)),
                false => Err(format!("{field} is [{start}, {end}], but the text has characters 0 to {n}")),
            }
        }
    }
}

/// The bytes of words that are written out; whole words count alone.
fn span_of_words(text: &str, field: &str, asked: &str) -> Result<Range<usize>, String> {
    let is_letter = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
    let places = |words: &str| -> Vec<Range<usize>> {
        let whole = |(start, words): (usize, &str)| {
            let end = start + words.len();
            let is_whole = !is_letter(text[..start].chars().next_back()) && !is_letter(text[end..].chars().next());
            is_whole.then_some(start..end)
        };
        if words.is_empty() { Vec::new() } else { text.match_indices(words).filter_map(whole).collect() }
    };
    match places(asked).as_slice() {
        [place] => return Ok(place.clone()),
        [_, _, ..] => {
            return Err(format!("{field} \"{asked}\" stands in the text more than once; {asked}#2 is the second"));
        }
        [] => {}
    }
    let numbered = asked.rsplit_once('#').and_then(|(words, number)| Some((words, number.parse::<usize>().ok()?)));
    let place = numbered.and_then(|(words, number)| places(words).get(number.checked_sub(1)?).cloned());
    place.ok_or_else(|| format!("{field} \"{asked}\" does not stand in the text as a word"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<[String; 3], String> {
        let TextWithMention { text, case, .. } =
            text(Path::new("a.jsonl"), 1, json).map_err(|error| error.to_string())?;
        Ok([case.mention, case.antecedent, case.distractor].map(|span| text[span].to_owned()))
    }

    #[test]
    fn places_are_words_their_second_occurrence_or_characters() {
        let line =
            r#"{"text": "L'été, it is it.", "mention": "it#2", "antecedent": [2, 5], "distractor": "is", "more": 1}"#;
        assert_eq!(read(line), Ok(["it", "été", "is"].map(str::to_owned)));
    }

    #[test]
    fn a_place_that_is_not_in_the_text_is_refused_by_field() {
        let problem = |mention: &str| {
            let line = format!(
                r#"{{"text": "it sits, it ran", "mention": {mention}, "antecedent": "it#1", "distractor": "ran"}}"#
            );
            read(&line).unwrap_err().replace("a.jsonl, text 1: mention ", "")
        };
        assert_eq!(problem("\"it\""), "\"it\" stands in the text more than once; it#2 is the second");
        assert_eq!(problem("\"sit\""), "\"sit\" does not stand in the text as a word");
        assert_eq!(problem("\"it#3\""), "\"it#3\" does not stand in the text as a word");
        assert_eq!(problem("\"\""), "\"\" does not stand in the text as a word");
        assert_eq!(problem("[3, 16]"), "is [3, 16], but the text has characters 0 to 15");
        assert!(problem("7").contains("is no object such as {\"text\""));
    }
}
