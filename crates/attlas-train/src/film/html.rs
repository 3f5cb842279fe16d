//! The film as one page that opens without a network: slider, play and pause by mouse and keyboard.

use super::Film;

const TEMPLATE: &str = include_str!("film.html");

impl Film {
    /// The whole page.
    pub fn to_html(&self) -> String {
        let mut data = serde_json::to_value(self).unwrap_or_default();
        // weights as bytes, one text per map: 255 is a weight of 1
        for (head, value) in self.heads.iter().zip(data["heads"].as_array_mut().into_iter().flatten()) {
            value["maps"] = head.maps.iter().map(|map| base64(&quantised(map))).collect();
        }
        TEMPLATE.replacen("\"{{film}}\"", &escaped(&data.to_string()), 1)
    }
}

/// Weights of 0 to 1 as bytes.
pub(super) fn quantised(map: &[f32]) -> Vec<u8> {
    map.iter().map(|weight| (weight.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

/// JSON that stays data inside a script element.
fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Base64 with padding (RFC 4648, §4).
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let filled = digit <= chunk.len();
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if filled { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_by_hand() {
        assert_eq!(base64(b"Man"), "TWFu");
        assert_eq!(base64(b"Ma"), "TWE=");
        assert_eq!(base64(b"M"), "TQ==");
    }

    #[test]
    fn a_token_that_closes_the_script_stays_text() {
        let film = Film {
            source_text: "</script><script>alert(1)</script>".to_string(),
            target_text: String::new(),
            heads: Vec::new(),
            frames: Vec::new(),
            curve: Vec::new(),
        };
        let page = film.to_html();
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("\\u003c/script\\u003e"));
    }
}
