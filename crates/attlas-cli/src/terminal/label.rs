//! Text from outside, made safe and measured for a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

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

/// `text` in lines of at most `cells`, broken at spaces.
pub fn wrapped(text: &str, cells: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let is_full = lines.last().is_some_and(|line| !line.is_empty() && width(line) + 1 + width(word) > cells);
        if is_full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_count_two_cells_and_are_never_cut_in_half() {
        assert_eq!(width("猫"), 2);
        assert_eq!(clip("猫猫猫", 4), "猫…");
        assert_eq!(pad("猫", 4), "猫  ");
        assert_eq!(width(&clip("abcdef", 3)), 3);
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 8), ["one two", "three"]);
        assert_eq!(wrapped("unbreakable", 4), ["unbreakable"]);
    }
}
