//! One file per command.

#[cfg(not(feature = "train"))]
pub mod absent;
pub mod align;
pub mod circuits;
pub mod compare;
pub mod compare_pair;
pub mod completions;
pub mod describe;
pub mod draw;
pub mod draw_distance;
pub mod draw_patches;
pub mod draw_received;
pub mod evaluate;
pub mod export;
#[cfg(feature = "train")]
pub mod film;
#[cfg(feature = "train")]
pub mod film_curves;
pub mod heads;
pub mod import;
pub mod info;
pub mod man;
pub mod mixing;
pub mod models;
pub mod pair_lines;
pub mod record;
pub mod show;
pub mod survey;
pub mod tokens;
#[cfg(feature = "train")]
pub mod train;
pub mod why;

pub use crate::words::counted;
