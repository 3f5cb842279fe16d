//! Surveys: what the heads of a model do over a corpus, kept so that parts of it merge exactly.

mod about;
pub mod corpus;
mod error;
mod file;
mod fingerprint;
mod keeper;
mod pace;
pub mod table;
mod windows;
mod work;

pub use about::{About, Decoding, ModelIdentity, Part, Position, Settings, Skipped, SurveyedFile, Targets};
pub use error::Error;
pub use file::{read_survey, rows_of, score_row, survey_table};
pub use fingerprint::{digest_of_counts, fingerprint};
pub use keeper::{Keeper, state_of};
pub use work::{End, Stop, Work, survey_corpus};

use attlas::survey::Survey;

/// What was surveyed, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyFile {
    /// The model, the corpus, and how far the survey is.
    pub about: About,
    /// The sums.
    pub survey: Survey,
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
