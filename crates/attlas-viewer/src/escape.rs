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

/// Appends bytes to `page` as text: 13 bits, the first the lowest, in two signs of the 91 that ASCII has besides `"`, `&` and `<`.
pub fn push_bytes(page: &mut String, bytes: &[u8]) {
    let signs: Vec<u8> = (b'!'..=b'~').filter(|sign| !b"\"&<".contains(sign)).collect();
    let pairs: Vec<[u8; 2]> = (0..1 << 13).map(|bits| [signs[bits % 91], signs[bits / 91]]).collect();
    let mut text = Vec::with_capacity(length_of(bytes.len() as u64) as usize);
    let (mut rest, mut n_rest) = (0_u32, 0);
    let mut push = |bits: u32| text.extend_from_slice(&pairs[bits as usize]);
    for byte in bytes {
        rest |= u32::from(*byte) << n_rest;
        n_rest += 8;
        if n_rest >= 13 {
            push(rest & 0x1fff);
            rest >>= 13;
            n_rest -= 13;
        }
    }
    if n_rest > 0 {
        push(rest);
    }
    page.push_str(&String::from_utf8_lossy(&text)); // ASCII, which is borrowed as it is
}

/// The length of so many bytes as [`push_bytes`] writes them.
pub fn length_of(bytes: u64) -> u64 {
    bytes.saturating_mul(8).div_ceil(13).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_close_its_tag_or_turn_the_line_around() {
        assert_eq!(html_text("</title>\u{202e}&\0\""), "&lt;/title&gt;\u{fffd}&amp;\u{fffd}&quot;");
    }

    #[test]
    fn bytes_are_text_that_closes_no_tag_and_no_quotation() {
        let bytes: Vec<u8> = (0..4096_u32).map(|n| (n * n / 7) as u8).collect();
        for n in [0, 1, 2, 13, 4096] {
            let mut text = String::new();
            push_bytes(&mut text, &bytes[..n]);
            assert_eq!(text.len() as u64, length_of(n as u64));
            assert!(text.bytes().all(|sign| (b'!'..=b'~').contains(&sign) && !b"\"&<".contains(&sign)));
        }
    }
}
