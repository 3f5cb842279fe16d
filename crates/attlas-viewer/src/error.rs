//! What can go wrong while a page is written.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The page would be larger than allowed.
    #[error(
        "the page would hold {} of attention data, more than the limit of {}; record fewer texts, layers or tokens, \
         or raise the limit with --max-page-mb",
        megabytes(*bytes), megabytes(*limit)
    )]
    TooLarge {
        /// The size of the page's data, in bytes.
        bytes: u64,
        /// [`PageOptions::max_bytes`](crate::PageOptions::max_bytes).
        limit: u64,
    },
    /// The recording contradicts itself.
    #[error("{0}")]
    Inconsistent(String),
    /// The recording could not be read.
    #[error(transparent)]
    Recording(#[from] attlas::Error),
}

impl Error {
    /// Whether a limit refused the page (exit code 5 of the command) rather than a fault of the recording.
    pub fn is_limit(&self) -> bool {
        matches!(self, Error::TooLarge { .. })
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
