//! Words for people: counts, and text from outside made safe to show where no picture is drawn of it.

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
pub fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{80}'..='\u{9f}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `3 layers`, `1 layer`.
pub fn counted(n: usize, singular: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {singular}{plural}")
}

/// A CSV field that stays text: what cannot be seen is shown by a picture or a name, and before a character that
/// spreadsheets take for the beginning of a formula stands an apostrophe.
pub fn csv_field(text: &str) -> String {
    // a tab or a line break, which they pass over, is a picture already
    let begins_formula = text.starts_with(['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}']);
    let apostrophe = if begins_formula { "'" } else { "" };
    format!("\"{apostrophe}{}\"", printable(text).replace('"', "\"\""))
}

/// JSON in which what [`printable`] replaces stands as escapes, so that a terminal does not obey it: the same value.
pub fn inert_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if character == '\u{7f}' || is_invisible(character) {
            // outside strings JSON has none of these
            let mut units = [0; 2];
            shown.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            shown.push(character);
        }
    }
    shown
}

/// JSON that may stand inside a `<script>` block: `<`, `>`, `&` and the line separators U+2028 and U+2029 are written as
/// escapes, which JSON reads as the same text. They occur in JSON only inside strings.
pub fn json_for_page(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len() + json.len() / 8);
    for sign in json.chars() {
        match sign {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escaped.push_str(&format!("\\u{:04x}", u32::from(sign))),
            _ => escaped.push(sign),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_script_tag_inside_json_stays_data() {
        let json = serde_json::to_string("</script><!-- & \u{2028}").unwrap();
        let escaped = json_for_page(&json);
        assert_eq!(escaped, r#""\u003c/script\u003e\u003c!-- \u0026 \u2028""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), "</script><!-- & \u{2028}");
    }

    #[test]
    fn control_bytes_never_come_through() {
        assert_eq!(printable("a\x1b[31mb\n\t\u{7f}\u{9b}"), "a␛[31mb␊␉␡⟨U+009B⟩");
        assert_eq!(printable("\u{202e}evil"), "⟨U+202E⟩evil");
    }

    #[test]
    fn json_with_escapes_is_the_same_value() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{2066}\u{e0041}\u{feff}é猫";
        let json = serde_json::to_string(text).expect("a text is JSON");
        let inert = inert_json(&json);
        assert_eq!(inert, "\"a\\u009b31m\\u007f\\u202e\\u2066\\udb40\\udc41\\ufeffé猫\"");
        assert_eq!(serde_json::from_str::<String>(&inert).expect("it is JSON"), text);
    }
}
