//! Where everything goes: one map, a grid of maps, an overview of many, a row over an image, a profile of columns.

mod axis;
mod grid;
mod lines;
mod map;
mod overview;
mod patches;
mod profile;
mod sheet;

pub use grid::grid;
pub use lines::lines;
pub use map::map;
pub use overview::{OverviewRow, overview};
pub use patches::{PatchRow, Pixels, patches};
pub use profile::{Bars, Profile, profile};
