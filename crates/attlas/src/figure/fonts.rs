//! The bundled fonts, parsed when first needed; which of them draws which character.

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::ZlibDecoder;
use rustybuzz::Face;

/// One of the bundled fonts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FontId(u8);

struct Bundled {
    name: &'static str,
    file: File,
    shaping: Shaping,
    face: OnceLock<Option<Face<'static>>>,
}

/// A font file, as the programme holds it. Large ones that are rarely wanted are deflated, to half of their bytes.
enum File {
    Plain(&'static [u8]),
    Deflated(&'static [u8], OnceLock<Vec<u8>>),
}

/// Whether characters of a font may be set one after another, or must be shaped together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shaping {
    Simple,
    Complex,
}

macro_rules! bundled {
    ($name:literal, $shaping:ident) => {
        bundled!($name, $shaping, File::Plain(include_bytes!(concat!("../../assets/fonts/", $name, ".ttf"))))
    };
    ($name:literal, $shaping:ident, deflated) => {{
        const BYTES: &[u8] = include_bytes!(concat!("../../assets/fonts/", $name, ".ttf.z"));
        bundled!($name, $shaping, File::Deflated(BYTES, OnceLock::new()))
    }};
    ($name:literal, $shaping:ident, $file:expr) => {
        Bundled { name: $name, file: $file, shaping: Shaping::$shaping, face: OnceLock::new() }
    };
}

/// In the order in which they are asked for a character. `tools/fonts/subset.py` makes the files.
static FONTS: [Bundled; 15] = [
    bundled!("sans", Simple),
    bundled!("symbols", Simple),
    bundled!("hebrew", Complex),
    bundled!("arabic", Complex),
    bundled!("devanagari", Complex, deflated),
    bundled!("bengali", Complex, deflated),
    bundled!("tamil", Complex),
    bundled!("telugu", Complex, deflated),
    bundled!("thai", Complex),
    bundled!("georgian", Simple),
    bundled!("armenian", Simple),
    bundled!("cjk", Simple, deflated),
    bundled!("hangul", Simple, deflated),
    bundled!("controls", Simple),
    bundled!("emoji", Complex, deflated),
];

const SANS: FontId = FontId(0);
const EMOJI: FontId = FontId(14);

impl FontId {
    fn bundled(self) -> &'static Bundled {
        &FONTS[usize::from(self.0)] // a FontId is only made from a place in the table
    }

    /// Short name, unique among the bundled fonts.
    pub fn name(self) -> &'static str {
        self.bundled().name
    }

    /// The font file.
    pub fn bytes(self) -> &'static [u8] {
        match &self.bundled().file {
            File::Plain(bytes) => bytes,
            File::Deflated(bytes, whole) => whole.get_or_init(|| {
                let mut whole = Vec::new();
                // a file that is damaged has no face, which a test would see
                let _ = ZlibDecoder::new(*bytes).read_to_end(&mut whole);
                whole
            }),
        }
    }

    /// Whether its characters change with their neighbours.
    pub fn is_complex(self) -> bool {
        self.bundled().shaping == Shaping::Complex
    }

    /// The parsed font.
    pub fn face(self) -> Option<&'static Face<'static>> {
        let bundled = self.bundled();
        bundled.face.get_or_init(|| Face::from_slice(self.bytes(), 0)).as_ref()
    }

    /// The glyph for a character on its own.
    pub fn glyph(self, character: char) -> Option<u16> {
        self.face()?.glyph_index(character).map(|glyph| glyph.0)
    }

    /// Font units per em.
    pub fn units_per_em(self) -> f32 {
        self.face().map_or(1000.0, |face| face.units_per_em() as f32)
    }

    /// The glyph's advance in font units.
    pub fn advance(self, glyph: u16) -> f32 {
        let advance = self.face().and_then(|face| face.glyph_hor_advance(rustybuzz::ttf_parser::GlyphId(glyph)));
        f32::from(advance.unwrap_or(0))
    }
}

/// The font that draws `character`, if one does; `next` decides between text and emoji presentation.
pub fn font_for(character: char, next: Option<char>) -> Option<FontId> {
    if character.is_ascii_graphic() && next != Some('\u{fe0f}') {
        return Some(SANS);
    }
    let is_emoji = next == Some('\u{fe0f}') || ('\u{1f000}'..='\u{1faff}').contains(&character);
    if is_emoji && EMOJI.glyph(character).is_some() {
        return Some(EMOJI);
    }
    (0..FONTS.len() as u8).map(FontId).find(|font| font.glyph(character).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_font_parses_and_has_its_own_characters() {
        for (index, bundled) in FONTS.iter().enumerate() {
            assert!(FontId(index as u8).face().is_some(), "{}", bundled.name);
        }
        for (character, name) in [
            ('한', "hangul"),
            ('␊', "controls"),
            ('a', "sans"),
            ('Ж', "sans"),
            ('ש', "hebrew"),
            ('ك', "arabic"),
            ('क', "devanagari"),
            ('猫', "cjk"),
        ] {
            assert_eq!(font_for(character, None).map(FontId::name), Some(name), "{character}");
        }
        assert_eq!(font_for('😀', None), Some(EMOJI));
        assert_eq!(font_for('❤', Some('\u{fe0f}')), Some(EMOJI));
        assert_eq!(font_for('\u{e000}', None), None);
    }
}
