//! Tokens on the command line: words, or JSON.

use attlas::printable::counted;
use attlas_model::Tokenizer;

use crate::terminal::remark;

/// Token labels of one axis, a row for each text.
#[derive(Debug, Clone)]
pub struct Labels(pub Vec<Vec<String>>);

/// Reads labels separated by white space, a JSON list of texts, or a JSON list of such lists, one for each text.
pub fn parse_labels(text: &str) -> Result<Labels, String> {
    if text.trim_start().starts_with('[') && text.trim_end().ends_with(']') && text.contains('"') {
        let bad = |error: serde_json::Error| format!("not a JSON list of texts: {error}");
        return match text.trim_start()[1..].trim_start().starts_with('[') {
            true => serde_json::from_str(text).map(Labels).map_err(bad),
            false => serde_json::from_str(text).map(|row| Labels(vec![row])).map_err(bad),
        };
    }
    let labels: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if labels.is_empty() { Err("no token is given".into()) } else { Ok(Labels(vec![labels])) }
}

/// The rows of all of them, in order.
pub fn rows(labels: &[Labels]) -> Vec<Vec<String>> {
    labels.iter().flat_map(|labels| labels.0.iter().cloned()).collect()
}

/// Says how many labels the tokenizer does not have, and which is the first.
pub fn say_unknown(sides: [&Option<Vec<Vec<String>>>; 2], tokenizer: &Tokenizer) {
    let labels = sides.into_iter().flatten().flatten().flatten();
    let mut unknown = labels.filter(|label| tokenizer.id(label).is_none());
    if let Some(first) = unknown.next() {
        let n = counted(1 + unknown.count(), "token");
        remark(&format!(
            "the tokenizer does not have {n} (the first is {first:?}); are they pieces as it writes them?"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_words_or_a_json_list() {
        assert_eq!(parse_labels("The cat").expect("words").0, [["The", "cat"]]);
        assert_eq!(parse_labels("[CLS] cat [SEP]").expect("words").0, [["[CLS]", "cat", "[SEP]"]]);
        assert_eq!(parse_labels("[\"New York\", \"is\"]").expect("a list").0, [["New York", "is"]]);
        assert_eq!(parse_labels("[[\"a\", \"b\"], [\"c\", \"d\"]]").expect("lists").0, [["a", "b"], ["c", "d"]]);
        assert!(parse_labels("  ").is_err());
    }
}
