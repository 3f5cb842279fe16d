//! The page in a real browser.

#[path = "common/browser.rs"]
mod browser;
mod common;

use std::path::PathBuf;

use attlas::analysis::describe::Sentence;
use attlas::analysis::{measure_all, standouts};
use attlas::attention::Shape;
use attlas::{Bias, Item, Kind, Layer, Provenance, Quantity, Recording, Scoring, Tokens, Trace, Visibility, Weights};
use attlas_viewer::{Description, PageOptions, heads_page, page};
use browser::Browser;
use serde_json::Value;

/// A folder of this test process; removed at the end of a passed test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("attlas-viewer-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes the page of a recording and opens it; `None` where the browser tests are left out.
fn opened(recording: &Recording, name: &str, hash: &str) -> Option<(Browser, Folder, PathBuf)> {
    opened_with(recording, &PageOptions::default(), name, hash)
}

fn opened_with(
    recording: &Recording,
    options: &PageOptions,
    name: &str,
    hash: &str,
) -> Option<(Browser, Folder, PathBuf)> {
    opened_page(name, hash, || page(recording, options).unwrap())
}

fn opened_page(name: &str, hash: &str, page: impl Fn() -> String) -> Option<(Browser, Folder, PathBuf)> {
    let chromium = browser::chromium()?;
    let folder = Folder::new(name);
    let file = folder.0.join("atlas.html");
    std::fs::write(&file, page()).unwrap();
    let mut browser = Browser::start(&chromium, &folder.0);
    browser.resize(1280, 900, "light");
    browser.open(&file, hash);
    Some((browser, folder, file))
}

/// What must never happen: a dialog, a request, a refused or failed script, anything on the console.
fn assert_quiet(browser: &mut Browser) {
    browser.evaluate("1"); // so that what was under way has arrived
    for event in &browser.events {
        let method = event["method"].as_str().unwrap_or_default();
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        assert_ne!(method, "Page.javascriptDialogOpening", "a script of the data ran: {event}");
        assert_ne!(method, "Runtime.exceptionThrown", "{event}");
        assert_ne!(method, "Runtime.consoleAPICalled", "{event}");
        assert_ne!(method, "Log.entryAdded", "{event}");
        let is_font = url.starts_with("data:font/"); // which stands in the page
        // the script's own text, as a worker
        let own = is_font
            || url.starts_with("blob:")
            || url.starts_with("file://") && url.contains("/atlas.html")
            || url == "about:blank";
        assert!(method != "Network.requestWillBeSent" || own, "the page asked for {url}");
    }
}

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
fn the_page_computes_the_weights_of_attlas() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "weights", "") else { return };
    let mut n_compared = 0;
    for item in 0..recording.items.len() {
        for layer in &recording.layers {
            for head in 0..layer.shape.n_heads {
                let (kind, index) = (layer.kind, layer.index);
                let shown =
                    browser.evaluate(&format!("attlas.weights({item}, '{kind}', {index}, {head}).then(w => [...w])"));
                let expected = without_padding(&recording, item, kind, index, head);
                let shown: Vec<f64> = shown.as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).collect();
                assert_eq!(shown.len(), expected.len(), "{kind} L{index}H{head}, text {item}");
                for (cell, (shown, expected)) in shown.iter().zip(&expected).enumerate() {
                    let difference = (shown - f64::from(*expected)).abs();
                    assert!(difference < 1e-6, "{kind} L{index}H{head}, text {item}, cell {cell}: {shown} {expected}");
                }
                n_compared += shown.len();
            }
        }
    }
    assert!(n_compared > 1000, "{n_compared} weights compared");
    assert_quiet(&mut browser);
}

/// The weights of [`attlas::AttentionMap`] without padding rows and columns. Shape `[n_queries, n_keys]`.
fn without_padding(recording: &Recording, item: usize, kind: Kind, layer: usize, head: usize) -> Vec<f32> {
    let map = recording.map(item, kind, layer, head).unwrap();
    let kept = |tokens: &attlas::Tokens| -> Vec<usize> {
        (0..tokens.len()).filter(|i| tokens.tokens[*i].role != attlas::TokenRole::Padding).collect()
    };
    let (queries, keys) = (kept(map.query_tokens()), kept(map.key_tokens()));
    let rows = queries.iter().map(|query| map.row(*query));
    rows.flat_map(|row| keys.iter().map(|key| row[*key]).collect::<Vec<_>>()).collect()
}

/// A text and padding of `n` tokens with layers of all rules and sizes of scores: about ±4, ±60 and ±400.
fn long(n: usize) -> Recording {
    let mut labels = vec!["␀"; 3];
    labels.extend(["the", "cat", "sat"].into_iter().cycle().take(n - 3));
    let items =
        vec![Item { source: common::tokens("", &labels), target: common::tokens("", &labels), ..Item::default() }];
    let shape =
        |n_heads, n_kv_heads, d_head| Shape { n_heads, n_kv_heads, n_queries: n, n_keys: n, d_head, d_value: 1 };
    let scaled = |scale: f64, visibility| Scoring { scale, ..Scoring::scaled_dot_product(16, visibility) };
    let capped = Scoring { softcap: Some(5.0), ..scaled(0.8, Visibility { before: Some(90), after: Some(20) }) };
    let biased = Scoring {
        bias: Bias::Alibi { slopes: vec![0.05, 0.01, 0.3, 0.1] },
        sinks: Some(vec![0.5, -1.0, 3.0, 2.0]),
        ..scaled(0.4, Visibility::CAUSAL)
    };
    let table: Vec<f32> = (0..2 * 9).map(|place| (place * 5 % 7) as f32 / 3.0).collect();
    let relative = Scoring { bias: Bias::Relative { first: -4, table, n_offsets: 9 }, ..scaled(0.5, Visibility::FULL) };
    let layers = [
        (Kind::Encoder, 0, shape(2, 2, 16), scaled(0.25, Visibility::FULL)),
        (Kind::Encoder, 1, shape(2, 1, 16), relative),
        (Kind::Encoder, 2, shape(1, 1, 64), scaled(0.0625, Visibility::FULL)),
        (Kind::Decoder, 0, shape(4, 2, 16), biased),
        (Kind::Decoder, 1, shape(2, 2, 16), capped),
        (Kind::Decoder, 2, shape(2, 2, 16), scaled(5.0, Visibility::CAUSAL)),
        (Kind::Cross, 0, shape(2, 2, 16), scaled(30.0, Visibility::FULL)),
    ];
    let layers = layers.into_iter().enumerate();
    let layers = layers.map(|(seed, (kind, index, shape, scoring))| {
        common::factored(kind, index, shape, scoring, &items, seed as u64)
    });
    Recording { layers: layers.collect(), items, provenance: Provenance::default() }
}

/// A weight as the page shows it.
fn as_shown(weight: f64) -> String {
    if weight == 0.0 || weight >= 0.000_05 {
        return format!("{:.4}", (weight * 1e4 + 0.5).floor() / 1e4);
    }
    let superscript = |sign: char| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(sign.to_digit(10).unwrap() as usize).unwrap();
    let digits = format!("{weight:.1e}");
    let (digits, power) = digits.split_once("e-").unwrap();
    format!("{digits}·10⁻{}", power.chars().map(superscript).collect::<String>())
}

#[test]
fn every_digit_shown_is_the_recordings_whatever_the_size_of_scores() {
    let recording = long(150);
    let Some((mut browser, _folder, file)) = opened(&recording, "digits", "") else { return };
    let n_of = |browser: &mut Browser, form: &str, kind: &str| {
        let groups = format!(
            "attlas.source.atlas.layers.filter(l => l.kind === '{kind}')\
             .flatMap(({{ stored: [s] }}) => s.storage === 'factored' ? s.groups : [{{ form: s.storage }}]).filter(g => g.form === '{form}').length"
        );
        browser.evaluate(&groups).as_u64().unwrap()
    };
    let forms = |browser: &mut Browser, kind| ["coded", "rounded", "f32"].map(|form| n_of(browser, form, kind));
    assert_eq!(forms(&mut browser, "encoder"), [1, 3, 0], "heads of 64 dimensions take less as digits");
    assert_eq!(forms(&mut browser, "decoder"), [0, 4, 2], "±60: 32-bit");
    assert_eq!(forms(&mut browser, "cross"), [0, 0, 2], "±400: 32-bit");
    let mut n_compared = 0;
    for layer in &recording.layers {
        for head in 0..layer.shape.n_heads {
            let (kind, index) = (layer.kind, layer.index);
            let shown = browser.evaluate(&format!("attlas.shown(0, '{kind}', {index}, {head})"));
            let map = recording.map(0, kind, index, head).unwrap();
            let (rows, tile) = (without_padding(&recording, 0, kind, index, head), map.tile(3..150, 3..150));
            let shown = shown.as_array().unwrap();
            assert_eq!(shown.len(), rows.len());
            for (cell, (shown, (row, tile))) in shown.iter().zip(rows.iter().zip(&tile)).enumerate() {
                // a row alone and a tile differ by 1e-7, which may lie on two sides of a rounding
                let wanted = [*row, *tile].map(|weight| as_shown(f64::from(weight)));
                let shown = shown.as_str().unwrap();
                assert!(
                    wanted.iter().any(|wanted| wanted == shown),
                    "{kind} L{index}H{head}, {cell}: {shown}, not {wanted:?}"
                );
                n_compared += 1;
            }
        }
    }
    assert!(n_compared > 250_000, "{n_compared} weights");

    // scores, which are made of weights and log-sum-exps
    for (query, key) in [(10, 4), (77, 76), (140, 3)] {
        browser.open(&file, &format!("#kind=decoder&layer=0&head=3&q={query}&k={key}&rows=read"));
        let score: f64 = browser
            .evaluate("Number(document.querySelector('#reading .score').textContent.split(' ').at(-1))")
            .as_f64()
            .unwrap();
        let layer = &recording.layers[3];
        let factored = layer.factored().unwrap();
        let (queries, keys) = (factored.queries.read_all().unwrap(), factored.keys.read_all().unwrap());
        let row = |numbers: &[f32], row: usize| -> Vec<f64> {
            numbers[row * 16..][..16].iter().map(|n| f64::from(*n)).collect()
        };
        let dot: f64 =
            row(&queries, 3 * 150 + query + 3).iter().zip(row(&keys, 150 + key + 3)).map(|(a, b)| a * b).sum();
        let wanted = factored.scoring.score(3, query + 3, key + 3, dot);
        assert!((score - wanted).abs() < 0.0101, "{query} {key}: {score}, not {wanted}");
    }
    assert_quiet(&mut browser);
}

/// A recording of `n` tokens with numbers of other quantities, of all sizes and either sign where there is one: norms of a layer of
/// weights, rollout, and effects.
fn quantities(n: usize) -> Recording {
    let labels: Vec<&str> = ["␀"].into_iter().chain(["the", "cat", "sat"].into_iter().cycle().take(n - 1)).collect();
    let items = vec![Item { source: common::tokens("", &labels), ..Item::default() }];
    let shape = Shape { n_heads: 2, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 16, d_value: 1 };
    let scoring = Scoring::scaled_dot_product(16, Visibility::CAUSAL);
    let mut weights = common::factored(Kind::Encoder, 0, shape, scoring, &items, 1);
    let mut random = common::Random::new(8);
    let norms: Vec<f32> = (0..2 * n).map(|_| 20.0 + 15.0 * random.next()).collect(); // [2 heads, n]
    weights.traces = [(Trace::ValueNorms, norms.into())].into_iter().collect();
    let mut other = |quantity: Quantity, n_heads: usize, size: f32| {
        let numbers: Vec<f32> = (0..n_heads * n * n)
            .map(|place| {
                let number = size * random.next() * 10_f32.powi(-(place as i32 % 9));
                if place % 7 == 3 { 0.0 } else { number }
            })
            .map(|number| if quantity.is_signed() { number } else { number.abs() })
            .collect(); // [n_heads, n, n]
        let shape = Shape { n_heads, n_kv_heads: n_heads, d_head: 0, d_value: 0, ..shape };
        Layer { quantity, ..Layer::new(Kind::Encoder, 0, shape, Weights::Dense(numbers.into())) }
    };
    let layers = vec![
        other(Quantity::Rollout, 1, 1.0),
        other(Quantity::Effect, 2, 4e-3),
        other(Quantity::Relevance, 1, 70_000.0),
    ];
    let layers = [weights].into_iter().chain(layers).collect();
    Recording { layers, items, provenance: Provenance::default() }
}

/// The number that is shown as `1.25`, `−0.003` or `1.2·10⁻⁷`.
fn read_number(shown: &str) -> f64 {
    let plain: String = shown
        .chars()
        .map(|sign| match "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().position(|digit| digit == sign) {
            Some(digit) => char::from_digit(digit as u32, 10).unwrap(),
            None if "−⁻".contains(sign) => '-',
            None => sign,
        })
        .collect();
    plain.replace("·10", "e").parse().unwrap_or_else(|_| panic!("{shown}"))
}

#[test]
fn numbers_of_every_quantity_are_those_of_attlas_to_the_digits_shown_in_every_storage() {
    for (n, storage) in [(12, "dense"), (150, "coded")] {
        let recording = quantities(n);
        let Some((mut browser, _folder, _)) = opened(&recording, storage, "") else { return };
        let stored = "attlas.source.atlas.layers.filter(l => l.quantity).map(l => l.stored[0].storage).join()";
        assert_eq!(browser.evaluate(stored), [storage; 4].join(","));
        let mut n_compared = 0;
        for quantity in [Quantity::Norm, Quantity::Rollout, Quantity::Effect, Quantity::Relevance] {
            let layer = recording.layer_in(quantity, Kind::Encoder, 0).unwrap();
            let unit = browser.evaluate(&format!(
                "attlas.source.atlas.layers.find(l => l.quantity === '{}').unit ?? 1",
                quantity.name()
            ));
            let unit = unit.as_f64().unwrap();
            for head in 0..layer.shape.n_heads {
                let hook = |hook: &str| {
                    format!("attlas.{hook}(0, 'encoder', 0, {head}, '{}').then(n => [...n])", quantity.name())
                };
                let (numbers, shown) = (browser.evaluate(&hook("weights")), browser.evaluate(&hook("shown")));
                let expected = recording.map_of(&layer, 0, head).unwrap().tile(1..n, 1..n);
                let pairs = numbers.as_array().unwrap().iter().zip(shown.as_array().unwrap());
                assert_eq!(pairs.len(), expected.len());
                for ((number, shown), expected) in pairs.zip(expected) {
                    let (number, expected) = (number.as_f64().unwrap(), f64::from(expected));
                    // half of the last digit, which is in the fourth place of the unit, or the second of a small number
                    let small = 0.5 * 10_f64.powf(expected.abs().log10().floor() - 1.0);
                    let digit = if expected.abs() < 5e-5 * unit { small } else { 5e-5 * unit };
                    let near = |other: f64, most: f64| {
                        (other - expected).abs() <= most * 1.0001 + 1e-7 * expected.abs() + 1e-44
                    };
                    let exact = if storage == "dense" { 1e-6 * expected.abs() } else { digit };
                    assert!(near(number, exact), "{quantity} H{head}: {number}, not {expected}");
                    let shown = shown.as_str().unwrap();
                    assert!(near(read_number(shown), digit), "{quantity} H{head}: {shown}, not {expected}");
                    n_compared += 1;
                }
            }
        }
        assert_eq!(n_compared, 6 * (n - 1) * (n - 1));
        assert_quiet(&mut browser);
    }
}

#[test]
fn a_score_is_what_the_query_and_the_key_beside_its_weight_give() {
    let recording = common::everything();
    let Some((mut browser, _folder, _)) = opened(&recording, "pairs", "") else { return };
    let mut n_compared = 0;
    for layer in recording.layers.iter().filter(|layer| layer.factored().is_some()) {
        let (kind, index, d) = (layer.kind, layer.index, layer.shape.d_head);
        let factored = layer.factored().unwrap();
        let (queries, keys) = (factored.queries.read_all().unwrap(), factored.keys.read_all().unwrap());
        for head in 0..layer.shape.n_heads {
            for (query, key) in [(0, 0), (1, 3), (4, 2)] {
                let pair = browser.evaluate(&format!(
                    "attlas.pair(0, '{kind}', {index}, {head}, {query}, {key}).then(p => [[...p.query], [...p.key]])"
                ));
                let row = |of: usize| -> Vec<f64> {
                    pair[of].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
                };
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                let exact = |numbers: &[f32], row: usize| -> Vec<f64> {
                    numbers[row * d..][..d].iter().map(|number| f64::from(*number)).collect()
                };
                let (first, first_key) = (head * layer.shape.n_queries, layer.shape.kv_head(head) * layer.shape.n_keys);
                let wanted = dot(&exact(&queries, first + query), &exact(&keys, first_key + key));
                let off = factored.scoring.scale * (dot(&row(0), &row(1)) - wanted);
                assert!(off.abs() < 0.005, "{kind} L{index}H{head} {query} {key}: off by {off}");
                n_compared += 1;
            }
        }
    }
    assert!(n_compared > 50, "{n_compared} scores");
    assert_quiet(&mut browser);
}

#[test]
fn tiles_that_travel_as_digits_are_shown_with_the_digits_of_their_largest_weights() {
    let n = 1200;
    let shape = Shape { n_heads: 1, n_kv_heads: 1, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let mut random = common::Random::new(3);
    // 2e-16 to 1, and nothing ahead
    let weight =
        |cell: usize, number: f32| if cell % n <= cell / n { (f64::from(number) * 18.0 - 18.0).exp() } else { 0.0 };
    let weights: Vec<f32> = (0..n * n).map(|cell| weight(cell, random.next()) as f32).collect();
    let recording = Recording {
        items: vec![Item { source: Tokens::from_labels((0..n).map(|place| place.to_string())), ..Item::default() }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, Weights::Dense(weights.clone().into()))],
        provenance: Provenance::default(),
    };
    let options = PageOptions { max_bytes: 1 << 20, ..PageOptions::default() };
    let Some((mut browser, _folder, _)) = opened_with(&recording, &options, "coded", "") else { return };
    assert_eq!(browser.evaluate("attlas.source.atlas.layers[0].stored[0].storage"), "coded");
    let shown = browser.evaluate("attlas.shown(0, 'encoder', 0, 0)");
    let side = (shown.as_array().unwrap().len() as f64).sqrt() as usize;
    assert_eq!(side, 384);
    for (tile, shown) in shown.as_array().unwrap().iter().enumerate() {
        let stretch = |tile: usize| (tile * n).div_ceil(side)..((tile + 1) * n).div_ceil(side);
        let cells = stretch(tile / side).flat_map(|query| stretch(tile % side).map(move |key| query * n + key));
        let largest = cells.map(|cell| weights[cell]).fold(0.0, f32::max);
        assert_eq!(shown.as_str().unwrap(), as_shown(f64::from(largest)), "tile {tile}");
    }
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
fn labels_are_neither_clipped_nor_on_top_of_each_other_on_a_phone() {
    let Some((mut browser, _folder, file)) = opened(&common::everything(), "phone", "") else { return };
    browser.resize(390, 844, "dark");
    for hash in ["#kind=encoder", "#kind=decoder", "#kind=cross&item=1"] {
        browser.open(&file, hash);
        let wide = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{hash}: the page scrolls sideways");
        let overlaps = browser.evaluate(
            "(() => { const boxes = [...document.querySelectorAll('.column-labels .label:not(.left-out) .token')] \
             .map(e => e.getBoundingClientRect()); return boxes.slice(1).filter((b, i) => b.left < boxes[i].right - 0.5).length; })()",
        );
        assert_eq!(overlaps, Value::from(0), "{hash}: column labels overlap");
    }
    assert_quiet(&mut browser);
}

/// The labels and numbers of a list of the page, first to last.
fn listed(browser: &mut Browser, list: &str) -> Vec<(String, String)> {
    let rows = browser.evaluate(&format!(
        "[...document.querySelectorAll('{list} li button')].map(e => [e.firstChild.textContent, e.querySelector('.weight').textContent])"
    ));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(|row| (text(&row[0]), text(&row[1]))).collect()
}

/// Waits until all heads were looked at for what is chosen.
fn rank(browser: &mut Browser) -> Vec<(String, String)> {
    browser.evaluate(
        "new Promise(done => { const look = () => document.querySelector('.ranking[aria-busy=false] li') ? done() : setTimeout(look, 20); \
         setTimeout(look, 150); })",
    );
    listed(browser, ".ranking")
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
fn numbers_are_worked_out_beside_the_page_and_within_it_where_a_policy_allows_no_worker() {
    let recording = common::everything();
    let expected = recording.map(0, Kind::Encoder, 5, 3).unwrap().row(4)[1];
    for (policy, has_worker) in [("worker-src blob:", true), ("worker-src 'none'", false)] {
        let html = || page(&recording, &PageOptions::default()).unwrap().replace("worker-src blob:", policy);
        let Some((mut browser, _folder, _)) = opened_page("worker", "#kind=encoder&layer=5&head=3&q=4&k=1", html)
        else {
            return;
        };
        let sentence = browser.text("#reading");
        assert!(sentence.starts_with(&format!("cat → un {expected:.4}")), "{policy}: {sentence}");
        assert_eq!(browser.evaluate("attlas.source.worker !== null"), has_worker, "{policy}");
    }
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
fn on_paper_bars_and_maps_keep_their_colours_on_white_and_switches_are_gone() {
    let Some((mut browser, _folder, _)) =
        opened(&common::everything(), "print", "#kind=encoder&layer=5&q=1&theme=dark")
    else {
        return;
    };
    rank(&mut browser);
    browser.print_media();
    let seen = browser.evaluate(
        "(() => { const style = s => getComputedStyle(document.querySelector(s)); \
         return { exact: ['.ranked .bar', '.chip .bar', '.ramp', '.cells', '.ranking .bar'].every(s => style(s).printColorAdjust === 'exact'), \
           ink: style('body').color, gone: ['.controls', '.saving', '.theme'].every(s => style(s).display === 'none'), \
           room: style('.map-scroll').overflow, bars: document.querySelectorAll('.reading > .ranked .bar').length }; })()",
    );
    assert_eq!(
        seen,
        serde_json::json!({"exact": true, "ink": "rgb(29, 27, 36)", "gone": true, "room": "visible", "bars": 7})
    );
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

/// Every head uniform over `n` tokens, so that each is marked as broad.
fn uniform(n: usize) -> Recording {
    let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: n, n_keys: n, d_head: 0, d_value: 0 };
    let weights = vec![1.0 / n as f32; 2 * n * n]; // [2 heads, n, n]
    let words = ["neighbourhood", "a", "quick", "of"];
    Recording {
        items: vec![Item {
            source: Tokens::from_labels((0..n).map(|place| words[place % words.len()])),
            ..Item::default()
        }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, Weights::Dense(weights.into()))],
        provenance: Provenance::default(),
    }
}

#[test]
fn on_a_phone_the_map_is_whole_and_on_the_first_screen_and_its_labels_and_tooltip_are_seen() {
    let recording = uniform(100);
    let standouts = standouts(&measure_all(&recording).unwrap());
    let options = PageOptions { standouts, ..PageOptions::default() };
    let Some((mut browser, _folder, file)) = opened_with(&recording, &options, "small", "") else { return };
    for (width, height) in [(390, 844), (420, 680), (390, 664), (768, 1024), (1280, 900)] {
        browser.resize(width, height, "light");
        browser.open(&file, "#kind=encoder&layer=0&head=1&q=1&k=98");
        assert!(
            browser.text(".head .remark").starts_with("broad"),
            "the head has a badge, which must not push the map aside"
        );
        let wide = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{width}: the page scrolls sideways");
        let seen = browser.evaluate(
            "(() => { const box = s => document.querySelector(s).getBoundingClientRect(); \
             const [room, cells] = [box('.map-scroll'), box('.cells canvas')]; \
             return [cells.width, cells.right - room.right, box('.colour-bar').bottom - innerHeight]; })()",
        );
        let [side, beyond, below] = [0, 1, 2].map(|place| seen[place].as_f64().unwrap());
        assert!(side >= 200.0 && beyond <= 0.5, "{width}: {side} px, {beyond} px beyond its room");
        assert!(width > 560 || below <= 0.0, "{width}: the colours end {below} px below the first screen");
        // what is clipped lies outside the scrolled room, or beneath the labels of the other axis
        let clipped = browser.evaluate(
            "(() => { const seen = e => getComputedStyle(e).visibility === 'visible'; \
             const boxes = axis => [...document.querySelectorAll(`.${axis}-labels .label`)].filter(seen) \
               .map(e => { const r = document.createRange(); r.selectNodeContents(e.firstChild); return r.getBoundingClientRect(); }); \
             const [rows, columns] = [boxes('row'), boxes('column')]; \
             const [room, corner] = ['.map-scroll', '.map .corner'].map(s => document.querySelector(s).getBoundingClientRect()); \
             const faults = []; \
             for (const word of document.querySelectorAll('.map .axis-name')) { \
               const b = word.getBoundingClientRect(); \
               if (b.left < room.left || b.top < room.top || word.scrollWidth > word.clientWidth + 1 && b.width > 0) faults.push(word.textContent); \
             } \
             if (rows[0].top < corner.bottom - 1) faults.push('the first row'); \
             if (columns[0].left < corner.right - 1) faults.push('the first column'); \
             if (rows.some(b => b.left < room.left || b.bottom > room.bottom)) faults.push('a row outside'); \
             if (columns.some(b => b.top < room.top || b.right > room.right)) faults.push('a column outside'); \
             if (rows.slice(1).some((b, i) => b.top < rows[i].bottom - 1)) faults.push('rows on each other'); \
             if (columns.slice(1).some((b, i) => b.left < columns[i].right - 1)) faults.push('columns on each other'); \
             return faults; })()",
        );
        assert_eq!(clipped, serde_json::json!([]), "{width}");
        for (x, y) in [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99)] {
            let place = browser.evaluate(&format!(
                "(() => {{ const b = document.querySelector('.cells canvas').getBoundingClientRect(); \
                 return [b.left + b.width * {x}, Math.min(b.top + b.height * {y}, innerHeight - 2)]; }})()"
            ));
            browser.point_at(place[0].as_f64().unwrap(), place[1].as_f64().unwrap());
            let inside = browser.evaluate(
                "(async () => { await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))); \
                 const b = document.querySelector('.tip').getBoundingClientRect(); \
                 return b.width > 0 && b.left >= 0 && b.top >= 0 && b.right <= innerWidth && b.bottom <= innerHeight; })()",
            );
            assert_eq!(inside, true, "{width}: the tooltip at {x}, {y}");
        }
    }
    assert_quiet(&mut browser);
}

/// A page around the page of a recording, in a frame 420 × 680 px, that keeps what it is told.
fn framed(recording: &Recording, attributes: &str) -> String {
    let page = page(recording, &PageOptions::default()).unwrap().replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!doctype html><title>around</title><div id=\"panel\" aria-busy=\"true\"></div><script>\
         const said = []; \
         addEventListener('message', event => {{ said.push(event.data); panel.ariaBusy = said.length < 2; }}); \
         const last = name => said.findLast(one => name in one)?.[name]; \
         const told = (name, wanted) => new Promise(done => {{ \
           const look = () => wanted(last(name)) ? done(last(name)) : setTimeout(look, 10); look(); }}); \
         </script><iframe {attributes} srcdoc=\"{page}\" style=\"width: 420px; height: 680px\"></iframe>"
    )
}

#[test]
fn in_a_sandboxed_frame_the_page_tells_its_height_and_what_is_chosen_and_takes_a_choice() {
    let page = || framed(&common::everything(), "sandbox=\"allow-scripts allow-downloads\"");
    let Some((mut browser, _folder, _)) = opened_page("sandbox", "", page) else { return };
    assert_eq!(
        browser.evaluate("(() => { try { return frames[0].document.title } catch { return 'kept out' } })()"),
        "kept out"
    );
    let height = browser.evaluate("told('height', height => height > 680)");
    assert!(height.as_f64().unwrap() < 4000.0, "{height}");
    let ask = |browser: &mut Browser, message: &str, wanted: &str| {
        browser.evaluate(&format!("frames[0].postMessage({message}, '*'), told('selection', one => {wanted})"))
    };
    // text 1 begins with two tokens of padding: its fourth token is the second that is seen
    let chosen = ask(
        &mut browser,
        "{ attlas: 1, selection: { item: 1, kind: 'encoder', layer: 5, head: 3, query: 3, key: 6 } }",
        "one.layer === 5",
    );
    assert_eq!(chosen, serde_json::json!({"item": 1, "kind": "encoder", "layer": 5, "head": 3, "query": 3, "key": 6}));
    // what is not there, or no number, is as it was, or the nearest
    for nonsense in
        ["null", "7", "{ attlas: 1 }", "{ attlas: 1, selection: 'L5H3' }", "{ attlas: 2, selection: { head: 0 } }"]
    {
        browser.evaluate(&format!("frames[0].postMessage({nonsense}, '*')"));
    }
    let chosen = ask(
        &mut browser,
        "{ attlas: 1, selection: { item: 1e9, kind: '<img>', layer: -1, head: 1e9, query: 0, key: '3' } }",
        "one.query === null",
    );
    assert_eq!(
        chosen,
        serde_json::json!({"item": 1, "kind": "encoder", "layer": 5, "head": 3, "query": null, "key": null})
    );
    assert_quiet(&mut browser);
}

#[test]
fn in_a_frame_a_click_is_told_and_leaves_the_history_of_the_page_around_alone() {
    let page = || framed(&common::everything(), "");
    let Some((mut browser, _folder, _)) = opened_page("frame", "", page) else { return };
    let before = browser.evaluate("history.length");
    browser.evaluate("frames[0].document.querySelector('#tab-encoder').click()");
    browser.evaluate("told('selection', one => one.kind === 'encoder')");
    browser.evaluate("frames[0].document.querySelector('.thumb[aria-label^=\"L5H3\"]').click()");
    let chosen = browser.evaluate("told('selection', one => one.layer === 5)");
    assert_eq!(chosen["head"], 3);
    assert_eq!(browser.evaluate("history.length"), before);
    assert_eq!(browser.evaluate("frames[0].document.documentElement.classList.contains('compact')"), true);
    assert_quiet(&mut browser);
}

#[test]
fn a_page_that_stands_alone_sends_no_message() {
    let Some((mut browser, _folder, _)) = opened(&common::everything(), "alone", "#kind=encoder") else { return };
    browser.evaluate("globalThis.said = []; addEventListener('message', event => said.push(event.data))");
    browser.click(".thumb[aria-label^=\"L5H3\"]");
    browser.evaluate("postMessage({ attlas: 1, selection: { kind: 'encoder', layer: 0, head: 0 } }, '*')");
    browser.evaluate("new Promise(done => setTimeout(done, 100))");
    assert_eq!(browser.evaluate("said.length"), 1, "the test's own");
    assert_eq!(browser.text(".head-title .name"), "L5H3", "and takes none");
}

#[test]
fn a_text_of_2000_tokens_opens_as_tiles_and_says_so() {
    let shape = Shape { n_heads: 2, n_kv_heads: 2, n_queries: 2000, n_keys: 2000, d_head: 0, d_value: 0 };
    let mut random = common::Random::new(1);
    let mut weights: Vec<f32> = random.numbers(2 * 2000 * 2000, 0.001).iter().map(|one| one.abs()).collect(); // [2 heads, 2000, 2000]
    weights.iter_mut().step_by(2001).for_each(|weight| *weight = 0.75);
    let recording = Recording {
        items: vec![Item { source: Tokens::from_labels((0..2000).map(|n| format!("w{n}"))), ..Item::default() }],
        layers: vec![Layer::new(Kind::Encoder, 0, shape, Weights::Dense(weights.into()))],
        provenance: Provenance { model: "imported".into(), ..Provenance::default() },
    };
    let options = PageOptions { max_bytes: 4 << 20, ..PageOptions::default() };
    let Some((mut browser, _folder, file)) = opened_with(&recording, &options, "tiles", "#q=0&k=0") else { return };
    let note = browser.text(".note");
    assert!(note.contains("each cell is the largest weight of a tile of up to 4 × 4 weights"), "{note}");
    let sentence = browser.text("#reading");
    assert!(sentence.starts_with("0–3 w0 w1 w2 w3 → 0–3 w0 w1 w2 w3 0.7500 at most"), "{sentence}");
    assert_eq!(browser.text(".reading .caption"), "Largest weights of tiles: a row of them has no sum.");
    assert!(browser.text("footer").contains("exported arrays give the weights themselves"));
    // places are named by tokens, whatever the size of the tiles
    browser.open(&file, "#q=1001&k=1000");
    let sentence = browser.text("#reading");
    assert!(sentence.starts_with("1000–1003 w1000 w1001 w1002 w1003 → 1000–1003 w1000"), "{sentence}");
    browser.evaluate(
        "(() => { const [query, key] = document.querySelectorAll('.jump input'); query.value = '1999'; key.value = '9'; \
         key.dispatchEvent(new Event('change', { bubbles: true })); })()",
    );
    browser.settle();
    assert!(browser.text("#reading").starts_with("1997–1999 w1997"), "{}", browser.text("#reading"));
    assert!(browser.evaluate("location.hash").as_str().unwrap().ends_with("&q=1997&k=8"));
    assert_quiet(&mut browser);
}

#[test]
fn the_table_of_heads_is_sorted_filtered_and_opened_by_mouse_and_keyboard_on_light_and_dark_ground() {
    let heads = common::scored_heads(Kind::Decoder, 2, 4);
    let html = || heads_page(&heads, common::HOSTILE, "one text of twelve tokens").unwrap();
    let Some((mut browser, _folder, file)) = opened_page("heads", "", html) else { return };
    assert_eq!(browser.text("h1"), common::HOSTILE);
    let names = "[...document.querySelectorAll('#rows button')].map(e => e.textContent)";
    let all = serde_json::json!(["L0H0", "L0H1", "L0H2", "L0H3", "L1H0", "L1H1", "L1H2", "L1H3"]);
    assert_eq!(browser.evaluate(names), all);
    let first = "[...document.querySelectorAll('#rows tr:first-child td')].map(e => e.textContent)";
    let row = browser.evaluate(first);
    assert_eq!(
        (row[0].as_str(), row[2].as_str(), row[3].as_str()),
        (Some("decoder"), Some("previous token"), Some("0.917"))
    );
    assert!(
        row[7].as_str().unwrap().starts_with("previous token, 0.92 of a query's weight; positions alone give 0.18")
    );

    // the columns turn round, by mouse
    browser.click("#columns th:nth-child(2) button");
    browser.click("#columns th:nth-child(2) button");
    assert_eq!(browser.evaluate(names)[0], "L1H3");
    assert_eq!(browser.evaluate("document.querySelector('#columns th:nth-child(2)').ariaSort"), "descending");
    // a head opens and closes by keyboard
    browser.evaluate("document.querySelector('#rows button').focus()");
    browser.press(" ", false);
    let opened = browser.text("#rows tr.open");
    assert!(opened.contains("it needs counts of the tokens in a corpus"), "{opened}");
    assert!(opened.contains("12 queries") && opened.contains("1 text–"), "{opened}");
    assert_eq!(browser.evaluate("document.activeElement.getAttribute('aria-expanded')"), "true");
    browser.press(" ", false);
    assert_eq!(browser.text("#rows tr.open"), "(none)");

    // one measure: the highest score first, then only what it names; then what is named for nothing
    let choose = |browser: &mut Browser, field: &str, value: &str| {
        browser.evaluate(&format!(
            "(() => {{ const field = document.getElementById('{field}'); \
             const option = [...field.options ?? []].find(one => one.textContent === '{value}'); \
             field.value = option ? option.value : '{value}'; \
             for (const event of ['input', 'change']) field.dispatchEvent(new Event(event, {{ bubbles: true }})); }})()"
        ));
    };
    choose(&mut browser, "measure", "broad");
    let by_score = browser.evaluate(names);
    assert_eq!((&by_score[0], &by_score[1], by_score.as_array().unwrap().len()), (&"L0H1".into(), &"L1H1".into(), 8));
    assert!(browser.text("#says").contains("a head is named from 0.8 on"));
    browser.click("#named");
    assert_eq!(browser.evaluate(names), serde_json::json!(["L0H1", "L1H1"]));
    browser.click("#named");
    choose(&mut browser, "measure", "that of the class");
    choose(&mut browser, "class", "named for nothing");
    assert_eq!(browser.evaluate(names), serde_json::json!(["L0H3", "L1H3"]));
    choose(&mut browser, "class", "all");
    choose(&mut browser, "find", "l1h2");
    assert_eq!(browser.evaluate(names), serde_json::json!(["L1H2"]));
    assert!(browser.text("#count").starts_with("1 of 8 heads."));

    for (width, scheme) in [(1280, "light"), (390, "dark")] {
        browser.resize(width, 900, scheme);
        browser.open(&file, "");
        let shown = browser.evaluate(
            "[...document.querySelectorAll('figure')].filter(e => e.getClientRects().length).map(e => e.className)",
        );
        assert_eq!(shown, serde_json::json!([scheme]));
        let wide = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wide, 0, "{width}: the page scrolls sideways");
    }
    let fonts = browser.evaluate("document.fonts.ready.then(fonts => [...fonts].map(font => font.status))");
    assert!(fonts.as_array().unwrap().iter().any(|status| status == "loaded"), "{fonts}");
    assert_quiet(&mut browser);
}
