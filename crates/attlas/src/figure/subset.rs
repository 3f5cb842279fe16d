//! Cuts a bundled TrueType font down to the glyphs that a figure uses, for the writers to embed.
//!
//! Glyphs keep their numbers: those not used become empty, which costs next to nothing once compressed. So the tables
//! that shape a script stay valid as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use rustybuzz::ttf_parser::{RawFace, Tag};

use super::fonts::FontId;
use super::marks::{Figure, Mark};
use super::text::{Order, Run};

/// A table's four-letter name and its bytes.
type Table = ([u8; 4], Vec<u8>);

/// What a figure needs of one font.
#[derive(Debug, Default, Clone)]
pub struct Used {
    /// The glyphs drawn, and what character of the text each stands for, as far as one character does.
    pub glyphs: BTreeSet<u16>,
    /// The characters of the texts with their glyphs.
    pub characters: BTreeMap<char, u16>,
    /// The text that a glyph of a shaped run stands for.
    pub texts: BTreeMap<u16, String>,
}

impl Figure {
    /// The glyphs that the figure's texts use, by font.
    pub(super) fn used_glyphs(&self) -> BTreeMap<FontId, Used> {
        let mut fonts: BTreeMap<FontId, Used> = BTreeMap::new();
        let labels =
            self.marks.iter().filter_map(|mark| if let Mark::Label(label) = mark { Some(label) } else { None });
        for label in labels {
            for run in &label.shaped.runs {
                let used = fonts.entry(run.font).or_default();
                used.glyphs.extend(run.glyphs.iter().map(|glyph| glyph.id));
                let characters = label.shaped.text[run.range.clone()].chars();
                used.characters.extend(characters.filter_map(|c| Some((c, run.font.glyph(c)?))));
                if run.order != Order::OneByOne {
                    name_clusters(run, &label.shaped.text, &mut used.texts);
                }
            }
        }
        fonts
    }
}

/// Adds which text each glyph of a shaped run stands for: the first of a cluster for all that the cluster covers.
fn name_clusters(run: &Run, text: &str, texts: &mut BTreeMap<u16, String>) {
    let mut starts: Vec<usize> = run.glyphs.iter().map(|glyph| glyph.start).chain([run.range.end]).collect();
    starts.sort_unstable();
    starts.dedup();
    let mut named = None;
    for glyph in &run.glyphs {
        let end = starts.iter().find(|&&start| start > glyph.start).copied().unwrap_or(run.range.end);
        if named != Some(glyph.start) {
            texts.entry(glyph.id).or_insert_with(|| text[glyph.start..end].to_owned());
            named = Some(glyph.start);
        }
    }
}

/// The font as a WOFF file that maps characters and shapes as the whole one does; `None` if it cannot be read.
pub fn woff(font: FontId, used: &Used) -> Option<Vec<u8>> {
    if cfg!(fuzzing) {
        return None; // nine tenths of a figure's time, for bytes that hold no word of a text
    }
    let raw = RawFace::parse(font.bytes(), 0).ok()?;
    let mut tables = glyph_tables(&raw, used)?;
    tables.push((*b"cmap", character_map(&used.characters)));
    let shaping: &[&[u8; 4]] = if font.is_complex() { &[b"GDEF", b"GPOS", b"GSUB"] } else { &[] };
    for name in [b"OS/2", b"name", b"post"].iter().chain(shaping) {
        tables.extend(raw.table(Tag::from_bytes(name)).map(|bytes| (**name, bytes.to_vec())));
    }
    tables.sort();
    Some(write_woff(&tables))
}

/// The font as a TrueType file that knows glyphs by number only; `None` if it cannot be read.
pub fn truetype(font: FontId, used: &Used) -> Option<Vec<u8>> {
    let raw = RawFace::parse(font.bytes(), 0).ok()?;
    let mut tables = glyph_tables(&raw, used)?;
    tables.sort();
    Some(write_truetype(&tables))
}

/// The tables that hold outlines and advances, empty for all but the used glyphs.
fn glyph_tables(raw: &RawFace, used: &Used) -> Option<Vec<Table>> {
    let table = |name: &[u8; 4]| raw.table(Tag::from_bytes(name));
    let mut head = table(b"head")?.to_vec();
    let mut hhea = table(b"hhea")?.to_vec();
    let maxp = table(b"maxp")?.to_vec();
    let n_glyphs = usize::from(read_u16(&maxp, 4)?);
    let offsets = glyph_offsets(table(b"loca")?, read_u16(&head, 50)? == 1, n_glyphs)?;
    let outlines = table(b"glyf")?;
    let wanted = with_components(outlines, &offsets, used);

    let mut glyf = Vec::new();
    let mut loca = Vec::with_capacity(4 * (n_glyphs + 1));
    for glyph in 0..n_glyphs {
        loca.extend((glyf.len() as u32).to_be_bytes());
        if wanted.contains(&(glyph as u16)) {
            glyf.extend(outlines.get(offsets[glyph]..offsets[glyph + 1])?);
            glyf.resize(glyf.len().next_multiple_of(4), 0);
        }
    }
    loca.extend((glyf.len() as u32).to_be_bytes());

    let n_metrics = usize::from(read_u16(&hhea, 34)?);
    let hmtx = advances(table(b"hmtx")?, n_metrics, n_glyphs, &wanted)?;
    hhea.get_mut(34..36)?.copy_from_slice(&(n_glyphs as u16).to_be_bytes());
    head.get_mut(50..52)?.copy_from_slice(&1_u16.to_be_bytes()); // loca in four bytes
    Some(vec![
        (*b"head", head),
        (*b"hhea", hhea),
        (*b"maxp", maxp),
        (*b"hmtx", hmtx),
        (*b"loca", loca),
        (*b"glyf", glyf),
    ])
}

/// Where each glyph's outline begins. Shape `[n_glyphs + 1]`.
fn glyph_offsets(loca: &[u8], is_long: bool, n_glyphs: usize) -> Option<Vec<usize>> {
    let offset = |glyph: usize| {
        if is_long { read_u32(loca, 4 * glyph) } else { read_u16(loca, 2 * glyph).map(|half| 2 * u32::from(half)) }
    };
    (0..=n_glyphs).map(|glyph| Some(offset(glyph)? as usize)).collect()
}

/// The used glyphs, glyph 0, and the glyphs that they are composed of.
fn with_components(outlines: &[u8], offsets: &[usize], used: &Used) -> BTreeSet<u16> {
    let mut wanted = BTreeSet::from([0]);
    let mut waiting: Vec<u16> = used.glyphs.iter().chain(used.characters.values()).copied().collect();
    while let Some(glyph) = waiting.pop() {
        if usize::from(glyph) + 1 < offsets.len() && wanted.insert(glyph) {
            let outline = outlines.get(offsets[usize::from(glyph)]..offsets[usize::from(glyph) + 1]);
            waiting.extend(outline.map(components).unwrap_or_default());
        }
    }
    wanted
}

/// The glyphs that a composite outline names (OpenType, `glyf`: composite glyph description).
fn components(outline: &[u8]) -> Vec<u16> {
    const ARGUMENTS_ARE_WORDS: u16 = 0x1;
    const HAS_SCALE: u16 = 0x8;
    const MORE_COMPONENTS: u16 = 0x20;
    const HAS_TWO_SCALES: u16 = 0x40;
    const HAS_MATRIX: u16 = 0x80;
    let mut found = Vec::new();
    if read_u16(outline, 0).is_none_or(|contours| contours < 0x8000) {
        return found; // a simple outline
    }
    let mut at = 10;
    while let (Some(flags), Some(glyph)) = (read_u16(outline, at), read_u16(outline, at + 2)) {
        found.push(glyph);
        at += 4 + if flags & ARGUMENTS_ARE_WORDS != 0 { 4 } else { 2 };
        at += match flags {
            _ if flags & HAS_SCALE != 0 => 2,
            _ if flags & HAS_TWO_SCALES != 0 => 4,
            _ if flags & HAS_MATRIX != 0 => 8,
            _ => 0,
        };
        if flags & MORE_COMPONENTS == 0 {
            break;
        }
    }
    found
}

/// `hmtx` with a full entry for each glyph, zero where it is not wanted.
fn advances(hmtx: &[u8], n_metrics: usize, n_glyphs: usize, wanted: &BTreeSet<u16>) -> Option<Vec<u8>> {
    let mut full = vec![0; 4 * n_glyphs]; // [n_glyphs] × (advance, left side bearing)
    for &glyph in wanted {
        let glyph = usize::from(glyph);
        let advance = read_u16(hmtx, 4 * glyph.min(n_metrics.checked_sub(1)?))?;
        let bearing_at = if glyph < n_metrics { 4 * glyph + 2 } else { 4 * n_metrics + 2 * (glyph - n_metrics) };
        let bearing = read_u16(hmtx, bearing_at)?;
        full.get_mut(4 * glyph..4 * glyph + 2)?.copy_from_slice(&advance.to_be_bytes());
        full.get_mut(4 * glyph + 2..4 * glyph + 4)?.copy_from_slice(&bearing.to_be_bytes());
    }
    Some(full)
}

/// A `cmap` of format 12, one group per character.
fn character_map(characters: &BTreeMap<char, u16>) -> Vec<u8> {
    let n_groups = characters.len() as u32;
    let mut cmap = Vec::new();
    for half in [0_u16, 1, 3, 10] {
        cmap.extend(half.to_be_bytes()); // version, one table, Windows, UCS-4
    }
    cmap.extend(12_u32.to_be_bytes()); // where the table begins
    cmap.extend([0, 12, 0, 0]); // format 12, reserved
    for word in [16 + 12 * n_groups, 0, n_groups] {
        cmap.extend(word.to_be_bytes());
    }
    for (&character, &glyph) in characters {
        for word in [u32::from(character), u32::from(character), u32::from(glyph)] {
            cmap.extend(word.to_be_bytes());
        }
    }
    cmap
}

fn write_truetype(tables: &[Table]) -> Vec<u8> {
    let n_tables = tables.len() as u16;
    let power = 15 - n_tables.leading_zeros() as u16; // floor(log2(n_tables))
    let mut file = vec![0, 1, 0, 0];
    for half in [n_tables, 16 << power, power, 16 * n_tables - (16 << power)] {
        file.extend(half.to_be_bytes());
    }
    let mut at = 12 + 16 * tables.len();
    for (name, bytes) in tables {
        file.extend(name);
        for word in [checksum(bytes), at as u32, bytes.len() as u32] {
            file.extend(word.to_be_bytes());
        }
        at = (at + bytes.len()).next_multiple_of(4);
    }
    for (_, bytes) in tables {
        file.extend(bytes);
        file.resize(file.len().next_multiple_of(4), 0);
    }
    file
}

/// WOFF 1.0: the same tables, each compressed (W3C recommendation of 2012).
fn write_woff(tables: &[Table]) -> Vec<u8> {
    let directory_size = 44 + 20 * tables.len();
    let mut directory = Vec::new();
    let mut body: Vec<u8> = Vec::new();
    let mut plain_size = 12 + 16 * tables.len();
    for (name, bytes) in tables {
        let packed = compress(bytes);
        let stored = if packed.len() < bytes.len() { &packed } else { bytes };
        directory.extend(name);
        for word in [directory_size + body.len(), stored.len(), bytes.len(), checksum(bytes) as usize] {
            directory.extend((word as u32).to_be_bytes());
        }
        body.extend(stored);
        body.resize(body.len().next_multiple_of(4), 0);
        plain_size += bytes.len().next_multiple_of(4);
    }
    let mut file = b"wOFF".to_vec();
    for word in [0x0001_0000, (directory_size + body.len()) as u32] {
        file.extend(word.to_be_bytes());
    }
    file.extend((tables.len() as u16).to_be_bytes());
    file.extend([0; 2]);
    file.extend((plain_size as u32).to_be_bytes());
    file.extend([0; 24]); // version; no metadata, no private data
    file.extend(directory);
    file.extend(body);
    file
}

/// zlib, at its default level.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to a Vec cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn checksum(bytes: &[u8]) -> u32 {
    let word = |chunk: &[u8]| {
        chunk.iter().enumerate().fold(0, |sum, (place, &byte)| sum | u32::from(byte) << (24 - 8 * place))
    };
    bytes.chunks(4).map(word).fold(0, u32::wrapping_add)
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::fonts::font_for;
    use rustybuzz::ttf_parser::{Face, GlyphId, OutlineBuilder};

    /// Counts what an outline is made of.
    #[derive(Default, PartialEq, Debug)]
    struct Segments(usize);

    impl OutlineBuilder for Segments {
        fn move_to(&mut self, _: f32, _: f32) {
            self.0 += 1;
        }
        fn line_to(&mut self, _: f32, _: f32) {
            self.0 += 1;
        }
        fn quad_to(&mut self, _: f32, _: f32, _: f32, _: f32) {
            self.0 += 1;
        }
        fn curve_to(&mut self, _: f32, _: f32, _: f32, _: f32, _: f32, _: f32) {
            self.0 += 1;
        }
        fn close(&mut self) {}
    }

    fn segments(face: &Face, glyph: u16) -> Segments {
        let mut segments = Segments::default();
        face.outline_glyph(GlyphId(glyph), &mut segments);
        segments
    }

    #[test]
    fn a_subset_keeps_composite_outlines_and_advances_and_drops_the_rest() {
        for character in ['é', '猫', 'क', '😀'] {
            let font = font_for(character, None).unwrap();
            let glyph = font.glyph(character).unwrap();
            let used = Used {
                glyphs: BTreeSet::from([glyph]),
                characters: BTreeMap::from([(character, glyph)]),
                ..Used::default()
            };
            let file = truetype(font, &used).unwrap();
            let (cut, whole) = (Face::parse(&file, 0).unwrap(), font.face().unwrap());
            assert_eq!(segments(&cut, glyph), segments(whole, glyph), "{character}");
            assert_eq!(cut.glyph_hor_advance(GlyphId(glyph)), whole.glyph_hor_advance(GlyphId(glyph)));
            assert!(woff(font, &used).unwrap().len() < 60_000, "{character}");
        }
    }
}
