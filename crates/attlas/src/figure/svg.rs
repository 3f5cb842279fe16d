//! Writes a figure as SVG: cells as one image each, text as text with the glyphs it needs.

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::marks::{Anchor, Cells, Figure, Label, Line, Mark, Photo, Rect, Rgb};
use super::subset::woff;

/// Fonts to fall back on where a viewer does not load the embedded ones.
const FALLBACK: &str = "'Noto Sans','DejaVu Sans','Segoe UI',Arial,sans-serif";

impl Figure {
    /// The figure as SVG.
    ///
    /// Cells are images, `image-rendering: pixelated`, and small maps have several pixels per cell for viewers that
    /// ignore that. Text is text, with the glyphs used embedded as a font, and keeps its length in any other font.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.open(&self.style_sheet(), &mut svg);
        self.write_marks(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    /// Everything before the marks.
    pub(super) fn open(&self, style_sheet: &str, svg: &mut String) {
        let Figure { width, height, ground, .. } = self;
        let element = |name: &str, text: &str| match text {
            "" => String::new(),
            _ => format!("<{name}>{}</{name}>", escape(text)),
        };
        let (title, description) = (element("title", &self.title), element("desc", &self.description));
        // Writing to a String cannot fail, here and below.
        let _ = write!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}pt\" height=\"{height}pt\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">{title}{description}{style_sheet}"
        );
        let _ = write!(svg, "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>", hex(*ground));
    }

    /// The marks, from back to front.
    pub(super) fn write_marks(&self, svg: &mut String) {
        let mut images = self.images(|cells| STANDARD.encode(cells.scaled_up().to_indexed_png())).into_iter();
        let mut group = None; // texts of one look in a row share a group
        for mark in &self.marks {
            let look = if let Mark::Label(label) = mark { Some(Look::of(label)) } else { None };
            if look != group {
                svg.push_str(if group.is_some() { "</g>\n" } else { "\n" });
                look.iter().for_each(|look| look.open(svg));
                group = look;
            }
            match mark {
                Mark::Cells(cells) => write_cells(cells, &images.next().unwrap_or_default(), svg),
                Mark::Photo(photo) => write_photo(photo, svg),
                Mark::Label(label) => write_label(label, svg),
                Mark::Rect(rect) => write_rect(rect, svg),
                Mark::Line(line) => write_line(line, svg),
            }
        }
        svg.push_str(if group.is_some() { "</g>\n" } else { "\n" });
    }

    /// The embedded fonts, and the rules for all text and images.
    pub(super) fn style_sheet(&self) -> String {
        let mut rules = String::from("<style>");
        let mut families = String::new();
        for (font, used) in self.used_glyphs() {
            let Some(file) = woff(font, &used) else { continue };
            let (name, data) = (font.name(), STANDARD.encode(file));
            let _ = write!(
                rules,
                "@font-face{{font-family:attlas-{name};src:url(data:font/woff;base64,{data}) format('woff')}}"
            );
            let _ = write!(families, "attlas-{name},");
        }
        let _ = write!(
            rules,
            "text{{font-family:{families}{FALLBACK};font-kerning:none;white-space:pre}}\
             image{{image-rendering:crisp-edges;image-rendering:pixelated}}</style>"
        );
        rules
    }
}

/// What consecutive texts share.
#[derive(PartialEq, Clone, Copy)]
struct Look {
    size: f32,
    color: Rgb,
    anchor: Anchor,
}

impl Look {
    fn of(label: &Label) -> Look {
        Look { size: label.size, color: label.color, anchor: label.anchor }
    }

    fn open(&self, svg: &mut String) {
        let anchor = match self.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (size, fill) = (short(self.size), hex(self.color));
        let _ = write!(svg, "<g font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\">");
    }
}

fn write_label(label: &Label, svg: &mut String) {
    let (x, y) = (short(label.x), short(label.y));
    let _ = match label.angle {
        0.0 => write!(svg, "<text x=\"{x}\" y=\"{y}\""),
        angle => write!(svg, "<text transform=\"translate({x} {y}) rotate({angle})\""),
    };
    let (length, text) = (short(label.width()), escape(&label.shaped.text));
    let _ = write!(svg, " textLength=\"{length}\" lengthAdjust=\"spacingAndGlyphs\">{text}</text>");
}

fn write_rect(rect: &Rect, svg: &mut String) {
    let [x, y, width, height] = [rect.x, rect.y, rect.width, rect.height].map(short);
    let _ =
        write!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{}\"/>", hex(rect.fill));
}

fn write_line(line: &Line, svg: &mut String) {
    let points: Vec<String> = line.points.iter().map(|&[x, y]| format!("{},{}", short(x), short(y))).collect();
    let (points, color, width) = (points.join(" "), hex(line.color), short(line.width));
    let _ = write!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"");
    let _ = match line.opacity {
        1.0 => write!(svg, "/>"),
        opacity => write!(svg, " stroke-opacity=\"{}\"/>", short(opacity)),
    };
}

/// `data` is the image in base64.
fn write_cells(cells: &Cells, data: &str, svg: &mut String) {
    let [x, y, width, height] = [cells.x, cells.y, cells.width, cells.height].map(short);
    let _ = write!(
        svg,
        "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         href=\"data:image/png;base64,{data}\"/>"
    );
}

fn write_photo(photo: &Photo, svg: &mut String) {
    let [x, y, width, height] = [photo.x, photo.y, photo.width, photo.height].map(short);
    let data = STANDARD.encode(photo.to_png());
    let _ = write!(
        svg,
        "<image x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" preserveAspectRatio=\"none\" \
         style=\"image-rendering:auto\" href=\"data:image/png;base64,{data}\"/>"
    );
}

/// A length with at most two decimals.
fn short(value: f32) -> String {
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn hex(Rgb([red, green, blue]): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Text as XML content; [`visible`](super::visible) has replaced what XML forbids.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
