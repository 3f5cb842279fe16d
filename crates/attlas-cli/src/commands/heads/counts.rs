//! How often each token occurs in a file of text.

use std::path::Path;

use attlas::Tokens;
use attlas_model::{Model, Side};

use crate::failure::Failure;
use crate::inputs::read_lines;

/// Counts the tokens of a file's lines. Shape `[vocabulary]`, by id.
pub fn of_file(model: &Model, path: &Path) -> Result<Vec<u64>, Failure> {
    let (lines, _) = read_lines(path)?;
    let mut counts = Vec::new();
    for line in &lines {
        let tokens = if model.has(Side::Source) { model.source_tokens(line)? } else { model.target_tokens(line)? };
        add(&mut counts, &tokens);
    }
    Ok(counts)
}

/// Counts the text tokens of one text.
pub fn add(counts: &mut Vec<u64>, tokens: &Tokens) {
    for id in tokens.tokens.iter().filter(|token| token.is_text()).filter_map(|token| token.id) {
        let id = id as usize;
        counts.resize(counts.len().max(id + 1), 0);
        counts[id] += 1;
    }
}
