//! Text made inert, for the places of a page where text can stand.

use rayon::prelude::*;

/// Text between tags or in a quoted attribute; control and bidirectional marks become U+FFFD.
pub fn html_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + text.len() / 8);
    for sign in text.chars() {
        match sign {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => escaped.push('\u{fffd}'),
            _ if sign.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(sign),
        }
    }
    escaped
}

/// Appends bytes to `page` as text: 13 bits, the first the lowest, in two signs of the 91 that ASCII has besides `"`, `&` and `<`.
pub fn push_bytes(page: &mut String, bytes: &[u8]) {
    let signs: Vec<u8> = (b'!'..=b'~').filter(|sign| !b"\"&<".contains(sign)).collect();
    let pairs: Vec<[u8; 2]> = (0..1 << 13).map(|bits| [signs[bits % 91], signs[bits / 91]]).collect();
    let mut text = vec![0; length_of(bytes.len() as u64) as usize];
    // thirteen bytes are eight pairs
    let write = |(text, bytes): (&mut [u8], &[u8])| {
        for (text, bytes) in text.chunks_mut(16).zip(bytes.chunks(13)) {
            let mut word = [0; 16];
            word[..bytes.len()].copy_from_slice(bytes);
            let word = u128::from_le_bytes(word);
            for (place, pair) in text.as_chunks_mut().0.iter_mut().enumerate() {
                *pair = pairs[(word >> (13 * place)) as usize & 0x1fff];
            }
        }
    };
    text.par_chunks_mut(16 << 14).zip(bytes.par_chunks(13 << 14)).for_each(write);
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
