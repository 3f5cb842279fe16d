//! One file per command.

pub mod ablate;
#[cfg(not(all(feature = "train", feature = "serve")))]
pub mod absent;
pub mod align;
pub mod check;
pub mod circuits;
pub mod compare;
pub mod compare_pair;
pub mod completions;
pub mod describe;
pub mod draw;
pub mod draw_check;
pub mod draw_contacts;
pub mod draw_distance;
pub mod draw_patches;
pub mod draw_received;
pub mod evaluate;
pub mod experts;
pub mod explain;
pub mod export;
#[cfg(feature = "train")]
pub mod film;
#[cfg(feature = "train")]
pub mod film_curves;
pub mod heads;
pub mod import;
pub mod info;
pub mod lens;
pub mod man;
pub mod mixing;
pub mod models;
pub mod page;
pub mod pair_lines;
pub mod record;
pub mod show;
pub mod survey;
pub mod times;
pub mod tokens;
#[cfg(feature = "train")]
pub mod train;
#[cfg(feature = "serve")]
pub mod view;
pub mod why;

pub use crate::words::counted;
