//! The viewer: one page that shows every head of a recording and opens with no network.
//!
//! [`page`] writes the whole page as text. It holds the viewer's script (`web/`, built by `npm run build`), a JSON
//! description and the recording's numbers as bytes; the weights are computed in the browser by the formula of
//! [`attlas::Scoring`]. Nothing is loaded from anywhere: the page's content security policy forbids it.

mod error;
mod escape;
mod page;
mod payload;
mod pooled;

pub use error::Error;
pub use page::{Description, PageOptions, fits, page};
