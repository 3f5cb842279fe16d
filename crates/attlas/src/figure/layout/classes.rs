//! Grids of cells by class: which cells are alike, how strongly, and beside each row what its cells say together.

use super::axis::step;
use super::legend::legend;
use super::sheet::{NAME_SIZE, Sheet, TEXT_SIZE, TICK_SIZE};
use crate::Quantity;
use crate::figure::Style;
use crate::figure::marks::{Anchor, Figure, Line, Mark, Rect, Rgb};
use crate::figure::text::{fit, shape, visible};

/// A class of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellClass {
    /// What stands in its cells: one or two letters.
    pub code: String,
    /// What the legend calls it.
    pub name: String,
    /// Its colour on any ground.
    pub color: Rgb,
}

/// One cell of a grid by class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClassCell {
    /// There is nothing at this place.
    Absent,
    /// It is of no class.
    Unnamed,
    /// It is of a class.
    Of {
        /// The class, by its place in the list.
        class: usize,
        /// How strongly, in 0 ..= 1: the size of the mark.
        strength: f32,
    },
}

/// A number for each row, drawn as a bar from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct RowNumber {
    /// What it is.
    pub name: String,
    /// The number at which a bar is full; where there is none, the largest of the grid.
    pub high: Option<f32>,
}

/// One row of a grid by class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassRow {
    /// The row's name or number.
    pub label: String,
    /// Its cells; rows may have different numbers of them.
    pub cells: Vec<ClassCell>,
    /// The row's numbers, each with what it is compared with, marked by a tick. Shape `[numbers]`.
    pub numbers: Vec<(Option<f32>, Option<f32>)>,
}

/// A grid by class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassGrid {
    /// Such as `cross-attention`.
    pub title: String,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// What stands beside the rows.
    pub numbers: Vec<RowNumber>,
    /// The rows, from top to bottom.
    pub rows: Vec<ClassRow>,
}

/// What a picture by class says in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassWords<'a> {
    /// What the bars of classes beside the rows are called.
    pub mix: &'a str,
    /// What the legend says of cells without a class.
    pub unnamed: &'a str,
    /// What the size of a mark says.
    pub strength: &'a str,
}

const BODY: f32 = 560.0;
/// The narrowest cell where no size is asked for, where one is, and the widest.
const CELL: [f32; 3] = [14.5, 3.0, 28.0];
/// The side of a mark over that of its cell, with no strength and with full strength.
const SIDE: [f32; 2] = [0.7, 0.95];
/// The largest and the least font size of a code.
const CODE: [f32; 2] = [9.0, 6.0];
/// The longest name of a row, and of a column.
const LONGEST_LABEL: f32 = 60.0;
const LONGEST_NAME: f32 = 24.0;
/// Where what stands beside the rows would leave cells less than this, it is left out.
const CROWDED: f32 = 8.0;
/// Width of a bar, of the number beside it, and of a bar of classes.
const BAR: f32 = 46.0;
const NUMBER: f32 = 26.0;
const MIX: f32 = 78.0;
const GAP: f32 = 14.0;
/// Between a row's label and its cells.
const LABEL_GAP: f32 = 4.0;

/// Grids one below the other with cells of one size, a legend of the classes that occur, and what each row says beside it.
///
/// A cell has the colour and the code of its class, and its mark is the larger the stronger it is; a cell of no class has a
/// dot. Where cells are too small for a code, or the width asked for has no room beside the rows, the picture says so.
pub fn classes(grids: &[ClassGrid], classes: &[CellClass], words: &ClassWords<'_>, style: &Style) -> Figure {
    let mut sheet = Sheet::new(style, Quantity::Weight);
    let layout = Layout::new(grids, classes, style);
    let mut top = 0.0;
    for grid in grids {
        top = layout.grid(&mut sheet, grid, words, top) + GAP;
    }
    let counts = counts(grids, classes.len());
    legend(&mut sheet, classes, &counts, words);
    sheet.extend(0.0, sheet.height() + 4.0);
    let mut notes = Vec::new();
    if layout.code_size.is_none() && counts.iter().any(|count| *count > 0) {
        notes.push("The cells are too small for the letters of their classes.".to_owned());
    }
    if !layout.has_room_beside {
        notes.push("The picture is too narrow for what stands beside the rows.".to_owned());
    }
    let description = describe(grids, classes, &counts, words, style);
    sheet.close(&style.title, &notes, description)
}

/// How many cells are of each class, and last how many of none.
fn counts(grids: &[ClassGrid], n_classes: usize) -> Vec<usize> {
    let mut counts = vec![0; n_classes + 1]; // [classes, then none]
    for cell in grids.iter().flat_map(|grid| &grid.rows).flat_map(|row| &row.cells) {
        match cell {
            ClassCell::Absent => {}
            ClassCell::Of { class, .. } if *class < n_classes => counts[*class] += 1,
            ClassCell::Of { .. } | ClassCell::Unnamed => counts[n_classes] += 1,
        }
    }
    counts
}

/// Sizes and distances, the same for all grids.
struct Layout<'a> {
    classes: &'a [CellClass],
    left: f32,
    cell: f32,
    /// Where the bars begin.
    bars: f32,
    /// Numbers of a row, at most.
    n_numbers: usize,
    has_room_beside: bool,
    /// `None` where there is no room for codes.
    code_size: Option<f32>,
}

impl<'a> Layout<'a> {
    fn new(grids: &[ClassGrid], classes: &'a [CellClass], style: &Style) -> Layout<'a> {
        let rows = || grids.iter().flat_map(|grid| &grid.rows);
        let longest =
            rows().map(|row| fit(&row.label, LONGEST_LABEL / TICK_SIZE).width * TICK_SIZE).fold(0.0, f32::max);
        let n_columns = grids.iter().map(|grid| grid.columns.len()).max().unwrap_or(0).max(1) as f32;
        let n_numbers = grids.iter().map(|grid| grid.numbers.len()).max().unwrap_or(0);
        let left = longest + LABEL_GAP;
        let beside = n_numbers as f32 * (GAP + BAR + NUMBER) + GAP + MIX;
        let asked = Sheet::asked_width(style);
        let narrowest = if asked.is_some() { CELL[1] } else { CELL[0] };
        let has_room_beside = asked.is_none_or(|asked| asked - left - beside >= n_columns * CROWDED);
        let beside = if has_room_beside { beside } else { 0.0 };
        let cell = ((asked.unwrap_or(BODY) - left - beside) / n_columns).clamp(narrowest, CELL[2]);
        // the widest code has room in the smallest mark
        let widest = classes.iter().map(|class| shape(&visible(&class.code)).width).fold(0.0, f32::max);
        let size = (cell * SIDE[0] / widest.max(1.0)).min(cell * 0.42).min(CODE[0]);
        Layout {
            classes,
            left,
            cell,
            bars: left + n_columns * cell + GAP,
            n_numbers,
            has_room_beside,
            code_size: (size >= CODE[1]).then_some(size),
        }
    }

    /// Draws a grid whose upper edge is at `top`, and says where it ends.
    fn grid(&self, sheet: &mut Sheet<'_>, grid: &ClassGrid, words: &ClassWords<'_>, top: f32) -> f32 {
        let ink = sheet.style.theme.ink();
        let right = if self.has_room_beside { self.mix_left() + MIX } else { self.bars - GAP };
        sheet.extend(right, 0.0);
        let title = fit(&grid.title, sheet.width() / TEXT_SIZE);
        sheet.text(title, [0.0, top + TEXT_SIZE], 0.0, Anchor::Start, TEXT_SIZE, ink);
        let baseline = top + TEXT_SIZE * 1.5 + NAME_SIZE;
        self.column_names(sheet, grid, baseline);
        let top = baseline + 4.0;
        let step = step(self.cell, TICK_SIZE * 1.15, grid.rows.len());
        for (place, row) in grid.rows.iter().enumerate() {
            let y = top + place as f32 * self.cell;
            if place % step == 0 {
                let at = [self.left - LABEL_GAP, y + self.cell / 2.0 + TICK_SIZE * 0.35];
                sheet.text(fit(&row.label, LONGEST_LABEL / TICK_SIZE), at, 0.0, Anchor::End, TICK_SIZE, ink);
            }
            self.marks(sheet, row, y);
        }
        self.codes(sheet, grid, top);
        if self.has_room_beside {
            self.beside(sheet, grid, words, [baseline, top], step);
        }
        let bottom = top + grid.rows.len() as f32 * self.cell;
        sheet.extend(0.0, bottom);
        bottom
    }

    /// What stands beside the rows, and its names; the number of every `step`th row.
    fn beside(
        &self,
        sheet: &mut Sheet<'_>,
        grid: &ClassGrid,
        words: &ClassWords<'_>,
        [baseline, top]: [f32; 2],
        step: usize,
    ) {
        let muted = sheet.style.theme.muted();
        for (place, number) in grid.numbers.iter().enumerate() {
            let name = fit(&number.name, (BAR + NUMBER) / NAME_SIZE);
            sheet.text(name, [self.bar_left(grid, place), baseline], 0.0, Anchor::Start, NAME_SIZE, muted);
        }
        let mix = fit(words.mix, MIX / NAME_SIZE);
        sheet.text(mix, [self.mix_left(), baseline], 0.0, Anchor::Start, NAME_SIZE, muted);
        let highs: Vec<f32> = (0..grid.numbers.len()).map(|place| high(grid, place)).collect();
        for (place, row) in grid.rows.iter().enumerate() {
            let y = top + place as f32 * self.cell;
            self.bars(sheet, grid, place, y, &highs);
            self.mix(sheet, row, self.mix_left(), y);
            if place % step == 0 {
                self.numbers(sheet, grid, row, y);
            }
        }
    }

    /// Where the bars of a number begin: the same number from the right stands at the same place in all grids.
    fn bar_left(&self, grid: &ClassGrid, place: usize) -> f32 {
        self.bars + (self.n_numbers - grid.numbers.len() + place) as f32 * (BAR + NUMBER + GAP)
    }

    /// Where the bars of classes begin.
    fn mix_left(&self) -> f32 {
        self.bars + self.n_numbers as f32 * (BAR + NUMBER + GAP)
    }

    /// The height of a row's bars.
    fn bar_height(&self) -> f32 {
        (self.cell * 0.5).min(9.0)
    }

    /// The names of the columns, every so many where they are narrow.
    fn column_names(&self, sheet: &mut Sheet<'_>, grid: &ClassGrid, baseline: f32) {
        let names: Vec<_> = grid.columns.iter().map(|name| fit(name, LONGEST_NAME / TICK_SIZE)).collect();
        let widest = names.iter().map(|name| name.width * TICK_SIZE).fold(0.0, f32::max);
        let (step, muted) = (step(self.cell, widest + 2.0, names.len()), sheet.style.theme.muted());
        for (column, name) in names.into_iter().enumerate().step_by(step) {
            let x = self.left + (column as f32 + 0.5) * self.cell;
            sheet.extend(x + widest / 2.0, 0.0);
            sheet.text(name, [x, baseline], 0.0, Anchor::Middle, TICK_SIZE, muted);
        }
    }

    /// The marks of a row: squares, and dots for cells of no class.
    fn marks(&self, sheet: &mut Sheet<'_>, row: &ClassRow, y: f32) {
        for (column, cell) in row.cells.iter().enumerate() {
            let middle = [self.left + (column as f32 + 0.5) * self.cell, y + self.cell / 2.0];
            match (cell, self.class_of(cell)) {
                (ClassCell::Of { strength, .. }, Some(class)) => {
                    let strength = if strength.is_finite() { strength.clamp(0.0, 1.0) } else { 0.0 };
                    square(sheet, middle, self.cell * (SIDE[0] + (SIDE[1] - SIDE[0]) * strength), class.color);
                }
                (ClassCell::Absent, _) => {}
                _ => dot(sheet, middle, self.cell * 0.14),
            }
        }
    }

    /// The letters of all cells, in groups of one colour.
    fn codes(&self, sheet: &mut Sheet<'_>, grid: &ClassGrid, top: f32) {
        let Some(size) = self.code_size else { return };
        for ink in INKS {
            for (row, cells) in grid.rows.iter().map(|row| &row.cells).enumerate() {
                for (column, class) in
                    cells.iter().enumerate().filter_map(|(at, cell)| Some((at, self.class_of(cell)?)))
                {
                    if ink_on(class.color) == ink {
                        let x = self.left + (column as f32 + 0.5) * self.cell;
                        let y = top + (row as f32 + 0.5) * self.cell + size * 0.35;
                        sheet.text(shape(&visible(&class.code)), [x, y], 0.0, Anchor::Middle, size, ink);
                    }
                }
            }
        }
    }

    fn class_of(&self, cell: &ClassCell) -> Option<&'a CellClass> {
        match cell {
            ClassCell::Of { class, .. } => self.classes.get(*class),
            _ => None,
        }
    }

    /// The numbers of row `row` as bars on scales from 0 to `highs`.
    fn bars(&self, sheet: &mut Sheet<'_>, grid: &ClassGrid, row: usize, y: f32, highs: &[f32]) {
        let (ink, muted, rule) = (sheet.style.theme.ink(), sheet.style.theme.muted(), sheet.style.theme.rule());
        let (middle, height) = (y + self.cell / 2.0, self.bar_height());
        for (place, ((value, reference), high)) in grid.rows[row].numbers.iter().zip(highs).enumerate() {
            let (x, at) = (self.bar_left(grid, place), |number: f32| BAR * (number / high).clamp(0.0, 1.0));
            self.track(sheet, [x, middle - height / 2.0], BAR);
            sheet.add(Mark::Line(upright(x, middle, height + 2.0, rule)));
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let bar = Rect { x, y: middle - height / 2.0, width: at(value), height, fill: muted };
                sheet.add(Mark::Rect(bar));
            }
            if let Some(reference) = reference.filter(|reference| reference.is_finite()) {
                sheet.add(Mark::Line(Line { width: 1.2, ..upright(x + at(reference), middle, height + 3.0, ink) }));
            }
        }
    }

    /// The numbers of a row beside its bars.
    fn numbers(&self, sheet: &mut Sheet<'_>, grid: &ClassGrid, row: &ClassRow, y: f32) {
        let (ink, baseline) = (sheet.style.theme.ink(), y + self.cell / 2.0 + TICK_SIZE * 0.35);
        for (place, (value, _)) in row.numbers.iter().take(grid.numbers.len()).enumerate() {
            if let Some(value) = value.filter(|value| value.is_finite()) {
                let at = [self.bar_left(grid, place) + BAR + NUMBER, baseline];
                sheet.text(fit(&short(value), NUMBER / TICK_SIZE), at, 0.0, Anchor::End, TICK_SIZE, ink);
            }
        }
    }

    /// An empty bar.
    fn track(&self, sheet: &mut Sheet<'_>, [x, y]: [f32; 2], width: f32) {
        let (height, rule) = (self.bar_height(), sheet.style.theme.rule());
        sheet.add(Mark::Rect(Rect { x, y, width, height, fill: rule }));
        let fill = sheet.style.theme.ground();
        sheet.add(Mark::Rect(Rect { x: x + 0.5, y: y + 0.5, width: width - 1.0, height: height - 1.0, fill }));
    }

    /// Which share of the row's cells is of each class.
    fn mix(&self, sheet: &mut Sheet<'_>, row: &ClassRow, x: f32, y: f32) {
        let n_cells = row.cells.iter().filter(|cell| **cell != ClassCell::Absent).count().max(1) as f32;
        let height = self.bar_height();
        let y = y + (self.cell - height) / 2.0;
        self.track(sheet, [x, y], MIX);
        let mut start = x;
        for (class, look) in self.classes.iter().enumerate() {
            let is_of = |cell: &&ClassCell| matches!(cell, ClassCell::Of { class: of, .. } if *of == class);
            let width = MIX * row.cells.iter().filter(is_of).count() as f32 / n_cells;
            if width > 0.0 {
                sheet.add(Mark::Rect(Rect { x: start, y, width, height, fill: look.color }));
                // classes may share a colour
                if start > x {
                    let divider = upright(start, y + height / 2.0, height, sheet.style.theme.ground());
                    sheet.add(Mark::Line(Line { width: 0.8, ..divider }));
                }
            }
            start += width;
        }
    }
}

/// The number at which a bar is full.
fn high(grid: &ClassGrid, place: usize) -> f32 {
    let numbers = grid.rows.iter().filter_map(|row| row.numbers.get(place)).flat_map(|(value, of)| [*value, *of]);
    let largest = numbers.flatten().filter(|number| number.is_finite()).fold(0.0, f32::max);
    grid.numbers[place].high.unwrap_or(largest).max(f32::MIN_POSITIVE)
}

/// A number in four places at most.
fn short(number: f32) -> String {
    match number.abs() {
        size if size < 9.995 => format!("{number:.2}"),
        size if size < 99.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// A square with a thin edge, which pale colours need on white and dark ones on black; on half points, so that edges are alike
/// in pixels, too.
pub fn square(sheet: &mut Sheet<'_>, [x, y]: [f32; 2], side: f32, fill: Rgb) {
    let snapped = |length: f32| (2.0 * length).round() / 2.0;
    let (x, y, side) = (snapped(x - side / 2.0), snapped(y - side / 2.0), snapped(side).max(1.5));
    for (edge, fill) in [(0.0, sheet.style.theme.muted()), (0.5, fill)] {
        let side = side - 2.0 * edge;
        sheet.add(Mark::Rect(Rect { x: x + edge, y: y + edge, width: side, height: side, fill }));
    }
}

/// The mark of a cell of no class.
pub fn dot(sheet: &mut Sheet<'_>, [x, y]: [f32; 2], side: f32) {
    let fill = sheet.style.theme.muted();
    sheet.add(Mark::Rect(Rect { x: x - side / 2.0, y: y - side / 2.0, width: side, height: side, fill }));
}

fn upright(x: f32, middle: f32, height: f32, color: Rgb) -> Line {
    let points = vec![[x, middle - height / 2.0], [x, middle + height / 2.0]];
    Line { points, width: 0.5, color, opacity: 1.0 }
}

/// Letters on a coloured ground.
const INKS: [Rgb; 2] = [Rgb([20, 22, 26]), Rgb([255, 255, 255])];

/// The ink that stands out more from `ground` (WCAG 2's contrast).
pub fn ink_on(ground: Rgb) -> Rgb {
    let luminance = |Rgb(color): Rgb| {
        let linear = color.map(|channel| (f32::from(channel) / 255.0).powf(2.2));
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    };
    let (light, dark) = (1.05 / (luminance(ground) + 0.05), (luminance(ground) + 0.05) / (luminance(INKS[0]) + 0.05));
    if dark >= light { INKS[0] } else { INKS[1] }
}

/// The picture in words.
fn describe(
    grids: &[ClassGrid],
    classes: &[CellClass],
    counts: &[usize],
    words: &ClassWords<'_>,
    style: &Style,
) -> String {
    let size = |grid: &ClassGrid| format!("{}, {} × {} cells", grid.title, grid.rows.len(), grid.columns.len());
    let sizes: Vec<String> = grids.iter().map(size).collect();
    let names = classes.iter().map(|class| class.name.as_str()).chain([words.unnamed]);
    let counted: Vec<String> =
        names.zip(counts).filter(|(_, count)| **count > 0).map(|(name, count)| format!("{name}: {count}")).collect();
    visible(&format!("Cells by class: {}. {}. {}", sizes.join("; "), counted.join("; "), style.captions.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_light_on_dark_colours_and_dark_on_light_ones() {
        assert_eq!(ink_on(Rgb([0, 0, 96])), INKS[1]);
        assert_eq!(ink_on(Rgb([240, 228, 66])), INKS[0]);
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!([0.034, 1.999, 12.34, 166.5].map(short), ["0.03", "2.00", "12.3", "166"]);
    }

    #[test]
    fn a_class_that_is_not_in_the_list_counts_as_none() {
        let cells = vec![ClassCell::Of { class: 7, strength: 1.0 }, ClassCell::Absent, ClassCell::Unnamed];
        let row = ClassRow { label: "0".into(), cells, numbers: Vec::new() };
        let grid = ClassGrid { title: String::new(), columns: Vec::new(), numbers: Vec::new(), rows: vec![row] };
        assert_eq!(counts(&[grid], 2), [0, 0, 2]);
    }
}
