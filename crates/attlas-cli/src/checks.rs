//! Numbers that fail their checks: said on standard error, and by the exit code.

pub use attlas::view::complaint_of;

use crate::failure::Outcome;
use crate::terminal::remark;

/// How a command ends that made or showed numbers: done, or with what is wrong with them.
pub fn outcome(complaint: Option<&str>) -> Outcome {
    match complaint {
        None => Outcome::Done,
        Some(complaint) => {
            remark(complaint);
            Outcome::ChecksFailed
        }
    }
}
