//! The page of heads as text.

mod common;

use attlas::Kind;
use attlas_viewer::heads_page;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

fn sha256(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

/// What stands between each `start` and the next `end`.
fn between<'a>(page: &'a str, start: &str, end: &str) -> Vec<&'a str> {
    page.split(start).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
}

#[test]
fn hostile_words_stay_text_and_the_policy_names_the_pages_own_script_and_styles_alone() {
    let heads = common::scored_heads(Kind::Encoder, 2, 4);
    let page = heads_page(&heads, common::HOSTILE, "{{script}}\u{202e}<img src=x onerror=alert(2)>").unwrap();
    assert!(!page.contains(common::HOSTILE) && !page.contains("<img") && !page.contains('\u{202e}'));
    assert!(page.contains("<p>Measured on {{script}}\u{fffd}&lt;img src=x onerror=alert(2)&gt;."));
    let policy = between(&page, "Content-Security-Policy\" content=\"", "\"")[0];
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    let scripts = between(&page, "<script>", "</script>");
    let styles = between(&page, "<style>", "</style>");
    assert_eq!((scripts.len(), styles.len()), (1, 2));
    for text in scripts.iter().chain(&styles) {
        assert!(policy.contains(&sha256(text)), "{policy}");
    }
    assert!(!page.contains(" style=\""), "a style in an attribute would be refused");
    let foreign = page.replace("http://www.w3.org/2000/svg", "");
    for loading in ["http:", "https:", "src=\"", "href=\"", "@import", "url(h"] {
        assert!(!foreign.contains(loading), "the page holds {loading}");
    }
}

#[test]
fn every_head_stands_with_class_reason_and_scores_and_without_scripts_with_class_and_reason() {
    let heads = common::scored_heads(Kind::Encoder, 1, 4);
    let page = heads_page(&heads, "", " ").unwrap();
    assert!(page.contains("<title>heads · attlas</title>") && page.contains("Measured on texts that are not named"));
    let data: serde_json::Value =
        serde_json::from_str(between(&page, "<script id=\"heads\" type=\"application/json\">", "</script>")[0])
            .unwrap();
    let measures = data["kinds"][0]["measures"].as_array().unwrap();
    let head = &data["heads"][0];
    assert_eq!((&head[0], &head[1], &head[2]), (&0.into(), &0.into(), &0.into()));
    assert_eq!(data["measures"][head[3][0][0].as_u64().unwrap() as usize]["title"], "previous token");
    assert_eq!(head[4].as_array().unwrap().len(), measures.len());
    // 11 of 12 rows have a token before them
    assert_eq!(head[4][0][0], 0.9167);
    let rare =
        measures.iter().position(|place| data["measures"][place.as_u64().unwrap() as usize]["title"] == "rare token");
    let absent = head[4][rare.unwrap()].as_u64().unwrap() as usize;
    assert_eq!(data["absent"][absent], "it needs counts of the tokens in a corpus");
    let plain = between(&page, "<noscript>", "</noscript>")[0];
    assert_eq!(plain.matches("<tr>").count(), 5);
    assert!(plain.contains(
        "<td>encoder</td><td>L0H0</td><td>previous token</td><td>L0H0: previous token, 0.92 of a query&#39;s weight"
    ));
    assert!(plain.contains("<td>L0H3</td><td>–</td><td></td>"));
}

#[test]
fn a_model_of_48_layers_of_25_heads_is_a_page_of_less_than_3_megabytes_and_the_same_every_time() {
    let heads = common::scored_heads(Kind::Decoder, 48, 25);
    let page = heads_page(&heads, "large", "one text").unwrap();
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page == heads_page(&heads, "large", "one text").unwrap());
}
