//! docs/measures.md, whose definitions are those of the code.

use std::fmt::Write;
use std::path::Path;

use attlas::analysis::{MEASURES, Measure};

#[test]
fn the_definitions_in_the_docs_are_those_of_the_code() {
    const START: &str = "<!-- measures -->\n";
    const END: &str = "<!-- /measures -->";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/measures.md");
    let page = std::fs::read_to_string(&path).expect("docs/measures.md");
    let start = page.find(START).expect("the start marker") + START.len();
    let end = page.find(END).expect("the end marker");
    let definitions: String = MEASURES.iter().map(definition).collect();
    if std::env::var_os("ATTLAS_ACCEPT").is_some() {
        std::fs::write(&path, format!("{}{definitions}{}", &page[..start], &page[end..]))
            .expect("the page is writable");
        return;
    }
    assert!(
        page[start..end] == definitions,
        "run this test once with ATTLAS_ACCEPT=1; the page should say\n{definitions}"
    );
}

/// A measure's section of the page.
fn definition(measure: &Measure) -> String {
    let Measure { name, title, says, formula, unit, over, threshold, paper, .. } = measure;
    let kinds: Vec<&str> = measure.kinds.iter().map(|kind| kind.name()).collect();
    let (low, high) = measure.range;
    let baseline =
        measure.baseline.map_or("none".to_owned(), |baseline| format!("{}: {}", baseline.name, baseline.says));
    let high = if high == f64::MAX { "any".to_owned() } else { high.to_string() };
    let variants = if measure.variants.is_empty() {
        String::new()
    } else {
        format!("; the best of {}", measure.variants.join(", "))
    };
    let mut section = format!("\n### `{name}`: {title}\n\n{says}\n\n    {formula}\n\n");
    let cross =
        measure.cross_title.map_or(String::new(), |title| format!("; in cross-attention it is called \"{title}\""));
    for (what, text) in [
        ("score", format!("{unit}, {low} to {high}; a mean over {over}{variants}")),
        ("threshold", threshold.map_or("none: a high score is no name".to_owned(), |threshold| threshold.to_string())),
        ("baseline", baseline),
        ("needs", (*measure.needs).to_owned()),
        ("kinds", format!("{}{cross}", kinds.join(", "))),
        ("source", (*paper).to_owned()),
    ] {
        writeln!(section, "- {what}: {text}").expect("a String takes everything");
    }
    section
}
