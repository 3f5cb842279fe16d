//! Numbers that fail their checks: said on standard error, and by the exit code.

use std::ops::Range;

use attlas::recording::complaint;
pub use attlas::view::complaint_of;
use attlas::{Error, Quantity, Recording};

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

/// What fails of the weights that rollout or flow of some texts are made of; `None` of other quantities, and where nothing does.
pub fn complaint_of_weights_behind(
    recording: &Recording,
    quantity: Quantity,
    items: Range<usize>,
) -> Result<Option<String>, Error> {
    if !matches!(quantity, Quantity::Rollout | Quantity::Flow) {
        return Ok(None);
    }
    let kinds = recording.kinds_in(quantity);
    let weights =
        recording.check_heads(items, |layer, _| layer.quantity == Quantity::Weight && kinds.contains(&layer.kind))?;
    Ok(complaint(&weights))
}
