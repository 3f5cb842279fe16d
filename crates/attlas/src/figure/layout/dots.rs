//! Labelled dots in a plane.

use super::sheet::{Sheet, TEXT_SIZE, TICK_SIZE};
use crate::Quantity;
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure, Line, Mark, Rect, Rgb};
use crate::figure::scale::number;
use crate::figure::text::{shape, visible};

/// The side of a dot, and the line around it.
const DOT: f32 = 5.0;
const OUTLINE: f32 = 0.75;
/// From a dot to a label beside it, and to those that a thin line leads to.
const DISTANCES: [f32; 15] =
    [1.5, 5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0, 64.0, 80.0, 98.0, 118.0, 140.0, 165.0, 190.0];
/// Where a label may lie, seen from its dot: to the right first. Farther off, away from the middle of all dots first.
const DIRECTIONS: [[f32; 2]; 24] = [
    [1.0, 0.0],
    [-1.0, 0.0],
    [0.0, -1.0],
    [0.0, 1.0],
    [0.866, -0.5],
    [0.866, 0.5],
    [-0.866, -0.5],
    [-0.866, 0.5],
    [0.5, -0.866],
    [0.5, 0.866],
    [-0.5, -0.866],
    [-0.5, 0.866],
    [0.966, -0.259],
    [0.966, 0.259],
    [-0.966, -0.259],
    [-0.966, 0.259],
    [0.707, -0.707],
    [0.707, 0.707],
    [-0.707, -0.707],
    [-0.707, 0.707],
    [0.259, -0.966],
    [0.259, 0.966],
    [-0.259, -0.966],
    [-0.259, 0.966],
];
/// Widths of the plane by the number of dots.
const SIDES: [(usize, f32); 3] = [(40, 440.0), (160, 640.0), (usize::MAX, 900.0)];
/// From the outermost dots to the frame: room for a label.
const EDGE: f32 = 34.0;
/// How far up the colours groups go: the brightest do not show on white.
const BRIGHTEST: f32 = 0.94;

/// One dot.
#[derive(Debug, Clone, PartialEq)]
pub struct Dot {
    /// Its name.
    pub label: String,
    /// Where it lies, to the right and up.
    pub at: [f64; 2],
    /// The group whose colour it has, by its place in [`Dots::groups`].
    pub group: usize,
}

/// Dots in a plane, whose distances mean something and whose axes do not.
#[derive(Debug, Clone, PartialEq)]
pub struct Dots {
    /// The dots.
    pub dots: Vec<Dot>,
    /// What the groups are, such as `layer`.
    pub groups_are: String,
    /// The groups' names in their order, which the colours follow.
    pub groups: Vec<String>,
    /// What a distance counts in.
    pub unit: String,
}

/// Dots with their labels, a legend of the groups and, where dots lie apart, a length to measure by; both directions are
/// on one scale.
///
/// A label lies beside its dot, or farther off where a thin line leads to it; labels for which there is no room are left
/// out, and the picture says how many.
pub fn dots(content: &Dots, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, Quantity::Weight);
    let plot = Plot::new(content, style);
    frame(&mut sheet, [plot.width, plot.height]);
    let places: Vec<[f32; 2]> = content.dots.iter().map(|dot| plot.place(dot.at)).collect();
    let n_unlabelled = labels(&mut sheet, content, &places, &plot);
    for (dot, [x, y]) in content.dots.iter().zip(&places) {
        for (side, fill) in [(DOT + 2.0 * OUTLINE, style.theme.ink()), (DOT, color(&sheet, content, dot.group))] {
            sheet.add(Mark::Rect(Rect { x: x - side / 2.0, y: y - side / 2.0, width: side, height: side, fill }));
        }
    }
    if plot.is_scaled {
        measure(&mut sheet, content, &plot);
    }
    sheet.extend(plot.width, plot.height + TICK_SIZE * 2.2);
    let bottom = legend(&mut sheet, content, [plot.width, plot.height + TICK_SIZE * 3.4]);
    sheet.extend(plot.width, bottom);
    if n_unlabelled > 0 {
        let dots = if n_unlabelled == 1 { "dot has" } else { "dots have" };
        sheet.notes.push(format!("{n_unlabelled} {dots} no label: there is no room for more."));
    }
    let what = format!("{} dots in a plane, coloured by {}.", content.dots.len(), content.groups_are);
    sheet.finish_without_colors(&what)
}

/// The plane on paper.
struct Plot {
    width: f32,
    height: f32,
    /// Points per unit.
    per_unit: f64,
    /// Whether dots lie apart, so that there is a distance to measure.
    is_scaled: bool,
    middle: [f64; 2],
}

impl Plot {
    fn new(content: &Dots, style: &Style) -> Plot {
        let n = content.dots.len();
        let usual = SIDES.iter().find(|(most, _)| n <= *most).map_or(SIDES[0].1, |(_, side)| *side);
        let width = Sheet::asked_width(style).unwrap_or(usual);
        let ends = |axis: usize| {
            let numbers = || content.dots.iter().map(|dot| dot.at[axis]).filter(|number| number.is_finite());
            (numbers().fold(f64::INFINITY, f64::min), numbers().fold(f64::NEG_INFINITY, f64::max))
        };
        let [across, up] = [ends(0), ends(1)];
        let length = |(low, high): (f64, f64)| (high - low).max(0.0);
        let room = f64::from((width - 2.0 * EDGE).max(20.0));
        let longest = length(across).max(length(up));
        let is_scaled = longest > 0.0 && longest.is_finite();
        let per_unit = if is_scaled { room / longest } else { 1.0 };
        let least = width * 0.4;
        let height = ((length(up) * per_unit) as f32 + 2.0 * EDGE).clamp(least, width);
        let middle = [across, up].map(|(low, high)| if low <= high { low.midpoint(high) } else { 0.0 });
        Plot { width, height, per_unit, is_scaled, middle }
    }

    fn place(&self, at: [f64; 2]) -> [f32; 2] {
        let from_middle = |axis: usize| ((at[axis] - self.middle[axis]) * self.per_unit) as f32;
        [self.width / 2.0 + from_middle(0), self.height / 2.0 - from_middle(1)]
    }
}

fn frame(sheet: &mut Sheet, [width, height]: [f32; 2]) {
    let corners = [[0.0, 0.0], [width, 0.0], [width, height], [0.0, height], [0.0, 0.0]];
    corners.windows(2).for_each(|ends| sheet.rule(ends[0], ends[1]));
}

/// The colour of a group, by its place among all of them.
fn color(sheet: &Sheet, content: &Dots, group: usize) -> Rgb {
    let last = content.groups.len().saturating_sub(1).max(1);
    Rgb(sheet.colormap.color(BRIGHTEST * group as f32 / last as f32))
}

/// A rectangle that is taken: left, top, right, bottom.
type Taken = [f32; 4];

fn overlaps(a: Taken, b: Taken) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// Places the labels, and says for how many there was no room.
fn labels(sheet: &mut Sheet, content: &Dots, places: &[[f32; 2]], plot: &Plot) -> usize {
    let size = if places.len() > 40 { 6.5 } else { TEXT_SIZE };
    let [ink, rule] = [sheet.style.theme.ink(), sheet.style.theme.rule()];
    let half = DOT / 2.0 + OUTLINE;
    let mut taken: Vec<Taken> = places.iter().map(|[x, y]| [x - half, y - half, x + half, y + half]).collect();
    let n = places.len().max(1) as f32;
    let middle = [0, 1].map(|axis| places.iter().map(|place| place[axis]).sum::<f32>() / n);
    let mut texts = Vec::new();
    let mut n_unlabelled = 0;
    for (dot, &at) in content.dots.iter().zip(places) {
        let text = shape(&visible(&dot.label));
        let extent = [text.width * size, size * 0.95];
        let is_free = |area: &Taken| {
            let is_inside = area[0] > 1.0 && area[1] > 1.0 && area[2] < plot.width - 1.0 && area[3] < plot.height - 1.0;
            is_inside && !taken.iter().any(|other| overlaps(*area, *other))
        };
        let Some((distance, area)) = candidates(at, middle, half, extent).find(|(_, area)| is_free(area)) else {
            n_unlabelled += 1;
            continue;
        };
        if distance > DISTANCES[0] {
            let to = [at[0].clamp(area[0], area[2]), at[1].clamp(area[1], area[3])];
            sheet.add(Mark::Line(Line { points: vec![at, to], width: 0.5, color: rule, opacity: 1.0 }));
        }
        taken.push(area);
        texts.push((text, [area[0], area[3] - size * 0.15]));
    }
    // over all lines
    texts.into_iter().for_each(|(text, at)| sheet.text(text, at, 0.0, Anchor::Start, size, ink));
    n_unlabelled
}

/// The areas that a label of `extent` may take beside a dot at `at`, with their distances, the best first.
fn candidates(
    at: [f32; 2],
    middle: [f32; 2],
    half: f32,
    [width, height]: [f32; 2],
) -> impl Iterator<Item = (f32, Taken)> {
    let outwards = |to: &[f32; 2]| to[0] * (at[0] - middle[0]) + to[1] * (at[1] - middle[1]);
    let mut by_outwards = DIRECTIONS;
    by_outwards.sort_by(|a, b| outwards(b).total_cmp(&outwards(a)));
    DISTANCES.into_iter().flat_map(move |distance| {
        let directions = if distance <= DISTANCES[2] { DIRECTIONS } else { by_outwards };
        directions.into_iter().map(move |[right, down]| {
            let x = at[0] + right * (half + distance + width / 2.0);
            let y = at[1] + down * (half + distance + height / 2.0);
            (distance, [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0])
        })
    })
}

/// A length below the plane to measure distances by: 1, 2 or 5 times a power of ten, about a fifth of the width.
fn measure(sheet: &mut Sheet, content: &Dots, plot: &Plot) {
    let wanted = f64::from(plot.width) / 5.0 / plot.per_unit;
    let mut length = 1e-9;
    while length * 10.0 <= wanted && length < 1e9 {
        length *= 10.0;
    }
    length *= [5.0, 2.0].into_iter().find(|times| length * times <= wanted).unwrap_or(1.0);
    let (right, y) = ((length * plot.per_unit) as f32, plot.height + TICK_SIZE);
    sheet.rule([0.0, y], [right, y]);
    sheet.rule([0.0, y - 2.5], [0.0, y + 2.5]);
    sheet.rule([right, y - 2.5], [right, y + 2.5]);
    let text = shape(&visible(&format!("{} {}", number(length as f32), content.unit)));
    let at = [right + 5.0, y + TICK_SIZE * 0.35];
    sheet.text(text, at, 0.0, Anchor::Start, TICK_SIZE, sheet.style.theme.muted());
}

/// The groups with their colours, in as many lines as they take; gives where they end.
fn legend(sheet: &mut Sheet, content: &Dots, [width, top]: [f32; 2]) -> f32 {
    const SWATCH: f32 = 6.0;
    let [muted, ink] = [sheet.style.theme.muted(), sheet.style.theme.ink()];
    let (mut x, mut y) = (0.0, top + TEXT_SIZE);
    let name = shape(&visible(&content.groups_are));
    let start = name.width * TEXT_SIZE + 8.0;
    sheet.text(name, [x, y], 0.0, Anchor::Start, TEXT_SIZE, muted);
    x = start;
    for (group, label) in content.groups.iter().enumerate() {
        let text = shape(&visible(label));
        let needed = SWATCH + 3.0 + text.width * TEXT_SIZE;
        if x + needed > width && x > start {
            (x, y) = (start, y + TEXT_SIZE * 1.5);
        }
        for (side, fill) in [(SWATCH + 2.0 * OUTLINE, ink), (SWATCH, color(sheet, content, group))] {
            let edge = (side - SWATCH) / 2.0;
            let rect = Rect { x: x - edge, y: y - SWATCH - edge + 0.3, width: side, height: side, fill };
            sheet.add(Mark::Rect(rect));
        }
        sheet.text(text, [x + SWATCH + 3.0, y], 0.0, Anchor::Start, TEXT_SIZE, ink);
        x += needed + 10.0;
    }
    y + TEXT_SIZE * 0.6
}
