//! The viewer: one page that shows every head of a recording and opens with no network.
//!
//! [`page`] writes the whole page as text. It holds the viewer's script (`web/`, built by `npm run build`), a JSON
//! description and the recording's numbers as bytes; the weights are computed in the browser by the formula of
//! [`attlas::Scoring`]. Nothing is loaded from anywhere: the page's content security policy forbids it.
//!
//! [`heads_page`] writes the page of what heads are named for, with a small script of its own.

mod alike;
mod bands;
mod beside;
mod bits;
mod digits;
mod effects;
mod error;
mod escape;
mod heads;
mod items;
mod numbers;
mod opening;
mod page;
mod payload;
mod pooled;
mod rounded;
mod served;

pub use beside::{Beside, Sound};
pub use effects::{HeadEffect, HeadEffects};
pub use error::Error;
pub use heads::heads_page;
pub use page::{Description, Page, PageOptions, page, script_hash, style_hash};
pub use served::{atlas, shell, shell_policy};
