//! The state of a survey beside its output: written aside and renamed, so that a kill at any moment leaves a whole one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::table::{TableFormat, write_table_as};
use crate::{Error, SurveyFile, survey_table};

/// Writing the state takes at most this share of the time.
const SHARE_OF_TIME: u32 = 20;

/// Saves a survey's state now and then.
pub struct Keeper {
    /// Where; `None` when nothing is kept.
    path: Option<PathBuf>,
    every: Duration,
    /// When the state was last saved; `None` before the first time.
    saved: Option<Instant>,
    /// How long the last saving took.
    took: Duration,
}

/// Where the state of a survey lies while it goes on: beside its output.
pub fn state_of(output: &Path) -> PathBuf {
    let mut name: OsString = output.as_os_str().to_owned();
    name.push(".state");
    name.into()
}

impl Keeper {
    /// Saves at `path`, so often at most; the first time as soon as there is something, so that a survey that is killed again and
    /// again advances.
    pub fn new(path: PathBuf, every: Duration) -> Keeper {
        Keeper { path: Some(path), every, saved: None, took: Duration::ZERO }
    }

    /// Saves nothing.
    pub fn nowhere() -> Keeper {
        Keeper { path: None, every: Duration::MAX, saved: None, took: Duration::ZERO }
    }

    /// Saves the state if it is time to.
    ///
    /// # Errors
    /// [`Error::Maps`] when it cannot be written.
    pub fn save_if_due(&mut self, file: &SurveyFile) -> Result<(), Error> {
        let every = self.every.max(self.took * SHARE_OF_TIME);
        match self.saved.is_some_and(|saved| saved.elapsed() < every) {
            true => Ok(()),
            false => self.save(file),
        }
    }

    /// Saves the state.
    ///
    /// # Errors
    /// [`Error::Maps`] when it cannot be written.
    pub fn save(&mut self, file: &SurveyFile) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        let began = Instant::now();
        write_table_as(TableFormat::Parquet, path, &survey_table(file, None))?;
        (self.saved, self.took) = (Some(Instant::now()), began.elapsed());
        Ok(())
    }

    /// Takes the state away: the survey is done.
    pub fn remove(self) {
        let _ = self.path.map(std::fs::remove_file); // one that was never saved is not there
    }
}
