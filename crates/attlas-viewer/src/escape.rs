//! Text made inert, for the places of a page where text can stand.

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
    fn a_title_cannot_close_its_tag_or_turn_the_line_around() {
        assert_eq!(html_text("</title>\u{202e}&\0\""), "&lt;/title&gt;\u{fffd}&amp;\u{fffd}&quot;");
    }
}
