//! One file holds what attlas shows of a map, and the page: `web/tests/view.golden.json`.
//!
//! Here it is compared with `attlas::view`; `web/tests/golden.test.ts` compares the page's own arithmetic with it.
//! `ATTLAS_ACCEPT=1 cargo test -p attlas-viewer --test golden` writes it anew.

mod common;

use std::ops::Range;
use std::path::Path;

use attlas::figure::{ColorScale, Colormap, Scale, visible};
use attlas::view::{Pieces, Specials};
use attlas::{Head, Kind, Quantity, Recording, RowTokens, View, ViewOptions};
use attlas_viewer::{PageOptions, page};
use serde_json::{Value, json};

/// The recording with all that a layer can be, and a word that its text spells otherwise than its pieces joined.
fn recording() -> Recording {
    let mut recording = common::everything();
    let source = &mut recording.items[0].source;
    source.text = "the unbélievable cat".into();
    let spans = [4..6, 6..13, 13..17];
    for (token, span) in source.tokens[1..4].iter_mut().zip(spans) {
        token.span = Some(span);
    }
    source.tokens[1].text = " un".into();
    recording
}

/// A view asked for.
struct Asked {
    item: usize,
    kind: Kind,
    layer: usize,
    head: usize,
    special: Specials,
    pieces: Pieces,
    named_by: Option<RowTokens>,
    rows: Option<Range<usize>>,
    columns: Option<Range<usize>>,
}

/// Every layer, head and text in every manner, and some of them in part.
fn asked(recording: &Recording) -> Vec<Asked> {
    let mut views = Vec::new();
    let manners = [
        (Specials::Show, Pieces::Apart, None),
        (Specials::Hide, Pieces::Apart, Some(RowTokens::Read)),
        (Specials::Show, Pieces::Words, Some(RowTokens::Predicted)),
        (Specials::Hide, Pieces::Words, None),
    ];
    for (place, layer) in recording.layers.iter().enumerate() {
        for (manner, (special, pieces, named_by)) in manners.into_iter().enumerate() {
            for item in 0..2 {
                let head = (place + manner + item) % layer.shape.n_heads;
                let (kind, layer) = (layer.kind, layer.index);
                let whole = Asked { item, kind, layer, head, special, pieces, named_by, rows: None, columns: None };
                let n = [whole.kind != Kind::Encoder, whole.kind == Kind::Decoder];
                let part = |target: bool| match (target, manner) {
                    (true, _) => 1..3,
                    (false, 2) => 2..5, // cuts a word
                    _ => 1..4,
                };
                if manner % 2 == 0 {
                    let (rows, columns) = (Some(part(n[0])), Some(part(n[1])));
                    views.push(Asked { rows, columns, ..whole });
                } else {
                    views.push(whole);
                }
            }
        }
    }
    views
}

fn shown(recording: &Recording, asked: &Asked) -> Value {
    let options = ViewOptions {
        item: asked.item,
        specials: asked.special,
        pieces: asked.pieces,
        row_tokens: asked.named_by,
        rows: asked.rows.clone(),
        columns: asked.columns.clone(),
        ..ViewOptions::default()
    };
    let view = View::with(recording, asked.kind, asked.layer, Head::One(asked.head), &options).unwrap();
    let labels = |axis: &attlas::figure::Axis| -> Vec<String> {
        (0..axis.len()).map(|place| visible(&axis.label(place))).collect()
    };
    let range = |range: &Option<Range<usize>>| range.as_ref().map(|range| [range.start, range.end]);
    let named_by = asked.named_by.map(|tokens| if tokens == RowTokens::Read { "read" } else { "predicted" });
    json!({
        "item": asked.item, "kind": asked.kind, "layer": asked.layer, "head": asked.head,
        "hide_special": asked.special == Specials::Hide, "words": asked.pieces == Pieces::Words,
        "named_by": named_by, "rows": range(&asked.rows), "columns": range(&asked.columns),
        "shown": {
            "rows": labels(view.panel().rows()), "columns": labels(view.panel().columns()),
            "weights": view.panel().weights(), "removed": view.removed(), "sinks": view.sinks(),
        },
    })
}

/// Numbers on every scale.
fn colors() -> Vec<Value> {
    let mut scales = Vec::new();
    for (signs, quantity) in [("positive", Quantity::Weight), ("either", Quantity::Difference)] {
        let numbers: &[f32] = match signs {
            "positive" => &[0.0, 0.000_02, 0.003, 0.17, 0.4, 0.73],
            _ => &[-0.61, -0.3, -0.004, -0.000_01, 0.0, 0.000_5, 0.02, 0.33, 0.73],
        };
        for kind in Scale::ALL {
            let scale = ColorScale::over(numbers, quantity, kind);
            let fractions: Vec<f32> = match kind {
                Scale::Row => numbers.iter().map(|number| scale.fraction(number / 0.73)).collect(),
                _ => numbers.iter().map(|number| scale.fraction(*number)).collect(),
            };
            let step = |fraction: &f32| (fraction * 254.0).round() / 254.0;
            let colors: Vec<[u8; 3]> = fractions
                .iter()
                .map(|fraction| Colormap::default().suited_to(quantity).color(step(fraction)))
                .collect();
            scales.push(json!({
                "scale": kind.name(), "signs": signs, "top": 0.73, "numbers": numbers,
                "fractions": fractions, "colours": colors,
            }));
        }
    }
    scales
}

/// What stands in the page between a block's opening tag and its end.
fn block<'a>(page: &'a str, id: &str) -> &'a str {
    let start = page.find(&format!("id=\"{id}\">")).unwrap() + format!("id=\"{id}\">").len();
    page[start..].split("</script>").next().unwrap()
}

fn golden() -> Value {
    let recording = recording();
    let page = page(&recording, &PageOptions::default()).unwrap();
    let data: Value = serde_json::from_str(block(&page, "atlas-data")).unwrap();
    let diverging: String = (0..255)
        .flat_map(|step| Colormap::Diverging.color(step as f32 / 254.0))
        .map(|value| format!("{value:02x}"))
        .collect();
    json!({
        "page": data,
        "numbers": block(&page, "atlas-numbers").trim(),
        "views": asked(&recording).iter().map(|asked| shown(&recording, asked)).collect::<Vec<_>>(),
        "diverging": diverging,
        "colours": colors(),
    })
}

/// Whether two values are the same but for rounding, which differs between machines.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| alike(a, b)))
        }
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(1.0),
            _ => a == b,
        },
        _ => a == b,
    }
}

/// The page's numbers, which are all 32-bit, as all of such short texts are.
fn numbers_of(golden: &Value) -> Vec<f32> {
    let bytes = common::bytes_of(golden["numbers"].as_str().unwrap());
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn what_attlas_shows_of_a_map_and_what_a_page_carries_are_as_stored() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/tests/view.golden.json");
    let actual = golden();
    if std::env::var_os("ATTLAS_ACCEPT").is_some() {
        std::fs::write(&path, serde_json::to_string(&actual).unwrap() + "\n").unwrap();
    }
    let stored: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for part in ["page", "diverging", "colours"] {
        assert!(alike(&actual[part], &stored[part]), "{part}: {}\nwas stored as {}", actual[part], stored[part]);
    }
    let views = |golden: &Value| golden["views"].as_array().unwrap().clone();
    for (actual, stored) in views(&actual).iter().zip(&views(&stored)) {
        assert!(alike(actual, stored), "{actual}\nwas stored as {stored}");
    }
    assert_eq!(views(&actual).len(), views(&stored).len());
    let (actual, stored) = (numbers_of(&actual), numbers_of(&stored));
    assert_eq!(actual.len(), stored.len());
    let differs = |(a, b): (&f32, &f32)| a != b && (a - b).abs() > 1e-5 * a.abs().max(1.0);
    assert!(!actual.iter().zip(&stored).any(differs), "the page's numbers");
}
