//! The film as one page that opens without a network: slider, play and pause by mouse and keyboard.

use attlas::printable::json_for_page;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Film;

const TEMPLATE: &str = include_str!("film.html");

impl Film {
    /// The whole page.
    pub fn to_html(&self) -> String {
        let mut data = serde_json::to_value(self).unwrap_or_default();
        // weights as bytes, one text per map: 255 is a weight of 1
        for (head, value) in self.heads.iter().zip(data["heads"].as_array_mut().into_iter().flatten()) {
            value["maps"] = head.maps.iter().map(|map| STANDARD.encode(quantised(map))).collect();
        }
        TEMPLATE.replacen("\"{{film}}\"", &json_for_page(&data.to_string()), 1)
    }
}

/// Weights of 0 to 1 as bytes.
pub(super) fn quantised(map: &[f32]) -> Vec<u8> {
    map.iter().map(|weight| (weight.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_closes_the_script_stays_text() {
        let film = Film {
            source_text: "</script><script>alert(1)</script>".to_string(),
            target_text: String::new(),
            heads: Vec::new(),
            frames: Vec::new(),
            curve: Vec::new(),
            seams: Vec::new(),
        };
        let page = film.to_html();
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("\\u003c/script\\u003e"));
    }
}
