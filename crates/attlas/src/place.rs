//! A token of a text by its word, its occurrence or its place.

use std::ops::Range;

use crate::printable::counted;
use crate::{TokenRole, Tokens};

/// Tokens that a message lists at most.
const MAX_LISTED: usize = 40;

/// The tokens that `asked` means: a word or token by its text, the second of several as `it#2`, or one by its place. A token that is
/// itself called so is that token: patches of a text's second image are `r0c0#2`. `what` names in messages what is asked for.
///
/// # Errors
/// When there is none, or several; the message says which there are.
pub fn place_of(tokens: &Tokens, asked: &str, what: &str) -> Result<Range<usize>, String> {
    let (name, nth) = match asked.rsplit_once('#').and_then(|(name, nth)| Some((name, nth.parse::<usize>().ok()?))) {
        Some((name, nth)) if nth > 0 && !name.is_empty() => (name.trim(), Some(nth)),
        _ => (asked.trim(), None),
    };
    if nth.is_some() {
        let mut called = (0..tokens.len()).filter(|place| tokens.tokens[*place].text.trim() == asked.trim());
        if let (Some(place), None) = (called.next(), called.next()) {
            return Ok(place..place + 1);
        }
    }
    let text = |range: &Range<usize>| -> String {
        tokens.tokens[range.clone()].iter().map(|token| token.text.as_str()).collect::<String>().trim().to_owned()
    };
    // pieces may be bytes of a letter, or lowercase: their labels together are not the word as it is written
    let written = |range: &Range<usize>| -> Option<&str> {
        let mut spans = tokens.tokens[range.clone()].iter().filter_map(|token| token.span.as_ref());
        let first = spans.next()?;
        let (start, end) =
            spans.fold((first.start, first.end), |(start, end), span| (start.min(span.start), end.max(span.end)));
        Some(tokens.text.get(start..end)?.trim())
    };
    let words = tokens.words();
    let bare = |text: &str| text.trim_matches(|c: char| c.is_ascii_punctuation()).to_owned();
    let pieces = (0..tokens.len()).map(|place| place..place + 1);
    let spelled = |is: &dyn Fn(&str) -> bool| -> Vec<Range<usize>> {
        words.iter().filter(|range| is(&text(range)) || written(range).is_some_and(is)).cloned().collect()
    };
    let found = [
        spelled(&|text| text == name),
        pieces.filter(|piece| text(piece) == name).collect(),
        spelled(&|text| bare(text) == name),
        spelled(&|text| bare(text).to_lowercase() == name.to_lowercase()),
    ];
    let found = found.into_iter().find(|found| !found.is_empty()).unwrap_or_default();
    match (found.as_slice(), nth) {
        ([one], None) => Ok(one.clone()),
        ([], None) => match name.parse::<usize>() {
            Ok(place) if place < tokens.len() => Ok(place..place + 1),
            _ => {
                let mut labels: Vec<&str> = Vec::new();
                let texts = tokens.tokens.iter().filter(|token| token.role != TokenRole::Padding);
                for label in texts.map(|token| token.text.as_str()) {
                    if labels.len() > MAX_LISTED {
                        break; // of a long text no more is looked through than is listed
                    }
                    if !labels.contains(&label) {
                        labels.push(label);
                    }
                }
                let more = if labels.len() > MAX_LISTED { " …" } else { "" };
                labels.truncate(MAX_LISTED);
                Err(format!("{what} {asked}: there is no such token; there are {}{more}", labels.join(" ")))
            }
        },
        (several, Some(nth)) => several.get(nth - 1).cloned().ok_or_else(|| {
            format!("{what} {asked}: \"{name}\" occurs {}, counted from 1", counted(several.len(), "time"))
        }),
        (several, None) => {
            let places: Vec<String> = several.iter().map(|range| range.start.to_string()).collect();
            let places = places.join(", ");
            Err(format!("{what} {asked}: stands at {places}; say which as {name}#2, or by its place"))
        }
    }
}

/// The one token that `asked` means, as [`place_of`] reads it; a word of several pieces is none.
///
/// # Errors
/// As [`place_of`], and for a word of several tokens.
pub fn token_of(tokens: &Tokens, asked: &str, what: &str) -> Result<usize, String> {
    let found = place_of(tokens, asked, what)?;
    match found.len() {
        1 => Ok(found.start),
        n => Err(format!(
            "{what} {asked}: is {} ({} to {}); say which by its place",
            counted(n, "token"),
            found.start,
            found.end.saturating_sub(1)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_named_by_its_word_its_occurrence_or_its_place() {
        let mut tokens = Tokens::from_labels(["it", "un", "believ", "able", "it", "5"]);
        for (token, word) in tokens.tokens.iter_mut().zip([0, 1, 1, 1, 2, 3]) {
            token.word = Some(word);
        }
        let place = |asked: &str| place_of(&tokens, asked, "query");
        assert_eq!(place("unbelievable"), Ok(1..4));
        assert_eq!(place("believ"), Ok(2..3));
        assert_eq!(place("it#2"), Ok(4..5));
        assert_eq!(place("3"), Ok(3..4));
        assert_eq!(place("5"), Ok(5..6), "a token that is a number is the token");
        assert!(place("it").is_err_and(|why| why.contains("0, 4")));
        tokens.tokens.push(crate::Token { role: TokenRole::Padding, ..crate::Token::labelled("<pad>") });
        let place = |asked: &str| place_of(&tokens, asked, "query");
        assert!(place("cat").is_err_and(|why| why.ends_with("there are it un believ able 5")));
        assert!(place("it#3").is_err() && place("cat").is_err() && place("99").is_err());
    }

    #[test]
    fn patches_of_several_images_are_told_apart_by_their_names() {
        let tokens = Tokens::from_labels(["r0c0", "r0c1", "it", "r0c0#2", "r0c1#2", "it", "r0c0#3"]);
        let place = |asked: &str| place_of(&tokens, asked, "query");
        assert_eq!((place("r0c0"), place("r0c0#2"), place("r0c0#3")), (Ok(0..1), Ok(3..4), Ok(6..7)));
        assert_eq!(place("it#2"), Ok(5..6));
        assert!(place("r0c1#3").is_err_and(|why| why.contains("occurs 1 time")));
    }

    #[test]
    fn a_word_is_found_as_it_is_written_where_its_pieces_are_bytes() {
        let mut tokens = Tokens::from_labels(["a", "gar", "⟨C3⟩", "⟨A7⟩", "on"]);
        tokens.text = "A garçon".to_owned();
        for (token, (word, span)) in
            tokens.tokens.iter_mut().zip([(0, 0..1), (1, 2..5), (1, 5..7), (1, 5..7), (1, 7..9)])
        {
            (token.word, token.span) = (Some(word), Some(span));
        }
        let place = |asked: &str| place_of(&tokens, asked, "query");
        assert_eq!(place("garçon"), Ok(1..5));
        assert_eq!(place("GARÇON"), Ok(1..5));
        assert_eq!((place("A"), place("a")), (Ok(0..1), Ok(0..1)));
        assert_eq!(place("⟨A7⟩"), Ok(3..4));
        assert!(place("ç").is_err());
    }
}
