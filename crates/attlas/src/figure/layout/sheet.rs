//! The paper of a figure: marks as they are added, then heading, colour bar and captions around them.

use std::sync::Arc;

use crate::Quantity;
use crate::figure::marks::{Anchor, Cells, Figure, Label, Line, Mark, Rect, Rgb};
use crate::figure::panel::{Axis, Panel};
use crate::figure::raster::{Frame, Pool};
use crate::figure::scale::{ColorScale, LAST, Scales, number};
use crate::figure::text::{Shaped, fit, shape, visible};
use crate::figure::{Colormap, Style};

/// Font sizes in points.
pub const TITLE_SIZE: f32 = 12.0;
pub const NAME_SIZE: f32 = 8.5;
pub const TEXT_SIZE: f32 = 8.0;
pub const TICK_SIZE: f32 = 7.5;

const MARGIN: f32 = 14.0;
const BAR_HEIGHT: f32 = 7.0;
const WIDEST_BAR: f32 = 260.0;
/// Least width of the body, so that colour bar and captions can be read.
const LEAST_BODY: f32 = 220.0;

/// Marks of a figure's body; the origin is the body's upper left corner.
pub struct Sheet<'a> {
    pub style: &'a Style,
    pub colormap: Colormap,
    pub palette: Arc<[Rgb]>,
    pub cells_per_point: f32,
    /// What the picture must say of itself besides its captions.
    pub notes: Vec<String>,
    marks: Vec<Mark>,
    width: f32,
    height: f32,
}

/// What a cell's index means.
fn palette(style: &Style, colormap: Colormap) -> Arc<[Rgb]> {
    let mut colors = colormap.palette();
    if let Some(last) = colors.last_mut() {
        *last = missing(style, colormap);
    }
    colors.into()
}

/// The colour of a cell without a number.
fn missing(style: &Style, colormap: Colormap) -> Rgb {
    if style.absent.is_some() { style.theme.faint() } else { Rgb(colormap.missing()) }
}

impl<'a> Sheet<'a> {
    /// An empty sheet, whose colours suit the quantity drawn.
    pub fn new(style: &'a Style, quantity: Quantity) -> Sheet<'a> {
        let colormap = style.colormap.suited_to(quantity);
        let palette = palette(style, colormap);
        let cells_per_point = pixels_per_point(style).max(2.0);
        let width = Sheet::asked_width(style).map_or(LEAST_BODY, |asked| asked.min(LEAST_BODY));
        Sheet { style, colormap, palette, cells_per_point, notes: Vec::new(), marks: Vec::new(), width, height: 0.0 }
    }

    /// Takes the colours that suit another quantity for what is drawn from here on.
    pub fn recolor(&mut self, quantity: Quantity) {
        self.colormap = self.style.colormap.suited_to(quantity);
        self.palette = palette(self.style, self.colormap);
    }

    /// The body's width where the caller asked for one.
    pub fn asked_width(style: &Style) -> Option<f32> {
        style.size.filter(|size| size.is_finite()).map(|size| size.clamp(160.0, 5000.0) - 2.0 * MARGIN)
    }

    /// Makes the body reach at least to `right` and `bottom`.
    pub fn extend(&mut self, right: f32, bottom: f32) {
        self.width = self.width.max(right);
        self.height = self.height.max(bottom);
    }

    /// The body's width so far.
    pub fn width(&self) -> f32 {
        self.width
    }

    /// The body's height so far.
    pub fn height(&self) -> f32 {
        self.height
    }

    /// Adds a mark.
    pub fn add(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Adds a text of `size`; angle in degrees, clockwise.
    pub fn text(&mut self, shaped: Arc<Shaped>, at: [f32; 2], angle: f32, anchor: Anchor, size: f32, color: Rgb) {
        self.marks.push(Mark::Label(Label { x: at[0], y: at[1], angle, anchor, size, color, shaped }));
    }

    /// Adds a straight stroke.
    pub fn rule(&mut self, from: [f32; 2], to: [f32; 2]) {
        let color = self.style.theme.rule();
        self.marks.push(Mark::Line(Line { points: vec![from, to], width: 0.5, color, opacity: 1.0 }));
    }

    /// Adds a panel's cells and a thin frame around them; says how they are pooled.
    pub fn panel(&mut self, panel: &Panel, scale: &ColorScale, frame: Frame) -> Pool {
        let cells = frame.cells(panel, scale, &self.palette);
        self.marks.push(Mark::Cells(cells));
        self.frame(frame.x, frame.y, frame.width, frame.height);
        self.extend(frame.x + frame.width, frame.y + frame.height);
        frame.pool(panel)
    }

    fn frame(&mut self, x: f32, y: f32, width: f32, height: f32) {
        let color = self.style.theme.rule();
        let points = vec![[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]];
        self.marks.push(Mark::Line(Line { points, width: 0.5, color, opacity: 1.0 }));
    }

    /// Adds lines of wrapped text below everything so far.
    fn paragraph(&mut self, text: &str, color: Rgb) {
        for line in wrap(text, self.width / TEXT_SIZE) {
            self.height += TEXT_SIZE * 1.35;
            self.text(line, [0.0, self.height - TEXT_SIZE * 0.3], 0.0, Anchor::Start, TEXT_SIZE, color);
        }
    }

    /// Adds the colour bar below everything so far: what is measured, on which scale, with numbers.
    pub fn color_bar(&mut self, scales: &Scales, n_panels: usize) {
        self.height += 12.0;
        self.paragraph(&scales.words(n_panels), self.style.theme.ink());
        let (width, y) = (self.width.min(WIDEST_BAR), self.height + 3.0);
        let palette = Arc::clone(&self.palette);
        let indices: Vec<u8> = (0..=LAST).collect(); // [255]
        let bar = Cells { x: 0.0, y, width, height: BAR_HEIGHT, n_rows: 1, n_columns: indices.len(), indices, palette };
        self.marks.push(Mark::Cells(bar));
        self.frame(0.0, y, width, BAR_HEIGHT);
        self.height = y + BAR_HEIGHT + 2.0;
        self.ticks(&scales.ticks(n_panels), width);
        self.height += TICK_SIZE * 1.3;
    }

    /// Numbers below the colour bar: the ends always, those between where there is room.
    fn ticks(&mut self, ticks: &[(f32, String)], width: f32) {
        let gap = 6.0;
        let color = self.style.theme.muted();
        let shaped: Vec<(f32, Arc<Shaped>)> = ticks.iter().map(|(at, text)| (at * width, shape(text))).collect();
        let last_start = shaped.last().map_or(width, |(_, text)| width - text.width * TICK_SIZE);
        let mut free = 0.0;
        for (place, (x, text)) in shaped.iter().enumerate() {
            let text_width = text.width * TICK_SIZE;
            let is_last = place + 1 == shaped.len();
            let start = match place {
                0 => 0.0,
                _ if is_last => width - text_width,
                _ => x - text_width / 2.0,
            };
            if start < free || (!is_last && place > 0 && start + text_width + gap > last_start) {
                continue;
            }
            self.rule([*x, self.height - 2.0], [*x, self.height]);
            self.text(Arc::clone(text), [start, self.height + TICK_SIZE], 0.0, Anchor::Start, TICK_SIZE, color);
            free = start + text_width + gap;
        }
    }

    /// Says how many values have the colour of the missing.
    fn missing(&mut self, n_missing: usize) {
        let side = TEXT_SIZE * 0.8;
        let fill = missing(self.style, self.colormap);
        let y = self.height + TEXT_SIZE * 1.05 - side;
        self.marks.push(Mark::Rect(Rect { x: 0.0, y, width: side, height: side, fill }));
        let text = match (self.style.absent, n_missing) {
            (Some(words), _) => words.to_owned(),
            (None, 1) => "1 value is not a finite number".to_owned(),
            _ => format!("{n_missing} values are not finite numbers"),
        };
        let line = fit(&text, (self.width - side - 4.0) / TEXT_SIZE);
        self.height += TEXT_SIZE * 1.35;
        let at = [side + 4.0, self.height - TEXT_SIZE * 0.3];
        self.text(line, at, 0.0, Anchor::Start, TEXT_SIZE, self.style.theme.ink());
    }

    /// The whole figure: heading above the body, colour bar, notes and captions below.
    pub fn finish(mut self, panels: &[&Panel], scales: &Scales, pool: Pool) -> Figure {
        self.color_bar(scales, panels.len());
        self.finish_below_bar(panels, scales, pool)
    }

    /// [`finish`](Self::finish) where the colour bar stands already.
    pub fn finish_below_bar(mut self, panels: &[&Panel], scales: &Scales, pool: Pool) -> Figure {
        let style = self.style;
        self.height += 3.0;
        let n_missing = panels.iter().flat_map(|panel| panel.weights()).filter(|weight| !weight.is_finite()).count();
        if n_missing > 0 {
            self.missing(n_missing);
        }
        let notes = [std::mem::take(&mut self.notes), notes(panels, scales, pool)].concat();
        let title = match panels {
            [panel] if style.title.is_empty() => panel.title(),
            _ => &style.title,
        };
        self.close(title, &notes, describe(panels, scales, style))
    }

    /// The whole figure of a body that needs no colour bar any more: heading above it, notes and captions below. `what` says what it shows.
    pub fn finish_without_colors(mut self, what: &str) -> Figure {
        let style = self.style;
        self.height += 6.0;
        let description = visible(&format!("{what} {}", style.captions.join(" ")));
        let notes = std::mem::take(&mut self.notes);
        self.close(&style.title, &notes, description)
    }

    /// Heading, notes and captions around what there is.
    pub fn close(mut self, title: &str, notes: &[String], description: String) -> Figure {
        let style = self.style;
        for note in notes.iter().chain(&style.captions) {
            self.paragraph(note, style.theme.muted());
        }
        let heading = wrap(title, self.width / TITLE_SIZE);
        let heading_height = heading.len() as f32 * TITLE_SIZE * 1.25 + if heading.is_empty() { 0.0 } else { 8.0 };
        for mark in &mut self.marks {
            mark.shift(MARGIN, MARGIN + heading_height);
        }
        for (line, text) in heading.into_iter().enumerate() {
            let at = [MARGIN, MARGIN + TITLE_SIZE * (0.95 + 1.25 * line as f32)];
            self.text(text, at, 0.0, Anchor::Start, TITLE_SIZE, style.theme.ink());
        }
        Figure {
            width: (self.width + 2.0 * MARGIN).ceil(),
            height: (self.height + heading_height + 2.0 * MARGIN).ceil(),
            ground: style.theme.ground(),
            marks: self.marks,
            title: if title.is_empty() { String::new() } else { visible(title) },
            description,
            pixels_per_point: pixels_per_point(style),
        }
    }
}

fn pixels_per_point(style: &Style) -> f32 {
    if style.pixels_per_point.is_finite() { style.pixels_per_point.clamp(0.5, 17.0) } else { 2.0 }
}

/// What the picture must say of itself.
fn notes(panels: &[&Panel], scales: &Scales, pool: Pool) -> Vec<String> {
    let mut notes = Vec::new();
    let most =
        |axis: fn(&Panel) -> &Axis, pool| panels.iter().map(|panel| axis(panel).most_in(pool)).max().unwrap_or(1);
    let (n_rows, n_columns) = (most(Panel::rows, pool.rows), most(Panel::columns, pool.columns));
    if n_rows * n_columns > 1 {
        notes.push(format!(
            "Each cell shows the {} of up to {n_rows} × {n_columns} values (rows × columns).",
            if scales.whole().quantity().is_signed() { "farthest from 0" } else { "largest" },
        ));
    }
    if scales.are_own() && panels.len() > 1 {
        let tops = panels.iter().map(|panel| scales.of_panel(panel).high());
        let (least, most) = tops.fold((f32::INFINITY, 0.0_f32), |(least, most), top| (least.min(top), most.max(top)));
        notes.push(format!("The panels' largest values lie between {} and {}.", number(least), number(most)));
    }
    notes
}

/// The picture in words.
fn describe(panels: &[&Panel], scales: &Scales, style: &Style) -> String {
    let Some(first) = panels.first() else { return String::new() };
    let (rows, columns) = (first.rows(), first.columns());
    let maps = match panels.len() {
        1 => format!("A map of {} × {} values", rows.numbers().len(), columns.numbers().len()),
        n => format!("{n} maps"),
    };
    let axes = format!("rows are {}, columns are {}", rows.name(), columns.name());
    visible(&format!("{maps} ({}); {axes}. {}", scales.whole().words(), style.captions.join(" ")))
}

/// Breaks text into lines of at most `width` ems; a word that is too long is elided.
pub fn wrap(text: &str, width: f32) -> Vec<Arc<Shaped>> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if shape(&visible(&format!("{line} {word}"))).width <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
        if lines.len() > 40 {
            break;
        }
    }
    lines.iter().map(|line| fit(line, width)).collect()
}
