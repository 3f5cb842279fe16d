//! How often each token occurs in a file of text.

use std::path::Path;

use attlas::Tokens;
use attlas_model::{Model, Side};
use attlas_survey::Error;
use attlas_survey::corpus::{CorpusFile, TextNames};

use crate::failure::Failure;

/// Counts the tokens of a file's texts, which are found as those of a surveyed corpus are: by the ending of its name, in the field or
/// column `text`. Of a pair both sides count. Shape `[vocabulary]`, by id.
///
/// # Errors
/// When the file cannot be read, has no text, or one that is none.
pub fn of_file(model: &Model, path: &Path) -> Result<Vec<u64>, Failure> {
    let file = CorpusFile::find(path, None)?;
    let names = TextNames { field: "text".to_owned(), column: "text".to_owned() };
    let mut texts = file.texts(&names).map_err(without_option)?;
    let mut counts = Vec::new();
    while let Some(item) = texts.next_item().map_err(without_option)? {
        let problem = |problem: String| {
            let place = item.number.map_or(String::new(), |number| format!("{} {number} ", file.format.unit()));
            Failure::Input(format!("{}: {place}{problem}", path.display()))
        };
        let text = item.text.map_err(problem)?;
        for text in [Some(text.source), text.target].into_iter().flatten() {
            let tokens =
                if model.has(Side::Source) { model.source_tokens(&text)? } else { model.target_tokens(&text)? };
            add(&mut counts, &tokens);
        }
    }
    match counts.is_empty() {
        true => Err(Failure::Input(format!("{} has no text whose tokens could be counted", path.display()))),
        false => Ok(counts),
    }
}

/// An error of the file, without the options that say of a corpus where its texts are.
fn without_option(error: Error) -> Failure {
    match error {
        Error::NoField { .. } | Error::NoColumn { .. } => {
            Failure::Input(format!("{error}; tokens are counted in the field or column text"))
        }
        error => error.into(),
    }
}

/// Counts the text tokens of one text.
fn add(counts: &mut Vec<u64>, tokens: &Tokens) {
    for id in tokens.tokens.iter().filter(|token| token.is_text()).filter_map(|token| token.id) {
        let id = id as usize;
        counts.resize(counts.len().max(id + 1), 0);
        counts[id] += 1;
    }
}
