//! The page as text, and what is refused.

mod common;

use attlas::analysis::describe::describe;
use attlas::analysis::{Measure, Score, Standout, measure};
use attlas::attention::Shape;
use attlas::{Factored, HeadId, Item, Kind, Layer, Mask, Recording, Scoring, TokenRole, Tokens, Visibility, Weights};
use attlas_viewer::{Description, Page, PageOptions, page, script_hash, style_hash};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// An encoder-only recording of `n` tokens with one dense layer.
fn dense(n: usize) -> Recording {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 1, d_value: 1 };
    let weights = Weights::Dense(vec![1.0 / n as f32; n * n].into());
    let source = Tokens::from_labels((0..n).map(|index| index.to_string()));
    let items = vec![Item { source, ..Item::default() }];
    Recording { items, layers: vec![Layer::new(Kind::Encoder, 0, shape, weights)], ..blank() }
}

fn blank() -> Recording {
    Recording { items: Vec::new(), layers: Vec::new(), provenance: attlas::Provenance::default() }
}

fn refusal(recording: &Recording, options: &PageOptions) -> String {
    page(recording, options).unwrap_err().to_string()
}

#[test]
fn the_same_recording_gives_the_same_bytes() {
    let recording = common::everything();
    assert_eq!(page(&recording, &PageOptions::default()).unwrap(), page(&recording, &PageOptions::default()).unwrap());
}

#[test]
fn hostile_text_never_appears_as_markup() {
    let page = page(&common::everything(), &PageOptions::default()).unwrap();
    assert!(!page.contains(common::HOSTILE), "the token stands in the page as it is");
    assert!(!page.contains("<img"));
    assert!(page.contains("\\u003c/script\\u003e"));
    assert!(page.contains("default-src 'none'; script-src 'sha256-"));
    for loading in ["http:", "https:", "src=\"", "@import", "url("] {
        let data = page.find("application/json").unwrap();
        assert!(!page[..data].contains(loading), "the head of the page holds {loading}");
    }
}

#[test]
fn the_published_hashes_are_those_of_the_script_and_the_style_that_every_page_has() {
    let page = page(&common::everything(), &PageOptions::default()).unwrap();
    let between = |open: &str, close: &str| page.rsplit_once(open).unwrap().1.split_once(close).unwrap().0;
    for (hash, text) in
        [(script_hash(), between("<script>", "</script>")), (style_hash(), between("<style>", "</style>"))]
    {
        assert_eq!(hash, format!("sha256-{}", STANDARD.encode(Sha256::digest(text))));
        assert!(page.contains(&format!("-src '{hash}'")));
    }
}

#[test]
fn a_sentence_takes_little_more_than_the_viewer_itself() {
    // 3 + 3 layers of 8 heads of 32, 12 tokens: the embedded translator's size
    let shape = Shape { n_heads: 8, n_kv_heads: 8, n_queries: 12, n_keys: 12, d_head: 32, d_value: 1 };
    let labels: Vec<String> = (0..12).map(|index| format!("token{index}")).collect();
    let tokens = Tokens::from_labels(labels);
    let items = vec![Item { source: tokens.clone(), target: tokens, ..Item::default() }];
    let scoring = Scoring::scaled_dot_product(32, Visibility::FULL);
    let layer = |kind, index| common::factored(kind, index, shape, scoring.clone(), &items, index as u64);
    let layers = Kind::ALL.into_iter().flat_map(|kind| (0..3).map(move |index| (kind, index)));
    let layers = layers.map(|(kind, index)| layer(kind, index)).collect();
    let recording = Recording { items, layers, ..blank() };
    let size = page(&recording, &PageOptions::default()).unwrap().len();
    assert!(size < 200_000, "{size} bytes");
}

#[test]
fn a_page_of_numbers_that_fail_their_checks_says_so() {
    let sound = dense(3);
    assert!(!page(&sound, &PageOptions::default()).unwrap().contains("\"failed\":"));
    for (n, what) in [(3, "every weight"), (2000, "tiles")] {
        let mut recording = dense(n);
        let mut weights = vec![1.0 / n as f32; n * n];
        weights[n] += 0.25;
        recording.layers[0].weights = Weights::Dense(weights.into());
        let options = PageOptions { max_bytes: 8 << 20, ..PageOptions::default() };
        let page = page(&recording, &options).unwrap();
        let said = "\"failed\":\"the recording fails its checks in encoder L0H0: row sums off by up to 0.2";
        assert!(page.contains(said), "a page of {what}");
    }
}

#[test]
fn a_page_over_the_limit_is_refused_and_says_what_helps() {
    let options = PageOptions { max_bytes: 1000, ..PageOptions::default() };
    let error = page(&dense(20), &options).unwrap_err();
    assert!(error.is_limit());
    assert_eq!(
        error.to_string(),
        "the page would hold 0.0 MB of attention data, more than the limit of 0.0 MB; record fewer texts, layers or \
         tokens, or raise the limit"
    );
}

#[test]
fn a_text_of_2000_tokens_is_shown_in_tiles_of_their_largest_weights_and_the_page_says_so() {
    let mut recording = dense(2000);
    let mut weights = vec![1.0 / 2000.0; 2000 * 2000];
    weights[1234 * 2000 + 777] = 0.875;
    recording.layers[0].weights = Weights::Dense(weights.into());
    let options = PageOptions { max_bytes: 1_300_000, ..PageOptions::default() };
    assert!(!Page::of(&recording, &PageOptions::default()).unwrap().pooled);
    let Page { html: page, pooled } = Page::of(&recording, &options).unwrap();
    assert!(pooled);
    assert!(page.len() < 5 << 20, "{} bytes", page.len());
    assert!(page.contains(r#""pooled":{"source":4,"target":1,"n_source":2000,"n_target":0}"#));
    assert!(page.contains("each cell is the largest weight of a tile of up to 4 source tokens"));
    assert!(page.contains(r#""text":"0–3 0 1 2 3""#) && page.contains(r#""text":"1997–1999 1997 1998 1999""#));
    // all tiles but one show 0.0005, and a class that nearly all are of takes a bit
    assert!(page.contains(r#""storage":"coded""#));
    let numbers = page.split("id=\"atlas-numbers\">").nth(1).unwrap().split('<').next().unwrap();
    let bytes = common::bytes_of(numbers).len();
    assert!(bytes > 512 * 512 * 3 / 8 && bytes < 512 * 512 * 3 / 8 + 4096, "{bytes} bytes");
}

#[test]
fn tiles_leave_padded_queries_out_and_keep_the_tokens_of_a_short_side() {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 3, n_keys: 600, d_head: 1, d_value: 1 };
    let mut recording = dense(600);
    let mut target = Tokens::from_labels(["a", "b", "c"]);
    target.tokens[2].role = TokenRole::Padding;
    recording.items[0].target = target;
    let weights: Vec<f32> = (0..3 * 600).map(|cell| if cell >= 1200 { 0.5 } else { 0.001 }).collect();
    recording.layers[0] = Layer::new(Kind::Cross, 0, shape, Weights::Dense(weights.into()));
    let page = page(&recording, &PageOptions { max_bytes: 5800, ..PageOptions::default() }).unwrap();
    assert!(page.contains(r#""pooled":{"source":2,"target":1,"n_source":600,"n_target":3}"#));
    assert!(page.contains(r#"{"text":"a","role":"text""#) && page.contains(r#""n_padding":1"#));
}

#[test]
fn what_is_too_large_in_tiles_too_is_refused() {
    let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: 70_000, n_keys: 70_000, d_head: 1, d_value: 1 };
    let numbers = || vec![0.0; 2 * 70_000].into();
    let weights = Factored {
        scoring: Scoring::scaled_dot_product(1, Visibility::FULL),
        queries: numbers(),
        keys: numbers(),
        lse: vec![0.0; 2 * 70_000].into(),
        mask: None,
        key_bias: None,
    };
    let mut recording = dense(2);
    recording.items[0].source = Tokens::from_labels((0..70_000).map(|index| index.to_string()));
    recording.layers[0] = Layer::new(Kind::Encoder, 0, shape, weights);
    let error = page(&recording, &PageOptions::default()).unwrap_err();
    assert!(error.is_limit());
    assert!(error.to_string().starts_with("encoder layer 0: a map of 70000 × 70000 cells is too large"), "{error}");
}

#[test]
fn a_recording_that_contradicts_itself_is_refused_with_the_numbers() {
    let options = PageOptions::default();
    assert_eq!(refusal(&blank(), &options), "the recording has no text");

    let mut recording = dense(3);
    recording.items[0].source.tokens.pop();
    assert!(
        refusal(&recording, &options).starts_with("encoder layer 0: the map has 3 queries but text 0 has 2 tokens")
    );

    let mut recording = dense(3);
    recording.layers.push(recording.layers[0].clone());
    assert_eq!(refusal(&recording, &options), "encoder layer 0 stands twice");

    let mut recording = common::everything();
    if let Weights::Factored(factored) = &mut recording.layers[2].weights {
        factored.scoring.sinks = Some(vec![0.0; 3]);
    }
    assert_eq!(refusal(&recording, &options), "decoder layer 1: sinks has 3 numbers, but [4] were expected");
}

/// What a head of cross-attention layer 3 does.
fn standout(name: &str, head: usize, value: f64, baseline: f64) -> Standout {
    let score = Score { value, interval: Some((0.5, 0.7)), baseline: Some(baseline), n: 9, variant: None };
    let share_of_heads = if name == "self" { 0.75 } else { 0.25 };
    let measure = Measure::named(name).expect("it is a measure");
    Standout { kind: Kind::Cross, head: HeadId { layer: 3, head }, measure, score, share_of_heads }
}

#[test]
fn a_page_opens_with_the_head_that_was_asked_for_or_stands_out_most_or_is_the_sharpest() {
    let recording = common::everything();
    let open = Some((Kind::Encoder, HeadId { layer: 5, head: 2 }));
    let asked = page(&recording, &PageOptions { open, ..PageOptions::default() }).unwrap();
    assert!(asked.contains(r#""open":{"kind":"encoder","layer":5,"head":2}"#));
    let open = Some((Kind::Encoder, HeadId { layer: 4, head: 2 }));
    let missing = page(&recording, &PageOptions { open, ..PageOptions::default() }).unwrap();
    assert!(missing.contains(r#""open":{"kind":"cross""#));
    let standouts = vec![standout("broad", 1, 0.9, 0.9), standout("next", 1, 0.6, 0.1), standout("self", 0, 0.9, 0.1)];
    let standing_out = page(&recording, &PageOptions { standouts, ..PageOptions::default() }).unwrap();
    assert!(standing_out.contains(r#""open":{"kind":"cross","layer":3,"head":1}"#), "self is what most heads do");
    let first = standing_out.find(r#""title":"position after","says":"mean weight one position ahead","score":0.6,"interval":[0.5,0.7],"threshold":0.5,"baseline":0.1,"n":9,"over":"queries","usual":false"#);
    let last = standing_out.find(r#""title":"same position""#);
    assert!(first.expect("the finding with its numbers") < last.expect("the usual finding"));
}

#[test]
fn weights_that_the_pages_formula_cannot_compute_travel_dense_and_layers_of_another_stack_stay_away() {
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 40, n_keys: 40, d_head: 2, d_value: 1 };
    let source = Tokens::from_labels((0..40).map(|index| index.to_string()));
    let items = vec![Item { source, ..Item::default() }];
    let layer = |scale: f64| {
        let scoring = Scoring { scale, ..Scoring::scaled_dot_product(2, Visibility::FULL) };
        common::factored(Kind::Encoder, 4, shape, scoring, &items, 3)
    };
    let mut masked = layer(1.0);
    if let Weights::Factored(factored) = &mut masked.weights {
        factored.mask = Some(Mask::stretches(&vec![vec![0..40]; 40])); // which hides nothing
    }
    let mut other_tower = layer(1.0);
    other_tower.stack = Some("vision".into());
    for (layer, storage) in [(layer(1.0), "factored"), (masked, "dense"), (layer(400.0), "factored")] {
        let recording = Recording { items: items.clone(), layers: vec![layer, other_tower.clone()], ..blank() };
        let page = page(&recording, &PageOptions::default()).unwrap();
        assert!(page.contains(&format!(r#""storage":"{storage}""#)), "{storage}");
        assert_eq!(page.matches(r#""storage":""#).count(), 1);
        assert!(page.contains("1 of the 2 layers are not on this page"));
    }
}

#[test]
fn a_page_carries_what_is_said_of_a_text_as_text() {
    let recording = common::everything();
    let sentences = describe(&recording, 1, &measure(&recording, 1).unwrap()).unwrap();
    let first = sentences[0].clone();
    let description = Some(Description { item: 1, sentences });
    let page = page(&recording, &PageOptions { description, ..PageOptions::default() }).unwrap();
    assert!(page.contains("\"description\":{\"item\":1,\"sentences\":[{\"text\":\""), "the sentences are carried");
    assert!(
        page.contains(&format!("\"kind\":\"{}\",\"layer\":", first.kind.unwrap())) && !page.contains(common::HOSTILE)
    );
}
