//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image, cells by class, dots, lines over an axis, a
//! profile of columns, a table of numbers, words in time.

mod axis;
mod charts;
mod classes;
mod difference;
mod dots;
mod grid;
mod legend;
mod lines;
mod map;
mod overview;
mod patches;
mod profile;
mod sheet;
mod signs;
mod table;
mod timeline;

pub use charts::{Chart, ChartAxis, ChartLine, Stroke, charts};
pub use classes::{CellClass, ClassCell, ClassGrid, ClassRow, ClassWords, RowNumber, classes};
pub use difference::difference;
pub use dots::{Dot, Dots, dots};
pub use grid::{grid, marked_grid};
pub use lines::lines;
pub use map::{CellMark, Sign, map, marked_map};
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
pub use profile::{Bars, Profile, profile};
pub use table::table;
pub use timeline::{Loudness, Timeline, timeline};
