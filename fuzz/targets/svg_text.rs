//! Any text as title, caption and label: the SVG is well-formed XML whose text is the label's visible form.
#![no_main]

use attlas::figure::{self, Axis, ColorScale, Panel, Scale, Scales, Style};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut parts = text.split('\u{1}');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let axis = |name: String, labels: [String; 2]| Axis::labelled(name, labels);
    let rows = axis(part(), [part(), part()]);
    let columns = axis(part(), [part(), part()]);
    let Ok(panel) = Panel::new(part(), vec![0.25; 4], rows, columns) else { return };
    let style = Style { title: part(), captions: vec![part(), part()], ..Style::default() };
    let scale = ColorScale::of([&panel], Scale::Linear);
    let grid = figure::grid(std::slice::from_ref(&panel), &Scales::Shared(scale), 2, &style);
    for figure in [figure::map(&panel, &scale, &style), grid] {
        let svg = figure.to_svg();
        let document = roxmltree::Document::parse(&svg).expect("well-formed");
        let allowed = ["svg", "title", "desc", "style", "rect", "g", "text", "image", "polyline"];
        for node in document.descendants().filter(|node| node.is_element()) {
            assert!(allowed.contains(&node.tag_name().name()), "{node:?}");
            assert!(node.attributes().all(|attribute| !attribute.name().starts_with("on")), "{node:?}");
        }
    }
});
