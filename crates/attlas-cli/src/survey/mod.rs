//! Surveys: what the heads of a model do over a corpus, kept so that parts of it merge exactly.

mod about;
mod fingerprint;
mod keeper;
mod pace;
mod parquet_file;
mod report;
mod windows;
mod work;

pub use about::{About, Decoding, ModelIdentity, Part, Position, Settings, Skipped, Targets};
pub use fingerprint::fingerprint;
pub use keeper::{Keeper, state_of};
pub use parquet_file::{read_survey, survey_table};
pub use report::print_survey;
pub use work::{Work, survey_corpus};

use attlas::survey::Survey;

/// What was surveyed, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyFile {
    /// The model, the corpus, and how far the survey is.
    pub about: About,
    /// The sums.
    pub survey: Survey,
}
