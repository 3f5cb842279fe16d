//! Text from outside, made safe and measured for a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The text with everything a terminal could obey or a reader could not see replaced by a picture or a name of it:
/// control characters by those of U+2400, bidirectional and other invisible controls by `⟨U+202E⟩`.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match u32::from(character) {
            code @ 0..0x20 => shown.push(char::from_u32(0x2400 + code).unwrap_or('␀')),
            0x7f => shown.push('␡'),
            code if is_invisible(character) => shown.push_str(&format!("⟨U+{code:04X}⟩")),
            _ => shown.push(character),
        }
    }
    shown
}

/// C1 controls, bidirectional controls, line separators, zero-width and unassigned-for-display characters.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Terminal cells that a printable text takes; wide characters take two.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The start of `text` that fits into `cells`, with `…` where something was cut.
pub fn clip(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut used = 1; // the ellipsis
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > cells {
            break;
        }
        clipped.push(character);
    }
    if cells > 0 {
        clipped.push('…');
    }
    clipped
}

/// `text` clipped to `cells` and filled with spaces on the right.
pub fn pad(text: &str, cells: usize) -> String {
    let mut padded = clip(text, cells);
    let missing = cells.saturating_sub(width(&padded));
    padded.extend(std::iter::repeat_n(' ', missing));
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_never_come_through() {
        assert_eq!(printable("a\x1b[31mb\n\t\u{7f}\u{9b}"), "a␛[31mb␊␉␡⟨U+009B⟩");
        assert_eq!(printable("\u{202e}evil"), "⟨U+202E⟩evil");
    }

    #[test]
    fn wide_characters_count_two_cells_and_are_never_cut_in_half() {
        assert_eq!(width("猫"), 2);
        assert_eq!(clip("猫猫猫", 4), "猫…");
        assert_eq!(pad("猫", 4), "猫  ");
        assert_eq!(width(&clip("abcdef", 3)), 3);
    }
}
