//! What cutting one text may cost: bytes that the stages add to it, and steps of regular expressions, taken as they are spent.
//!
//! The allowance belongs to the thread, because the library hands its stages a text and nothing else; and what a stage
//! refuses is kept here, because the library drops what its normaliser says.

use std::cell::RefCell;

use super::expression::{Steps, TooManySteps};
use crate::Error;

/// Bytes that may be added for each byte of a text; the longest that Unicode's own mappings make is eleven times as long.
const ADDED_PER_BYTE: usize = 15;
/// Bytes that may be added whatever the text.
const ADDED: usize = 1 << 20;
/// Steps of regular expressions for each byte of a text; one in use takes up to 64, and some tokenizers have several.
const STEPS_PER_BYTE: u64 = 256;
/// Steps whatever the text.
const STEPS: u64 = 1 << 26;

thread_local! {
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
}

struct Left {
    n_bytes: usize,
    added: usize,
    steps: Steps,
    fault: Option<Error>,
}

impl Left {
    /// What is left after `n` more bytes.
    fn less(&self, n: usize, field: impl FnOnce() -> String) -> Result<usize, Error> {
        self.added.checked_sub(n).ok_or_else(|| {
            Error::Limit(format!(
                "{} makes the text of {} bytes too long: {ADDED_PER_BYTE} bytes may be added for each of its own, and 1 MiB; another tokenizer is needed",
                field(),
                self.n_bytes
            ))
        })
    }
}

/// Does what the library does with a text of `n_bytes`; whatever a stage refused is returned instead.
pub(super) fn within<T>(n_bytes: usize, work: impl FnOnce() -> T) -> Result<T, Error> {
    let left = Left {
        n_bytes,
        added: n_bytes.saturating_mul(ADDED_PER_BYTE).saturating_add(ADDED),
        steps: Steps(STEPS.saturating_add(STEPS_PER_BYTE.saturating_mul(n_bytes as u64))),
        fault: None,
    };
    let outer = LEFT.replace(Some(left));
    let result = work();
    let fault = LEFT.replace(outer).and_then(|left| left.fault);
    fault.map_or(Ok(result), Err)
}

/// Takes `n` bytes that the stage in `field` adds.
pub(super) fn add(n: usize, field: impl FnOnce() -> String) -> Result<(), tokenizers::Error> {
    change(|left| {
        left.added = left.less(n, field)?;
        Ok(())
    })
}

/// Refuses the text, whatever is left.
pub(super) fn refuse(fault: impl FnOnce() -> Error) -> Result<(), tokenizers::Error> {
    change(|_| Err(fault()))
}

/// Refuses a stage that could add `n` bytes where fewer are left.
pub(super) fn foresee(n: usize, field: impl FnOnce() -> String) -> Result<(), tokenizers::Error> {
    change(|left| left.less(n, field).map(|_| ()))
}

/// Searches with the steps that are left.
pub(super) fn search<T>(
    work: impl FnOnce(&mut Steps) -> Result<T, TooManySteps>,
    refusal: impl FnOnce(usize) -> Error,
) -> Result<T, tokenizers::Error> {
    change(|left| work(&mut left.steps).map_err(|TooManySteps| refusal(left.n_bytes)))
}

/// Spends of the allowance; after a refusal nothing more is done.
fn change<T>(work: impl FnOnce(&mut Left) -> Result<T, Error>) -> Result<T, tokenizers::Error> {
    LEFT.with_borrow_mut(|left| {
        let left = left.as_mut().ok_or("a text is cut without an allowance")?;
        if left.fault.is_some() {
            return Err("refused before".into());
        }
        work(left).map_err(|fault| {
            left.fault = Some(fault);
            "refused".into()
        })
    })
}
