//! The page as text, and what is refused.

mod common;

use attlas::analysis::describe::{Sentence, describe};
use attlas::analysis::{Measure, Score, Standout, measure};
use attlas::attention::Shape;
use attlas::conllu::Sentences;
use attlas::figure::Bitmap;
use attlas::{Factored, HeadId, Item, Kind, Layer, Mask, PatchGrid, Quantity, Recording};
use attlas::{Scoring, TokenRole, Tokens, Trace, Visibility, Weights};
use attlas_viewer::{Beside, Description, Page, PageOptions, Sound, atlas, page, script_hash, style_hash};
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
    assert!(page.contains("; img-src data:; worker-src blob:; base-uri 'none'; form-action 'none'\""));
    let head = page.split("<script>").next().unwrap();
    for loading in ["http:", "https:", "src=\"", "@import", "url("] {
        assert!(!head.contains(loading), "the head of the page holds {loading}");
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
fn the_script_stands_before_what_it_reads_so_that_a_page_cut_short_can_say_so() {
    let page = page(&common::everything(), &PageOptions::default()).unwrap();
    let at = |words: &str| page.find(words).unwrap();
    assert!(at("id=\"app\"") < at("<script>") && at("<script>") < at("id=\"atlas-data\">"));
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
    let viewer = page(&dense(3), &PageOptions::default()).unwrap().len();
    let size = page(&recording, &PageOptions::default()).unwrap().len();
    // queries and keys among it
    assert!(size < viewer + 210_000, "{size} bytes, {viewer} of them the viewer");
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
        "the page would hold 1970 bytes of attention data, more than the limit of 1000 bytes; record fewer texts, layers or \
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
fn maps_of_an_axis_that_the_page_does_not_show_are_not_what_it_opens_with_or_points_at() {
    let mut recording = dense(3);
    recording.items[0].target = Tokens::from_labels(["a", "b", "c"]);
    recording.items[0].axes.insert("generated".into(), Tokens::from_labels(["b", "c"]));
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: 2, n_keys: 3, d_head: 1, d_value: 1 };
    let generated = Layer::new(Kind::Cross, 3, shape, Weights::Dense(vec![1.0 / 3.0; 6].into()));
    recording.layers.push(Layer { query_axis: Some("generated".into()), ..generated });
    let sentences = vec![Sentence {
        text: "L3H0 does it.".into(),
        kind: Some(Kind::Cross),
        layer: Some(3),
        head: Some(0),
        measure: None,
        numbers: Vec::new(),
    }];
    let options = PageOptions {
        open: Some((Kind::Cross, HeadId { layer: 3, head: 0 })),
        standouts: vec![standout("next", 0, 0.6, 0.1)],
        description: Some(Description { item: 0, sentences }),
        ..PageOptions::default()
    };
    for json in [data(&page(&recording, &options).unwrap(), "").to_string(), atlas(&recording, &options).unwrap()] {
        let data: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(data["open"], serde_json::json!({"kind": "encoder", "layer": 0, "head": 0}));
        assert_eq!(data["layers"].as_array().map(Vec::len), Some(1));
        assert_eq!(data["standouts"], serde_json::json!([]));
        let sentence = &data["description"]["sentences"][0];
        assert!(sentence["text"] == "L3H0 does it." && sentence["kind"].is_null(), "it is said, and opens nothing");
    }
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

#[test]
fn what_a_vocabulary_calls_unknown_says_where_its_text_ends() {
    let mut recording = dense(4);
    let tokens = &mut recording.items[0].source;
    tokens.text = "The 猫 sat UNK".into();
    let placed = [("The", 0..3), ("猫 [UNK]", 4..7), ("sat", 8..11), ("UNK", 12..15)];
    for (token, (text, span)) in tokens.tokens.iter_mut().zip(placed) {
        (token.text, token.span) = (text.to_owned(), Some(span));
    }
    let tokens = data(&page(&recording, &PageOptions::default()).unwrap(), "")["items"][0]["source"]["tokens"].clone();
    let unknown: Vec<_> = tokens.as_array().unwrap().iter().map(|token| token["unknown"].as_str()).collect();
    assert_eq!(unknown, [None, Some("[UNK]"), None, None]);
}

/// The description in a block of a page.
fn data(page: &str, which: &str) -> serde_json::Value {
    let block = page.split(&format!("id=\"atlas-data{which}\">")).nth(1).expect("the block").split('<').next().unwrap();
    serde_json::from_str(block).unwrap()
}

#[test]
fn other_quantities_travel_beside_weights_with_their_names_and_a_power_of_ten_that_none_is_above() {
    let mut recording = common::everything();
    let n = 2 * 2 * 5 * 7; // [2 items, 2 heads, 5, 7]
    let of = |quantity: Quantity, size: f32| {
        let numbers: Vec<f32> = common::Random::new(3).numbers(n, size);
        let numbers = numbers.iter().map(|number| if quantity.is_signed() { *number } else { number.abs() });
        let layer = recording.layers.last().unwrap();
        Layer { quantity, weights: Weights::Dense(numbers.collect::<Vec<f32>>().into()), ..layer.clone() }
    };
    let others = [of(Quantity::Effect, 250.0), of(Quantity::Rollout, 0.01), of(Quantity::Difference, 0.0)];
    // norms of a layer that keeps the lengths of its values
    let encoder = &mut recording.layers[0];
    let norms: Vec<f32> = (0..2 * 4 * 7).map(|place| place as f32 / 4.0).collect(); // [2 items, 4 heads, 7 keys]
    encoder.traces = [(Trace::ValueNorms, norms.into())].into_iter().collect();
    recording.layers.extend(others);
    recording.provenance.notes.push(attlas::quantity::NORM_SUM.note.to_owned());
    let data = data(&page(&recording, &PageOptions::default()).unwrap(), "");
    assert_eq!(data["quantities"][1]["words"], "norm of the sum over heads", "as the notes have it");
    let quantities: Vec<_> = data["quantities"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(quantities, ["weight", "norm", "rollout", "effect", "difference"]);
    assert_eq!(data["quantities"][3]["signed"], true);
    assert_eq!(data["quantities"][1]["unit"], "length of a vector of the residual stream");
    let layers = data["layers"].as_array().unwrap();
    let of = |name: &str| layers.iter().find(|layer| layer["quantity"] == name).expect("the layer");
    assert_eq!((&of("effect")["unit"], &of("norm")["unit"]), (&1000.0.into(), &100.0.into()));
    assert!(of("rollout").get("unit").is_none() && of("difference").get("unit").is_none());
    assert_eq!((&of("norm")["kind"], &of("effect")["index"]), (&"encoder".into(), &3.into()));
    assert!(of("norm")["scoring"]["visibility"].is_object() && of("effect")["scoring"].is_null());
    assert!(layers[0].get("quantity").is_none(), "weights need no name");
    // and where there is nothing else, they are what the page opens with
    recording.layers.retain(|layer| layer.quantity == Quantity::Effect);
    let alone = data_of(&recording);
    assert_eq!(alone["open"], serde_json::json!({"kind": "cross", "layer": 3, "head": 0, "quantity": "effect"}));
}

fn data_of(recording: &Recording) -> serde_json::Value {
    data(&page(recording, &PageOptions::default()).unwrap(), "")
}

#[test]
fn queries_and_keys_stand_beside_weights_where_the_page_stays_small_and_not_where_a_bias_is_missing() {
    let of_length = |n: usize| {
        let shape = Shape { n_heads: 12, n_kv_heads: 12, n_queries: n, n_keys: n, d_head: 64, d_value: 1 };
        let items =
            vec![Item { source: Tokens::from_labels((0..n).map(|place| place.to_string())), ..Item::default() }];
        let scoring = Scoring::scaled_dot_product(64, Visibility::FULL);
        let layers = (0..4).map(|index| common::factored(Kind::Encoder, index, shape, scoring.clone(), &items, 2));
        Recording { layers: layers.collect(), items, ..blank() }
    };
    let group = |recording: &Recording| data_of(recording)["layers"][0]["stored"][0]["groups"].clone();
    let short = of_length(20);
    assert_eq!((&group(&short)[11]["form"], &group(&short)[11]["exact"]), (&"rounded".into(), &serde_json::json!([])));
    assert!(group(&of_length(120)).is_null(), "13 bits of 12 × 4 × 2 × 120 × 64 numbers are 1.5 MB of text");
    let mut biased = short;
    if let Weights::Factored(factored) = &mut biased.layers[0].weights {
        factored.key_bias = Some(vec![0.0; 12 * 20].into());
    }
    let data = data_of(&biased);
    assert!(
        data["layers"][0]["stored"][0].get("groups").is_none() && data["layers"][1]["stored"][0]["groups"].is_array()
    );
}

#[test]
fn a_page_of_several_recordings_has_blocks_for_each_and_the_title_of_the_first() {
    let (recording, other) = (common::everything(), dense(3));
    let named = |title: &str| PageOptions { title: Some(title.to_owned()), ..PageOptions::default() };
    let (first, second) = (named("before"), named(&format!("after {}", common::HOSTILE)));
    let page = Page::of_several((&recording, &first), &[(&other, &second), (&recording, &first)]).unwrap().html;
    assert!(page.contains("<title>before · attlas</title>") && !page.contains(common::HOSTILE));
    assert_eq!(data(&page, "-1")["title"], format!("after {}", common::HOSTILE));
    assert_eq!(data(&page, "-1")["items"][0]["source"]["tokens"].as_array().unwrap().len(), 3);
    assert_eq!(data(&page, "-2"), data(&page, ""));
    let numbers = |which: &str| page.split(&format!("id=\"atlas-numbers{which}\">")).nth(1).unwrap().split('<').next();
    assert_eq!(numbers("-2"), numbers(""));
    assert_eq!(common::bytes_of(numbers("-1").unwrap()).len(), 37, "3 × 3 floats, filled up to 13 bits");
}

#[test]
fn pictures_sounds_trees_and_what_was_generated_stand_beside_tokens_and_stay_text() {
    let mut recording = common::everything();
    let grid = PatchGrid { first: 1, rows: 2, columns: 3, size: Some([6, 4]), seen: Some([0, 0, 6, 4]) };
    recording.items[1].image = Some(grid);
    (recording.items[0].n_prompt, recording.items[1].n_prompt) = (Some(2), Some(5));
    let text = format!("the {} cat", common::HOSTILE.replace(' ', ""));
    let hostile_relation = "nsubj:</script>";
    let conllu = format!(
        "# text = {text}\n1\tthe\t_\t_\t_\t_\t3\tdet\t_\t_\n2\t{}\t_\t_\t_\t_\t3\t{hostile_relation}\t_\t_\n3\tcat\t_\t_\t_\t_\t0\troot\t_\t_\n\n",
        common::HOSTILE
    );
    let sentence = Sentences::read(conllu.as_bytes(), std::path::Path::new("a.conllu")).next().unwrap().unwrap();
    let source = &mut recording.items[0].source;
    source.text = text.clone();
    let (hostile, cat) = (4..4 + common::HOSTILE.len(), text.len() - 3..text.len());
    let spans = [0..3, hostile.start..5, 5..6, 6..hostile.end, cat];
    for (token, span) in source.tokens.iter_mut().zip(spans) {
        token.span = Some(span);
    }
    let sound = Sound {
        n_mels: 2,
        loudness: vec![0, 255, 3, 4],
        frame_seconds: 0.02,
        token_seconds: 0.02,
        hertz: [0.0, 8000.0],
    };
    let picture = Some(Bitmap { width: 6, height: 4, rgb: vec![7; 72] });
    let beside = vec![
        Beside { tree: Some(sentence.clone()), ..Beside::default() },
        Beside { picture, sound: Some(sound), ..Beside::default() },
    ];
    let options = PageOptions { beside, ..PageOptions::default() };
    let page = page(&recording, &options).unwrap();
    assert!(!page.contains(common::HOSTILE) && !page.contains("</script>\""));
    let items = data(&page, "")["items"].clone();
    let tree = &items[0]["tree"];
    assert_eq!((&tree["of"], &tree["words"][1]["tokens"]), (&"source".into(), &serde_json::json!([1, 2, 3])));
    assert_eq!((&tree["words"][1]["relation"], &tree["words"][2]["head"]), (&hostile_relation.into(), &().into()));
    assert_eq!((&items[0]["generated"], items[1].get("generated")), (&2.into(), None));
    assert!(items[1]["image"]["src"].as_str().unwrap().starts_with("data:image/png;base64,"));
    assert_eq!(items[1]["image"]["seen"], serde_json::json!([0.0, 0.0, 6.0, 4.0]));
    assert_eq!((&items[1]["sound"]["n_frames"], &items[1]["sound"]["loudness"]), (&2.into(), &"AP8DBA==".into()));

    let wrong = Beside { tree: Some(sentence), ..Beside::default() };
    let options = PageOptions { beside: vec![Beside::default(), wrong], ..PageOptions::default() };
    let refusal = refusal(&recording, &options);
    assert!(refusal.starts_with("text 1: ") && refusal.contains("the tree is not of this text"), "{refusal}");
    let picture = Some(Bitmap { width: 6, height: 4, rgb: vec![7; 72] });
    let options = PageOptions { beside: vec![Beside { picture, ..Beside::default() }], ..PageOptions::default() };
    assert_eq!(
        self::refusal(&recording, &options),
        "text 0: a picture was given, but the tokens are no patches of an image"
    );
}
