//! The numbers that the page works out and shows in a real browser, against those of attlas.

#[path = "common/browser.rs"]
mod browser;
mod common;

use attlas::attention::Shape;
use attlas::{Bias, Item, Kind, Layer, Provenance, Quantity, Recording, Scoring, Tokens, Trace, Visibility, Weights};
use attlas_viewer::{PageOptions, page};
use browser::{Browser, as_shown, assert_quiet, opened, opened_page, opened_with};

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
        let Some((mut browser, _folder, _)) = opened(&recording, &format!("quantities-{storage}"), "") else { return };
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
