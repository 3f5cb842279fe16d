//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image, cells by class.

mod axis;
mod classes;
mod grid;
mod legend;
mod lines;
mod map;
mod overview;
mod patches;
mod sheet;

pub use classes::{CellClass, ClassCell, ClassGrid, ClassRow, ClassWords, RowNumber, classes};
pub use grid::grid;
pub use lines::lines;
pub use map::map;
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
