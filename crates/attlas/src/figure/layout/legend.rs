//! The legend of a picture by class: what each colour and letter stands for, how often it occurs, what size says.

use super::classes::{CellClass, ClassWords, dot, ink_on, square};
use super::sheet::{Sheet, TEXT_SIZE};
use crate::figure::marks::Anchor;
use crate::figure::text::fit;

/// The side of a legend's square, and the font size of its letters.
const SIDE: f32 = 12.0;
const CODE_SIZE: f32 = 6.5;
const LINE: f32 = 16.0;
/// Between a square and its name, and after the name.
const GAP: [f32; 2] = [4.0, 14.0];

/// Adds the legend below everything so far: the classes that occur, then cells of none, then what the size of a mark says.
///
/// `counts` has one number for each class, and last that of cells of none.
pub fn legend(sheet: &mut Sheet<'_>, classes: &[CellClass], counts: &[usize], words: &ClassWords<'_>) {
    let mut flow = Flow { x: 0.0, y: sheet.height() + LINE, width: sheet.width() };
    for (class, count) in classes.iter().zip(counts).filter(|(_, count)| **count > 0) {
        let [x, y] = flow.item(sheet, &format!("{}: {count}", class.name));
        square(sheet, [x + SIDE / 2.0, y], SIDE, class.color);
        let at = [x + SIDE / 2.0, y + CODE_SIZE * 0.35];
        let code = fit(&class.code, SIDE / CODE_SIZE);
        sheet.text(code, at, 0.0, Anchor::Middle, CODE_SIZE, ink_on(class.color));
    }
    if let Some(count) = counts.last().filter(|count| **count > 0) {
        let [x, y] = flow.item(sheet, &format!("{}: {count}", words.unnamed));
        dot(sheet, [x + SIDE / 2.0, y], SIDE * 0.2);
    }
    if counts.len() > 1 && counts[..counts.len() - 1].iter().any(|count| *count > 0) {
        let [x, y] = flow.item(sheet, words.strength);
        let fill = sheet.style.theme.rule();
        square(sheet, [x + 2.5, y], 5.0, fill);
        square(sheet, [x + SIDE - 3.0, y], 6.5, fill);
    }
    sheet.extend(0.0, flow.y + 4.0);
}

/// Items from left to right, then from top to bottom.
struct Flow {
    x: f32,
    /// The baseline.
    y: f32,
    width: f32,
}

impl Flow {
    /// Adds an item's name, and says where the middle of its mark's left edge is.
    fn item(&mut self, sheet: &mut Sheet<'_>, name: &str) -> [f32; 2] {
        let name = fit(name, (self.width - SIDE - GAP[0]) / TEXT_SIZE);
        let width = SIDE + GAP[0] + name.width * TEXT_SIZE;
        if self.x > 0.0 && self.x + width > self.width {
            (self.x, self.y) = (0.0, self.y + LINE);
        }
        let [x, y] = [self.x, self.y];
        sheet.text(name, [x + SIDE + GAP[0], y], 0.0, Anchor::Start, TEXT_SIZE, sheet.style.theme.ink());
        self.x += width + GAP[1];
        [x, y - TEXT_SIZE * 0.35]
    }
}
