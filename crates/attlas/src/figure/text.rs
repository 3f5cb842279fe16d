//! Text made drawable: invisible characters shown, right-to-left ordered, glyphs chosen and placed.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use rustybuzz::{Direction, UnicodeBuffer};
use unicode_bidi::{BidiInfo, Level};

use super::fonts::{FontId, font_for};

/// A text with its glyphs, in units of the font size.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// What is drawn, in logical order; nothing in it is invisible.
    pub text: String,
    /// The glyphs, from left to right.
    pub runs: Vec<Run>,
    /// Width in ems.
    pub width: f32,
}

/// Glyphs of one font.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The font.
    pub font: FontId,
    /// The bytes of the text that the run draws.
    pub range: Range<usize>,
    /// How the glyphs stand for the characters.
    pub order: Order,
    /// The glyphs, from left to right.
    pub glyphs: Vec<Glyph>,
}

/// How glyphs, from left to right, stand for the characters of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Each for the one at its place.
    OneByOne,
    /// Shaped together, from left to right.
    Shaped,
    /// Shaped together, from right to left.
    ShapedRightToLeft,
}

/// One glyph; lengths in ems.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Glyph {
    /// Its number in the font.
    pub id: u16,
    /// To the next glyph.
    pub advance: f32,
    /// Moved right by.
    pub dx: f32,
    /// Moved up by.
    pub dy: f32,
    /// The byte of the text where what it stands for begins.
    pub start: usize,
}

/// The longest label considered, in characters; no picture has room for more.
const LONGEST: usize = 240;
/// Combining marks drawn on one letter; more would run into the neighbours.
const MOST_MARKS: usize = 4;

/// A label as it is drawn: what cannot be seen is named, what XML forbids is shown by its picture (U+2400 block).
///
/// Control characters become `␀` … `␡`; bidirectional controls, zero-width and other invisible characters, and
/// characters that no bundled font has, become `⟨U+200B⟩`. A space at the start, the mark of a new word in many
/// vocabularies, is dropped; others that could not be seen become `␣`. An empty label becomes `⟨empty⟩`.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(4 * LONGEST));
    let mut previous = None;
    let mut n_marks = 0;
    let is_blank = text.chars().take(LONGEST).all(|character| character == ' ');
    let body = if is_blank { text } else { text.strip_prefix(' ').unwrap_or(text) };
    let mut characters = body.chars().peekable();
    for _ in 0..LONGEST {
        let Some(character) = characters.next() else { break };
        let next = characters.peek().copied();
        n_marks = if is_mark(character) { n_marks + 1 } else { 0 };
        if n_marks <= MOST_MARKS {
            show(character, previous, next, &mut shown);
        } else if next.is_none_or(|next| !is_mark(next)) {
            let _ = write!(shown, "⟨+{} marks⟩", n_marks - MOST_MARKS); // writing to a String cannot fail
        }
        previous = Some(character);
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "⟨empty⟩".to_owned() } else { shown }
}

/// Appends `character` as it is drawn between its neighbours.
fn show(character: char, previous: Option<char>, next: Option<char>, shown: &mut String) {
    match character {
        ' ' if previous.is_none_or(|c| c == ' ') || next.is_none_or(|c| c == ' ') => shown.push('␣'),
        ' ' => shown.push(' '),
        '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(character))),
        '\u{7f}' => shown.push('␡'),
        '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' if previous.is_some_and(joins) => shown.push(character),
        _ if is_invisible(character) || font_for(character, next).is_none() => {
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(character)); // writing to a String cannot fail
        }
        _ => {
            if previous.is_none() && ('\u{300}'..='\u{36f}').contains(&character) {
                shown.push('◌');
            }
            shown.push(character);
        }
    }
}

/// Whether joiners and variation selectors after `character` shape it, and so need not be shown.
fn joins(character: char) -> bool {
    matches!(character, '#' | '*' | '0'..='9' | '\u{600}'..='\u{dff}' | '\u{2100}'..='\u{2bff}' | '\u{3030}'..='\u{303d}'
        | '\u{fe0f}' | '\u{1f000}'..='\u{1faff}')
}

/// Whether `character` stands over or under the one before.
fn is_mark(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'
        | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e4}' | '\u{6e7}' | '\u{6e8}' | '\u{6ea}'..='\u{6ed}'
        | '\u{900}'..='\u{903}' | '\u{93a}'..='\u{93c}' | '\u{93e}'..='\u{94f}' | '\u{981}'..='\u{983}'
        | '\u{9bc}'..='\u{9cd}' | '\u{b82}' | '\u{bbe}'..='\u{bcd}' | '\u{c00}'..='\u{c04}' | '\u{c3e}'..='\u{c56}'
        | '\u{e31}' | '\u{e34}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{302a}'..='\u{302f}' | '\u{3099}' | '\u{309a}'
        | '\u{fe20}'..='\u{fe2f}')
}

/// Whether `character` must stay with the one before when a label is cut.
fn continues(character: char) -> bool {
    is_mark(character)
        || matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

/// Whether `character` would leave nothing, or nothing distinguishable from a space, on the page.
fn is_invisible(character: char) -> bool {
    (character.is_whitespace() && character != ' ')
        || character.is_control()
        || matches!(character, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{fffe}' | '\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Shapes `text`, which must be [`visible`] already.
pub fn shape(text: &str) -> Arc<Shaped> {
    let mut runs = Vec::new();
    if text.chars().all(|character| character < '\u{590}' || ('\u{2000}'..='\u{d7ff}').contains(&character)) {
        shape_directed(text, 0..text.len(), Direction::LeftToRight, &mut runs);
    } else {
        let bidi = BidiInfo::new(text, Some(Level::ltr()));
        for paragraph in &bidi.paragraphs {
            let (levels, ranges) = bidi.visual_runs(paragraph, paragraph.range.clone());
            for range in ranges {
                let is_rtl = levels.get(range.start).is_some_and(Level::is_rtl);
                let direction = if is_rtl { Direction::RightToLeft } else { Direction::LeftToRight };
                shape_directed(text, range, direction, &mut runs);
            }
        }
    }
    let width = runs.iter().flat_map(|run| &run.glyphs).map(|glyph| glyph.advance).sum();
    Arc::new(Shaped { text: text.to_owned(), runs, width })
}

/// Makes `text` visible and shapes it; what is wider than `width` ems ends in "…".
pub fn fit(text: &str, width: f32) -> Arc<Shaped> {
    let text = visible(text);
    let whole = shape(&text);
    if whole.width <= width {
        return whole;
    }
    let cuts: Vec<usize> = text.char_indices().filter(|&(_, c)| !continues(c)).map(|(at, _)| at).collect();
    let shortened = |n: usize| shape(&format!("{}…", text[..cuts[n]].trim_end()));
    // The longest beginning that fits: `low` fits or is the shortest, `high` does not.
    let (mut low, mut high) = (1.min(cuts.len() - 1), cuts.len());
    while low + 1 < high {
        let middle = low.midpoint(high);
        if shortened(middle).width <= width { low = middle } else { high = middle }
    }
    shortened(low)
}

/// Shapes `text[range]`, all of one direction, font by font, and appends the runs from left to right.
fn shape_directed(text: &str, range: Range<usize>, direction: Direction, runs: &mut Vec<Run>) {
    let mut pieces: Vec<(FontId, Range<usize>)> = Vec::new();
    let mut characters = text[range.clone()].char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let start = range.start + at;
        let end = start + character.len_utf8();
        let next = characters.peek().map(|&(_, next)| next);
        match pieces.last_mut() {
            Some((font, piece)) if continues(character) && (font.is_complex() || font.glyph(character).is_some()) => {
                piece.end = end;
            }
            Some((font, piece)) if Some(*font) == font_for(character, next) => piece.end = end,
            Some((_, piece)) if font_for(character, next).is_none() => piece.end = end, // a selector: draws nothing
            _ => pieces.extend(font_for(character, next).map(|font| (font, start..end))),
        }
    }
    if direction == Direction::RightToLeft {
        pieces.reverse();
    }
    runs.extend(pieces.into_iter().map(|(font, piece)| shape_run(text, piece, font, direction)));
}

fn shape_run(text: &str, range: Range<usize>, font: FontId, direction: Direction) -> Run {
    let part = &text[range.clone()];
    let em = font.units_per_em();
    let order = match direction {
        Direction::RightToLeft => Order::ShapedRightToLeft,
        _ if font.is_complex() || part.chars().any(continues) => Order::Shaped,
        _ => Order::OneByOne,
    };
    if order == Order::OneByOne {
        let glyphs = part.char_indices().filter_map(|(at, character)| {
            let id = font.glyph(character)?;
            Some(Glyph { id, advance: font.advance(id) / em, dx: 0.0, dy: 0.0, start: range.start + at })
        });
        return Run { font, glyphs: glyphs.collect(), order, range };
    }
    let mut buffer = UnicodeBuffer::new();
    buffer.push_str(part);
    buffer.set_direction(direction);
    buffer.guess_segment_properties();
    let Some(face) = font.face() else { return Run { font, glyphs: Vec::new(), order, range } };
    let output = rustybuzz::shape(face, &[], buffer);
    let placed = output.glyph_infos().iter().zip(output.glyph_positions());
    let glyphs = placed.map(|(info, position)| Glyph {
        id: info.glyph_id as u16, // fonts have at most 65,535 glyphs
        advance: position.x_advance as f32 / em,
        dx: position.x_offset as f32 / em,
        dy: position.y_offset as f32 / em,
        start: range.start + info.cluster as usize,
    });
    Run { font, glyphs: glyphs.collect(), order, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_named() {
        assert_eq!(visible("a\u{200b}b"), "a⟨U+200B⟩b");
        assert_eq!(visible("\u{202e}evil"), "⟨U+202E⟩evil");
        assert_eq!(visible("a\nb\0"), "a␊b␀");
        assert_eq!(visible(" the"), "the");
        assert_eq!(visible("  "), "␣␣");
        assert_eq!(visible(""), "⟨empty⟩");
        assert_eq!(visible("\u{ffff}"), "⟨U+FFFF⟩");
        assert_eq!(visible("\u{e000}"), "⟨U+E000⟩");
        assert_eq!(visible("👩\u{200d}💻"), "👩\u{200d}💻");
        assert_eq!(visible("a\u{200d}b"), "a⟨U+200D⟩b");
    }

    #[test]
    fn a_tower_of_marks_is_cut_and_counted() {
        assert_eq!(visible(&format!("e{}x", "\u{301}".repeat(10))), format!("e{}⟨+6 marks⟩x", "\u{301}".repeat(4)));
    }

    #[test]
    fn a_long_label_is_elided_within_its_width() {
        let long = fit(&"antidisestablishmentarianism".repeat(50_000), 6.0);
        assert!(long.width <= 6.0 && long.text.starts_with("antid") && long.text.ends_with('…'), "{}", long.text);
        assert_eq!(fit("wide", 0.1).text, "w…");
    }

    #[test]
    fn arabic_letters_join_and_run_from_right_to_left() {
        let shaped = shape("كتب");
        let starts: Vec<usize> = shaped.runs[0].glyphs.iter().map(|glyph| glyph.start).collect();
        assert!(starts.windows(2).all(|pair| pair[0] > pair[1]), "{starts:?}");
        let alone: f32 = "كتب".chars().map(|c| shape(&c.to_string()).width).sum();
        assert!(shaped.width < alone, "joined letters are narrower than isolated ones");
    }

    #[test]
    fn a_devanagari_vowel_sign_stands_before_its_consonant() {
        let shaped = shape("कि");
        assert_eq!(shaped.runs.len(), 1);
        assert_eq!(shaped.runs[0].glyphs.len(), 2);
        assert_ne!(Some(shaped.runs[0].glyphs[0].id), shaped.runs[0].font.glyph('क'));
    }
}
