//! The page of all heads: the picture of their classes, and a table of every score that can be sorted and searched.

use std::fmt::Write;

use attlas::Kind;
use attlas::analysis::{HeadSums, MEASURES, Measure, classes};
use attlas::figure::{Style, Theme};
use attlas::printable::json_for_page;
use attlas::view::head_classes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::escape::html_text;

const TEMPLATE: &str = include_str!("heads.html");
const STYLE: &str = include_str!("heads.css");
const SCRIPT: &str = include_str!("heads.js");

/// The whole page of heads: one HTML text that loads nothing, with the picture of [`head_classes`] on light and dark ground,
/// and a table of classes, reasons and scores; without JavaScript, of classes and reasons.
///
/// `measured_on` says on which texts the heads were measured. Scores have four digits.
///
/// # Errors
/// When the picture has a style sheet that the page's policy cannot name, which does not happen with pictures of this library.
pub fn heads_page(heads: &[HeadSums], title: &str, measured_on: &str) -> Result<String, Error> {
    let svg = |theme| head_classes(heads, measured_on, &Style { theme, ..Style::default() }).to_svg();
    let [(light, fonts), (dark, dark_fonts)] = Theme::ALL.map(|theme| without_style(&svg(theme)));
    if fonts != dark_fonts {
        let error = "the picture of heads has other letters on dark ground than on light ground";
        return Err(Error::Recording(attlas::Error::Figure(error.to_owned())));
    }
    let or = |text: &str, other: &str| html_text(if text.trim().is_empty() { other } else { text });
    let title = or(title, "heads");
    let data = json_for_page(&data(heads).to_string());
    Ok(filled(&[
        ("script-hash", &sha256(SCRIPT)),
        ("style-hash", &sha256(STYLE)),
        ("fonts-hash", &sha256(&fonts)),
        ("version", env!("CARGO_PKG_VERSION")),
        ("title", &title),
        ("measured-on", &or(measured_on, "texts that are not named")),
        ("style", STYLE),
        ("fonts", &fonts),
        ("script", SCRIPT),
        ("light", &light),
        ("dark", &dark),
        ("plain-rows", &plain_rows(heads)),
        ("heads", &data),
    ]))
}

/// The template with its places filled; nothing in what they are filled with is taken for a place.
fn filled(values: &[(&str, &str)]) -> String {
    let mut parts = TEMPLATE.split("{{");
    let mut page = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        page.extend(values.iter().filter(|(other, _)| *other == name).map(|(_, value)| *value));
        page.push_str(rest);
    }
    page
}

/// A picture without its style sheet, and what that says.
fn without_style(svg: &str) -> (String, String) {
    let parts = svg.split_once("<style>").and_then(|(before, rest)| Some((before, rest.split_once("</style>")?)));
    match parts {
        Some((before, (style, after))) => (format!("{before}{after}"), style.to_owned()),
        None => (svg.to_owned(), String::new()),
    }
}

/// A hash as a content security policy has it.
fn sha256(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text))
}

/// What the script draws the table of: measures and kinds once, heads by their numbers.
fn data(heads: &[HeadSums]) -> Value {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| heads.iter().any(|head| head.kind == *kind)).collect();
    let measures_of = |kind: &Kind| -> Vec<usize> {
        let first = heads.iter().find(|head| head.kind == *kind);
        first.into_iter().flat_map(|head| &head.sums).map(|(measure, _)| place_of(measure)).collect()
    };
    let kind = |kind: &Kind| json!({ "name": kind.name(), "title": kind.title(), "measures": measures_of(kind) });
    let mut reasons: Vec<String> = Vec::new();
    let rows: Vec<Value> = heads
        .iter()
        .zip(classes(heads))
        .map(|(head, class)| {
            let named: Vec<Value> =
                class.named.iter().map(|one| json!([place_of(one.measure), one.reason()])).collect();
            let place = kinds.iter().position(|kind| *kind == head.kind);
            json!([place, head.head.layer, head.head.head, named, scores(head, &mut reasons)])
        })
        .collect();
    json!({
        "measures": MEASURES.iter().map(about).collect::<Vec<_>>(),
        "kinds": kinds.iter().map(kind).collect::<Vec<_>>(),
        "absent": reasons,
        "heads": rows,
    })
}

/// Each score as `[score, baseline, low, high, n, variant]`, or the place of the reason why there is none.
fn scores(head: &HeadSums, reasons: &mut Vec<String>) -> Vec<Value> {
    let mut one = |measure: &Measure, score| match score {
        Ok(attlas::analysis::Score { value, interval, baseline, n, variant }) => {
            let variant = variant.and_then(|name| measure.variants.iter().position(|other| *other == name));
            let (low, high) = interval.unzip();
            json!([rounded(Some(value)), rounded(baseline), rounded(low), rounded(high), n, variant])
        }
        Err(reason) => {
            let place = reasons.iter().position(|other| *other == reason).unwrap_or(reasons.len());
            if place == reasons.len() {
                reasons.push(reason);
            }
            json!(place)
        }
    };
    head.scores_or_reasons().map(|(measure, score)| one(measure, score)).collect()
}

/// The number with four digits after the point; what is no finite number is absent.
fn rounded(number: Option<f64>) -> Option<f64> {
    number.filter(|number| number.is_finite()).map(|number| (number * 1e4).round() / 1e4)
}

fn place_of(measure: &Measure) -> usize {
    MEASURES.iter().position(|other| other == measure).unwrap_or_default()
}

fn about(measure: &Measure) -> Value {
    json!({
        "title": measure.title,
        "cross_title": measure.cross_title,
        "says": measure.says,
        "unit": measure.unit,
        "over": measure.over,
        "baseline": measure.baseline.map(|baseline| baseline.says),
        "threshold": measure.threshold,
        "variants": measure.variants,
    })
}

/// The rows of the table that stands where no script runs.
fn plain_rows(heads: &[HeadSums]) -> String {
    let mut rows = String::new();
    for class in classes(heads) {
        let reason = class.named.first().map_or(String::new(), |standout| standout.reason());
        // writing to a String cannot fail
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            class.kind,
            class.head,
            html_text(class.title()),
            html_text(&reason)
        );
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_is_never_taken_for_a_place_of_the_template() {
        let page = filled(&[("title", "{{script}} {{heads}}"), ("script", "SCRIPT")]);
        assert!(page.contains("<h1>{{script}} {{heads}}</h1>") && page.contains("<script>SCRIPT</script>"));
    }

    #[test]
    fn every_place_of_the_template_is_filled() {
        let page = heads_page(&[], "nothing", "no text").expect("a page");
        assert!(!page.contains("{{") && page.contains("0 heads are named for nothing"), "{page}");
    }
}
