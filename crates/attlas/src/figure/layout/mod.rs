//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image, dots, lines over an axis, a table of numbers.

mod axis;
mod charts;
mod difference;
mod dots;
mod grid;
mod lines;
mod map;
mod overview;
mod patches;
mod sheet;
mod signs;
mod table;

pub use charts::{Chart, ChartAxis, ChartLine, Stroke, charts};
pub use difference::difference;
pub use dots::{Dot, Dots, dots};
pub use grid::grid;
pub use lines::lines;
pub use map::{CellMark, Sign, map, marked_map};
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
pub use table::table;
