//! What can go wrong while a page is written.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The page would be larger than allowed.
    #[error(
        "the page would hold {} of attention data, more than the limit of {}; record fewer texts, layers or tokens, \
         or raise the limit",
        size(*bytes), size(*limit)
    )]
    TooLarge {
        /// The size of the page's data, in bytes.
        bytes: u64,
        /// [`PageOptions::max_bytes`](crate::PageOptions::max_bytes).
        limit: u64,
    },
    /// One map has more cells than a browser can hold at once.
    #[error(
        "{layer}: a map of {n_queries} × {n_keys} cells is too large for one page (at most {limit} cells); \
         draw it as an overview, or record fewer tokens"
    )]
    MapTooLarge {
        /// Kind and index of the layer.
        layer: String,
        /// Rows.
        n_queries: usize,
        /// Columns.
        n_keys: usize,
        /// The most cells there may be.
        limit: u64,
    },
    /// The recording contradicts itself.
    #[error(transparent)]
    Recording(#[from] attlas::Error),
}

impl Error {
    /// Whether a limit refused the page (exit code 5 of the command) rather than a fault of the recording.
    pub fn is_limit(&self) -> bool {
        matches!(self, Error::TooLarge { .. } | Error::MapTooLarge { .. })
    }
}

/// So many bytes in words; in megabytes of 2²⁰, as limits are given.
fn size(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{bytes} bytes"),
        _ => format!("{:.1} MB", bytes as f64 / f64::from(1 << 20)),
    }
}
