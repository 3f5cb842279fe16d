//! Texts all in capitals, for models that were taught hardly any.

/// What such a model reads of a text all of whose letters are capitals, with a word of two letters or more: small letters, but for the
/// first of each sentence and the pronoun *I*; names and abbreviations, too, since nothing tells them. Every letter keeps its number of
/// bytes, so that spans are those of the text.
pub(crate) fn small_letters(text: &str) -> Option<String> {
    let words = || text.split(|char: char| !char.is_alphabetic()).filter(|word| !word.is_empty());
    let is_word = |word: &str| word.chars().nth(1).is_some();
    if !words().any(is_word) || !words().all(|word| word.chars().all(char::is_uppercase)) {
        return None;
    }
    let (mut small, mut begins) = (String::with_capacity(text.len()), true);
    let (mut before, mut is_joined) = (' ', false); // an apostrophe joins what stands before it and behind it
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        let is_alone = !before.is_alphabetic() && chars.peek().is_none_or(|next| !next.is_alphabetic());
        let is_kept = begins || (char == 'I' && is_alone && !is_joined);
        small.push(if is_kept { char } else { small_letter(char) });
        begins = matches!(char, '.' | '!' | '?' | '…') || (begins && !char.is_alphanumeric());
        is_joined = matches!(char, '\'' | '’') && before.is_alphabetic();
        before = char;
    }
    Some(small)
}

/// The small letter of as many bytes, where there is one.
fn small_letter(char: char) -> char {
    let mut lower = char.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) if small.len_utf8() == char.len_utf8() => small,
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_capitals_is_read_in_small_letters_with_the_capitals_that_sentences_have() {
        let cases = [
            ("HELLO WORLD", "Hello world"),
            ("STOP!", "Stop!"),
            ("ROOM 101", "Room 101"),
            ("I LOVE THIS SONG. DO YOU? I'M SURE…", "I love this song. Do you? I'm sure…"),
            ("« L'ÉTÉ EST FINI »", "« L'été est fini »"),
            ("IT'S WORLD WAR I ALL OVER", "It's world war I all over"),
            ("2 CATS COST 3.50 DOLLARS.", "2 cats cost 3.50 dollars."),
            ("HE SAID: 'I AM HERE.'", "He said: 'I am here.'"),
        ];
        for (text, read) in cases {
            assert_eq!(small_letters(text).as_deref(), Some(read));
            assert_eq!(read.len(), text.len(), "spans stay");
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        for text in ["I, A", "B.", "NASA was founded in 1958.", "OK, let us go.", "", "1 + 1 = 2", "猫と犬"] {
            assert_eq!(small_letters(text), None, "{text}");
        }
    }
}
