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
pub use file::{
    examples_table, failures_table, read_survey, rows_of, score_row, survey_bytes, survey_of_bytes, survey_table,
};
pub use fingerprint::{digest_of_counts, fingerprint};
pub use keeper::{Keeper, state_of};
pub use work::{End, Stop, Work, survey_corpus, survey_texts};

use attlas::analysis::MEASURES;
use attlas::survey::{Survey, packed_sums};
use serde_json::json;
use sha2::{Digest, Sha256};

/// What was surveyed, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub struct SurveyFile {
    /// The model, the corpus, and how far the survey is.
    pub about: About,
    /// The sums.
    pub survey: Survey,
}

impl SurveyFile {
    /// Takes in another survey of the same model, in any order to the same bytes. `own` and `name` say in errors which the two
    /// are. Returns the names of the files of which both have the same shards: their texts count twice.
    ///
    /// # Errors
    /// [`Error::Differs`] when they are of other models, versions or settings; [`Error::Unfinished`].
    pub fn add(&mut self, own: &str, other: SurveyFile, name: &str) -> Result<Vec<String>, Error> {
        for (file, name) in [(&*self, own), (&other, name)] {
            if file.about.position.is_some() {
                return Err(Error::Unfinished(name.to_owned()));
            }
        }
        if let Some(why) = other.about.differs_from(&self.about) {
            return Err(Error::Differs { name: name.to_owned(), why, first: own.to_owned() });
        }
        let twice = self.about.overlap(&other.about);
        self.about.merge(other.about);
        self.survey.merge(other.survey);
        Ok(twice)
    }

    /// SHA-256 of what was found, in hexadecimal: the same for the same texts under the same model, whatever files, batches and
    /// machines they were dealt out to.
    pub fn digest(&self) -> String {
        let (about, survey) = (&self.about, &self.survey);
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(json!([about.format, about.attlas, about.model, about.decoding, survey.n_texts().as_slice()])
            .to_string()
            .as_bytes());
        for (index, cell) in survey.cells().iter().enumerate() {
            let measure = MEASURES[cell.measure].name;
            add(json!([cell.kind.name(), cell.head.layer, cell.head.head, measure, cell.variant])
                .to_string()
                .as_bytes());
            add(&packed_sums(&survey.shard_sums(index)));
            add(json!(survey.examples(index).as_slice()).to_string().as_bytes());
        }
        hex(&hash.finalize())
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
