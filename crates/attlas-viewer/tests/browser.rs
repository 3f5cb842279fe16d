//! The page in a real browser, by pointer and keys.

#[path = "common/browser.rs"]
mod browser;
mod common;

use attlas::analysis::describe::Sentence;
use attlas::analysis::standouts;
use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Tokens, Weights};
use attlas_viewer::{Description, PageOptions};
use browser::{Browser, as_shown, assert_quiet, listed, opened, opened_with, rank};

#[test]
fn token_text_that_looks_like_a_script_stays_text_and_nothing_is_loaded() {
    let Some((mut browser, _folder, _)) = opened(&common::everything(), "hostile", "#kind=encoder") else { return };
    assert_eq!(browser.evaluate("document.scripts.length"), 3, "two data blocks and the viewer's script");
    assert_eq!(browser.evaluate("document.querySelectorAll('img, iframe, link, object').length"), 0);
    let labels = browser.evaluate("[...document.querySelectorAll('.column-labels .token')].map(e => e.textContent)");
    assert_eq!(labels, serde_json::json!(["the", "un", "believ", "able", "cat", common::HOSTILE, "</s>"]));
    assert!(browser.text("footer").contains(common::HOSTILE), "the note is shown as text");
    browser.click("#tab-decoder");
    let labels = browser.evaluate("[...document.querySelectorAll('.row-labels .token')].map(e => e.textContent)");
    assert_eq!(labels, serde_json::json!(["<s>", "le", "chat", "⟨U+202E⟩abc", "<img src=x onerror=alert(2)>"]));
    assert_quiet(&mut browser);
}

#[test]
fn a_sentence_opens_its_head_and_stands_there_for_its_text_alone() {
    let sentence = |text: &str, kind: Option<Kind>, layer, head| Sentence {
        text: text.to_owned(),
        kind,
        layer,
        head,
        measure: None,
        numbers: Vec::new(),
    };
    let sentences = vec![
        sentence(common::HOSTILE, Some(Kind::Encoder), Some(5), Some(3)),
        sentence("5 of 35 measures have no score.", None, None, None),
    ];
    let options = PageOptions { description: Some(Description { item: 0, sentences }), ..PageOptions::default() };
    let opened = opened_with(&common::everything(), &options, "sentences", "#kind=decoder");
    let Some((mut browser, _folder, _)) = opened else { return };
    assert_eq!(browser.text(".description li"), common::HOSTILE, "it is shown as text");
    assert_eq!(browser.evaluate("document.querySelectorAll('.description li button').length"), 1);
    browser.click(".description li button");
    assert_eq!(browser.text(".head-title"), "L5H3 encoder self-attention");
    assert_eq!(browser.evaluate("document.querySelector('.description').hidden"), false);
    browser.evaluate("location.hash = '#item=1&kind=encoder'");
    browser.settle();
    assert_eq!(browser.evaluate("document.querySelector('.description').hidden"), true);
    assert_quiet(&mut browser);
}

#[test]
fn a_click_on_a_head_and_on_a_cell_shows_the_value_and_the_url_remembers_it() {
    let recording = common::everything();
    let Some((mut browser, _folder, file)) = opened(&recording, "click", "#kind=encoder") else { return };
    browser.click(".thumb[aria-label^=\"L5H3\"]");
    assert_eq!(browser.text(".head-title .name"), "L5H3");
    // the cell of query 4 ("cat") and key 1 ("un")
    let place = browser.evaluate(
        "(() => { document.querySelector('.cells').scrollIntoView({block: 'center'}); \
         const b = document.querySelector('.cells canvas').getBoundingClientRect(); \
         return [b.left + b.width * 1.5 / 7, b.top + b.height * 4.5 / 7]; })()",
    );
    let (x, y) = (place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
    let expected = recording.map(0, Kind::Encoder, 5, 3).unwrap().row(4)[1];
    browser.point_at(x, y);
    browser.settle();
    let tip = browser.text(".tip");
    assert!(tip.starts_with(&format!("cat → un{expected:.4}rank ")), "hovering shows the value: {tip}");
    assert!(tip.contains("row sums to 1.0000") && tip.ends_with(" bits"), "and what its row is: {tip}");
    browser.click_at(x, y);
    let sentence = browser.text("#reading");
    assert!(sentence.starts_with(&format!("cat → un {expected:.4}")), "{sentence}");
    let weight: f64 = browser.evaluate("Number(document.querySelector('#reading').dataset.weight)").as_f64().unwrap();
    assert!((weight - f64::from(expected)).abs() < 1e-6);
    let hash = browser.evaluate("location.hash").as_str().unwrap().to_owned();
    assert_eq!(hash, "#kind=encoder&layer=5&head=3&q=4&k=1");

    browser.open(&file, "#item=1&kind=cross&layer=3&head=1&scale=log&theme=dark");
    assert_eq!(browser.text(".head-title .name"), "L3H1");
    assert_eq!(browser.evaluate("document.documentElement.dataset.theme"), "dark");
    assert_eq!(browser.evaluate("document.querySelector('input[value=log]').checked"), true);
    assert_quiet(&mut browser);
}

#[test]
fn the_page_works_by_keyboard() {
    let Some((mut browser, _folder, _)) = opened(&common::everything(), "keys", "#kind=encoder&layer=0&head=0") else {
        return;
    };
    browser.evaluate("document.querySelector('.thumb[aria-selected=true]').focus()");
    browser.press("ArrowRight", false);
    browser.press("ArrowDown", false);
    assert_eq!(browser.text(".head-title .name"), "L5H1");
    browser.evaluate("document.querySelector('.cells').focus()");
    browser.press("ArrowDown", false);
    browser.press("ArrowRight", false);
    assert!(browser.text("#reading").starts_with("un → un"), "{}", browser.text("#reading"));
    browser.press("ArrowRight", true);
    assert_eq!(browser.text(".head-title .name"), "L5H2");
    assert_quiet(&mut browser);
}

#[test]
fn hiding_special_tokens_states_the_mass_they_hold_and_words_are_merged() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "special", "#kind=encoder&layer=5&head=0") else { return };
    browser.evaluate("document.querySelector('input[name=special][value=hide]').click()");
    browser.settle();
    let map = recording.map(0, Kind::Encoder, 5, 0).unwrap();
    let removed = (0..6).map(|query| map.row(query)[6]).sum::<f32>() / 6.0;
    let note = browser.text(".note");
    assert!(note.contains(&format!("{:.1} %", removed * 100.0)), "{note}, not {removed}");
    browser.evaluate("document.querySelector('input[name=words][value=merged]').click()");
    browser.settle();
    let labels = browser.evaluate("[...document.querySelectorAll('.row-labels .token')].map(e => e.textContent)");
    assert_eq!(labels, serde_json::json!(["the", "unbelievable", "cat", common::HOSTILE]));
    assert_quiet(&mut browser);
}

#[test]
fn lines_show_where_a_query_looks_and_the_url_remembers_the_view() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "lines", "#kind=encoder&layer=5&head=0&view=lines") else {
        return;
    };
    browser.click(".lines .queries button:nth-child(2)");
    let row = recording.map(0, Kind::Encoder, 5, 0).unwrap().row(1);
    let n_strong = row.iter().filter(|weight| **weight >= 0.01).count();
    assert_eq!(browser.evaluate("document.querySelectorAll('.lines path.strong').length"), n_strong);
    assert_eq!(browser.text("#reading"), "un looks at:");
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("&q=1&view=lines"));
    assert_quiet(&mut browser);
}

#[test]
fn a_source_token_is_chosen_by_mouse_and_keyboard_and_ranks_the_queries_that_look_at_it() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "key", "#kind=cross&layer=0&head=2") else { return };
    let of_key = |key: usize| -> Vec<(String, String)> {
        let map = recording.map(0, Kind::Cross, 0, 2).unwrap();
        let names = ["le", "chat", "⟨U+202E⟩abc", "<img src=x onerror=alert(2)>", "</s>"];
        let seen = (0..5).filter(|query| map.row(*query)[key] > 0.0);
        let mut rows: Vec<(usize, f32)> = seen.map(|query| (query, map.row(query)[key])).collect();
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        rows.iter().map(|(query, weight)| (names[*query].to_owned(), as_shown(f64::from(*weight)))).collect()
    };
    browser.click(".texts .text:first-child .chip:nth-child(3)");
    assert_eq!(browser.text("#reading"), "Who looks at believ?");
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("&k=2"));
    assert_eq!(listed(&mut browser, ".reading > .ranked"), of_key(2));
    assert!(of_key(2).len() > 1, "several queries may look at it");
    // by keyboard: the next token of the text, then its label's letter in the map
    browser.press("ArrowRight", false);
    assert_eq!(browser.text("#reading"), "Who looks at able?");
    assert_eq!(listed(&mut browser, ".reading > .ranked"), of_key(3));
    browser.evaluate("document.querySelector('.cells').focus()");
    browser.press("ArrowDown", false);
    browser.press("k", false);
    assert_eq!(browser.text("#reading"), "Who looks at able?");
    browser.press("ArrowLeft", false);
    assert_eq!(browser.text("#reading"), "Who looks at believ?");
    browser.press("Escape", false);
    assert!(!browser.evaluate("location.hash").as_str().unwrap().contains("k="));
    // by the label of a column
    browser.click(".column-labels .label:nth-child(2)");
    assert_eq!(browser.text("#reading"), "Who looks at un?");

    // in self-attention a token that is chosen twice is turned round
    browser.click("#tab-encoder");
    let token = ".texts .text:first-child .chip:nth-child(5)";
    browser.click(token);
    assert_eq!(browser.text("#reading"), "cat looks at:");
    browser.click(token);
    assert_eq!(browser.text("#reading"), "Who looks at cat?");
    browser.click(".turns button:first-child");
    assert_eq!(browser.text("#reading"), "cat looks at:");
    assert_quiet(&mut browser);
}

#[test]
fn what_is_chosen_ranks_the_heads_and_a_click_opens_one_with_the_same_tokens() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "ranking", "#kind=encoder&layer=0&head=0&q=4&k=1") else {
        return;
    };
    let mut heads: Vec<(String, f32)> = Vec::new();
    for layer in [0, 5] {
        for head in 0..4 {
            heads.push((format!("L{layer}H{head}"), recording.map(0, Kind::Encoder, layer, head).unwrap().row(4)[1]));
        }
    }
    heads.retain(|(_, weight)| *weight > 0.0); // the window of layer 0 ends before
    heads.sort_by(|a, b| b.1.total_cmp(&a.1));
    let wanted: Vec<_> = heads.iter().map(|(name, weight)| (name.clone(), as_shown(f64::from(*weight)))).collect();
    assert_eq!(rank(&mut browser)[..wanted.len()], wanted);
    browser.click(".ranking li:first-child button");
    assert_eq!(browser.text(".head-title .name"), wanted[0].0);
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("&q=4&k=1"), "the cell stays");
    assert_eq!(
        browser.evaluate("document.querySelector('.ranking [aria-pressed=true] .name').textContent"),
        wanted[0].0.as_str()
    );

    // a query by its largest weight, and where that is
    browser.press("Escape", false);
    assert_eq!(browser.evaluate("document.querySelector('.ranking').hidden"), true);
    browser.click(".row-labels .label:nth-child(3)");
    let best = rank(&mut browser).remove(0);
    let largest = |layer: usize, head| {
        recording.map(0, Kind::Encoder, layer, head).unwrap().row(2).into_iter().fold(0.0, f32::max)
    };
    let most = [0, 5].into_iter().flat_map(|layer| (0..4).map(move |head| largest(layer, head))).fold(0.0, f32::max);
    assert_eq!(best.1, as_shown(f64::from(most)));
    assert!(browser.text(".ranking .to").starts_with("→ "));
    assert_quiet(&mut browser);
}

#[test]
fn the_view_is_saved_as_a_drawing_as_pixels_and_as_numbers_and_its_link_and_command_are_copied() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "save", "#kind=encoder&layer=5&head=3&q=4") else {
        return;
    };
    browser.evaluate(
        "(() => { globalThis.saved = {}; let blob; URL.createObjectURL = one => { blob = one; return 'about:blank'; }; \
         HTMLAnchorElement.prototype.click = function () { saved[this.download] = blob; }; })()",
    );
    let press = |browser: &mut Browser, name: &str| {
        browser.evaluate(&format!(
            "[...document.querySelectorAll('.saving button')].find(e => e.textContent === '{name}').click()"
        ));
    };
    ["SVG", "PNG", "CSV"].iter().for_each(|name| press(&mut browser, name));
    let names = "new Promise(done => { const look = () => Object.keys(saved).length === 3 ? done(Object.keys(saved).sort()) : setTimeout(look, 10); look(); })";
    assert_eq!(
        browser.evaluate(names),
        serde_json::json!(["L5H3-encoder.csv", "L5H3-encoder.png", "L5H3-encoder.svg"])
    );
    let svg = browser.evaluate(
        "saved['L5H3-encoder.svg'].text().then(text => { const file = new DOMParser().parseFromString(text, 'image/svg+xml'); \
         const texts = [...file.querySelectorAll('text')].map(e => e.textContent); \
         return { root: file.documentElement.localName, scripts: file.querySelectorAll('script').length, texts, rects: file.querySelectorAll('rect').length }; })",
    );
    assert_eq!((svg["root"].as_str(), svg["scripts"].as_u64()), (Some("svg"), Some(0)));
    let texts = svg["texts"].as_array().unwrap();
    for wanted in
        ["L5H3 encoder self-attention", "believ", "query: source ↓", "weight, scale shared by all heads of this kind"]
    {
        assert!(texts.iter().any(|text| text == wanted), "{wanted}: {texts:?}");
    }
    assert!(texts.iter().any(|text| text.as_str().unwrap().starts_with("</script><script>")), "{texts:?}");
    assert!(svg["rects"].as_u64().unwrap() >= 49, "a rectangle for each cell");
    let pixels = browser.evaluate(
        "createImageBitmap(saved['L5H3-encoder.png']).then(image => { const canvas = document.createElement('canvas'); \
         [canvas.width, canvas.height] = [image.width, image.height]; const context = canvas.getContext('2d'); context.drawImage(image, 0, 0); \
         const data = context.getImageData(0, 0, image.width, image.height).data; const colours = new Set(); \
         for (let i = 0; i < data.length; i += 4) colours.add(data[i] << 16 | data[i + 1] << 8 | data[i + 2]); \
         return [image.width, image.height, colours.size]; })",
    );
    assert!(
        pixels[0].as_u64().unwrap() > 600 && pixels[1].as_u64().unwrap() > 600 && pixels[2].as_u64().unwrap() > 40,
        "{pixels}"
    );
    let csv = browser.evaluate("saved['L5H3-encoder.csv'].text()");
    let lines: Vec<&str> = csv.as_str().unwrap().lines().collect();
    assert_eq!(lines.len(), 8);
    let numbers: Vec<f32> = lines[5].rsplitn(8, ',').filter_map(|cell| cell.parse().ok()).collect();
    let row = recording.map(0, Kind::Encoder, 5, 3).unwrap().row(4);
    assert_eq!(numbers.len(), 7);
    assert!(numbers.iter().rev().zip(&row).all(|(a, b)| (a - b).abs() < 1e-6), "{numbers:?} {row:?}");

    for (name, wanted) in [
        ("link", "#kind=encoder&layer=5&head=3&q=4"),
        ("command", "attlas draw map run.safetensors --kind encoder --layer 5 --head 3 -o L5H3.svg"),
        ("Python", "rec.map(\"encoder\", 5, 3)"),
    ] {
        press(&mut browser, name);
        let copied = format!(
            "new Promise(done => {{ const look = () => {{ const said = document.querySelector('.saving output').textContent; \
             return said.startsWith('{name}') ? done(said) : setTimeout(look, 10); }}; look(); }})"
        );
        let said = browser.evaluate(&copied).as_str().unwrap().to_owned();
        assert!(said.contains(wanted), "{said}");
    }
    // lines, too
    browser.evaluate("document.querySelector('input[name=view][value=lines]').click()");
    browser.settle();
    browser.evaluate("saved = {}");
    press(&mut browser, "SVG");
    let paths = browser.evaluate(
        "new Promise(done => { const look = () => saved['L5H3-encoder.svg'] === undefined ? setTimeout(look, 10) : done(); look(); })\
         .then(() => saved['L5H3-encoder.svg'].text()).then(text => text.split('<path').length - 1)",
    );
    let n_lines = row.iter().filter(|weight| **weight >= 0.01).count();
    assert_eq!(paths, n_lines, "those of the chosen query");
    assert_quiet(&mut browser);
}

#[test]
fn a_map_zooms_and_moves_by_keys_and_the_url_remembers_what_is_seen() {
    let Some((mut browser, _folder, file)) =
        opened(&common::everything(), "zoom", "#kind=encoder&layer=5&head=3&q=4&k=1")
    else {
        return;
    };
    let labels = "[...document.querySelectorAll('.row-labels .token')].map(e => e.textContent).join(' ')";
    let whole = browser.evaluate(labels);
    browser.evaluate("document.querySelector('.cells').focus()");
    browser.press("+", false);
    browser.press("+", false);
    let hash = browser.evaluate("location.hash").as_str().unwrap().to_owned();
    assert!(hash.contains("&zoom="), "{hash}");
    let seen = browser.evaluate(labels);
    assert!(seen != whole && seen.as_str().unwrap().contains("cat"), "{seen}: about the chosen cell");
    assert!(browser.text(".zoom-bar").contains(" of 7 queries × "), "{}", browser.text(".zoom-bar"));
    // the part follows the chosen cell, and comes back by its address
    for _ in 0..4 {
        browser.press("ArrowUp", false);
    }
    assert!(browser.evaluate(labels).as_str().unwrap().starts_with("the "), "{}", browser.evaluate(labels));
    let (hash, seen) = (browser.evaluate("location.hash"), browser.evaluate(labels));
    browser.open(&file, hash.as_str().unwrap());
    assert_eq!(browser.evaluate(labels), seen);
    browser.evaluate("document.querySelector('.cells').focus()");
    browser.press("0", false);
    assert_eq!(browser.evaluate(labels), whole);
    assert!(!browser.evaluate("location.hash").as_str().unwrap().contains("zoom"));
    assert_quiet(&mut browser);
}

#[test]
fn tokens_taken_together_are_one_place_of_the_map_with_the_sum_of_their_weights() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) =
        opened(&recording, "span", "#kind=encoder&layer=5&head=3&spans=s1-4+hope&q=0&k=2")
    else {
        return;
    };
    let labels = browser.evaluate("[...document.querySelectorAll('.column-labels .token')].map(e => e.textContent)");
    assert_eq!(labels, serde_json::json!(["the", "hope", "cat", common::HOSTILE, "</s>"]));
    let row = recording.map(0, Kind::Encoder, 5, 3).unwrap().row(0);
    let sum: f32 = row[1..4].iter().sum();
    let weight = browser.evaluate("Number(document.querySelector('#reading').dataset.weight)").as_f64().unwrap();
    assert!((weight - f64::from(sum)).abs() < 2e-6, "{weight}, not {sum}");
    // the search finds it by its name
    browser.press("/", false);
    assert_eq!(browser.evaluate("document.activeElement.type"), "search");
    browser.click(".spans button");
    assert_eq!(browser.evaluate("document.querySelectorAll('.column-labels .token').length"), 7, "split again");
    assert_quiet(&mut browser);
}

#[test]
fn each_class_has_a_dot_of_its_own_and_a_click_on_it_leaves_its_heads_lit() {
    let heads = common::scored_heads(Kind::Encoder, 2, 4);
    let found = standouts(&heads);
    let usual = found.iter().filter(|one| !one.is_usual()).count();
    assert!(usual > 2, "{usual} findings");
    let n = 12;
    let shape = Shape { n_heads: 4, n_kv_heads: 4, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let layer = |index| Layer::new(Kind::Encoder, index, shape, Weights::Dense(vec![1.0 / n as f32; 4 * n * n].into()));
    let recording = Recording {
        items: vec![Item { source: Tokens::from_labels((0..n).map(|place| format!("w{place}"))), ..Item::default() }],
        layers: vec![layer(0), layer(1)],
        provenance: Provenance::default(),
    };
    let options = PageOptions { standouts: found, ..PageOptions::default() };
    let Some((mut browser, _folder, _)) = opened_with(&recording, &options, "dots", "") else { return };
    let classes = browser.evaluate(
        "[...document.querySelectorAll('.legend button')].map(e => [e.textContent, getComputedStyle(e.querySelector('.dot')).backgroundColor])",
    );
    let classes = classes.as_array().unwrap();
    assert!(classes.len() > 1 && classes[0][1] != classes[1][1], "{classes:?}");
    browser.click(".legend li:first-child button");
    let count = |browser: &mut Browser, selector: &str| {
        browser.evaluate(&format!("document.querySelectorAll('{selector}').length")).as_u64().unwrap()
    };
    let lit = count(&mut browser, ".thumb:not(.dimmed)");
    assert!(classes[0][0].as_str().unwrap().ends_with(&format!(" {lit} heads")), "{lit}: {classes:?}");
    assert_eq!(count(&mut browser, ".thumb.dimmed"), 8 - lit);
    browser.click(".legend li:first-child button");
    assert_eq!(count(&mut browser, ".thumb.dimmed"), 0);
    assert_quiet(&mut browser);
}

#[test]
fn a_question_mark_lists_the_keys_and_what_has_the_focus_is_seen() {
    let Some((mut browser, _folder, _)) = opened(&common::everything(), "help", "#kind=cross&q=1") else { return };
    browser.press("?", true);
    assert_eq!(browser.evaluate("document.querySelector('dialog').open"), true);
    assert!(browser.text("dialog").contains("who looks at it"), "{}", browser.text("dialog"));
    browser.press("?", true);
    assert_eq!(browser.evaluate("document.querySelector('dialog').open"), false);
    // every part that Tab leads to has a ring
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        browser.press("Tab", false);
        let focus = browser.evaluate(
            "(() => { const e = document.activeElement, seen = e.matches('input[type=radio]') ? e.nextElementSibling : e; \
             return [e.className || e.localName, getComputedStyle(seen).outlineStyle, parseFloat(getComputedStyle(seen).outlineWidth)]; })()",
        );
        if focus[0] == "body" {
            break;
        }
        assert!(focus[1] == "solid" && focus[2].as_f64().unwrap() >= 2.0, "{focus}");
        seen.insert(focus[0].as_str().unwrap().to_owned());
    }
    for part in ["cells", "thumb", "chip", "plain", "theme"] {
        assert!(seen.contains(part), "{part} of {seen:?}");
    }
    assert_quiet(&mut browser);
}
