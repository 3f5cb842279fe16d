//! The page in a real browser where it has little room or another page around it: a phone, paper, a frame; and the page of heads.

#[path = "common/browser.rs"]
mod browser;
mod common;

use attlas::analysis::{measure_all, standouts};
use attlas::attention::Shape;
use attlas::{Item, Kind, Layer, Provenance, Recording, Tokens, Weights};
use attlas_viewer::{PageOptions, heads_page, page};
use browser::{Browser, assert_quiet, opened, opened_page, opened_with, rank};
use serde_json::Value;

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
