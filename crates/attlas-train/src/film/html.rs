//! The film as one page that opens without a network: slider, play and pause by mouse and keyboard.

use attlas::printable::json_for_page;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{Curves, Film};

const TEMPLATE: &str = include_str!("film.html");
const STYLE: &str = include_str!("film.css");
const SCRIPT: &str = include_str!("film.js");

impl Film {
    /// The whole page; with the curves of the same moments, if there are any, below the maps.
    pub fn to_html(&self, curves: Option<&Curves>) -> String {
        let mut data = serde_json::to_value(self).unwrap_or_default();
        // weights as bytes, one text per map: 255 is a weight of 1
        for (head, value) in self.heads.iter().zip(data["heads"].as_array_mut().into_iter().flatten()) {
            value["maps"] = head.maps.iter().map(|map| STANDARD.encode(quantised(map))).collect();
        }
        data["complaint"] = self.complaint().into();
        data["curves"] = curves.map(Curves::to_json).into();
        // the page's content security policy allows these very bytes and no others; what comes from outside comes last, so
        // that nothing in it is taken for a place of the template
        TEMPLATE
            .replacen("{{style-hash}}", &sha256(STYLE), 1)
            .replacen("{{script-hash}}", &sha256(SCRIPT), 1)
            .replacen("{{style}}", STYLE, 1)
            .replacen("{{script}}", SCRIPT, 1)
            .replacen("\"{{film}}\"", &json_for_page(&data.to_string()), 1)
    }
}

/// A hash as a content security policy has it.
fn sha256(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// Weights of 0 to 1 as bytes.
pub(super) fn quantised(map: &[f32]) -> Vec<u8> {
    map.iter().map(|weight| (weight.clamp(0.0, 1.0) * 255.0).round() as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn film(source_text: &str) -> Film {
        Film {
            source_text: source_text.to_string(),
            target_text: String::new(),
            heads: Vec::new(),
            frames: Vec::new(),
            curve: Vec::new(),
            seams: Vec::new(),
        }
    }

    #[test]
    fn a_token_that_closes_the_script_stays_text() {
        let page = film("</script><script>alert(1)</script>").to_html(None);
        assert!(!page.contains("<script>alert"));
        assert!(page.contains("\\u003c/script\\u003e"));
    }

    #[test]
    fn the_policy_names_the_pages_own_script_and_style_and_no_inline_ones() {
        let page = film("{{script}}{{style-hash}}").to_html(None);
        assert!(!page.contains("unsafe-inline"));
        let between = |start: &str, end: &str| page.split_once(start).unwrap().1.split_once(end).unwrap().0.to_string();
        assert_eq!(between("script-src 'sha256-", "'"), sha256(&between("<script>", "</script>")));
        assert_eq!(between("style-src 'sha256-", "'"), sha256(&between("<style>", "</style>")));
        assert!(page.contains("\"source_text\":\"{{script}}{{style-hash}}\""), "text from outside stays as it is");
        assert!(!page.contains(" style=\""), "a style in an attribute would be refused");
    }
}
