//! The signs that point out a cell: squares and outlines, dark with a light rim.

use super::map::Sign;
use super::sheet::Sheet;
use crate::figure::marks::{Line, Mark, Rect, Rgb};

const DARK: Rgb = Rgb([0, 0, 0]);
const LIGHT: Rgb = Rgb([255, 255, 255]);

/// Points out the cell of size `cell` whose upper left corner is at `at`.
pub fn place(sheet: &mut Sheet, sign: Sign, at: [f32; 2], cell: [f32; 2]) {
    let side = cell[0].min(cell[1]);
    let rim = (side * 0.05).clamp(0.3, 1.2);
    match sign {
        Sign::Dot => {
            for (half, fill) in [(side * 0.15 + rim, LIGHT), (side * 0.15, DARK)] {
                let [x, y] = [at[0] + cell[0] / 2.0 - half, at[1] + cell[1] / 2.0 - half];
                sheet.add(Mark::Rect(Rect { x, y, width: 2.0 * half, height: 2.0 * half, fill }));
            }
        }
        Sign::Solid | Sign::Dashed => {
            let inset = 1.5 * rim;
            let (left, top) = (at[0] + inset, at[1] + inset);
            let (right, bottom) = (at[0] + cell[0] - inset, at[1] + cell[1] - inset);
            let corners = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]];
            let dashes = match sign {
                Sign::Dashed => corners.windows(2).flat_map(|side| dashes(side[0], side[1])).collect(),
                _ => vec![corners.to_vec()],
            };
            for (width, color) in [(3.0 * rim, LIGHT), (1.5 * rim, DARK)] {
                for points in &dashes {
                    sheet.add(Mark::Line(Line { points: points.clone(), width, color, opacity: 1.0 }));
                }
            }
        }
    }
}

/// Two dashes and a half along a side, so that its corners are drawn.
fn dashes(from: [f32; 2], to: [f32; 2]) -> Vec<Vec<[f32; 2]>> {
    let at = |share: f32| [from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share];
    [[0.0, 0.2], [0.4, 0.6], [0.8, 1.0]].into_iter().map(|dash| dash.map(at).to_vec()).collect()
}
