//! Words for people: counts, and text from outside made safe to show.

/// `3 layers`, `1 layer`.
pub fn counted(n: usize, singular: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {singular}{plural}")
}

/// `45 s`, `12 min`, `3 h 20 min`.
pub fn duration(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!([0.4, 59.9, 61.0, 7260.0].map(duration), ["0 s", "59 s", "1 min", "2 h 1 min"]);
    }

    #[test]
    fn control_bytes_never_come_through() {
        assert_eq!(printable("a\x1b[31mb\n\t\u{7f}\u{9b}"), "a␛[31mb␊␉␡⟨U+009B⟩");
        assert_eq!(printable("\u{202e}evil"), "⟨U+202E⟩evil");
    }
}
