//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image, lines over an axis.

mod axis;
mod charts;
mod grid;
mod lines;
mod map;
mod overview;
mod patches;
mod sheet;

pub use charts::{Chart, ChartAxis, ChartLine, Stroke, charts};
pub use grid::grid;
pub use lines::lines;
pub use map::map;
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
