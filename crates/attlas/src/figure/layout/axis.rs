//! Labels along an axis: sized, thinned and elided so that they neither overlap nor are clipped.

use std::sync::Arc;

use super::sheet::Sheet;
use crate::figure::marks::Anchor;
use crate::figure::panel::Axis;
use crate::figure::text::{Shaped, fit, visible};

/// The largest and the least font size of a label, in points.
const SIZES: (f32, f32) = (9.0, 6.5);
/// Line height over font size.
const LINE: f32 = 1.22;
/// From the map's edge to its labels.
pub const LABEL_GAP: f32 = 4.0;
/// A capital's half height over font size: from the baseline to the middle of a text.
const MIDDLE: f32 = 0.35;

/// The labels of an axis, ready to place.
pub struct Labels {
    /// Which of the things along the axis, counted from its first, and text.
    texts: Vec<(usize, Arc<Shaped>)>,
    size: f32,
    /// From one thing to the next.
    pitch: f32,
    step: usize,
}

/// How the labels of the columns stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stance {
    /// Side by side, as the text runs.
    Level,
    /// Rising to the right at 45°.
    Slanted,
    /// Running upwards.
    Upright,
}

impl Labels {
    /// The labels of `axis` with `pitch` points from one place to the next, each at most `longest` points.
    ///
    /// Where there is no room for all, every 2nd, 5th, 10th, … is shown, with its number. Where places are tiles, what they hold is
    /// labelled, where it lies in them.
    pub fn new(axis: &Axis, pitch: f32, longest: f32) -> Labels {
        let numbers = axis.numbers();
        let pitch = pitch * (axis.len() as f32 / numbers.len().max(1) as f32);
        let size = (pitch * 0.66).clamp(SIZES.1, SIZES.0);
        let step = step(pitch, size * LINE, numbers.len());
        let text = |number: usize| match axis.label_of(number - numbers.start) {
            label if step > 1 && axis.has_labels() => format!("{number}: {}", visible(&label)),
            label => label,
        };
        let round = numbers.start.div_ceil(step) * step..numbers.end;
        let labelled = |number: usize| (number - numbers.start, fit(&text(number), longest / size));
        let texts = round.step_by(step).map(labelled).collect();
        Labels { texts, size, pitch, step }
    }

    /// The longest label, in points.
    pub fn longest(&self) -> f32 {
        self.texts.iter().map(|(_, text)| text.width * self.size).fold(0.0, f32::max)
    }

    /// The stance in which column labels do not overlap.
    pub fn stance(&self) -> Stance {
        let pitch = self.pitch * self.step as f32;
        if self.longest() + 5.0 <= pitch {
            Stance::Level
        } else if pitch >= self.size * 1.7 {
            Stance::Slanted
        } else {
            Stance::Upright
        }
    }

    /// How far column labels reach up from the map, [`LABEL_GAP`] included.
    pub fn rise(&self, stance: Stance) -> f32 {
        LABEL_GAP
            + match stance {
                Stance::Level => self.size,
                Stance::Slanted => (self.longest() + self.size) * std::f32::consts::FRAC_1_SQRT_2,
                Stance::Upright => self.longest(),
            }
    }

    /// The right end of column labels, from the left edge of the map.
    pub fn reach(&self, stance: Stance) -> f32 {
        let end = |&(place, ref text): &(usize, Arc<Shaped>)| {
            self.center(place)
                + match stance {
                    Stance::Level => text.width * self.size / 2.0,
                    Stance::Slanted => (text.width * self.size + self.size) * std::f32::consts::FRAC_1_SQRT_2,
                    Stance::Upright => self.size * LINE / 2.0,
                }
        };
        self.texts.iter().map(end).fold(0.0, f32::max)
    }

    fn center(&self, place: usize) -> f32 {
        (place as f32 + 0.5) * self.pitch
    }

    /// Row labels, ending left of the map whose upper left corner is `corner`.
    pub fn place_rows(&self, sheet: &mut Sheet, corner: [f32; 2]) {
        let ink = sheet.style.theme.ink();
        for (place, text) in &self.texts {
            let y = corner[1] + self.center(*place);
            if self.step > 1 {
                sheet.rule([corner[0] - 2.5, y], [corner[0], y]);
            }
            let at = [corner[0] - LABEL_GAP, y + MIDDLE * self.size];
            sheet.text(Arc::clone(text), at, 0.0, Anchor::End, self.size, ink);
        }
    }

    /// Labels in a column of their own, beginning right of `corner`.
    pub fn place_right(&self, sheet: &mut Sheet, corner: [f32; 2]) {
        let ink = sheet.style.theme.ink();
        for (place, text) in &self.texts {
            let at = [corner[0] + LABEL_GAP, corner[1] + self.center(*place) + MIDDLE * self.size];
            sheet.text(Arc::clone(text), at, 0.0, Anchor::Start, self.size, ink);
        }
    }

    /// Column labels above the map whose upper left corner is `corner`.
    pub fn place_above(&self, sheet: &mut Sheet, corner: [f32; 2], stance: Stance) {
        let ink = sheet.style.theme.ink();
        for (place, text) in &self.texts {
            let (x, y) = (corner[0] + self.center(*place), corner[1] - LABEL_GAP);
            if self.step > 1 {
                sheet.rule([x, corner[1] - 2.5], [x, corner[1]]);
            }
            let middle = MIDDLE * self.size;
            let (at, angle, anchor) = match stance {
                Stance::Level => ([x, y], 0.0, Anchor::Middle),
                Stance::Slanted => ([x + middle * 0.707, y + middle * 0.207], -45.0, Anchor::Start),
                Stance::Upright => ([x + middle, y], -90.0, Anchor::Start),
            };
            sheet.text(Arc::clone(text), at, angle, anchor, self.size, ink);
        }
    }

    /// Column labels below the map whose lower left corner is `corner`, running upwards to it, or level where they fit.
    pub fn place_below(&self, sheet: &mut Sheet, corner: [f32; 2], stance: Stance) {
        let ink = sheet.style.theme.ink();
        for (place, text) in &self.texts {
            let (x, y) = (corner[0] + self.center(*place), corner[1] + LABEL_GAP);
            if self.step > 1 {
                sheet.rule([x, corner[1]], [x, corner[1] + 2.5]);
            }
            match stance {
                Stance::Level => {
                    sheet.text(Arc::clone(text), [x, y + self.size * 0.8], 0.0, Anchor::Middle, self.size, ink);
                }
                _ => sheet.text(Arc::clone(text), [x + MIDDLE * self.size, y], -90.0, Anchor::End, self.size, ink),
            }
        }
    }
}

/// The least of 1, 2, 5, 10, 20, … whose labels are a line apart.
pub fn step(pitch: f32, line: f32, n: usize) -> usize {
    let mut step = 1;
    let mut factors = [2, 5, 10].into_iter().cycle();
    let mut decade = 1;
    while step < n && (step as f32) * pitch < line {
        let factor = factors.next().unwrap_or(10);
        step = decade * factor;
        if factor == 10 {
            decade = step;
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_tiles_are_of_what_they_hold_and_stand_where_it_lies() {
        let of = |labels: &Labels| labels.texts.iter().map(|(thing, _)| *thing).collect::<Vec<_>>();
        let tiles = Labels::new(&Axis::tiles("token", 1000, 0..2500), 0.1, 64.0);
        assert_eq!(of(&tiles), (0..2500).step_by(200).collect::<Vec<_>>());
        assert!((tiles.center(2000) - 80.0).abs() < 0.1, "of 100 points: {}", tiles.center(2000));
        assert_eq!(tiles.texts[10].1, fit("2000", 64.0));

        let part = Labels::new(&Axis::tiles("token", 1000, 300..2800), 0.1, 64.0);
        assert_eq!(of(&part)[..2], [100, 300], "tokens 400 and 600");
        assert_eq!(part.texts[0].1, fit("400", 64.0));

        let seconds = (0..2500).map(|frame| format!("{:.2}s", f64::from(frame) / 50.0)).collect();
        let sound = Labels::new(&Axis::labelled_tiles("frame".into(), 1000, 0, seconds), 0.1, 64.0);
        assert_eq!(sound.texts[10].1, fit("2000: 40.00s", 64.0));
    }

    #[test]
    fn labels_are_thinned_by_round_steps() {
        assert_eq!(step(10.0, 8.0, 12), 1);
        assert_eq!(step(3.0, 8.0, 100), 5);
        assert_eq!(step(0.9, 8.0, 512), 10);
        assert_eq!(step(0.05, 8.0, 10_000), 200);
        assert_eq!(step(0.0001, 8.0, 3), 5);
    }
}
