//! Where the sentences of a text begin, for models that read one sentence at a time.
//!
//! A sentence ends after one or more of `. ! ? …`, with the quotes and brackets that close there, when white space follows and then
//! a capital letter, with quotes and brackets that open before it. It does not end after a title (`Mr.`), an initial (`J.`,
//! `p.m.`; `I.` is the pronoun), or a number that begins it (`1. Open the door.`).

/// What stands before a stop that ends no sentence.
const TITLES: [&str; 18] = [
    "Mr", "Mrs", "Ms", "Mx", "Dr", "Prof", "St", "Sr", "Jr", "Mt", "Rev", "Hon", "Gen", "Capt", "Lt", "Col", "Sgt",
    "vs",
];

/// The sentences of a text, without the white space around them; one at least, unless there is nothing else in the text.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut stops = text.char_indices().filter(|(_, char)| is_stop(*char)).map(|(at, _)| at);
    while let Some(at) = stops.find(|at| *at >= start) {
        if let Some(end) = end_of_sentence(text, start, at) {
            found.push(text[start..end].trim());
            start = end;
        }
    }
    found.push(text[start..].trim());
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// What the provenance of a recording says of `n_texts` texts whose sentences were run one by one, `n_sentences` in all.
pub fn sentences_note(n_texts: usize, n_sentences: usize) -> String {
    let what = if n_texts == 1 { "the text was" } else { "texts were" };
    format!("{what} run sentence by sentence: {n_sentences} of them, each alone")
}

/// Where the sentence that begins at `start` ends, if it ends with the stop at `at`.
fn end_of_sentence(text: &str, start: usize, at: usize) -> Option<usize> {
    let after = text[at..].trim_start_matches(is_stop).trim_start_matches(is_closing);
    let end = text.len() - after.len();
    let next = after.trim_start();
    let goes_on = next.len() == after.len()
        || !next.trim_start_matches(is_opening).starts_with(char::is_uppercase)
        || (text[at..end].trim_end_matches(is_closing) == "." && !can_end(&text[start..at]));
    (!goes_on).then_some(end)
}

/// Whether a full stop after these words can end their sentence.
fn can_end(words: &str) -> bool {
    let words = words.trim_start().trim_start_matches(is_opening);
    let last = words.rsplit(|char: char| !char.is_alphanumeric()).next().unwrap_or_default();
    let is_initial = last != "I" && last.chars().count() == 1 && last.starts_with(char::is_alphabetic);
    let is_number = last == words && !last.is_empty() && last.chars().all(char::is_numeric);
    let is_title = TITLES.iter().any(|title| *title == last || title.to_uppercase() == last);
    !(is_title || is_initial || is_number)
}

fn is_stop(char: char) -> bool {
    matches!(char, '.' | '!' | '?' | '…')
}

fn is_closing(char: char) -> bool {
    matches!(char, '"' | '\'' | '”' | '’' | '»' | ')' | ']')
}

fn is_opening(char: char) -> bool {
    matches!(char, '"' | '\'' | '“' | '‘' | '«' | '(' | '[' | '¿' | '¡')
}

#[cfg(test)]
mod tests {
    use super::sentences;

    #[test]
    fn a_text_is_cut_after_each_stop_that_a_capital_follows() {
        for (text, expected) in [
            ("The cat sat. The dog ran.", &["The cat sat.", "The dog ran."][..]),
            ("Really?! Yes… No!\nGood.", &["Really?!", "Yes…", "No!", "Good."]),
            (
                "\"Go away.\" \"Why?\" (She left.) Tom stayed",
                &["\"Go away.\"", "\"Why?\"", "(She left.)", "Tom stayed"],
            ),
            ("  So am I. You know. ", &["So am I.", "You know."]),
            ("He has 3. She was born in 1990. It is so.", &["He has 3.", "She was born in 1990.", "It is so."]),
            ("C'est fini. Écoute !", &["C'est fini.", "Écoute !"]),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_left_whole_where_a_stop_ends_no_sentence() {
        for text in [
            "The cat sat on the mat.",
            "Mr. Smith met Dr. Jones at St. Paul's.",
            "MR. SMITH MET DR. JONES.",
            "J. R. R. Tolkien wrote it at 5 p.m. Friday.",
            "1. Open the door.",
            "It costs 3.50 dollars",
            "\"Really?\" he said.",
            "hello. how are you?",
            "See example.com. it is there",
            "...",
            "No stop at all",
        ] {
            assert_eq!(sentences(text), [text], "{text}");
        }
        assert!(sentences(" \n").is_empty());
    }
}
