//! Words in time: the sound, where each word lies in it, and below it the map from which that was read.

use std::ops::Range;

use super::axis::{LABEL_GAP, Labels};
use super::map::LONGEST_LABEL;
use super::sheet::{NAME_SIZE, Sheet, TEXT_SIZE, TICK_SIZE};
use crate::figure::marks::{Anchor, Figure, Line, Mark, Photo, Rgb};
use crate::figure::panel::Panel;
use crate::figure::raster::Frame;
use crate::figure::scale::{ColorScale, Scales};
use crate::figure::text::{fit, shape};
use crate::figure::{Style, Theme};

/// The width of the map when no size is asked for.
const WIDTH: f32 = 520.0;
const NARROWEST: f32 = 80.0;
/// The height of the sound, and of a row of the map.
const SOUND: f32 = 72.0;
const ROW: Range<f32> = 3.0..13.0;
const TALLEST_MAP: f32 = 420.0;
const GAP: f32 = 6.0;
/// Names of words rise to the right, at most so far.
const LONGEST_WORD: f32 = 60.0;
/// Words that begin together have room for so many names.
const MOST_NAMES: usize = 3;
/// Points from one word's name to the next.
const LEAST_PITCH: f32 = 8.5;
/// Points from one time to the next.
const TIME_PITCH: f32 = 34.0;
const LINE: Rgb = Rgb([220, 20, 60]);
const RIM: Rgb = Rgb([255, 255, 255]);

/// Words with their places on the axis of a map whose columns are times.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Rows are pieces of words, columns are times.
    pub panel: Panel,
    /// The first column of each row.
    pub starts: Vec<usize>,
    /// The words, each with the columns from its beginning to its end.
    pub words: Vec<(String, Range<usize>)>,
    /// Seconds of a column.
    pub column_seconds: f32,
    /// How loud the sound is.
    pub sound: Option<Loudness>,
}

/// How loud a sound is at each time and pitch.
#[derive(Debug, Clone, PartialEq)]
pub struct Loudness {
    /// Bands of pitch.
    pub n_bands: usize,
    /// 255 is the loudest; the lowest band first. Shape `[n_bands, n_times]`.
    pub loudness: Vec<u8>,
    /// Seconds from a time to the next.
    pub seconds: f32,
}

/// The sound with a line where each word begins, the words above it, and below it the map with the way through it.
pub fn timeline(timeline: &Timeline, scale: &ColorScale, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, scale.quantity());
    let panel = &timeline.panel;
    let row_height = (TALLEST_MAP / panel.n_rows() as f32).clamp(ROW.start, ROW.end);
    let rows = Labels::new(panel.rows(), row_height, LONGEST_LABEL);
    let left = NAME_SIZE * 1.9 + rows.longest() + LABEL_GAP;
    let width = Sheet::asked_width(style).map_or(WIDTH, |asked| (asked - left).max(NARROWEST));
    let column = width / panel.n_columns() as f32;
    // 1. the words, and lines down through the sound where they begin
    let mut top = words_above(&mut sheet, timeline, [left, 0.0], column);
    if let Some(sound) = &timeline.sound {
        let seconds = panel.n_columns() as f32 * timeline.column_seconds;
        sound.draw(&mut sheet, [left, top], width, seconds);
        for (_, span) in &timeline.words {
            let x = left + span.start as f32 * column;
            line(&mut sheet, vec![[x, top], [x, top + SOUND]], LINE, 0.8);
        }
        top += SOUND + GAP;
    }
    // 2. the map and the way through it
    let height = row_height * panel.n_rows() as f32;
    let frame = Frame { x: left, y: top, width, height, cells_per_point: sheet.cells_per_point };
    let pool = sheet.panel(panel, scale, frame);
    let mut way = Vec::with_capacity(2 * timeline.starts.len() + 1);
    for (row, start) in timeline.starts.iter().enumerate() {
        let x = left + *start as f32 * column;
        way.extend([[x, top + row as f32 * row_height], [x, top + (row + 1) as f32 * row_height]]);
    }
    way.push([left + width, top + height]);
    line(&mut sheet, way.clone(), RIM, 2.4);
    line(&mut sheet, way, LINE, 1.2);
    rows.place_rows(&mut sheet, [left, top]);
    // 3. times below it
    times_below(&mut sheet, timeline, [left, top + height], width);
    let n_empty = timeline.words.iter().filter(|(_, span)| span.is_empty()).count();
    if n_empty > 0 {
        sheet.notes.push(format!("{n_empty} of {} words have no frame of their own.", timeline.words.len()));
    }
    sheet.notes.push("The red line is the way through the map that gives the words their times.".to_owned());
    sheet.finish(&[panel], &Scales::Shared(*scale), pool)
}

/// The words' names, rising to the right from where each begins; words that begin together have one label, and a label too near to the
/// one before is left out, which a note says. Gives the height.
fn words_above(sheet: &mut Sheet, timeline: &Timeline, corner: [f32; 2], column: f32) -> f32 {
    let ink = sheet.style.theme.ink();
    let together: Vec<_> = timeline.words.chunk_by(|(_, one), (_, next)| one.start == next.start).collect();
    let label = |words: &&[(String, Range<usize>)]| {
        let names: Vec<&str> = words.iter().map(|(word, _)| word.trim()).collect();
        fit(&names.join(" · "), LONGEST_WORD * words.len().min(MOST_NAMES) as f32 / TEXT_SIZE)
    };
    let shaped: Vec<_> = together.iter().map(label).collect();
    let longest = shaped.iter().map(|word| word.width * TEXT_SIZE).fold(0.0, f32::max);
    let height = (longest + TEXT_SIZE) * std::f32::consts::FRAC_1_SQRT_2 + GAP;
    let (mut free, mut n_left_out) = (f32::NEG_INFINITY, 0);
    for (word, words) in shaped.into_iter().zip(together) {
        let x = corner[0] + words[0].1.start as f32 * column;
        if x >= free {
            let reach = x + (word.width * TEXT_SIZE + TEXT_SIZE) * std::f32::consts::FRAC_1_SQRT_2;
            sheet.extend(reach, 0.0);
            sheet.text(word, [x + 3.0, corner[1] + height - 3.0], -45.0, Anchor::Start, TEXT_SIZE, ink);
            free = x + LEAST_PITCH;
        } else {
            n_left_out += words.len();
        }
    }
    if n_left_out > 0 {
        sheet.notes.push(format!(
            "{n_left_out} of {} words begin too near to the one before to be named.",
            timeline.words.len()
        ));
    }
    height
}

/// Times at round places below the map.
fn times_below(sheet: &mut Sheet, timeline: &Timeline, [left, top]: [f32; 2], width: f32) {
    let muted = sheet.style.theme.muted();
    let seconds = timeline.panel.n_columns() as f32 * timeline.column_seconds;
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0];
    let step = steps.into_iter().find(|step| step / seconds * width >= TIME_PITCH).unwrap_or(120.0);
    let n_times = (seconds / step) as usize;
    for time in (0..=n_times).map(|place| place as f32 * step) {
        let x = left + time / seconds * width;
        sheet.rule([x, top], [x, top + 3.0]);
        let name = shape(&if step < 1.0 { format!("{time:.1} s") } else { format!("{time:.0} s") });
        sheet.extend(x + name.width * TICK_SIZE / 2.0, 0.0);
        sheet.text(name, [x, top + 4.0 + TICK_SIZE], 0.0, Anchor::Middle, TICK_SIZE, muted);
    }
    sheet.extend(left + width, top + 6.0 + TICK_SIZE);
}

fn line(sheet: &mut Sheet, points: Vec<[f32; 2]>, color: Rgb, width: f32) {
    sheet.add(Mark::Line(Line { points, width, color, opacity: 1.0 }));
}

impl Loudness {
    /// The sound in grey, the lowest band at the bottom, as far as `seconds` reach over `width`.
    fn draw(&self, sheet: &mut Sheet, [x, y]: [f32; 2], width: f32, seconds: f32) {
        let n_all = self.loudness.len() / self.n_bands.max(1);
        let n_columns = n_all.min((seconds / self.seconds).ceil() as usize);
        if n_columns == 0 {
            return;
        }
        let shade = |loudness: u8| if sheet.style.theme == Theme::Dark { loudness } else { 255 - loudness };
        let band = |band: usize| &self.loudness[band * n_all..][..n_columns];
        let rgb: Vec<u8> = (0..self.n_bands).rev().flat_map(band).flat_map(|loudness| [shade(*loudness); 3]).collect(); // [bands, times, 3]
        let width = (width * n_columns as f32 * self.seconds / seconds).min(width);
        sheet.add(Mark::Photo(Photo { x, y, width, height: SOUND, n_columns, n_rows: self.n_bands, rgb: rgb.into() }));
        sheet.extend(x + width, y + SOUND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::{Axis, Scale};

    #[test]
    fn words_begin_where_their_first_piece_does_and_the_sound_ends_where_it_is_over() {
        let rows = Axis::labelled("predicted token", ["The", "cat", "sat"]);
        let panel = Panel::new("mean", vec![0.25; 12], rows, Axis::counted("time", 4)).expect("twelve weights");
        let scale = ColorScale::of([&panel], Scale::Linear);
        let words = vec![("The".to_owned(), 0..1), ("cat".to_owned(), 1..3), ("sat".to_owned(), 3..4)];
        let sound = Loudness { n_bands: 2, loudness: vec![0, 255, 10, 20, 30, 40], seconds: 0.02 };
        let all = Timeline { panel, starts: vec![0, 1, 3], words, column_seconds: 0.02, sound: Some(sound) };
        let figure = timeline(&all, &scale, &Style::default());
        let photo = figure.marks().iter().find_map(|mark| match mark {
            Mark::Photo(photo) => Some(photo.clone()),
            _ => None,
        });
        let photo = photo.expect("a sound");
        assert_eq!([photo.n_rows, photo.n_columns], [2, 3]);
        assert_eq!(photo.rgb[..3], [235; 3], "the highest band is on top, and what is loud is dark");
        assert!((photo.width - 0.75 * WIDTH).abs() < 1e-3, "three of four columns have sound");
        let starts: Vec<f32> = figure
            .marks()
            .iter()
            .filter_map(|mark| match mark {
                Mark::Line(Line { points, width, .. }) if *width == 0.8 => Some(points[0][0] - photo.x),
                _ => None,
            })
            .collect();
        let expected = [0.0, 0.25, 0.75].map(|share| share * WIDTH);
        assert!(starts.len() == 3 && starts.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{starts:?}");
        let without = timeline(&Timeline { sound: None, ..all }, &scale, &Style::default());
        assert!(without.height < figure.height && without.to_svg().contains("0.0 s"));
    }

    #[test]
    fn words_that_begin_together_are_named_together() {
        let rows = Axis::labelled("predicted token", ["The", "cat", "sat"]);
        let panel = Panel::new("mean", vec![0.25; 12], rows, Axis::counted("time", 4)).expect("twelve weights");
        let scale = ColorScale::of([&panel], Scale::Linear);
        let words = vec![("The".to_owned(), 0..1), ("cat".to_owned(), 1..1), ("sat".to_owned(), 1..4)];
        let all = Timeline { panel, starts: vec![0, 1, 1], words, column_seconds: 0.02, sound: None };
        let svg = timeline(&all, &scale, &Style::default()).to_svg();
        assert!(svg.contains("cat · sat") && svg.contains("1 of 3 words have no frame"), "{svg}");
    }
}
