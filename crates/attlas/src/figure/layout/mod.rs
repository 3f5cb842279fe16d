//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image.

mod axis;
mod grid;
mod lines;
mod map;
mod overview;
mod patches;
mod sheet;
mod signs;

pub use grid::grid;
pub use lines::lines;
pub use map::{CellMark, Sign, map, marked_map};
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
