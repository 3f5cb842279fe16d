//! Where everything goes: one map, a grid of maps, an overview of many.

mod axis;
mod grid;
mod lines;
mod map;
mod overview;
mod sheet;

pub use grid::grid;
pub use lines::lines;
pub use map::map;
pub use overview::{OverviewRow, overview};
