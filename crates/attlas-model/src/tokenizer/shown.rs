//! How tokens are shown, which bytes of the text they cover, and which word they belong to.

use std::ops::Range;

use attlas::Token;
use unicode_segmentation::UnicodeSegmentation;

/// How the pieces of a vocabulary stand for text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PieceStyle {
    /// Each byte is one printable character (GPT-2): `Ġ` is a space.
    ByteLevel,
    /// `▁` is a space (SentencePiece); `<0xE4>` is a byte.
    Metaspace,
    /// A mark stands before pieces that do not start a word (WordPiece): `##`.
    Prefix(String),
    /// A mark stands after pieces that end a word: `</w>`.
    Suffix(String),
    /// Pieces are text.
    Plain,
}

impl PieceStyle {
    /// The bytes that a piece stands for.
    pub fn bytes(&self, piece: &str) -> Vec<u8> {
        match self {
            PieceStyle::ByteLevel => {
                let bytes: Option<Vec<u8>> = piece.chars().map(byte_of).collect();
                bytes.unwrap_or_else(|| piece.as_bytes().to_vec())
            }
            PieceStyle::Metaspace => match byte_piece(piece) {
                Some(byte) => vec![byte],
                None => piece.replace('▁', " ").into_bytes(),
            },
            PieceStyle::Prefix(mark) => piece.strip_prefix(mark.as_str()).unwrap_or(piece).as_bytes().to_vec(),
            PieceStyle::Suffix(mark) => piece.strip_suffix(mark.as_str()).unwrap_or(piece).as_bytes().to_vec(),
            PieceStyle::Plain => piece.as_bytes().to_vec(),
        }
    }
}

/// The byte that GPT-2's alphabet writes as `symbol`: printable Latin-1 as itself, the others from U+0100 on.
pub(super) fn byte_of(symbol: char) -> Option<u8> {
    let code = u32::from(symbol);
    match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => Some(code as u8),
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

/// The byte that a byte-fallback piece spells: `<0xE4>`.
pub(super) fn byte_piece(piece: &str) -> Option<u8> {
    let digits = piece.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// Bytes as text to show: without the white space around, bytes that are no whole character as `⟨E4⟩`.
pub(super) fn show(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("⟨{byte:02X}⟩"));
        }
    }
    visible(&text)
}

/// Text to show: trimmed; white space alone as marks (`␣`, `↵`, `⇥`) so that it can be seen.
pub(super) fn visible(text: &str) -> String {
    let trimmed = text.trim();
    if !trimmed.is_empty() {
        return trimmed.to_owned();
    }
    text.chars()
        .map(|space| match space {
            '\n' | '\r' => '↵',
            '\t' => '⇥',
            _ => '␣',
        })
        .collect()
}

/// `span`, moved out to whole characters, then in over white space; white space alone stays.
pub(super) fn whole_characters(text: &str, span: Range<usize>) -> Range<usize> {
    let mut start = span.start.min(text.len());
    let mut end = span.end.clamp(start, text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let covered = &text[start..end];
    if covered.trim().is_empty() {
        return start..end;
    }
    let start = end - covered.trim_start().len();
    start..start + text[start..end].trim_end().len()
}

/// The words of a text: the segments between the default word boundaries of Unicode (UAX #29), white space left out.
///
/// Punctuation is a word of its own; `don't` and `3.14` are one word each; an ideograph is a word.
#[derive(Debug)]
pub(super) struct Words {
    ranges: Vec<Range<usize>>,
}

impl Words {
    pub fn of(text: &str) -> Words {
        let ranges = text
            .split_word_bound_indices()
            .filter(|(_, segment)| !segment.trim().is_empty())
            .map(|(start, segment)| start..start + segment.len())
            .collect();
        Words { ranges }
    }

    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The word that contains the byte at `position`.
    pub fn at(&self, position: usize) -> Option<usize> {
        let index = self.ranges.partition_point(|range| range.end <= position);
        self.ranges.get(index).filter(|range| range.contains(&position)).map(|_| index)
    }
}

/// Gives tokens that share a character one word: that of the first of them, with all that the later one's word holds.
pub(super) fn join_cut_characters(tokens: &mut [Token]) {
    let mut joined = None; // a word, and the one that it has become part of
    for index in 1..tokens.len() {
        let (before, rest) = tokens.split_at_mut(index);
        let (before, token) = (&mut before[index - 1], &mut rest[0]);
        if let Some((word, whole)) = joined
            && token.word == Some(word)
        {
            token.word = Some(whole);
        }
        let (Some(first), Some(second)) = (&before.span, &token.span) else { continue };
        if !before.is_text() || !token.is_text() || first.end <= second.start || second.end <= first.start {
            continue;
        }
        match (before.word, token.word) {
            (Some(whole), Some(word)) if word != whole => {
                (token.word, joined) = (Some(whole), Some((word, whole)));
            }
            (Some(whole), None) => token.word = Some(whole),
            (None, word) => before.word = word,
            _ => {}
        }
    }
}

/// A name from a file, quoted, escaped and cut, so that it stays inert in a message.
pub(super) fn quoted(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    if start.len() == text.len() { format!("{start:?}") } else { format!("{start:?}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2s_alphabet_is_read_back_to_bytes() {
        assert_eq!(PieceStyle::ByteLevel.bytes("Ġworld"), b" world");
        assert_eq!(PieceStyle::ByteLevel.bytes("Ċ"), b"\n");
        assert_eq!(PieceStyle::ByteLevel.bytes("ä½ł"), "你".as_bytes());
        let symbols: Vec<u8> = (0..0x200).filter_map(char::from_u32).filter_map(byte_of).collect();
        let mut sorted = symbols.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn half_a_character_is_shown_as_its_bytes() {
        assert_eq!(show(&PieceStyle::Metaspace.bytes("<0xE4>")), "⟨E4⟩");
        assert_eq!(show(b"a\xe4\xbd"), "a⟨E4⟩⟨BD⟩");
        assert_eq!(show(b" \n\t"), "␣↵⇥");
    }

    #[test]
    fn a_word_is_a_segment_between_unicode_word_boundaries() {
        let text = "Don't go, 3.14 北京!";
        let words = Words::of(text);
        let shown: Vec<&str> = words.ranges.iter().map(|range| &text[range.clone()]).collect();
        assert_eq!(shown, ["Don't", "go", ",", "3.14", "北", "京", "!"]);
        assert_eq!((words.at(2), words.at(5), words.at(6), words.at(99)), (Some(0), None, Some(1), None));
    }

    #[test]
    fn tokens_that_share_a_character_share_a_word() {
        let token = |span: Range<usize>, word| Token { span: Some(span), word, ..Token::labelled("") };
        let words = |tokens: &[Token]| tokens.iter().map(|token| token.word).collect::<Vec<_>>();
        // 我喜欢: 我 with two bytes of 喜, the third with 欢, whose word goes on
        let mut tokens = vec![
            token(0..6, Some(0)),
            token(3..9, Some(1)),
            token(9..10, Some(1)),
            token(10..13, Some(2)),
            token(10..13, None),
        ];
        join_cut_characters(&mut tokens);
        assert_eq!(words(&tokens), [Some(0), Some(0), Some(0), Some(2), Some(2)]);
        let mut apart = vec![token(0..3, Some(0)), token(3..6, Some(1))];
        join_cut_characters(&mut apart);
        assert_eq!(words(&apart), [Some(0), Some(1)]);
    }

    #[test]
    fn a_span_grows_to_whole_characters_and_loses_white_space() {
        assert_eq!(whole_characters("a 你 b", 3..4), 2..5);
        assert_eq!(whole_characters("a 你 b", 1..5), 2..5);
        assert_eq!(whole_characters("a  b", 1..3), 1..3);
        assert_eq!(whole_characters("ab", 5..9), 2..2);
    }
}
