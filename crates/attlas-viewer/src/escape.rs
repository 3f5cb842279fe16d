//! Text made inert, for the places of a page where text can stand.

/// JSON that may stand inside a `<script>` block: `<`, `>`, `&` and the line separators U+2028 and U+2029 are written
/// as `\uXXXX`, which JSON reads as the same text. They occur in JSON only inside strings.
pub fn json_for_page(json: &str) -> String {
    replaced(json, |sign| match sign {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => Some(format!("\\u{:04x}", u32::from(sign))),
        _ => None,
    })
}

/// Text between tags or in a quoted attribute; control and bidirectional marks become U+FFFD.
pub fn html_text(text: &str) -> String {
    replaced(text, |sign| match sign {
        '<' => Some("&lt;".to_owned()),
        '>' => Some("&gt;".to_owned()),
        '&' => Some("&amp;".to_owned()),
        '"' => Some("&quot;".to_owned()),
        '\'' => Some("&#39;".to_owned()),
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Some("\u{fffd}".to_owned()),
        _ if sign.is_control() => Some("\u{fffd}".to_owned()),
        _ => None,
    })
}

fn replaced(text: &str, replacement: impl Fn(char) -> Option<String>) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for sign in text.chars() {
        match replacement(sign) {
            Some(written) => escaped.push_str(&written),
            None => escaped.push(sign),
        }
    }
    escaped
}

/// Appends bytes to `page` in base64.
pub fn push_base64(page: &mut String, bytes: &[u8]) {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode_string(bytes, page);
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
    fn a_title_cannot_close_its_tag_or_turn_the_line_around() {
        assert_eq!(html_text("</title>\u{202e}&\0\""), "&lt;/title&gt;\u{fffd}&amp;\u{fffd}&quot;");
    }
}
