//! Writes a figure as PDF: one page, cells as indexed images, text selectable in embedded fonts.

use std::collections::BTreeMap;

use pdf_writer::types::{CidFontType, FontFlags, LineCapStyle, SystemInfo, UnicodeCmap};
use pdf_writer::{Content, Filter, Finish, Name, Pdf, Rect as Area, Ref, Str, TextStr};

use super::fonts::FontId;
use super::marks::{Cells, Figure, Label, Line, Mark, Photo, Rgb};
use super::subset::{Used, compress, truetype};
use super::text::{Order, Run};
use crate::Error;

impl Figure {
    /// The figure as PDF 1.7, one page of the figure's size.
    ///
    /// # Errors
    /// When a bundled font cannot be read.
    pub fn to_pdf(&self) -> Result<Vec<u8>, Error> {
        let mut writer = Writer { pdf: Pdf::new(), next: 1 };
        let [catalog, pages, page, contents, info] = std::array::from_fn(|_| writer.reference());
        writer.pdf.catalog(catalog).pages(pages);
        writer.pdf.pages(pages).kids([page]).count(1);
        if !self.title.is_empty() {
            writer.pdf.document_info(info).title(TextStr(&self.title)).subject(TextStr(&self.description));
        }

        let mut fonts = BTreeMap::new();
        for (font, used) in self.used_glyphs() {
            fonts.insert(font, writer.font(font, &used)?);
        }
        let compressed = self.images(|cells| {
            let cells = cells.scaled_up();
            (compress(&cells.indices), cells)
        });
        let images: Vec<Ref> = compressed.iter().map(|(data, cells)| writer.image(cells, data)).collect();
        let mut photos = Vec::new();
        for mark in &self.marks {
            if let Mark::Photo(photo) = mark {
                photos.push(writer.photo(photo));
            }
        }

        let content = compress(&self.content());
        writer.pdf.stream(contents, &content).filter(Filter::FlateDecode);
        let opacities = self.opacities();
        let mut page = writer.pdf.page(page);
        page.parent(pages).media_box(Area::new(0.0, 0.0, self.width, self.height)).contents(contents);
        let mut resources = page.resources();
        let mut entries = resources.fonts();
        for (font, reference) in &fonts {
            entries.pair(Name(font.name().as_bytes()), *reference);
        }
        entries.finish();
        let mut entries = resources.x_objects();
        for (number, reference) in images.iter().enumerate() {
            entries.pair(Name(format!("i{number}").as_bytes()), *reference);
        }
        for (number, reference) in photos.iter().enumerate() {
            entries.pair(Name(format!("p{number}").as_bytes()), *reference);
        }
        entries.finish();
        let mut states = resources.ext_g_states();
        for opacity in opacities {
            let name = opacity_name(opacity);
            states
                .insert(Name(name.as_bytes()))
                .start::<pdf_writer::writers::ExtGraphicsState>()
                .stroking_alpha(opacity);
        }
        states.finish();
        resources.finish();
        page.finish();
        Ok(writer.pdf.finish())
    }

    /// The opacities of strokes that are not opaque, each once.
    fn opacities(&self) -> Vec<f32> {
        let lines =
            self.marks.iter().filter_map(|mark| if let Mark::Line(line) = mark { Some(line.opacity) } else { None });
        let mut opacities: Vec<f32> = lines.filter(|&opacity| opacity != 1.0).collect();
        opacities.sort_by(f32::total_cmp);
        opacities.dedup();
        opacities
    }

    /// The page's drawing operators.
    fn content(&self) -> Vec<u8> {
        let mut page = Page { content: Content::new(), height: self.height };
        page.fill(self.ground);
        page.content.rect(0.0, 0.0, self.width, self.height).fill_nonzero();
        let (mut n_images, mut n_photos) = (0, 0);
        for mark in &self.marks {
            match mark {
                Mark::Cells(Cells { x, y, width, height, .. }) => {
                    page.image([*x, *y], [*width, *height], &format!("i{n_images}"));
                    n_images += 1;
                }
                Mark::Photo(Photo { x, y, width, height, .. }) => {
                    page.image([*x, *y], [*width, *height], &format!("p{n_photos}"));
                    n_photos += 1;
                }
                Mark::Label(label) => page.label(label),
                Mark::Rect(rect) => {
                    page.fill(rect.fill);
                    let y = self.height - rect.y - rect.height;
                    page.content.rect(rect.x, y, rect.width, rect.height).fill_nonzero();
                }
                Mark::Line(line) => page.line(line),
            }
        }
        page.content.finish().into_vec()
    }
}

/// A file being written, and the next free object number.
struct Writer {
    pdf: Pdf,
    next: i32,
}

impl Writer {
    fn reference(&mut self) -> Ref {
        self.next += 1;
        Ref::new(self.next - 1)
    }

    /// Cells, their indices compressed, as an image whose colours are a palette; readers are told not to smooth it.
    fn image(&mut self, cells: &Cells, data: &[u8]) -> Ref {
        let reference = self.reference();
        let palette: Vec<u8> = cells.palette.iter().flat_map(|color| color.0).collect();
        let mut image = self.pdf.image_xobject(reference, data);
        image.filter(Filter::FlateDecode);
        image.width(cells.n_columns as i32).height(cells.n_rows as i32).bits_per_component(8).interpolate(false);
        let last = cells.palette.len().saturating_sub(1).min(255) as i32;
        image.color_space().indexed(Name(b"DeviceRGB"), last, &palette);
        reference
    }

    /// A photograph, which readers may smooth.
    fn photo(&mut self, photo: &Photo) -> Ref {
        let reference = self.reference();
        let data = compress(&photo.rgb);
        let mut image = self.pdf.image_xobject(reference, &data);
        image.filter(Filter::FlateDecode);
        image.width(photo.n_columns as i32).height(photo.n_rows as i32).bits_per_component(8).interpolate(true);
        image.color_space().device_rgb();
        reference
    }

    /// A font with the glyphs used, and which characters they stand for.
    fn font(&mut self, font: FontId, used: &Used) -> Result<Ref, Error> {
        let unreadable = || Error::Figure(format!("the bundled font \"{}\" could not be read", font.name()));
        let face = font.face().ok_or_else(unreadable)?;
        let file = truetype(font, used).ok_or_else(unreadable)?;
        let [composite, descendant, descriptor, data, unicode] = std::array::from_fn(|_| self.reference());
        let name = format!("ATTLAS+{}", font.name());
        let name = Name(name.as_bytes());
        let system = SystemInfo { registry: Str(b"Adobe"), ordering: Str(b"Identity"), supplement: 0 };
        let per_thousand = |units: f32| units * 1000.0 / font.units_per_em();

        self.pdf
            .type0_font(composite)
            .base_font(name)
            .encoding_predefined(Name(b"Identity-H"))
            .descendant_font(descendant)
            .to_unicode(unicode);
        let mut cid = self.pdf.cid_font(descendant);
        cid.subtype(CidFontType::Type2).base_font(name).system_info(system).font_descriptor(descriptor);
        cid.cid_to_gid_map_predefined(Name(b"Identity")).default_width(0.0);
        let mut widths = cid.widths();
        let glyphs: Vec<u16> = used.glyphs.iter().copied().collect();
        for consecutive in glyphs.chunk_by(|a, b| a + 1 == *b) {
            widths.consecutive(consecutive[0], consecutive.iter().map(|&glyph| per_thousand(font.advance(glyph))));
        }
        widths.finish();
        cid.finish();

        let bounds = face.global_bounding_box();
        let [left, bottom, right, top] =
            [bounds.x_min, bounds.y_min, bounds.x_max, bounds.y_max].map(|units| per_thousand(f32::from(units)));
        self.pdf
            .font_descriptor(descriptor)
            .name(name)
            .flags(FontFlags::SYMBOLIC)
            .bbox(Area::new(left, bottom, right, top))
            .italic_angle(0.0)
            .ascent(per_thousand(f32::from(face.ascender())))
            .descent(per_thousand(f32::from(face.descender())))
            .cap_height(per_thousand(f32::from(face.capital_height().unwrap_or(face.ascender()))))
            .stem_v(80.0)
            .font_file2(data);
        self.pdf.stream(data, &compress(&file)).filter(Filter::FlateDecode).pair(Name(b"Length1"), file.len() as i32);

        let mut map = UnicodeCmap::new(Name(b"attlas"), system);
        let mut texts = used.texts.clone();
        for (&character, &glyph) in &used.characters {
            texts.entry(glyph).or_insert_with(|| character.to_string());
        }
        texts.iter().for_each(|(&glyph, text)| map.pair_with_multiple(glyph, text.chars()));
        let map = compress(&map.finish());
        self.pdf.cmap(unicode, &map).filter(Filter::FlateDecode);

        Ok(composite)
    }
}

/// The operators of a page, whose y runs upwards.
struct Page {
    content: Content,
    height: f32,
}

impl Page {
    fn fill(&mut self, Rgb(color): Rgb) {
        let [red, green, blue] = color.map(|channel| f32::from(channel) / 255.0);
        self.content.set_fill_rgb(red, green, blue);
    }

    fn image(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], name: &str) {
        let y = self.height - y - height;
        self.content.save_state().transform([width, 0.0, 0.0, height, x, y]);
        self.content.x_object(Name(name.as_bytes())).restore_state();
    }

    fn line(&mut self, line: &Line) {
        let [red, green, blue] = line.color.0.map(|channel| f32::from(channel) / 255.0);
        self.content.save_state().set_stroke_rgb(red, green, blue).set_line_width(line.width);
        self.content.set_line_cap(LineCapStyle::ProjectingSquareCap);
        if line.opacity != 1.0 {
            self.content.set_parameters(Name(opacity_name(line.opacity).as_bytes()));
        }
        for (place, &[x, y]) in line.points.iter().enumerate() {
            let y = self.height - y;
            if place == 0 {
                self.content.move_to(x, y)
            } else {
                self.content.line_to(x, y)
            };
        }
        self.content.stroke().restore_state();
    }

    /// A text, run by run. A run whose glyphs are not its characters one by one carries its text beside them; not so
    /// from right to left, where readers reverse what they find glyph by glyph.
    fn label(&mut self, label: &Label) {
        let (sin, cos) = (-label.angle).to_radians().sin_cos();
        let place = |right: f32, up: f32| {
            let (x, y) = (label.x + right * cos - up * sin, self.height - label.y + right * sin + up * cos);
            [cos, sin, -sin, cos, x, y]
        };
        let mut text = Vec::new();
        let mut pen = label.offset();
        for run in &label.shaped.runs {
            let placed = place_run(run, &mut pen, label.size);
            text.push((run, placed.into_iter().map(|(at, glyphs)| (place(at[0], at[1]), glyphs)).collect::<Vec<_>>()));
        }
        self.fill(label.color);
        self.content.begin_text();
        for (run, shows) in text {
            self.content.set_font(Name(run.font.name().as_bytes()), label.size);
            if run.order == Order::Shaped {
                let text = &label.shaped.text[run.range.clone()];
                let mut span = self.content.begin_marked_content_with_properties(Name(b"Span"));
                span.properties().actual_text(TextStr(text));
                span.finish();
            }
            for (matrix, glyphs) in shows {
                self.content.set_text_matrix(matrix).show(Str(&glyphs));
            }
            if run.order == Order::Shaped {
                self.content.end_marked_content();
            }
        }
        self.content.end_text();
    }
}

/// Glyph numbers as two bytes each, and where along and above the baseline they are shown; moves the pen on.
fn place_run(run: &Run, pen: &mut f32, size: f32) -> Vec<([f32; 2], Vec<u8>)> {
    let mut shows: Vec<([f32; 2], Vec<u8>)> = Vec::new();
    for glyph in &run.glyphs {
        let bytes = glyph.id.to_be_bytes();
        match shows.last_mut() {
            Some((_, glyphs)) if run.order == Order::OneByOne => glyphs.extend(bytes),
            _ => shows.push(([*pen + glyph.dx * size, glyph.dy * size], bytes.to_vec())),
        }
        *pen += glyph.advance * size;
    }
    shows
}

fn opacity_name(opacity: f32) -> String {
    format!("o{:03}", (opacity * 1000.0).round())
}
